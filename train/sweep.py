"""Sweep folders: what they hold, and reading them; `sweep_run` fills them.

SWEEP/sweep.json       what is swept, on which features: axes, places, keys; written first
SWEEP/split.csv        id, part: only where the parts were given by a file
SWEEP/runs/NAME-KEY/   one run folder a configuration and seed, whole or absent, with validation figures alone
SWEEP/failed/KEY.json  a configuration that broke down: its error
SWEEP/results.csv      one row a place; also results.parquet where pyarrow is installed
SWEEP/test.json        the chosen configuration on the test part, where that was asked for
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import disk
from ..errors import RunError
from .axes import Place
from .config import REPEATS, TrainConfig
from .protocols import Protocol
from .runs import UNTRAINED_NOTE, Run, load_run

FORMAT = 1
"""Version of a sweep folder's format; a reader refuses every other one."""

FIGURES = ("val_accuracy", "val_weighted_f1", "val_macro_f1", "val_loss")
"""The columns that runs are compared by. The test part has none: who chooses by it has no test part any more."""

SHOWN = 20
"""Configurations that a notebook shows."""

FIELDS = tuple(TrainConfig().to_dict())


@dataclass
class Definition:
    """All of `sweep.json`."""

    mode: str
    """One of `axes.MODES`."""
    axes: dict[str, list[Any]]
    """The values swept over, by field."""
    seeds: list[int]
    number: int | None
    """How many configurations are drawn or tried, for `random` and `optuna`."""
    places: list[tuple[Place, str]]
    """Every place with its run's key; in a guided search one joins after the other."""
    left_out: list[str]
    """Combinations that are no configuration."""
    dataset: str
    folder: str
    """The data set's folder in the cache."""
    stores: dict[str, dict[str, str]]
    """`path` and `fingerprint` by kind."""
    split: dict[str, Any] | None
    """The description of parts given by a file, or None for those that a seed draws."""
    samples: str
    """Digest of the samples with their labels and inputs."""
    untrained: bool
    """Whether features come from an encoder with random weights."""
    created: str
    protocol: str = "itin-811"
    """`Protocol.name`."""
    duplicates: str | None = None
    """`Protocol.duplicates`."""

    @property
    def protocol_used(self) -> Protocol:
        """The protocol; of a sweep from before protocols had names, with parts given by a file, that file."""
        if self.split is not None and "protocol" not in self.split:
            return Protocol("file", path=Path(str(self.split.get("file", "split.csv"))))
        return Protocol.parse(self.protocol, self.duplicates)

    @property
    def regions(self) -> int:
        """The most regions an image that any of the configurations looks at."""
        configs = [place.config.regions for place, _ in self.places]
        proposed: list[int] = self.axes.get("m", [TrainConfig.m]) if self.mode == "optuna" else []
        return max([*configs, *proposed])

    def to_json(self) -> bytes:
        """The bytes of `sweep.json`."""
        places = [{"axis": place.axis, "key": key, "config": place.config.to_dict()} for place, key in self.places]
        return disk.to_json({"format": FORMAT, **self.__dict__, "places": places})


@dataclass(frozen=True)
class Result:
    """What became of one configuration and seed."""

    key: str
    run: Path | None
    """Its run folder; None where it failed."""
    figures: dict[str, float]
    """`FIGURES`, `best_epoch` and `seconds`; empty where it failed."""
    error: str = ""


