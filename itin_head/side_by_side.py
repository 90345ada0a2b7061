"""J heads of any one kind side by side: each parameter has a leading axis J, and `Head.join` runs once for all."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from .extras import Extras
from .gru.packing import Words, fill_up
from .gru.recurrence import BACKWARD, PARAMETERS, Layer, deep_bigru
from .head import Head, HeadOutput, Text, mean_of_words, plain


class SingleHead(nn.Module):
    """One head with the inputs and outputs of J = 1 heads side by side, computed as the head itself is, bit by bit.

    Args:
        head: of any kind. Its weights are copied.
        generator: what dropout is drawn from; None for torch's global generator.
    """

    def __init__(self, head: Head, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.head = copy.deepcopy(head)
        for module in self.head.modules():
            if isinstance(module, nn.GRU):
                module.flatten_parameters()  # as cuDNN reads them
        self.head.generators = None if generator is None else [generator]
        self.head.read_by = self.head.recurrence  # as it learns: what is validated in between is not kept

    def forward(
        self,
        regions: Tensor | None,
        words: Words,
        context: Tensor,
        region_mask: Tensor | None = None,
        extras: Extras | None = None,
    ) -> Tensor:
        """Compute the logits (1, B, classes), in training with `HeadOutput.further` ones behind them.

        The arguments are those of `SideBySide` with J = 1.
        """
        packing = replace(words.packing, batch=words.packing.batch[1:])
        out: HeadOutput = self.head(
            None if regions is None else regions[0],
            Words(words.x, packing, words.mask[0]),
            None,
            context[0],
            None if region_mask is None else region_mask[0],
            extras=None if extras is None else extras.each(lambda one: one[0]),
        )
        return (out.learned if self.training else out.logits)[None]

    def state_of(self, j: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of the head; j is 0."""
        return {name: value.detach().clone() for name, value in self.head.state_dict().items()}


