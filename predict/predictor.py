"""From a raw image and its text to a label, by a run's own encoders and head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ..cache.shard import to_stored
from ..errors import RunError
from ..extract.build import build_encoder, check_same, identity_of
from ..extract.config import EncoderConfig
from ..extract.encoders import Arrays, ImageEncoder, TextEncoder
from ..extract.frcnn.vocabulary import Vocabulary
from ..extract.images import read_image
from ..itin_head.batch import mask_of, pad
from ..labels import LABELS
from ..train.runs import Run
from .prediction import Prediction, Region, regions_of

__all__ = ["Prediction", "Predictor", "Region"]


class Predictor:
    """Predicts for raw pairs with the encoders that a run's features came from.

    Args:
        run: a trained run.
        device: where encoders and head run.

    Raises:
        RunError: the run's features were not made by an encoder that can be built here.
        WeightsError: an encoder's weights cannot be had, or are not those that the run was trained with.
    """

    def __init__(self, run: Run, device: torch.device) -> None:
        self.run = run
        self._device = device
        self._head = run.head(device)
        self._stores: dict[str, dict[str, Any]] = run.record["stores"]
        self._encoders = {kind: self._encoder(kind) for kind in sorted(run.config.inputs)}
        self._vocabulary: Vocabulary = getattr(self._encoders.get("regions"), "vocabulary", None) or Vocabulary()

    def __call__(self, image: Path, text: str) -> Prediction:
        """Predicts for one pair.

        Raises:
            BadFile: the image cannot be used.
            FeatureError: the features cannot be stored, or the text has no words.
        """
        return self.predict([(read_image(image), text)])[0]

    def predict(self, pairs: Sequence[tuple[np.ndarray, str]]) -> list[Prediction]:
        """Predicts for pairs of decoded image (H, W, 3) and text."""
        tokens = self._encode("tokens", [text for _, text in pairs]) if "tokens" in self._encoders else None
        regions = self._encode("regions", [image for image, _ in pairs]) if "regions" in self._encoders else None
        context = self._encode("context", [image for image, _ in pairs]) if "context" in self._encoders else None
        inputs: list[torch.Tensor | None] = [None] * 5
        if tokens is not None:
            kept = [self._words(arrays) for arrays in tokens]
            words = [torch.from_numpy(one["tokens"][keep]).float() for one, keep in zip(tokens, kept, strict=True)]
            inputs[1], inputs[2] = pad(words)
        if regions is not None:
            m = self.run.config.regions
            counts = torch.tensor([min(m, len(arrays["scores"])) for arrays in regions])
            batch = torch.zeros(len(pairs), m, regions[0]["regions"].shape[1])
            for row, arrays in enumerate(regions):
                batch[row, : counts[row]] = torch.from_numpy(arrays["regions"][:m])
            inputs[0], inputs[4] = batch, mask_of(counts, m)
        if context is not None:
            inputs[3] = torch.from_numpy(np.stack([arrays["context"] for arrays in context])).float()
        with torch.inference_mode():
            out = self._head(*(None if one is None else one.to(self._device) for one in inputs))
        probabilities = out.logits.double().softmax(1).cpu().numpy()
        reader = cast(TextEncoder | None, self._encoders.get("tokens"))
        return [
            Prediction(
                label=LABELS[int(probabilities[row].argmax())],
                probabilities=dict(zip(LABELS, map(float, probabilities[row]), strict=True)),
                words=[] if reader is None else reader.words(text),
                regions=[]
                if regions is None or tokens is None
                else regions_of(out, row, regions[row], tokens[row]["word_ids"][kept[row]], self._vocabulary),
            )
            for row, (_, text) in enumerate(pairs)
        ]

    def _words(self, arrays: Arrays) -> np.ndarray:
        """Which tokens the head sees, (n,) bool."""
        special = np.asarray(arrays["word_ids"]) < 0
        keep = np.ones_like(special) if self.run.config.keep_special else ~special
        return np.asarray(keep & (keep.cumsum() <= self.run.config.max_words))

    def _encoder(self, kind: str) -> ImageEncoder | TextEncoder:
        entry = self._stores[kind]
        if entry["options"] is None:
            raise RunError(
                f"the run {self.run.path} was trained on {kind} features that were imported, not made here",
                expected="features that `itin extract` made, so that the same encoder can be built for a raw image",
                found=f"{entry['identity']['name']}, whose detector weights are missing here: "
                + str(entry["identity"]["weights"].get("imported", "unknown")),
                next_step="get those weights (`itin weights` says how), run `itin extract --only regions"
                " --detector-weights FILE`, and train on that",
            )
        config = EncoderConfig(**entry["options"])
        built = self.run.path / "tokenizer.json"
        encoder = build_encoder(kind, config, self._device, tokenizer_file=built if built.exists() else None)
        check_same(kind, identity_of(encoder.spec, config.store_dtype), entry["identity"])
        return encoder

    def _encode(self, kind: str, inputs: Sequence[Any]) -> list[Arrays]:
        """The features as the store would hold them, rounding included."""
        encoder = self._encoders[kind]
        prepared = list(inputs) if kind == "tokens" else [cast(ImageEncoder, encoder).prepare(one) for one in inputs]
        arrays = [
            one
            for start in range(0, len(prepared), encoder.batch_size)
            for one in encoder.encode(prepared[start : start + encoder.batch_size])
        ]
        identity = self._stores[kind]["identity"]
        return [to_stored(kind, one, identity["dtype"], identity["dims"]) for one in arrays]
