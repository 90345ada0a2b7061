"""Sweep folders: their files, and how to read them; `prepare` makes them, `run` fills them.

SWEEP/sweep.json       what is swept, on which features: axes, trials, keys; written first
SWEEP/split.csv        id, part: only where the parts were given by a file
SWEEP/runs/NAME-KEY/   one run folder per configuration and seed, whole or absent, with validation figures only
SWEEP/inner/KEY.json   a configuration on an inner fold: its validation figures there, and no weights
SWEEP/failed/KEY.json  a configuration that failed: its error
SWEEP/results.csv      one row per trial; also results.parquet where pyarrow is installed
SWEEP/test.json        the chosen configuration on the test part, if requested
"""

from __future__ import annotations

import contextlib
import errno
import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from ... import disk
from ...errors import RunError
from ...labels import LABELS
from ...parts import Part
from ...targets import Target
from ..config import CLASS_SCORES, INTEGERS_OR_NONE, NUMBER_SCORES, REPEATS, SELECTS, TrainConfig
from ..protocols.protocol import Protocol
from ..protocols.split import Inner
from ..runs.folder import Run, load_run, untrained_note
from .axes import Trial, readers
from .result import Result, read_record

FORMAT = 1
"""Version of a sweep folder's format; a reader refuses every other one."""

FIGURES = tuple(f"val_{name}" for name in CLASS_SCORES)
NUMBER_FIGURES = tuple(f"val_{name}" for name in NUMBER_SCORES)
"""The columns that runs are compared by, for classes and for a number. The test part has none: a part that is used to
choose is no longer a test."""

NOTEBOOK_ROWS = 20
"""The number of configurations that a notebook shows."""

FIELDS = tuple(TrainConfig().to_dict())

CASE = ("split_seed", "fold")
"""The fields that tell training parts apart that inner folds are drawn in."""

WHOLE = Part(0, 1)
"""The part that is all of a sweep."""

_INTEGERS = ("train_pairs", "best_epoch", *INTEGERS_OR_NONE)
"""The columns of whole numbers that may be absent."""


