"""The base class of heads without steps: `train.solving` solves for their weights at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ..targets import Target
from .config import HeadConfig
from .extras import Extras, standard_of_known
from .gru.packing import Words
from .head import Head, HeadOutput, Inputs
from .outputs import steps_of


class Lesson(NamedTuple):
    """What such a head learns from, beside the features of the training part."""

    texts: Sequence[str]
    """The texts of the training part; none where there are none."""
    targets: Sequence[Target]
    columns: Sequence[str] = ()
    """The names of the lexicons' values."""
    names: Mapping[str, Sequence[str]] = {}
    """The names of `objects` and `attributes` by id."""
    values: Mapping[str, NDArray[np.float64]] = {}
    """A lexicon's value of each of these names."""


class SolvedHead(Head):
    """z = W x + b; of classes y = softmax(z). Everything is in float64 and on the CPU, and there are no steps.

    A head derives from this, and makes x of the inputs in `matrix`; l, the lexicons' values, standardised as in
    `extras.ExtraLogits`, are `lexicon_values`. Ordered classes have a row of W each, of which the head makes the
    outputs of their cumulative links.
    """

    recurrent = False

    lexicon_mean: Tensor
    lexicon_scale: Tensor
    weight: Tensor
    """(rows, columns), W."""
    bias: Tensor
    """(rows,), b."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        own = replace(config, mask=True, lexical=0, entries=0)  # padding is never read, and no table is learnt
        super().__init__(replace(own, lexicon_values=0), gru)
        self.config = own  # the lexicons' values are columns of x, not the base class's
        for name in ("lexicon_mean", "lexicon_scale"):
            self.register_buffer(name, torch.zeros(config.lexicon_values, dtype=torch.float64))

    def learn(self, lesson: Lesson) -> None:
        """Take the vocabulary and the targets, before `scale`."""
        raise NotImplementedError

    def matrix(self, batch: Inputs) -> sparse.csr_matrix:
        """Return what the weights multiply, (B, columns), of the arguments of `forward`."""
        raise NotImplementedError

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SolvedHead:
        """Stay in float64 and on the CPU, wherever a head that this is the partner of is moved to."""

        def here(own: Tensor) -> Tensor:
            return torch.empty_like(own, device="cpu") if own.is_meta else own

        return super()._apply(here, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def standardise(self, values: Iterable[Tensor]) -> None:
        """Measure the mean and the standard deviation of the lexicons' values (N, L), batch after batch."""
        mean, scale = standard_of_known(torch.cat(list(values)))
        self.lexicon_mean.copy_(mean)
        self.lexicon_scale.copy_(scale)

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
        """Compute the outputs; the arguments are those of every head."""
        return HeadOutput(self.outputs(self.matrix((regions, tokens, token_mask, context, region_mask, texts, extras))))

    def outputs(self, X: sparse.csr_matrix) -> Tensor:
        """Return the outputs (B, outputs) of what `matrix` returns."""
        return outputs_of(X @ self.weight.numpy().T + self.bias.numpy(), self._targets)

    def lexicon_values(self, extras: Extras | None) -> NDArray[np.float64]:
        """Return l (B, L), 0 where a value is unknown."""
        values = (self.known(extras).values.double() - self.lexicon_mean) * self.lexicon_scale
        found: NDArray[np.float64] = values.nan_to_num(0).numpy()
        return found

    def reasons(self, *batch: Any, chosen: NDArray[np.int64] | None = None) -> list[dict[str, float]]:
        """Return what each part of a pair adds to z of the predicted class, above the mean over the classes.

        For a number, what it adds to z.
        """
        X = self.matrix(batch)
        W, b = (values.numpy()[: self._targets[0][1]] for values in (self.weight, self.bias))
        if chosen is None or len(W) == 1:
            chosen = (X @ W.T + b).argmax(1)
        W = W - W.mean(0) if len(W) > 1 else W
        return self.parts(X, W[chosen], batch)

    def parts(self, X: sparse.csr_matrix, W: NDArray[np.float64], batch: Inputs) -> list[dict[str, float]]:
        """Return what the parts of B pairs add, by name.

        Args:
            X: (B, columns), of `matrix`.
            W: (B, columns), the weights of each pair's prediction.
            batch: the arguments of `forward`.
        """
        raise NotImplementedError

    def _room(self, targets: Sequence[Sequence[Any]], columns: int) -> None:
        """Take the type and the rows of each target, and make room for the weights of so many columns."""
        self._targets: list[tuple[str, int]] = [(str(kind), int(rows)) for kind, rows in targets]
        rows = sum(rows for _, rows in self._targets)
        for name, shape in (("weight", (rows, columns)), ("bias", (rows,))):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=self.lexicon_mean.device))

    @staticmethod
    def known(extras: Extras | None) -> Extras:
        """Return what is known beside the features, on the CPU."""
        if extras is None:
            raise ValueError("extras: expected lexicon values, got None")
        return extras.each(lambda one: one.cpu())


def rows_of(targets: Sequence[Target]) -> list[list[Any]]:
    """Return the type of each target and its rows of W, as they stand in a head's vocabulary."""
    return [[one.kind, 1 if one.is_number else len(one.classes)] for one in targets]


def outputs_of(z: NDArray[np.float64], targets: Sequence[tuple[str, int]]) -> Tensor:
    """Return a head's outputs (B, outputs) of z (B, rows), where each target, by type, has so many rows."""
    parts, begin = [], 0
    for kind, rows in targets:
        own = torch.from_numpy(z[:, begin : begin + rows])
        parts.append(steps_of(own.log_softmax(1)) if kind == "ordered" else own)
        begin += rows
    return torch.cat(parts, 1)
