"""Errors of runs and sweeps, and of what reads them: other folders, other stores, code that was not named."""

from __future__ import annotations

from pathlib import Path

import pytest

from .errors import Case, held, removed, wrote
from .world import EXTRACT, NAMED, SMALL, tell

RUN = "runs/one"
PAIR = ("--image", "MVSA/data/3.jpg", "--text", "a day")
TRAIN = ("train", *SMALL)
SWEEP = ("sweep", *SMALL, "--stack", 2)
RESUME = ("sweep", "--resume", "runs/sweep", "--device", "cpu")
EVALUATE = ("evaluate", RUN, "--device", "cpu")


def another_label() -> None:
    """A data set whose labels have changed since the training."""
    path = Path("MVSA/labelResultAll.txt")
    path.write_text(path.read_text().replace("positive", "neutral"))
    assert tell(*EXTRACT).startswith("exit code 0")


def another_encoder() -> None:
    """Encoders whose code has changed since the training."""
    path = Path("own.py")
    path.write_text(path.read_text().replace("len(word) / 8", "len(word) / 9"))


def more(*words: object) -> None:
    assert tell(*words).startswith("exit code 0")


CASES: dict[str, Case] = {
    "a run that is not there": [
        ("evaluate", "runs/none"),
        ("predict", "runs/none", *PAIR),
        ("explain", "runs/none", *PAIR, "--out", "fig7.png"),
        ("export", "runs/none", "--to", "safetensors"),
        ("report", "runs/none"),
    ],
    "a folder that is no run": [
        ("evaluate", "MVSA"),
        ("evaluate", "runs/sweep"),
        ("predict", "cache", *PAIR),
        ("report", "MVSA"),
        ("export", "own.py", "--to", "safetensors"),
    ],
    "a run that was copied in part": [removed(f"{RUN}/model.safetensors"), EVALUATE, ("predict", RUN, *NAMED, *PAIR)],
    "weights that are damaged": [wrote(f"{RUN}/model.safetensors", "no weights"), EVALUATE],
    "a run of a later version": [
        lambda: Path(f"{RUN}/config.json").write_text('{"format": 99, "config": {}}'),
        ("runs",),
        EVALUATE,
    ],
    # What is there already
    "a run that is there already": [(*TRAIN, "--out", RUN)],
    "a sweep that is there already": [(*SWEEP, "--out", "runs/sweep")],
    "an export that is there already": [wrote("new/file"), ("export", RUN, "--to", "safetensors", "--out", "new")],
    # Sweeps
    "a sweep that is not there": [("sweep", "--resume", "runs/none"), ("sweep", "--resume", RUN)],
    "a sweep with another cache": [removed("cache/mvsa-single/tokens-*"), RESUME, (*RESUME, "--cache", "other")],
    "a sweep after the labels have changed": [another_label, RESUME],
    # Stores
    "stores that have moved": [lambda: Path("cache").rename("elsewhere"), EVALUATE, (*EVALUATE, "--cache", "none")],
    "stores of another extraction": [another_encoder, removed("cache"), lambda: more(*EXTRACT), EVALUATE],
    "labels that have changed": [another_label, EVALUATE],
    # Predictions
    "code that was not named": [("predict", RUN, *PAIR), ("explain", RUN, *PAIR, "--out", "fig7.png")],
    "code of another name": [("predict", RUN, *PAIR, *NAMED[:-1], "own:Quarters")],
    "code that has changed": [another_encoder, ("predict", RUN, *NAMED, *PAIR)],
    "code that is gone": [removed("own.py"), ("predict", RUN, *NAMED, *PAIR)],
    "a model that is not on the hub": [("predict", "none/none", *PAIR)],
    "a run on features of another tool": [
        lambda: more("cache", "export", "cache/mvsa-single/tokens-*", "tokens.npz"),
        lambda: more("cache", "import", "tokens.npz", "--from", "npz", "--kind", "tokens", "--name", "theirs"),
        lambda: more(*TRAIN, "--text-encoder", "theirs", "--out", "new"),
        ("predict", "new", *NAMED[:2], *NAMED[4:], *PAIR),
    ],
    # Pages
    "a report of other pictures": [("report", RUN, "--images", "none")],
    "a page that cannot be written": [wrote("file"), ("report", RUN, "--out", "file/page")],
    "figures that the regions are too few for": [
        ("reproduce", *SMALL, "--m", "0,9", "--tables", "none", "--figures", 5, "--out", "made")
    ],
}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("runs", CASES, title)
