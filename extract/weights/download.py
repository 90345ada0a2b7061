"""Files by their address, and the patience with servers that do not answer."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import WeightsError
from ...weights_file import cause_of
from .waiting import within

SECONDS = 8
"""Seconds without a byte after which a connection is given up."""
PATIENCE = 20
"""Seconds until a server must have begun to answer, whatever it has to look up and however many addresses it has."""
BLOCK = 1 << 20


def offline() -> bool:
    """Return whether the user asked for no downloads."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def download(url: str, path: Path, sha256: str, what: str, next_step: str) -> None:
    """Download a small file, which appears whole or not at all.

    Args:
        url: its address.
        path: where to put it.
        sha256: its SHA-256, or the beginning of it.
        what: what it holds, for messages.
        next_step: what else helps.

    Raises:
        WeightsError: offline mode is on, there is no answer, it cannot be written, or it is another file.
    """
    if offline():
        raise _missing(what, path, "offline mode is on (HF_HUB_OFFLINE)", next_step)
    temporary = disk.temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        answer: Any = within(PATIENCE, lambda: urllib.request.urlopen(url, timeout=SECONDS))
        digest = hashlib.sha256()
        with answer, temporary.open("wb") as file:
            while block := answer.read(BLOCK):
                digest.update(block)
                file.write(block)
        if not digest.hexdigest().startswith(sha256):
            raise ValueError(f"{url} gave a file of SHA-256 {digest.hexdigest()}, not {sha256}")
        temporary.replace(path)
    except Exception as error:  # network, HTTP or disk, or another digest
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        raise _missing(what, path, cause_of(error), next_step) from error
    finally:
        temporary.unlink(missing_ok=True)


def _missing(what: str, path: Path, reason: str, next_step: str) -> WeightsError:
    return WeightsError(
        f"{what} are not here and cannot be downloaded: {reason}", expected=str(path), next_step=next_step, machine=True
    )
