"""The files of a source, and the ids that file names and id lists give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....errors import DataError
from ...data.reading import BadFile

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def files_of(source: Path, endings: Sequence[str]) -> list[Path]:
    """Return the files of a source in order of their names: itself, or those in the folder and below it.

    Raises:
        DataError: there are none.
    """
    if source.is_file():
        return [source]
    found = sorted(path for path in source.rglob("*") if path.suffix.lower() in endings and path.is_file())
    if not found:
        listed = " or ".join(endings)
        raise DataError(
            f"{source} holds no {listed} files",
            expected=f"a folder with features as {listed}, or one such file",
            found="a folder without them" if source.is_dir() else "nothing",
            next_step="name the folder that holds them, or another form with --from",
        )
    return found


def id_of(path: Path) -> str:
    """Return the sample's id that a file's name gives: without its ending, and without that of an image before it."""
    name = path.name.removesuffix(path.suffix)
    return without_image(name)


def without_image(name: str) -> str:
    """Return a name without the ending of an image."""
    return name.removesuffix(Path(name).suffix) if name.lower().endswith(IMAGES) else name


def texts_of(name: str, values: np.ndarray) -> list[str]:
    """Return a list of ids as text; whole numbers are written out.

    Raises:
        BadFile: they are neither texts nor whole numbers.
    """
    flat = np.asarray(values).reshape(-1)
    listed = flat.tolist()
    if not all(isinstance(one, (str, bytes, int)) and not isinstance(one, bool) for one in listed):
        raise BadFile(f"holds {name} of dtype {flat.dtype}, expected ids")
    try:
        return [one.decode() if isinstance(one, bytes) else str(one) for one in listed]
    except UnicodeDecodeError as error:
        raise BadFile(f"holds {name} that are not UTF-8") from error


def ids_from(path: Path) -> list[str]:
    """Return the ids of a file: one a line, or an array in `.npy`.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if path.suffix == ".npy":
            return texts_of(path.name, np.load(path, allow_pickle=False))
        return path.read_text(encoding="utf-8-sig").splitlines()
    except Exception as error:  # a damaged array makes NumPy raise almost anything
        raise DataError(
            f"the ids in {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            expected="one id a line in UTF-8, or an array of ids in .npy",
            next_step="name another with --ids",
        ) from error
