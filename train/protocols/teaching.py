"""Parts for several targets: which samples are drawn into parts, and which only teach."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import DataError
from ...targets import LABEL, UNKNOWN
from .draw import stratified_folds, stratified_share
from .duplicates import image_keys, text_keys
from .protocol import Protocol, Splitter, own_parts, samples_of
from .split import PARTS, Inner, Split, read_parts, shuffled

if TYPE_CHECKING:
    from ...cache import Table
    from ..features.features import Features


@dataclass(frozen=True, eq=False)
class TargetSplitter:
    """A protocol applied to samples with targets; can be sent to other processes.

    Parts are drawn from the samples with a label (in a data set without labels, with its first target), so that they
    are the same whatever is learnt. Validation and test part then keep those with a value for the first target. A
    sample without a label is never in them: it only trains, and not even that where its text without retweet prefixes
    and URLs, or its image, equals that of a sample of the validation or test part.

    A share of the training part is drawn last, of samples with and without a label apart. Inner folds are drawn from
    the samples with a label of what then trains, by the protocol's rule for duplicates; all rules hold for them too.
    """

    splitter: Splitter
    """The protocol applied to the samples that parts are drawn from."""
    ids: list[str]
    """The ids of all samples."""
    rows: NDArray[np.int64]
    """The rows of the samples that parts are drawn from among all, ascending."""
    known: dict[str, NDArray[np.bool_]]
    """Where each target has a value, (N,) by name."""
    taught: dict[str, NDArray[np.bool_]]
    """Where a head can learn each target, (N,) by name."""
    keys: NDArray[np.int64]
    """(2, N): equal numbers for equal texts and equal images, -1 for none."""
    held_out: NDArray[np.bool_]
    """(N,) True at a sample that only trains but has another part in `given`: it is left out."""
    given: dict[str, str] = field(default_factory=dict)
    """The parts that a file or the data set itself gives to samples that only train."""

    @classmethod
    def of(
        cls,
        protocol: Protocol,
        features: Features,
        table: Table,
        allow_missing: bool = False,
        parts: Mapping[str, str] | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> TargetSplitter:
        """Apply a protocol to the samples of a data set.

        Args:
            protocol: the protocol.
            features: the samples and their targets.
            table: the data set's table: `protocol.Splitter.of`.
            allow_missing: whether a file may leave more than a few samples without a part.
            parts: the part of each id, where the protocol fixes it and it has been recorded.
            origin: the description of these parts.

        Raises:
            DataError: the table lacks a column, or a file is missing or not the expected one.
        """
        strata = features.strata
        taught = {name: column.taught for name, column in features.columns.items()}
        rows = np.flatnonzero(strata != UNKNOWN)
        ids = [features.ids[row] for row in rows]
        rest = set(features.ids) - set(ids)
        if parts is not None:
            own = {sample: part for sample, part in parts.items() if sample not in rest}
            groups = Splitter.groups_for(protocol, ids, table)
            splitter = Splitter(protocol, ids, strata[rows], groups=groups, parts=own, origin=dict(origin or {}))
        else:
            splitter = Splitter.of(protocol, ids, strata[rows], table, allow_missing)
        if not rest:
            nothing = np.zeros(len(features), bool)
            return cls(splitter, features.ids, rows, features.known, taught, np.full((2, len(features)), -1), nothing)
        samples = samples_of(features.ids, table)
        keys = np.stack([_codes(text_keys(samples, "stripped")), _codes(image_keys(samples))])
        if parts is None:
            parts = own_parts(table) if protocol.kind == "own" else {}
            if protocol.kind == "file" and protocol.path is not None:
                parts = read_parts(protocol.path)[0]
        given = {sample: part for sample, part in parts.items() if sample in rest}
        held_out = np.array([given.get(sample, "train") != "train" for sample in features.ids])
        return cls(splitter, features.ids, rows, features.known, taught, keys, held_out, given)

    @property
    def protocol(self) -> Protocol:
        """The protocol."""
        return self.splitter.protocol

    @property
    def outside(self) -> list[str]:
        """The mismatches between the samples and the file that gives the parts, a line each."""
        return self.splitter.outside

    @property
    def parts(self) -> dict[str, str] | None:
        """The part of each id, where the protocol fixes it."""
        return None if self.splitter.parts is None else {**self.splitter.parts, **self.given}

    def case(
        self,
        seed: int,
        fold: int,
        targets: Sequence[str] = (LABEL,),
        share: float = 1.0,
        inner: Inner | None = None,
    ) -> tuple[Hashable, ...]:
        """Return what the parts depend on: equal cases, equal parts.

        Raises:
            ValueError: the protocol has no such fold.
        """
        drawn = seed if share < 1 or inner is not None else None
        return *self.splitter.case(seed, fold), tuple(targets), share, inner, drawn

    def split(
        self,
        seed: int = 0,
        fold: int = 0,
        targets: Sequence[str] = (LABEL,),
        share: float = 1.0,
        inner: Inner | None = None,
    ) -> Split:
        """Return the parts, as rows of all samples.

        Args:
            seed: the seed of the protocol's random choices, of a share of the training part and of inner folds.
            fold: which of the folds is the test part; the next one is the validation part.
            targets: what is learnt, the target that is scored first.
            share: the share of the training part that trains.
            inner: divide what trains once more: one of its folds is the validation part then, there is no test part,
                and no sample of the parts outside is in any.

        Raises:
            DataError: a part would be empty.
            ValueError: the protocol has no such fold.
        """
        drawn = self.splitter.split(seed, fold)
        parts = {part: self.rows[drawn.rows(part)] for part in PARTS}
        scored = self.known[targets[0]]
        taught = np.any([self.taught[name] for name in targets], axis=0)
        described = dict(drawn.description)
        apart = np.setdiff1d(np.flatnonzero(taught), self.rows)
        allowed = self._allowed(apart, np.concatenate([parts["val"], parts["test"]]))
        if share < 1:
            parts["train"] = stratified_share(self._shuffled(parts["train"], seed), self._strata, share)
            allowed = stratified_share(self._shuffled(allowed, seed), self._strata, share)
            described["train_share"] = share
        if inner is not None:
            parts = self._inner(parts["train"], seed, inner)
            allowed = self._allowed(allowed, parts["val"])
            described["inner"] = inner._asdict()
        if len(apart):
            parts["train"] = np.sort(np.concatenate([parts["train"], allowed]))
            described["only_train"] = {"used": len(allowed), "left_out": len(apart) - len(allowed)}
        kept = {part: rows[(taught if part == "train" else scored)[rows]] for part, rows in parts.items()}
        for part, rows in kept.items():
            if not len(rows) and (part != "test" or inner is None):
                within = "" if inner is None else f" of inner fold {inner.fold} of {inner.folds}"
                fewer = "" if inner is None else ", or fewer inner folds"
                raise DataError(
                    f"no sample of the {part} part{within} has a value for the target {targets[0]}",
                    expected="samples with a value in each of " + ", ".join(PARTS),
                    found=f"{len(parts[part])} samples without one",
                    next_step=f"choose another protocol or target{fewer}",
                )
        described["sizes"] = {part: len(rows) for part, rows in kept.items()}
        return Split(kept["train"], kept["val"], kept["test"], described, drawn.match)

    @property
    def _strata(self) -> NDArray[np.int64]:
        """(N,) the class of each sample that parts are drawn from; `UNKNOWN` for those that only train."""
        strata = np.full(len(self.held_out), UNKNOWN)
        strata[self.rows] = self.splitter.labels
        return strata

    def _shuffled(self, rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        return shuffled(self.ids, seed, rows)

    def _inner(self, rows: NDArray[np.int64], seed: int, inner: Inner) -> dict[str, NDArray[np.int64]]:
        """Return the parts of an inner fold of some samples that parts are drawn from."""
        groups = np.arange(len(self.held_out))
        if self.splitter.groups is not None:
            groups[self.rows] = self.splitter.groups
        fold_of = stratified_folds(self._shuffled(rows, seed), self._strata, groups, inner.folds)
        val = np.array([fold_of[row] == inner.fold for row in rows.tolist()], dtype=bool)
        return {"train": rows[~val], "val": rows[val], "test": rows[:0]}

    def _allowed(self, apart: NDArray[np.int64], closed: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return those of some samples without a label that may train beside a validation and test part."""
        leaks = [np.isin(own[apart], own[closed][own[closed] >= 0]) for own in self.keys]
        allowed: NDArray[np.int64] = apart[~np.any([self.held_out[apart], *leaks], axis=0)]
        return allowed


def _codes(keys: Sequence[str | None]) -> NDArray[np.int64]:
    """Return equal numbers for equal keys, -1 for None."""
    return np.asarray(pd.factorize(pd.Series(list(keys), dtype=object))[0], dtype=np.int64)
