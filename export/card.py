"""The model card of a run: its head, its data and protocol, figures with intervals, encoders, and what to beware of."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from ..itin_head.registry import HEADS, label_of
from ..labels import listed
from ..targets import Target
from ..train.config import SCORE_TITLES
from ..train.number_statistics import bootstrap_numbers
from ..train.protocols.protocol import describe
from ..train.protocols.split import PART_NAMES
from ..train.runs.folder import Run
from ..train.runs.write import COVERAGE
from ..train.statistics import bootstrap, interval
from .encoders import encoders_of, lines_of

USE = """```sh
itin predict FOLDER_OR_NAME --image photo.jpg --text 'What a day at the beach'
```

```python
from itin.itin_head import ITINHead

head = ITINHead.from_pretrained("FOLDER_OR_NAME")
```"""
"""How a head that itin reads is used."""

CLASS_FIGURES = ("accuracy", "weighted_f1", "macro_f1")
NUMBER_FIGURES = ("mae", "rmse", "pearson", "ccc")

MVSA = (
    "MVSA's tweets were found by words of emotion, and text and image were judged apart, by {judges}. The label of a "
    "pair is made of the two by a rule: a neutral side yields to the other, and a pair whose sides conflict has no "
    "label. Such pairs are neither in the training nor in the figures."
)
CAVEATS = {
    "mvsa-single": MVSA.format(judges="one annotator each: a label is one person's opinion"),
    "mvsa-multiple": MVSA.format(judges="three annotators each, of whom the majority counts"),
}
"""What to beware of in the labels of a data set, by its kind."""


def card_of(run: Run, licence: str | None = None, use: str = USE) -> str:
    """Return the model card of a run, in Markdown with the hub's header.

    Args:
        run: the run.
        licence: the licence of the weights, as the hub names licences; None leaves it open, and says so.
        use: how it is used, in Markdown.
    """
    tags = ["itin", "sentiment-analysis", "image-text", "multimodal"]
    header = {"library_name": "itin", "tags": tags, **({"license": licence} if licence else {})}
    lines = ["---", yaml.safe_dump(header, sort_keys=False).rstrip(), "---", "", *_body(run, licence, use)]
    return "\n".join(lines) + "\n"


def _body(run: Run, licence: str | None, use: str) -> Iterator[str]:
    data, config = run.record["dataset"], run.config
    name = data.get("name", "a data set")
    yield f"# {label_of(config.head, run.head_config.has)} on {name}"
    if run.note:
        yield f"\n**{run.note}**"
    members = len(config.members)
    yield (
        f"\nThe head `{config.head}` of itin ({HEADS[config.head].summary})"
        + (f", {members} times with different seeds, whose mean is the prediction" if members > 1 else "")
        + (f", beside the head `{config.partner}`: the mean of both is the prediction" if config.beside else "")
        + ". It reads features of an image and its text, made by frozen encoders (below), whose weights are not here."
    )
    yield "\n## What it predicts\n"
    for target in run.targets:
        yield f"- `{target.name}`: {_values(target)}"
    yield "\n## Data and protocol\n"
    kept = run.record["samples"]
    yield f"- Data set: {name}, {kept['used']} pairs of {kept['labelled']} with a value."
    for why, count in (data.get("undecided") or {}).items():
        yield f"- Left out: {count} pairs, {why}."
    sizes = run.record["split"].get("sizes") or {}
    parts = ", ".join(f"{sizes[part]} {PART_NAMES[part]}" for part in ("train", "val", "test") if part in sizes)
    yield f"- Protocol: {describe(run.record['split'])}" + (f" ({parts})." if parts else ".")
    by = run.metrics.get("selected_by", "the validation part")
    yield f"- Training: seed {config.seed}; epoch {run.metrics['best_epoch']} of {config.epochs} was kept, by {by}."
    yield "\n## Figures\n"
    yield from _figures(run)
    yield "\n## Encoders\n"
    yield from lines_of(encoders_of(run))
    yield "\n## Use\n"
    yield use
    yield "\n## Limits\n"
    kind = str((data.get("source") or {}).get("kind") or name)
    if kind in CAVEATS:
        yield f"- {CAVEATS[kind]}"
    yield "- The figures are of one run on one split; on other data, languages and times expect lower ones."
    yield "- It guesses what a post expresses, as others read it: do not use it to judge a person."
    yield "\n## Licence\n"
    if licence:
        yield f"The weights of the head: {licence}. "
    else:
        yield "No licence is stated for the weights of the head: ask whoever published them. "
    yield f"The data set ({name}) and the encoders have terms of their own; itin itself is Apache-2.0."


def _values(target: Target) -> str:
    if target.is_number:
        return "a number from {:g} to {:g}".format(*target.bounds)
    return f"{'ordered ' * (target.kind == 'ordered')}classes {listed(target.classes)}"


def _figures(run: Run) -> Iterator[str]:
    """Yield the figures of the validation and the test part of the first target, with bootstrap intervals."""
    names = NUMBER_FIGURES if run.target.is_number else CLASS_FIGURES
    yield f"| `{run.target.name}` | pairs | {' | '.join(SCORE_TITLES[name] for name in names)} |"
    yield f"|---|---{'|---' * len(names)}|"
    for part in ("val", "test"):
        if part not in run.metrics:
            continue
        scores, ends = run.metrics[part], _intervals(run, part)
        cells = [
            "–" if scores[name] is None else f"{scores[name]:.3f} ({ends[name][0]:.3f}–{ends[name][1]:.3f})"
            for name in names
        ]
        yield f"| {PART_NAMES[part]} | {scores['n']} | {' | '.join(cells)} |"
        yield f"| {_baseline(run, part)} | |{' |' * len(names)}"
    yield "\nIn brackets 95% intervals over the pairs (bootstrap); that of several seeds or splits would be wider."
    if "test" not in run.metrics:
        yield "The test part has not been evaluated; the validation part chose the epoch, so that its figures flatter."
    for target, width in run.half_widths.items():
        yield f"For {COVERAGE:.0%} of pairs like these the true `{target}` is within {width:.3f} of the predicted one."


def _baseline(run: Run, part: str) -> str:
    scores = run.metrics[part]
    if run.target.is_number:
        return f"always {scores['baseline']['value']:.3f}: MAE {scores['baseline']['mae']:.3f}"
    return f"always {scores['majority']['class']}: accuracy {scores['majority']['accuracy']:.3f}"


def _intervals(run: Run, part: str) -> dict[str, tuple[float, float]]:
    rows = run.predictions[run.predictions["part"] == part]
    target = run.target
    if target.is_number:
        known = rows["label"].notna()
        true, said = rows.loc[known, "label"].to_numpy(), rows.loc[known, "predicted"].to_numpy()
        found = bootstrap_numbers(true, [said], band=run.metrics[part]["band"], span=target.bounds)
    else:
        known = rows["label"] != ""
        numbers = {label: number for number, label in enumerate(target.classes)}
        true, said = (rows.loc[known, column].map(numbers).to_numpy() for column in ("label", "predicted"))
        found = bootstrap(true, [said], len(target.classes))
    return {name: interval(each[0]) for name, each in found.items()}
