"""Errors of the command line itself: words, options and values that do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from .errors import Case, held
from .world import EXTRACT, SMALL

TRAIN = ("train", *SMALL)
SWEEP = ("sweep", *SMALL, "--out", "new")
SUBMIT = ("cluster", "submit", "--dry-run", "--jobs", 2)

CASES: dict[str, Case] = {
    "a command that is not there": [["trian"]],
    "a subcommand that is not there": [["cache", "list"]],
    "an option that is not there": [["train", "--lamda", 0.2]],
    "an option without its value": [["train", "--m"]],
    "a word too many": [["evaluate", "runs/one", "runs/two"]],
    "an argument too few": [["evaluate"]],
    "the former --set": [["sweep", "--set", "batch_size=32,64", "--set", "mask=false"]],
    # Values
    "a word for a number": [["train", "--m", "two"], ["sweep", "--m", "two"]],
    "a number out of its range": [
        ["train", "--m", -1],
        ["train", "--lam", 1.5],
        ["train", "--batch-size", 0],
        ["train", "--dropout", 1],
        ["sweep", "--lam", "0.2,1.5"],
        ["extract", "--dataset", "mvsa-single", "--shard-size", 0],
        ["runs", "--best", 0],
    ],
    "a value that is not one of the choices": [
        ["train", "--head", "bert"],
        ["train", "--gate", "matrix"],
        ["sweep", "--preset", "paper,authors"],
        ["export", "runs/one", "--to", "tflite"],
        ["data", "fetch", "official"],
    ],
    "ranges": [
        ["sweep", "--lam", "0:1"],
        ["sweep", "--m", "6:0"],
        ["sweep", "--m", "0:3:0.5"],
        ["sweep", "--lam", "all"],
        ["sweep", "--mask", "yes"],
    ],
    "seeds": [[*TRAIN, "--seed", 1, "--seeds", 2], [*TRAIN, "--seeds", 0], [*TRAIN, "--seeds", "three"]],
    "a device that is not there": [[*TRAIN, "--device", "gpu"], [*EXTRACT, "--device", "gpu"]],
    "a precision that the device lacks": [[*SWEEP, "--precision", "tf32"], [*SWEEP, "--cuda-graphs"]],
    # Training
    "protocols": [
        [*TRAIN, "--protocol", "811"],
        [*TRAIN, "--protocol", "folds:2"],
        [*TRAIN, "--protocol", "folds:ten"],
        [*TRAIN, "--protocol", "folds:3", "--fold", 3],
        [*TRAIN, "--fold", 1],
        [*TRAIN, "--protocol", "itin-811", "--split", "split.csv"],
        [*TRAIN, "--protocol", "own"],
        [*TRAIN, "--protocol", "clmlf"],
    ],
    "targets": [
        [*TRAIN, "--target", "mood"],
        [*TRAIN, "--target", "label+label"],
        [*TRAIN, "--target", "label+intensity", "--target-weights", "1"],
        [*TRAIN, "--target", "label+intensity", "--target-weights", "1+x"],
        [*TRAIN, "--label-from", "rule"],
        [*TRAIN, "--select", "mae"],
        [*TRAIN, "--target", "intensity", "--select", "accuracy"],
    ],
    "options that exclude each other": [
        [*TRAIN, "--m", 0, "--ablation", "no-context"],
        [*TRAIN, "--head", "concat", "--m", 0],
        [*TRAIN, "--warmup", 2],
        [*TRAIN, "--lexicons", "senticnet"],
    ],
    "a sweep in two ways at once": [
        [*SWEEP, "--grid", "--paper"],
        [*SWEEP, "--random", 0],
        [*SWEEP, "--plan", "--consolidate"],
        [*SWEEP, "--part", "0/2"],
        [*SWEEP, "--retry-failed"],
        [*SWEEP, "--plan", "--inner-folds", 3],
        [*SWEEP, "--protocol", "folds:3", "--optuna", 2],
        [*SWEEP, "--m", 0, "--ablation", "no-context"],
        ["sweep", "--resume", "runs/sweep", "--m", 3],
    ],
    "what is reproduced": [
        ["reproduce", *SMALL, "--out", "made", "--tables", 4],
        ["reproduce", *SMALL, "--out", "made", "--figures", "all"],
        ["reproduce", *SMALL, "--out", "made", "--pairs", "1,x"],
    ],
    # Extraction
    "no data set": [["extract"], ["extract", "--dataset", "mvsa"]],
    "kinds": [[*EXTRACT, "--only", "regions,words"], [*EXTRACT, "--only", "scene"]],
    "which samples": [[*EXTRACT, "--limit", 0], [*EXTRACT, "--limit", 5, "--ids", "ids.txt"]],
    "parts": [
        [*EXTRACT, "--part", 3],
        [*EXTRACT, "--part", "2/2"],
        [*EXTRACT, "--plan", "--consolidate"],
        [*EXTRACT, "--plan", "--part", "0/2"],
    ],
    "regions": [
        [*EXTRACT, "--region-grid", 3],
        [*EXTRACT, "--max-regions", 0],
        [*EXTRACT, "--min-regions", 40],
    ],
    "random weights": [[*EXTRACT, "--random-init", "yes"], [*EXTRACT, "--random-init", "words=1"]],
    "names": [[*EXTRACT, "--name", "my data"], [*EXTRACT, "--name", "hfm"]],
    "options of other data sets": [
        [*EXTRACT, "--aspect", "pair"],
        [*EXTRACT, "--classes", "good,bad"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--labelled-only"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--encoding", "utf-8"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--columns", "text"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--columns", "words=tweet"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--classes", "good"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--score-range", "1"],
        ["extract", "--dataset", "folder", "--root", "MVSA", "--score-range", "1,0"],
    ],
    # What reads runs
    "what is predicted": [
        ["predict", "runs/one"],
        ["predict", "runs/one", "--image", "a.jpg"],
        ["predict", "runs/one", "--image", "a.jpg", "--text", "a day", "--table", "more.csv"],
        ["predict", "runs/one", "--image", "a.jpg", "--text", "a day", "--out", "found.csv"],
    ],
    "a drawing of no kind": [["explain", "runs/one", "--image", "a.jpg", "--text", "a day", "--out", "fig7.gif"]],
    "listing runs": [
        ["runs", "none"],
        ["runs", "--where", "m"],
        ["runs", "--where", "heads=itin"],
        ["runs", "--where", "m<two"],
        ["runs", "--sort", "accuracy"],
        ["runs", "--csv", "runs.csv", "--json"],
    ],
    "nothing to report": [["report"]],
    "an export to nothing": [["export", "runs/one"]],
    # The cache
    "several stores, or none": [
        ["cache", "export", "mvsa-single", "new.h5"],
        ["cache", "diff", "mvsa-single", "mvsa-single"],
    ],
    "a merge into a store": [["cache", "merge", "mvsa-single", "--into", "cache/mvsa-single/tokens-*"]],
    "a merge into nothing": [["cache", "merge", "mvsa-single"]],
    "an import of no form": [
        ["cache", "import", "MVSA"],
        ["cache", "import", "MVSA", "--from", "npz", "--map", "boxes"],
    ],
    "an export of no form": [
        ["cache", "export", "cache/mvsa-single/tokens-*", "new.txt"],
        ["cache", "export", "cache/mvsa-single/tokens-*", "new.h5", "--first", 2],
        ["cache", "export", "cache/mvsa-single/regions-*", "new.h5", "--first", 0],
    ],
    "an encoding without a folder": [["data", "check", "--encoding", "utf-8"]],
    # Clusters
    "nothing to submit": [["cluster", "submit"], [*SUBMIT, "--", "train"], [*SUBMIT, "--", "extract"]],
    "a submission of parts": [[*SUBMIT, "--", *EXTRACT, "--part", "0/2"], [*SUBMIT, "--", *SWEEP, "--plan"]],
    "an engine without its options": [
        ["cluster", "submit", "--engine", "dask", "--", *EXTRACT],
        ["cluster", "submit", "--engine", "dask", "--scheduler", "tcp://host:8786", "--dry-run", "--", *EXTRACT],
        [
            "cluster",
            "submit",
            "--engine",
            "dask",
            "--scheduler",
            "tls://host:8786",
            "--tls-ca",
            "own.py",
            "--",
            *EXTRACT,
        ],
        ["cluster", "submit", "--engine", "dask", "--scheduler", "tcp://host:8786", "--", *SWEEP],
    ],
    "a site that is not there": [[*SUBMIT, "--site", "site.yaml", "--", *EXTRACT]],
    "a record with other options": [["extract", "--config", "submission.json", "--shard-size", 8]],
}


@pytest.mark.parametrize("title", CASES)
def test_error(title: str, here: Path) -> None:
    held("options", CASES, title)
