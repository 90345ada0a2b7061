"""Sections that set a reproduction beside the paper: Tables II and III, Figs. 5 and 6, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..train.objective import SELECTED_BY
from ..train.runs import UNTRAINED_NOTE
from ..train.statistics import RESAMPLES
from . import published
from .figure_7 import Figure7
from .report import Report
from .run_sections import between, provenance
from .section import Curve, Section

if TYPE_CHECKING:
    from .reproduction import Reproduction

NONE = "–"

FEW = 5
"""Seeds below which the report warns that they are few."""

LEVEL = 0.05
"""Adjusted p-values below it are called larger than chance."""


def report_of(made: Reproduction, seven: Figure7 | None) -> Report:
    """The report of a reproduction.

    Args:
        made: which.
        seven: its Fig. 7, where it was asked for.
    """
    name = published.DATASETS.get(made.dataset, made.dataset)
    banner = UNTRAINED_NOTE if made.sweep.definition.untrained else None
    found = sections(made)
    if seven is not None:
        found.insert(-1 if found[-1].name == "provenance" else len(found), seven.section)
    if banner is not None:  # for the files of the tables, which have no page around them
        found = [replace(one, caption=f"{one.caption} {banner}" if one.caption else "") for one in found]
    return Report(
        f"{name}: ITIN reproduced",
        found,
        [f"{published.PAPER}, on {name}. {_what(made)}"],
        banner,
        seven.data if seven is not None else {},
        seven.missing if seven is not None else [],
    )


def sections(made: Reproduction) -> list[Section]:
    """All sections but Fig. 7's, which needs images: how it was made, then in the paper's order."""
    tables = made.tables
    found = [method(made)]
    if "table-2" in tables:
        found.append(table_2(tables["table-2"], made))
    if "table-3" in tables:
        found += table_3(tables["table-3"], made)
    if "figure-5" in tables:
        found.append(figure_5(tables["figure-5"]))
    if "figure-6" in tables:
        found.append(figure_6(tables["figure-6"]))
    if (run := made.first) is not None:
        found.append(provenance({"ITIN, first seed": run}))
    return found


def method(made: Reproduction) -> Section:
    """What was fixed beforehand, what was chosen by what, and how sure figures are told."""
    seeds = len(made.request.seeds)
    notes = []
    if seeds < FEW:
        notes.append(
            f"{seeds} seed{'s are' if seeds > 1 else ' is'} few: the bootstrap tells {seeds - 1}/{seeds} of the"
            f" variance that seeds bring. {FEW} or more are better."
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
            f" that is best there is kept ({SELECTED_BY}), and no configuration was chosen. Each run was then evaluated"
            " once on the test part, and what it predicted was kept.",
            "± is the standard deviation over the seeds. The brackets hold the 95% interval of the mean over the seeds,"
            f" a bootstrap of {RESAMPLES:,} resamples that draws both the test pairs and the seeds anew, the same ones"
            " for all rows; so a difference is that on the same pairs and seeds. Its p is two-sided, adjusted by Holm's"
            f" method for the rows of its table. F1 is weighted by class.",
            "The paper's split is unpublished: its figures are figures on other pairs, and the rest of its setting that"
            " it leaves open is read as the documentation says.",
        ],
        notes=notes,
    )


def table_2(table: pd.DataFrame, made: Reproduction) -> Section:
    """Table II's methods with the ITIN of this reproduction beside them."""
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
        [f"Published figures as they stand in the paper; those from here are on {_what(made)}"],
        pd.DataFrame(rows),
        f"Accuracy and weighted F1, {_name(made)}.",
    )


