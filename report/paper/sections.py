"""Sections that compare a reproduction with the paper: Tables II and III, Figs. 5 and 6, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...train.objective import selected_by
from ...train.statistics import RESAMPLES
from ..page.figures import curve
from ..page.numbers import NONE, between, percent, show_p
from ..page.section import Section
from ..run_sections import provenance
from . import published
from .reproduction import Reproduction

ENOUGH_SEEDS = 5
"""Number of seeds below which the report warns that they are few."""

SIGNIFICANCE = 0.05
"""The significance level: differences with a smaller adjusted p are called larger than chance."""

CURVES = {
    5: ("m", "m", "regions of an image", "m, regions of an image", published.BEST_M),
    6: ("lam", "λ", "visual against textual context", "λ, from the textual context alone to the visual one",
        published.BEST_LAM),
}  # fmt: skip
"""Axis, symbol, title, axis label and the paper's optimum of Figs. 5 and 6."""


def sections(made: Reproduction) -> list[Section]:
    """Return all sections but that of Fig. 7, which needs images: how it was made, then in the paper's order."""
    tables = made.tables
    found = [procedure(made)]
    if "table-2" in tables:
        found.append(methods(tables["table-2"], made))
    if "table-3" in tables:
        found += ablations(tables["table-3"], made)
    found += [_curve(number, tables[f"figure-{number}"]) for number in CURVES if f"figure-{number}" in tables]
    if (run := made.first) is not None:
        found.append(provenance({"ITIN, first seed": run}))
    return found


def procedure(made: Reproduction) -> Section:
    """Return the section on what was fixed beforehand, how runs were selected, and how uncertainty is given."""
    seeds = len(made.request.seeds)
    notes = []
    if seeds < ENOUGH_SEEDS:
        notes.append(
            f"{seeds} seed{'s are' if seeds > 1 else ' is'} few: the bootstrap covers {seeds - 1}/{seeds} of the"
            f" variance between seeds. {ENOUGH_SEEDS} or more are better."
        )
    if made.missing:
        rows = "; ".join(f"{key}: {why}" for key, why in list(made.missing.items())[:5])
        notes.append(f"{len(made.missing)} runs are not there, and rows that need them are left out: {rows}.")
    return Section(
        "method",
        "How it was made",
        [
            f"The rows and points below were fixed before any run was trained, {len(made.groups)} configurations of"
            f" {seeds} seed{'s' * (seeds != 1)} each. Selection uses the validation part only: of each run the epoch"
            f" that is best there is kept ({selected_by('accuracy')}), and no configuration was chosen. Each run was"
            " then evaluated once on the test part, and what it predicted was kept.",
            "± is the standard deviation over the seeds. The brackets hold the 95% interval of the mean over the seeds,"
            f" a bootstrap of {RESAMPLES:,} resamples that draws both the test pairs and the seeds anew, the same ones"
            " for all rows; so a difference is that on the same pairs and seeds. Its p is two-sided, adjusted by Holm's"
            f" method for the rows of its table. F1 is weighted by class.",
            "The paper's split is unpublished: its figures are figures on other pairs, and the rest of its setting that"
            " it leaves open is read as the documentation says.",
        ],
        notes=notes,
    )


def methods(table: pd.DataFrame, made: Reproduction) -> Section:
    """Return Table II's methods beside the ITIN of this reproduction."""
    rows = [
        {
            "method": f"{row['method']} ({'here' if row['source'] == 'here' else 'paper'})",
            "accuracy": _score(row, "accuracy"),
            "weighted F1": _score(row, "weighted_f1"),
        }
        for row in table.to_dict("records")
    ]
    return Section(
        "table-2",
        "Table II: beside what others published",
        [f"Published figures as they stand in the paper; those from here are on {scope_of(made)}"],
        pd.DataFrame(rows),
        f"Accuracy and weighted F1, {_name(made)}.",
    )


