"""Short names for runs: what tells them apart from the others in the same report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..train.runs import Run

SIGNS = {"lam": "λ"}
"""Fields that people know by a sign."""


def names_of(runs: Sequence[Run]) -> list[str]:
    """A name for each run: its head, the fields of the recipe in which the runs differ, and its folder where it must.

    Args:
        runs: all of the report; equal recipes are told apart by the names of their folders.
    """
    recipes = [_recipe(run) for run in runs]
    fields = dict.fromkeys(name for recipe in recipes for name in recipe)
    values = {name: {str(recipe[name]) for recipe in recipes if name in recipe} for name in fields}
    differing = [name for name in fields if len(values[name]) > 1]
    names = []
    for run, recipe in zip(runs, recipes, strict=True):
        told = [f"{SIGNS.get(name, name)}={_show(recipe[name])}" for name in differing if name in recipe]
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
    fields = run.config.to_dict()
    del fields["head"], fields["ablation"]
    if run.config.regions == 0:
        del fields["m"]
    dataset = run.record["dataset"].get("name")
    return {"data": dataset, **fields}


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
