"""Prediction from raw images and texts, with a run's own encoders and head."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..cache.format.shard_write import FeatureError, to_stored
from ..errors import RunError
from ..extract.config import EncoderConfig
from ..extract.data.images import read_image
from ..extract.encoders.build import build_encoder, check_same, identity_of
from ..extract.encoders.contract import Arrays, ImageEncoder, TextEncoder
from ..extract.encoders.own import FIELDS, check_allowed
from ..extract.frcnn.vocabulary import Vocabulary
from ..train.features.features import Features
from ..train.features.named import ARRAYS, UNNAMED, named_regions
from ..train.lexicons.values import foreign, lexicon_values
from ..train.runs.folder import Run
from .prediction import PairDetails, Prediction, predictions, token_mask


class Predictor:
    """A predictor for raw pairs, with the encoders that made a run's features.

    Args:
        run: a trained run.
        device: the device of encoders and head.
        allow: the encoders of a user's own (`module:Class`) whose code may be imported. The run alone never causes an
            import.

    Raises:
        RunError: the run's features were not made by an encoder that can be built here, or a lexicon that it reads is
            not installed as it was.
        WeightsError: an encoder's weights are not available, or are not those that the run was trained with.
        EncoderError: an encoder of the user's own may not or cannot be imported.
    """

    def __init__(self, run: Run, device: torch.device, allow: Collection[str] = ()) -> None:
        self.run = run
        self._allow = allow
        self._device = device
        self._head = run.head(device)
        self._stores: dict[str, dict[str, Any]] = run.record["stores"]
        reads = sorted(run.reads)
        options = {kind: self._stores[kind]["options"] or {} for kind in reads}
        check_allowed({kind: str(options[kind].get(FIELDS[kind])) for kind in reads}, allow)
        self._encoders = {kind: self._encoder(kind) for kind in reads}
        self._lexicons = run.lexicons
        self.foreign = 0
        """How many of the texts were in another language than English, so that their lexicon values are unknown."""
        self._vocabulary: Vocabulary = getattr(self._encoders.get("regions"), "vocabulary", None) or Vocabulary()

    def __call__(self, image: Path, text: str) -> Prediction:
        """Predict one pair.

        Raises:
            BadFile: the image cannot be used.
            FeatureError: the features cannot be stored, or the text has no words.
        """
        if "tokens" in self._encoders and not text.strip():
            raise FeatureError("the text is empty")
        return self.predict([(read_image(image), text)])[0]

    def predict(self, pairs: Sequence[tuple[np.ndarray, str]]) -> list[Prediction]:
        """Predict pairs of a decoded image (H, W, 3) and a text."""
        encoded = {kind: self._encode(kind, pairs) for kind in self._encoders}
        reader = cast(TextEncoder | None, self._encoders.get("tokens"))
        kept = [token_mask(arrays["word_ids"], self.run.config) for arrays in encoded.get("tokens", [])]
        details = [
            PairDetails(
                [] if reader is None else reader.words(text),
                encoded["tokens"][row]["word_ids"][kept[row]] if kept else np.zeros(0, np.int32),
                encoded["regions"][row] if {"regions", "tokens"} <= set(encoded) else None,
            )
            for row, (_, text) in enumerate(pairs)
        ]
        features, n = self._features(encoded, kept, [text for _, text in pairs]), len(pairs)
        self.foreign += foreign(features.lexicons)
        return predictions(self._head, self.run, features, np.arange(n), details, self._vocabulary, n, self._device)

    def _features(self, encoded: dict[str, list[Arrays]], kept: list[np.ndarray], texts: list[str]) -> Features:
        """Return the features of n pairs as if read from stores; kinds that the head does not read are zeros."""
        m, head, n = self.run.config.regions, self.run.head_config, len(texts)
        counts = np.array([min(m, len(arrays["scores"])) for arrays in encoded.get("regions", [])] or [0] * n)
        regions = np.zeros((n, m, head.region_dim), np.float32)
        tokens, context = np.zeros((0, head.token_dim), np.float32), np.zeros((n, head.context_dim), np.float32)
        token_ids = np.zeros(0, np.int32)
        for row, arrays in enumerate(encoded.get("regions", [])):
            regions[row, : counts[row]] = arrays["regions"][:m]
        if "tokens" in encoded:
            words = list(zip(encoded["tokens"], kept, strict=True))
            tokens = np.concatenate([one["tokens"][keep] for one, keep in words])
            token_ids = np.concatenate([one["token_ids"][keep] for one, keep in words])
        named = None
        if "regions" in encoded and head.objects:
            shown = {name: np.full((n, m), UNNAMED, np.float32) for name in ARRAYS}
            for row, arrays in enumerate(encoded["regions"]):
                for name, values in shown.items():
                    values[row, : counts[row]] = arrays[name][:m]
            named = named_regions(shown, {"objects": head.objects, "attributes": head.attributes})
        if "context" in encoded:
            context = np.stack([arrays["context"] for arrays in encoded["context"]])
        scene = np.zeros((n, head.scene_dim), np.float32) if head.reads_scene else None
        if "scene" in encoded:
            scene = np.stack([arrays["scene"] for arrays in encoded["scene"]])
        offsets = np.concatenate([[0], np.cumsum([keep.sum() for keep in kept] or [0] * n)])
        labels = np.zeros(n, np.int64)
        return Features(
            [""] * n,
            labels,
            regions,
            counts,
            tokens,
            offsets,
            context,
            classes=self.run.classes,
            texts=texts,
            token_ids=token_ids,
            lexicons=lexicon_values(self._lexicons, texts),
            scene=scene,
            named=named,
            sentence_ends=getattr(self._encoders.get("tokens"), "sentence_ends", ()),
        )

    def _encoder(self, kind: str) -> ImageEncoder | TextEncoder:
        entry = self._stores[kind]
        if entry["options"] is None:
            raise RunError(
                f"the run {self.run.path} was trained on {kind} features that were imported, not made here",
                expected="features that `itin extract` made, so that the same encoder can be built for a raw image",
                found=f"{entry['identity']['name']}, whose {'detector' if kind == 'regions' else 'encoder'} weights are"
                " missing here: " + str(entry["identity"]["weights"].get("imported", "unknown")),
                next_step="get those weights (`itin weights` says how), run `itin extract --only regions"
                " --detector-weights FILE`, and train on that"
                if kind == "regions"
                else f"run `itin extract --only {kind}` with that encoder or another one, and train on that",
            )
        config = EncoderConfig(**entry["options"])
        built = self.run.path / "tokenizer.json"
        encoder = build_encoder(
            kind, config, self._device, tokenizer_file=built if built.exists() else None, allow=self._allow
        )
        check_same(kind, identity_of(encoder.spec, config.store_dtype), entry["identity"])
        return encoder

    def _encode(self, kind: str, pairs: Sequence[tuple[np.ndarray, str]]) -> list[Arrays]:
        """Return the features as a store would hold them, rounding included."""
        encoder = self._encoders[kind]
        prepared: list[Any] = (
            [text for _, text in pairs]
            if kind == "tokens"
            else [cast(ImageEncoder, encoder).prepare(image) for image, _ in pairs]
        )
        arrays = [
            one
            for start in range(0, len(prepared), encoder.batch_size)
            for one in encoder.encode(prepared[start : start + encoder.batch_size])
        ]
        identity = self._stores[kind]["identity"]
        return [to_stored(kind, one, identity["dtype"], identity["dims"]) for one in arrays]
