"""The same pairs in every form that people have them in: a folder, Parquet, tar archives, the library datasets."""

from __future__ import annotations

import csv
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

LABELS = ["joy", "anger", "fear"]


class Pair(NamedTuple):
    id: str
    image: bytes
    ending: str
    text: str
    label: str


def picture(seed: int, kind: str = "PNG", size: tuple[int, int] = (24, 18)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def pairs(count: int) -> list[Pair]:
    """Ids with leading zeros and in other scripts, three kinds of image, texts beyond ASCII, three labels."""
    kinds = [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")]
    found = []
    for n in range(count):
        kind, ending = kinds[n % 3]
        id = f"写真-{n:03d}" if n % 5 == 4 else f"{n:05d}"
        found.append(Pair(id, picture(n, kind), ending, f"a day, number {n}: “ça va”", LABELS[n % 3]))
    return found


def as_folder(root: Path, pairs: Sequence[Pair]) -> Path:
    root.mkdir(parents=True)
    with (root / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "text", "label"])
        for one in pairs:
            (root / f"{one.id}.{one.ending}").write_bytes(one.image)
            writer.writerow([one.id, f"{one.id}.{one.ending}", one.text, one.label])
    return root


def table_of(pairs: Sequence[Pair], form: str = "struct") -> pa.Table:
    columns: dict[str, object] = {"id": [one.id for one in pairs]}
    if form == "struct":
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        columns["image"] = pa.array([{"bytes": one.image, "path": f"x.{one.ending}"} for one in pairs], kind)
    elif form == "binary":
        columns["image"] = [one.image for one in pairs]
    else:
        columns["image"] = [f"{one.id}.{one.ending}" for one in pairs]
    return pa.table({**columns, "text": [one.text for one in pairs], "label": [one.label for one in pairs]})


def as_parquet(root: Path, pairs: Sequence[Pair], form: str = "struct", rows: int = 1000, files: int = 1) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        own = pairs[len(pairs) * number // files : len(pairs) * (number + 1) // files]
        pq.write_table(table_of(own, form), root / f"pairs-{number:05d}.parquet", row_group_size=rows)
    if form == "path":
        for one in pairs:
            (root / f"{one.id}.{one.ending}").write_bytes(one.image)
    return root


def as_tars(root: Path, pairs: Sequence[Pair], files: int = 1) -> Path:
    """Write the texts of every second pair as .txt, of the others in .json, the labels in .json."""
    root.mkdir(parents=True)
    for number in range(files):
        own = pairs[len(pairs) * number // files : len(pairs) * (number + 1) // files]
        members: dict[str, bytes] = {}
        for n, one in enumerate(own):
            values = {"label": one.label} if n % 2 else {"caption": one.text, "label": one.label, "key": one.id}
            members[f"{one.id}.{one.ending}"] = one.image
            members[f"{one.id}.json"] = json.dumps(values).encode()
            members |= {f"{one.id}.txt": one.text.encode()} if n % 2 else {}
        write_tar(root / f"{number:05d}.tar", members)
    return root


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def as_saved(root: Path, pairs: Sequence[Pair], parquet: bool = False) -> Path:
    """Save a training and a test split with the library datasets, the last quarter of the pairs as the latter."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
    from datasets import Image as ImageFeature
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    features = Features(id=Value("string"), photo=ImageFeature(), tweet=Value("string"), mood=ClassLabel(names=LABELS))
    cut = len(pairs) * 3 // 4
    splits = {
        name: Dataset.from_list(
            [
                {
                    "id": one.id,
                    "photo": {"bytes": one.image, "path": None},
                    "tweet": one.text,
                    "mood": LABELS.index(one.label),
                }
                for one in own
            ],
            features=features,
        )
        for name, own in (("train", pairs[:cut]), ("test", pairs[cut:]))
    }
    if parquet:
        (root / "data").mkdir(parents=True)
        for name, one in splits.items():
            one.to_parquet(os.fspath(root / "data" / f"{name}-00000-of-00001.parquet"))
    else:
        DatasetDict(splits).save_to_disk(os.fspath(root))
    return root
