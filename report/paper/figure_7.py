"""Fig. 7 for pairs of the test part: those requested, or typical ones chosen by a rule that the page states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...errors import CacheError, RunError
from ...predict.pairs import Pair, pairs_of
from ...tabular.matching import match
from ...train.runs.folder import Run, load_run
from ..browser import RunPairs, pairs_data
from ..explain import Explanation
from ..page.section import Section
from ..thumbnails import Images, Thumbnail, thumbnail
from . import evaluate

if TYPE_CHECKING:
    from .reproduction import Reproduction

SIDE = 640
"""The longer side of a picture on the page, in pixels."""

WORDS = 3
"""Number of words in the table for each region, those of greatest weight."""

RULE = (
    "of each class, among the test pairs that it predicts rightly, the one whose probability of the class is the median"
)


@dataclass(frozen=True)
class Figure7:
    """The section and the data of its widget."""

    section: Section | None = None
    pairs: list[Pair] = field(default_factory=list)
    images: Images = field(default_factory=Images)
    pictures: dict[str, Thumbnail] = field(default_factory=dict)
    """The thumbnails by the digest of the image."""
    note: str | None = None
    """A note that must accompany every picture, or None."""
    data: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    """What could not be shown and why."""

    def write(self, folder: Path, kind: str = "pdf") -> list[Path]:
        """Draw each pair whose image was found into `figure-7-1.pdf` and so on, in the order of the table.

        Args:
            folder: the folder to write to; created if missing.
            kind: `pdf`, `png` or `svg`.

        Raises:
            RunError: a file cannot be written.
        """
        gone = {digest for digest, one in self.pictures.items() if not one.url}
        return [
            Explanation.of(pair, self.images, self.note).save(folder / f"figure-7-{number}.{kind}")
            for number, pair in enumerate(self.pairs, 1)
            if pair.image_sha256 not in gone
        ]


def figure_7(made: Reproduction, images: Path | None = None, cache: Path | None = None) -> Figure7:
    """Explain pairs with the full model's run of the first seed.

    Args:
        made: the reproduction.
        images: the current folder of the images; None for the one that the cache records.
        cache: the current folder of the cache; None for the one that the run records.

    Raises:
        ValueError: a requested pair is not in the test part.
    """
    title = "Fig. 7: what the head looked at"
    trial = next((one for one in made.trials if one.axis == "ablation" and one.config.ablation == "none"), None)
    result = made.results.get(trial.key) if trial is not None else None
    if result is None or result.run is None or result.key in made.missing:
        return Figure7(Section("figure-7", title, ["The run of the full model is not there."]))
    run = load_run(result.run)
    table = evaluate.read(made.path, result.key, made.classes)
    asked = made.request.pairs
    met = match(asked, table["id"])
    if met.ours:
        cause = f" ({met.cause})" if met.cause is not None else ""
        raise ValueError(f"pairs: expected ids of the test part, got {', '.join(met.ours)}{cause}")
    ids = list(asked) or typical(table, made.classes)
    if not ids:
        return Figure7(
            Section("figure-7", title, ["The full model predicts no test pair rightly, so none is typical."])
        )
    try:
        pairs = _pairs(run, table, ids, cache)
    except (CacheError, RunError) as error:
        return Figure7(Section("figure-7", title, [f"The pairs cannot be shown: {error.what}."]), missing=[error.what])
    where = Images.of(run, images)
    pictures = {pair.image_sha256: thumbnail(pair, where, SIDE) for pair in pairs}
    seed = run.config.seed
    chosen = "These pairs were asked for." if asked else f"The pairs were chosen by a rule: {RULE}."
    section = Section(
        "figure-7",
        title,
        [
            f"The full model of seed {seed}, on pairs of the test part. {chosen} Each region is outlined in its colour;"
            " the words are shaded by their weight for the region under the pointer (eq. 6), beside it its gate (eq. 8)"
            " and the attention over the regions (eq. 12)."
        ],
        regions_table(pairs),
        "The regions of these pairs, with the words that weigh most.",
        widget="pairs",
    )
    data = {**pairs_data([RunPairs("", "test", pairs)], pictures), "large": True}
    missing = [f"the image of pair {pair.id} cannot be shown: {pictures[pair.image_sha256].reason}"
               for pair in pairs if not pictures[pair.image_sha256].url]  # fmt: skip
    return Figure7(section, pairs, where, pictures, run.note, {"pairs": data}, missing)


def typical(table: pd.DataFrame, classes: Sequence[str]) -> list[str]:
    """Return the ids that `RULE` chooses from test predictions; a class without a correct prediction has none."""
    found = []
    for label in classes:
        right = table[(table["label"] == label) & (table["predicted"] == label)]
        if len(right):
            ordered = right.sort_values([f"p_{label}", "id"], kind="stable")
            found.append(str(ordered["id"].iloc[(len(ordered) - 1) // 2]))
    return found


def regions_table(pairs: list[Pair]) -> pd.DataFrame:
    """Return one row per region: pair, prediction, gate, attention, the words of the greatest weight."""
    rows = []
    for pair in pairs:
        for number, region in enumerate(pair.prediction.regions, 1):
            heaviest = sorted(region.words.items(), key=lambda one: -one[1])[:WORDS]
            rows.append(
                {
                    "pair": pair.id,
                    "label": pair.label,
                    "predicted": pair.prediction.label,
                    "region": f"{number} {region.name}".strip(),
                    "gate": f"{region.gate:.4f}",
                    "attention": f"{region.attention:.3f}",
                    "words": ", ".join(f"{pair.prediction.word(word)} {weight:.2f}" for word, weight in heaviest),
                }
            )
    columns = ["pair", "label", "predicted", "region", "gate", "attention", "words"]
    table: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return table


def _pairs(run: Run, table: pd.DataFrame, ids: list[str], cache: Path | None) -> list[Pair]:
    """Return these pairs of the test part, in this order."""
    chosen = table.set_index("id").loc[ids].reset_index()
    return pairs_of(run.with_predictions(chosen), "test", cache)