def ablations(table: pd.DataFrame, made: Reproduction) -> list[Section]:
    """Return every ablation beside the paper's scores, and its difference to the full model: accuracy, then F1."""
    records = table.to_dict("records")
    checked = [
        f"{row['name']}: only ITIN right {row['only_full']:.0f} times, only this {row['only_here']:.0f}, "
        f"p {show_p(row['mcnemar_p'])}"
        for row in records
        if row["mcnemar_p"] == row["mcnemar_p"]
    ]
    notes = [
        "A difference is called larger than chance where its adjusted p is below 0.05.",
        "Our readings: w/o Align: each region takes the plain mean of the words; w/o Gating: g = 1; w/o Context: the"
        " fused representation is MLP(C) alone; only Context: visual and textual context alone, mixed by λ.",
    ]
    if checked:
        notes.append(
            "McNemar's test on the same predictions, unadjusted, with the seeds of a pair taken together, which leaves"
            f" out what other seeds would give: {'; '.join(checked)}."
        )
    accuracy, f1 = (
        pd.DataFrame([_ablation(row, score, paper) for row in records])
        for score, paper in (("accuracy", "paper_accuracy"), ("weighted_f1", "paper_f1"))
    )
    caption = f"{_name(made)}: the paper's figures, ours, and the difference to the full model in points."
    return [
        Section("table-3", "Table III: what each part is worth", [], accuracy, f"Accuracy, {caption}", notes=notes),
        Section("table-3-f1", "Table III in F1", [], f1, f"Weighted F1, {caption}"),
    ]


def _ablation(row: Mapping[Any, Any], score: str, paper: str) -> dict[str, str]:
    """Format a row of Table III."""
    p = row[f"{score}_p_holm"]
    return {
        "": row["name"],
        "paper": percent(row[paper], 2),
        "here": _score(row, score),
        "difference to ITIN": _difference(row, score),
        "p": show_p(p),
        "larger than chance": NONE if p != p else "yes" if p < SIGNIFICANCE else "no",
    }


def _curve(number: int, table: pd.DataFrame) -> Section:
    """Return the section with accuracy and F1 against m (Fig. 5) or λ (Fig. 6)."""
    x, sign, title, label, best = CURVES[number]
    rows = [
        {sign: f"{row[x]:g}", "accuracy": _score(row, "accuracy"), "weighted F1": _score(row, "weighted_f1")}
        for row in table.to_dict("records")
    ]
    name, title = f"figure-{number}", f"Fig. {number}: {title}"
    mark = f"the paper's optimum, {sign} = {best}"
    return Section(
        name,
        title,
        ["Means over the seeds on the test part; the bands are 95% intervals over pairs and seeds. The paper's optimum"
         " is marked; nothing was chosen here."],
        pd.DataFrame(rows, columns=None if rows else [x, "accuracy", "weighted F1"]),
        f"Accuracy and weighted F1 against {label.split(',')[0]}.",
        [curve(name, title, table, x, label, mark=best, mark_label=mark)] if rows else [],
        ["m = 0 is a reading: no region is left, so it is only Context. The paper calls that point the removal of"
         " region-word alignments, which also fits w/o Align."] if x == "m" and (table["m"] == 0).any() else [],
    )  # fmt: skip


def scope_of(made: Reproduction) -> str:
    """Return a sentence on the pairs, protocol and seeds that the scores are based on."""
    seeds, folds = len(made.request.seeds), len(made.request.folds)
    each = f"{seeds} seed{'s' * (seeds != 1)}" + (f" on each of {folds} folds" if folds > 1 else "")
    return f"{len(made.ids)} test pairs, protocol {made.protocol}, {each}."


def _name(made: Reproduction) -> str:
    return f"{published.DATASETS.get(made.dataset, made.dataset)}, protocol {made.protocol}"


def _score(row: Mapping[Any, Any], name: str) -> str:
    """Format a score: `75.21% ± 0.52 (71.3 – 78.9)`."""
    text = percent(row[name], 2)
    if row[f"{name}_std"] == row[f"{name}_std"]:
        text += f" ± {100 * row[f'{name}_std']:.2f}"
    if row[f"{name}_low"] == row[f"{name}_low"]:
        text += f" {between(row[f'{name}_low'], row[f'{name}_high'])}"
    return text


def _difference(row: Mapping[Any, Any], name: str) -> str:
    """Format a difference in points, with its interval."""
    value = row[f"{name}_difference"]
    if value != value:
        return NONE
    low, high = (100 * row[f"{name}_difference_{end}"] for end in ("low", "high"))
    return f"{100 * value:+.2f} ({low:+.1f} – {high:+.1f})".replace("-", "−")