class Sweep:
    """A sweep folder, as it stands now.

    Args:
        path: the folder.

    Raises:
        RunError: it is none, or of another format version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.definition = read_definition(self.path / "sweep.json")

    def _repr_html_(self) -> str:
        from .notebook import block

        table = self.configurations()
        shown = [name for name in table if name not in FIELDS or table[name].nunique(dropna=False) > 1]
        note = UNTRAINED_NOTE if self.definition.untrained else None
        lines = [f"{len(table)} configurations on the validation part, the best first"]
        return block(f"Sweep {self.path}", lines, table[shown].head(SHOWN), note)

    def finished(self) -> dict[str, Result]:
        """The results of all finished runs, by key, from their run folders."""
        results = {}
        for config in sorted(self.path.glob("runs/*/config.json")):
            if not config.parent.name.startswith(disk.TEMPORARY):
                run = load_run(config.parent)
                results[str(run.record.get("key"))] = result_of(run)
        return results

    def failed(self) -> dict[str, Result]:
        """The results of all failed runs, by key."""
        results = {}
        for file in sorted(self.path.glob("failed/*.json")):
            if not file.name.startswith(disk.TEMPORARY):
                record = _read(file)
                results[file.stem] = Result(file.stem, None, {}, str(record.get("error", "")))
        return results

    def results(self) -> pd.DataFrame:
        """One row a place, duplicates in each of theirs.

        Columns: `axis`, `key`, `status` (`done`, `failed` or `open`), every field of `TrainConfig`, `best_epoch`,
        `FIGURES`, `seconds`, `run` (relative to the sweep), `error`, `protocol`, and `note`, which every table made
        from the rows must carry where it is not empty.
        """
        return self.frame({**self.failed(), **self.finished()})

    def frame(self, results: dict[str, Result]) -> pd.DataFrame:
        """`results`, from results that are known already."""
        note = UNTRAINED_NOTE if self.definition.untrained else ""
        more = {"protocol": str(self.definition.protocol_used), "note": note}
        rows = []
        for place, key in self.definition.places:
            result = results.get(key)
            status = "open" if result is None else "failed" if result.run is None else "done"
            run = result.run.relative_to(self.path).as_posix() if result is not None and result.run is not None else ""
            row = {"axis": place.axis, "key": key, "status": status, **place.config.to_dict()}
            figures = result.figures if result is not None else {}
            row |= {name: figures.get(name) for name in ("best_epoch", *FIGURES, "seconds")}
            rows.append({**row, "run": run, "error": result.error if result is not None else "", **more})
        columns = [
            "axis",
            "key",
            "status",
            *FIELDS,
            "best_epoch",
            *FIGURES,
            "seconds",
            "run",
            "error",
            "protocol",
            "note",
        ]
        table = pd.DataFrame(rows, columns=columns)
        whole, real = ("best_epoch", "batch_size"), (*FIGURES, "seconds")
        typed: pd.DataFrame = table.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64"))
        return typed

    def configurations(self) -> pd.DataFrame:
        """One row a configuration: the mean and standard deviation of its runs' validation figures, the best first.

        Best is the highest mean accuracy, then the lowest mean loss. `seeds` counts the finished runs, one a seed and
        fold, `open` those that are missing or failed.
        """
        table = self.results().drop_duplicates("key")
        own = [name for name in FIELDS if name not in REPEATS]
        rows = []
        for _, group in table.groupby(own, dropna=False, sort=False):
            done = group[group["status"] == "done"]
            row = {name: group[name].iloc[0] for name in own}
            row |= {"seeds": len(done), "open": len(group) - len(done)}
            for name in FIGURES:
                row[name] = done[name].mean()
                row[f"{name}_std"] = done[name].std()
            rows.append(row)
        columns = [*own, "seeds", "open", *(name + end for name in FIGURES for end in ("", "_std"))]
        frame = pd.DataFrame(rows, columns=columns)
        by = ["val_accuracy", "val_loss"]
        best: pd.DataFrame = frame.sort_values(by, ascending=[False, True], kind="stable", ignore_index=True)
        return best

    def runs_of(self, row: pd.Series) -> list[Run]:
        """The finished runs of a row of `configurations`, one a seed and fold."""
        own = [name for name in FIELDS if name not in REPEATS]
        table = self.results().drop_duplicates("key")
        same = [all(_same(one[name], row[name]) for name in own) for _, one in table.iterrows()]
        return [load_run(self.path / run) for run in table[same]["run"] if run]


def read_definition(path: Path) -> Definition:
    """Read a `sweep.json`.

    Raises:
        RunError: there is none, or it is of another format.
    """
    if not path.is_file():
        raise RunError(
            f"{path.parent} is no sweep folder",
            expected="a folder with the sweep.json that `itin sweep` writes",
            found="a folder without one" if path.parent.is_dir() else "no folder",
            next_step="give the path that `itin sweep` printed",
        )
    record = _read(path)
    found = record.pop("format", None)
    if found != FORMAT:
        raise RunError(
            f"{path} has another format version",
            expected=f"format {FORMAT}",
            found=f"format {found}",
            next_step="use the itin that made it, or start a new sweep",
        )
    try:
        places = [(Place(one["axis"], TrainConfig.from_dict(one["config"])), one["key"]) for one in record["places"]]
        return Definition(**{**record, "places": places})
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} does not describe a sweep of this itin",
            expected="what `itin sweep` writes",
            found=f"missing {error}" if isinstance(error, KeyError) else str(error),
            next_step="start a new sweep",
        ) from error


def check_none_failed(sweep: Sweep, keys: Iterable[str] | None = None, again: str | None = None) -> None:
    """Check that no run has failed, once all have ended.

    Args:
        sweep: the sweep.
        keys: the runs that count; by default those of all places.
        again: the command that trains failed runs again; by default that of the sweep.

    Raises:
        RunError: some have; it names the first.
    """
    wanted = set(keys) if keys is not None else {key for _, key in sweep.definition.places}
    failed = {key: result for key, result in sweep.failed().items() if key in wanted}
    if failed:
        finished = sweep.finished()  # what has been trained since does not count
        failed = {key: result for key, result in failed.items() if key not in finished}
    if failed:
        key, result = next(iter(failed.items()))
        count = f"all {len(wanted)}" if len(failed) == len(wanted) else f"{len(failed)} of {len(wanted)}"
        raise RunError(
            f"{count} runs of {sweep.path} failed",
            expected="no failed run; the other results are kept",
            found=f"{key}: {result.error.splitlines()[0] if result.error else 'no reason given'}",
            next_step=f"see {sweep.path / 'failed'}, fix the cause, then: "
            + (again or f"itin sweep --resume {sweep.path} --retry-failed"),
        )


def result_of(run: Run) -> Result:
    """What stands in a run's folder of its validation figures."""
    val = run.metrics["val"]
    figures = {f"val_{name}": float(val[name]) for name in ("accuracy", "weighted_f1", "macro_f1", "loss")}
    figures |= {"best_epoch": run.metrics["best_epoch"], "seconds": float(run.environment["training_seconds"])}
    return Result(str(run.record.get("key")), run.path, figures)


def write_results(path: Path, table: pd.DataFrame) -> None:
    """Write `results.csv`, and `results.parquet` where pyarrow is installed."""
    import io

    disk.replace(path / "results.csv", table.to_csv(index=False, lineterminator="\n").encode())
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        return
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, engine="pyarrow")
    disk.replace(path / "results.parquet", buffer.getvalue())


def read_results(path: Path) -> pd.DataFrame:
    """Read a `results.csv` with its keys as text."""
    return pd.read_csv(
        path,
        dtype={"key": str, "run": str, "error": str, "protocol": str, "note": str},
        keep_default_na=True,
        engine="python",
    )


def missing(definition: Definition, results: Iterable[str]) -> list[tuple[Place, str]]:
    """The places whose runs have no result, each key once, in order."""
    there = set(results)
    left = []
    for place, key in definition.places:
        if key not in there:
            there.add(key)
            left.append((place, key))
    return left


def _same(a: Any, b: Any) -> bool:
    return bool(pd.isna(b)) if pd.isna(a) else not pd.isna(b) and bool(a == b)


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        if not isinstance(record, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}", next_step="remove it, or start a new sweep") from error
    return record
