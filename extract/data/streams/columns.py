"""Which column of a table in Parquet or Arrow holds what, as it is named or as its type tells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import DataError
from ..sets.scores import SCORE

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("id", "image", "text", "label", SCORE)

TEXTS = ("text", "caption", "sentence")
"""Columns that are taken for the text where none is named, in this order."""


@dataclass(frozen=True)
class Columns:
    """Which column of a table is what."""

    id: str | None
    """None: the ids are the rows' numbers."""
    image: str
    """The bytes of images; empty where there are none."""
    path: str
    """The paths of images whose bytes are not in the table; empty where there are none."""
    text: str
    label: str | None
    score: str | None
    names: tuple[str, ...] = ()
    """The names of the classes where labels are their numbers."""

    @property
    def light(self) -> list[str]:
        """The columns without the bytes of images."""
        return [one for one in (self.id, self.text, self.label, self.score, self.path) if one]


def columns_of(
    schema: pa.Schema, given: Mapping[str, str], table: Path, classes: Mapping[str, tuple[str, ...]]
) -> Columns:
    """Return the columns of a table, named or guessed from names and types.

    Args:
        schema: its columns.
        given: its names for some of `COLUMNS`.
        table: its path, for messages.
        classes: the class names of columns that hold labels as numbers, where they are known.

    Raises:
        DataError: a column that is named is not there, or image or text cannot be told.
    """
    import pyarrow as pa

    types = {field.name: field.type for field in schema}
    classes = classes or _class_names(schema)

    def fault(what: str) -> DataError:
        return DataError(
            f"{table} {what}",
            expected="a column with images (bytes, or paths), one with texts, and, where known, id, label and score",
            found=", ".join(f"{name!r} ({str(kind)[:40]})" for name, kind in types.items()) or "no column",
            next_step="say what they are called, for example --columns image=photo,text=caption",
        )

    for name in given.values():
        if name not in types:
            raise fault(f"has no column {name!r}")

    def is_image(kind: pa.DataType) -> bool:
        held = {field.name for field in kind} if pa.types.is_struct(kind) else set()
        return "bytes" in held or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    taken = {*given.values(), *COLUMNS} - {"image", "text"}

    def one_of(role: str, names: Iterable[str], fits: Callable[[Any], bool]) -> str:
        known = next((name for name in names if name in types), None)
        found = [name for name, kind in types.items() if fits(kind) and name not in taken]
        if role in given or known or len(found) == 1:
            return given.get(role) or known or found[0]
        raise fault(f"has no column {role!r}" if not found else f"has several columns that may be the {role}")

    image = one_of("image", ("image",), is_image)
    text = one_of("text", TEXTS, is_text)
    guessed = next(iter(classes), None) if len(classes) == 1 else None
    label = given.get("label") or ("label" if "label" in types else guessed)
    held, path = image, ""
    if pa.types.is_struct(types[image]):
        path = f"{image}.path" if "path" in {field.name for field in types[image]} else ""
        held = f"{image}.bytes"
    elif is_text(types[image]):
        held, path = "", image
    if held and not is_image(types[image]):
        raise fault(f"has no images in the column {image!r}")
    own = given.get("id") or ("id" if "id" in types else None)
    score = given.get(SCORE) or (SCORE if SCORE in types and SCORE not in given.values() else None)
    return Columns(own, held, path, text, label, score, classes.get(label or "", ()))


def _class_names(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """Return the class names of the columns that the library `datasets` recorded as labels."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {
            name: tuple(map(str, feature["names"]))
            for name, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
        }
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
