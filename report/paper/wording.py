"""What the sections of a reproduction share: the names of what was done, and cells of their tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..page.numbers import NONE, between, percent, show_p
from . import published

if TYPE_CHECKING:
    from .reproduction import Reproduction

SIGNIFICANCE = 0.05
"""The significance level: differences with a smaller adjusted p are called larger than chance."""


def scope_of(made: Reproduction) -> str:
    """Return a sentence on the pairs, protocol and seeds that the scores are based on."""
    seeds, folds = len(made.request.seeds), len(made.request.folds)
    each = f"{seeds} seed{'s' * (seeds != 1)}" + (f" on each of {folds} folds" if folds > 1 else "")
    return f"{len(made.ids)} test pairs, protocol {made.protocol}, {each}."


def name_of(made: Reproduction) -> str:
    """Return the data set and the protocol."""
    return f"{published.DATASETS.get(made.dataset, made.dataset)}, protocol {made.protocol}"


def score_cell(row: Mapping[Any, Any], name: str) -> str:
    """Format a score: `75.21% ± 0.52 (71.3 – 78.9)`."""
    text = percent(row[name], 2)
    if row[f"{name}_std"] == row[f"{name}_std"]:
        text += f" ± {100 * row[f'{name}_std']:.2f}"
    if row[f"{name}_low"] == row[f"{name}_low"]:
        text += f" {between(row[f'{name}_low'], row[f'{name}_high'])}"
    return text


def compared(row: Mapping[Any, Any], score: str) -> dict[str, str]:
    """Return the cells of a row with a score and its comparison with ITIN."""
    p = row[f"{score}_p_holm"]
    return {
        "here": score_cell(row, score),
        "difference to ITIN": _difference(row, score),
        "p": show_p(p),
        "larger than chance": NONE if p != p else "yes" if p < SIGNIFICANCE else "no",
    }


def _difference(row: Mapping[Any, Any], name: str) -> str:
    """Format a difference in points, with its interval."""
    value = row[f"{name}_difference"]
    if value != value:
        return NONE
    low, high = (100 * row[f"{name}_difference_{end}"] for end in ("low", "high"))
    return f"{100 * value:+.2f} ({low:+.1f} – {high:+.1f})".replace("-", "−")
