"""A trained head on padded arrays, from masks to probabilities, as one module that a tracer can record."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, softplus

from ..itin_head import Head
from ..itin_head.ensemble import Ensemble
from ..itin_head.extras import Extras
from ..itin_head.head import Text, mean_of
from ..itin_head.layers.lstm import LSTM
from ..itin_head.outputs import cut
from ..labels import LABELS, combine
from ..targets import LABEL, SIDES, Target
from ..train.config import TrainConfig
from ..train.features.word_table import NONE, PLACES
from ..train.label_rule import TINY
from .recurrent import Recurrent

ALL_INPUTS = ("regions", "region_mask", "tokens", "token_mask", "context", "lexicons", "token_ids", "scene")
"""The inputs of every graph in their order; each head takes those that it reads."""


def inputs_of(head: Head) -> tuple[str, ...]:
    """Return the inputs that a head reads, among `ALL_INPUTS` and in their order."""
    config = head.config
    with_text = "tokens" in config.inputs
    read = {
        "regions": "regions" in config.reads,
        "region_mask": "regions" in config.reads,
        "tokens": with_text,
        "token_mask": with_text,
        "context": "context" in config.inputs,
        "lexicons": with_text and config.lexicon_values > 0,
        "token_ids": config.has_table,
        "scene": config.reads_scene,
    }
    return tuple(name for name in ALL_INPUTS if read[name])


class Graph(nn.Module):
    """A head from padded arrays to what it says of each target; the arguments of `forward` are named in `inputs`.

    As `itin predict` does, it reads the first m regions and the first `max_words` words, and takes the label as the
    recipe's `label_from` says. Padding may hold anything, and any of B, m and n may be 0 but B.

    Args:
        head: trained, of any kind that is learnt step by step, or an ensemble of such heads. It is copied.
        targets: what it has learnt, in the order of its outputs.
        recipe: of its run.
    """

    def __init__(self, head: Head, targets: Sequence[Target], recipe: TrainConfig) -> None:
        super().__init__()
        copied = copy.deepcopy(head).cpu().float().eval().requires_grad_(False)
        self.members = copied.members if isinstance(copied, Ensemble) else nn.ModuleList([copied])
        self.config, self.targets, self.recipe = copied.config, tuple(targets), recipe
        self.inputs = inputs_of(copied)
        for member in self.members:
            for name, layer in list(member.named_children()):
                if isinstance(layer, nn.GRU | LSTM):
                    setattr(member, name, Recurrent(layer))

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """Return what is said of each target, float32: probabilities (B, classes), or numbers (B,) in units."""
        given = dict(zip(self.inputs, arrays, strict=True))
        regions, region_mask = _filled(given, "regions", self.recipe.regions)
        if regions is None and "regions" in self.config.inputs:  # taken, but not read where there is a scene
            regions, region_mask = torch.zeros(0, 0, self.config.region_dim), torch.zeros(0, 0) > 0
        tokens, token_mask = _filled(given, "tokens", self.config.max_words)
        said: list[list[Tensor]] = []
        for member in cast("list[Head]", list(self.members)):
            text = None if tokens is None or token_mask is None else read(member, tokens, token_mask)
            out = member.complete(regions, region_mask, text, given.get("context"), _extras(member, given))
            said.append([_said(target, own) for target, own in cut(out.logits, self.targets)])
        means = {
            target.name: torch.stack(list(each)).mean(0)
            for target, each in zip(self.targets, zip(*said, strict=True), strict=True)
        }
        if self.recipe.label_from != "joint":
            rule = by_rule(*(means[name] for name in SIDES))
            means[LABEL] = rule if self.recipe.label_from == "rule" else (means[LABEL] + rule) / 2
        return tuple(means[target.name] for target in self.targets)


def read(head: Head, tokens: Tensor, mask: Tensor) -> Text:
    """Compute eqs. 2-4 and 15 of padded words, as `Head.read` does of packed ones.

    Args:
        head: the head.
        tokens: (B, n, token_dim), zero at padding; n is at least 1.
        mask: (B, n) bool, words first.
    """
    if not head.config.mask:  # zero vectors are read as words, up to `max_words`
        tokens = pad(tokens, (0, 0, 0, head.config.max_words))[:, : head.config.max_words]
        mask = torch.ones_like(tokens[..., 0]) > 0
    if not head.recurrent:
        return Text(tokens, mean_of(tokens, mask), mask)
    W, *W_s = [  # eqs. 2-4
        (forward + backward) / 2
        for forward, backward in (getattr(head, name)(tokens, mask).chunk(2, -1) for name in _grus(head))
    ]
    return Text(W, mean_of(W_s[0] if W_s else W, mask), mask)


def by_rule(text: Tensor, image: Tensor) -> Tensor:
    """Return the probabilities (B, 3) of the label by the rule of Table I: `train.label_rule.by_rule`."""
    rule = torch.zeros(len(LABELS), len(LABELS), len(LABELS))
    for t, own in enumerate(LABELS):
        for i, other in enumerate(LABELS):
            if (label := combine(own, other)) is not None:
                rule[t, i, LABELS.index(label)] = 1
    pairs = text[:, :, None] * image[:, None, :]
    found = pairs.flatten(1) @ rule.flatten(0, 1)
    total = found.sum(1, keepdim=True)
    return torch.where(total > TINY, found / total.clamp(min=TINY), (text + image) / 2)


def entries(keys: Tensor, token_ids: Tensor, mask: Tensor) -> Tensor:
    """Return the entries (B, 2, n) of the learned table: `train.features.word_table.entries_of`, by bisection.

    Args:
        keys: (V,) int64, ascending.
        token_ids: (B, n) int64.
        mask: (B, n) bool, words first.
    """
    first = token_ids * PLACES
    following, more = pad(token_ids, (0, 1))[:, 1:], pad(mask.long(), (0, 1))[:, 1:] > 0
    wanted = torch.stack([first.masked_fill(~mask, NONE), (first + following + 1).masked_fill(~more, NONE)], 1)
    if not len(keys):
        return torch.full_like(wanted, NONE)
    place, step = torch.zeros_like(wanted), 1 << (len(keys).bit_length() - 1)
    while step:  # place is how many keys are known to be less
        further = place + step
        less = (further <= len(keys)) & (keys[(further - 1).clamp(max=len(keys) - 1)] < wanted)
        place, step = torch.where(less, further, place), step // 2
    there = keys[place.clamp(max=len(keys) - 1)] == wanted
    return place.masked_fill(~there, NONE)


def _filled(given: Mapping[str, Tensor], name: str, most: int) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Return the first `most` vectors with a place for padding after them, which are never none, and their mask."""
    if name not in given:
        return None, None
    values, mask = given[name][:, :most], given[f"{name.removesuffix('s')}_mask"][:, :most]
    values, mask = pad(values, (0, 0, 0, 1)), pad(mask.long(), (0, 1)) > 0
    return values.masked_fill(~mask[..., None], 0), mask


