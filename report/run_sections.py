"""Sections about single runs: summary, classes, confusion, calibration, learning curves, provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..labels import listed, numbers_of
from ..predict.pairs import shown_part
from ..targets import LABEL, Target
from ..train.protocols.protocol import describe
from ..train.protocols.split import PART_NAMES
from ..train.runs.folder import Run
from ..train.statistics import bootstrap, calibration, interval, wilson
from .page.figures import Line, LineChart, Matrix, Reliability
from .page.numbers import NONE, between, percent
from .page.section import Section

Runs = Mapping[str, Run]
"""The runs of a report by their names in it."""

BINS = 10
"""Number of bins of a reliability diagram."""

MAX_CLASSES = 20
"""Number of classes of a run that are listed, at most: half of them the best by F1, half of them the worst."""

MAX_CONFUSIONS = 10
"""Number of confusions of a run that are listed, at most, where the matrix has too many cells for numbers."""

MAX_WITH_TRAINING = 3
"""Number of runs up to which the training curves are drawn beside the validation curves."""


def summary(runs: Runs) -> Section:
    """Return accuracy and F1 of each run and part with 95% intervals, beside always predicting the majority class."""
    rows = []
    for name, run in runs.items():
        for part in parts_of(run):
            scores, majority = run.metrics[part], run.metrics[part]["majority"]
            right = round(scores["accuracy"] * scores["n"])
            predictions = run.predictions[run.predictions["part"] == part]
            labels, predicted = (numbers_of(predictions[column], run.classes) for column in ("label", "predicted"))
            f1 = interval(bootstrap(labels, [predicted], len(run.classes))["weighted_f1"][0])
            rows.append(
                {
                    "run": name,
                    "target": run.target.name,
                    "protocol": describe(run.record["split"]),
                    "part": PART_NAMES[part],
                    "pairs": scores["n"],
                    "accuracy": f"{percent(scores['accuracy'])} {between(*wilson(right, scores['n']))}",
                    "weighted F1": f"{percent(scores['weighted_f1'])} {between(*f1)}",
                    "macro F1": percent(scores["macro_f1"]),
                    "loss": f"{scores['loss']:.3f}",
                    f"always {majority['class']}": percent(majority["accuracy"]),
                    "epoch kept": str(run.metrics["best_epoch"]),
                }
            )
    table = pd.DataFrame(rows)
    if all(run.target.name == LABEL for run in runs.values()):
        table = table.drop(columns="target")
    text = [
        "In brackets the 95% interval over the pairs: Wilson's for accuracy, the bootstrap's for F1, weighted by class."
    ]
    notes = []
    if len(runs) > 1 and any("test" in parts_of(run) for run in runs.values()):
        notes.append(
            "Choose between runs by their validation figures: who chooses by the test part has no test part any more."
        )
    return Section("summary", "Summary", text, table, "Scores of each run.", notes=notes)


def classes(runs: Runs) -> Section:
    """Return precision, recall and F1 of each class, on the shown part of each run."""
    rows, notes = [], []
    for name, run in runs.items():
        part = shown_part(run)
        counts, f1 = np.array(run.metrics[part]["confusion"]), run.metrics[part]["f1"]
        places = list(range(len(run.classes)))
        if len(places) > MAX_CLASSES:
            half = MAX_CLASSES // 2
            there = [place for place in places if counts[place].any()]
            there.sort(key=lambda place: -f1[run.classes[place]])
            places = there if len(there) <= MAX_CLASSES else [*there[:half], *there[-half:]]
            notes.append(
                f"{name} has {len(run.classes)} classes, {len(there)} of them in this part."
                + f" Listed are the {half} best and the {half} worst by F1;" * (len(there) > MAX_CLASSES)
                + f" {run.path / 'metrics.json'} holds all."
            )
        for place in places:
            label = run.classes[place]
            right, predicted, true = counts[place, place], counts[:, place].sum(), counts[place].sum()
            rows.append(
                {
                    "run": name,
                    "part": PART_NAMES[part],
                    "class": label,
                    "pairs": int(true),
                    "precision": percent(right / predicted) if predicted else NONE,
                    "recall": percent(right / true) if true else NONE,
                    "F1": percent(f1[label]),
                }
            )
    return Section("classes", "Classes", table=pd.DataFrame(rows), caption="Scores of each class.", notes=notes)


def confusion(runs: Runs) -> Section:
    """Return the section with a confusion matrix of each run."""
    figures = [
        Matrix.of(
            f"confusion-{number}",
            f"{name}, {PART_NAMES[shown_part(run)]}",
            run.classes,
            run.metrics[shown_part(run)]["confusion"],
        )
        for number, (name, run) in enumerate(runs.items(), 1)
    ]
    text = ["Rows are the true classes; the shade and the percentage are shares of the row."]
    if any(len(run.classes) > len(figure.classes) for run, figure in zip(runs.values(), figures, strict=True)):
        text.append("Classes that neither occur nor are predicted are left out.")
    rows = [row for (name, _), figure in zip(runs.items(), figures, strict=True) for row in _confused(name, figure)]
    caption = "What is most often taken for something else."
    table = pd.DataFrame(rows) if rows else None
    return Section("confusion", "Confusion", text, table, caption if rows else "", figures=figures)


def _confused(name: str, matrix: Matrix) -> list[dict[str, Any]]:
    """Return the most frequent confusions, a row each; none where the matrix itself can be read."""
    if not matrix.large:
        return []
    counts = np.array(matrix.counts)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS]
    places = [(int(place) // len(counts), int(place) % len(counts)) for place in order]
    return [
        {
            "run": name,
            "class": matrix.classes[true],
            "predicted as": matrix.classes[said],
            "pairs": int(counts[true, said]),
            "share of the class": percent(counts[true, said] / counts[true].sum()),
        }
        for true, said in places
        if wrong[true, said]
    ]


def reliability(runs: Runs) -> Section:
    """Return the section with a reliability diagram of each run and its expected calibration error."""
    figures = []
    for number, (name, run) in enumerate(runs.items(), 1):
        part = shown_part(run)
        table = run.predictions[run.predictions["part"] == part]
        error, bins = calibration(
            numbers_of(table["label"], run.classes),
            table[[f"p_{label}" for label in run.classes]].to_numpy(),
            BINS,
        )
        figures.append(
            Reliability(
                f"calibration-{number}",
                f"{name}, {PART_NAMES[part]}",
                (*map(float, bins["low"]), float(bins["high"].iloc[-1])),
                tuple(map(int, bins["n"])),
                tuple(map(float, bins["confidence"])),
                tuple(map(float, bins["accuracy"])),
                error,
            )
        )
    text = [
        "Of the predictions made with so much confidence, how many were right: on the dashed line confidence can be"
        " believed, below it the head is too sure. The darker a bar, the more predictions. ECE is the expected"
        f" calibration error over {BINS} bins of equal width."
    ]
    return Section("calibration", "Calibration", text, figures=figures)


def learning(runs: Runs) -> Section:
    """Return the section with loss and accuracy, or of numbers the MAE, against the epoch."""
    figures = [
        LineChart(f"learning-{what}", title, "epoch", title, lines, percent=percent, points=False)
        for what, title, percent in (("loss", "Loss", False), ("accuracy", "Accuracy", True), ("mae", "MAE", False))
        if (lines := _history(runs, what))
    ]
    return Section(
        "learning",
        "Learning curves",
        figures=figures,
        notes=["The epoch that is best on the validation part is kept."],
    )


def provenance(runs: Runs) -> Section:
    """Return the section on where each run comes from: data, protocol, encoders, seeds, versions."""
    columns = {name: _provenance(run) for name, run in runs.items()}
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    rows = [{"": key, **{name: column.get(key, NONE) for name, column in columns.items()}} for key in keys]
    return Section("provenance", "Provenance", table=pd.DataFrame(rows), caption="What each run was made of.")


def parts_of(run: Run) -> list[str]:
    """Return the parts whose scores the run folder holds, validation first."""
    return [part for part in ("val", "test") if part in run.metrics]


def _history(runs: Runs, what: str) -> tuple[Line, ...]:
    lines = []
    for color, (name, run) in enumerate(runs.items()):
        epochs = tuple(map(float, run.history["epoch"]))
        if f"val_{what}" not in run.history:
            continue
        named = f"{name}: " if len(runs) > 1 else ""
        lines.append(Line(f"{named}validation", epochs, tuple(run.history[f"val_{what}"]), color=color))
        if len(runs) <= MAX_WITH_TRAINING:
            trained = tuple(run.history[f"train_{what}"])
            lines.append(Line(f"{named}training", epochs, trained, dashed=True, color=color))
    return tuple(lines)


def _provenance(run: Run) -> dict[str, str]:
    record, environment = run.record, run.environment
    data, samples = record["dataset"], record["samples"]
    facts = {
        "run folder": str(run.path),
        "data set": f"{data.get('name')}, {samples['used']} of {samples['labelled']} labelled pairs",
        "target": described(run.target),
        **{f"further target {place}": described(one) for place, one in enumerate(run.targets[1:], 1)},
        "read from": str(data.get("source", {}).get("root", NONE)),
        "protocol": protocol(record["split"]),
        "seed": str(run.config.seed),
    }
    for kind, entry in record["stores"].items():
        identity = entry["identity"]
        facts[f"{kind}: encoder"] = str(identity["name"])
        facts[f"{kind}: weights"] = ", ".join(f"{key} {value}" for key, value in identity["weights"].items())
        facts[f"{kind}: fingerprint"] = str(entry["fingerprint"])
    facts["recipe"] = ", ".join(f"{key}={value}" for key, value in run.config.to_dict().items() if key != "seed")
    facts["epoch chosen by"] = str(run.metrics.get("selected_by", NONE))
    facts["key"] = str(record.get("key", NONE))
    for key in ("itin", "python", "torch", "numpy"):
        facts[key] = str(environment.get(key, NONE))
    device = [environment.get(key) for key in ("device", "device_name", "platform")]
    facts["machine"] = ", ".join(str(value) for value in device if value)
    facts["trained"] = f"{environment.get('written', '–')}, {environment.get('training_seconds', '–')} s"
    return facts


def described(target: Target) -> str:
    """Return a target's name and what its values are, as one line."""
    if target.is_number:
        low, high = target.bounds
        return f"{target.name}, a number from {low:g} to {high:g}"
    kind = "ordered classes" if target.kind == "ordered" else "classes"
    return f"{target.name}, {len(target.classes)} {kind}: {listed(target.classes, MAX_CLASSES)}"


def protocol(split: Mapping[str, Any]) -> str:
    """Return a split's protocol and the sizes of its parts, as one line."""
    sizes = [f"{count} {PART_NAMES.get(part, part)}" for part, count in split.get("sizes", {}).items()]
    return f"{describe(split)} ({' / '.join(sizes)})" if sizes else describe(split)
