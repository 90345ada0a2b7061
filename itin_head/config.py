"""The head's configuration. Imports no torch, so that a command line can read its defaults at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..fields import check, option
from .registry import HEADS, SIZES

GRUS = ("auto", "compiled", "fused", "packed", "torch")
"""Ways to compute the GRU: the fastest one, steps in C++ (on a CPU), in PyTorch with cells in Triton (on CUDA), in
PyTorch alone, or by `torch.nn.GRU`."""

GATES = ("scalar", "vector")
"""Readings of eq. 8: one value a region, or one a region and dimension."""

POOLINGS = ("mean", "attention")
"""Ways to make one vector of a text's words without the GRU: their mean, or weights by a learned query."""

ABLATIONS = ("none", *HEADS["itin"].ablations)
"""The ablations: none, and the four rows of the paper's Table III."""


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class HeadOptions:
    """The head and its readings. The defaults are the paper's equations; `train.presets` names other readings.

    Wrong values raise ValueError, and so do options that the head does not have.
    """

    head: str = option("itin", choices=HEADS, metavar="HEAD", group="What is trained")
    """Which head; docs/heads.md says what each computes."""
    lam: float = option(0.2, least=0, most=1)
    """λ of eq. 18, the share of the visual context: F = λ F1 + (1 - λ) F2."""
    gate: str = option("scalar", choices=GATES)
    """Eq. 8 as the sigmoid of the inner product r · u (scalar) or of the elementwise product r * u (vector)."""
    ablation: str = option("none", choices=ABLATIONS)
    """What is left out, as in Table III. no-align: u is the plain mean of the words; no-gate: g = 1; no-context:
    F = MLP(C); only-context: F1 = MLP(V), F2 = MLP(S), no regions."""
    d: int = option(1024, least=1)
    """Hidden size: the length of r, w and all that is made from them."""
    k: int = option(1024, least=1)
    """Size of the projections in eq. 5; its root scales the softmax of eq. 6. itin-plus: of words and regions too."""
    hidden: int = option(64, least=1)
    """Size of the fused representation: F1, F2 and F, eqs. 16-18."""
    normalize: bool = option(False, switch=True)
    """Divide r, u and C by their L2 norms, as in the authors' demo."""
    self_attention: bool = option(False, switch=True)
    """Let the rows of U attend to one another between eqs. 7 and 8, with projections of their own (the demo)."""
    fusion_bias: bool = option(True, switch=True)
    """W_o with its bias b_o, eq. 10 (the demo has none)."""
    pooling_heads: int = option(1, least=1)
    """Outputs of Tran_z, eq. 12: each weighs the regions, and the weights are averaged (the demo has 4)."""
    gru_layers: int = option(1, least=1)
    """Layers of the GRU, eqs. 2-3; a further one reads both directions of the one below (the demo has 2)."""
    gru_dropout: float = option(0.0, least=0, below=1)
    """Dropout between the layers of the GRU, in training (the demo: 0.25)."""
    context_gru: bool = option(False, switch=True)
    """S, eq. 15, from a second GRU of the same form (the demo)."""
    mask: bool = option(True, switch=True)
    """Let padding take part in nothing. Without, each text is filled up to max-words with zero vectors, which are read
    as words (the demo; there they are what BERT makes of [PAD])."""
    max_words: int = option(100, least=1)
    """Words read of each text."""
    hops: int | None = option(None, least=1)
    """Hops over the words and the image, in comn and mvan; by default the original's, 6 and 3."""
    filters: int = option(100, least=2)
    """Maps of the convolutions over 3, 4 and 5 words, in cnn-multi and dnn-lr."""
    pooling: str = option("mean", choices=POOLINGS)
    """How the heads pooled and itin-plus make one vector of the words: their mean, or attention, their mean weighted by
    a learned query."""
    dropout: float = option(0.0, least=0, below=1)
    """Dropout in training: of regions, words (after the GRU) and context, each by one mask a pair, and of the fused
    vector. pooled, itin-plus: once standardised; cnn-multi: of the last layer's input alone; dnn-lr: of the last image
    layer's weights."""
    word_ngrams: int = option(2, least=0)
    """TF-IDF of up to N words in a row, for the head linear; 0 for none."""
    char_ngrams: int = option(5, least=0)
    """TF-IDF of 2 to N characters in a row, for the head linear; 0 for none."""
    means_scale: float = option(0.03, least=0)
    """Factor of the standardised means of words and V in the head linear; 0 leaves them out."""
    lexicon_scale: float = option(0.2, above=0)
    """Factor of the standardised values of lexicons in the head linear."""

    lexical: int = option(0, least=0)
    """Length of the vectors of a table that is learned beside the word features: one for each token and each pair of
    neighbours that at least two texts of the training part hold; 0 for none."""
    word_dropout: float = option(0.0, least=0, below=1)
    """Share of the tokens that the learned table does not see in training."""
    scene: bool | None = option(None, switch=True)
    """Whether the head reads the scene's features: multisentinet and mvan by default where the data set has them,
    pooled, itin-plus and linear not."""

    def __post_init__(self) -> None:
        check(self)
        if self.hops is None:
            object.__setattr__(self, "hops", HEADS[self.head].hops)
        if self.head == "linear" and not (self.word_ngrams or self.char_ngrams or self.means_scale):
            raise ValueError("word_ngrams, char_ngrams, means_scale: expected one above 0, got 0 for each")
        own = HEADS[self.head].ablations
        if self.ablation not in ("none", *own):
            expected, has = ", ".join(["none", *own]), "no others" if own else "no ablations"
            raise ValueError(f"ablation: expected {expected}, for the head {self.head} has {has}; got {self.ablation}")


