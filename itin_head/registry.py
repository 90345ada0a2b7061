"""The heads by name. Imports no torch, so that a command line can list them at once."""

from __future__ import annotations

from typing import NamedTuple

GRU_SETTINGS = ("gru_layers", "gru_dropout", "context_gru", "mask", "max_words")
"""The settings of every head that reads words through the GRU (`head.Head`)."""


class HeadSpec(NamedTuple):
    """The facts about a head that are known without loading it."""

    where: str
    """`module:Class`, a `head.Head` below this folder."""
    inputs: tuple[str, ...]
    """The kinds of feature that it takes as input, of `regions`, `tokens` and `context`."""
    settings: tuple[str, ...]
    """The fields of `HeadConfig` that it reads, beside the lengths of its features. Two
    configurations that differ only in others are the same."""
    summary: str
    """A short summary of what it computes."""


_EVERY = ("regions", "tokens", "context")
_LOCAL = (
    "d",
    "k",
    "hidden",
    "lam",
    "gate",
    "normalize",
    "self_attention",
    "fusion_bias",
    "pooling_heads",
    *GRU_SETTINGS,
)
_TEXT = ("d", "hidden", *GRU_SETTINGS)

HEADS = {
    "itin": HeadSpec("itin:ITINHead", _EVERY, (*_LOCAL, "ablation"), "the paper's network, eqs. 1-19"),
    "global-local": HeadSpec(
        "heads.global_local:GlobalLocalHead", _EVERY, _LOCAL, "ITIN, and V with the words, S with the regions beside it"
    ),
    "concat": HeadSpec(
        "heads.concat:ConcatHead", _EVERY, ("d", "hidden", *GRU_SETTINGS), "MLP(mean of regions ⊕ S ⊕ V)"
    ),
    "text-only": HeadSpec("heads.text_only:TextOnlyHead", ("tokens",), _TEXT, "MLP(S)"),
    "image-only": HeadSpec(
        "heads.image_only:ImageOnlyHead", ("regions", "context"), ("hidden",), "MLP(mean of regions ⊕ V)"
    ),
    "pooled": HeadSpec(
        "heads.pooled:PooledHead",
        ("tokens", "context"),
        ("hidden", "pooling", "dropout", "mask", "max_words"),
        "MLP(mean of words) ⊕ MLP(V), standardised",
    ),
    "majority": HeadSpec("heads.majority:MajorityHead", ("context",), (), "the class frequencies of the training part"),
}
"""All heads by name. A new head is a file in `heads/` and a line here: docs/heads.md."""
