"""WebDataset: tar archives in which consecutive members with one key are a pair, such as img2dataset writes.

https://github.com/webdataset/webdataset, https://github.com/rom1504/img2dataset.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from ....errors import DataError, TransientError
from ..classes import Labelling, clean
from ..images import MAX_BYTES
from ..places.opening import Status, open_file, read_at, status
from ..places.patterns import files_of
from ..places.remote import named_place
from ..places.tar import Member, members
from ..reading import BadFile
from ..samples import DataSet, DataSetSource, Entry
from ..scan import MAX_TEXT_BYTES
from ..streams.columns import TEXTS
from ..streams.stream import Found, Known, Stream
from .decided import Decided, cell_string, checked_id, default_name
from .scores import SCORE, Scale

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff")
"""Endings of members that are images; a pair has one."""

NOTES = ("txt", "json", "cls")
"""Endings of members with the text, with text, label and score by name, and with the label."""

_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


def read(source: DataSetSource) -> DataSet:
    """Read the data set `webdataset`, for `open_dataset`."""
    if source.root is None:
        raise DataError(
            "the data set 'webdataset' needs its archives",
            expected="a folder of .tar files, or a pattern such as 'data/{00000..00099}.tar'",
            next_step="name them with --root",
        )
    columns = source.columns or {}
    _check_columns(columns)
    root = named_place(source.root)
    files = files_of(root, (".tar",))
    decided = Decided(source, root, source.name or default_name(_stem(root)), None)

    def pairs(known: Known) -> Iterator[Found]:
        return _all_pairs(files, columns, known)

    def finish(counts: Counter[str], cells: Sequence[Any]) -> tuple[DataSet, Labelling, Scale]:
        labels = decided.labelling(counts)
        scale = decided.scaling(list(cells), columns.get(SCORE, SCORE)) if cells or SCORE in decided.given else Scale()
        return decided.dataset([], labels, scale), labels, scale

    return replace(decided.empty, stream=Stream(tuple(files), 0, pairs, finish))


def archive_pairs(files: Sequence[Path], columns: Mapping[str, str]) -> Iterator[Found]:
    """Return the pairs of archives in order, each with its image; labels and scores are not looked at.

    Args:
        files: the archives.
        columns: the name of the text in .json, as `text`.
    """
    _check_columns(columns)
    return _all_pairs(files, {**columns, "label": "", SCORE: ""}, lambda *_: None)


def _check_columns(columns: Mapping[str, str]) -> None:
    if unknown := sorted(set(columns) - {"text", "label", SCORE}):
        raise ValueError(
            f"{', '.join(unknown)} cannot be named: keys are the ids; name text, label or {SCORE} in .json"
        )


def _all_pairs(files: Sequence[Path], columns: Mapping[str, str], known: Known) -> Iterator[Found]:
    for path in files:
        try:
            yield from _pairs(path, columns, known)
        except BadFile as error:
            yield Found(path.name, path.name, problem=error.reason)
        except TransientError as error:
            yield Found(path.name, path.name, unread=error.what)


def _stem(root: Path) -> Path:
    """Return what a data set is named after: the folder of a pattern or an archive."""
    return root if root.is_dir() else root.parent / f"{root.parent.name}-{root.name.removesuffix('.tar')}"


@dataclass
class _Pair:
    """The members with one key."""

    key: str
    image: Member | None = None
    data: bytes | None = None
    notes: dict[str, bytes] = field(default_factory=dict)
    problem: str = ""


def _pairs(path: Path, columns: Mapping[str, str], known: Known) -> Iterator[Found]:
    """Yield the pairs of one archive, front to back; whatever is damaged costs the pairs that it belongs to."""
    state, file = status(path), open_file(path)
    start = read_at(file, 0, 8)
    if packed := next((name for sign, name in _PACKED.items() if start.startswith(sign)), None):
        raise BadFile(f"is compressed with {packed}: unpack it, plain .tar files alone are read")
    pair: _Pair | None = None
    damage: Member | None = None
    for member in members(file, state.size):
        if not member.name:
            if damage is not None:
                yield _at(path, damage)
            damage = member
            continue
        key, ending = _split(member.name)
        if pair is None or key != pair.key:
            if pair is not None:
                found = _found(path, state, pair, columns, known, damage)
                damage = None if found.problem and damage and damage.problem in found.problem else damage
                yield found
            pair = None
            if not key or ending not in (*IMAGES, *NOTES):
                continue
            pair = _Pair(key)
        _take(file, path, state, pair, member, ending, known)
    if pair is not None:
        found = _found(path, state, pair, columns, known, damage)
        damage = None if found.problem and damage and damage.problem in found.problem else damage
        yield found
    if damage is not None:
        yield _at(path, damage)


def _at(path: Path, damage: Member) -> Found:
    return Found(path.name, f"{path.name}, byte {damage.offset}", problem=damage.problem)


def _split(name: str) -> tuple[str, str]:
    """Return key and ending: what stands before and after the first point of the last part of a member's name."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    hidden = not stem or (stem.startswith("__") and stem.endswith("__"))
    return ("" if hidden else f"{folder}{slash}{stem}"), ending.lower()


