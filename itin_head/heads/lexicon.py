"""The head `lexicon`: what a lexicon says of the text, and of what the regions show by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from ..config import HeadConfig
from ..extras import Extras
from ..head import Inputs, standard
from ..solved import Lesson, SolvedHead, rows_of

MOST_REASONS = 8
"""Pairs of attribute and object that `reasons` names."""


class LexiconHead(SolvedHead):
    """z = W [s⁺ / σ⁺; s⁻ / σ⁻; l] + b; of classes y = softmax(z). In place of SentiBank and SentiStrength.

        v_i = lexicon(attribute_i) + lexicon(object_i),    p_i = p(object_i) p(attribute_i)
        s⁺ = Σ_i p_i max(v_i, 0),    s⁻ = Σ_i p_i min(v_i, 0)

    The attribute and the object of each region are an adjective-noun pair, such as "happy dog", as in SentiBank (Borth
    et al., ACM MM 2013; DeepSentiBank, 2014). lexicon(name) is VADER's compound value, σ the standard deviation over
    the training part. l are the lexicons' values of the text, of VADER and what else is named. A region whose object
    or attribute is not known adds nothing; without names of both, l is all there is.
    """

    object_values: Tensor
    """(objects,), lexicon(name) by id."""
    attribute_values: Tensor
    """(attributes,), likewise."""
    pair_sd: Tensor
    """(2,), σ⁺ and σ⁻; 1 where nothing varies."""

    def __init__(self, config: HeadConfig, gru: str = "packed") -> None:
        super().__init__(config, gru)
        self.named = "attributes" in config.uses
        sizes = (config.objects, config.attributes) if self.named else (0, 0)
        for name, size in zip(("object_values", "attribute_values"), sizes, strict=True):
            self.register_buffer(name, torch.zeros(size, dtype=torch.float64))
        self.register_buffer("pair_sd", torch.ones(2 * self.named, dtype=torch.float64))
        self.know({"targets": [["classes", config.classes]]})

    def know(self, vocabulary: Mapping[str, Any]) -> None:
        """Take the names and the targets' rows, and make room for their weights.

        Args:
            vocabulary: `objects` and `attributes`, their names by id; `columns`, the names of the lexicons' values;
                `targets`, the type and the rows of each target.
        """
        names = {kind: list(vocabulary.get(kind, ())) for kind in ("objects", "attributes", "columns")}
        self.vocabulary: dict[str, Any] = {**names, "targets": [list(target) for target in vocabulary["targets"]]}
        self._room(vocabulary["targets"], 2 * self.named + self.config.lexicon_values)

    def learn(self, lesson: Lesson) -> None:
        """Take the names and their values."""
        self.know({**lesson.names, "columns": list(lesson.columns), "targets": rows_of(lesson.targets)})
        if self.named:
            self.object_values.copy_(torch.from_numpy(lesson.values["objects"]))
            self.attribute_values.copy_(torch.from_numpy(lesson.values["attributes"]))

    def scale(self, batches: Iterable[Inputs]) -> None:
        """Measure the means and standard deviations of the training part."""
        known = [(self.pairs_of(batch), self.known(batch[-1]).values) for batch in batches]
        self.standardise(values for _, values in known)
        if self.named:
            self.pair_sd.copy_(standard(torch.cat([_sums(pairs) for pairs, _ in known]))[1])

    def matrix(self, batch: Inputs) -> sparse.csr_matrix:
        """Return what the weights multiply, X (B, columns), of the arguments of `forward`."""
        blocks = [np.zeros((len(self._check(*batch[:5]).mask), 0))]
        if self.named:
            blocks.append((_sums(self.pairs_of(batch)) / self.pair_sd).numpy())
        if self.config.lexicon_values:
            blocks.append(self.lexicon_values(batch[-1]))
        return sparse.csr_matrix(np.hstack(blocks))

    def pairs_of(self, batch: Inputs) -> Tensor:
        """Return p_i v_i (B, m) float64 of the regions, 0 where it is not known; (B, 0) without names."""
        extras, mask = self.known(batch[-1]), batch[4]
        if not self.named:
            return torch.zeros(len(extras.values), 0, dtype=torch.float64)
        if extras.objects is None or extras.attributes is None or extras.chances is None:
            raise ValueError("extras: expected the names of regions, got None")
        there = (extras.objects >= 0) & (extras.attributes >= 0)
        there = there if mask is None else there & mask.cpu()
        v = self.attribute_values[extras.attributes.clamp(min=0)] + self.object_values[extras.objects.clamp(min=0)]
        return (extras.chances.double() * v).masked_fill(~there, 0)

    def parts(self, X: sparse.csr_matrix, W: NDArray[np.float64], batch: Inputs) -> list[dict[str, float]]:
        """Return what each pair of attribute and object adds, the `MOST_REASONS` largest, then each value of the text;
        pairs without a value are left out."""
        extras, values, first = self.known(batch[-1]), self.pairs_of(batch).numpy(), 2 * self.named
        of_text = X.toarray()[:, first:] * W[:, first:]
        found: list[dict[str, float]] = []
        for row, own in enumerate(W):
            pairs: dict[str, float] = {}
            for place in np.flatnonzero(values[row]):
                column = int(values[row, place] < 0)
                name = self._name(extras, row, int(place))
                pairs[name] = pairs.get(name, 0.0) + values[row, place] * own[column] / float(self.pair_sd[column])
            largest = sorted(pairs.items(), key=lambda one: -abs(one[1]))[:MOST_REASONS]
            of_columns = zip(self.vocabulary["columns"], of_text[row], strict=True)
            found.append({name: float(value) for name, value in [*largest, *of_columns]})
        return found

    def _name(self, extras: Extras, row: int, place: int) -> str:
        """Return the pair of a region that has one, such as `happy dog`."""
        ids = {"attributes": extras.attributes, "objects": extras.objects}
        return " ".join(self.vocabulary[kind][int(own[row, place])] for kind, own in ids.items() if own is not None)


def _sums(values: Tensor) -> Tensor:
    """Return s⁺ and s⁻ (B, 2) of p_i v_i (B, m)."""
    return torch.stack([values.clamp(min=0).sum(1), values.clamp(max=0).sum(1)], 1)
