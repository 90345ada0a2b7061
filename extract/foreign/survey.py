"""The first pass over a source: which samples it has features of, how many and how long, and what cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...cache.format.schema import KINDS
from ...errors import DataError
from ...tabular.matching import Match, match
from ..data.samples import Rejected
from .boxes import are_shares, other_image
from .pairing import Pairing, input_of
from .record import Record


@dataclass
class SourceContents:
    """The contents of a source."""

    kind: str
    rows: dict[str, str] = field(default_factory=dict)
    """Id -> digest of the data set's image or text, in the order of the source."""
    digests: dict[str, str] = field(default_factory=dict)
    """Id -> digest of its features in the source."""
    largest: int = 0
    """The most regions of an image."""
    dim: int = 0
    """The length of a vector."""
    digest: str = ""
    """SHA-256 of all that was read."""
    records: int = 0
    shares: bool = False
    """Whether there are boxes between 0 and 1."""
    half: bool = True
    """Whether all features are float16."""
    lacks: set[str] = field(default_factory=set)
    """Arrays that were filled in, for some samples at least."""
    match: Match = field(default_factory=Match)
    rejected: list[Rejected] = field(default_factory=list)


def survey(found: Iterable[Record | Rejected], kind: str, pairing: Pairing) -> SourceContents:
    """Read all of a source once.

    Args:
        found: its samples.
        kind: the kind of feature.
        pairing: which samples of the data set its names mean.
    """
    contents = SourceContents(kind)
    digest = hashlib.sha256()
    unknown: list[str] = []
    for record in found:
        contents.records += 1
        if isinstance(record, Rejected):
            contents.rejected.append(record)
            continue
        digest.update(f"{record.id} {record.sha256}\n".encode(errors="surrogateescape"))
        ids = pairing(record.id)
        if not ids:
            unknown.append(record.id)
        for id in ids:
            sample = pairing.samples[id]
            reason = "occurs twice: the first is taken" if id in contents.rows else _reason(record, sample, contents)
            if reason:
                contents.rejected.append(Rejected(id, reason))
            else:
                _take(record, id, sample, contents)
    contents.digest = digest.hexdigest()
    contents.match = match(pairing.samples, [*contents.rows, *unknown])
    return contents


def check_used(contents: SourceContents, source: object, name: str) -> None:
    """Raise DataError where nothing in a source belongs to the data set of that name."""
    if contents.rows and contents.dim:
        return
    if contents.rejected and len(contents.rejected) == contents.records:
        raise DataError(
            f"no features in {source} can be read",
            expected="files of the form that --from names, or that their endings say",
            found="; ".join(reasons(contents.rejected)),
            next_step="fix the files, or name another form with --from",
        )
    raise DataError(
        f"no features in {source} belong to the data set {name}",
        expected="file names or image ids that are ids of the data set",
        found="; ".join([*reasons(contents.rejected), *outside(contents.match, contents.kind)]) or "nothing",
        next_step="fix the ids, or name the data set that they were made from with --dataset",
    )


def outside(met: Match, kind: str) -> list[str]:
    """Return what only the data set or only the source has, and the likely cause, a line each."""
    inputs = {"image_sha256": "images", "text_sha256": "texts"}[input_of(kind)]
    return met.lines("pairs without features", f"{inputs} of no pair of the data set")


def reasons(rejected: list[Rejected]) -> list[str]:
    """Return the samples that cannot be used, for a message."""
    listed = [*(f"{row.id}: {row.reason}" for row in rejected[:2]), *(["and so on"] if len(rejected) > 2 else [])]
    return [f"cannot be used: {len(rejected)} ({', '.join(listed)})"] if rejected else []


def _reason(record: Record, sample: Mapping[Any, Any], contents: SourceContents) -> str | None:
    """Return why features cannot be those of a sample; None if they can."""
    column = input_of(contents.kind)
    if record.input and record.input != sample[column]:
        what = column.removesuffix("_sha256")
        return f"was made from another {what}: SHA-256 {record.input[:12]}, the data set's {sample[column][:12]}"
    if KINDS[contents.kind][0].axis == "region" and (reason := other_image(record, sample)):
        return reason
    length = record.arrays[contents.kind].shape[-1]
    if contents.dim and length and length != contents.dim:
        return f"features of {length} values, those before have {contents.dim}"
    return None


def _take(record: Record, id: str, sample: Mapping[Any, Any], contents: SourceContents) -> None:
    features = record.arrays[contents.kind]
    contents.dim = contents.dim or features.shape[-1]
    contents.half &= record.half
    contents.lacks |= set(record.lacks)
    if KINDS[contents.kind][0].axis == "region":
        contents.largest = max(contents.largest, len(features))
        contents.shares |= are_shares(record)
    contents.rows[id] = sample[input_of(contents.kind)]
    contents.digests[id] = record.sha256
