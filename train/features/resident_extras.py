"""What a head may know of a pair beside its features' vectors, on a device and batch by batch: `Extras`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...itin_head.extras import Extras
from ..lexicons.values import joined
from .features import Features
from .word_table import NONE, entries_of


class ResidentExtras:
    """Lexicon values, entries of the learned table, sentences of words, names of regions and scenes on the device.

    Args:
        features: what they are of.
        max_words: how many of a text's words to use, the first ones; None for all.
        device: the device that holds them.
        lexicons: the lexicons whose values to use.
        table: (V,) the keys of the learned table's entries; None without such a table.
        uses: what else is used, `HeadConfig.uses`.
    """

    def __init__(
        self,
        features: Features,
        max_words: int | None,
        device: torch.device,
        lexicons: Sequence[str] = (),
        table: NDArray[np.int64] | None = None,
        uses: Collection[str] = (),
    ) -> None:
        self._offsets, self._max_words = on_device(features.offsets, device), max_words
        self._values = on_device(joined(features.lexicons, lexicons, len(features)), device)
        entries = np.zeros((2, 0), np.int32) if table is None else entries_of(features, table)
        self._entries = on_device(entries, device)
        self._sentences = on_device(sentences_of(features), device) if "sentence_ends" in uses else None
        self._named: list[Tensor] | None = None
        if not {"objects", "attributes"}.isdisjoint(uses):
            if features.named is None:
                raise ValueError("features: expected names of regions, which the head reads, got none")
            named = features.named
            self._named = [on_device(each, device) for each in (named.objects, named.attributes, named.chances)]

        self._scene: Tensor | None = None
        if "scene_dim" in uses:
            if features.scene is None:
                raise ValueError("features: expected a scene, which the head reads, got none")
            self._scene = on_device(features.scene, device)

    def __call__(self, rows: Tensor, n: int, m: int) -> Extras:
        """Gather those of some samples, without waiting for the device.

        Args:
            rows: (B,) or (J, B) samples, on the device.
            n: the padded length of their texts.
            m: regions of an image.
        """
        start = self._offsets[rows]
        length = (self._offsets[rows + 1] - start).clamp(0, self._max_words)[..., None]

        def gathered(values: Tensor, ends: Tensor) -> Tensor:
            """(...) of each token's (T,), where `ends` (n,) counts the tokens that it stands for, else `NONE`."""
            places = (start[..., None] + torch.arange(len(ends), device=rows.device)).clamp(max=max(len(values) - 1, 0))
            return values[places].long().masked_fill(ends > length, NONE)

        step = torch.arange(1, 1 + n, device=rows.device)
        some = step if self._entries.shape[1] else step[:0]
        pairs = [gathered(each, some + place) for place, each in enumerate(self._entries)]  # tokens, and pairs of them
        objects = attributes = chances = None
        if self._named is not None:
            objects, attributes, chances = (each[rows][..., :m] for each in self._named)
            objects, attributes = objects.long(), attributes.long()
        return Extras(
            self._values[rows],
            torch.stack(pairs, -2),  # (..., 2, n)
            objects,
            attributes,
            chances,
            None if self._sentences is None else gathered(self._sentences, step),
            None if self._scene is None else self._scene[rows].float(),
        )


def sentences_of(features: Features) -> NDArray[np.int32]:
    """Return the number of the sentence that each word stands in within its text, (T,), from 0.

    A sentence ends with a token of `Features.sentence_ends`, or with several in a row.

    Raises:
        ValueError: the features were read without token ids.
    """
    if features.token_ids is None:
        raise ValueError("features: expected token ids, by which sentences end, got none")
    ends = np.isin(features.token_ids, features.sentence_ends)
    begins = np.zeros(len(ends), bool)
    begins[1:] = ends[:-1] & ~ends[1:]
    firsts = features.offsets[:-1][np.diff(features.offsets) > 0]
    begins[firsts] = False
    number = np.cumsum(begins)
    text = np.repeat(np.arange(len(features)), np.diff(features.offsets))
    before = np.zeros(len(features), np.int64)
    before[np.diff(features.offsets) > 0] = number[firsts]
    return (number - before[text]).astype(np.int32)


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device, without a copy where that is the CPU and the array may be written to."""
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)
