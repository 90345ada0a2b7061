"""Reading checkpoints: every family and container, and every way in which a file can be wrong."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from itin.errors import WeightsError
from itin.extract.frcnn.checkpoints import load_network, read_checkpoint
from itin.extract.frcnn.recipe import RECIPES
from itin.weights_file import file_sha256

from ...frcnn_small import NAMES, SMALL, file_state, network, save

KEY = "proposal_generator.anchor_generator.cell_anchors.0"


def public(name: str) -> dict[str, torch.Tensor]:
    """Small weights of a public recipe's family, under the file's names."""
    return file_state(network(name, short_side=600, long_side=1000))


def arrays(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in state.items()}


def write(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """By the file's ending; `.pth` wraps `model` as detectron2 does."""
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": arrays(state), "__author__": "someone", "matching_heuristics": True}))
    elif path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state, "iteration": 5} if path.suffix == ".pth" else OrderedDict(state), path)
    return path


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("bua-caffe-frcn-r101_with_attributes.pth", "caffe"),
        ("faster_rcnn_from_caffe_attr.pkl", "airsplay"),
        ("pytorch_model.bin", "hf"),
        ("model.safetensors", "hf"),
        ("bua-d2-frcn-r101.pth", "d2"),
    ],
)
def test_every_family_is_recognised_and_loaded(tmp_path: Path, file: str, name: str) -> None:
    state = public(name)
    state["backbone.stem.conv1.norm.num_batches_tracked"] = torch.tensor(7)
    path = write(tmp_path / file, state)
    read = read_checkpoint(path, architecture=SMALL)
    assert read.recipe == RECIPES[name]
    assert read.sha256 == file_sha256(path)
    assert read.own_anchors
    made = load_network(read, SMALL)
    wanted = network(name).state_dict()
    assert made.state_dict().keys() == wanted.keys()
    for key, value in made.state_dict().items():
        assert torch.equal(value, wanted[key]), key


def test_the_files_own_anchors_win(tmp_path: Path) -> None:
    state = public("hf")
    state[KEY] = torch.arange(48.0).view(12, 4)
    read = read_checkpoint(save(tmp_path / "a.bin", state), architecture=SMALL)
    assert torch.equal(load_network(read, SMALL).anchors, state[KEY])
    del state[KEY]  # recent detectron2 leaves them out
    read = read_checkpoint(save(tmp_path / "b.bin", state), architecture=SMALL)
    assert not read.own_anchors
    assert load_network(read, SMALL).anchors[0].tolist() == pytest.approx([-45.2548, -22.6274, 45.2548, 22.6274])


