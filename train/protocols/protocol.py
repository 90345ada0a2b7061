"""Protocols: the rules by which the samples of a data set become training, validation and test part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..config import DUPLICATES
from . import clmlf, duplicates
from .draw import random_parts, stratified_folds, without_leaks
from .split import PARTS, Split, read_parts, shuffled, split_from_file, split_from_parts

if TYPE_CHECKING:
    import pandas as pd

    from ...cache import Table

KINDS = ("itin-811", "own", "clmlf", "folds", "agree", "file")
FORMS = "itin-811, own, clmlf, clmlf:PATH, folds:K, agree or file:PATH"
RATIOS = {"itin-811": (8, 1, 1), "agree": (6, 2, 2)}
"""The shares of training, validation and test part where they are drawn at random."""


@dataclass(frozen=True)
class Protocol:
    """A protocol by its name; wrong values raise ValueError."""

    kind: str = "itin-811"
    """One of `KINDS`."""
    folds: int = 0
    """The number of folds, for `folds`."""
    path: Path | None = None
    """For `file`, the table of id and part; for `clmlf`, its file, None for the one that `itin data fetch` writes."""
    duplicates: str | None = None
    """Whether equal texts and equal images are kept in one part: one of `config.DUPLICATES`, or None."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"protocol: expected {FORMS}, got {self.kind!r}")
        if (self.folds != 0) != (self.kind == "folds") or (self.kind == "folds" and self.folds < 3):
            raise ValueError(f"protocol: expected folds:K with K of at least 3, got {self.kind}:{self.folds}")
        if (self.path is None and self.kind == "file") or (
            self.path is not None and self.kind not in ("file", "clmlf")
        ):
            raise ValueError(f"protocol: expected file:PATH, got {self.kind} with the path {self.path}")
        if self.duplicates is not None and self.duplicates not in DUPLICATES:
            raise ValueError(f"duplicates: expected {', '.join(DUPLICATES)} or None, got {self.duplicates!r}")

    @classmethod
    def parse(cls, text: str, duplicates: str | None = None) -> Protocol:
        """Return the protocol of a name such as `itin-811`, `folds:10` or `file:parts.csv`.

        Raises:
            ValueError: no such protocol.
        """
        kind, colon, rest = text.strip().partition(":")
        if colon and not rest:
            raise ValueError(f"protocol: expected {FORMS}, got {text!r}")
        if kind == "folds":
            if not rest.isdecimal():
                raise ValueError(f"protocol: expected folds:K with a number of folds, got {text!r}")
            return cls(kind, folds=int(rest), duplicates=duplicates)
        if kind in ("file", "clmlf"):
            return cls(kind, path=Path(rest) if rest else None, duplicates=duplicates)
        if rest:
            raise ValueError(f"protocol: expected {FORMS}, got {text!r}")
        return cls(kind, duplicates=duplicates)

    @property
    def name(self) -> str:
        """The name in every record: `folds:10`, `file:parts.csv` (without the folder)."""
        if self.kind == "folds":
            return f"folds:{self.folds}"
        return f"file:{self.path.name}" if self.kind == "file" and self.path is not None else self.kind

    def __str__(self) -> str:
        return named({"protocol": self.name, "duplicates": self.duplicates})

    @property
    def fixed(self) -> bool:
        """Whether the parts are given by a file or the data set, and no seed changes them."""
        return self.kind in ("own", "clmlf", "file")


