"""Short names for runs: what tells them apart from the others in the same report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..itin_head.config import HeadConfig
from ..train.presets import READINGS, preset_of
from ..train.runs.folder import Run
from ..train.runs.key import canonical

SIGNS = {"lam": "λ"}
"""Fields that people know by a sign."""


FIRST = ("reading", "data", "m", "lam", "gate", "seed", "fold", "split_seed")
"""Fields that are named before others, where they tell runs apart."""


def names_of(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its head and, where several have the same, as many fields as it takes to tell them apart.

    Args:
        runs: all of the report; equal recipes are told apart by the names of their folders.
    """
    recipes = [_recipe(run) for run in runs]
    names = [head_name(run) for run in runs]
    every = dict.fromkeys((*FIRST, *(name for recipe in recipes for name in recipe)))
    for what in (name for name in every if name not in ("head", "ablation")):
        if len(set(names)) == len(names):
            break
        said = [
            name if recipe.get(what) is None else f"{name}, {_told(what, recipe[what])}"
            for name, recipe in zip(names, recipes, strict=True)
        ]
        apart = {name for name in names if len({new for new, old in zip(said, names, strict=True) if old == name}) > 1}
        names = [new if old in apart else old for new, old in zip(said, names, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({run.path.name or run.path.resolve().name})"
        for name, run in zip(names, runs, strict=True)
    ]


def head_name(run: Run) -> str:
    """What the paper, or else itin, calls the head of a run."""
    if run.config.head != "itin":
        return run.config.head
    return "ITIN" if run.config.effective_ablation == "none" else run.config.effective_ablation


def _recipe(run: Run) -> dict[str, Any]:
    """The fields that may tell a run apart from another one of the same head."""
    recipe = canonical(run.config, "").to_dict()
    unread = {field.name for field in fields(HeadConfig)} - run.head_config.settings
    told = {"reading": preset_of(run.config)}
    if told["reading"] is not None:
        unread |= set(READINGS)
    if run.config.regions == 0:
        unread |= {"m"}
    dataset = run.record["dataset"].get("name")
    return {"data": dataset, **told, **{name: value for name, value in recipe.items() if name not in unread}}


def _told(name: str, value: Any) -> str:
    if name == "reading":
        return str(value)
    return f"{SIGNS.get(name, name)}={value:g}" if isinstance(value, float) else f"{SIGNS.get(name, name)}={value}"
