"""The base class of all heads: inputs and outputs, their checks, and how words are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .config import HeadConfig
from .dropout import dropped
from .extras import ExtraLogits, Extras
from .gru.packing import Words, fill_up, pack_words, padded
from .gru.recurrence import RECURRENCES, Layer, deep_bigru, plain_bigru, weights
from .pretrained.mixin import Pretrained

Inputs = tuple[
    Tensor | None,
    Tensor | Words | None,
    Tensor | None,
    Tensor | None,
    Tensor | None,
    Sequence[str] | None,
    Extras | None,
]
"""The arguments of `Head.forward`."""


class HeadOutput(NamedTuple):
    """The outputs of a head; those that it does not compute are None."""

    logits: Tensor
    """(B, classes), W_f F + b_f of eq. 19; their softmax is y."""
    alignment: Tensor | None = None
    """(B, m, n), Ā of eq. 6: each region's weights over the words sum to 1; 1/n each for `no-align`; zero at padding.
    Without `mask`, n is `max_words`."""
    gate: Tensor | None = None
    """(B, m) or, for gate `vector`, (B, m, d): g of eq. 8; 1 for `no-gate`; zero at padding."""
    attention: Tensor | None = None
    """(B, m), α_z of eq. 12: the regions' weights, which sum to 1; zero at padding."""
    fused: Tensor | None = None
    """(B, hidden), F of eq. 18, or the input of the last layer."""
    words: Tensor | None = None
    """(B, n), the words' weights where the head attends to words, which sum to 1; zero at padding."""
    sentences: Tensor | None = None
    """(B, n), where the head attends to sentences the weight of the one that each word stands in; zero at padding."""
    further: Tensor | None = None
    """(B, F, classes), logits of the head's parts, which get the loss too; predictions do not use them."""

    @property
    def learned(self) -> Tensor:
        """The logits, and behind them the further ones: (B, (1 + F) * classes); each gets the loss."""
        return self.logits if self.further is None else torch.cat([self.logits, self.further.flatten(1)], -1)


class Text(NamedTuple):
    """A batch of texts after the GRU; J is the first axis where J batches are side by side."""

    W: Tensor
    """(B, n, d), w of eq. 4, zero at padding. For a head that is not `recurrent`, x: (B, n, token_dim)."""
    S: Tensor
    """(B, d), eq. 15; or the mean of x."""
    mask: Tensor
    """(B, n) bool, True at a word."""


