"""Region features as the bottom-up-attention ports write them: a `.npz` for each image, or `.tsv` with base64 columns.

The files are not trusted: arrays are read without pickle, and the one pickled member, `info`, with the unpickler that
admits arrays and plain containers only; if it needs more, it is left out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...tabular.lines import lines_of
from ...weights_file import load_arrays
from ..data.reading import BadFile, read_bytes, retrying
from ..data.samples import Rejected
from ..encoders.contract import Arrays

MAX_BYTES = 256 * 2**20
"""Size limit of one image's unpacked features."""

IMAGES = (".jpg", ".jpeg", ".png")
COLUMNS = {
    6: ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features"),
    10: (
        "img_id",
        "img_h",
        "img_w",
        "objects_id",
        "objects_conf",
        "attrs_id",
        "attrs_conf",
        "num_boxes",
        "boxes",
        "features",
    ),
}
"""The ports' own columns by their number, for files without a header."""

BASE64 = {
    "boxes": "<f4",
    "features": "<f4",
    "objects_id": "<i8",
    "objects_conf": "<f4",
    "attrs_id": "<i8",
    "attrs_conf": "<f4",
}
ALIASES = {"img_id": "image_id", "img_h": "image_h", "img_w": "image_w"}


@dataclass(frozen=True)
class ImageRegions:
    """The features of one image."""

    id: str
    """The file's name without its endings, or the row's image id."""
    width: int
    """Width in pixels of the image that the features were made from."""
    height: int
    """Height of that image."""
    arrays: Arrays
    """Arrays as a region encoder returns them, by descending score; without scores in the file's order, with scores of
    0. Missing objects and attributes are -1."""
    scored: bool
    """Whether there were scores."""
    note: str | None
    """Note on what was left out, and why."""
    sha256: str
    """SHA-256 of the file or the row."""


def read_npz(source: Path) -> Iterator[ImageRegions | Rejected]:
    """Yield the features in the `.npz` files of a folder and below it, in order of their names."""
    for path in _files(source, ".npz"):
        name = path.name.removesuffix(".npz")
        id = Path(name).stem if name.lower().endswith(IMAGES) else name
        try:
            yield _npz(id, read_bytes(path, MAX_BYTES))
        except BadFile as error:
            yield Rejected(id, f"{path.name} {error.reason}")


def read_tsv(source: Path) -> Iterator[ImageRegions | Rejected]:
    """Yield the features in the rows of a `.tsv` file, or of those in a folder."""
    for path in _files(source, ".tsv"):
        columns: tuple[str, ...] = ()
        file = retrying(lambda path=path: path.open("rb"), path)  # type: ignore[misc]
        with lines_of(file, "surrogateescape") as lines:
            for number, line in enumerate(lines, 1):
                cells = line.rstrip("\r\n").split("\t")
                where = f"{path.name} line {number}"
                if number == 1 and cells[0] in ("image_id", "img_id"):
                    columns = tuple(cells)
                    if missing := set(COLUMNS[6]) - {ALIASES.get(column, column) for column in columns}:
                        raise _no_columns(path, f"no {', '.join(sorted(missing))} among {', '.join(columns)}")
                    continue
                if not columns:
                    if len(cells) not in COLUMNS:
                        raise _no_columns(path, f"{len(cells)} columns in line {number}")
                    columns = COLUMNS[len(cells)]
                try:
                    if len(cells) != len(columns):
                        raise BadFile(f"{len(cells)} columns instead of {len(columns)}")
                    yield _row(dict(zip(columns, cells, strict=True)), line)
                except (BadFile, ValueError) as error:
                    yield Rejected(where, str(error))


READERS: dict[str, Callable[[Path], Iterator[ImageRegions | Rejected]]] = {"bua-npz": read_npz, "bua-tsv": read_tsv}
"""The readers by the name that `--from` takes."""


def _files(source: Path, ending: str) -> list[Path]:
    files = [source] if source.is_file() else sorted(source.rglob(f"*{ending}"))
    if not files:
        raise DataError(
            f"{source} holds no {ending} files",
            expected=f"a folder with region features as {ending}, or one such file",
            found="a folder without them" if source.is_dir() else "nothing",
            next_step="name the folder that holds them, or another form with --from",
        )
    return files


def _no_columns(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is not a .tsv of region features",
        expected=f"{' or '.join(str(number) for number in COLUMNS)} columns, or a header that names "
        + ", ".join(COLUMNS[6]),
        found=found,
    )


