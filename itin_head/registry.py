"""The heads by name. Imports no torch, so that a command line can list them at once."""

from __future__ import annotations

from typing import NamedTuple

GRU_SETTINGS = ("gru_layers", "gru_dropout", "context_gru", "mask", "max_words", "dropout")
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
    averages: bool = False
    """Whether of a text's words it reads their mean alone (`pooled` without attention)."""
    solved: bool = False
    """Whether its weights are solved for at once (`train.solving`), not learnt step by step."""
    inferred: bool = False
    """Whether parts of it were inferred and not read, since the original cannot be had; tables write `*`."""
    stand_in: str = ""
    """What it reads in place of a feature that no store holds, as tables write it."""
    hops: int | None = None
    """Its hops by default."""

    @property
    def seedless(self) -> bool:
        """Whether its result depends on no seed, so that a second one would be the same."""
        return self.solved or not self.settings


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
_WORDS = ("mask", "max_words", "dropout")
_SCENE = "mean region as scene"

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
        "heads.image_only:ImageOnlyHead", ("regions", "context"), ("hidden", "dropout"), "MLP(mean of regions ⊕ V)"
    ),
    "pooled": HeadSpec(
        "heads.pooled:PooledHead",
        ("tokens", "context"),
        ("hidden", "pooling", "dropout", "max_words"),
        "MLP(mean of words) ⊕ MLP(V), standardised",
        averages=True,
    ),
    "linear": HeadSpec(
        "heads.linear:LinearHead",
        ("tokens", "context"),
        ("word_ngrams", "char_ngrams", "means_scale", "lexicon_scale", "max_words"),
        "TF-IDF of words and characters ⊕ means of words and V, logistic regression",
        averages=True,
        solved=True,
    ),
    "multisentinet": HeadSpec(
        "heads.multisentinet:MultiSentiNetHead",
        _EVERY,
        ("d", "hidden", *_WORDS),
        "LSTM over the words, attended with V and the scene",
        stand_in=_SCENE,
    ),
    "comn": HeadSpec(
        "heads.comn:CoMNHead",
        ("regions", "tokens"),
        ("d", "k", "hops", "gru_layers", "gru_dropout", *_WORDS),
        "words and image attend to each other in hops",
        inferred=True,
        hops=6,
    ),
    "mvan": HeadSpec(
        "heads.mvan:MVANHead",
        ("regions", "tokens"),
        ("d", "k", "hidden", "hops", *_WORDS),
        "text, objects and scene read each other in hops",
        inferred=True,
        stand_in=_SCENE,
        hops=3,
    ),
    "cnn-multi": HeadSpec(
        "heads.cnn_multi:CNNMultiHead",
        ("tokens", "context"),
        ("filters", *_WORDS),
        "a convolution across a text's vector and V",
        inferred=True,
    ),
    "dnn-lr": HeadSpec(
        "heads.dnn_lr:DNNLRHead",
        ("tokens", "context"),
        ("filters", "hidden", *_WORDS),
        "logistic regression on what a text CNN and a network on V say",
        inferred=True,
    ),
    "hsan": HeadSpec(
        "heads.hsan:HSANHead",
        ("regions", "tokens"),
        ("d", "hidden", "gru_layers", "gru_dropout", *_WORDS),
        "words attended with the projected regions as guide",
        inferred=True,
        stand_in="no names, one sentence",
    ),
    "majority": HeadSpec("heads.majority:MajorityHead", ("context",), (), "the class frequencies of the training part"),
}
"""All heads by name. A new head is a file in `heads/` and a line here: docs/heads.md."""


def label_of(head: str) -> str:
    """Return the name of a head as tables write it, such as `mvan* (mean region as scene)`."""
    spec = HEADS[head]
    return f"{head}{'*' * spec.inferred}" + (f" ({spec.stand_in})" if spec.stand_in else "")