@dataclass
class Definition:
    """The content of `sweep.json`."""

    mode: str
    """One of `axes.MODES`."""
    axes: dict[str, list[Any]]
    """The values swept over, by field."""
    seeds: list[int]
    number: int | None
    """The number of configurations that are drawn or tried, for `random` and `optuna`."""
    trials: list[Trial]
    """The trials, `places` in the file; a guided search appends to them."""
    left_out: list[str]
    """The combinations that are not valid, with the reason."""
    dataset: str
    folder: str
    """The data set's folder in the cache."""
    stores: dict[str, dict[str, str]]
    """`path` and `fingerprint` by kind."""
    split: dict[str, Any] | None
    """The description of parts given by a file, or None for those that a seed draws."""
    samples: str
    """The digest of the samples with their labels and inputs."""
    untrained: list[str] | bool
    """The kinds of feature from an encoder with random weights; older sweeps say only whether there are any."""
    created: str
    protocol: str = "itin-811"
    """`Protocol.name`."""
    duplicates: str | None = None
    """`Protocol.duplicates`."""
    classes: list[str] = field(default_factory=lambda: list(LABELS))
    """The names of the classes; a sweep without them is older, and on MVSA's."""
    targets: list[dict[str, Any]] = field(default_factory=list)
    """What is learnt, `Target.to_dict`, the scored one first; a sweep without them is older, and on the label."""
    select: str = CLASS_SCORES[0]
    """The validation score that runs are compared by first, one of `config.SELECTS`."""
    adapted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The fields that a preset has another way on this data set, `presets.fitted`, by preset."""
    inner_folds: int = 0
    """The folds of its training part that every configuration is scored on; 0 for none."""
    has: list[str] = field(default_factory=list)
    """Those of `itin_head.registry.SIZES` that the features have."""

    @property
    def is_number(self) -> bool:
        """Whether the scored target is a number."""
        return bool(self.targets) and Target.from_dict(self.targets[0]).is_number

    @property
    def figures(self) -> tuple[str, ...]:
        """The columns that runs are compared by."""
        return NUMBER_FIGURES if self.is_number else FIGURES

    @property
    def protocol_used(self) -> Protocol:
        """The protocol; for a sweep older than protocol names with parts from a file, that file."""
        if self.split is not None and "protocol" not in self.split:
            return Protocol("file", path=Path(str(self.split.get("file", "split.csv"))))
        return Protocol.parse(self.protocol, self.duplicates)

    @property
    def note(self) -> str | None:
        """The note that every table made from the sweep must carry beside its figures, or None."""
        return untrained_note(self.stores if self.untrained is True else self.untrained or (), self.stores)

    @property
    def readers(self) -> list[TrainConfig]:
        """Configurations that together read all features that the sweep needs."""
        return readers([] if self.mode == "optuna" else self.trials, self.axes, self.adapted)

    def runs(self, part: Part = WHOLE) -> list[Trial]:
        """Return the trials of a part i/N, each key once: those whose number is i modulo N."""
        runs: dict[str, Trial] = {}
        for trial in self.trials:
            runs.setdefault(trial.key, trial)
        return [trial for number, trial in enumerate(runs.values()) if part.has(number)]

    def missing(self, results: Collection[str], part: Part = WHOLE) -> list[Trial]:
        """Return a part's trials without a result, each key once, in order."""
        return [trial for trial in self.runs(part) if trial.key not in results]

    @property
    def scored(self) -> list[Trial]:
        """The trials that configurations are compared by: those on inner folds, where there are such."""
        return [one for one in self.trials if (one.inner is not None) == bool(self.inner_folds)]

    @property
    def chosen(self) -> list[Trial]:
        """The trials of configurations that inner folds have chosen."""
        return [one for one in self.trials if self.inner_folds and one.inner is None]

    @property
    def chosen_by(self) -> set[str]:
        """The keys of the trials on inner folds of the chosen configurations."""
        chosen = {replace(one.config, seed=0) for one in self.chosen}
        return {one.key for one in self.scored if replace(one.config, seed=0) in chosen}

    def to_json(self) -> bytes:
        """Return the bytes of `sweep.json`."""
        places = [
            {"axis": one.axis, "key": one.key, "config": one.config.to_dict()}
            | ({} if one.inner is None else {"inner": one.inner.fold})
            for one in self.trials
        ]
        record = {"places" if name == "trials" else name: value for name, value in self.__dict__.items()}
        return disk.to_json({"format": FORMAT, **record, "places": places})