def _npz(id: str, data: bytes) -> ImageRegions:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise BadFile(f"is too large: more than {MAX_BYTES} bytes unpacked")
            members = {name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()}
        arrays = {name: _array(members[name]) for name in ("x", "bbox", "image_h", "image_w")}
        count = _array(members["num_bbox"]) if "num_bbox" in members else np.array(len(arrays["bbox"]))
        values = {
            "features": arrays["x"],
            "boxes": arrays["bbox"],
            "num_boxes": int(count),
            "image_h": int(arrays["image_h"]),
            "image_w": int(arrays["image_w"]),
        }
    except BadFile:
        raise
    except KeyError as error:
        raise BadFile(f"has no {error.args[0]}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, TypeError, RuntimeError) as error:
        raise BadFile(f"cannot be read: {error}") from error
    info, note = _info(members.get("info"))
    return _record(id, {**info, **values}, note, hashlib.sha256(data).hexdigest())


def _array(member: bytes) -> np.ndarray:
    return np.asarray(np.lib.format.read_array(io.BytesIO(member), allow_pickle=False))


def _info(member: bytes | None) -> tuple[dict[str, Any], str | None]:
    """Return the objects and attributes in `info`; nothing, and the reason, where it cannot be read safely."""
    if member is None:
        return {}, None
    file = io.BytesIO(member)
    try:
        version = np.lib.format.read_magic(file)
        form: Any = np.lib.format
        header = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        if not header(file)[2].hasobject:
            return {}, "info left out: it is no dict"
        content = load_arrays(file.read())
    except Exception as error:  # a foreign pickle can fail in any way
        return {}, f"info left out: {error}"
    content = content.item() if isinstance(content, np.ndarray) and content.shape == () else content
    if not isinstance(content, Mapping):
        return {}, "info left out: it is no dict"
    return {str(name): value for name, value in content.items() if name in BASE64}, None


def _row(cells: Mapping[str, str], line: str) -> ImageRegions:
    values: dict[str, Any] = {}
    for column, cell in cells.items():
        if column in BASE64:
            values[column] = _decoded(column, cell)
        elif column != "image_id" and column != "img_id":
            values[ALIASES.get(column, column)] = int(cell)
    count = int(values["num_boxes"])
    if count < 0 or values["boxes"].size != 4 * count or values["features"].size % max(count, 1):
        raise BadFile(f"{values['boxes'].size} numbers of boxes and {values['features'].size} of features for {count}")
    values["boxes"] = values["boxes"].reshape(count, 4)
    values["features"] = values["features"].reshape(count, -1) if count else np.zeros((0, 0), np.float32)
    id = cells.get("image_id") or cells.get("img_id") or ""
    id.encode()  # an id that is not UTF-8 is refused
    return _record(id, values, None, hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest())


def _decoded(column: str, cell: str) -> np.ndarray:
    if cell[:2] in ("b'", 'b"'):  # as str() of Python 3 writes bytes
        cell = cell[2:-1]
    try:
        return np.frombuffer(base64.b64decode(cell, validate=True), BASE64[column])
    except (binascii.Error, ValueError) as error:
        raise BadFile(f"{column} cannot be read: {error}") from error


def _record(id: str, values: Mapping[str, Any], note: str | None, sha256: str) -> ImageRegions:
    """Check the shapes of an image's arrays and sort them by score.

    Raises:
        BadFile: the arrays do not fit one another.
    """
    x, boxes, count = np.asarray(values["features"]), np.asarray(values["boxes"]), values["num_boxes"]
    if x.ndim == 2 and len(x) != len(boxes) and x.shape[1] == len(boxes):
        x = x.T  # some ports store (D, k)
    if x.ndim != 2 or boxes.ndim != 2 or boxes.shape[1] != 4 or not 0 <= count <= min(len(x), len(boxes)):
        raise BadFile(f"holds features {x.shape} and boxes {boxes.shape} for {count} regions")
    width, height = values["image_w"], values["image_h"]
    if width < 1 or height < 1:
        raise BadFile(f"names an image of {width}x{height} pixels")

    def column(name: str, fill: float, dtype: type) -> tuple[np.ndarray, bool]:
        given = np.asarray(values[name]) if name in values else np.zeros(0)
        fits = given.ndim == 1 and len(given) >= count and given.dtype.kind in "fiu"
        return (given[:count] if fits else np.full(count, fill)).astype(dtype), fits and name in values

    scores, scored = column("objects_conf", 0, np.float32)
    order = np.argsort(-scores, kind="stable")
    arrays = {
        "regions": x[:count].astype(np.float32),
        "boxes": boxes[:count].astype(np.float32),
        "scores": scores,
        "objects": column("objects_id", -1, np.int32)[0],
        "object_scores": scores,
        "attributes": column("attrs_id", -1, np.int32)[0],
        "attribute_scores": column("attrs_conf", 0, np.float32)[0],
    }
    return ImageRegions(
        id, width, height, {name: array[order] for name, array in arrays.items()}, scored or not count, note, sha256
    )
