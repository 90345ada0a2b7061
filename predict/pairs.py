"""The pairs of one part of a run with their predictions, from the run folder and the cache, without an encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..cache import Store
from ..errors import RunError, WeightsError
from ..extract.config import EncoderConfig
from ..extract.frcnn.vocabulary import Vocabulary, find_vocabulary
from ..extract.weights.detector import find_detector_weights
from ..tabular.matching import examples, match
from ..train.features.features import Features
from ..train.features.find import FeatureStores, stores_of_run
from ..train.features.load import load_features
from ..train.runs.evaluation import check_fit
from ..train.runs.folder import Run
from .prediction import PairDetails, Prediction, of_target, predictions, token_mask
from .words import numbers, splitter_of, words_or_numbers

TOLERANCE = 0.01
"""The tolerance between a probability computed here and the one in the run folder, since machines round differently;
of a number a share of its span."""

REGION_ARRAYS = ("boxes", "scores", "objects", "attributes")


@dataclass(frozen=True)
class Pair:
    """A pair of the data set and a run's prediction for it."""

    id: str
    text: str
    label: str
    """The true label, of a number its value as text; empty if unknown."""
    prediction: Prediction
    """The label and probabilities, or the number, from the run folder; regions and words are computed by its head."""
    image: Path
    """The path of the image when its features were made, or of the archive or table that held it."""
    size: tuple[int, int]
    """Width and height in pixels; (0, 0) if the cache does not have them."""
    image_sha256: str
    """The digest of the image, as the cache records it."""
    value: float | None = None
    """The true value of a number; None for a class, or if unknown."""
    within: Mapping[str, Any] = field(default_factory=dict)
    """Where in the file `image` it was, see `extract.data.places.locator.Locator`; empty: the file was the image."""


def shown_part(run: Run) -> str:
    """Return the part of a run to show: `test` if it has test predictions, else `val`."""
    return "test" if (run.predictions["part"] == "test").any() else "val"


def pairs_of(
    run: Run, part: str | None = None, cache: Path | None = None, found: FeatureStores | None = None
) -> list[Pair]:
    """Read the pairs of a part, in the order of the run's `predictions.csv`.

    Args:
        run: the run.
        part: `val` or `test`; None for `shown_part`.
        cache: the current folder of the cache; None for the one that the run records.
        found: the data set and the run's own stores, if they are already open.

    Raises:
        CacheError: the stores are missing.
        RunError: their features, labels or samples are not those of the run, or the checkpoint does not reproduce the
            run's predictions.
    """
    found = found or stores_of_run(run, cache)
    recorded = run.predictions[run.predictions["part"] == (part or shown_part(run))].set_index("id")
    ids = [str(sample) for sample in recorded.index]
    samples = found.table.samples
    _check_there(run, ids, samples["id"].astype(str))
    samples = samples[samples["id"].astype(str).isin(set(ids))]
    features = load_features(
        replace(found.table, samples=samples),
        found.stores,
        run.config.regions,
        run.config.keep_special,
        allow_missing=True,  # `_rows` checks that every pair of the run is there
        inputs=run.inputs,
        lexicons=run.lexicons,
        targets=run.config.targets,
    )
    rows = _rows(run, features, recorded)
    texts = samples.set_index(samples["id"].astype(str)).loc[ids]
    details = _details(run, found, texts)
    computed = predictions(
        run.head(),
        run,
        features,
        rows,
        details,
        vocabulary_of(run, found.stores.get("regions")),
        run.config.batch_for(features.dataset),
    )
    _check(run, recorded, computed)
    return [
        replace(
            _recorded(run, sample, recorded.loc[sample], prediction),
            text=str(row["text"]),
            image=Path(str(row["image"])),
            size=(int(row.get("width", 0)), int(row.get("height", 0))),
            image_sha256=str(row["image_sha256"]),
            within=within if isinstance(within := row.get("within"), dict) else {},  # not a number: a table of files
        )
        for sample, row, prediction in zip(ids, texts.to_dict("records"), computed, strict=True)
    ]


def _recorded(run: Run, sample: str, row: pd.Series, computed: Prediction) -> Pair:
    """Return a pair with label and prediction as `predictions.csv` has them; text and image are still to be added."""
    label, value = str(row["label"]), None
    if run.target.is_number:
        value = float(row["label"])
        label, said = f"{value:.3g}", np.float64(row["predicted"])
    else:
        said = np.array([row[f"p_{name}"] for name in run.classes], np.float64)
    own = of_target(run.target, said, run.half_widths.get(run.target.name))
    named = own.label if run.target.is_number else str(row["predicted"])
    kept = replace(computed, label=named, probabilities=own.probabilities, value=own.value, interval=own.interval)
    return Pair(sample, "", label, kept, Path(), (0, 0), "", value)


