"""The process that reads foreign files for another: `isolated` starts it, and survives it."""

from __future__ import annotations

import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ...errors import ItinError
from . import frames
from .forms.registry import FORMS
from .naming import found_names
from .reading import reason_of

FILE_SECONDS, SAMPLE_SECONDS = 30.0, 10.0
"""Processor time after which the process ends itself: until a file's first sample, and for each sample. A library that
runs in circles on a damaged file would cost `isolated.SECONDS` of it otherwise."""


ROOM = 2**30
"""Bytes of memory that reading may take beyond four times the file's own size: a damaged HDF5 file of a few kB can name
lengths of gigabytes, which its library asks for before it looks further."""


def main() -> None:
    """Read what standard input asks for, and send it to standard output."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints does not get among the messages
    files, form, asked, skip = frames.read_request(sys.stdin.buffer)
    lister = FORMS[form].lists()
    frames.send(pipe, "ready")
    for place, path in enumerate(files):
        frames.send(pipe, "file", place)
        signal.setitimer(signal.ITIMER_PROF, FILE_SECONDS)
        _limit_memory(path)
        try:
            for number, (name, read, file) in enumerate(lister(path, asked)):
                signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS)
                if place == 0 and number < skip:
                    continue
                frames.send(pipe, "item", number, name, file)
                try:
                    raw = read()
                    frames.send_raw(pipe, raw, found_names(raw.arrays, asked))
                except Exception as error:
                    frames.send(pipe, "bad", _reason(error))
        except Exception as error:
            frames.send(pipe, "bad", _reason(error))
    frames.send(pipe, "end")


def _limit_memory(path: Path) -> None:
    """Let allocations beyond `ROOM` fail, where the kernel says what the process has; elsewhere do nothing."""
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        files = path.rglob("*") if path.is_dir() else [path]
        limit = pages * resource.getpagesize() + ROOM + 4 * sum(one.stat().st_size for one in files)
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))


def _reason(error: Exception) -> str:
    return str(error).replace("\n", ";") if isinstance(error, ItinError) else reason_of(error)
