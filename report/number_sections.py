"""Sections about runs whose target is a number: scores, classes after cutting at 0, predicted against true, errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..labels import listed
from ..predict.pairs import Pair, shown_part
from ..train.config import SCORE_TITLES
from ..train.number_statistics import CUT_SCORES, PLAIN, bootstrap_numbers
from ..train.protocols.protocol import describe
from ..train.protocols.split import PART_NAMES
from ..train.runs.folder import Run
from ..train.statistics import interval
from .page.figures import Figure
from .page.number_figures import Histogram, Scatter, levels_of, show
from .page.numbers import NONE, between, ends, percent, plain
from .page.section import Section
from .run_sections import Runs, parts_of

CUT_TITLES = {
    "nonzero": "below / above 0, without true zeros",
    "negative": "below 0 / the rest",
    "three": "below / at / above 0",
}
"""The display names of the cuts of `metrics.CUTS`."""

MAX_WORST = 8
"""Number of a run's largest errors that are listed, at most."""


Intervals = Mapping[tuple[str, str], Mapping[str, tuple[float, float]]]
"""The 95% interval of each score, by the names of `number_statistics.flat`, of each run and part."""


def intervals_of(runs: Runs) -> Intervals:
    """Return the bootstrap's intervals of all scores of runs of numbers."""
    found = {}
    for name, run in runs.items():
        for part in parts_of(run):
            true, said = values_of_part(run, part)
            resampled = bootstrap_numbers(true, [said], band=run.metrics[part]["band"], span=run.target.bounds)
            found[name, part] = {score: interval(one[0]) for score, one in resampled.items()}
    return found


def number_summary(runs: Runs, intervals: Intervals, ceilings: Mapping[str, Mapping[str, Any]]) -> Section:
    """Return the scores of each run and part with 95% intervals, and below them what they are to be held against.

    Args:
        runs: the runs of numbers.
        intervals: the result of `intervals_of` on the same runs.
        ceilings: the annotators' agreement on the shown part of some of the runs, `annotators.annotator_ceiling`.
    """
    rows, always, people, bounds = [], {}, {}, set()
    for name, run in runs.items():
        for part in parts_of(run):
            scores, found = run.metrics[part], intervals[name, part]
            what = {"target": run.target.name, "protocol": describe(run.record["split"]), "part": PART_NAMES[part]}
            cells = {SCORE_TITLES[one]: _with(scores[one], found.get(one)) for one in PLAIN}
            kept = {"epoch kept": str(run.metrics["best_epoch"])}
            rows.append({"run": name, **what, "pairs": scores["n"], **cells, **kept})
            constant = scores["baseline"]
            cells = {SCORE_TITLES[one]: plain(constant.get(one)) for one in PLAIN}
            row = {"run": f"always {plain(constant['value'])}", **what, "pairs": scores["n"], **cells}
            always[repr(sorted(row.items()))] = row
            if part == shown_part(run) and (ceiling := ceilings.get(name)) is not None:
                cells = {SCORE_TITLES[one]: plain(ceiling[one]) for one in PLAIN}
                row = {"run": "one annotator", **what, "pairs": ceiling["n"], **cells}
                people[repr(sorted(row.items()))] = row
                if ceiling["alpha"] is not None and ceiling["alpha"] > 0:
                    bounds.add(plain(ceiling["alpha"] ** 0.5, 2))
    spans = {f"{run.target.name} goes from {' to '.join(map(show, run.target.bounds))}" for run in runs.values()}
    text = [
        f"MAE and RMSE are mean errors in units of the target ({'; '.join(sorted(spans))}); CCC is Lin's concordance"
        " correlation, which unlike Pearson's counts a shift or another scale as an error. In brackets the bootstrap's"
        " 95% interval over the pairs. Always: the mean of the training part, predicted for every pair."
    ]
    if people:
        text.append(
            "One annotator: the vote of each annotator against the mean of the others, averaged over the annotators."
            " A single vote is noisier than the mean of all that the head learns, so a head can come out above it."
        )
    if bounds:
        text[-1] += (
            f" What no head can be expected to exceed is a Pearson correlation of {' or '.join(sorted(bounds))}, the"
            " root of Cronbach's alpha."
        )
    notes = []
    if len(runs) > 1:
        notes.append(
            "Choose between runs by their validation figures: who chooses by the test part has no test part any more."
        )
    table = pd.DataFrame([*rows, *always.values(), *people.values()]).fillna("")
    targets = dict.fromkeys(run.target.name for run in runs.values())
    if len(targets) == 1:
        table = table.drop(columns="target")
    return Section("scores", "Scores", text, table, f"Scores of {listed(list(targets))}.", notes=notes)