def pairs_frame(pairs: Sequence[Pair]) -> pd.DataFrame:
    """Return one row per region and word: ids and names, `gate` and `attention` of the region, `weight` of the word."""
    rows = [
        {
            "id": pair.id,
            "label": pair.label,
            "predicted": pair.prediction.label,
            "region": number,
            "object": region.object_name,
            "attribute": region.attribute_name,
            "gate": region.gate,
            "attention": region.attention,
            "word": pair.prediction.word(word),
            "weight": weight,
        }
        for pair in pairs
        for number, region in enumerate(pair.prediction.regions, 1)
        for word, weight in region.words.items()
    ]
    columns = ["id", "label", "predicted", "region", "object", "attribute", "gate", "attention", "word", "weight"]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    return frame


def vocabulary_of(run: Run, store: Store | None = None) -> Vocabulary:
    """Return the object and attribute names of the run's region encoder.

    Args:
        run: the run.
        store: its store of regions, whose names go first; a store of before has none, and those of vg-frcnn are taken
            from their files, as far as these are found.
    """
    if store is not None and store.names:
        return Vocabulary(**{kind: tuple(each) for kind, each in store.names.items()})
    entry = run.record["stores"].get("regions", {"options": None, "identity": {"name": "", "weights": {}}})
    options = entry["options"]
    if options is None or entry["identity"]["name"] != "vg-frcnn":
        return Vocabulary()
    try:
        untrained = EncoderConfig(**options).seed_of("regions") is not None
        weights = None if untrained else find_detector_weights(options["detector_weights"])
        return find_vocabulary(weights, objects=options["object_names"], attributes=options["attribute_names"])
    except WeightsError:
        return Vocabulary()


def _check_there(run: Run, ids: Iterable[str], there: Iterable[str]) -> None:
    met = match(ids, there)
    if met.ours:
        raise RunError(
            f"the cache does not hold the samples that the run {run.path} was made of",
            expected=f"all {met.both + len(met.ours)} pairs of its predictions.csv",
            found="; ".join(met.lines("missing")),
            next_step="run the same `itin extract` again: it extracts what is missing",
        )


def _rows(run: Run, features: Features, recorded: pd.DataFrame) -> np.ndarray:
    """Return the row of each recorded prediction among the features, (N,) int64."""
    run.check_targets(features)
    check_fit(run, features)
    _check_there(run, recorded.index, features.ids)
    place = {sample: row for row, sample in enumerate(features.ids)}
    changed = [s for s in recorded.index if not run.has_label(features, place[s], recorded.at[s, "label"])]
    if changed:
        raise RunError(
            f"the cache does not hold the labels that the run {run.path} was made of",
            expected=f"all {len(recorded)} pairs of its predictions.csv, with their labels",
            found=f"{len(changed)} with another label: {examples(changed)}",
            next_step="train again on the new labels",
        )
    return np.array([place[sample] for sample in recorded.index], dtype=np.int64)


def _details(run: Run, found: FeatureStores, texts: pd.DataFrame) -> list[PairDetails]:
    """Read the words and regions of some samples, rows of the data set's table, from the stores."""
    ids, m = list(texts.index), run.config.regions
    words, split, mapped = [np.zeros(0, np.int32)] * len(ids), None, True
    if "tokens" in found.stores:
        store, split = found.stores["tokens"], splitter_of(run)
        mapped = "word_ids" not in store.lacks
        read = store.read_ragged(store.index(ids, texts["text_sha256"].astype(str).tolist()))
        words = [one[token_mask(one, run.config)] for one in np.split(read["word_ids"], read["offsets"][1:-1])]
    regions: list[dict[str, np.ndarray] | None] = [None] * len(ids)
    if m:
        store = found.stores["regions"]
        held = store.index(ids, texts["image_sha256"].astype(str).tolist())
        arrays = {name: store.read(name, held, first=m) for name in REGION_ARRAYS}
        counts = np.minimum(store.read("counts", held), m)
        regions = [{name: each[row, :count] for name, each in arrays.items()} for row, count in enumerate(counts)]
    return [
        PairDetails(words_or_numbers(str(text), own.tolist(), split) if mapped else numbers(len(own)), own, boxes)
        for text, own, boxes in zip(texts["text"], words, regions, strict=True)
    ]


def _check(run: Run, recorded: pd.DataFrame, computed: Sequence[Prediction]) -> None:
    """Check that the checkpoint reproduces the run's probabilities or numbers; raise RunError otherwise."""
    if run.target.is_number:
        what, own = "numbers", np.array([[one.value] for one in computed], np.float64)
        there = recorded[["predicted"]].to_numpy(np.float64)
        within = TOLERANCE * (run.target.bounds[1] - run.target.bounds[0])
    else:
        what, own = "probabilities", np.array([list(one.probabilities.values()) for one in computed])
        there, within = recorded[[f"p_{label}" for label in run.classes]].to_numpy(), TOLERANCE
    away = float(np.abs(there - own).max())
    if away > within:
        raise RunError(
            f"the checkpoint of {run.path} does not reproduce the run's predictions",
            expected=f"the {what} of its predictions.csv, within {within:g}",
            found=f"one that differs by {away:.3f}",
            next_step="restore the run's original model.safetensors, or train the run again",
        )
