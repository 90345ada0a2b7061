"""The request of a reproduction and the runs that it needs, fixed before any of them is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ... import disk
from ...train.config import REPEATS
from ...train.sweeps.axes import PAPER, SweepPlan, Trial, make_plan, parse_values

FORMAT = 1
NAME = "reproduce.json"
TABLES, FIGURES = (2, 3), (5, 6, 7)
"""The tables and figures that can be reproduced."""

_AXES = {"tables": {2: "none", 3: "ablation"}, "figures": {5: "m", 6: "lam", 7: "none"}}
"""The axis of the paper's sweep behind each table and figure; `none` is the full model alone."""


@dataclass(frozen=True)
class Request:
    """The tables, figures and settings to reproduce; wrong values raise ValueError."""

    tables: tuple[int, ...] = TABLES
    figures: tuple[int, ...] = FIGURES
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    folds: tuple[int, ...] = (0,)
    """The folds; all of them for the protocol `folds:K`."""
    m: tuple[int, ...] = parse_values("m", PAPER["m"])
    """The values of Fig. 5."""
    lam: tuple[float, ...] = parse_values("lam", PAPER["lam"])
    """The values of Fig. 6."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Fields that differ from the paper's recipe in every run, including `preset`."""
    pairs: tuple[str, ...] = ()
    """The ids of the pairs of Fig. 7; if empty, typical ones are chosen."""

    def __post_init__(self) -> None:
        for name, known in (("tables", TABLES), ("figures", FIGURES)):
            if unknown := sorted(set(getattr(self, name)) - set(known)):
                raise ValueError(f"{name}: expected some of {', '.join(map(str, known))}, got {unknown[0]}")
        if not self.tables and not self.figures:
            raise ValueError("tables and figures: expected at least one of them, got none")
        if taken := sorted({"m", "lam", "ablation", "head", *REPEATS} - {"split_seed"} & set(self.settings)):
            raise ValueError(f"settings: {taken[0]} is what the tables and figures vary, so it cannot be set")
        if not self.seeds:
            raise ValueError("seeds: expected at least one, got none")

    def plan(self) -> SweepPlan:
        """Return the trials that are needed, the full model first.

        Raises:
            ValueError: the settings are not a valid configuration.
        """
        axes = {name: (value,) for name, value in self.settings.items()}
        whole = make_plan("paper", {**axes, "m": self.m, "lam": self.lam}, self.seeds, None, self.folds)
        wanted = {_AXES[kind][number] for kind in _AXES for number in getattr(self, kind)}
        full = [one for one in whole.trials if one.axis == "ablation" and one.config.ablation == "none"]
        others = [one for one in whole.trials if one.axis in wanted]
        return SweepPlan(list(dict.fromkeys([*full, *others])), whole.left_out)

    def write(self, folder: Path) -> None:
        """Write the request into a reproduction's folder."""
        disk.replace(folder / NAME, disk.to_json({"format": FORMAT, **asdict(self)}))


def read_request(folder: Path) -> Request:
    """Read what `Request.write` wrote.

    Raises:
        RunError: the folder has no request, or it has another format.
    """
    path, older = (
        disk.record_of(folder, NAME, "a reproduction", "itin reproduce"),
        "use the version of itin that wrote it",
    )
    record = disk.read_record(path, older, FORMAT)
    with disk.describing(path, "a reproduction", older):
        del record["format"]
        values: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in record.items()}
        return Request(**values)


def recipe(trial: Trial) -> tuple[Any, ...]:
    """Return what the repetitions of a configuration share: its axis and all fields but the seeds and the fold."""
    return trial.axis, tuple((name, value) for name, value in trial.config.to_dict().items() if name not in REPEATS)