def cut_scores(runs: Runs, intervals: Intervals) -> Section | None:
    """Return accuracy and F1 after cutting at 0, with 95% intervals; None where 0 lies inside no target's span."""
    rows, bands = [], set()
    for name, run in runs.items():
        for part in parts_of(run):
            scores = run.metrics[part]
            for cut, each in (scores["cut"] or {}).items():
                found = intervals[name, part]
                bands.add(show(scores["band"]))
                cells = {}
                for one in CUT_SCORES:
                    around = found.get(f"{cut}_{one}", (np.nan, np.nan))
                    sure = "" if each[one] is None or np.isnan(around[0]) else f" {between(*around)}"
                    cells[SCORE_TITLES[one]] = percent(each[one]) + sure
                what = {"run": name, "part": PART_NAMES[part], "classes": CUT_TITLES[cut]}
                rows.append({**what, "pairs": each["n"], **cells})
    if not rows:
        return None
    text = [
        "True values and predictions cut into classes at 0. What lies within"
        f" {' or '.join(sorted(bands))} of 0 counts as 0: half the distance to the nearest other value of the training"
        " part. Without true zeros a prediction counts by its sign alone. In brackets the bootstrap's 95% interval."
    ]
    return Section("cut", "Cut at 0", text, pd.DataFrame(rows), "Scores of the classes below, at and above 0.")


def predicted(runs: Runs) -> Section:
    """Return predicted against true and the distribution of the errors, drawn, and the errors by level as a table."""
    figures: list[Figure] = []
    rows = []
    for number, (name, run) in enumerate(runs.items(), 1):
        part, target = shown_part(run), run.target
        true, said = values_of_part(run, part)
        title = f"{name}, {PART_NAMES[part]}"
        figures.append(
            Scatter.of(f"predicted-{number}", title, true, said, target.bounds, run.half_widths.get(target.name))
        )
        figures.append(Histogram.of(f"errors-{number}", f"{title}, errors", "predicted − true", said - true))
        for level, place in levels_of(true, target.bounds):
            apart = said[place] - true[place]
            means = {"mean predicted": said[place].mean(), "mean error": apart.mean(), "MAE": np.abs(apart).mean()}
            cells = {title: plain(value) for title, value in means.items()}
            rows.append({"run": name, "true": level, "pairs": len(place), **cells})
    text = [
        "Each disc is a group of pairs; its area shows how many. On the dashed line predicted and true agree. The"
        " joined dots are the mean prediction at each true value: those of a head that is unsure stay near the mean, so"
        " that they rise less steeply than the dashed line."
    ]
    if any(run.half_widths for run in runs.values()):
        text.append(
            "The shaded band holds the pairs whose true value lies in the 90% interval around the prediction (split"
            " conformal, from the errors on the validation part)."
        )
    caption = "Mean prediction and error (predicted − true) by true value."
    return Section("predicted", "Predicted and true", text, pd.DataFrame(rows), caption, figures=figures)


def worst(runs: Runs, pairs: Mapping[str, list[Pair]]) -> Section:
    """Return the pairs with the largest errors of each run, on its shown part.

    Args:
        runs: the runs of numbers.
        pairs: the pairs of some of the runs, for their texts.
    """
    rows = []
    for name, run in runs.items():
        table = run.predictions[run.predictions["part"] == shown_part(run)]
        apart = (table["predicted"] - table["label"]).to_numpy()
        texts = {pair.id: pair.text for pair in pairs.get(name, [])}
        for place in np.argsort(-np.abs(apart), kind="stable")[:MAX_WORST]:
            row = table.iloc[place]
            cells = {"true": plain(row["label"]), "predicted": plain(row["predicted"]), "error": plain(apart[place])}
            rows.append({"run": name, "pair": row["id"], **cells, "text": texts.get(row["id"], NONE)})
    return Section("worst", "Largest errors", table=pd.DataFrame(rows), caption="The pairs that each run misses most.")


def further(runs: Runs) -> Section | None:
    """Return the scores of the further targets of each run, of any type; None if no run has one."""
    rows = []
    for name, run in runs.items():
        for part in parts_of(run):
            ways = run.metrics[part].get("label_from", {})
            each = {f"{run.target.name} from {way}": scores for way, scores in ways.items()}
            for target, scores in {**each, **run.metrics[part].get("targets", {})}.items():
                cells = {
                    **{SCORE_TITLES[one]: plain(scores.get(one)) for one in ("mae", "pearson", "ccc")},
                    **{SCORE_TITLES[one]: percent(scores.get(one)) for one in CUT_SCORES},
                }
                always = percent(scores["majority"]["accuracy"]) if "majority" in scores else NONE
                always = plain(scores["baseline"]["mae"]) if "baseline" in scores else always
                row = {"run": name, "target": target, "part": PART_NAMES[part], "pairs": scores["n"], **cells}
                rows.append({**row, "always the same": always})
    if not rows:
        return None
    table = pd.DataFrame(rows)
    kept = [column for column in table if not (table[column] == NONE).all()]
    text = [
        "What a head learns beside its first target; selection does not look at these. Always the same: the accuracy of"
        " the training part's most frequent class, or the MAE of its mean."
    ]
    if any("label_from" in run.metrics[part] for run in runs.values() for part in parts_of(run)):
        text.append(
            "Label from: the label by each of the ways that --label-from chooses from: the head's own output for it,"
            " the label rule over the text's and the image's own label, or the mean of both."
        )
    return Section("further", "Further targets", text, table[kept], "Scores of further targets.")


def values_of_part(run: Run, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the true values and the predictions of a part, (N,) each."""
    table = run.predictions[run.predictions["part"] == part]
    return table["label"].to_numpy(np.float64), table["predicted"].to_numpy(np.float64)


def _with(value: float | None, around: tuple[float, float] | None) -> str:
    """Format a score with its interval."""
    return plain(value) if value is None or around is None else f"{plain(value)} {ends(*around)}".rstrip()