class Sweep:
    """A sweep folder, as it stands now.

    Args:
        path: the folder.

    Raises:
        RunError: it is not a sweep folder, or of another format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.definition = read_definition(self.path)

    def _repr_html_(self) -> str:
        from ..runs.notebook import block

        table = self.configurations()
        shown = [name for name in table if name not in FIELDS or table[name].nunique(dropna=False) > 1]
        note = self.definition.note
        lines = [f"{len(table)} configurations on the validation part, the best first"]
        return block(f"Sweep {self.path}", lines, table[shown].head(NOTEBOOK_ROWS), note)

    def finished(self) -> dict[str, Result]:
        """Return the results of all finished runs, by key, from their run folders."""
        paths = [config.parent for config in sorted(self.path.glob("runs/*/config.json"))]
        results = [Result.of(load_run(path)) for path in paths if not path.name.startswith(disk.TEMPORARY)]
        files = sorted(self.path.glob("inner/*.json")) if self.definition.inner_folds else []
        results += [read_record(file) for file in files if not file.name.startswith(disk.TEMPORARY)]
        return {result.key: result for result in results}

    def failed(self) -> dict[str, Result]:
        """Return the results of all failed runs, by key."""
        files = [file for file in sorted(self.path.glob("failed/*.json")) if not file.name.startswith(disk.TEMPORARY)]
        records = {file.stem: disk.read_record(file, "remove it, or start a new sweep") for file in files}
        return {
            key: Result(key, error=str(record.get("error", "")), traceback=str(record.get("traceback", "")))
            for key, record in records.items()
        }

    def ended(self) -> dict[str, Result]:
        """Return the results of all runs that have ended, by key; a run that finished after a failure is finished."""
        return {**self.failed(), **self.finished()}

    def results(self) -> pd.DataFrame:
        """Return one row per trial; equal configurations have the same run.

        Columns: `axis`, `key`, `status` (`done`, `failed` or `open`), every field of `TrainConfig`, of a sweep with
        inner folds `inner_fold` (missing at the chosen configurations, trained on the whole training part),
        `train_pairs`, `best_epoch`, `Definition.figures`, `seconds`, `run` (relative to the sweep), `error`,
        `protocol`, and `note`, which every table made from the rows must carry where it is not empty.
        """
        return self.frame(self.ended())

    def frame(self, results: dict[str, Result]) -> pd.DataFrame:
        """Return the table of `results` from results that are known already."""
        note, reals = self.definition.note or "", (*self.definition.figures, "seconds")
        folds = ("inner_fold",) if self.definition.inner_folds else ()
        more = {"protocol": str(self.definition.protocol_used), "note": note}
        rows = []
        for trial in self.definition.trials:
            result = results.get(trial.key, Result(trial.key))
            row = {
                "axis": trial.axis,
                "key": trial.key,
                "status": "done" if result.run else "failed" if trial.key in results else "open",
                **trial.config.to_dict(),
                "inner_fold": None if trial.inner is None else trial.inner.fold,
                **{name: result.figures.get(name) for name in ("train_pairs", "best_epoch", *reals)},
                "run": result.run.relative_to(self.path).as_posix() if result.run else "",
                "error": result.error,
            }
            rows.append({**row, **more})
        columns = ["axis", "key", "status", *FIELDS, *folds, "train_pairs", "best_epoch", *reals, "run", "error", *more]
        table = pd.DataFrame(rows, columns=columns)
        whole = dict.fromkeys((*_INTEGERS, *folds), "Int64")
        with disk.describing(self.path / "sweep.json", "a sweep", "copy the whole folder again, or sweep again"):
            typed: pd.DataFrame = table.astype(whole | dict.fromkeys(reals, "float64"))
        return typed

    def write(self, results: dict[str, Result]) -> None:
        """Write `results.csv`, and `results.parquet` where pyarrow is installed."""
        table = self.frame(results)
        disk.replace(self.path / "results.csv", table.to_csv(index=False, lineterminator="\n").encode())
        try:
            import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
        except ImportError:
            return
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False, engine="pyarrow")
        disk.replace(self.path / "results.parquet", buffer.getvalue())

    def configurations(self) -> pd.DataFrame:
        """Return one row per configuration: mean and standard deviation of its validation figures, the best first.

        Best is the best mean of the score that is selected by, then the lowest mean loss. `seeds` counts the finished
        runs, one per seed and fold, `open` those that are missing or failed.

        With inner folds the figures are those on the inner folds, a row is a configuration on one training part, of the
        `split_seed` and `fold` of its columns, and `chosen` says whether it was chosen for it.
        """
        table, figures = self.results().drop_duplicates("key"), self.definition.figures
        own, inner = [name for name in FIELDS if name not in REPEATS], bool(self.definition.inner_folds)
        if inner:
            own += list(CASE)
            table = table[table["inner_fold"].notna()]
        chosen = self.definition.chosen_by
        rows = []
        for _, group in table.groupby(own, dropna=False, sort=False):
            done = group[group["status"] == "done"]
            row = {name: group[name].iloc[0] for name in own}
            row |= {"seeds": len(done), "open": len(group) - len(done)}
            if inner:
                row["chosen"] = group["key"].iloc[0] in chosen
            for name in figures:
                row[name] = done[name].mean()
                row[f"{name}_std"] = done[name].std()
            rows.append(row)
        columns = [
            *own,
            "seeds",
            "open",
            *(["chosen"] if inner else []),
            *(name + end for name in figures for end in ("", "_std")),
        ]
        frame = pd.DataFrame(rows, columns=columns)
        select = self.definition.select
        by, upwards = [f"val_{select}", "val_loss"], [SELECTS[select] < 0, True]
        if select == "loss":
            by, upwards = by[1:], upwards[1:]
        if inner:
            by, upwards = [*CASE, *by], [True, True, *upwards]
        best: pd.DataFrame = frame.sort_values(by, ascending=upwards, kind="stable", ignore_index=True)
        return best

    def best_runs(self) -> list[Run]:
        """Return the finished runs of the best configuration, a seed and fold each; of inner folds, the chosen ones."""
        if self.definition.inner_folds:
            finished, keys = self.finished(), dict.fromkeys(trial.key for trial in self.definition.chosen)
            return [load_run(run) for key in keys if key in finished and (run := finished[key].run) is not None]
        table = self.configurations()
        done = table[table["seeds"] > 0]
        return self.runs_of(done.iloc[0]) if len(done) else []

    def runs_of(self, row: pd.Series) -> list[Run]:
        """Return the finished runs of a row of `configurations`, one per seed and fold."""
        own = [name for name in FIELDS if name not in REPEATS]
        table = self.results().drop_duplicates("key")
        same = [all(_same(one[name], row[name]) for name in own) for _, one in table.iterrows()]
        return [load_run(self.path / run) for run in table[same]["run"] if run]


def read_definition(folder: Path) -> Definition:
    """Read the `sweep.json` of a folder.

    Raises:
        RunError: the file is missing, or of another format.
    """
    path = disk.record_of(folder, "sweep.json", "a sweep folder", "itin sweep")
    record = disk.read_record(path, "use the itin that made it, or start a new sweep", FORMAT)
    with disk.describing(path, "a sweep", "start a new sweep"):
        places, _ = record.pop("places"), record.pop("format")
        folds = record.get("inner_folds", 0)
        trials = [
            Trial(
                one["axis"],
                TrainConfig.from_dict(one["config"]),
                one["key"],
                Inner(one["inner"], folds) if "inner" in one else None,
            )
            for one in places
        ]
        definition = Definition(trials=trials, **record)
        _ = {**definition.stores}
        return definition


def check_none_failed(sweep: Sweep, keys: Iterable[str] | None = None, again: str | None = None) -> None:
    """Check that no run has failed, once all have ended.

    Args:
        sweep: the sweep.
        keys: the runs that count; by default those of all trials.
        again: the command that trains failed runs again; by default that of the sweep.

    Raises:
        RunError: some have failed; the message names the first.
    """
    wanted = set(keys) if keys is not None else {trial.key for trial in sweep.definition.trials}
    failed = {key: result for key, result in sweep.failed().items() if key in wanted}
    if failed:
        finished = sweep.finished()  # runs that have finished since do not count
        failed = {key: result for key, result in failed.items() if key not in finished}
    if failed:
        key, result = next(iter(failed.items()))
        count = f"all {len(wanted)}" if len(failed) == len(wanted) else f"{len(failed)} of {len(wanted)}"
        raise RunError(
            f"{count} runs of {sweep.path} failed",
            expected="no failed run; the other results are kept",
            found=f"{key}: {result.reason}",
            next_step=f"see {sweep.path / 'failed'}, fix the cause, then: "
            + (again or f"itin sweep --resume {sweep.path} --retry-failed"),
        )


def consolidate(sweep: Sweep) -> None:
    """Write the table of results once every run has one.

    Raises:
        RunError: runs are missing.
    """
    results = sweep.ended()
    if left := sweep.definition.missing(results):
        keys = ", ".join(trial.key for trial in left[:5])
        raise RunError(
            f"{len(left)} runs of {sweep.path} have not ended yet, and no table was written",
            found=f"missing: {keys}" + (f" and {len(left) - 5} more" if len(left) > 5 else ""),
            next_step=f"run the parts that have not ended with exit code 0 again: itin sweep --resume {sweep.path} "
            "--part i/N",
        )
    sweep.write(results)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Keep other processes from running the same sweep; ends with the process, however it ends.

    Args:
        path: the sweep's folder.
        shared: whether other parts of the sweep may run at once, but not the whole; for a part.

    Raises:
        RunError: another process runs it, or its `.lock` cannot be written.
    """
    with disk.writing(path / ".lock"):
        opened = (path / ".lock").open("w")
    with opened as file:
        try:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except ImportError:  # no such locks on this system
            pass
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                yield  # a file system without such locks
                return
            raise RunError(
                f"the sweep {path} is running already",
                expected="one process at a time",
                found="another process that holds its .lock",
                next_step="wait for it, or end it: nothing that has finished is lost",
            ) from error
        yield


def _same(a: Any, b: Any) -> bool:
    return bool(pd.isna(b)) if pd.isna(a) else not pd.isna(b) and bool(a == b)