def table_3(table: pd.DataFrame, made: Reproduction) -> list[Section]:
    """Every ablation beside the paper's figures, and its difference to the full model: accuracy, then F1."""
    records = table.to_dict("records")
    checked = [
        f"{row['name']}: only ITIN right {row['only_full']:.0f} times, only this {row['only_here']:.0f}, "
        f"p {_p(row['mcnemar_p'])}"
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
    told = f"{_name(made)}: the paper's figures, ours, and the difference to the full model in points."
    return [
        Section("table-3", "Table III: what each part is worth", [], accuracy, f"Accuracy, {told}", notes=notes),
        Section("table-3-f1", "Table III in F1", [], f1, f"Weighted F1, {told}"),
    ]


def _ablation(row: Mapping[Any, Any], score: str, paper: str) -> dict[str, str]:
    """A row of Table III as it is read."""
    p = row[f"{score}_p_holm"]
    return {
        "": row["name"],
        "paper": _percent(row[paper]),
        "here": _score(row, score),
        "difference to ITIN": _apart(row, score),
        "p": _p(p),
        "larger than chance": NONE if p != p else "yes" if p < LEVEL else "no",
    }


def figure_5(table: pd.DataFrame) -> Section:
    """Accuracy and F1 against m."""
    return _figure(
        table,
        Curve(
            table,
            "m",
            "m, regions of an image",
            mark=published.BEST_M,
            mark_label=f"the paper's optimum, m = {published.BEST_M}",
        ),
        "Fig. 5: regions of an image",
        [
            "m = 0 is a reading: no region is left, so it is only Context. The paper calls that point the removal of"
            " region-word alignments, which also fits w/o Align."
        ]
        if (table["m"] == 0).any()
        else [],
    )


def figure_6(table: pd.DataFrame) -> Section:
    """Accuracy and F1 against λ."""
    label = "λ, from the textual context alone to the visual one"
    mark = f"the paper's optimum, λ = {published.BEST_LAM}"
    curve = Curve(table, "lam", label, mark=published.BEST_LAM, mark_label=mark)
    return _figure(table, curve, "Fig. 6: visual against textual context", [])


def _figure(table: pd.DataFrame, curve: Curve, title: str, notes: list[str]) -> Section:
    rows = [
        {
            {"lam": "λ"}.get(curve.x, curve.x): f"{row[curve.x]:g}",
            "accuracy": _score(row, "accuracy"),
            "weighted F1": _score(row, "weighted_f1"),
        }
        for row in table.to_dict("records")
    ]
    shown = pd.DataFrame(rows, columns=None if rows else [curve.x, "accuracy", "weighted F1"])
    return Section(
        f"figure-{5 if curve.x == 'm' else 6}",
        title,
        ["Means over the seeds on the test part; the bands are 95% intervals over pairs and seeds. The paper's optimum"
         " is marked; nothing was chosen here."],
        shown,
        f"Accuracy and weighted F1 against {curve.x_label.split(',')[0]}.",
        curve if rows else None,
        notes=notes,
    )  # fmt: skip


def _what(made: Reproduction) -> str:
    seeds, folds = len(made.request.seeds), len(made.request.folds)
    each = f"{seeds} seed{'s' * (seeds != 1)}" + (f" on each of {folds} folds" if folds > 1 else "")
    return f"{len(made.ids)} test pairs, protocol {made.protocol}, {each}."


def _name(made: Reproduction) -> str:
    return f"{published.DATASETS.get(made.dataset, made.dataset)}, protocol {made.protocol}"


def _percent(value: Any) -> str:
    return NONE if value is None or value != value else f"{100 * value:.2f}%"


def _score(row: Mapping[Any, Any], name: str) -> str:
    """A score as it is read: `75.21% ± 0.52 (71.3 – 78.9)`."""
    text = _percent(row[name])
    if row[f"{name}_std"] == row[f"{name}_std"]:
        text += f" ± {100 * row[f'{name}_std']:.2f}"
    if row[f"{name}_low"] == row[f"{name}_low"]:
        text += f" {between(row[f'{name}_low'], row[f'{name}_high'])}"
    return text


def _apart(row: Mapping[Any, Any], name: str) -> str:
    """A difference in points, with its interval."""
    value = row[f"{name}_difference"]
    if value != value:
        return NONE
    low, high = (100 * row[f"{name}_difference_{end}"] for end in ("low", "high"))
    return f"{100 * value:+.2f} ({low:+.1f} – {high:+.1f})".replace("-", "−")


def _p(value: float) -> str:
    if value != value:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
