"""What readers of published data sets share: finding the folder, and making an entry of each row of its annotations."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ....errors import DataError
from ....tabular.annotations import json_array
from ....tabular.rows import Row, as_text, rows_of
from ....targets import Target
from ..classes import Labelling, clean, unknown_of
from ..reading import BadFile, read_bytes
from ..samples import DataSet, DataSetSource, Entry, Rejected, source_of

MAX_BYTES = 2**30
"""The largest annotation file that is read."""

Values = Mapping[str, Any]
"""A row of an annotation file: column -> value."""


class Place(NamedTuple):
    """Where a data set lies, and what to say where it does not."""

    markers: tuple[str, ...]
    """Paths below its folder, of which at least one is there."""
    layout: str
    """What the folder holds, in words."""
    how_to_get: str
    """The next step for who does not have it, up to and with `--root`."""


class Pair(NamedTuple):
    """What a row of an annotation file says; nothing has been checked yet."""

    id: str
    image: str
    """Path of the image below the data set's folder."""
    text: str
    label: str
    """As annotated; empty: unlabelled."""
    targets: Mapping[str, str] | None = None
    """The values of further targets, as annotated, by name."""


def find(place: Place, source: DataSetSource) -> Path:
    """Return a data set's folder: the root that is given, else `$ITIN_DATA/<kind>`.

    Raises:
        DataError: there is none, or it is another one.
    """
    kind, given = source.kind, source.root
    how_to_get = f"{place.how_to_get} (or put it at $ITIN_DATA/{kind})"
    if given is None:
        base = os.environ.get("ITIN_DATA")
        folder = Path(base).expanduser() / kind if base else None
        if folder is None or not folder.is_dir():
            searched = f"{folder} ($ITIN_DATA/{kind}), where there is no folder" if folder else "ITIN_DATA is not set"
            raise DataError(
                f"the folder of {kind} is not known: no --root was given",
                expected=f"{place.layout} at $ITIN_DATA/{kind}",
                found=searched,
                next_step=how_to_get,
            )
        given = str(folder)
    root = Path(given).expanduser().resolve()
    if _is_there(root, place.markers):
        return root
    next_step = how_to_get
    if root.is_dir():  # one level down or up may be the one meant
        near = [folder for folder in sorted(root.iterdir()) if _is_there(folder, place.markers)]
        near = near or [folder for folder in (root.parent,) if _is_there(folder, place.markers)]
        next_step = "use --root " + " or --root ".join(f"'{folder}'" for folder in near) if near else how_to_get
    raise DataError(
        f"{root} is not the folder of {kind}",
        expected=place.layout,
        found=listing(root) if root.is_dir() else "a file" if root.exists() else "no such folder",
        next_step=next_step,
    )


def listing(root: Path) -> str:
    """Return what a folder holds, in words."""
    names = sorted(path.name for path in root.iterdir())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return "a folder with " + ", ".join(names[:5]) + more if names else "an empty folder"


def first_there(root: Path, paths: Iterable[str]) -> str:
    """Return the first of some paths that is there below a folder, or the first of all."""
    paths = list(paths)
    return next((path for path in paths if _is_there(root, (path,))), paths[0])


def rows_in(path: Path, read: Callable[[bytes], Iterator[Row]] | str) -> list[Row]:
    """Return the rows of an annotation file.

    Args:
        path: the file.
        read: a function that reads its contents, or the suffix of `rows_of`.

    Raises:
        DataError: it is missing, too large, without a row, or not of this format.
        TransientError: it could not be read this time.
    """
    next_step = "get the data set's annotation files again"
    try:
        data = read_bytes(path, MAX_BYTES)
        rows = list(rows_of(path, data, read)[1] if isinstance(read, str) else read(data))
    except BadFile as error:
        raise DataError(f"{path} {error.reason}", expected="an annotation file", next_step=next_step) from error
    except ValueError as error:
        array = "a JSON array of objects" if read is json_array else "rows of annotations"
        raise DataError(f"{path} cannot be read", expected=array, found=str(error), next_step=next_step) from error
    if not rows:
        raise DataError(f"{path} has no rows", expected="a row for each pair", next_step=next_step)
    return rows