@dataclass(frozen=True, kw_only=True)
class HeadConfig(HeadOptions):
    """One head: its readings, and the sizes of its inputs."""

    region_dim: int = option(2048, least=1)
    """Length of a region feature f_i."""
    token_dim: int = option(768, least=1)
    """Length of a word feature x_i."""
    context_dim: int = option(512, least=1)
    """Length of the visual context V."""
    classes: int = option(3, least=1)
    """Number of outputs, the rows of W_f: the classes; of several targets or other ones, the sum of their
    `Target.outputs`."""
    lexicon_values: int = option(0, least=0)
    """Number of lexicon values of a text, which every head that reads text takes."""
    entries: int = option(0, least=0)
    """Number of vectors in the learned table."""
    objects: int = option(0, least=0)
    """Number of the regions' object classes, where the store has names of them; else 0."""
    attributes: int = option(0, least=0)
    """Number of the regions' attributes, where the store has names of them and of the objects; else 0."""
    sentence_ends: int = option(0, least=0)
    """Number of tokens that end a sentence, where the store knows them; else 0."""
    scene_dim: int = option(0, least=0)
    """Length of the scene's features P; 0 where there are none, or the head reads none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.reads_scene:
            object.__setattr__(self, "scene_dim", 0)

    @property
    def reads_scene(self) -> bool:
        """Whether the head reads the scene's features: where it is told to, and by default as `HeadSpec` says."""
        spec = HEADS[self.head]
        by_default = spec.reads_scene and self.scene_dim > 0
        able = spec.can_read_scene and ("means_scale" not in spec.settings or self.means_scale > 0)
        return able and (by_default if self.scene is None else self.scene)

    @property
    def inputs(self) -> frozenset[str]:
        """The kinds of feature that the head takes as input."""
        without = {"only-context": {"regions"}, "no-context": {"context"}}.get(self.ablation, set())
        return frozenset([*HEADS[self.head].inputs, *(("scene",) if self.reads_scene else ())]) - without

    @property
    def optional(self) -> frozenset[str]:
        """The kinds of feature that the head reads too if they are there."""
        return frozenset({"scene"} if HEADS[self.head].reads_scene and self.scene is None else ())

    @property
    def reads(self) -> frozenset[str]:
        """The kinds of feature whose values affect its result."""
        spec = HEADS[self.head]
        unread = not spec.settings or ("means_scale" in spec.settings and not self.means_scale)
        without = frozenset(spec.stands_in if self.reads_scene else ())
        return frozenset() if unread or (spec.by_lexicon and not self.attributes) else self.inputs - without

    @property
    def reads_text(self) -> bool:
        """Whether it reads texts: their tokens, or what lexicons say of them."""
        return "tokens" in self.inputs or HEADS[self.head].by_lexicon

    @property
    def settings(self) -> frozenset[str]:
        """The fields that affect its result; the others may have any value."""
        read = set(HEADS[self.head].settings)
        if self.ablation == "only-context":
            read -= {"k", "gate", "normalize", "self_attention", "fusion_bias", "pooling_heads"}
        elif self.ablation == "no-align":
            read -= {"k"} if "d" in read and not self.self_attention else set()  # without d, k is the length of r and w
        elif self.ablation == "no-gate":
            read -= {"gate"}
        elif self.ablation == "no-context":
            read -= {"lam", "context_gru"}
        if self.gru_layers == 1:
            read -= {"gru_dropout"}
        if self.reads_text:
            read |= {"lexicon_values"}
        if "tokens" in self.inputs and not HEADS[self.head].solved:
            read |= {"lexical", *(("entries", "word_dropout") if self.lexical else ())}
        if not self.lexicon_values:
            read -= {"lexicon_scale"}
        return frozenset(read)

    @property
    def has(self) -> frozenset[str]:
        """Those of `SIZES` that its features have."""
        return frozenset(name for name in SIZES if getattr(self, name))

    @property
    def uses(self) -> frozenset[str]:
        """Those of them that it reads."""
        return self.has & self.settings

    @property
    def averages(self) -> bool:
        """Whether of a text's words it reads their mean alone."""
        return HEADS[self.head].averages and ("pooling" not in self.settings or self.pooling == "mean")

    @property
    def has_extras(self) -> bool:
        """Whether it knows more of a text than its words' features: lexicon values, or a learned table."""
        return "tokens" in self.inputs and bool(self.lexicon_values or self.has_table)

    @property
    def has_table(self) -> bool:
        """Whether it learns a table of vectors for tokens and pairs of neighbours."""
        return "lexical" in self.settings and self.lexical > 0

    @property
    def dropout_fields(self) -> list[str]:
        """The fields that give it dropout, for which it draws random numbers in training."""
        return [
            name for name in ("gru_dropout", "dropout", "word_dropout") if name in self.settings and getattr(self, name)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as they stand in `config.json` and beside the weights."""
        first = ("head", "region_dim", "token_dim", "context_dim", "classes", "d", "k", "hidden")
        return {**{name: getattr(self, name) for name in first}, **asdict(self)}
