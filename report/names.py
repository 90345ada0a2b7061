"""Short names for runs, which distinguish them within a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..itin_head.config import HeadConfig
from ..itin_head.registry import label_of
from ..train.presets import READINGS, preset_of
from ..train.runs.folder import Run
from ..train.runs.key import canonical

SIGNS = {"lam": "λ"}
"""The symbols of fields that have one."""

FIRST_FIELDS = ("reading", "data", "m", "lam", "gate", "seed", "fold", "split_seed")
"""The fields that are tried first to distinguish runs."""


def names_of(runs: Sequence[Run]) -> list[str]:
    """Return a name for each run: its head and, where several share it, the fields needed to distinguish them.

    Args:
        runs: all runs of the report; equal recipes are distinguished by the names of their folders.
    """
    recipes = [_recipe(run) for run in runs]
    names = [head_name(run) for run in runs]
    every = dict.fromkeys((*FIRST_FIELDS, *(name for recipe in recipes for name in recipe)))
    for what in (name for name in every if name not in ("head", "ablation")):
        if len(set(names)) == len(names):
            break
        extended = [
            name if recipe.get(what) is None else f"{name}, {_setting(what, recipe[what])}"
            for name, recipe in zip(names, recipes, strict=True)
        ]
        apart = {
            name for name in names if len({new for new, old in zip(extended, names, strict=True) if old == name}) > 1
        }
        names = [new if old in apart else old for new, old in zip(extended, names, strict=True)]
    return [
        name if names.count(name) == 1 else f"{name} ({run.path.name or run.path.resolve().name})"
        for name, run in zip(names, runs, strict=True)
    ]


def head_name(run: Run) -> str:
    """Return the name of a run's head: the paper's name, or else itin's, with `*` where it rests on inference."""
    if run.config.head != "itin":
        return label_of(run.config.head, run.head_config.has)
    return "ITIN" if run.config.effective_ablation == "none" else run.config.effective_ablation


def _recipe(run: Run) -> dict[str, Any]:
    """Return the fields that may distinguish a run from another one with the same head."""
    recipe = canonical(run.config, "").to_dict()
    unread = {field.name for field in fields(HeadConfig)} - run.head_config.settings
    preset = preset_of(run.config)
    if preset is not None:
        unread |= set(READINGS)
    if run.config.regions == 0:
        unread |= {"m"}
    dataset = run.record["dataset"].get("name")
    return {"data": dataset, "reading": preset, **{name: value for name, value in recipe.items() if name not in unread}}


def _setting(name: str, value: Any) -> str:
    if name == "reading":
        return str(value)
    return f"{SIGNS.get(name, name)}={value:g}" if isinstance(value, float) else f"{SIGNS.get(name, name)}={value}"
