"""The accuracy of every head on ten folds of the real data: the tables of docs/results.md.

    itin extract --dataset mvsa-single --root ROOT --cache CACHE --text-encoder minilm --regions efficientnet-lite0 \
--context-encoder efficientnet-lite0 --scene-encoder efficientnet-lite0-stages
    python tests/bench/results.py --cache CACHE --runs RUNS --jobs 2
    python tests/bench/results.py --runs RUNS --page docs/results.md

The second command trains every row of the tables with every seed on every fold and writes one file a run, under the
run's key; ended at any time and called again, it trains what is missing. --rows, --folds and --seeds choose among them.
The third reads these files alone. Each pair is tested once, in the fold that holds it, by a run that has not seen it:
epoch, C and weights are chosen on the run's own validation part. Needs no network.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from itin import disk
from itin.errors import ItinError
from itin.itin_head.registry import HEADS as HEADS_BY_NAME
from itin.itin_head.registry import label_of
from itin.parts import cores, threads_of_children
from itin.train.config import LABEL_FROM, TrainConfig
from itin.train.metrics import score
from itin.train.presets import with_preset
from itin.train.protocols.protocol import Protocol
from itin.train.statistics import PairedDifference, bootstrap, difference, holm, interval

PROTOCOL = Protocol("folds", folds=10, duplicates="stripped")
SEEDS = 3
GRU = {"d": 128, "k": 128, "m": 4, "epochs": 8}
"""The sizes of heads that read words through a GRU."""
SCORES = ("accuracy", "weighted_f1", "macro_f1")


INTRODUCTION = """\
Written by `tests/bench/results.py`, which says how to repeat it, from {runs} runs: {hours:.1f} hours of one core
({machines}).

- **Pairs**: {pairs} labelled pairs of MVSA-Single, all but those of the test part of CLMLF's split.
- **Features**: the trained encoders of `itin[small]`, MiniLM for words, EfficientNet-Lite0 for nine cells of the image
  and for all of it ({stores}).
- **Parts**: {protocol}. Each of the {folds} folds is the test part once, the next one the validation part, by which a
  run's epoch, C and weights are chosen. No run sees a text or image of its test part in training, retweets included.
- **Figures** are of all test pairs together, in per cent, means over the seeds, with 95% intervals of a bootstrap over
  pairs and seeds. Differences are on the same pairs and seeds; \\* stands where p, adjusted by Holm's method for the
  comparisons of the table, is below 0.05. Seconds are the median of a run: of one core, or of a share of a GPU.
"""
"""What the page says before its tables."""


@dataclass(frozen=True)
class Row:
    """A row of a table."""

    name: str
    fields: dict[str, Any]
    """Fields of `TrainConfig`, or `preset`."""
    seeds: int = SEEDS
    """How many seeds it is trained with: 1 where no seed changes anything."""

    def config(self, seed: int = 0, fold: int = 0) -> TrainConfig:
        """Return the recipe of one of its runs."""
        return TrainConfig(**with_preset(self.fields), seed=seed, fold=fold)


@dataclass(frozen=True)
class Table:
    """A table of the page."""

    title: str
    text: str
    rows: tuple[Row, ...]
    against: tuple[str, ...]
    """The rows that the others are held against, pair by pair."""
    seeds: int = SEEDS
    """How many seeds its figures are means of."""


OWN = {"target": "label+text-label+image-label"}
"""The annotators' labels of the text and of the image alone as further targets."""
LEXICONS = {"lexicons": "vader+afinn+pattern+hashtags+shape"}
TABLE = {"lexical": 32, "word_dropout": 0.3}
POOLED = {"head": "pooled", "dropout": 0.5, "epochs": 20}

