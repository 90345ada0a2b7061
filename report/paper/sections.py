"""Sections that compare a reproduction with the paper: Tables II and III, Figs. 5 and 6, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ...itin_head.registry import HEADS
from ...train.optimization.objective import selected_by
from ...train.statistics import RESAMPLES
from ..names import head_name
from ..page.figures import curve
from ..page.numbers import percent, show_p
from ..page.section import Section
from ..run_sections import provenance
from . import published
from .reproduction import Reproduction
from .systems import systems
from .tables import PAPER
from .wording import compared, name_of, score_cell

ENOUGH_SEEDS = 5
"""Number of seeds below which the report warns that they are few."""

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
        found += systems(tables["table-2"], made)
    if "table-3" in tables:
        found += ablations(tables["table-3"], made)
    found += [_curve(number, tables[f"figure-{number}"]) for number in CURVES if f"figure-{number}" in tables]
    if (run := made.first) is not None:
        found.append(provenance({f"{head_name(run)}, seed {run.config.seed}": run}))
    return found


def procedure(made: Reproduction) -> Section:
    """Return the section on what was fixed beforehand, how runs were selected, and how uncertainty is given."""
    seeds = len(made.request.seeds)
    configs = [trials[0].config for trials in made.groups.values()]
    once = sorted({config.head for config in configs if HEADS[config.head].seedless})
    seedless = f" ({', '.join(once)}: one run, for no seed changes it)" if once else ""
    others = {config.head: config.select for config in configs if config.select not in (None, "accuracy")}
    otherwise = "".join(f"; {head}: {selected_by(str(score))}" for head, score in others.items())
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
            f" {seeds} seed{'s' * (seeds != 1)} each{seedless}. Selection uses the validation part only: of each run"
            f" the epoch that is best there is kept ({selected_by('accuracy')}{otherwise}), and no configuration was"
            " chosen. Each run was then evaluated once on the test part, and what it predicted was kept.",
            "± is the standard deviation over the seeds. The brackets hold the 95% interval of the mean over the seeds,"
            f" a bootstrap of {RESAMPLES:,} resamples that draws both the test pairs and the seeds anew, the same ones"
            " for all rows; so a difference is that on the same pairs and seeds. Its p is two-sided, adjusted by Holm's"
            f" method for the rows of its table. F1 is weighted by class.",
            (
                "The paper's split is unpublished: its figures are figures on other pairs, and the rest of its setting"
                " that it leaves open is read as the documentation says."
                if made.paper_dataset
                else "The paper has no figures of this data set; what it leaves open is read as the documentation says."
            ),
        ],
        notes=notes,
    )


def ablations(table: pd.DataFrame, made: Reproduction) -> list[Section]:
    """Return every ablation, beside the paper's scores if any, and its difference to ITIN: accuracy, then F1."""
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
    accuracy, f1 = (pd.DataFrame([_ablation(row, score) for row in records]) for score in ("accuracy", "weighted_f1"))
    whose = "the paper's figures, ours" if made.paper_dataset else "each ablation"
    caption = f"{name_of(made)}: {whose}, and the difference to the full model in points."
    return [
        Section("table-3", "Table III: what each part is worth", [], accuracy, f"Accuracy, {caption}", notes=notes),
        Section("table-3-f1", "Table III in F1", [], f1, f"Weighted F1, {caption}"),
    ]


def _ablation(row: Mapping[Any, Any], score: str) -> dict[str, str]:
    """Format a row of Table III."""
    paper = {"paper": percent(row[PAPER[score]], 2)} if PAPER[score] in row else {}
    return {"": row["name"], **paper, **compared(row, score)}


def _curve(number: int, table: pd.DataFrame) -> Section:
    """Return the section with accuracy and F1 against m (Fig. 5) or λ (Fig. 6)."""
    x, sign, title, label, best = CURVES[number]
    rows = [
        {sign: f"{row[x]:g}", "accuracy": score_cell(row, "accuracy"), "weighted F1": score_cell(row, "weighted_f1")}
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
