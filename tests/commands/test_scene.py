"""A scene store in the real commands: made beside others, chosen, read by the heads that ask for it, predicted with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from itin.cache import open_store
from itin.cli import main
from itin.train.runs.folder import load_run

from ..conftest import draw
from ..own_encoders import CONTEXT, current_folder, example

CORNER = '''
class Corner(Mean):
    """The colour of the corner, twice."""
    def __init__(self, config, device, *, batch_size=None):
        super().__init__(config, device, batch_size=batch_size)
        self.spec = EncoderSpec("context", "corner", {}, {}, {"feature": 6})
    def encode(self, prepared):
        return [{"context": np.tile(image[0, 0].astype(np.float32), 2)} for image in prepared]
'''
OTHERS = ("--regions", "mine:ColourGrid", "--text-encoder", "mine:HashedLetters", "--context-encoder", "mine:Mean")
SCENE = ("--scene-encoder", "mine:Corner")
NAMED = (*OTHERS, *SCENE)
DATA = ("--dataset", "mvsa-single", "--root", "data", "--cache", "cache")
SMALL = ("--cache", "cache", "--d", 6, "--k", 5, "--hidden", 4, "--epochs", 2, "--device", "cpu")

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")


def itin(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with features of the three kinds, and a run of multisentinet on them."""
    with current_folder(tmp_path_factory.mktemp("scene")) as folder:
        (folder / "mine.py").write_text(example() + CONTEXT + CORNER)
        draw(folder / "data", 24)
        itin("extract", *DATA, "--max-regions", 3, *OTHERS)
        itin("train", *SMALL, "--head", "multisentinet", "--out", "before")
    return folder


