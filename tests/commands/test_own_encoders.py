"""Encoders of a user's own in the real commands: the page's example from end to end, and what no file may cause."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from itin.cache import open_store
from itin.cache.format.sealed_json import to_json
from itin.cli import main
from itin.cluster import submission as submissions
from itin.cluster.dask_engine import consolidate, run_part
from itin.cluster.extract_work import Extraction
from itin.errors import EncoderError
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.run import extract
from itin.parts import Part

from ..conftest import draw
from ..own_encoders import CONTEXT, current_folder, example, forget

NAMES = {"regions": "my_encoders:ColourGrid", "tokens": "my_encoders:HashedLetters", "context": "my_encoders:Mean"}
NAMED = ("--regions", NAMES["regions"], "--text-encoder", NAMES["tokens"], "--context-encoder", NAMES["context"])
SMALL = ("--d", "16", "--k", "8", "--epochs", "2")


def itin(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with my_encoders.py, features by it in `cache`, and a run on them."""
    with current_folder(tmp_path_factory.mktemp("own")) as folder:
        (folder / "my_encoders.py").write_text(example() + CONTEXT)
        draw(folder / "data", 24)
        itin("extract", "--dataset", "mvsa-single", "--root", "data", "--cache", "cache", "--max-regions", "4", *NAMED)
        itin("train", "--cache", "cache", *SMALL, "--out", "run")
    return folder


