"""The request of a reproduction and the runs that it needs, fixed before any of them is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ... import disk
from ...itin_head.registry import HEADS
from ...train.config import REPEATS, TrainConfig
from ...train.lexicons.registry import EXTRA, is_installed, parse_names
from ...train.presets import ORIGINAL
from ...train.sweeps.axes import PAPER, SweepPlan, Trial, make_plan, parse_values

FORMAT = 1
NAME = "reproduce.json"
TABLES, FIGURES = (2, 3), (5, 6, 7)
"""The tables and figures that can be reproduced."""

RECIPES = ("original", "paper")
"""Recipes of the systems of Table II: those of their own authors, as far as they are known, or the paper's for all."""

_AXES = {"tables": {2: "head", 3: "ablation"}, "figures": {5: "m", 6: "lam", 7: "none"}}
"""The axis of the trials behind each table and figure; `none` is the full model alone."""


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
    recipe: str = RECIPES[0]
    """The recipe of the other systems of Table II, one of `RECIPES`."""

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
        if self.recipe not in RECIPES:
            raise ValueError(f"recipe: expected one of {', '.join(RECIPES)}, got {self.recipe!r}")
        readings = ("paper", "official", *([self.recipe] if self.recipe == "original" else []))
        if (preset := self.settings.get("preset", "paper")) not in readings:
            raise ValueError(f"preset: with --recipe {self.recipe} expected {' or '.join(readings)}, got {preset!r}")

    def plan(self) -> SweepPlan:
        """Return the trials that are needed, the full model first.

        Raises:
            ValueError: the settings are not a valid configuration.
        """
        axes = {name: (value,) for name, value in self.settings.items()}
        whole = make_plan("paper", {**axes, "m": self.m, "lam": self.lam}, self.seeds, None, self.folds)
        wanted = {_AXES[kind][number] for kind in _AXES for number in getattr(self, kind)}
        rows = {head: self._of_head(head) for head in HEADS} if "head" in wanted else {}
        gone = {head: reason for head, trials in rows.items() if (reason := self._lacks(head, trials[0].config))}
        heads = [trial for head, trials in rows.items() if head not in gone for trial in trials]
        full = [one for one in whole.trials if one.axis == "ablation" and one.config.ablation == "none"]
        others = [one for one in whole.trials if one.axis in wanted]
        return SweepPlan(list(dict.fromkeys([*full, *heads, *others])), [*whole.left_out, *gone.values()])

    def preset_of(self, head: str) -> str:
        """Return the preset that a row of Table II is trained with."""
        if self.recipe == "original" and head in ORIGINAL:
            return "original"
        return "official" if self.settings.get("preset") == "official" else "paper"

    def _of_head(self, head: str) -> list[Trial]:
        """Return the trials of a row of Table II: with each seed, or with seed 0 if the head depends on none."""
        fields = {**self.settings, "head": head, "preset": self.preset_of(head)}
        seeds = (0,) if HEADS[head].seedless else self.seeds
        plan = make_plan("grid", {name: (value,) for name, value in fields.items()}, seeds, None, self.folds)
        return [replace(trial, axis="head") for trial in plan.trials]

    def _lacks(self, head: str, config: TrainConfig) -> str:
        """Return why a row of Table II cannot be trained, for lexicons that it reads unasked; empty where it can."""
        asked = parse_names(self.settings.get("lexicons", ""))
        gone = [name for name in config.lexicon_names if name not in asked and not is_installed(name)]
        return f"{head}: needs the lexicons {', '.join(gone)}; pip install '{EXTRA}' adds them" if gone else ""

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


def configuration(trial: Trial) -> tuple[Any, ...]:
    """Return what the repetitions of a configuration share: its axis and all fields but the seeds and the fold."""
    return trial.axis, tuple((name, value) for name, value in trial.config.to_dict().items() if name not in REPEATS)