RECIPE = {
    **{"optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.1, "batch_size": 128, "schedule": "cosine"},
    **{"ema": 0.99, "label_smoothing": 0.05, "select": "loss"},
}
SCENE = {"scene": True}
"""The maxima of the image encoder's inner layers beside its last one."""
ENSEMBLE = {"ensemble": 2}
PARTNER = {"partner": "linear"}
PARTS: dict[str, dict[str, Any]] = {
    "lexicons": LEXICONS,
    "learned table": TABLE,
    "recipe": RECIPE,
    "scene": SCENE,
    "ensemble": ENSEMBLE,
    "partner": PARTNER,
}
"""The parts of `best` beside the head that it starts from."""
BEST = {**POOLED, **{name: value for part in PARTS.values() for name, value in part.items()}}

HEADS = Table(
    "The heads",
    "Heads with a GRU have d = k = 128, m = 4 and 8 epochs, `pooled` has dropout 0.5 and 20 epochs; the rest is the "
    "paper's recipe. *Lexicons*: `--lexicons vader+afinn+pattern+hashtags+shape`. *Learned table*: `--lexical 32 "
    "--word-dropout 0.3`. *Own labels*: `--target label+text-label+image-label`, and `--label-from`. *Scene*: "
    "`--scene`, the maxima of EfficientNet-Lite0's inner layers.\n\n"
    "`best` was designed by looking at these folds, so its figures here are a little kind. On pairs that were never "
    "looked at, the 450 of the test part of CLMLF's split: open.",
    (
        Row("majority", {"head": "majority"}, seeds=1),
        Row("linear", {"head": "linear"}, seeds=1),
        Row("linear + lexicons", {"head": "linear", **LEXICONS}, seeds=1),
        Row(
            "linear + lexicons + own labels (rule)",
            {"head": "linear", **LEXICONS, **OWN, "label_from": "rule"},
            seeds=1,
        ),
        Row("linear + lexicons + scene", {"head": "linear", **LEXICONS, **SCENE}, seeds=1),
        Row("pooled", POOLED),
        *(Row(f"pooled + own labels ({way})", {**POOLED, **OWN, "label_from": way}) for way in LABEL_FROM),
        Row("pooled + lexicons", {**POOLED, **LEXICONS}),
        Row("text-only", {"head": "text-only", **GRU}),
        Row("image-only", {"head": "image-only", **GRU}),
        Row("concat", {"head": "concat", **GRU}),
        Row("global-local", {"head": "global-local", **GRU}),
        Row("itin", {"head": "itin", **GRU}),
        Row("itin + lexicons", {"head": "itin", **GRU, **LEXICONS}),
        Row("best", BEST),
    ),
    ("linear", "linear + lexicons", "itin"),
)


def without(part: str) -> dict[str, Any]:
    """Return the fields of `best` but those of a part, which are as in the head that it starts from."""
    return {name: value for name, value in BEST.items() if name not in PARTS[part] or name in POOLED}


BEST_PARTS = Table(
    "What the parts of `best` are worth",
    "One at a time, added to the head that it starts from and left out of `best`; one seed.",
    (
        Row("pooled", POOLED),
        *(Row(f"pooled + {part}", {**POOLED, **fields}) for part, fields in PARTS.items()),
        Row("pooled + own labels", {**POOLED, **OWN, "label_from": "mean"}),
        Row("best", BEST),
        Row("best + own labels", {**BEST, **OWN, "label_from": "mean"}),
        Row("best with itin-plus", {**BEST, "head": "itin-plus", "m": 4, "k": 128}),
        *(Row(f"best − {part}", without(part)) for part in PARTS),
    ),
    ("pooled", "best"),
    seeds=1,
)

CURVE = Table(
    "What more pairs would bring",
    "`best` on shares of each fold's training pairs (`--train-share`), the smaller within the larger; one seed.",
    (*(Row(f"best on {100 * share:g}%", {**BEST, "train_share": share}) for share in (0.25, 0.5)), Row("best", BEST)),
    ("best",),
    seeds=1,
)

TABLE_2 = Table(
    "The systems of Table II",
    "Each by the recipe of its own authors as far as it is known (`--preset original`), a GRU's d = k = 128, one seed. "
    "\\* behind a name: parts were inferred, docs/heads.md says which. In brackets what a head reads in place of what "
    "the stores do not hold: the regions, cells of a grid, have no names.",
    (
        *(
            Row(f"{head}{'*' * HEADS_BY_NAME[head].inferred}", {"preset": "original", "head": head, "m": 4, **fields})
            for head, fields in {
                "multisentinet": {},
                "hsan": GRU,
                "cnn-multi": {},
                "dnn-lr": {},
                "comn": {},
                "mvan": GRU,
                "lexicon": {},
            }.items()
        ),
        Row("itin", {"head": "itin", **GRU}),
    ),
    ("itin",),
    seeds=1,
)

TABLES = (HEADS, BEST_PARTS, CURVE, TABLE_2)


@dataclass(frozen=True)
class Run:
    """What a run's file holds of it."""

    config: TrainConfig
    data: dict[str, Any]
    """What the figures depend on beside the recipe: the stores' fingerprints, the digest of the samples."""
    classes: tuple[str, ...]
    ids: list[str]
    """The pairs of the test part."""
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    seconds: float
    machine: str
    has: list[str]
    """What its features hold beside what every store has, `itin_head.registry.SIZES`."""

    @classmethod
    def read(cls, path: Path) -> Run:
        """Read a run's file."""
        record = json.loads(path.read_text(encoding="utf-8"))
        test = record["test"]
        said = np.array(test["probabilities"][record["config"]["target"].split("+")[0]])
        return cls(
            TrainConfig.from_dict(record["config"]),
            record["data"],
            tuple(record["classes"]),
            test["ids"],
            np.array(test["labels"]),
            said.argmax(1),
            record["seconds"],
            record["machine"],
            record.get("has", []),
        )


def chosen(names: str) -> list[Row]:
    """Return the rows whose names fit one of some patterns, each once."""
    patterns = [name.strip() for name in names.split(",")]
    rows = {row.name: row for table in TABLES for row in table.rows}
    if unknown := [one for one in patterns if not any(fnmatch(name, one) for name in rows)]:
        raise SystemExit(f"--rows: expected some of {', '.join(rows)}, got {unknown[0]!r}")
    return [row for name, row in rows.items() if any(fnmatch(name, one) for one in patterns)]


def train(cache: Path, runs: Path, configs: dict[TrainConfig, str], jobs: int, device: str) -> int:
    """Train the runs that are missing, and return how many failed.

    Args:
        cache: the cache folder.
        runs: where the runs' files are.
        configs: the name of the row of each recipe.
        jobs: how many processes train, each with one thread.
        device: where they train.
    """
    from itin.train.features.find import find_features
    from itin.train.sweeps.prepare import SweepData

    found = find_features(cache, None, {}, configs)
    # Which features are read does not depend on the score that an epoch is selected by.
    data = SweepData(found.table, found.stores, [replace(one, select=None) for one in configs], PROTOCOL)
    facts = {
        "stores": {kind: store.fingerprint for kind, store in found.stores.items()},
        "untrained": sorted(kind for kind, store in found.stores.items() if store.untrained),
        "protocol": str(PROTOCOL),
    }
    todo = {data.key(config): config for config in configs}
    todo = {key: config for key, config in todo.items() if not (runs / f"{key}.json").exists()}
    work = sorted(todo, key=lambda key: -data.work(todo[key]))  # what takes long first
    print(f"{len(work)} of {len(configs)} runs to train", flush=True)
    runs.mkdir(parents=True, exist_ok=True)
    failed, begun = 0, time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, threads_of_children(1):
        setup = data.setup(Path(folder), runs, device=device)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(setup, facts)) as pool:
            futures = {pool.submit(_train, todo[key], key): todo[key] for key in work}
            for number, future in enumerate(as_completed(futures), 1):
                config = futures[future]
                named = f"{configs[config]}, fold {config.fold}, seed {config.seed}"
                error = future.exception()
                failed += error is not None
                said = error if error is not None else "{:.3f} in {:.1f} s".format(*future.result())
                minutes = (time.perf_counter() - begun) / 60
                print(f"{number}/{len(work)} {minutes:.1f} min  {named}: {said}", flush=True)
    return failed