class Head(nn.Module, Pretrained):
    """A head: its inputs among `regions`, `tokens` and `context` -> logits.

    A new head derives from this, makes its layers in `__init__`, and computes in `join`; `registry.HEADS` names
    it and what it reads. Where `tokens` are among its inputs, the words are read by the GRU of eqs. 2-4; a head that
    reads them in its own way says `recurrent = False`, and `join` is given the words' features themselves. Padding
    must take part in nothing: neither its values (even NaN) nor its amount nor the order of the batch may change a
    sample's result or gradient. `join` takes the batch as one array operation after another without asking for values,
    so that J heads with different weights can be computed side by side (`side_by_side.SideBySide`).

    In training `join` is given features and words that have been through dropout; each head adds that of the vector
    before its last layer, `self.W_f(self.drop(F))`. A head that does it in another way says `own_dropout = True`.

    Args:
        config: sizes and readings.
        gru: how eqs. 2-4 are computed, one of `RECURRENCES`: the parameters and, but for rounding, the results are the
            same.
    """

    recurrent: ClassVar[bool] = True
    """Whether the words are read by the GRU of eqs. 2-4."""
    takes_extras: ClassVar[bool] = False
    """Whether `join` is given the extras too, behind the context."""
    own_dropout: ClassVar[bool] = False
    """Whether `join` applies all of the dropout itself."""
    generators: Sequence[torch.Generator] | None = None
    """What dropout is drawn from: one generator for each head that is computed; None for torch's global one."""
    vocabulary: Mapping[str, Any] | None = None
    """What a run keeps of the head in `vocabulary.json`, beside its weights."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__()
        if gru not in RECURRENCES:
            raise ValueError(f"gru: expected one of {', '.join(RECURRENCES)}, got {gru!r}")
        if config.reads_scene and not config.scene_dim:
            raise ValueError("scene_dim: expected an integer of at least 1 for a head that reads the scene, got 0")
        self.config = config
        self.recurrence, self.read_by = gru, "packed"
        """How eqs. 2-4 are computed with gradients and without; figures of kept weights never depend on a compiler."""
        self.lam: float | Tensor = config.lam  # a tensor where heads of different λ are computed side by side
        if "tokens" in config.inputs and self.recurrent:
            self.gru = self._gru()  # eqs. 2-3
            if config.context_gru and "context_gru" in config.settings:
                self.gru_s = self._gru()
        self.extra = ExtraLogits(config) if config.has_extras else None

    def begin(self, prior: Tensor) -> None:
        """Take what the head needs from the training part before the first epoch.

        Args:
            prior: (outputs,), the constant outputs that fit the targets of the training part best, such as the
                logarithms of the classes' frequencies (`outputs.prior`).
        """

    def scale(self, batches: Iterable[Inputs]) -> None:
        """Take what the head needs from the features of the training part, before the first epoch.

        Args:
            batches: the arguments of `forward` for all of the training part, batch after batch.
        """

    def know(self, vocabulary: Mapping[str, Any]) -> None:
        """Take the vocabulary of a trained head, before its weights, whose shapes it may decide."""

    def drop(self, values: Tensor) -> Tensor:
        """Apply dropout to values (B, ..., D) in training, where the configuration has any: `dropout.dropped`."""
        if not self.training or not self.config.dropout:
            return values
        return dropped(values, self.config.dropout, self.generators)

    def reasons(self, *batch: Any, chosen: NDArray[np.int64] | None = None) -> list[dict[str, float]]:
        """Return for each sample what spoke for the first target's prediction, by name, and how strongly.

        Args:
            batch: the arguments of `forward`.
            chosen: (B,) the classes that were predicted; by default by the head alone.

        Returns:
            B dictionaries; no list at all for a head that cannot say.
        """
        return []

    def join(
        self, regions: Tensor | None, region_mask: Tensor | None, text: Text | None, context: Tensor | None
    ) -> HeadOutput:
        """Compute the output from checked inputs and read words.

        Args:
            regions: (B, m, region_dim), f_i, by descending score, zero at padding; None for a head that uses none.
            region_mask: (B, m) bool, True at a region; None for a head that uses none.
            text: the words; None for a head that reads none.
            context: (B, context_dim), V; None for a head that does not use it.
        """
        raise NotImplementedError

    def forward(
        self,
        regions: Tensor | None,
        tokens: Tensor | Words | None,
        token_mask: Tensor | None,
        context: Tensor | None,
        region_mask: Tensor | None = None,
        texts: Sequence[str] | None = None,
        extras: Extras | None = None,
    ) -> HeadOutput:
        """Compute logits and what they were made from. Inputs that the head does not use may be None, and are not read.

        Args:
            regions: (B, m, region_dim), f_i, by descending score; m may be 0.
            tokens: (B, n, token_dim), x_i, in the order of the text; n may be 0. Or packed words, without padding.
            token_mask: (B, n) bool, True at a word; words first, padding after them. None for packed words.
            context: (B, context_dim), V.
            region_mask: (B, m) bool, True at a region; None means that all are.
            texts: the B texts, for a head that reads them.
            extras: what is known beside these, for a head that uses any of it.

        Raises:
            ValueError: a shape or dtype is not the one named here, or padding stands before a word.
        """
        inputs = self.config.inputs
        words = self._check(regions, tokens, token_mask, context, region_mask)
        text = self.read(words) if "tokens" in inputs else None
        if regions is None or "regions" not in inputs:
            regions = region_mask = None
        else:
            if region_mask is None:
                region_mask = torch.ones(regions.shape[:2], dtype=torch.bool, device=regions.device)
            regions = regions.masked_fill(~region_mask[..., None], 0)
        return self.complete(regions, region_mask, text, context if "context" in inputs else None, extras)

    def complete(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None,
    ) -> HeadOutput:
        """Apply dropout, compute the output by `join`, and add what lexicons and the learned table say."""
        if self.training and self.config.dropout and not self.own_dropout:
            regions = None if regions is None else self.drop(regions)
            if text is not None:
                # Words and their mean are dropped alike, so that S stays the mean.
                both = self.drop(torch.cat([text.W, text.S[:, None]], 1))
                text = Text(both[:, :-1], both[:, -1], text.mask)
            context = None if context is None else self.drop(context)
            if extras is not None and extras.scene is not None:
                extras = extras._replace(scene=self.drop(extras.scene))
        beside = (extras,) if self.takes_extras else ()
        out = self.join(regions, region_mask, text, context, *beside)
        if self.extra is None:
            return out
        if extras is None:
            raise ValueError("extras: expected lexicon values or entries of the learned table, got None")
        return out._replace(logits=out.logits + self.extra(extras, self.generators))

    @property
    def table(self) -> NDArray[np.int64] | None:
        """The keys of the learned table's entries (entries,), by which tokens are looked up; None without a table."""
        keys: NDArray[np.int64] | None = None if self.extra is None else self.extra.known_keys()
        return keys

    def read(self, words: Words) -> Text:
        """Compute eqs. 2-4 and 15."""
        if not self.config.mask:
            words = fill_up(words, self.config.max_words)
        if not self.recurrent:
            return plain(words)
        W = self._states(self.gru, words)
        W_s = self._states(self.gru_s, words) if hasattr(self, "gru_s") else W
        return Text(W, mean_of_words(W_s, words.mask), words.mask)

    def _gru(self) -> nn.GRU:
        config = self.config
        return nn.GRU(
            config.token_dim,
            config.d,
            config.gru_layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.gru_dropout if config.gru_layers > 1 else 0.0,
        )

    def _states(self, gru: nn.GRU, words: Words) -> Tensor:
        """Compute eqs. 2-4: packed words -> (B, n, d), zero at padding."""
        if self.recurrence == "torch":
            return plain_bigru(gru, words)
        recurrence = self.recurrence if torch.is_grad_enabled() else self.read_by
        layers: list[Layer] = [weights(gru, layer) for layer in range(gru.num_layers)]
        return deep_bigru(words, layers, gru.dropout if self.training else 0.0, recurrence, self.generators)

    def _check(
        self,
        regions: Tensor | None,
        tokens: Tensor | Words | None,
        token_mask: Tensor | None,
        context: Tensor | None,
        region_mask: Tensor | None,
    ) -> Words:
        """Return the words, packed; raise ValueError for a wrong shape, mask or dtype."""
        config = self.config
        if regions is None and "regions" in config.inputs:
            raise ValueError(f"regions: expected (B, m, {config.region_dim}), got None")
        if context is None and "context" in config.inputs:
            raise ValueError(f"context: expected (B, {config.context_dim}), got None")
        if isinstance(tokens, Words):
            words = tokens
            if token_mask is not None:
                raise ValueError("token_mask: expected None beside packed words, got a tensor")
            if "tokens" in config.inputs:
                expect("tokens.x", words.x, (2, words.packing.rows, config.token_dim))
        elif tokens is None:
            if "tokens" in config.inputs:
                raise ValueError(f"tokens: expected (B, n, {config.token_dim}), got None")
            like = context if context is not None else regions
            if like is None:
                raise ValueError("tokens: expected one of regions, tokens and context, got None for each")
            words = pack_words(like.new_zeros(len(like), 0, config.token_dim), like.new_zeros(len(like), 0).bool())
        else:
            expect("tokens", tokens, ("B", "n", config.token_dim))
            if token_mask is None:
                raise ValueError(f"token_mask: expected {tuple(tokens.shape[:2])}, got None")
            expect("token_mask", token_mask, tuple(tokens.shape[:2]), torch.bool)
            check_words_first(token_mask)
            words = pack_words(tokens, token_mask)
        B = len(words.mask)
        if regions is not None and "regions" in config.inputs:
            expect("regions", regions, (B, "m", config.region_dim))
        if region_mask is not None:
            expect("region_mask", region_mask, (B, "m" if regions is None else regions.shape[1]), torch.bool)
        if context is not None and "context" in config.inputs:
            expect("context", context, (B, config.context_dim))
        return words


