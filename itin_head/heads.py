"""The heads by name. Imports no torch, so that a command line can list them at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .base import Head
    from .config import HeadConfig

READING = ("gru_layers", "gru_dropout", "context_gru", "mask", "max_words")
"""The settings of a head that reads words through the GRU (`base.Head`)."""


class HeadSpec(NamedTuple):
    """What is known of a head without loading it."""

    where: str
    """`module:Class`, a `base.Head` in this folder."""
    inputs: tuple[str, ...]
    """The kinds of feature that it looks at, of `regions`, `tokens` and `context`."""
    settings: tuple[str, ...]
    """The fields of `HeadConfig` that it reads, beside the lengths of its features. Where two configurations differ in
    others alone, they are the same."""
    says: str
    """What it computes, in a few words."""


_EVERY = ("regions", "tokens", "context")
_LOCAL = ("d", "k", "hidden", "lam", "gate", "normalize", "self_attention", "fusion_bias", "pooling_heads", *READING)

HEADS = {
    "itin": HeadSpec("model:ITINHead", _EVERY, (*_LOCAL, "ablation"), "the paper's network, eqs. 1-19"),
    "global-local": HeadSpec(
        "global_local:GlobalLocalHead", _EVERY, _LOCAL, "ITIN, and V with the words, S with the regions beside it"
    ),
    "concat": HeadSpec("concat:ConcatHead", _EVERY, ("d", "hidden", *READING), "MLP(mean of regions ⊕ S ⊕ V)"),
    "text-only": HeadSpec("text_only:TextOnlyHead", ("tokens",), ("d", "hidden", *READING), "MLP(S)"),
    "image-only": HeadSpec("image_only:ImageOnlyHead", ("regions", "context"), ("hidden",), "MLP(mean of regions ⊕ V)"),
    "majority": HeadSpec("majority:MajorityHead", ("context",), (), "the class frequencies of the training part"),
}
"""A new head is a file in this folder and a line here: docs/heads.md."""


def make(config: HeadConfig, gru: str = "packed") -> Head:
    """Return a head with fresh weights, drawn from torch's global generator.

    Args:
        config: which, and its sizes.
        gru: how it computes the GRU, one of `gru.RECURRENCES`.
    """
    module, name = HEADS[config.head].where.split(":")
    head: Head = getattr(import_module(f".{module}", __package__), name)(config, gru)
    return head