def test_the_files_own_mean_wins(tmp_path: Path) -> None:
    state = public("d2") | {"pixel_mean": torch.tensor([1.0, 2.0, 3.5]).view(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    assert read_checkpoint(save(tmp_path / "a.pth", state), architecture=SMALL).recipe.mean == (1.0, 2.0, 3.5)
    named = read_checkpoint(tmp_path / "a.pth", recipe=replace(RECIPES["d2"], post_nms=300), architecture=SMALL)
    assert named.recipe.mean == RECIPES["d2"].mean


def test_a_recipe_can_be_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.bin", public("hf"))
    assert read_checkpoint(path, recipe=RECIPES["airsplay"], architecture=SMALL).recipe == RECIPES["airsplay"]
    own = replace(RECIPES["hf"], short_side=600, long_side=1000)
    assert read_checkpoint(path, recipe=own, architecture=SMALL).recipe == own
    with pytest.raises(WeightsError) as error:
        read_checkpoint(path, recipe=RECIPES["caffe"], architecture=SMALL)
    assert "a caffe checkpoint for the recipe caffe" in str(error.value)
    assert "found:    a hf checkpoint" in str(error.value)


def fails(path: Path, *parts: str) -> None:
    with pytest.raises(WeightsError) as error:
        read_checkpoint(path, architecture=SMALL)
    message = str(error.value)
    assert message.startswith(str(path))
    assert "expected:" in message
    assert "next:" in message
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_that_differ_are_said_in_the_files_names(tmp_path: Path, name: str) -> None:
    state = public(name)
    weight = next(
        key for key in state if key.endswith(("attr_linear1.weight", "fc_attr.weight", "predictor.fc.0.weight"))
    )
    state[weight] = state[weight][:, :-1].clone()
    missing = ["backbone.res4.1.conv2.weight", "roi_heads.res5.1.conv3.norm.bias"]
    for key in missing:
        del state[key]
    state["roi_heads.mask.weight"] = torch.zeros(1)
    fails(
        save(tmp_path / "a.pth", state),
        f"2 missing: {missing[0]}, {missing[1]}",
        "1 unknown: roi_heads.mask.weight",
        f"1 of another shape: {weight} (12, 133) instead of (12, 134)",
        "the caffe checkpoint" if name == "caffe" else "checkpoint differs from its architecture",
    )


def test_only_the_first_differences_are_listed(tmp_path: Path) -> None:
    state = {key: value for key, value in public("hf").items() if "res5" not in key}
    fails(save(tmp_path / "a.bin", state), "missing: roi_heads.res5.0.shortcut.weight", " ...")


def test_a_detector_without_attributes_lacks_its_head(tmp_path: Path) -> None:
    for name, family in (("caffe", "caffe"), ("hf", "hf"), ("d2", "d2")):
        state = {key: value for key, value in public(name).items() if not re.search("attr|cls_embed", key)}
        fails(save(tmp_path / f"{name}.pth", state), f"the {family} checkpoint", "missing: roi_heads.")


@pytest.mark.parametrize("file", ["a.pth", "a.bin", "a.pkl", "a.safetensors"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file(tmp_path: Path, file: str, share: float) -> None:
    path = write(tmp_path / file, public("hf"))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    fails(path, "cannot be read", "download the file again")


def test_pytorchs_older_format(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save(public("caffe"), path, _use_new_zipfile_serialization=False)
    assert read_checkpoint(path, architecture=SMALL).recipe.name == "caffe"
    path.write_bytes(path.read_bytes()[:2000])
    fails(path, "cannot be read")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    fails(tmp_path / "missing.pth", "no such file")
    page = tmp_path / "page.pth"
    page.write_text("<!DOCTYPE html><html>404</html>")
    fails(page, "cannot be read as a checkpoint", "a web page")
    pointer = tmp_path / "pointer.bin"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    fails(pointer, "a Git LFS pointer")
    (tmp_path / "empty.pkl").write_bytes(b"")
    fails(tmp_path / "empty.pkl", "an empty file")
    (tmp_path / "image.bin").write_bytes(b"\xff\xd8\xff\xe0" + b"0" * 96)
    fails(tmp_path / "image.bin", "100 bytes that begin with")
    resnet = save(tmp_path / "resnet.pth", {"conv1.weight": torch.zeros(1), "bn1.weight": torch.zeros(1)})
    fails(resnet, "the weights of another model", "2 arrays: bn1.weight, conv1.weight")
    torch.save([1, 2], tmp_path / "list.pth")
    fails(tmp_path / "list.pth", "cannot be read as a checkpoint", "a list")
    torch.save({"epoch": 3}, tmp_path / "state.pth")
    fails(tmp_path / "state.pth", "'epoch' of type int instead of named arrays")


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    state = public("d2")
    state["roi_heads.attribute_predictor.obj_embed.weight"][0, :2] = torch.nan
    fails(save(tmp_path / "a.pth", state), "obj_embed.weight holds values that are not finite", "2 of 126 values")


class Hostile:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, target: Path, call: Any = None) -> None:
        self.target, self.call = target, call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (self.call or exec), (f"open({str(self.target)!r}, 'w').write('owned')",)


@pytest.mark.parametrize("file", ["a.pkl", "a.pth", "a.bin"])
def test_a_hostile_pickle_does_nothing(tmp_path: Path, file: str) -> None:
    target = tmp_path / "owned"
    content = arrays(public("hf")) | {"x": Hostile(target)}
    path = tmp_path / file
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    fails(path, "cannot be read", "a file that asks for more than arrays is not loaded at all")
    assert not target.exists()