_HELD: dict[str, Any] = {}
"""What a process that trains holds: `setup`, `facts` and the features of each view."""


def _begin(setup: Any, facts: dict[str, Any]) -> None:
    """Prepare a process that trains."""
    import torch

    from itin.train.features.shared import open_features

    torch.set_num_threads(1)
    features = {view: open_features(path) for view, path in setup.features.items()}
    _HELD.update(setup=setup, facts=facts, features=features)


def _train(config: TrainConfig, key: str) -> tuple[float, float]:
    """Train a run and write its file; return accuracy on the test part, and seconds."""
    from itin.train.loop import fit

    setup, features = _HELD["setup"], _HELD["features"][config.view]
    split = setup.splitter.split(config.split_seed, config.fold, config.targets, config.train_share)
    # With one thread a run's processor time is what it takes on a core of its own, however busy the machine is.
    clock = time.process_time if setup.device == "cpu" else time.perf_counter
    begun = clock()
    made = fit(config, features, split, setup.device)
    seconds = clock() - begun
    first = made.targets[0]
    parts = {
        part: {
            "ids": [features.ids[row] for row in split.rows(part)],
            "labels": features.column(first.name).values[split.rows(part)].tolist(),
            "probabilities": {name: np.round(said, 6).tolist() for name, said in made.predicted[part].items()},
        }
        for part in made.predicted
    }
    record = {
        "key": key,
        "config": config.to_dict(),
        "data": _HELD["facts"],
        "classes": first.classes,
        "best_epoch": made.best_epoch,
        "has": sorted(features.has),
        "seconds": round(seconds, 3),
        "machine": f"{platform.processor() or platform.machine()}, {setup.device}",
        **parts,
    }
    disk.replace(setup.runs / f"{key}.json", json.dumps(record).encode())
    return made.metrics["test"]["accuracy"], seconds