@dataclass(frozen=True, eq=False)
class Splitter:
    """A protocol applied to samples; can be sent to other processes."""

    protocol: Protocol
    ids: list[str]
    labels: NDArray[np.int64]
    """(N,) class of each sample."""
    rows: NDArray[np.int64] | None = None
    """The samples that take part, where the parts are not fixed; None for all."""
    groups: NDArray[np.int64] | None = None
    """(N,) group numbers; samples of one group stay in one part."""
    parts: dict[str, str] | None = None
    """The part of each id, where they are fixed."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Further facts that the protocol records."""
    outside: list[str] = field(default_factory=list)
    """The mismatches between the samples and the file that gives the parts, a line each."""

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        ids: Sequence[str],
        labels: NDArray[np.int64],
        table: Table,
        allow_missing: bool = False,
    ) -> Splitter:
        """Apply a protocol to the samples of a data set.

        Args:
            protocol: the protocol.
            ids: the labelled samples that have features.
            labels: (N,) their classes.
            table: the data set's table, with what the protocol asks for: `text_label` and `image_label` for `agree`,
                digests and texts to keep duplicates together.
            allow_missing: whether a file may leave more than a few samples without a part: `split_from_file`.

        Raises:
            DataError: the table lacks a column, or a file is missing or not the expected one.
        """
        ids = list(ids)
        groups = cls.groups_for(protocol, ids, table)
        if protocol.fixed:
            given = _own(ids, table) if protocol.kind == "own" else _given(protocol, ids, table, allow_missing)
            parts = dict(given.pairs(ids))
            left_out: dict[str, Any] = {}
            if groups is not None:
                parts, left_out = without_leaks(parts, dict(zip(ids, groups.tolist(), strict=True)))
            origin = {name: value for name, value in given.description.items() if name != "sizes"}
            origin |= left_out
            # A data set's own split can differ from its samples only by those without features, which are named anyway.
            outside = [] if protocol.kind == "own" else given.outside
            return cls(protocol, ids, labels, groups=groups, parts=parts, origin=origin, outside=outside)
        if protocol.kind != "agree":
            return cls(protocol, ids, labels, groups=groups)
        rows = _agreeing(samples_of(ids, table), kind_of(table))
        return cls(protocol, ids, labels, rows, groups, origin={"labels_differ": len(ids) - len(rows)})

    @staticmethod
    def groups_for(protocol: Protocol, ids: Sequence[str], table: Table) -> NDArray[np.int64] | None:
        """Return the group of each sample that the protocol keeps together with its duplicates; None where it does not.

        The arguments and errors are those of `of`.
        """
        if (way := protocol.duplicates) is None:
            return None
        samples = samples_of(ids, table)
        return duplicates.groups_of(duplicates.text_keys(samples, way), duplicates.image_keys(samples))

    def case(self, seed: int, fold: int) -> tuple[int, int]:
        """Return the seed and fold that the parts depend on: equal cases, equal parts.

        Raises:
            ValueError: the protocol has no such fold.
        """
        if fold >= max(1, self.protocol.folds):
            have = f"from 0 to {self.protocol.folds - 1}" if self.protocol.folds else "0, since only folds:K has folds"
            raise ValueError(f"fold: expected {have}, got {fold} (protocol {self.protocol.name})")
        return (0, 0) if self.protocol.fixed else (seed, fold)

    def split(self, seed: int = 0, fold: int = 0) -> Split:
        """Return the parts.

        Args:
            seed: the seed of the protocol's random choices.
            fold: which of the folds is the test part; the next one is the validation part.

        Raises:
            DataError: a part would be empty.
            ValueError: the protocol has no such fold.
        """
        self.case(seed, fold)
        record: dict[str, Any] = {"protocol": self.protocol.name}
        if self.protocol.duplicates is not None:
            record["duplicates"] = self.protocol.duplicates
        parts, drawn = (self.parts, {}) if self.parts is not None else self._draw(seed, fold)
        made = self._made(parts)
        sizes = {"sizes": made.description["sizes"]}
        return Split(made.train, made.val, made.test, {**record, **drawn, **self.origin, **sizes})

    def _draw(self, seed: int, fold: int) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the part of each id by the protocol's random choices, and their description."""
        order = shuffled(self.ids, seed, self.rows)
        groups = self.groups if self.groups is not None else np.arange(len(self.ids))
        folds = self.protocol.folds
        if folds:
            fold_of = stratified_folds(order, self.labels, groups, folds)
            part = [PARTS[0]] * folds
            part[fold], part[(fold + 1) % folds] = "test", "val"
            parts = {self.ids[row]: part[number] for row, number in fold_of.items()}
            return parts, {"kind": "folds", "folds": folds, "fold": fold, "seed": seed}
        ratio = RATIOS[self.protocol.kind]
        parts = {self.ids[row]: part for row, part in random_parts(order, groups, ratio).items()}
        return parts, {"kind": "random", "ratio": ":".join(map(str, ratio)), "seed": seed}

    def _made(self, parts: Mapping[str, str]) -> Split:
        """Return the split of these parts; where one is empty, the error says why."""
        if self.groups is not None and len(np.unique(self.groups)) < len(self.ids):
            what = (
                "drops pairs that equal one of a later part" if self.protocol.fixed else "keeps equal pairs in one part"
            )
            next_step = f"leave out --group-duplicates, which {what}"
        elif self.protocol.fixed:
            return split_from_parts(self.ids, parts, {})
        else:
            next_step = "extract more samples" + (", or ask for fewer folds" if self.protocol.folds else "")
        return split_from_parts(self.ids, parts, {}, what=f"the protocol {self.protocol}", next_step=next_step)


