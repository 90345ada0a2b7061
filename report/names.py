"""Short names for runs: what tells them apart from the others in the same report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..itin_head.config import HeadConfig
from ..train.identity import canonical
from ..train.presets import READINGS, preset_of
from ..train.runs import Run

SIGNS = {"lam": "λ"}
"""Fields that people know by a sign."""


def names_of(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its head, the fields of the recipe in which the runs differ, and its folder where it must.

    Args:
        runs: all of the report; equal recipes are told apart by the names of their folders.
    """
    recipes = [_recipe(run) for run in runs]
    every = dict.fromkeys(name for recipe in recipes for name in recipe)
    values = {name: {str(recipe[name]) for recipe in recipes if name in recipe} for name in every}
    differing = [name for name in every if len(values[name]) > 1 and name not in ("head", "ablation")]
    names = []
    for run, recipe in zip(runs, recipes, strict=True):
        told = [_told(name, recipe[name]) for name in differing if recipe.get(name) is not None]
        names.append(", ".join([head_name(run), *told]))
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
    """The fields that may tell a run apart: those that its head uses, and its data set."""
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