@dataclass(frozen=True)
class Outcome:
    """What is known of a row whose runs are all there."""

    labels: NDArray[np.int64]
    """(N,) of all pairs."""
    predicted: NDArray[np.int64]
    """(S, N)"""
    classes: tuple[str, ...]
    seconds: float
    """The median of a run."""
    stands_in: str = ""
    """What its head reads in place of what the stores do not hold."""

    @property
    def scores(self) -> dict[str, float]:
        """The means of the scores over the seeds."""
        each = [score(self.labels, np.eye(len(self.classes))[one], 0, self.classes) for one in self.predicted]
        return {name: float(np.mean([one[name] for one in each])) for name in SCORES}


def outcome_of(row: Row, runs: dict[TrainConfig, Run], folds: Sequence[int], seeds: int) -> Outcome | int:
    """Return the outcome of a row over some folds, or how many of its runs are missing."""
    wanted = {
        (seed, fold): replace(row.config(), seed=seed, fold=fold)
        for seed in range(min(seeds, row.seeds))
        for fold in folds
    }
    missing = sum(config not in runs for config in wanted.values())
    if missing:
        return missing
    own = {case: runs[config] for case, config in wanted.items()}
    predicted = [np.concatenate([own[seed, fold].predicted for fold in folds]) for seed in range(min(seeds, row.seeds))]
    labels = np.concatenate([own[0, fold].labels for fold in folds])
    # A row that no seed changes counts as often as the others have seeds.
    return Outcome(
        labels,
        np.stack(predicted * (seeds // len(predicted))),
        own[0, folds[0]].classes,
        float(np.median([run.seconds for run in own.values()])),
        label_of(row.config().head, own[0, folds[0]].has, row.config().scene).partition(" ")[2],
    )


def table_lines(table: Table, runs: dict[TrainConfig, Run], folds: Sequence[int]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"## {table.title}\n"
    if table.text:
        yield f"{table.text}\n"
    found = {row.name: outcome_of(row, runs, folds, table.seeds) for row in table.rows}
    there = {name: one for name, one in found.items() if isinstance(one, Outcome)}
    open_ = [f"{name} ({one} runs to go)" for name, one in found.items() if not isinstance(one, Outcome)]
    if there:
        against = [name for name in table.against if name in there]
        yield from scores_lines(there, against)
    if open_:
        yield f"\nNot complete: {', '.join(open_)}."


def scores_lines(there: dict[str, Outcome], against: Sequence[str]) -> Iterator[str]:
    """Yield the table of some outcomes on the same pairs."""
    labels = next(iter(there.values())).labels
    classes = next(iter(there.values())).classes
    if any(not np.array_equal(one.labels, labels) for one in there.values()):
        raise SystemExit("the runs are not of the same pairs: use a folder of their own for each cache")
    resampled = bootstrap(labels, [one.predicted for one in there.values()], len(classes))
    names, scores = list(there), {name: one.scores for name, one in there.items()}
    apart: dict[tuple[str, str], PairedDifference] = {}
    for base in against:
        for name in names:
            if name != base:
                pair = (resampled["accuracy"][names.index(one)] for one in (name, base))
                apart[name, base] = difference(scores[name]["accuracy"] - scores[base]["accuracy"], *pair)
    adjusted = dict(zip(apart, holm([one.p for one in apart.values()]), strict=True)) if apart else {}
    columns = ["", "accuracy", "weighted F1", "macro F1", *(f"accuracy − {base}" for base in against), "s a run"]
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    for number, name in enumerate(names):
        cells = []
        for one in SCORES:
            low, high = interval(resampled[one][number])
            cells.append(f"{100 * scores[name][one]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        for base in against:
            found = apart.get((name, base))
            if found is None:
                cells.append("")
                continue
            mark = "\\*" if adjusted[name, base] < 0.05 else ""
            cells.append(f"{100 * found.value:+.1f}{mark} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]")
        plain = f"{name} {there[name].stands_in}".strip().replace("*", "\\*")
        yield f"| {plain} | {' | '.join(cells)} | {there[name].seconds:.1f} |"


def page(
    runs: dict[TrainConfig, Run], folds: Sequence[int], tables: Sequence[Table] = TABLES, seeds: int = SEEDS
) -> str:
    """Return the page: what is known of every row from the runs that are there, with at most so many seeds."""
    facts = {name: value for run in runs.values() for name, value in run.data.items()}
    facts["stores"] = {kind: store for run in runs.values() for kind, store in run.data["stores"].items()}
    for run in runs.values():
        if {**facts, "stores": {**facts["stores"], **run.data["stores"]}, "untrained": run.data["untrained"]} != facts:
            raise SystemExit("expected runs on the same features: use one folder for each cache")
    pairs = {fold: len(run.ids) for run in runs.values() for fold in (run.config.fold,) if fold in folds}
    lines = [
        "# Results on the real data",
        "",
        INTRODUCTION.format(
            runs=len(runs),
            hours=sum(run.seconds for run in runs.values()) / 3600,
            machines="; ".join(sorted({run.machine for run in runs.values()})),
            pairs=sum(pairs.values()),
            folds=len(folds),
            protocol=facts["protocol"],
            stores=", ".join(f"{kind} `{store[:12]}`" for kind, store in facts["stores"].items()),
        ),
    ]
    for table in tables:
        lines += [*table_lines(replace(table, seeds=min(table.seeds, seeds)), runs, folds), ""]
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, help="train on the features of this cache")
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the runs' files")
    parser.add_argument("--rows", default="*", help="names or patterns of rows, joined by commas")
    parser.add_argument("--folds", default=",".join(map(str, range(PROTOCOL.folds))), help="joined by commas")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="at most so many seeds a row")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--page", type=Path, help="write the page from the runs that are there")
    options = parser.parse_args()
    folds = [int(fold) for fold in options.folds.split(",")]
    if options.cache is not None:
        configs = {
            row.config(seed, fold): row.name
            for row in chosen(options.rows)
            for seed in range(min(row.seeds, options.seeds))
            for fold in folds
        }
        try:
            failed = train(options.cache, options.runs, configs, options.jobs, options.device)
        except ItinError as error:
            raise SystemExit(str(error)) from error
        if failed:
            sys.exit(f"{failed} runs failed")
    if options.page is not None:
        runs = {run.config: run for run in map(Run.read, sorted(options.runs.glob("*.json")))}
        disk.replace(options.page, page(runs, folds, seeds=options.seeds).encode())


if __name__ == "__main__":
    main()
