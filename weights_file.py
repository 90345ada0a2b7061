"""Third-party weight files: their form by the first bytes, whether they are whole, and their arrays.

Downloaded files are untrusted. PyTorch files are read with `weights_only=True`, other pickles with an unpickler that
admits only NumPy arrays and plain containers.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .tabular.pickled import load_arrays

if TYPE_CHECKING:
    from torch import Tensor

Form = Literal["safetensors", "pytorch", "pickle"]

HEAD_BYTES = 4096
"""The number of bytes at the beginning of a file that show its form."""

MAX_HEADER_BYTES = 100_000_000
"""The largest safetensors header, as in its library."""

_OLD_PYTORCH = bytes.fromhex("6cfc9c46f9206aa85019")
"""The magic number that PyTorch's older format pickles first."""

_AGAIN = "download the file again"


class UnsoundFile(Exception):  # noqa: N818
    """An error of a file that does not hold what its name promises; the caller adds the file and what was expected.

    Args:
        found: what it is instead, in one line.
        next_step: what to do about it.
    """

    def __init__(self, found: str, next_step: str = _AGAIN) -> None:
        super().__init__(found)
        self.found = found
        self.next_step = next_step


def cause_of(error: BaseException) -> str:
    """Return an error's class and message in one line, never empty; for PyTorch's the reason without its advice."""
    text = str(error)
    reason = re.search(r"WeightsUnpickler error: (.*)", text)
    asked = re.search(r"GLOBAL (\S+)", text)
    if asked is not None:
        text = f"it asks for {asked.group(1)}"
    elif reason is not None:
        text = reason.group(1)
    lines = [line.strip() for line in text.strip().split(" In PyTorch 2.6")[0].splitlines()] or [""]
    line = " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:250]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_real(path: Path) -> None:
    """Check that a file of any kind is there, is not empty, and is neither a pointer to one nor a web page.

    Raises:
        UnsoundFile: it is not.
    """
    head, size = _head(path)
    _check_real(head, size)


def form_of(path: Path) -> Form:
    """Return the form of a weight file by its first bytes, and check its length where that is quick.

    Raises:
        UnsoundFile: it has none of the forms, or is not whole.
    """
    head, size = _head(path)
    _check_real(head, size)
    if head.startswith(b"PK"):
        try:
            whole = zipfile.is_zipfile(path)
        except zipfile.BadZipFile:  # an end that says the archive has several parts
            whole = False
        if not whole:
            raise UnsoundFile(f"{size} bytes of a PyTorch file that was cut off")
        return "pytorch"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_HEADER_BYTES:
        _check_length(path, size)
        return "safetensors"
    if head.startswith(b"\x80"):
        return "pytorch" if _OLD_PYTORCH in head[:64] else "pickle"
    raise UnsoundFile(f"{size} bytes that begin with {_excerpt(head)}")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read named tensors, out of `model` or `state_dict` where the file wraps them; NumPy arrays become tensors.

    Raises:
        UnsoundFile: it holds something else, is not whole, or asks for more than arrays.
    """
    import torch

    content = _read(path)
    for wrapper in ("model", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    another = "take the file that holds the weights alone"
    if not isinstance(content, Mapping):
        raise UnsoundFile(f"a {type(content).__name__} instead of named arrays", another)
    state: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            value = torch.from_numpy(np.ascontiguousarray(value.astype(value.dtype.newbyteorder("="))))
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise UnsoundFile(f"{name!r} of type {type(value).__name__} instead of named arrays", another)
        state[name] = value
    return state


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file whose value is an object.

    Raises:
        UnsoundFile: it is not JSON, or its value is not an object.
    """
    head, size = _head(path)
    _check_real(head, size)
    try:
        value = json.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise UnsoundFile(f"{size} byte{'s' * (size != 1)} that cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UnsoundFile(f"JSON of another kind: {_excerpt(head)}")
    return value


def differences(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return the first names that are missing, unknown or of another shape, in one line; None where all agree.

    Args:
        expected: shapes of the architecture by name.
        found: shapes in the file by name.
    """
    groups = {
        "missing": [name for name in expected if name not in found],
        "unknown": [name for name in found if name not in expected],
        "of another shape": [
            f"{name} {tuple(found[name])} instead of {tuple(shape)}"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ],
    }
    told = [
        f"{len(names)} {group}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
        for group, names in groups.items()
        if names
    ]
    return "; ".join(told) or None


def _read(path: Path) -> Any:
    import torch
    from safetensors.torch import load

    form = form_of(path)
    try:
        if form == "safetensors":
            return load(path.read_bytes())
        if form == "pytorch":
            with path.open("rb") as file:  # given a path, torch would look at its ending again
                return torch.load(file, map_location="cpu", weights_only=True)
        return load_arrays(path.read_bytes())
    except Exception as error:  # each reader has its own classes for a damaged file
        raise UnsoundFile(
            f"a file that cannot be read ({cause_of(error)})",
            f"{_AGAIN}; a file that asks for more than arrays is not loaded at all",
        ) from error


def _head(path: Path) -> tuple[bytes, int]:
    """Return the first bytes and the length of a file."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES), path.stat().st_size
    except FileNotFoundError as error:
        found = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "no such file"
        raise UnsoundFile(found, "check its path, or download it") from error
    except OSError as error:
        raise UnsoundFile(f"a file that cannot be opened ({error.strerror})", "make the file readable") from error


def _check_real(head: bytes, size: int) -> None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not size:
        raise UnsoundFile("an empty file")
    if text.startswith(b"version https://git-lfs"):
        told = re.search(rb"\nsize (\d+)", text)
        raise UnsoundFile(
            f"a Git LFS pointer, which stands for a file{f' of {int(told.group(1))} bytes' if told else ''} that was "
            "not fetched",
            "run `git lfs pull` where it was cloned, or download the file itself",
        )
    if re.match(rb"<(!doctype|html|head|error|\?xml)\b", text, re.IGNORECASE):  # not `<s>`, a vocabulary's first word
        title = re.search(rb"<title[^>]*>\s*([^<]*?)\s*<", text, re.IGNORECASE)
        raise UnsoundFile(
            f"a web page, {_excerpt(title.group(1) if title else text)}",
            "download the file itself: its address gave this page",
        )


def _check_length(path: Path, size: int) -> None:
    """Check the length of a safetensors file against its header."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length)
    if len(header) < length:
        raise UnsoundFile(f"{size} bytes of a safetensors file that was cut off within its header")
    try:
        entries = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        whole = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UnsoundFile(f"a safetensors file whose header is damaged: {cause_of(error)}") from error
    if size != whole:
        raise UnsoundFile(
            f"{size} bytes, where its header declares {whole}" + (": it was cut off" if size < whole else "")
        )


def _excerpt(data: bytes) -> str:
    """Return the beginning of a file for a message, as text where it is one."""
    text = " ".join(data[:300].decode(errors="replace").split())[:60]
    return repr(text) if text.isprintable() and "\ufffd" not in text else repr(data[:8])