def read_published(
    source: DataSetSource,
    root: Path,
    files: Mapping[str, tuple[str | None, list[Row]]],
    pair_of: Callable[[str | None, int, Values], Pair | str],
    classes: tuple[str, ...],
    ordered: bool = False,
    targets: Sequence[Target] = (),
) -> DataSet:
    """Return a data set of its annotations: for each row an entry, a place among the rejected, or one left out by rule.

    A row is rejected if it is malformed, its id is on an earlier row too, its image's path leads out of the folder or
    its label is none of the classes. A value of a further target that is none of its classes is left out, and counted.

    Args:
        source: the reader's arguments; their `classes` come before those of the data set.
        root: the data set's folder.
        files: the annotation files: name -> part (None: no split of its own) and rows, in their order.
        pair_of: returns the pair of a row, given the part, the row's number in its file (from 1) and its values; or
            the reason why the data set's own rule leaves it out. A ValueError says why it cannot be used.
        classes: the data set's classes, in their order.
        ordered: whether they go from the least to the greatest.
        targets: the further targets, all of classes.

    Raises:
        DataError: no row can be used.
    """
    labels = Labelling(source.classes or classes)
    further = {target.name: Labelling(target.classes) for target in targets}
    entries: dict[str, Entry] = {}
    failed: list[tuple[str, str, str]] = []
    found: Counter[str] = Counter()
    strange: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for file, (part, rows) in files.items():
        for number, row in enumerate(rows, 1):
            id = ""
            try:
                if row.problem:
                    raise ValueError(row.problem)
                pair = pair_of(part, number, row.values)
                if isinstance(pair, str):
                    dropped[pair] += 1
                    continue
                id = _id(pair.id)
                if id in entries:
                    raise ValueError(f"id {id} is on an earlier row too")
                label = clean(pair.label)
                found.update([label] if label else [])
                entry = Entry(id, _below(root, pair.image), pair.text, labels.class_of(label), part=part)
                values, odd = _values(pair.targets or {}, further)
                entries[id] = entry._replace(targets=values)
                strange.update(odd)
            except ValueError as error:
                failed.append((id, f"{file}, {row.where}", str(error)))
    # A row of a kept id is named by its place.
    rejected = [Rejected(id if id and id not in entries else where, f"{where}: {why}") for id, where, why in failed]
    if not entries:
        raise DataError(
            f"no row of {' and '.join(files)} in {root} can be used",
            expected=f"rows as {source.kind} publishes them",
            found=f"{len(rejected)} bad row{'s' * (len(rejected) != 1)}; {rejected[0].reason}"
            if rejected
            else "rows that its rule leaves out",
            next_step="check that --dataset and --root belong together, or get the annotation files again",
        )
    name = source.name or source.kind
    return DataSet(
        name=name,
        root=root,
        entries=list(entries.values()),
        rejected=rejected,
        dropped=dict(dropped),
        classes=labels.classes,
        ordered=ordered,
        targets=tuple(targets),
        strange=dict(sorted(strange.items())),
        unknown=unknown_of(found, labels),
        source=source_of(source, root=root, name=name),
    )


def label_column(source: DataSetSource, columns: Mapping[str, tuple[str, ...]]) -> str:
    """Return the column that `--columns label=NAME` names, else the first.

    Args:
        source: the reader's arguments.
        columns: the classes of each column that can be the label.

    Raises:
        ValueError: it is none of them, or another than the label's name is given.
    """
    given = {"label": next(iter(columns)), **(source.columns or {})}
    if set(given) != {"label"} or given["label"] not in columns:
        raise ValueError(f"columns: {source.kind} takes label={' or label='.join(columns)}, got {source.columns}")
    return given["label"]


def targets_in(columns: Mapping[str, Target], values: Values) -> dict[str, str]:
    """Return the values of further targets in a row, by the target's name; empty where the column is missing."""
    return {target.name: str(values.get(column) or "") for column, target in columns.items()}


def _values(given: Mapping[str, str], further: Mapping[str, Labelling]) -> tuple[dict[str, str | float], list[str]]:
    """Return the values of further targets that are among their classes, and the others, such as "desire 'wealth'"."""
    values: dict[str, str | float] = {}
    odd = []
    for name, labels in further.items():
        try:
            if (value := labels.class_of(clean(given.get(name, "")))) is not None:
                values[name] = value
        except ValueError:
            odd.append(f"{name} {given[name][:40]!a}")
    return values, odd


def string(values: Values, column: str) -> str:
    """Return a value as text, a whole number in digits.

    Raises:
        ValueError: it is missing, of another type or not UTF-8.
    """
    if column not in values:
        raise ValueError(f"no {column}")
    value = values[column]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return as_text(value, column)


def _is_there(folder: Path, markers: Iterable[str]) -> bool:
    try:
        return any((folder / marker).exists() for marker in markers)
    except OSError:  # a folder without permission
        return False


def _id(id: str) -> str:
    id = id.strip()
    if not id or not id.isprintable():
        raise ValueError(f"the id {id!a} holds characters that cannot be printed" if id else "no id")
    return id


def _below(root: Path, image: str) -> Path:
    """Return the path of an image; refuse one that leads out of the data set's folder."""
    path = PurePosixPath(image)
    if not image.strip() or "\0" in image or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the image path {image!a} leads nowhere in the data set's folder")
    return root / path