def _extras(head: Head, given: Mapping[str, Tensor]) -> Extras:
    """Return the extras, empty where the head does not read them."""
    found = torch.zeros(0, 2, 0, dtype=torch.int64)
    if head.extra is not None and "token_ids" in given:
        ids, mask = (given[name][:, : head.extra.max_words] for name in ("token_ids", "token_mask"))
        found = entries(head.extra.keys, pad(ids, (0, 1)), pad(mask.long(), (0, 1)) > 0)
    return Extras(given.get("lexicons", torch.zeros(0)), found, scene=given.get("scene"))


def _said(target: Target, outputs: Tensor) -> Tensor:
    if target.is_number:
        low, high = target.bounds
        return (outputs[..., 0] * ((high - low) / 2) + (low + high) / 2).clamp(low, high)
    if target.kind == "classes":
        return outputs.softmax(-1)
    # The cumulative links of `outputs.class_logits`, by differences: ONNX has no expm1.
    steps = pad(softplus(outputs[..., 1:]).cumsum(-1), (1, 0))
    above = pad(torch.sigmoid(outputs[..., :1] - steps), (0, 1))
    return pad(above[..., :-1], (1, 0), value=1.0) - above


def _grus(head: Head) -> list[str]:
    return [name for name in ("gru", "gru_s") if hasattr(head, name)]