def samples_of(ids: Sequence[str], table: Table) -> pd.DataFrame:
    """Return the rows of a data set's table for some samples, in their order."""
    every = table.samples.assign(id=table.samples["id"].astype(str)).set_index("id")
    rows: pd.DataFrame = every.loc[list(ids)].reset_index()
    return rows


def named(description: Mapping[str, Any]) -> str:
    """Return the name of the protocol that a split's description records.

    Descriptions written before protocols had names are read too.
    """
    name = description.get("protocol")
    if name is None:
        from_file = description.get("kind") == "file"
        name = f"file:{Path(str(description.get('file', '?'))).name}" if from_file else Protocol().name
    together = description.get("duplicates")
    return f"{name}, duplicates together ({together})" if together else str(name)


def describe(description: Mapping[str, Any]) -> str:
    """Return `named` with fold and split seed, in words to stand beside a result."""
    more = [
        f"{word} {description[key]}" for key, word in (("fold", "fold"), ("seed", "split seed")) if key in description
    ]
    if "train_share" in description:
        more.append(f"{description['train_share']:g} of the training part")
    return ", ".join([named(description), *more])


def kind_of(table: Table) -> str:
    """Return which data set a table is of: `mvsa-single`, `mvsa-multiple` or another."""
    source = table.dataset.get("source") or {}
    return str(source.get("kind") or table.dataset.get("name", ""))


def own_parts(table: Table) -> dict[str, str]:
    """Return the part of each sample in the data set's own split, for those that have one."""
    samples = table.samples
    part_of = samples["part"] if "part" in samples else [None] * len(samples)
    return {str(id): str(part) for id, part in zip(samples["id"], part_of, strict=True) if isinstance(part, str)}


def _own(ids: Sequence[str], table: Table) -> Split:
    """Return the parts that the data set's own annotation files give."""
    wanted = set(ids)
    parts = {sample: part for sample, part in own_parts(table).items() if sample in wanted}
    if not parts:
        kind = kind_of(table)
        raise DataError(
            f"{kind or 'the data set'} has no split of its own",
            expected="a data set whose annotation files are its parts, such as msed, extracted with their parts",
            found=f"a part for none of {len(ids)} labelled pairs",
            next_step="choose another protocol, or run `itin extract` again if the table is from an older version",
        )
    return split_from_parts(ids, parts, {"kind": "own", "digest": clmlf.digest(parts)}, what="the data set's own split")


def _given(protocol: Protocol, ids: Sequence[str], table: Table, allow_missing: bool) -> Split:
    """Return the parts that a file gives."""
    path, kind = protocol.path, kind_of(table)
    if protocol.kind == "file":
        return split_from_file(path if path is not None else Path(), ids, allow_missing)
    if path is None:
        clmlf.published_for(kind)
        path = clmlf.split_path(kind)
        if not path.exists():
            raise DataError(
                f"the split that CLMLF published for {kind} is not here",
                expected=str(path),
                found="no such file",
                next_step=f"`itin data fetch clmlf --dataset {kind}`, or name its file with --protocol clmlf:PATH",
            )
    clmlf.check(path, read_parts(path)[0], kind)
    return split_from_file(path, ids, allow_missing)


def _agreeing(samples: Any, kind: str) -> NDArray[np.int64]:
    """Return the rows whose text and image have the same label."""
    columns = ("text_label", "image_label")
    if kind == "mvsa-multiple" or not set(columns) <= set(samples) or samples[list(columns)].isna().all(axis=None):
        raise DataError(
            "the protocol agree is for MVSA-Single only: it keeps the pairs whose two labels agree",
            expected="one text_label and one image_label a pair, each by one annotator",
            found=f"the data set {kind or 'without a name'}",
            next_step="choose another protocol",
        )
    return np.flatnonzero((samples["text_label"] == samples["image_label"]).to_numpy())
