"""The data set's own table beside its stores: ids, labels, texts, image sizes and digests, and rejected pairs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import disk
from ..errors import CacheError
from .format.schema import FORMAT
from .format.sealed_json import read_bytes, read_json, write_error, write_json


@dataclass(frozen=True)
class Table:
    """A data set as the last extraction read it."""

    folder: Path
    dataset: dict[str, Any]
    """The content of `dataset.json`: name, source, classes, how many rows the label rule dropped."""
    samples: pd.DataFrame
    """The usable pairs: id, label, text_label, image_label, text, image, image_sha256, text_sha256, width, ..."""
    rejected: pd.DataFrame
    """The unusable pairs, one per row: id, reason."""


def write_table(
    folder: Path, dataset: dict[str, Any], samples: Iterable[dict[str, Any]], rejected: Iterable[dict[str, Any]]
) -> None:
    """Write the three files of a table, each whole or not at all; `dataset.json` last."""
    disk.make_folder(folder, write_error)
    tables = {"samples.jsonl": _lines(samples), "quarantine.jsonl": _lines(rejected)}
    for name, data in tables.items():
        disk.replace(folder / name, data, write_error)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()}
    write_json(folder / "dataset.json", {"format": FORMAT, **dataset, "sha256": digests})


def read_table(folder: Path) -> Table:
    """Read the table of a data set in the cache.

    Raises:
        CacheError: nothing was extracted there, or the files are of another format.
    """
    if not (folder / "dataset.json").exists():
        raise CacheError(f"{folder} holds no data set", next_step="run `itin extract --dataset ...` first")
    dataset = read_json(folder / "dataset.json")
    samples = pd.DataFrame(read_lines(folder / "samples.jsonl"))
    rejected = pd.DataFrame(read_lines(folder / "quarantine.jsonl"), columns=["id", "reason"])
    return Table(folder, dataset, samples, rejected)


def options_of(dataset: Mapping[str, Any]) -> list[str]:
    """Return the options of `itin extract` that name a data set.

    Args:
        dataset: the content of `dataset.json`.
    """
    source = dataset.get("source") or {}
    words = ["--dataset", str(source.get("kind", "DATASET"))]
    for name in ("root", "table"):
        words += [f"--{name}", str(source[name])] if source.get(name) else []
    kind, own = source.get("kind"), source.get("name")
    words += ["--name", str(own)] if own and (kind == "folder" or own != kind) else []
    columns = ",".join(f"{name}={column}" for name, column in (source.get("columns") or {}).items())
    words += ["--columns", columns] if columns else []
    if source.get("classes"):
        named = io.StringIO()
        csv.writer(named, lineterminator="").writerow(source["classes"])
        words += ["--classes", named.getvalue()]
    words += ["--min-class-size", str(source["min_class_size"])] if source.get("min_class_size") else []
    words += ["--ordered"] if source.get("ordered") else []
    words += ["--score-range", ",".join(map(repr, source["score_range"]))] if source.get("score_range") else []
    words += ["--allow-outside"] if source.get("allow_outside") else []
    words += ["--aspect", str(source["aspect"])] if source.get("aspect") else []
    words += ["--labelled-only"] if source.get("labelled_only") else []
    return words


def damaged_tables(folder: Path) -> dict[Path, str]:
    """Return the damaged files of a data set's table, and what is wrong with each."""
    try:
        digests = read_json(folder / "dataset.json")["sha256"]
    except CacheError as error:
        return {folder / "dataset.json": error.what}
    found = {}
    for name, digest in digests.items():
        if not (folder / name).exists():
            found[folder / name] = f"{folder / name} is missing"
        elif hashlib.sha256(read_bytes(folder / name)).hexdigest() != digest:
            found[folder / name] = f"{folder / name} is damaged: its digest is not the one in dataset.json"
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a `.jsonl` file; none if the file does not exist.

    Raises:
        CacheError: a line that is not JSON.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    except ValueError as error:
        raise CacheError(
            f"cannot read {path}: {error}", next_step="remove the file and run `itin extract` again"
        ) from error


def _lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
