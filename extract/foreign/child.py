"""The process that reads foreign files for another: `isolated` starts it, and survives it."""

from __future__ import annotations

import os
import sys

from ...errors import ItinError
from . import frames
from .forms.registry import FORMS
from .naming import found_names
from .reading import reason_of


def main() -> None:
    """Read what standard input asks for, and send it to standard output."""
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints does not get among the messages
    files, form, asked, skip = frames.read_request(sys.stdin.buffer)
    lister = FORMS[form].lists()
    frames.send(pipe, "ready")
    for place, path in enumerate(files):
        frames.send(pipe, "file", place)
        try:
            for number, (name, read, file) in enumerate(lister(path, asked)):
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


def _reason(error: Exception) -> str:
    return str(error).replace("\n", ";") if isinstance(error, ItinError) else reason_of(error)
