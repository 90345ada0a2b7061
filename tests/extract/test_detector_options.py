"""The detector's options on the command line, with a scaled-down detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from itin.cache import open_store
from itin.commands.predict import show
from itin.extract.config import EncoderConfig
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES
from itin.predict import Prediction, Region
from itin.train.runs.folder import load_run

from ..commands.test_cli import encoders, itin
from ..frcnn_small import SMALL, file_state, network, recipe, save

Draw = Callable[..., Path]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public detectors' layers, scaled down."""
    for name in RECIPES:
        monkeypatch.setitem(RECIPES, name, recipe(name))
    for family in ARCHITECTURES:
        monkeypatch.setitem(ARCHITECTURES, family, SMALL)


def vocabulary(folder: Path) -> tuple[Path, Path]:
    objects, attributes = folder / "objects.txt", folder / "attributes.txt"
    objects.write_text("\n".join(f"thing {i},synonym" for i in range(20)))
    attributes.write_text("\n".join(f"look {i}" for i in range(10)))
    return objects, attributes


def extract(root: Path, cache: Path, *options: object, code: int = 0) -> str:
    return itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *options, code=code)


def regions_of(cache: Path) -> Any:
    (found,) = (cache / "mvsa-single").glob("regions-*")
    return open_store(found)


def test_names_are_shown_where_there_is_a_vocabulary(small: None, tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=30), tmp_path / "cache"
    objects, attributes = vocabulary(tmp_path)
    words = encoders(tmp_path / "bert")[2:6]  # the text encoder and the seed
    names = ("--object-names", objects, "--attribute-names", attributes)
    extract(root, cache, *words, *names, "--max-regions", "4", "--detector-recipe", "airsplay")
    store = regions_of(cache)
    assert store.identity["preprocessing"]["recipe"]["name"] == "airsplay"
    assert store.options["object_names"] == str(objects)
    assert store.options["attribute_names"] == str(attributes)
    run = tmp_path / "run"
    itin("train", "--cache", cache, "--d", "32", "--k", "16", "--epochs", "1", "--out", run)
    said = itin("predict", run, "--image", root / "data" / "1.jpg", "--text", "a fine day")
    assert "object" in said
    assert " thing " in said
    assert " look " in said
    objects.unlink()
    assert "the vocabulary cannot be read" in itin(
        "predict", run, "--image", root / "data" / "1.jpg", "--text", "a day", code=1
    )
    assert load_run(run).record["stores"]["regions"]["options"]["detector_recipe"] == "airsplay"


def test_a_file_of_another_family_than_the_recipe(small: None, tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=3), tmp_path / "cache"
    weights = save(tmp_path / "model.pth", file_state(network("caffe")))
    given = ("--only", "regions", "--detector-weights", weights, "--max-regions", "9", "--min-regions", "3")
    said = extract(root, cache, *given, "--detector-recipe", "d2", code=1)
    assert "the recipe does not fit the file" in said
    said = extract(root, cache, *given, "--detector-backend", "detectron2", code=1 if _detectron2() is None else 2)
    assert "detectron2" in said
    extract(root, cache, *given)
    used = regions_of(cache).identity["preprocessing"]
    assert (used["recipe"]["name"], used["backend"]) == ("caffe", "itin")
    assert (used["selection"]["min_regions"], used["selection"]["max_regions"]) == (3, 9)


def _detectron2() -> Any:
    try:
        import detectron2
    except ImportError:
        return None
    return detectron2


def test_ids_are_shown_without_a_vocabulary_and_nothing_without_ids(capsys: pytest.CaptureFixture[str]) -> None:
    def prediction(object: int, attribute: int, names: tuple[str, str]) -> Prediction:
        region = Region((0, 0, 9, 9), 0.9, object, attribute, *names, 0.5, 1.0, {0: 1.0})
        return Prediction("neutral", {"neutral": 1.0}, ["day"], [region])

    show(prediction(182, 70, ("object 182", "attribute 70")))
    assert "object 182" in (said := capsys.readouterr().out)
    assert "attribute 70" in said
    show(prediction(-1, -1, ("unknown", "unknown")))
    assert "unknown" not in (said := capsys.readouterr().out)
    assert "object" not in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detector_recipe": "mine"}, "detector_recipe: expected one of caffe, airsplay, hf, d2 or None, got 'mine'"),
        ({"detector_backend": "mmdet"}, "detector_backend: expected one of itin, detectron2, got 'mmdet'"),
        ({"min_regions": 40}, "min_regions: expected at most max_regions = 36, got 40"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**options)
