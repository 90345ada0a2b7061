"""Foreign files whose libraries trust them, read in a child process: if it dies or hangs, one sample is lost.

The child lists the samples and sends them one after the other; where it ends or says nothing for too long, the sample
that it was at is rejected, and another child goes on behind it. What it sends is read as plain arrays, never unpickled.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from ...parts import ended
from . import frames
from .forms.registry import Form
from .record import Asked, Raw

Answer = tuple[str, str, Raw | str]
"""The name of a sample in a message, its file where that holds it alone, and its arrays or why there are none."""

SECONDS = 60.0
"""The time that a child may take for one sample."""

OPENING_SECONDS = 600.0
"""The time that it may take to start, and to open a file: pickles are read whole."""

MOST_LOST = 20
"""The number of children that one file may cost."""


def isolated(files: Sequence[Path], form: Form, asked: Asked, seconds: float | None = None) -> Iterator[Answer]:
    """Read the samples of files in child processes.

    Args:
        files: the files.
        form: how they are written.
        asked: what is wanted of them.
        seconds: the time that a child may take for one sample; `SECONDS` by default.
    """
    at, item, lost = 0, 0, 0
    while at < len(files):
        child = _Child(files[at:], form, asked, item, seconds or SECONDS)
        name, alone, first = "", "", at
        try:
            for message in child.messages():
                what = message[0]
                if what == "file":
                    if first + message[1] != at:
                        at, item, lost = first + message[1], 0, 0
                    name = ""
                elif what == "item":
                    item, name, alone = message[1], message[2], message[3]
                elif what == "end":
                    return
                elif what == "ready":
                    continue
                else:  # the item's arrays, or why there are none; or why there is no more of the file
                    yield (name or files[at].name), alone if name else "", message[1]
                    item += 1
                    name = ""
            why = child.end()
        except _SilentError:
            child.kill()
            why = f"was ended: nothing came for {child.seconds:g} s"
        finally:
            child.kill()
        lost += 1
        yield (name or files[at].name), alone if name else "", f"cannot be read: the process that read it {why}"
        item += 1
        if not name or lost == MOST_LOST:  # it did not come to a sample: there is no way into the file
            if name:
                yield files[at].name, "", f"is not read further: {lost} of its samples ended the process that read them"
            at, item, lost = at + 1, 0, 0


class _SilentError(Exception):
    """Nothing came from the child in time."""


class _Child:
    def __init__(self, files: Sequence[Path], form: Form, asked: Asked, skip: int, seconds: float) -> None:
        self.seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__package__}.child import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                "PYTHONSAFEPATH": "1",
            },
        )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            frames.send_request(pipe, files, form.name, asked, skip)

    def messages(self) -> Iterator[frames.Message]:
        """Yield what the child sends until it ends; raise _SilentError where it falls silent."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            source = _Timed(self._process.stdout, selector, self.seconds)
            while (message := frames.receive(source)) is not None:
                yield message
                source.rest(opening=message[0] in ("ready", "file"))

    def end(self) -> str:
        """Return how the process ended; one that sends what it must not is ended."""
        try:
            return ended(self._process.wait(1))
        except subprocess.TimeoutExpired:
            self.kill()
            return "was ended: it sent what cannot be read"

    def kill(self) -> None:
        """End the process and close its pipe."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class _Timed:
    """The child's pipe, read until a deadline that each message moves."""

    def __init__(self, pipe: IO[bytes], selector: selectors.BaseSelector, seconds: float) -> None:
        self._descriptor = pipe.fileno()
        self._selector = selector
        self._seconds = seconds
        self.rest(opening=True)

    def rest(self, opening: bool) -> None:
        """Begin to wait for the next message, longer while the child starts or opens a file."""
        self._deadline = time.monotonic() + max(self._seconds, OPENING_SECONDS * opening)

    def readinto(self, buffer: memoryview) -> int:
        """Read some bytes; 0 at the end."""
        if not self._selector.select(max(0.0, self._deadline - time.monotonic())):
            raise _SilentError
        data = os.readv(self._descriptor, [buffer])
        return data
