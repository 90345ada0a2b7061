"""The data set's own table beside its stores: ids, labels, texts, image sizes and digests, and rejected pairs."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import disk
from ..errors import CacheError
from ..targets import targets_of
from .format.schema import FORMAT
from .format.sealed_json import described, digest_of, read_json, write_error, write_json

TABLES = ("samples.jsonl", "quarantine.jsonl")
"""The files of which `dataset.json` has the digests."""


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
    folder: Path,
    dataset: dict[str, Any] | Callable[[], dict[str, Any]],
    samples: Iterable[dict[str, Any]],
    rejected: Iterable[dict[str, Any]],
) -> None:
    """Write the three files of a table, each whole or not at all; `dataset.json` last.

    Args:
        folder: the data set's folder in the cache.
        dataset: the content of `dataset.json`, or a function that returns it once all rows have been taken.
        samples: the usable pairs; they are written as they come.
        rejected: the others, taken after them.
    """
    disk.make_folder(folder, write_error)
    digests = {
        name: _put_lines(folder / name, rows)
        for name, rows in (("samples.jsonl", samples), ("quarantine.jsonl", rejected))
    }
    record = dataset() if callable(dataset) else dataset
    write_json(folder / "dataset.json", {"format": FORMAT, **record, "sha256": digests})


def _put_lines(path: Path, rows: Iterable[dict[str, Any]]) -> str:
    """Write a row a line, holding few of them, and return the file's digest; a file that holds them is left alone."""
    digest = hashlib.sha256()

    def lines() -> Iterator[bytes]:
        for row in rows:
            line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
            digest.update(line)
            yield line

    left, same = lines(), 0
    line: bytes | None = None
    with path.open("rb") if path.is_file() else io.BytesIO() as old:
        for line in left:
            if old.read(len(line)) != line:
                break
            same += len(line)
        else:
            line = None
            if not old.read(1) and path.is_file():
                return digest.hexdigest()
    with disk.replacing(path, write_error) as temporary, temporary.open("wb") as new:
        if same:
            with path.open("rb") as old:
                for at in range(0, same, 2**20):
                    new.write(old.read(min(2**20, same - at)))
        new.writelines(left if line is None else itertools.chain([line], left))
    return digest.hexdigest()


def read_table(folder: Path) -> Table:
    """Read the table of a data set in the cache.

    Raises:
        CacheError: nothing was extracted there, or a file is missing, damaged or of another format.
    """
    if not (folder / "dataset.json").exists():
        raise CacheError(f"{folder} holds no data set", next_step="run `itin extract --dataset ...` first")
    dataset = read_json(folder / "dataset.json")
    with described(folder / "dataset.json"):
        _ = targets_of(dataset), options_of(dataset)
    for error in _differences(folder, dataset).values():
        raise error
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


def damaged_tables(folder: Path) -> dict[Path, CacheError]:
    """Return the damaged files of a data set's table, and what is wrong with each."""
    try:
        return _differences(folder, read_json(folder / "dataset.json"))
    except CacheError as error:
        return {folder / "dataset.json": error}


_AGAIN = "run the same `itin extract` again: it writes the table anew"


def _differences(folder: Path, dataset: Mapping[str, Any]) -> dict[Path, CacheError]:
    """Return the files that are not those of which `dataset.json` has the digests, and what is wrong with each."""
    digests = dataset.get("sha256")
    if not isinstance(digests, dict) or digests.keys() != set(TABLES):
        what = f"{folder / 'dataset.json'} lacks the digests of {' and '.join(TABLES)}"
        return {folder / "dataset.json": CacheError(what, next_step=_AGAIN)}
    found: dict[Path, CacheError] = {}
    for name, digest in digests.items():
        path = folder / name
        if not path.exists():
            found[path] = CacheError(f"{path} is missing", next_step=_AGAIN)
            continue
        try:
            if digest_of(path) != digest:
                what = f"{path} is damaged: its digest is not the one in dataset.json"
                found[path] = CacheError(what, next_step=_AGAIN)
        except CacheError as error:
            found[path] = error
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
    except (ValueError, RecursionError) as error:
        raise CacheError(
            f"cannot read {path}: {error}", next_step="remove the file and run `itin extract` again"
        ) from error
