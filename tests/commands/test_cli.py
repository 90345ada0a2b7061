"""The command line as a user meets it: help, errors, and the whole job on the real sample."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from itin.cache import open_store, read_table
from itin.cli import COMMANDS, main
from itin.commands import extract as extract_command
from itin.train.runs.folder import UNTRAINED_NOTE, load_run

Draw = Callable[..., Path]

TINY_BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
SMALL = ["--d", "32", "--k", "16", "--epochs", "2"]


def itin(*arguments: object, code: int = 0) -> str:
    """Runs a command and returns all that it printed."""
    result: Result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def encoders(folder: Path) -> list[str]:
    """Options for small untrained encoders, with a vocabulary from the data set's texts."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(TINY_BERT))
    return ["--regions", "grid-small", "--text-encoder", str(folder), "--random-init", "0", "--max-regions", "4"]


def test_help_starts_without_torch() -> None:
    code = (
        "import sys; from itin.cli import main\n"
        "for name in '', 'extract', 'train', 'sweep', 'reproduce':\n"
        "    main([*name.split(), '-h'], standalone_mode=False)\n"
        "assert not {'torch', 'pandas'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_and_option_is_explained(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    assert command.name == name
    assert command.help
    assert command.short_help
    assert "torch" not in sys.modules or itin(name, "--help")
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"itin {name} {parameter.opts[0]} has no help"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "--dataset", "folder", "--limit", "0"], "limit: expected an integer of at least 1"),
        (["extract", "--dataset", "folder", "--columns", "id"], "--columns takes pairs such as id=ID,text=TWEET"),
        (["extract", "--dataset", "folder", "--only", "sound"], "only: expected some of regions, tokens, context"),
        (["train", "--m", "0", "--ablation", "no-context"], "--m: 0 leaves no region"),
        (["train", "--lam", "1.5"], "lam: expected a number from 0 to 1, got 1.5"),
        (["train", "--device", "cuda:99"], "device 'cuda:99' is not available here"),
        (
            ["train", "--preset", "official", "--cuda-graphs"],
            "mask: expected True with CUDA graphs",
        ),
        (
            ["sweep", "--device", "cpu", "--precision", "bfloat16"],
            "--precision is for runs side by side",
        ),
        (["sweep", "--device", "cpu", "--cuda-graphs"], "--cuda-graphs is for runs side by side"),
        (["predict", "somewhere", "--image", "x.jpg"], "give --image FILE and --text TEXT, or --table FILE"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: list[str], message: str) -> None:
    assert message in itin(*arguments, code=2)


def test_what_is_missing_is_said_with_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_DATA", raising=False)
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path))
    assert "ITIN_DATA" in itin("extract", "--dataset", "mvsa-single", code=1)
    assert "run `itin extract` first" in itin("train", "--cache", tmp_path, code=1)
    assert "is not a run folder" in itin("evaluate", tmp_path, code=1)
    assert "vg-frcnn.safetensors" in itin("weights")


def test_missing_weights_stop_before_any_work(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITIN_WEIGHTS", str(tmp_path / "none"))
    root = draw_mvsa(tmp_path / "data", pairs=3)
    output = itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", code=1)
    assert "vg-frcnn needs the weights of the Visual Genome Faster R-CNN" in output
    assert "--regions grid" in output
    assert not list((tmp_path / "cache").glob("*/*/shard-*"))


def test_several_data_sets_and_stores_must_be_named(tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=30), tmp_path / "cache"
    small = encoders(tmp_path / "bert")
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *small)
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *small[:-1], "6", "--only", "regions")
    output = itin("train", "--cache", cache, *SMALL, code=1)
    assert "several stores hold regions features" in output
    names = sorted(path.name for path in (cache / "mvsa-single").glob("regions-*"))
    assert all(name in output for name in names)
    for name in (names[0], names[1].rpartition("-")[2]):
        itin("train", "--cache", cache, *SMALL, "--regions", name, "--out", tmp_path / "runs" / name)
    assert "no regions features of vg-frcnn" in itin("train", "--cache", cache, "--regions", "vg-frcnn", code=1)
    output = itin("train", "--cache", cache, "--regions", names[0], "--m", "9", code=1)
    assert "holds too few regions" in output
    (cache / "other").mkdir()
    (cache / "other" / "dataset.json").write_text((cache / "mvsa-single" / "dataset.json").read_text())
    assert "add --dataset mvsa-single" in itin("train", "--cache", cache, code=1)
    assert "no data set nowhere" in itin("train", "--cache", cache, "--dataset", "nowhere", code=1)


