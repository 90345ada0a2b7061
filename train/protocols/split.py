"""Splits: the training, validation and test part of a data set. No torch, and no disk but a split's own table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...tabular.matching import MOST_LOST, Match, match
from ...tabular.rows import Row, rows_of

PARTS = ("train", "val", "test")

PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
"""The display names of the parts."""

SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl")
"""The endings of tables of id and part; `.txt` is read as `.tsv`."""

ALIASES = {
    **{part: part for part in PARTS},
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
"""The names of the parts in tables, in upper or lower case."""


class Inner(NamedTuple):
    """One of the folds that a training part is divided into, to choose among configurations without its other parts."""

    fold: int
    """The fold that is the validation part, from 0; the others train."""
    folds: int


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of each part, ascending; no row in two parts, none of the parts empty but the test part of an `Inner`
    one."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    description: dict[str, Any]
    """The origin of the split, for `config.json`."""
    match: Match = field(default_factory=Match)
    """The match between the samples and the ids of a table, where the split comes from one."""

    def rows(self, part: str) -> NDArray[np.int64]:
        """Return the rows of `train`, `val` or `test`."""
        if part not in PARTS:
            raise ValueError(f"part: expected one of {', '.join(PARTS)}, got {part!r}")
        rows: NDArray[np.int64] = getattr(self, part)
        return rows

    @property
    def outside(self) -> list[str]:
        """The mismatches between the samples and the table, and their likely cause, a line each."""
        return _outside(self.match)

    def pairs(self, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Yield id and part of each sample that is in a part, in the order of `ids`."""
        part_of = {int(row): part for part in PARTS for row in self.rows(part)}
        for row, sample in enumerate(ids):
            if row in part_of:
                yield sample, part_of[row]


def random_split(ids: Sequence[str], seed: int) -> Split:
    """Return a random 8:1:1 split.

    It depends on the set of ids and the seed alone: not on the order of the ids, nor on the version of NumPy, whose
    `RandomState` keeps its stream forever. Validation and test part have a tenth each, rounded down, but at least one.

    Args:
        ids: the ids of all labelled samples, each once.
        seed: from 0 to 2**32 - 1.

    Raises:
        DataError: fewer than three samples.
    """
    n = len(ids)
    if n < len(PARTS):
        raise DataError(
            "too few samples to split into training, validation and test part",
            expected="at least 3 labelled samples",
            found=str(n),
            next_step="extract more samples",
        )
    order = shuffled(ids, seed)
    _, tenth, _ = part_sizes(n, (8, 1, 1))
    test, val, train = np.split(order, [tenth, 2 * tenth])
    description = {"kind": "random", "ratio": "8:1:1", "seed": seed}
    return Split(np.sort(train), np.sort(val), np.sort(test), _with_sizes(description, train, val, test))


