"""The detector's weights and names: the user's file first, then the hub's cache, then a download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from itin.cache import Store, open_store
from itin.errors import WeightsError
from itin.extract.frcnn.recipe import ARCHITECTURES, RECIPES
from itin.extract.frcnn.vocabulary import find_vocabulary
from itin.extract.weights import names
from itin.extract.weights.detector import REPO, detector_needs, find_detector_weights, get_detector_weights
from itin.paths import weights_root

from ...commands.test_cli import itin
from ...frcnn_small import SMALL, file_state, network, recipe, save
from ...loopback_hub import LoopbackHub

Draw = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The public detectors' layers, scaled down."""
    for name in RECIPES:
        monkeypatch.setitem(RECIPES, name, recipe(name))
    for family in ARCHITECTURES:
        monkeypatch.setitem(ARCHITECTURES, family, SMALL)


@pytest.fixture
def published(hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The detector's page with a scaled-down checkpoint, and its names at their own address."""
    folder, words = tmp_path / "published", tmp_path / "words"
    for one in (folder, words):
        one.mkdir()
    save(folder / "pytorch_model.bin", file_state(network("hf")))
    (folder / "config.yaml").write_text("model: {}\n")
    lines = {
        names.OBJECTS_FILE: "\n".join(f"thing {i},synonym" for i in range(SMALL.classes)),
        names.ATTRIBUTES_FILE: "\n".join(f"look {i}" for i in range(SMALL.attributes)),
    }
    for file, text in lines.items():
        (words / file).write_text(text)
        monkeypatch.setitem(names.SHA256, file, hashlib.sha256(text.encode()).hexdigest())
    hub.add(REPO, folder)
    hub.add("authors/names", words)
    monkeypatch.setattr(names, "SOURCE", f"{hub.endpoint}/authors/names/resolve/main")
    return folder


def extract(root: Path, cache: Path, *options: object, code: int = 0) -> str:
    start = ("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, "--only", "regions")
    return itin(*start, "--max-regions", "12", *options, code=code)


def store_of(cache: Path) -> Store:
    (found,) = (cache / "mvsa-single").glob("regions-*")
    return open_store(found)


def test_it_comes_by_itself(
    small: None, hub: LoopbackHub, published: Path, tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_mvsa(tmp_path / "data", pairs=3)
    extract(root, tmp_path / "cache")
    store = store_of(tmp_path / "cache")
    digest = hashlib.sha256((published / "pytorch_model.bin").read_bytes()).hexdigest()
    assert store.identity["weights"] == {"file": "pytorch_model.bin", "sha256": digest}
    (kept,) = store.manifest["provenance"]["weights"]
    assert kept["repo"] == REPO
    assert len(kept["commit"]) == 40
    assert (kept["file"], kept["sha256"]) == ("pytorch_model.bin", digest)
    assert not hub.asked("GET", "config.yaml")

    vocabulary = find_vocabulary(find_detector_weights(None), object_count=20, attribute_count=10)
    assert (vocabulary.object(3), vocabulary.attribute(4)) == ("thing 3", "look 4")

    before = len(hub.requests)
    assert "there before" in extract(root, tmp_path / "cache")
    assert len(hub.requests) == before

    weights_root().joinpath("pytorch_model.bin").write_bytes((published / "pytorch_model.bin").read_bytes())
    extract(root, tmp_path / "by-hand")  # the same file from another place is the same encoder
    assert store_of(tmp_path / "by-hand").path.name == store.path.name
    assert store_of(tmp_path / "by-hand").manifest["provenance"]["weights"] == [kept | {"repo": None, "commit": None}]


def test_the_order(hub: LoopbackHub, published: Path, tmp_path: Path) -> None:
    named = save(tmp_path / "mine.pth", file_state(network("hf", seed=1)))
    assert get_detector_weights(str(named)) == named
    weights_root().mkdir()
    own = weights_root() / "vg-frcnn.bin"
    own.write_bytes(b"mine")
    assert get_detector_weights(None) == own
    assert not hub.requests
    own.unlink()
    with pytest.raises(WeightsError, match="none were found"):
        find_detector_weights(None)
    found = get_detector_weights(None)
    assert found.parent.parent.name == "snapshots"
    assert find_detector_weights(None) == found
    own.write_bytes(b"mine")
    assert find_detector_weights(None) == own


def test_random_weights_need_none(
    small: None, hub: LoopbackHub, published: Path, tmp_path: Path, draw_mvsa: Draw
) -> None:
    extract(draw_mvsa(tmp_path / "data", pairs=2), tmp_path / "cache", "--random-init", "0")
    assert not hub.requests
    assert store_of(tmp_path / "cache").manifest["provenance"]["weights"] == []


def test_a_wrong_folder_is_reported_before_anything_is_downloaded(
    hub: LoopbackHub, published: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert "is not the folder of mvsa-single" in extract(tmp_path / "empty", tmp_path / "cache", code=1)
    assert not hub.requests


def test_without_a_network_the_error_names_all_ways(
    hub: LoopbackHub, published: Path, tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_mvsa(tmp_path / "data", pairs=2)
    hub.status = 503
    told = extract(root, tmp_path / "cache", code=1)
    for part in ("status 503", "--detector-weights FILE", "--regions grid", "--random-init 0", REPO):
        assert part in told
    hub.status = None
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(hub.requests)
    told = extract(root, tmp_path / "cache", code=1)
    assert "and none were found\n" in told
    assert len(hub.requests) == before


def test_names_that_cannot_be_had_are_a_note(hub: LoopbackHub, published: Path, tmp_path: Path) -> None:
    (tmp_path / "words" / names.ATTRIBUTES_FILE).write_text("another file")
    told = itin("weights", "fetch", "--only", "regions")
    assert f"the names in {names.ATTRIBUTES_FILE} are not here and cannot be downloaded" in told
    assert "pytorch_model.bin" in told
    assert (weights_root() / names.OBJECTS_FILE).is_file()
    assert not (weights_root() / names.ATTRIBUTES_FILE).exists()
    assert not list(weights_root().glob(".tmp-*"))
    assert set(detector_needs(None).files) == {"pytorch_model.bin", names.OBJECTS_FILE}


def test_the_published_names() -> None:
    assert len(names.SHA256) == 2
    assert all(len(digest) == 64 for digest in names.SHA256.values())
    assert "/85ec9b77bb57c125d6d604305bb525d9f50692be/" in names.SOURCE