class SideBySide(nn.Module):
    """J heads whose configurations differ in λ alone; each result is that of the head alone but for rounding.

    Args:
        heads: J heads of one kind on one device. Their weights are copied.
        recurrence: how eqs. 2-3 are computed, as for `gru.bigru`.
        generators: what dropout of each head is drawn from; None for torch's global generator.

    Raises:
        ValueError: no head, or heads of different configurations.
    """

    lam: Tensor

    def __init__(
        self,
        heads: Sequence[Head],
        recurrence: str = "packed",
        generators: Sequence[torch.Generator] | None = None,
    ) -> None:
        super().__init__()
        self.recurrence = recurrence
        if not heads:
            raise ValueError("heads: expected at least one, got none")
        first = heads[0].config
        for head in heads:
            if replace(head.config, lam=first.lam) != first:
                raise ValueError(f"heads: expected configurations that differ in lam alone, got {first}, {head.config}")
        self.config, self.generators = first, generators
        states = [head.state_dict(keep_vars=True) for head in heads]
        learned = dict(heads[0].named_parameters())
        self._names = list(states[0])
        for name in self._names:
            if _in_one(name) and name.endswith(BACKWARD):
                continue
            stacked = torch.stack([state[name].detach() for state in states])
            if _in_one(name):
                stacked = torch.stack([stacked, torch.stack([state[name + BACKWARD].detach() for state in states])], 1)
            key = name.replace(".", "/")
            if name in learned:
                self.register_parameter(key, nn.Parameter(stacked))
            else:
                self.register_buffer(key, stacked)
        lam = torch.tensor([head.config.lam for head in heads], dtype=torch.float64)
        like = next(each for each in states[0].values() if each.is_floating_point())
        self.register_buffer("lam", lam.to(like), persistent=False)
        self._one = [_Join(heads[0])]  # in a list, so that its weights are not registered as ours

    def forward(
        self,
        regions: Tensor | None,
        words: Words,
        context: Tensor | None,
        region_mask: Tensor | None = None,
        extras: Extras | None = None,
    ) -> Tensor:
        """Compute the logits (J, B, classes), in training with `HeadOutput.further` ones behind them.

        Args:
            regions: (J, B, m, region_dim); None where the heads use none.
            words: of J batches.
            context: (J, B, context_dim).
            region_mask: (J, B, m) bool, True at a region that this head uses; None means that all are.
            extras: what the heads know of J batches beside their vectors, for those that use any of it.

        Raises:
            ValueError: no regions where the heads need them.
        """
        inputs = self.config.inputs
        if "regions" not in inputs:
            regions = region_mask = None
        else:
            if regions is None:
                raise ValueError("regions: expected (J, B, m, region_dim), got None")
            if region_mask is None:
                region_mask = torch.ones(regions.shape[:3], dtype=torch.bool, device=regions.device)
            regions = regions.masked_fill(~region_mask[..., None], 0)
        text = self._read(words) if "tokens" in inputs else None
        one = self._one[0].train(self.training)
        weights = {f"head.{name}": self._of(name) for name in self._names if not _in_one(name)}

        def logits(weights: dict[str, Tensor], lam: Tensor, *batch: object) -> Tensor:
            one.head.lam = lam
            out: HeadOutput = functional_call(one, weights, batch)
            return out.learned if self.training else out.logits

        batch = (regions, region_mask, text, context if "context" in inputs else None, extras)
        axes = [None if each is None else 0 for each in batch[:-1]]
        beside = None if extras is None else extras.each(lambda _: 0)
        own = one.head.lam, one.head.generators
        one.head.generators = self.generators
        try:
            stacked: Tensor = vmap(logits, in_dims=(0, 0, *axes, beside))(weights, self.lam, *batch)
        finally:
            one.head.lam, one.head.generators = own
        return stacked

    def state_of(self, j: int) -> dict[str, Tensor]:
        """Return the parameters and buffers of head j alone, as the head names them."""
        return {name: self._of(name).detach()[j].clone() for name in self._names}

    def _read(self, words: Words) -> Text:
        """Compute eqs. 2-4 and 15, as `Head.read`."""
        if not self.config.mask:
            words = fill_up(words, self.config.max_words)
        if not self._one[0].head.recurrent:
            return plain(words)
        dropout = self.config.gru_dropout if self.training and self.config.gru_layers > 1 else 0.0
        W, *W_s = [
            deep_bigru(words, self._layers(gru), dropout, self.recurrence, self.generators)
            for gru in ("gru", "gru_s")
            if f"{gru}.weight_ih_l0" in self._names
        ]
        return Text(W, mean_of_words(W_s[0] if W_s else W, words.mask), words.mask)

    def _layers(self, gru: str) -> list[Layer]:
        """Return the weights of each layer, both directions of the J heads together, G = 2J."""
        layers: list[Layer] = []
        for layer in range(self.config.gru_layers):
            W_ih, W_hh, b_ih, b_hh = (self._stored(f"{gru}.{name}_l{layer}").flatten(0, 1) for name in PARAMETERS)
            layers.append((W_ih, W_hh, b_ih, b_hh))
        return layers

    def _of(self, name: str) -> Tensor:
        """Return a parameter or buffer (J, ...) as the heads name it."""
        if not _in_one(name):
            return self._stored(name)
        forward = name.removesuffix(BACKWARD)
        return self._stored(forward)[:, int(forward != name)]

    def _stored(self, name: str) -> Tensor:
        value: Tensor = getattr(self, name.replace(".", "/"))
        return value


def _in_one(name: str) -> bool:
    """Return whether both directions of a parameter of the heads are one parameter (J, 2, ...) here: in the GRU."""
    return name.startswith("gru")


class _Join(nn.Module):
    """`Head.complete` as a module's `forward`, which `functional_call` requires."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(
        self,
        regions: Tensor | None,
        region_mask: Tensor | None,
        text: Text | None,
        context: Tensor | None,
        extras: Extras | None,
    ) -> HeadOutput:
        return self.head.complete(regions, region_mask, text, context, extras)