def test_a_folder_of_ones_own(tmp_path: Path, draw_mvsa: Draw) -> None:
    source = draw_mvsa(tmp_path / "mvsa", pairs=24)
    root = tmp_path / "mine"
    (root / "pictures").mkdir(parents=True)
    rows = []
    for i in range(1, 25):
        (source / "data" / f"{i}.jpg").rename(root / "pictures" / f"{i}.jpg")
        label = ("positive", "neutral", "negative")[i % 3]
        rows.append({"tweet": f"t{i}", "file": f"pictures/{i}.jpg", "words": f"{label} thing {i}", "mood": label})
    rows[3]["mood"] = "angry"
    rows[4]["file"] = "../mvsa/data/1.txt"
    pd.DataFrame(rows).to_csv(root / "table.csv", index=False)
    cache = tmp_path / "cache"
    columns = ["--columns", "id=tweet,image=file,text=words,label=mood"]
    output = itin(
        "extract", "--dataset", "folder", "--root", root, "--cache", cache, *columns, *encoders(tmp_path / "b")
    )
    assert "22 pairs" in output
    assert "t4: " in output
    assert "t5: " in output
    (folder,) = cache.iterdir()
    assert folder.name.startswith("mine-")
    assert len(read_table(folder).samples) == 22
    itin("train", "--cache", cache, *SMALL, "--out", tmp_path / "run")
    (root / "more.jsonl").write_text(
        json.dumps({"id": "a", "image": "pictures/1.jpg", "text": "a positive thing"})
        + "\n"
        + json.dumps({"id": "b", "image": "pictures/nowhere.jpg", "text": "gone"})
        + "\n"
        + json.dumps({"id": "c", "image": "pictures/2.jpg", "text": "\u200b"})
        + "\n"
    )
    itin("predict", tmp_path / "run", "--table", root / "more.jsonl", "--out", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        found = {row["id"]: row for row in csv.DictReader(file)}
    assert found["a"]["predicted"] in ("positive", "neutral", "negative")
    assert sum(float(found["a"][f"p_{label}"]) for label in ("positive", "neutral", "negative")) == pytest.approx(1)
    assert "is missing" in found["b"]["error"]
    assert found["c"]["error"] == "the text gives no WordPiece"
    printed = itin("predict", tmp_path / "run", "--table", root / "more.jsonl")
    assert next(csv.DictReader(io.StringIO(printed)))["id"] == "a"
    assert "2 of 3 rows could not be predicted" in printed
    label = {"mood": "4"}  # no label of ours: predicting needs none
    pd.DataFrame([{**row, **label} for row in rows[:3]]).to_csv(root / "more.csv", index=False)
    itin("predict", tmp_path / "run", "--table", root / "more.csv", "--out", tmp_path / "out.csv", *columns)
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == [row["tweet"] for row in rows[:3]]
    said = itin("predict", tmp_path / "run", "--table", root / "more.csv", "--columns", "words=text", code=2)
    assert "--columns: expected names of id, image, text, label" in said


def test_the_whole_job_on_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    root, cache, run = shared_data / "mvsa-single-sample", tmp_path / "cache", tmp_path / "run"
    small = [*encoders(tmp_path / "bert"), "--cache", cache]
    output = itin("extract", "--dataset", "mvsa-single", "--root", root, *small, "--limit", "100", "--shard-size", "32")
    assert "416 pairs (193 positive, 131 negative, 65 neutral, 27 unlabelled)" in output
    assert "27 without a label by its rule, for other targets: text and image labels conflict" in output
    assert UNTRAINED_NOTE in output
    folder = cache / "mvsa-single"
    (regions,) = folder.glob("regions-*")
    labels = read_table(folder).samples.set_index("id")["label"]
    assert labels[open_store(regions).ids].notna().sum() == 100
    assert open_store(regions).ids == labels.index.tolist()[: len(open_store(regions).ids)]
    assert not open_store(regions).manifest["complete"]

    itin("extract", "--dataset", "mvsa-single", "--root", root, *small)
    first = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    output = itin("extract", "--dataset", "mvsa-single", "--root", root, *small)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == first
    table = read_table(folder)
    assert len(table.samples) == 416
    assert table.rejected.empty
    for kind in ("regions", "tokens", "context"):
        (path,) = folder.glob(f"{kind}-*")
        store = open_store(path)
        assert store.manifest["complete"]
        assert sorted(store.ids) == sorted(table.samples["id"])
    sizes = table.samples.set_index("id").loc["4066", ["width", "height"]].tolist()
    assert sizes == [48, 48]

    output = itin("train", "--cache", cache, "--m", "2", "--lam", "0.2", *SMALL, "--out", run)
    assert "389 labelled samples" in output
    assert UNTRAINED_NOTE in output
    opened = load_run(run)
    assert opened.note == UNTRAINED_NOTE
    assert [opened.metrics[part]["n"] for part in ("val", "test")] == [38, 38]
    assert len(opened.parts) == 389
    printed = itin("evaluate", run)
    assert f"{opened.metrics['test']['accuracy']:.4f}" in printed

    row = opened.predictions[opened.predictions["part"] == "test"].iloc[0]
    sample = table.samples.set_index("id").loc[row["id"]]
    printed = itin("predict", run, "--image", sample["image"], "--text", sample["text"])
    assert printed.startswith(row["predicted"])
    for label in ("positive", "neutral", "negative"):
        shown = float(printed.partition(f"{label} 0.")[2][:3]) / 1000
        assert shown == pytest.approx(row[f"p_{label}"], abs=2e-3)

    again = tmp_path / "again"
    itin("train", "--cache", cache, "--m", "2", "--lam", "0.2", *SMALL, "--out", again)
    for name in ("metrics.json", "predictions.csv", "model.safetensors"):
        assert (again / name).read_bytes() == (run / name).read_bytes()
    assert "is already there" in itin("train", "--cache", cache, *SMALL, "--out", run, code=1)


@pytest.mark.slow
def test_vg_frcnn_on_real_photos(shared_data: Path, tmp_path: Path) -> None:
    root, cache = shared_data / "mvsa-single-sample", tmp_path / "cache"
    options = ["--dataset", "mvsa-single", "--root", root, "--cache", cache, "--limit", "3", "--random-init", "0"]
    output = itin("extract", *options, "--only", "regions")
    assert "vg-frcnn" in output
    assert UNTRAINED_NOTE in output
    (path,) = (cache / "mvsa-single").glob("regions-vg-frcnn-*")
    store = open_store(path)
    assert store.feature_dim == 2048
    assert len(store) == 3
    rows = np.arange(3)
    counts, scores = store.read("counts", rows), store.read("scores", rows)
    regions, boxes = store.read("regions", rows).astype(np.float32), store.read("boxes", rows)
    sizes = read_table(cache / "mvsa-single").samples.set_index("id").loc[store.ids, ["width", "height"]].to_numpy()
    assert ((counts >= 10) & (counts <= 36)).all()
    for row, count in enumerate(counts):
        assert (np.diff(scores[row, :count]) <= 0).all()
        assert np.isfinite(regions[row]).all()
        assert len(np.unique(regions[row, :count].sum(1))) == count
        assert (boxes[row, :count, :2] >= 0).all()
        assert (boxes[row, :count, 2:] <= sizes[row]).all()
        assert (boxes[row, :count, 2:] > boxes[row, :count, :2]).all()
        assert (store.read("objects", rows)[row, :count] >= 0).all()
    assert "there before" in itin("extract", *options, "--only", "regions")
    assert len(list(path.glob("shard-*"))) == 1


def test_predict_refuses_other_encoders(tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache, run = draw_mvsa(tmp_path / "data", pairs=24), tmp_path / "cache", tmp_path / "run"
    bert = tmp_path / "bert"
    itin("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache, *encoders(bert))
    itin("train", "--cache", cache, *SMALL, "--out", run)
    image = root / "data" / "1.jpg"
    output = itin("predict", run, "--image", image, "--text", "a positive day")
    assert "aligned words" in output
    assert "not a JPEG" in itin("predict", run, "--image", root / "data" / "1.txt", "--text", "x", code=1)
    (bert / "config.json").write_text(json.dumps({**TINY_BERT, "intermediate_size": 128}))
    output = itin("predict", run, "--image", image, "--text", "a positive day", code=1)
    assert "the tokens encoder here is not the one that the run was trained with: weights differs" in output


def test_ctrl_c_leaves_a_good_cache(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    from itin.extract import fill

    root, cache = draw_mvsa(tmp_path / "data", pairs=12), tmp_path / "cache"
    options = [
        "--dataset",
        "mvsa-single",
        "--root",
        root,
        "--cache",
        cache,
        "--shard-size",
        "4",
        *encoders(tmp_path / "b"),
    ]
    image_as_scanned, calls = fill.image_as_scanned, []

    def interrupt(sample: Any) -> Any:
        calls.append(sample.image)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return image_as_scanned(sample)

    with monkeypatch.context() as patch:
        patch.setattr(fill, "image_as_scanned", interrupt)
        output = itin("extract", *options, "--workers", "1", "--batch-size", "2", code=130)
    assert "Stopped. What was committed is kept" in output
    assert list((cache / "mvsa-single").glob("regions-*/shard-00000.h5"))
    assert "Done in" in itin("extract", *options)
    (path,) = (cache / "mvsa-single").glob("regions-*")
    assert len(open_store(path)) == 12


@pytest.mark.parametrize("broken", [2, 12])
def test_quarantine_counts_samples_in_lines_too(tmp_path: Path, draw_mvsa: Draw, broken: int) -> None:
    """One sample may be in quarantine for several kinds of feature, and for a text and an image."""
    root = draw_mvsa(tmp_path / "data", pairs=14)
    for id in range(1, broken + 1):
        image = root / "data" / f"{id}.jpg"
        image.write_bytes(image.read_bytes()[:-40])
    (root / "data" / "14.txt").write_bytes(b" ")
    output = itin(
        "extract", "--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", *encoders(tmp_path / "b")
    )
    lines = output.splitlines()
    begin = lines.index(f"{broken + 1} in quarantine:") + 1
    end = next(number for number in range(begin, len(lines)) if not lines[number].startswith("  "))
    listed = lines[begin:end]
    more = [int(line.split()[2]) for line in listed if line.startswith("  ... and ")]
    samples = [line.split(":")[0].strip() for line in listed if not line.startswith("  ... and ")]
    assert len(samples) + sum(more) == broken + 1
    assert samples == ["14", *map(str, range(1, broken + 1))][: extract_command.MAX_LISTED]
    assert listed[0] == "  14: text is empty"
    assert listed[1].startswith("  1: regions, context: JPEG image cannot be decoded")


def test_one_line_a_sample() -> None:
    reasons = [
        ("a", "regions", "dark"),
        ("b", "", "no text"),
        ("a", "context", "dark"),
        ("a", "tokens", "long"),
        ("b", "", "twice"),
    ]
    assert extract_command.lines_by_sample(reasons) == ["a: regions, context: dark; tokens: long", "b: no text; twice"]


def test_unread_files_say_come_again(tmp_path: Path, draw_mvsa: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    from itin.errors import TransientError
    from itin.extract import fill

    root = draw_mvsa(tmp_path / "data", pairs=3)
    options = ["--dataset", "mvsa-single", "--root", root, "--cache", tmp_path / "cache", *encoders(tmp_path / "b")]

    def shaky(sample: Any) -> Any:
        raise TransientError(f"{sample.image} could not be read: Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(fill, "image_as_scanned", shaky)
        output = itin("extract", *options, "--only", "context", code=75)
    assert "3 could not be read this time: run the same command again." in output
    assert "Done in" in itin("extract", *options, "--only", "context")


def test_module_runs_as_a_program() -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-m", "itin", "--version"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "version" in done.stdout