@pytest.fixture
def here(trained: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of that folder, as the current one of a new process."""
    shutil.copytree(trained, tmp_path / "work")
    with current_folder(tmp_path / "work") as folder:
        yield folder


@pytest.fixture
def evil(here: Path) -> Path:
    """The marker that `evil.py` would leave in the current folder; every record names its classes."""
    (here / "evil.py").write_text(f"{example()}{CONTEXT}\nfrom pathlib import Path\nPath('marker').touch()\n")
    for path in [here / "run" / "config.json", *here.glob("cache/*/*/manifest.json")]:
        record = json.loads(path.read_text())
        entries = record["stores"].values() if "stores" in record else [record["provenance"]]
        for entry in entries:
            text = json.dumps(entry["options"])
            assert text.count("my_encoders:") == 3
            entry["options"] = json.loads(text.replace("my_encoders:", "evil:"))
        sealed = record.pop("checksum", None) is not None
        path.write_bytes(to_json(record) if sealed else json.dumps(record).encode())
    (here / "my_encoders.py").unlink()
    return here / "marker"


def stores(folder: Path) -> dict[str, Path]:
    return {path.name.partition("-")[0]: path for path in folder.glob("cache/mvsa-single/*-*/")}


def pair(folder: Path) -> tuple[str, ...]:
    return ("--image", str(folder / "data" / "data" / "1.jpg"), "--text", "what a day")


def test_the_pages_example_fills_stores(here: Path) -> None:
    found = stores(here)
    assert found["regions"].name.startswith("regions-my_encoders_ColourGrid-")
    regions, tokens = open_store(found["regions"]), open_store(found["tokens"])
    row = regions.ids.index("3")
    image = np.asarray(Image.open(here / "data" / "data" / "3.jpg").convert("RGB")).astype(int)
    arrays = next(iter(regions.samples(np.array([row]))))
    assert len(arrays["regions"]) == 4
    for vector, (x1, y1, x2, y2) in zip(arrays["regions"], arrays["boxes"].astype(int), strict=True):
        cell = image[y1:y2, x1:x2]
        expected = [(cell[..., channel] // 32 == bin).mean() for channel in range(3) for bin in range(8)]
        np.testing.assert_allclose(vector, expected, atol=1e-3)
    arrays = next(iter(tokens.samples(np.array([tokens.ids.index("3")]))))
    words = (here / "data" / "data" / "3.txt").read_bytes().decode("gb18030").split()
    assert arrays["tokens"].sum(1).tolist() == [len(word) for word in words]  # one piece a letter


def test_predict_takes_it_only_when_it_is_named(here: Path) -> None:
    printed = itin("predict", "run", *pair(here), code=1)
    assert f"add {' '.join(NAMED[-2:])}" not in printed  # all three at once
    for name in NAMES.values():
        assert name in printed
    printed = itin("predict", "run", *pair(here), *NAMED)
    assert "aligned words" in printed
    assert "day" in printed
    assert "--regions my_encoders:Other: the run" in itin(
        "predict", "run", *pair(here), "--regions", "my_encoders:Other", *NAMED[2:], code=2
    )
    itin("explain", "run", *pair(here), *NAMED, "--out", "drawn.png")
    assert Path("drawn.png").exists()
    table = "id,image,text\n" + "".join(f"{n},data/data/{n}.jpg,what a day\n" for n in (1, 2, 3))
    Path("pairs.csv").write_text(table)
    itin("predict", "run", "--table", "pairs.csv", *NAMED, "--out", "out.csv")
    assert pd.read_csv("out.csv")["predicted"].notna().all()


def test_one_pair_that_fails_is_one_line_of_the_table(here: Path) -> None:
    path = here / "my_encoders.py"
    path.write_text(path.read_text().replace("        return image\n", "        return image[40] * 0 + image\n"))
    record = here / "run" / "config.json"  # as if it had been trained on features by this file
    old, new = (hashlib.sha256(text.encode()).hexdigest() for text in (example() + CONTEXT, path.read_text()))
    record.write_text(record.read_text().replace(old, new))
    Image.new("RGB", (30, 41)).save("high.png")
    Path("pairs.csv").write_text("id,image,text\na,high.png,what a day\nb,data/data/1.jpg,what a day\n")
    itin("predict", "run", "--table", "pairs.csv", *NAMED, "--out", "out.csv")
    first, second = pd.read_csv("out.csv").to_dict("records")
    assert first["predicted"] in ("positive", "neutral", "negative")
    assert "the encoder my_encoders:Mean failed: IndexError" in second["error"]


def test_a_prediction_is_that_of_the_stored_features(here: Path) -> None:
    row = pd.read_csv("run/predictions.csv", dtype={"id": str}).iloc[0]
    text = (here / "data" / "data" / f"{row['id']}.txt").read_bytes().decode("gb18030")
    printed = itin("predict", "run", "--image", here / "data" / "data" / f"{row['id']}.jpg", "--text", text, *NAMED)
    for label in ("positive", "neutral", "negative"):
        assert float(printed.partition(f"{label} 0.")[2][:3]) / 1000 == pytest.approx(row[f"p_{label}"], abs=2e-3)


def test_a_changed_file_fills_another_store_and_predicts_nothing(here: Path) -> None:
    path = here / "my_encoders.py"
    path.write_text(path.read_text().replace("BINS = 8", "BINS = 9"))
    printed = itin("predict", "run", *pair(here), *NAMED, code=1)
    assert "its code differs" in printed
    assert "expected: {'class': 'my_encoders:" in printed
    forget(here)
    before = stores(here).values()
    itin("extract", "--dataset", "mvsa-single", "--root", "data", "--cache", "cache", "--max-regions", "4", *NAMED)
    assert len(list(here.glob("cache/mvsa-single/*-*/"))) == 2 * len(before)


def test_no_run_or_store_causes_an_import(evil: Path, here: Path) -> None:
    (store, *_) = stores(here).values()
    for first in (("predict",), ("explain", "--out", "drawn.png")):
        printed = itin(first[0], "run", *pair(here), *first[1:], code=1)
        assert "evil:ColourGrid" in printed
        assert "comes from a file" in printed
        itin(first[0], "run", *pair(here), *first[1:], *NAMED, code=2)  # not what the run says
    for command in (
        ("evaluate", "run"),
        ("report", "run", "--out", "page"),
        ("runs", "."),
        ("cache", "info", "--cache", "cache"),
        ("cache", "verify", "--cache", "cache"),
        ("cache", "verify", "--repair", store),
        ("cache", "export", store, "out.h5"),
        ("cache", "diff", store, store),
        ("weights",),
        ("train", "--cache", "cache", *SMALL, "--out", "again"),
    ):
        itin(*command)
    assert "evil:ColourGrid" in itin("predict", "again", *pair(here), code=1)
    assert not evil.exists()
    itin("predict", "run", *pair(here), *(word.replace("my_encoders", "evil") for word in NAMED), code=1)
    assert evil.exists(), "the trap works: named, it is imported"


def test_no_configuration_causes_an_import(evil: Path, here: Path) -> None:
    config = ExtractConfig(
        "mvsa-single", root=here / "data", cache=here / "other", only=("regions",),
        encoders=EncoderConfig(regions="evil:ColourGrid"),
    )  # fmt: skip
    with pytest.raises(EncoderError, match="evil:ColourGrid"):
        extract(ExtractConfig.from_record(config.to_record()))
    assert not evil.exists()


def test_parts_name_it_again(here: Path) -> None:
    words = ("extract", "--dataset", "mvsa-single", "--root", "data", "--cache", "parts", "--only", "regions,tokens")
    itin("cluster", "submit", "--dry-run", "--jobs", "1", "--", *words, *NAMED)
    (folder,) = submissions.find(here / "parts")
    one = submissions.read(folder)
    named = ["--regions", NAMES["regions"], "--text-encoder", NAMES["tokens"], "--context-encoder", NAMES["context"]]
    for script in ("parts", "consolidate"):
        assert f"--config {one.record} {' '.join(named)} " in (folder / f"{script}.sbatch").read_text()
    forget(here)
    bare = ("extract", "--config", one.record, "--part", "0/1")
    assert f"--regions {NAMES['regions']}" in itin(*bare, code=1)
    assert "says my_encoders:ColourGrid" in itin(*bare, "--regions", "my_encoders:HashedLetters", code=2)
    assert "leave --limit out" in itin(*bare, *named, "--limit", "3", code=2)
    itin(*Extraction().part(one), "0/1")
    itin(*Extraction().consolidate(one))
    assert all(open_store(one.home / name).manifest["rows"] == 24 for name in one.stores)


def test_parts_on_dask_take_the_names_that_were_typed(here: Path) -> None:
    words = ("extract", "--dataset", "mvsa-single", "--root", "data", "--cache", "parts", "--only", "regions")
    named = ("--regions", NAMES["regions"])
    itin("cluster", "submit", "--dry-run", "--jobs", "1", "--", *words, *named)
    forget(here)
    (folder,) = submissions.find(here / "parts")
    config = ExtractConfig.from_record(submissions.read(folder).config)
    with pytest.raises(EncoderError, match="comes from a file"):
        run_part(replace(config, part=Part(0, 1)))
    assert run_part(replace(config, part=Part(0, 1)), (NAMES["regions"],)) == (24, 0)
    consolidate(config, [], (NAMES["regions"],))
    assert open_store(next(folder.parent.parent.glob("regions-*"))).manifest["rows"] == 24


def test_no_submission_causes_an_import(evil: Path, here: Path) -> None:
    shutil.copy("evil.py", "my_encoders.py")
    words = ("extract", "--dataset", "mvsa-single", "--root", "data", "--cache", "parts", "--only", "regions")
    itin("cluster", "submit", "--dry-run", "--jobs", "1", "--", *words, "--regions", NAMES["regions"])
    evil.unlink()
    forget(here)
    (folder,) = submissions.find(here / "parts")
    path = folder / "submission.json"
    path.write_text(path.read_text().replace("my_encoders:", "evil:"))
    itin("extract", "--config", path, "--part", "0/1", code=1)
    itin("extract", "--config", path, "--part", "0/1", "--regions", NAMES["regions"], code=2)
    itin("cluster", "submit", "--dry-run", "--", "extract", "--config", path, code=2)
    itin("cluster", "status", folder)
    CliRunner().invoke(main, ["cluster", "resubmit", str(folder)])
    assert not evil.exists()


def test_an_encoder_that_always_fails_ends_the_extraction(here: Path) -> None:
    source = CONTEXT.replace('return [{"context"', 'raise KeyError("palette")\n        return [{"context"')
    Path("broken.py").write_text(source)
    words = ("--dataset", "mvsa-single", "--root", "data", "--cache", "none", "--only", "context")
    printed = itin("extract", *words, "--context-encoder", "broken:Mean", code=1)
    assert "the encoder broken:Mean failed: KeyError: 'palette' (broken.py, line 13)" in printed
    assert not list(Path("none").glob("*/context-*/quarantine/*"))


def test_one_input_that_fails_is_in_quarantine(here: Path) -> None:
    fault = "        if image.shape[1] == 46:\n            raise KeyError('palette')\n        return image\n"
    Path("picky.py").write_text(CONTEXT.replace("        return image\n", fault))
    words = ("--dataset", "mvsa-single", "--root", "data", "--cache", "some", "--only", "context")
    printed = itin("extract", *words, "--context-encoder", "picky:Mean")
    assert "3 in quarantine" in printed  # 6, 13 and 20 are 46 pixels wide
    assert (
        "6: context: the encoder failed: the encoder picky:Mean failed: KeyError: 'palette' (picky.py, line 12)"
        in printed
    )
    (store,) = Path("some/mvsa-single").glob("context-picky_Mean-*")
    assert len(open_store(store)) == 21


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(("fault", "reason"), [
    ("raise KeyError('palette')", "the encoder failed: the encoder picky:Mean failed: KeyError: 'palette'"),
    ("return image * np.nan", "context holds values that are not finite"),
])  # fmt: skip
def test_where_only_inputs_are_missing_that_an_encoder_fails_on_they_are_in_quarantine(
    fault: str, reason: str, alone: bool, here: Path
) -> None:
    source = CONTEXT.replace(
        "        return image\n", f"        if image.shape[1] == 46:\n            {fault}\n        return image\n"
    )
    Path("picky.py").write_text(source)
    words = ["--dataset", "mvsa-single", "--root", "data", "--cache", "some", "--only", "context"]
    words += ["--context-encoder", "picky:Mean", *(("--batch-size", "1") if alone else ())]
    itin("extract", *words, "--limit", "5")  # none of those that fail
    Path("rest.txt").write_text("6\n13\n")
    printed = itin("extract", *words, "--ids", "rest.txt")  # nothing but those
    assert "2 in quarantine:" in printed
    assert f"  6: context: {reason}" in printed
    assert "2 in quarantine:" in itin("extract", *words, "--ids", "rest.txt", "--retry-quarantined")
    assert "3 in quarantine:" in itin("extract", *words)  # 20 too
    assert "3 in quarantine:" in itin("extract", *words, "--retry-quarantined")
    (store,) = Path("some/mvsa-single").glob("context-picky_Mean-*")
    assert len(open_store(store)) == 21


def test_an_encoder_that_fails_on_all_that_is_missing_and_on_what_it_made_ends_the_extraction(here: Path) -> None:
    there = "        if Path('broken').exists():\n            raise KeyError('palette')\n        return image\n"
    source = "from pathlib import Path\n" + CONTEXT.replace("        return image\n", there)
    Path("picky.py").write_text(source)
    words = ["--dataset", "mvsa-single", "--root", "data", "--cache", "some", "--only", "context"]
    words += ["--context-encoder", "picky:Mean"]
    itin("extract", *words, "--limit", "5")
    Path("broken").touch()
    assert "the encoder picky:Mean failed: KeyError: 'palette'" in itin("extract", *words, code=1)
    assert not list(Path("some").glob("*/context-*/quarantine/*"))
    Path("broken").unlink()
    assert "quarantine:" not in itin("extract", *words)
