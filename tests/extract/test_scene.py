"""The scene: any context encoder, in a store of a kind of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from itin.cache import find_stores, open_store
from itin.cache.format.schema import fingerprint_of
from itin.errors import EncoderError
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.encoders.build import build_encoder, identity_of, required_weights, weights_of
from itin.extract.encoders.vision import PooledContext
from itin.extract.run import extract, load_encoders
from itin.parts import Part

from ..conftest import draw
from ..own_encoders import CONTEXT, current_folder, example

CPU = torch.device("cpu")
MINE = {
    "regions": "mine:ColourGrid",
    "text_encoder": "mine:HashedLetters",
    "context_encoder": "mine:Mean",
    "scene_encoder": "mine:Mean",
}

OVERFLOW = '''
class Overflow(Mean):
    """The first image of all is beyond float16."""
    first = True
    def encode(self, prepared):
        found = super().encode(prepared)
        if self.first:
            found[0] = {"context": 1e9 * found[0]["context"]}
        self.first = False
        return found
'''


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    with current_folder(tmp_path) as folder:
        (folder / "mine.py").write_text(example() + CONTEXT)
        draw(folder / "data", 11)
        yield folder


@pytest.fixture
def config(here: Path) -> ExtractConfig:
    encoders = EncoderConfig(**MINE, max_regions=3)  # type: ignore[arg-type]
    return ExtractConfig("mvsa-single", root=here / "data", cache=here / "cache", encoders=encoders, shard_size=4)


def load(*arguments: Any) -> Any:
    return partial(load_encoders, allow=set(MINE.values()))(*arguments)


def images(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + 9 * i, 50, 3), np.uint8) for i in range(count)]


def test_its_numbers_are_those_of_the_context_encoder_and_its_fingerprint_is_its_own(config: ExtractConfig) -> None:
    summary = extract(config, load=load)
    assert {store.kind: store.made for store in summary.stores} == dict.fromkeys(
        ("regions", "tokens", "context", "scene"), 11
    )
    context, scene = (open_store(find_stores(summary.folder, kind)[0]) for kind in ("context", "scene"))
    assert scene.path.name.startswith("scene-mine_Mean-")
    rows = scene.index(context.ids)
    assert (rows >= 0).all()
    np.testing.assert_array_equal(scene.read("scene", rows), context.read("context", np.arange(11)))
    assert len(np.unique(scene.read("scene", rows), axis=0)) > 3  # of the images, not of nothing
    assert {**scene.identity, "kind": "context"} == context.identity
    assert scene.fingerprint != context.fingerprint == fingerprint_of(context.identity)
    assert scene.options["scene_encoder"] == "mine:Mean"
    assert sum(store.made for store in extract(config, load=load).stores) == 0


def test_without_it_stores_are_as_before(config: ExtractConfig) -> None:
    summary = extract(
        replace(config, encoders=replace(config.encoders, scene_encoder=None), only=config.only[:3]), load=load
    )
    assert [store.kind for store in summary.stores] == ["regions", "tokens", "context"]
    for path in find_stores(summary.folder):
        assert "scene_encoder" not in open_store(path).options


def test_parts_make_what_one_run_makes(config: ExtractConfig, here: Path) -> None:
    scene = replace(config, only=("scene",))
    whole = open_store(extract(replace(scene, cache=here / "whole"), load=load).stores[0].path)
    planned = extract(replace(scene, plan=True), load=load).stores[0].path
    record = ExtractConfig.from_record(replace(scene, into=planned.name).to_record())
    for number in (1, 0):
        extract(replace(record, part=Part(number, 2)), load=load)
    made = open_store(extract(replace(record, consolidate=True), load=load).stores[0].path)
    assert made.path == planned
    assert made.fingerprint == whole.fingerprint
    assert made.ids == whole.ids
    np.testing.assert_array_equal(made.read("scene", np.arange(11)), whole.read("scene", np.arange(11)))


def test_what_cannot_be_stored_is_in_quarantine_until_it_is_asked_for(config: ExtractConfig, here: Path) -> None:
    (here / "mine.py").write_text(example() + CONTEXT + OVERFLOW)
    config = replace(config, encoders=replace(config.encoders, scene_encoder="mine:Overflow"))
    load = partial(load_encoders, allow={*MINE.values(), "mine:Overflow"})
    only = replace(config, only=("scene",))
    (store,) = extract(only, load=load).stores
    assert (store.made, len(store.quarantined)) == (10, 1)
    assert "scene" in next(iter(store.quarantined.values()))
    assert len(open_store(store.path)) == 10
    (again,) = extract(only, load=load).stores
    assert (again.made, again.reused, len(again.quarantined)) == (0, 10, 1)


@pytest.mark.parametrize("name", ["resnet18", "resnet18-center", "efficientnet-lite0", "efficientnet-lite0-stages"])
def test_any_context_encoder_by_name(name: str) -> None:
    config = EncoderConfig(context_encoder=name, scene_encoder=name, random_init=3)
    context, scene = (build_encoder(kind, config, CPU, batch_size=2) for kind in ("context", "scene"))
    assert scene.spec == replace(context.spec, kind="scene")
    given = [encoder.prepare(image) for encoder in (context, scene) for image in images(2)]  # type: ignore[union-attr]
    want, got = context.encode(given[:2]), scene.encode(given[2:])
    for one, other in zip(want, got, strict=True):
        np.testing.assert_array_equal(one["context"], other["scene"])
        assert list(other) == ["scene"]
    identity = identity_of(scene.spec, "float16")
    assert fingerprint_of(identity) != fingerprint_of({**identity, "kind": "context"})


def test_one_forward_pass_serves_regions_context_and_scene() -> None:
    name = "efficientnet-lite0"
    config = EncoderConfig(regions=name, context_encoder=name, scene_encoder=name, random_init=3)
    regions, context, scene = (
        build_encoder(kind, config, CPU, batch_size=2) for kind in ("regions", "context", "scene")
    )
    assert regions.trunk is context.trunk is scene.trunk  # type: ignore[union-attr]
    inputs = [regions.prepare(image) for image in images(2)]  # type: ignore[union-attr]
    regions.encode(inputs)
    before = [one.outputs[1][one.row].numpy() for one in inputs]
    assert isinstance(context, PooledContext)
    for vector, one in zip(before, scene.encode(inputs), strict=True):
        np.testing.assert_array_equal(one["scene"], vector)


def test_one_forward_pass_serves_inner_layers_too() -> None:
    config = EncoderConfig(
        context_encoder="efficientnet-lite0", scene_encoder="efficientnet-lite0-stages", random_init=3
    )
    context, scene = (build_encoder(kind, config, CPU, batch_size=2) for kind in ("context", "scene"))
    model = scene.trunk._model  # type: ignore[union-attr]
    passes: list[int] = []
    model.conv_stem.register_forward_hook(lambda layer, given, output: passes.append(len(output)))
    inputs = [context.prepare(image) for image in images(2)]  # type: ignore[union-attr]
    scenes, contexts = scene.encode(inputs), context.encode(inputs)
    assert passes == [2]
    with torch.inference_mode():
        expected = model.forward_features(inputs[0].pixels[None])[0].mean((1, 2))
        last = model.blocks(model.bn1(model.conv_stem(inputs[0].pixels[None])))[0].flatten(1).max(1).values
    np.testing.assert_allclose(contexts[0]["context"], expected, atol=1e-6)
    np.testing.assert_allclose(scenes[0]["scene"][-320:], last, atol=1e-6)
    other = replace(config, random_init="context=3,scene=4")
    assert build_encoder("scene", other, CPU).spec.weights["sha256"] != scene.spec.weights["sha256"]


def test_other_weights_than_the_contexts() -> None:
    """--random-init of each kind by name; one number where all are the same."""
    config = EncoderConfig(context_encoder="resnet18", scene_encoder="resnet18", random_init="context=1,scene=2")
    context, scene = (build_encoder(kind, config, CPU) for kind in ("context", "scene"))
    assert (context.spec.weights["random_init"], scene.spec.weights["random_init"]) == (1, 2)
    assert context.spec.weights["sha256"] != scene.spec.weights["sha256"]
    three = "tokens=4,context=4,regions=4"
    assert EncoderConfig(random_init=three).random_init == 4  # as before there were scenes
    beside = EncoderConfig(scene_encoder="resnet18", random_init=three)
    assert (beside.random_init, beside.seed_of("scene")) == ("regions=4,tokens=4,context=4", None)
    assert EncoderConfig(scene_encoder="resnet18", random_init=f"{three},scene=4").random_init == 4


def test_what_is_extracted() -> None:
    named = EncoderConfig(scene_encoder="resnet18")
    assert ExtractConfig("folder").only == ("regions", "tokens", "context")
    assert ExtractConfig("folder", encoders=named).only == ("regions", "tokens", "context", "scene")
    assert ExtractConfig("folder", encoders=named, only=("regions",)).only == ("regions",)
    again = ExtractConfig.from_record(ExtractConfig("folder", encoders=named).to_record())
    assert (again.only, again.encoders.scene_encoder) == (("regions", "tokens", "context", "scene"), "resnet18")
    with pytest.raises(ValueError, match="only: scene has no encoder by default: name one, such as --scene-encoder"):
        ExtractConfig("folder", only=("scene",))


def test_weights_are_those_of_the_context_encoder_of_that_name() -> None:
    config = EncoderConfig(scene_encoder="resnet18-center")
    found = weights_of(config, ["scene"])["scene"]
    assert found.needs == weights_of(replace(config, context_encoder="resnet18-center"), ["context"])["context"].needs
    rows = [(row.encoder, row.needs) for row in required_weights(config)]
    assert len(rows) == len(set(rows))
    assert set(rows) == {(row.encoder, row.needs) for row in required_weights(EncoderConfig())}


def test_code_is_imported_only_if_it_was_named_for_the_scene(here: Path) -> None:
    config = EncoderConfig(scene_encoder="mine:Mean")
    with pytest.raises(EncoderError, match="expected: --scene-encoder mine:Mean on the command line"):
        build_encoder("scene", config, CPU)
    assert build_encoder("scene", config, CPU, allow=["mine:Mean"]).spec.kind == "scene"
    config = EncoderConfig(scene_encoder="mine:ColourGrid")
    with pytest.raises(EncoderError, match="'context', for --scene-encoder"):
        build_encoder("scene", config, CPU, allow=["mine:ColourGrid"])


def test_a_detector_is_no_scene_encoder() -> None:
    with pytest.raises(ValueError, match="unknown scene encoder 'resent18'"):
        build_encoder("scene", EncoderConfig(scene_encoder="resent18"), CPU)
