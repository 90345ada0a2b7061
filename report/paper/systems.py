"""Sections on Table II: every head as a row, beside the system of the paper that it is or stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.stats import kendalltau

from ...itin_head.registry import HEADS
from ..page.numbers import NONE, percent, plain
from ..page.section import Section
from . import published
from .scores import SCORES
from .tables import PAPER
from .wording import compared, name_of, scope_of

if TYPE_CHECKING:
    from .reproduction import Reproduction
    from .request import Request

TITLES = {"accuracy": "accuracy", "weighted_f1": "weighted F1"}


def systems(table: pd.DataFrame, made: Reproduction) -> list[Section]:
    """Return Table II in accuracy, then in F1; of the paper's data sets also all that it published there."""
    known = made.paper_dataset is not None
    records = table.to_dict("records")
    text = (
        "Each system is a head on the same features, pairs and seeds. * behind a head says that parts of it were"
        " inferred, not read; the brackets say what stands in for features that no store holds."
    )
    others = [f"{row['label']}: {HEADS[row['head']].summary}" for row in records if not row["system"]]
    notes = [_recipes(made.request), f"Heads that the paper does not have: {'; '.join(others)}."]
    whose = "the paper's figures, ours" if known else "each head"
    caption = f"{name_of(made)}: {whose}, and the difference to ITIN in points."
    accuracy, f1 = (pd.DataFrame([_row(row, score) for row in records]) for score in SCORES)
    return [
        Section(
            "table-2",
            "Table II: the systems as heads",
            [f"{text} On {scope_of(made)}"],
            accuracy,
            f"Accuracy, {caption}",
            notes=[order(table, "accuracy"), *notes],
        ),
        Section("table-2-f1", "Table II in F1", [], f1, f"Weighted F1, {caption}", notes=[order(table, "weighted_f1")]),
        *([_published()] if known else []),
    ]


def _recipes(request: Request) -> str:
    """Return in words what each row is trained by."""
    recipes = "Every row has the paper's recipe"
    if request.recipe == "original":
        recipes = (
            "The recipe original is that of the system's own authors as far as it is known, with the paper's for the"
            " rest; paper is the paper's"
        )
    fixed = ", ".join(f"{name} = {value}" for name, value in request.settings.items() if name != "preset")
    set_for_all = f"; set for all rows: {fixed}" if fixed else ""
    return f"{recipes}{set_for_all}. Rows without a recipe take no steps and have no seed: they are trained once."


def order(table: pd.DataFrame, score: str) -> str:
    """Return in words the order of the rows, and how well that of the systems agrees with the paper's."""
    ranked = table[table[f"{score}_rank"].notna()].sort_values(f"{score}_rank", kind="stable")
    line = f"By {TITLES[score]}: {', '.join(ranked['head'])}." if len(ranked) else "No row is complete."
    if f"{score}_rank_paper" not in table:
        return line
    both = table[table[f"{score}_rank_paper"].notna()]
    line += " Ranks are among the systems with a published figure and one here."
    if len(both) > 1:
        tau = kendalltau(both[f"{score}_rank_paper"], both[f"{score}_rank_here"]).statistic
        line += f" Kendall's τ between both orders of these {len(both)} is {plain(float(tau), 2)}."
    return line


def _row(row: Mapping[Any, Any], score: str) -> dict[str, str]:
    """Format a row of Table II."""
    known = PAPER[score] in row
    return {
        "system": row["system"],
        "head": row["label"] or "none",
        "recipe": row["recipe"],
        **({"paper": percent(row[PAPER[score]], 2)} if known else {}),
        **compared(row, score),
        **(
            {
                "rank, paper": _place(row[f"{score}_rank_paper"]),
                "rank, here": _place(row[f"{score}_rank_here"]),
            }
            if known
            else {"rank": _place(row[f"{score}_rank"])}
        ),
    }


def _published() -> Section:
    """Return the published figures of both data sets, and those that other papers give otherwise."""
    rows = [
        {
            "system": system,
            **{
                f"{name}, {title}": percent(value, 2)
                for dataset, name in published.DATASETS.items()
                for title, value in zip(("accuracy", "F1"), published.TABLE_2[dataset][system], strict=True)
            },
        }
        for system in published.SYSTEMS
    ]
    elsewhere = [
        f"{system} on {published.DATASETS[dataset]} {title} {percent(value, 2)}"
        for dataset, by_system in published.ELSEWHERE.items()
        for system, score in by_system.items()
        for title, value in zip(("accuracy", "F1"), score, strict=True)
        if value is not None
    ]
    return Section(
        "table-2-published",
        "Table II as published",
        [],
        pd.DataFrame(rows),
        f"Accuracy and F1 as {published.PAPER} gives them.",
        notes=[f"Other papers give other figures of the same systems: {', '.join(elsewhere)}."],
    )


def _place(rank: float) -> str:
    return NONE if rank != rank else f"{rank:.0f}"
