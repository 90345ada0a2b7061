"""The features that a run is trained on: the labelled samples of a data set, packed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...itin_head.registry import SIZES
from ...labels import LABELS
from ...targets import LABEL, UNKNOWN, Target
from .named import NamedRegions

INPUT = {"regions": "image_sha256", "tokens": "text_sha256", "context": "image_sha256", "scene": "image_sha256"}
"""The kinds of feature, and the column of the data set's table that holds the digest of what each is made from."""


def only(kind: str) -> str:
    """Return the options of `itin extract` that make the features of one kind alone."""
    return f"--only {kind}" + " --scene-encoder NAME" * (kind == "scene")


@dataclass(frozen=True, eq=False)
class TargetColumn:
    """The values of one target for N samples."""

    target: Target
    values: NDArray[np.int64] | NDArray[np.float64]
    """(N,) class numbers, `UNKNOWN` where there is none; or numbers, NaN where there is none."""
    shares: NDArray[np.float64] | None = None
    """(N, classes) the shares of several annotators, which sum to 1, or to 0 where nobody judged: what a head learns in
    place of the values, which it is scored by. A pair that they do not agree on has shares, but no value."""

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> TargetColumn:
        """Return the values of some rows."""
        taken: NDArray[np.int64] | NDArray[np.float64] = self.values[rows]
        return TargetColumn(self.target, taken, None if self.shares is None else self.shares[rows])

    @property
    def taught(self) -> NDArray[np.bool_]:
        """(N,) True at a sample that a head can learn from."""
        taught: NDArray[np.bool_] = self.known if self.shares is None else self.shares.sum(1) > 0
        return taught

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) True at a sample with a value."""
        known: NDArray[np.bool_] = ~np.isnan(self.values) if self.target.is_number else self.values != UNKNOWN
        return known


def strata_of(column: TargetColumn) -> NDArray[np.int64]:
    """Return what splits are stratified by, (N,): the class, or the fifth of the values, `UNKNOWN` for none."""
    if not column.target.is_number:
        return column.values.astype(np.int64)
    strata = np.full(len(column.values), UNKNOWN, dtype=np.int64)
    known = column.known
    if known.any():
        edges = np.quantile(column.values[known], [0.2, 0.4, 0.6, 0.8])
        strata[known] = np.searchsorted(edges, column.values[known], side="left")
    return strata


@dataclass(frozen=True, eq=False)
class Features:
    """The samples of a data set that have a target, packed, in the dtype of their stores.

    Raises:
        ValueError: arrays that do not fit together.
    """

    ids: list[str]
    """The N ids."""
    labels: np.ndarray
    """(N,) int64, places in `classes`; `targets.UNKNOWN` where a sample has another target alone."""
    regions: np.ndarray
    """(N, m, region_dim), by descending score; rows from `counts` on hold nothing."""
    counts: np.ndarray
    """(N,) int64, the number of regions of each image, at most m."""
    tokens: np.ndarray
    """(T, token_dim), the words of all samples one after the other."""
    offsets: np.ndarray
    """(N + 1,) int64; sample i has the words `tokens[offsets[i]:offsets[i + 1]]`."""
    context: np.ndarray
    """(N, context_dim)."""
    dataset: str = ""
    """The data set's name."""
    classes: tuple[str, ...] = LABELS
    """The names of the data set's classes, in their order."""
    ordered: bool = False
    """Whether the classes stand from the least to the greatest."""
    labelled: int = 0
    """The number of samples of the data set with a label."""
    missing: dict[str, int] = field(default_factory=dict)
    """The number of labelled samples that the store of each kind does not hold."""
    mapped: Path | None = None
    """The folder of the temporary file with regions and words that memory cannot hold."""
    outside: list[str] = field(default_factory=list)
    """The reasons why labelled samples are not among these, a line each; known where features are read from stores."""
    further: dict[str, TargetColumn] = field(default_factory=dict)
    """The values of further targets, by name."""
    texts: list[str] | None = None
    """The N texts, where they were asked for."""
    token_ids: NDArray[np.int32] | None = None
    """(T,) the id of each word's token in the tokenizer's vocabulary; None where they are not known."""
    lexicons: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The values (N, columns) of the lexicons asked for, by name; NaN where one does not know the text's language."""
    scene: np.ndarray | None = None
    """(N, scene_dim); None where no head asks for it."""
    named: NamedRegions | None = None
    """What the regions show, where their store has names of it."""
    sentence_ends: tuple[int, ...] = ()
    """The ids of the tokens that end a sentence, where the store of words knows them."""

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, shape in (
            ("labels", (n,)),
            ("regions", (n, "m", "D")),
            ("counts", (n,)),
            ("tokens", (int(self.offsets[-1]) if len(self.offsets) else 0, "E")),
            ("offsets", (n + 1,)),
            ("context", (n, "C")),
        ):
            got = getattr(self, name).shape
            if len(got) != len(shape) or any(isinstance(a, int) and a != b for a, b in zip(shape, got, strict=True)):
                raise ValueError(f"{name}: expected ({', '.join(map(str, shape))}), got {got}")

        if self.scene is not None and (self.scene.ndim != 2 or len(self.scene) != n):
            raise ValueError(f"scene: expected ({n}, P), got {self.scene.shape}")
        if self.named is not None and self.named.objects.shape != self.regions.shape[:2]:
            raise ValueError(f"named: expected {self.regions.shape[:2]}, got {self.named.objects.shape}")
        if self.token_ids is not None and self.token_ids.shape != self.tokens.shape[:1]:
            raise ValueError(f"token_ids: expected {self.tokens.shape[:1]}, got {self.token_ids.shape}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def strata(self) -> NDArray[np.int64]:
        """(N,) the class that splits are stratified by, `UNKNOWN` for a sample that only trains: that of the label, or
        the fifth of its range that the first other target lies in."""
        if self.classes or not self.further:
            return self.labels
        return strata_of(next(iter(self.further.values())))

    @property
    def columns(self) -> dict[str, TargetColumn]:
        """The values of every target by name, the label first."""
        return {name: self.column(name) for name in [LABEL] * bool(self.classes) + list(self.further)}

    @property
    def known(self) -> dict[str, NDArray[np.bool_]]:
        """Where each target has a value, (N,) by name."""
        return {name: column.known for name, column in self.columns.items()}

    def column(self, name: str = LABEL) -> TargetColumn:
        """Return the values of a target; raise ValueError for one that is not among these."""
        if name == LABEL and self.classes:
            return TargetColumn(Target(LABEL, "ordered" if self.ordered else "classes", self.classes), self.labels)
        if name not in self.further:
            raise ValueError(f"target: expected one of {', '.join([LABEL, *self.further])}, got {name!r}")
        return self.further[name]

    @property
    def dims(self) -> dict[str, int]:
        """`region_dim`, `token_dim`, `context_dim` and `itin_head.registry.SIZES`, those of features that are there."""
        sizes = {
            "region_dim": self.regions.shape[2],
            "token_dim": self.tokens.shape[1],
            "context_dim": self.context.shape[1],
            "scene_dim": 0 if self.scene is None else self.scene.shape[1],
            "sentence_ends": len(self.sentence_ends),
            **({} if self.named is None else self.named.sizes),
        }
        return {name: size for name, size in sizes.items() if size}

    @property
    def has(self) -> frozenset[str]:
        """Those of `itin_head.registry.SIZES` that these features have."""
        return frozenset(self.dims).intersection(SIZES)
