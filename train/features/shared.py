"""Features in a folder of plain arrays, which several processes map: memory holds them once, not once per process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ...targets import Target
from .features import Features, TargetColumn
from .named import NamedRegions

_ARRAYS = ("labels", "regions", "counts", "tokens", "offsets", "context")
_MAYBE = ("token_ids", "scene")
"""The arrays that features may do without."""
_NAMED = ("objects", "attributes", "chances")


def save_features(features: Features, folder: Path) -> None:
    """Write features into a new folder."""
    folder.mkdir(parents=True)
    for name in _ARRAYS:
        np.save(folder / f"{name}.npy", getattr(features, name))
    for number, column in enumerate(features.further.values()):
        np.save(folder / f"target{number}.npy", column.values)
        if column.shares is not None:
            np.save(folder / f"shares{number}.npy", column.shares)
    rest = {
        "further": [column.target.to_dict() for column in features.further.values()],
        "texts": features.texts,
        "ids": features.ids,
        "dataset": features.dataset,
        "classes": features.classes,
        "ordered": features.ordered,
        "labelled": features.labelled,
        "missing": features.missing,
        "lexicons": list(features.lexicons),
        "sentence_ends": features.sentence_ends,
        "named": None if features.named is None else features.named.names,
    }
    if features.named is not None:
        for name in _NAMED:
            np.save(folder / f"{name}.npy", getattr(features.named, name))
    for name, values in features.lexicons.items():
        np.save(folder / f"lexicon-{name}.npy", values)
    for name in _MAYBE:
        if getattr(features, name) is not None:
            np.save(folder / f"{name}.npy", getattr(features, name))
    (folder / "features.json").write_text(json.dumps(rest), encoding="utf-8")


def open_features(folder: Path) -> Features:
    """Return the features of a folder, mapped: the processes that open it share the memory they read from."""
    arrays: dict[str, Any] = {name: _mapped(folder / f"{name}.npy") for name in _ARRAYS}
    rest = json.loads((folder / "features.json").read_text(encoding="utf-8"))
    rest["lexicons"] = {name: _mapped(folder / f"lexicon-{name}.npy") for name in rest["lexicons"]}
    rest |= {name: _mapped(path) for name in _MAYBE if (path := folder / f"{name}.npy").exists()}
    rest["sentence_ends"] = tuple(rest["sentence_ends"])
    if rest["named"] is not None:
        named = {name: _mapped(folder / f"{name}.npy") for name in _NAMED}
        rest["named"] = NamedRegions(**named, names=rest["named"])
    targets = [Target.from_dict(record) for record in rest.pop("further")]
    further = {
        target.name: TargetColumn(target, _mapped(folder / f"target{number}.npy"), _shares(folder, number))
        for number, target in enumerate(targets)
    }
    return Features(**{**arrays, **rest, "classes": tuple(rest["classes"]), "further": further})


def _shares(folder: Path, number: int) -> np.ndarray | None:
    path = folder / f"shares{number}.npy"
    return _mapped(path) if path.exists() else None


def _mapped(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="c")  # as if writeable, which torch asks for; nothing is written
    except ValueError:  # an empty array cannot be mapped
        array = np.load(path)
    return array
