"""Which samples of the data set a source's names mean: ids, paths of images, or texts."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from ...cache import Table
from ...cache.format.schema import KINDS

BY = ("id", "text")
"""What the names of a source may be."""


def input_of(kind: str) -> str:
    """Return the column of the data set's table with the digests of what features of a kind are made from."""
    return "text_sha256" if KINDS[kind][0].axis == "token" else "image_sha256"


class Pairing:
    """The samples of a data set by the names that sources give them.

    A name that is an id is that sample. For features of images a name may also be the path of an image below the data
    set's folder, or its file's name, with or without its ending: it means all samples with that image.

    Args:
        table: the data set.
        kind: the kind of feature.
        by: one of `BY`.
    """

    def __init__(self, table: Table, kind: str, by: str) -> None:
        self.samples = {str(sample["id"]): sample for sample in table.samples.to_dict("records")}
        self._others: dict[str, list[str]] = {}
        self._ambiguous: set[str] = set()
        if by == "text":
            for id, sample in self.samples.items():
                self._add(str(sample["text"]), id, sample["text_sha256"], other=True)
        elif input_of(kind) == "image_sha256":
            root = table.dataset.get("root") or (table.dataset.get("source") or {}).get("root")
            for id, sample in self.samples.items():
                for name in _names(str(sample.get("image", "")), root):
                    self._add(name, id, sample["image_sha256"])
        self._by_text = by == "text"

    def __call__(self, name: str) -> list[str]:
        """Return the ids of the samples that a name means; none for a name that means none, or several."""
        if self._by_text:
            name = name.strip()
        elif name in self.samples:
            return [name]
        return [] if name in self._ambiguous else self._others.get(name, [])

    def _add(self, name: str, id: str, digest: str, other: bool = False) -> None:
        there = self._others.setdefault(name, [])
        if there and (other or self._digest(there[0]) != digest):
            self._ambiguous.add(name)
        there.append(id)

    def _digest(self, id: str) -> Any:
        return self.samples[id]["image_sha256"]


def _names(image: str, root: Any) -> set[str]:
    """Return the names of an image: its file's, and its path below the data set's folder, with and without ending."""
    path = PurePath(image)
    names = {path.name} - {""}
    if root and path.is_relative_to(str(root)):
        names.add(path.relative_to(str(root)).as_posix())
    return names | {name.removesuffix(path.suffix) for name in names}
