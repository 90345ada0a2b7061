"""Small files that are either whole or absent."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError


def replace(
    path: Path, data: bytes, next_step: str = "fix the cause and run the same command again: finished runs are kept"
) -> None:
    """Put a file into the place of what may stand there.

    Args:
        path: the file.
        data: its contents.
        next_step: what to do where it cannot be written.

    Raises:
        RunError: it cannot be written.
    """
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}", next_step=next_step) from error


def to_json(value: Mapping[str, Any]) -> bytes:
    """A JSON file's bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
