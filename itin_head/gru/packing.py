"""Packed batches: the words of all texts step by step, the longest text first, without padding."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .batch import mask_of


@dataclass(frozen=True, eq=False)
class Packing:
    """The place of each word of a batch in a packed array.

    A packed array holds the first words of all texts, then the second words, and so on, in each step the longest text
    first: a recurrence reads one contiguous block a step, and a text that has ended takes part no more. The backward
    direction reads each text from its end: its packed array holds each text reversed, in a packing of the same shape.
    J batches side by side share their steps: where one has fewer texts left than another, places stay unused.
    """

    sizes: list[int]
    """Texts that are left in each step; their sum is P."""
    batch: tuple[int, ...]
    """(B,) or (J, B): how many texts."""
    n: int
    """The padded length."""
    forward: Tensor
    """(T,) int64: the place of each word among the rows of the packed arrays, (2P,) or (J * 2P,)."""
    backward: Tensor
    """(T,) int64: its place in the reversed packed array, which follows the forward one."""
    padded: Tensor
    """(T,) int64: its place among the rows of the padded array, (B * n,) or (J * B * n,)."""
    words: Tensor | None = None
    """(T, 1) float: 1 at a word and 0 at a place that holds none, where all places are listed; None: all are words."""

    @property
    def rows(self) -> int:
        """P, the number of rows of one packed array."""
        return sum(self.sizes)


def pack(lengths: Tensor, n: int | None = None) -> Packing:
    """Return the packing of texts of these lengths.

    Args:
        lengths: (B,) or (J, B) int64 on the CPU, each from 0.
        n: the padded length; None for that of the longest text.
    """
    batch = tuple(lengths.shape)
    lengths = lengths if lengths.ndim == 2 else lengths[None]  # (J, B)
    B = lengths.shape[1]
    longest = int(lengths.max()) if lengths.numel() else 0
    n = longest if n is None else n
    longest_first, order = lengths.sort(dim=1, descending=True, stable=True)
    there = torch.arange(longest)[:, None] < longest_first[:, None, :]  # (J, longest, B)
    sizes = there.sum(2).amax(0)  # (longest,)
    starts = sizes.cumsum(0) - sizes
    P = int(sizes.sum())
    j, step, place = there.nonzero(as_tuple=True)  # (T,) each
    first = 2 * P * j + place
    last = longest_first[j, place] - 1
    return Packing(
        sizes=sizes.tolist(),
        batch=batch,
        n=n,
        forward=first + starts[step],
        backward=first + P + starts[last - step],
        padded=(j * B + order[j, place]) * n + step,
    )


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a batch, packed for both directions of a recurrence."""

    x: Tensor
    """(2, P, E) float, each text from its beginning and from its end; (2J, P, E) for J batches side by side."""
    packing: Packing
    mask: Tensor
    """(B, n) or (J, B, n) bool, True at a word, as in the padded form."""


def gather_words(values: Tensor, offsets: Tensor, rows: Tensor, longest: int | None = None) -> Words:
    """Return some texts of a packed store, packed for both directions, in float32 or wider.

    Args:
        values: (T, E), the words of all texts one after the other, on any device.
        offsets: (N + 1,) int64 on the CPU; text i is `values[offsets[i]:offsets[i + 1]]`.
        rows: (B,) or (J, B) int64 on the CPU, which texts, in the order wanted.
        longest: words of a text that are taken, the first ones; None for all.
    """
    start = offsets[rows]
    lengths = (offsets[rows + 1] - start).clamp(0, longest)
    packing = pack(lengths)
    batch, step = packing.padded // max(packing.n, 1), packing.padded % max(packing.n, 1)
    return _words(values, start.flatten()[batch] + step, packing, mask_of(lengths, packing.n))


def pack_words(tokens: Tensor, mask: Tensor) -> Words:
    """Pack the words of a padded batch.

    Args:
        tokens: (B, n, E), or (J, B, n, E) for J batches side by side.
        mask: (B, n) or (J, B, n) bool, words first and padding after them.
    """
    packing = pack(mask.sum(-1).cpu(), mask.shape[-1])
    return _words(tokens.flatten(0, -2), packing.padded, packing, mask)


def padded(words: Words, n: int | None = None) -> Tensor:
    """Return the padded form (B, n, E) or (J, B, n, E) of packed words, zero at padding.

    Args:
        words: of a batch, or of J batches side by side.
        n: the padded length, at least that of the longest text; None for that of the mask.
    """
    packing = words.packing
    n = packing.n if n is None else n
    texts, step = packing.padded // max(packing.n, 1), packing.padded % max(packing.n, 1)
    taken = words.x.flatten(0, 1).index_select(0, packing.forward)
    rows = words.x.new_zeros(math.prod(packing.batch) * n, words.x.shape[2])
    return rows.index_copy(0, texts * n + step, taken).view(*packing.batch, n, words.x.shape[2])


def fill_up(words: Words, n: int) -> Words:
    """Return texts that are all n words long: a zero vector stands for each word that is missing.

    Raises:
        ValueError: a text is longer.
    """
    packing = words.packing
    if packing.n > n and (longest := int(words.mask.sum(-1).max())) > n:
        raise ValueError(f"words: expected texts of at most {n} words, got one of {longest}")
    tokens = padded(words, n)
    return pack_words(tokens, torch.ones(tokens.shape[:-1], dtype=torch.bool, device=tokens.device))


def _words(values: Tensor, places: Tensor, packing: Packing, mask: Tensor) -> Words:
    """Return the words at `places` (T,) of `values`, in the order of `packing.forward`."""
    J = 1 if len(packing.batch) == 1 else packing.batch[0]
    order = torch.zeros(2 * J * packing.rows, dtype=torch.int64)
    order[packing.forward] = places
    order[packing.backward] = places
    x = values.index_select(0, order.to(values.device))
    if 2 * len(places) < len(order):  # places without a word: a state computed from them is never read, but no NaN
        unused = torch.ones(len(order), dtype=torch.bool)
        unused[packing.forward] = unused[packing.backward] = False
        x[unused.to(x.device)] = 0
    x = x.to(torch.promote_types(x.dtype, torch.float32)).view(2 * J, packing.rows, values.shape[1])
    device = values.device
    packing = replace(
        packing,
        forward=packing.forward.to(device),
        backward=packing.backward.to(device),
        padded=packing.padded.to(device),
    )
    return Words(x, packing, mask.to(device))
