"""Names of many files in one: `data/{00000..00099}.tar`, `data/*.parquet`, or a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import islice, product
from pathlib import Path

from ....errors import DataError
from ..reading import retrying
from .remote import is_remote, listing, url

MAX_FILES = 1_000_000
"""The maximum number of files that a pattern names."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def braces(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with braces stands for, in order, as a shell would.

    `{00..11}` counts with leading zeros, up or down; `{a,b}` lists. Braces within braces are not read.
    """
    pieces = _BRACES.split(pattern)
    choices = [_choices(piece) if number % 2 else [piece] for number, piece in enumerate(pieces)]
    return ("".join(each) for each in product(*choices))


def _choices(inside: str) -> list[str]:
    if found := _RANGE.fullmatch(inside):
        first, last = int(found[1]), int(found[2])
        padded = any(len(one) > 1 and one.startswith("0") for one in found.groups())
        width = max(map(len, found.groups())) if padded else 0
        if abs(last - first) >= MAX_FILES:
            raise ValueError(f"{{{inside}}} names more than {MAX_FILES} files")
        step = 1 if last >= first else -1
        return [f"{number:0{width}d}" for number in range(first, last + step, step)]
    return inside.split(",") if "," in inside else ["{" + inside + "}"]


def files_of(pattern: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the absolute paths of the files that a pattern names, in order.

    Args:
        pattern: a file; a folder, whose files with one of the suffixes are taken; a name with braces; or a glob with
            `*` and `?`. The files of folders and globs are sorted by name.
        suffixes: such as `.tar`.

    Raises:
        DataError: there is no file, one of those that braces name is missing, or there are more than `MAX_FILES`.
    """
    text = str(Path(pattern).expanduser())
    whole = Path(text).absolute()
    wanted = (
        f"a file, a folder of {' or '.join(suffixes)} files, or a pattern such as 'data/{{00000..00099}}{suffixes[0]}'"
    )
    if is_remote(text):
        found = _remote(text, suffixes, wanted)
    elif whole.is_dir():
        there = (one for one in whole.iterdir() if one.name.endswith(suffixes) and not one.name.startswith("."))
        found = sorted(one for one in there if one.is_file())
    elif whole.exists():
        found = [whole]
    else:
        try:
            names = list(islice(braces(text), MAX_FILES + 1))
        except ValueError as error:
            raise DataError(f"the pattern {text} cannot be used: {error}", expected=wanted) from error
        found = [
            path for name in names for path in (_glob(name) if re.search(r"[*?\[]", name) else [Path(name).absolute()])
        ]
        if len(found) > MAX_FILES:
            raise DataError(f"the pattern {text} names more than {MAX_FILES} files", expected=wanted)
        if gone := [path for path in found if not path.exists()]:
            more = f" and {len(gone) - 3} more" if len(gone) > 3 else ""
            raise DataError(
                f"{len(gone)} of {len(found)} files of {text} are missing" if len(found) > 1 else f"{text} is missing",
                expected=wanted,
                found=f"nothing at {', '.join(map(str, gone[:3]))}{more}",
                next_step="fetch the missing files, or name those that there are with --root",
            )
    if not found:
        raise DataError(f"{text} names no file", expected=wanted, next_step="name the files with --root")
    return found


def _glob(name: str) -> list[Path]:
    path = Path(name).absolute()
    if not re.search(r"[*?\[]", name):
        return [path]
    fixed = next((n for n, part in enumerate(path.parts) if re.search(r"[*?\[]", part)), len(path.parts))
    found = Path(*path.parts[:fixed]).glob(str(Path(*path.parts[fixed:])))
    return sorted(one for one in found if one.is_file() and not one.name.startswith("."))


def _remote(text: str, suffixes: tuple[str, ...], wanted: str) -> list[Path]:
    """Return the files that a pattern names behind a protocol; only the last part of it may be a glob."""
    try:
        names = [Path(one) for one in islice(braces(text), MAX_FILES + 1)]
    except ValueError as error:
        raise DataError(f"the pattern {url(Path(text))} cannot be used: {error}", expected=wanted) from error
    if len(names) > MAX_FILES:
        raise DataError(f"the pattern {url(Path(text))} names more than {MAX_FILES} files", expected=wanted)
    found: list[Path] = []
    for name in names:
        if re.search(r"[*?\[]", name.name):
            found += [one for one in _listed(name.parent, wanted) if fnmatchcase(one.name, name.name)]
        elif name.name.endswith(suffixes):
            found.append(name)
        else:
            found += [one for one in _listed(name, wanted) if one.name.endswith(suffixes)]
    return [one for one in found if not one.name.startswith(".")]


def _listed(folder: Path, wanted: str) -> list[Path]:
    try:
        return retrying(lambda: listing(folder), folder)
    except OSError as error:
        raise DataError(f"{url(folder)} is missing", expected=wanted, next_step="name another with --root") from error