@pytest.fixture(scope="module")
def beside(extracted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a scene store, and runs that read it."""
    folder = tmp_path_factory.mktemp("beside") / "work"
    shutil.copytree(extracted, folder)
    with current_folder(folder):
        itin("extract", *DATA, "--max-regions", 3, *SCENE)
        for head, more in (("multisentinet", ()), ("mvan", ()), ("pooled", ["--scene"]), ("linear", ["--scene"])):
            itin("train", *SMALL, "--head", head, *more, "--out", head)
    return folder


@pytest.fixture
def here(beside: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(beside, tmp_path / "work")
    with current_folder(tmp_path / "work") as folder:
        yield folder


def stores(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("cache/mvsa-single/*-*/")):
        found.setdefault(path.name.partition("-")[0], []).append(path)
    return found


def test_named_alone_it_is_all_that_is_made(extracted: Path, here: Path) -> None:
    """The other kinds are there, by encoders of other names than the default ones; none of their bytes change."""
    before = {path.relative_to(extracted): path.read_bytes() for path in extracted.glob("cache/mvsa-single/*-*/*")}
    after = {path.relative_to(here): path.read_bytes() for path in here.glob("cache/mvsa-single/*-*/*")}
    assert {path for path in after if path not in before} == {
        path.relative_to(here) for path in stores(here)["scene"][0].iterdir()
    }
    assert all(after[path] == content for path, content in before.items())
    assert len(open_store(stores(here)["scene"][0])) == 24
    said = itin("extract", *DATA, "--max-regions", 3, *NAMED)  # what is named is looked at again
    rows = [line.split()[:4] for line in said.splitlines() if "mine_" in line]
    assert [(kind, made, there) for kind, _, made, there in rows] == [
        (kind, "0", "24") for kind in ("regions", "tokens", "context", "scene")
    ]


def test_one_new_data_set_gets_every_kind(here: Path) -> None:
    said = itin("extract", *DATA[:-1], "new", "--max-regions", 3, *NAMED)
    assert [line.split()[0] for line in said.splitlines() if "mine_" in line] == [
        *("regions", "tokens", "context", "scene"),
    ]


def test_its_store_is_part_of_the_key_and_of_nothing_else(here: Path) -> None:
    keys = {name: load_run(name).record["key"] for name in ("before", "multisentinet", "mvan", "pooled", "linear")}
    assert keys["multisentinet"] != keys["before"]
    again = itin("train", *SMALL, "--head", "multisentinet", "--no-scene", "--out", "without")
    assert load_run("without").record["key"] == keys["before"]
    assert "multisentinet (mean region as scene)" in " ".join(again.split())
    itin("train", *SMALL, "--head", "multisentinet", "--scene", "--out", "asked")
    itin("train", *SMALL, "--head", "multisentinet", "--scene", "--m", 3, "--out", "other-m")
    assert load_run("asked").record["key"] == load_run("other-m").record["key"] == keys["multisentinet"]
    (scene,) = stores(here)["scene"]
    assert load_run("multisentinet").record["stores"]["scene"]["fingerprint"] == open_store(scene).fingerprint
    said = itin("train", *SMALL, "--head", "pooled", "--out", "pooled-without")
    assert load_run("pooled-without").record["key"] != keys["pooled"]
    assert scene.name not in said
    shutil.rmtree(scene)
    for head, run in (("pooled", "pooled-without"), ("itin", None)):
        itin("train", *SMALL, "--head", head, "--out", f"{head}-gone")
        assert run is None or load_run(f"{head}-gone").record["key"] == load_run(run).record["key"]
    said = itin("train", *SMALL, "--head", "mvan", "--out", "mvan-gone")
    assert "head     mvan* (mean region as scene)" in said
    said = itin("train", *SMALL, "--head", "linear", "--scene", code=1)
    assert "no scene features" in said
    assert "itin extract --only scene --scene-encoder NAME" in " ".join(said.split())


def test_several_are_chosen_among_as_other_kinds_are(here: Path) -> None:
    itin("extract", *DATA, "--only", "scene", "--scene-encoder", "mine:Mean")
    first, second = (open_store(path) for path in stores(here)["scene"])
    said = itin("train", *SMALL, "--head", "mvan", code=1)
    assert "several stores hold scene features" in said
    assert "--scene-encoder" in said
    keys = set()
    for number, (name, store) in enumerate(
        (("mine:Mean", second), (second.fingerprint[:8], second), (first.path.name, first))
    ):
        said = itin("train", *SMALL, "--head", "mvan", "--scene-encoder", name, "--out", f"run{number}")
        assert f"scene    {store.path.name}" in said
        assert "mean region" not in said
        run = load_run(f"run{number}")
        assert run.head_config.scene_dim == store.identity["dims"]["feature"]
        keys.add(run.record["key"])
    assert len(keys) == 2
    itin("train", *SMALL, "--head", "itin", "--out", "itin")  # which reads none, and need not choose
    said = itin("train", *SMALL, "--head", "pooled", "--scene-encoder", "mine:Mean", code=2)
    assert "and --scene where it does not do so by default; got pooled" in " ".join(said.split())


@pytest.mark.parametrize("head", ["multisentinet", "mvan", "pooled", "linear"])
def test_a_prediction_computes_the_scene_by_the_same_encoder(here: Path, head: str) -> None:
    """Of the pair's image alone; regions are not computed for what does not read them."""
    row = pd.read_csv(f"{head}/predictions.csv", dtype={"id": str}).iloc[0]
    text = (here / "data" / "data" / f"{row['id']}.txt").read_bytes().decode("gb18030")
    pair = ("--image", here / "data" / "data" / f"{row['id']}.jpg", "--text", text)
    reads = {"multisentinet": NAMED[2:], "mvan": (*NAMED[:4], *SCENE), "pooled": NAMED[2:], "linear": NAMED[2:]}[head]
    printed = itin("predict", head, *pair, *reads)
    for label in ("positive", "neutral", "negative"):
        said = re.search(rf"{label} (\d\.\d+)", printed)
        assert said is not None
        assert float(said[1]) == pytest.approx(row[f"p_{label}"], abs=2e-3)
    if head == "linear":
        assert "scene " in printed.partition("because:")[2]
    itin("explain", head, *pair, *reads, "--out", "fig.html")
    refused = itin("predict", head, *pair, *reads[:-2], code=1)
    assert "--scene-encoder mine:Corner on the command line" in " ".join(refused.split())


@pytest.mark.parametrize("head", ["multisentinet", "mvan", "pooled", "linear"])
def test_evaluation_and_pages_read_it_from_the_store(here: Path, head: str) -> None:
    figures = json.loads(Path(head, "metrics.json").read_text())["test"]
    assert f"{figures['accuracy']:.4f}" in itin("evaluate", head, "--cache", "cache")
    itin("report", head, "before", "--out", "page")
    page = Path("page", "report.html").read_text(encoding="utf-8")
    assert "multisentinet (mean region as scene)" in page
    assert not re.search(r"mvan\* \(mean", page)
    shutil.rmtree(stores(here)["scene"][0])
    gone = itin("evaluate", head, "--cache", "cache", code=1)
    assert "the scene features that the run" in gone


def test_the_commands_of_the_cache(here: Path) -> None:
    (scene,) = stores(here)["scene"]
    values = open_store(scene).read("scene", np.arange(24))
    rows = json.loads(itin("cache", "info", "--cache", "cache", "--json"))
    (row,) = [one for one in rows if one["kind"] == "scene"]
    assert (row["rows"], row["encoder"], row["complete"]) == (24, "mine:Corner", True)
    assert "4 stores, 96 rows" in itin("cache", "verify", "--cache", "cache")
    itin("cache", "export", scene, "scene.npz")
    with np.load("scene.npz") as archive:
        np.testing.assert_array_equal(archive["scene"], values)
    half = Path("half")
    itin("extract", *DATA[:-1], half, "--only", "scene", *SCENE, "--limit", 10)
    itin("cache", "merge", half / "mvsa-single", scene, "--into", "merged/mvsa-single")
    (merged,) = Path("merged/mvsa-single").glob("scene-*")
    both = open_store(merged)
    assert sorted(both.ids) == sorted(open_store(scene).ids)
    np.testing.assert_array_equal(both.read("scene", both.index(open_store(scene).ids)), values)
    assert "same" in itin("cache", "diff", scene, merged)
    shard = next(scene.glob("shard-*.h5"))
    content = bytearray(shard.read_bytes())
    content[-5] ^= 1
    shard.write_bytes(bytes(content))
    bad = itin("cache", "verify", "--cache", "cache", code=1)
    assert "--only scene" in " ".join(bad.split())
    assert "--scene-encoder mine:Corner" in " ".join(bad.split())
