"""Several heads whose mean is the prediction: of one kind, or a trained one and its partner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..targets import Target
from .head import Head, HeadOutput
from .outputs import mean_outputs


class Ensemble(Head):
    """K heads as one: of classes the mean of their probabilities, of numbers their mean.

    Args:
        members: heads of one configuration.
        targets: what they have learned, in the order of their outputs.
    """

    def __init__(self, members: Sequence[Head], targets: Sequence[Target]) -> None:
        nn.Module.__init__(self)  # it has no words to read by itself
        self.config = members[0].config
        self.members = nn.ModuleList(members)
        self.targets = tuple(targets)
        self._first = (members[0],)  # in a tuple, so that it is not registered twice

    @property
    def table(self) -> NDArray[np.int64] | None:
        """The keys of the learned table's entries, which all members share."""
        return self._first[0].table

    def forward(self, *batch: Any, **named: Any) -> HeadOutput:
        """Compute the output; the arguments are those of every head. Weights over words and regions are means."""
        found: list[HeadOutput] = [member(*batch, **named) for member in self.members]
        means = {name: _mean([getattr(one, name) for one in found]) for name in HeadOutput._fields[1:]}
        logits = mean_outputs(torch.stack([one.logits for one in found]), self.targets)
        return HeadOutput(logits, **{**means, "fused": None})  # each member has its own space


class Partnered(Head):
    """A trained head and a partner as one: of classes the mean of their probabilities, of numbers their mean.

    Weights over words and regions are the trained head's, reasons the partner's.

    Args:
        trained: the head, or an `Ensemble`.
        partner: a head that was solved for, of the same targets.
        targets: what both have learned, in the order of their outputs.
    """

    def __init__(self, trained: Head, partner: Head, targets: Sequence[Target]) -> None:
        nn.Module.__init__(self)  # as above
        self.config = trained.config
        self.trained, self.partner = trained, partner
        self.targets = tuple(targets)
        self.vocabulary = partner.vocabulary

    def know(self, vocabulary: Mapping[str, Any]) -> None:
        """Give the vocabulary to the partner, which it is of."""
        self.partner.know(vocabulary)
        self.vocabulary = self.partner.vocabulary

    @property
    def table(self) -> NDArray[np.int64] | None:
        """The keys of the trained head's learned table."""
        return self.trained.table

    def forward(self, *batch: Any, **named: Any) -> HeadOutput:
        """Compute the output, its logits in float64 on the CPU; the arguments are those of every head."""
        found: HeadOutput = self.trained(*batch, **named)
        both = [one.cpu().double() for one in (found.logits, self.partner(*batch, **named).logits)]
        return found._replace(logits=mean_outputs(torch.stack(both), self.targets))

    def reasons(self, *batch: Any, chosen: NDArray[np.int64] | None = None) -> list[dict[str, float]]:
        """Return the reasons of the partner."""
        return self.partner.reasons(*batch, chosen=chosen)


def _mean(values: Sequence[Tensor | None]) -> Tensor | None:
    there = [value for value in values if value is not None]
    return torch.stack(there).mean(0) if there else None