def shuffled(ids: Sequence[str], seed: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Return rows (by default all) in a random order that depends on their ids and the seed alone.

    The stream of NumPy's `RandomState` is the same forever.
    """
    members = range(len(ids)) if rows is None else rows.tolist()
    by_id = np.array(sorted(members, key=lambda row: ids[row]), dtype=np.int64)
    return by_id[np.random.RandomState(seed).permutation(len(by_id))]


def part_sizes(n: int, ratio: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the sizes of training, validation and test part of n samples.

    8:1:1 rounds validation and test part down, at least to 1, as `random_split` always has; other ratios round the
    training and the validation part down: 2,592 by 6:2:2 are 1555, 518 and 519.
    """
    train, val, test = ratio
    if ratio == (8, 1, 1):
        tenth = max(1, n // 10)
        return n - 2 * tenth, tenth, tenth
    whole = train + val + test
    first, second = max(1, n * train // whole), max(1, n * val // whole)
    return first, second, n - first - second


def split_from_parts(
    ids: Sequence[str],
    part_of: Mapping[str, str],
    description: Mapping[str, Any],
    *,
    what: str = "the split",
    next_step: str = "check that the split belongs to this data set and that its samples are extracted",
) -> Split:
    """Return the split that a mapping from id to part gives; samples without a part stay out.

    Args:
        ids: the ids of all labelled samples, each once.
        part_of: the part of each id.
        description: how the split came about.
        what: what gave the parts, and `next_step` what to do about it, for the message on an empty part.
        next_step: see `what`.

    Raises:
        DataError: a part without a sample.
    """
    met = match(ids, part_of)
    rows: dict[str, list[int]] = {part: [] for part in PARTS}
    for row, sample in enumerate(ids):
        if sample in part_of:
            rows[part_of[sample]].append(row)
    for part, members in rows.items():
        if not members:
            raise DataError(
                f"{what} leaves the {part} part empty",
                expected="samples of the data set in each of " + ", ".join(PARTS),
                found="; ".join(
                    [", ".join(f"{len(members)} in {part}" for part, members in rows.items()), *_outside(met)]
                ),
                next_step=next_step,
            )
    train, val, test = (np.array(rows[part], dtype=np.int64) for part in PARTS)
    outside = {
        "not_in_split": len(ids) - len(train) - len(val) - len(test),
        "not_in_features": len(met.theirs),
    }
    return Split(train, val, test, _with_sizes({**description, **outside}, train, val, test), met)


def split_from_file(path: Path, ids: Sequence[str], allow_missing: bool = False) -> Split:
    """Return the split that a table gives.

    Args:
        path: `.csv`, `.tsv` (or `.txt`, tabs) or `.jsonl`, with the columns `id` and `part` (or `split`); `ALIASES`
            lists the parts' names. Further columns are left alone.
        ids: the ids of all labelled samples. Samples that the table does not name stay out; the description counts
            them, and the ids of the table that are not among the samples.
        allow_missing: whether more than `MOST_LOST` of the samples may stay out.

    Raises:
        DataError: the file cannot be read, lacks a column, names an unknown part, puts an id into two parts, leaves a
            part empty or leaves out many samples.
    """
    part_of, data = read_parts(path)
    description = {"kind": "file", "file": str(path.resolve()), "sha256": hashlib.sha256(data).hexdigest()}
    split = split_from_parts(ids, part_of, description, what=f"the split {path}")
    if split.match.loses_many and not allow_missing:
        raise DataError(
            f"{path} gives no part to {len(split.match.ours)} of {len(ids)} labelled pairs with features",
            expected=f"a part for at least {1 - MOST_LOST:.0%} of them",
            found="; ".join(split.outside),
            next_step="fix the ids in the table, or leave these pairs out with --allow-missing",
        )
    return split


def read_parts(path: Path) -> tuple[dict[str, str], bytes]:
    """Return the part of each id that a table names, and the table's bytes.

    Raises:
        DataError: as in `split_from_file`, which describes the table.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"the split {path} is no table that can be read",
            expected=f"a file ending in {', '.join(SUFFIXES)}",
            found=path.suffix or "no ending",
            next_step="rename or convert the file",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read the split {path}: {error.strerror or error}", next_step="name another file with --split"
        ) from error
    part_of: dict[str, str] = {}
    for row, sample, name in _records(path, data):
        part = ALIASES.get(name.strip().lower())
        if part is None:
            raise DataError(
                f"{path}, {row.where}: unknown part",
                expected=", ".join(ALIASES),
                found=repr(name),
                next_step="fix the table",
            )
        if part_of.setdefault(sample, part) != part:
            raise DataError(
                f"{path}, {row.where}: id {sample!r} is in two parts",
                expected="each id in one part",
                found=f"{part_of[sample]} and {part}",
                next_step="fix the table",
            )
    return part_of, data


def _records(path: Path, data: bytes) -> Iterator[tuple[Row, str, str]]:
    """Yield each row, its id and the part's name as written."""
    for row in rows_of(path, data)[1]:
        if row.problem:
            raise DataError(f"{path}, {row.where}: {row.problem}", next_step="fix the table")
        found = row.values
        id, part = found.get("id"), found.get("part" if "part" in found else "split")
        if id is None or part is None:
            raise DataError(
                f"{path}, {row.where}: no id or no part",
                expected="the columns id and part (or split)",
                found=", ".join(found) or "no column",
                next_step="name the columns so in the table's first line, or in each object of JSONL",
            )
        sample, name = str(id).strip(), str(part)
        try:
            (sample + name).encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{path}, {row.where}: id or part is not UTF-8", next_step="save the table again as UTF-8"
            ) from None
        yield row, sample, name


def _outside(met: Match) -> list[str]:
    return met.lines("pairs in no part", "ids of the split that are no labelled pair with features here")


def _with_sizes(description: Mapping[str, Any], *parts: NDArray[np.int64]) -> dict[str, Any]:
    return {**description, "sizes": {name: len(rows) for name, rows in zip(PARTS, parts, strict=True)}}
