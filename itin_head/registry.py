"""The heads by name. Imports no torch, so that a command line can list them at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

GRU_SETTINGS = ("gru_layers", "gru_dropout", "context_gru", "mask", "max_words", "dropout")
"""The settings of every head that reads words through the GRU (`head.Head`)."""


NAMES = ("objects", "attributes", "sentence_ends")
SIZES = (*NAMES, "scene_dim")
"""Fields of `HeadConfig`: sizes of what stores may hold beside the features themselves, 0 where they do not. Only heads
that have one among their settings read it."""

SCENE = ("scene", "scene_dim")
"""The settings of a head that can read the scene's features: by default where something stands in for them, else where
the field `scene` says so."""


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
    stand_ins: Mapping[str, str] = MappingProxyType({})
    """What stands in for what no store holds, as tables write it, by the size in `SIZES` that is then 0."""
    stands_in: tuple[str, ...] = ()
    """The inputs that it reads only in place of a scene."""
    hops: int | None = None
    """Its hops by default."""
    ablations: tuple[str, ...] = ()
    """What its field `ablation` may leave out."""
    by_lexicon: bool = False
    """Whether lexicons are its input: their values of the text, without its tokens, and of the names of the regions."""
    revision: int = 1
    """The revision of its equations, raised when they change; it goes into the keys of its runs."""

    @property
    def can_read_scene(self) -> bool:
        """Whether it can read the scene's features."""
        return "scene_dim" in self.settings

    @property
    def reads_scene(self) -> bool:
        """Whether it does so by default, where there are any."""
        return "scene_dim" in self.stand_ins

    @property
    def seedless(self) -> bool:
        """Whether its result depends on no seed, so that a second one would be the same."""
        return self.solved or not self.settings


_EVERY = ("regions", "tokens", "context")
_INTERACTION = ("k", "gate", "normalize", "self_attention", "fusion_bias", "pooling_heads")
_LOCAL = ("d", "hidden", "lam", *_INTERACTION, *GRU_SETTINGS)
_TEXT = ("d", "hidden", *GRU_SETTINGS)
_WORDS = ("mask", "max_words", "dropout")
_MEAN_REGION = {"scene_dim": "mean region as scene"}

HEADS = {
    "itin": HeadSpec(
        "itin:ITINHead",
        _EVERY,
        (*_LOCAL, "ablation"),
        "the paper's network, eqs. 1-19",
        ablations=("no-align", "no-gate", "no-context", "only-context"),
    ),
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
        ("hidden", "pooling", "dropout", "max_words", *SCENE),
        "MLP(mean of words) ⊕ MLP(V), standardised",
        averages=True,
    ),
    "itin-plus": HeadSpec(
        "heads.itin_plus:ItinPlusHead",
        _EVERY,
        ("hidden", *_INTERACTION, "ablation", "pooling", "dropout", "max_words", *SCENE),
        "pooled, and a branch of ITIN's alignment and gates",
        ablations=("no-align", "no-gate"),
    ),
    "linear": HeadSpec(
        "heads.linear:LinearHead",
        ("tokens", "context"),
        ("word_ngrams", "char_ngrams", "means_scale", "lexicon_scale", "max_words", *SCENE),
        "TF-IDF of words and characters ⊕ means of words and V, logistic regression",
        averages=True,
        solved=True,
    ),
    "lexicon": HeadSpec(
        "heads.lexicon:LexiconHead",
        ("regions",),
        ("attributes",),
        "lexicon values of the text and of the regions' attribute-object pairs, logistic regression",
        solved=True,
        stand_ins={"attributes": "no names"},
        by_lexicon=True,
    ),
    "multisentinet": HeadSpec(
        "heads.multisentinet:MultiSentiNetHead",
        _EVERY,
        ("d", "hidden", *_WORDS, *SCENE),
        "LSTM over the words, attended with V and the scene",
        stand_ins=_MEAN_REGION,
        stands_in=("regions",),
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
        ("d", "k", "hidden", "hops", *_WORDS, *SCENE),
        "text, objects and scene read each other in hops",
        inferred=True,
        stand_ins=_MEAN_REGION,
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
        ("d", "hidden", "gru_layers", "gru_dropout", *_WORDS, *NAMES),
        "words, then sentences attended with the regions and their names as guide",
        inferred=True,
        stand_ins={"objects": "no names", "sentence_ends": "one sentence"},
        revision=2,
    ),
    "majority": HeadSpec("heads.majority:MajorityHead", ("context",), (), "the class frequencies of the training part"),
}
"""All heads by name. A new head is a file in `heads/` and a line here: docs/heads.md."""


def label_of(head: str, has: Collection[str] = (), scene: bool | None = None) -> str:
    """Return the name of a head as tables write it, such as `mvan* (mean region as scene)`.

    Args:
        head: its name.
        has: those of `SIZES` that the stores have, as `HeadConfig.has` of a run, `Features.has` or `Definition.has`.
        scene: the field `scene` of the configuration: False if the scene is not read though the stores have it.
    """
    spec = HEADS[head]
    read = set(has) - ({"scene_dim"} if scene is False else set())
    missing = ", ".join(text for size, text in spec.stand_ins.items() if size not in read)
    return f"{head}{'*' * spec.inferred}" + (f" ({missing})" if missing else "")