def _take(file: BinaryIO, path: Path, state: Status, pair: _Pair, member: Member, ending: str, known: Known) -> None:
    """Add a member to its pair; an image is read unless it is known."""
    if ending not in (*IMAGES, *NOTES) or (ending in IMAGES and pair.image is not None):
        return
    limit = MAX_BYTES if ending in IMAGES else MAX_TEXT_BYTES
    problem = member.problem
    if member.name.startswith("/") or ".." in member.name.split("/"):
        problem = "leads out of the archive"
    elif member.size > limit and not problem:
        problem = f"is too large: {member.size} bytes, at most {limit} are read"
    if ending in IMAGES:
        pair.image = member
    if problem:
        pair.problem = pair.problem or f"member {member.name!a} {problem}"
    elif ending in NOTES:
        pair.notes[ending] = read_at(file, member.offset, member.size)
    elif known(pair.key, path, _place(member), state) is None:
        pair.data = read_at(file, member.offset, member.size)


def _place(member: Member) -> dict[str, Any]:
    return {"member": member.name, "at": member.offset, "bytes": member.size}


def _found(
    path: Path, state: Status, pair: _Pair, columns: Mapping[str, str], known: Known, damage: Member | None
) -> Found:
    """Return a pair whose members have all been met."""
    found = Found(path.name, ascii(pair.key)[1:-1] or path.name, status=state, data=pair.data)
    try:
        id = checked_id(pair.key)
        found = found._replace(id=id)
        if pair.problem:
            raise ValueError(pair.problem)
        if pair.image is None or not pair.notes:
            lacking = "no image" if pair.image is None else "no .txt or .json"
            raise ValueError(damage.problem if damage is not None else f"{lacking} beside it in the archive")
        values = _json(pair.notes["json"]) if "json" in pair.notes else {}
        own = pair.notes.get("cls") if "label" not in columns else None
        label = clean(own.decode() if own is not None else cell_string(values, "label", columns.get("label", "label")))
        score = values.get(columns.get(SCORE, SCORE))
        score = score if score is None or isinstance(score, str | int | float | bool) else str(score)[:80]
        found = found._replace(label=label, score=score)
        within = _place(pair.image)
        entry = Entry(id, path, _text(pair.notes, values, columns), None, within=within)
        same = known(id, path, within, state) if pair.data is None else None
        return found._replace(entry=entry, known=same)
    except UnicodeDecodeError as error:
        return found._replace(problem=f"a text is not UTF-8: byte {error.start}")
    except ValueError as error:
        return found._replace(problem=str(error))


def _text(notes: Mapping[str, bytes], values: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    if "txt" in notes and "text" not in columns:
        return notes["txt"].decode("utf-8-sig")
    name = columns.get("text") or next((one for one in TEXTS if one in values), TEXTS[0])
    return cell_string(values, "text", name)


def _json(data: bytes) -> dict[str, Any]:
    try:
        values = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("its .json is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"its .json is malformed: {error.msg} at character {error.pos}") from error
    if not isinstance(values, dict):
        raise ValueError(f"its .json is no object but of type {type(values).__name__}")
    return values