def plain(words: Words) -> Text:
    """Return the words' features as they are, for a head that is not `recurrent`."""
    x = padded(words)
    return Text(x, mean_of_words(x, words.mask), words.mask)


def mlp(length: int, hidden: int) -> nn.Sequential:
    """Return a linear layer with ReLU, the MLP of eqs. 16-17."""
    return nn.Sequential(nn.Linear(length, hidden), nn.ReLU())


def mean_of(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (..., D) of the vectors (..., n, D) where `mask` (..., n) is True; zero where there is none."""
    return mean_of_words(values.masked_fill(~mask[..., None], 0), mask)


def mean_of_words(W: Tensor, mask: Tensor) -> Tensor:
    """Return the mean (..., D) of the vectors (..., n, D), which are zero where `mask` (..., n) is False."""
    return W.sum(-2) / mask.sum(-1, keepdim=True).clamp(min=1)


def standard(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean (D,) and the standard deviation (D,) of vectors (N, D), computed in float64; 1 instead of 0."""
    if not len(values):
        return values.new_zeros(values.shape[1]), values.new_ones(values.shape[1])
    sd, mean = torch.std_mean(values.double(), dim=0, correction=0)
    return mean, torch.where(sd > 1e-6 * mean.abs(), sd, 1.0)


def check_words_first(token_mask: Tensor) -> None:
    """Raise ValueError if padding stands before a word."""
    gap = token_mask[:, 1:] & ~token_mask[:, :-1]
    if gap.any():
        row = int(gap.any(1).nonzero()[0])
        raise ValueError(
            f"token_mask: expected words first and padding after them, got padding before a word in row {row}"
        )


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the last axis where `mask` is True; zero elsewhere, also in a row without any True.

    The smallest finite number instead of -inf keeps such a row free of NaN, forward and backward.
    """
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0)


def expect(name: str, tensor: Tensor, shape: tuple[int | str, ...], dtype: torch.dtype | None = None) -> None:
    """Raise ValueError unless `tensor` has this shape, where a string stands for any length, and dtype."""
    fits = tensor.ndim == len(shape) and all(
        isinstance(want, str) or want == got for want, got in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected ({', '.join(map(str, shape))}), got {tuple(tensor.shape)}")
    if dtype is not None and tensor.dtype != dtype:
        raise ValueError(f"{name}: expected {dtype}, got {tensor.dtype}")
