"""Errors of the cache: what is not in it, what does not fit, and what is read from other tools and written for them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from .errors import Case, copied, held, removed, wrote
from .world import EXTRACT, SMALL, tell

TRAIN = ("train", *SMALL)
PLACE = "cache/mvsa-single"
TOKENS, REGIONS = f"{PLACE}/tokens-*", f"{PLACE}/regions-*"
NPZ = ("cache", "import", "theirs.npz", "--from", "npz", "--kind", "context")


def few() -> None:
    """The features of some pairs alone."""
    shutil.rmtree(next(Path(PLACE).glob("tokens-*")))
    assert tell(*EXTRACT, "--only", "tokens", "--limit", 6).startswith("exit code 0")


def unfinished() -> None:
    """A store whose extraction ended before its manifest."""
    (path,) = Path(PLACE).glob("tokens-*")
    (path / "manifest.json").unlink()


def newer() -> None:
    """A store of a later version of the format."""
    (path,) = Path(PLACE).glob("tokens-*/manifest.json")
    path.write_text(re.sub(r'"format": \d+', '"format": 99', path.read_text()))


def theirs(ids: list[str], width: int = 3) -> None:
    """Features of other tools: vectors of images."""
    np.savez("theirs.npz", ids=np.array(ids), context=np.zeros((len(ids), width), np.float32))


CASES: dict[str, Case] = {
    # What is not there
    "an empty cache": [
        removed("cache"),
        TRAIN,
        ("cache", "info"),
        ("cache", "verify"),
        ("data", "check"),
        ("sweep", *SMALL),
        ("cluster", "status"),
    ],
    "a data set that is not there": [(*TRAIN, "--dataset", "msed"), ("data", "check", "--dataset", "msed")],
    "two data sets": [copied(PLACE, "cache/other"), TRAIN, ("data", "check")],
    "a kind of features that is missing": [removed(TOKENS), TRAIN, (*TRAIN, "--head", "text-only")],
    "features of another encoder": [(*TRAIN, "--text-encoder", "minilm"), (*TRAIN, "--scene-encoder", "resnet18")],
    "a head that reads more": [
        (*TRAIN, "--m", 9),
        (*TRAIN, "--preset", "official"),
        (*TRAIN, "--center-crop"),
        (*TRAIN, "--head", "multisentinet", "--scene"),
    ],
    "features of some pairs": [few, TRAIN],
    # What is damaged; more of it in the zoo
    "an extraction that has not ended": [unfinished, TRAIN, ("cache", "export", TOKENS, "new.h5")],
    "a store of a later version": [newer, ("cache", "info"), TRAIN],
    "a table that is missing": [removed(f"{PLACE}/dataset.json"), TRAIN, ("data", "check")],
    # Stores of other tools
    "an import of nothing": [
        ("cache", "import", "none", "--from", "npz"),
        ("cache", "import", "MVSA", "--from", "bua-npz"),
        ("cache", "import", "MVSA", "--from", "lmdb"),
    ],
    "an import of another file": [
        wrote("theirs.npz", "no zip"),
        NPZ,
        wrote("theirs.h5", "no HDF5"),
        ("cache", "import", "theirs.h5", "--from", "hdf5", "--kind", "context"),
    ],
    "an import of other ids": [lambda: theirs(["a", "b", "c"]), NPZ],
    "an import of few pairs": [lambda: theirs(["1", "2", "3"]), NPZ],
    "an import without an array": [
        lambda: np.savez("theirs.npz", ids=np.array(["1", "2"]), features=np.zeros((2, 3))),
        NPZ,
        (*NPZ, "--map", "context=vectors"),
    ],
    "an import without ids": [
        lambda: np.savez("theirs.npz", context=np.zeros((2, 3))),
        NPZ,
        (*NPZ, "--ids", "ids.txt"),
    ],
    "an export over a file": [wrote("new.h5"), ("cache", "export", TOKENS, "new.h5")],
    "an export of a kind that the form has not": [
        ("cache", "export", TOKENS, "new.tsv"),
        ("cache", "export", TOKENS, "new", "--to", "bua-npz"),
        ("cache", "export", TOKENS, "new", "--to", "hdf5"),
    ],
    # Several stores
    "a merge of nothing": [("cache", "merge", "none", "--into", "new/mvsa-single")],
    "a merge into itself": [("cache", "merge", "mvsa-single", "--into", PLACE)],
    "stores of other kinds": [("cache", "diff", TOKENS, REGIONS)],
    "a removal of what is not there": [("cache", "rm", "none"), ("cache", "rm", "cache"), ("cache", "rm", "MVSA")],
    "a file for a folder": [wrote("file"), (*EXTRACT, "--cache", "file"), (*TRAIN, "--cache", "file")],
}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("cache", CASES, title)
