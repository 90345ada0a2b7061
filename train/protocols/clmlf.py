"""The fixed split of MVSA that the CLMLF paper published: its files, its digests, its download.

Li, Xu, Zhu, Zhao: CLMLF: A Contrastive Learning and Multi-Layer Fusion Method for Multimodal Sentiment Detection,
Findings of NAACL 2022; https://github.com/Link-Li/CLMLF.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import DataError
from ...paths import splits_root
from .split import PARTS

BASE = "https://raw.githubusercontent.com/Link-Li/CLMLF/2402ef6211f2f67fe73754bbfa2d1279b5400772/dataset/data"
FILES = {"train": "train.json", "val": "dev.json", "test": "test.json"}
SECONDS = 30
MAX_BYTES = 16 * 2**20


@dataclass(frozen=True)
class PublishedSplit:
    """The published split of one data set."""

    folder: str
    """The folder of the files below `BASE`."""
    sizes: dict[str, int]
    files: dict[str, str]
    """SHA-256 of each part's file, as published."""
    digest: str
    """`digest` of the whole split."""


SPLITS = {
    "mvsa-single": PublishedSplit(
        folder="MVSA-single/10-flod-1",
        sizes={"train": 3611, "val": 450, "test": 450},
        files={
            "train": "c022f1ec7801de493d6dfcdaf045fbab0d671af451ce655d85c99e2d5f23c0d9",
            "val": "7e833786abdf6991714dbce4d7e4f84dbff1b357b72fa05d2b0d59d6faf96b59",
            "test": "7dabdde2d28a94b92da3448cb6bdd50c57df0481b405c75c823b6aaa692a23b4",
        },
        digest="e82e8ef4edbe7bd712ac9f144c849c6ded5aec4b4fc49f7c7825e124a54ea4f9",
    ),
    "mvsa-multiple": PublishedSplit(
        folder="MVSA-multiple/10-flod-1",
        sizes={"train": 13624, "val": 1700, "test": 1700},
        files={
            "train": "e477b2e74d9f91c6fe901ddfc1efb6f0cd88d9bcaa70f69080b31c8e8e6b3867",
            "val": "6e008e7b795484be32a7f6ffd49aa1dc34283417f7119afda6c51d755609245b",
            "test": "dc54b497924f0e32c1c84127a3fcc85d544d1b8e372400d2922c818541072e39",
        },
        digest="082c4db2518e174f454675f35b59e2d6528b75d48cda497ac15b24713b3e04f9",
    ),
}


def digest(part_of: Mapping[str, str]) -> str:
    """Return the SHA-256 of a split: lines of id, tab and part, sorted."""
    lines = sorted(f"{sample}\t{part}\n" for sample, part in part_of.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def split_path(dataset: str) -> Path:
    """Return where `fetch` puts a data set's split."""
    return splits_root() / f"clmlf-{dataset}.tsv"


def check(path: Path, part_of: Mapping[str, str], dataset: str) -> None:
    """Raise DataError unless these are the parts that CLMLF published for a data set.

    Args:
        path: where they were read, for the message.
        part_of: the part of each id.
        dataset: `mvsa-single` or `mvsa-multiple`.
    """
    published = published_for(dataset)
    if digest(part_of) != published.digest:
        found = {part: sum(one == part for one in part_of.values()) for part in PARTS}
        same = found == published.sizes
        raise DataError(
            f"{path} is not the split that CLMLF published for {dataset}",
            expected=f"{_sizes(published.sizes)}; digest {published.digest[:12]}",
            found=_sizes(found) + (f"; digest {digest(part_of)[:12]}" if same else ""),
            next_step=f"`itin data fetch clmlf --dataset {dataset}`, or name a split of your own with "
            f"--protocol file:{path}",
        )


def published_for(dataset: str) -> PublishedSplit:
    """Return the published split of a data set.

    Raises:
        DataError: CLMLF published none for it.
    """
    if dataset not in SPLITS:
        raise DataError(
            f"CLMLF published no split of {dataset}",
            expected=" or ".join(SPLITS),
            next_step="choose another protocol, or name a split of your own with --protocol file:PATH",
        )
    return SPLITS[dataset]


def fetch(dataset: str, source: Path | None = None) -> Path:
    """Write a data set's split to `split_path`, from its publication or from a copy of it, and return the path.

    Args:
        dataset: `mvsa-single` or `mvsa-multiple`.
        source: a folder with the published train.json, dev.json and test.json; None fetches them.

    Raises:
        DataError: no network, a file that is missing, or one that differs from the published one.
    """
    published = published_for(dataset)
    part_of: dict[str, str] = {}
    for part, name in FILES.items():
        where = f"{BASE}/{published.folder}/{name}" if source is None else str(source / name)
        data = _read(where, dataset) if source is not None else _download(where, dataset)
        if (found := hashlib.sha256(data).hexdigest()) != published.files[part]:
            raise DataError(
                f"{where} is not the file that CLMLF published",
                expected=f"SHA-256 {published.files[part]}",
                found=f"SHA-256 {found}, {len(data)} bytes",
                next_step="get the file from the repository named in docs/protocols.md",
            )
        rows: list[dict[str, Any]] = json.loads(data)
        part_of |= {str(row["id"]): part for row in rows}
    path = split_path(dataset)
    check(path, part_of, dataset)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["id\tpart", *(f"{sample}\t{part}" for sample, part in part_of.items())]
    disk.replace(path, ("\n".join(lines) + "\n").encode())
    return path


def _download(url: str, dataset: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            data: bytes = answer.read(MAX_BYTES)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(
            f"cannot fetch {url}: {reason}",
            expected="a network that reaches the split's publication",
            next_step="get the folder of train.json, dev.json and test.json on another machine, then "
            f"`itin data fetch clmlf --dataset {dataset} --from FOLDER`",
            machine=True,
        ) from error
    return data


def _read(path: str, dataset: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}",
            expected="a folder with " + ", ".join(FILES.values()) + f" as CLMLF published them for {dataset}",
            next_step="name that folder with --from, or leave --from out where there is a network",
        ) from error


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} in {part}" for part, count in sizes.items())
