"""Commands under faults: the n-th system call that writes fails, is the last before a kill, or stops the process."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent


class How(IntEnum):
    """What happens at the chosen call; as in `inject.c`."""

    NOTHING = 0
    FAIL = 1
    """It fails."""
    FULL = 2
    """It writes half, and from then on nothing finds space: the disk is full."""
    KILL = 3
    """It is the last before SIGKILL."""
    TORN = 4
    """The same, but that only half of a write is done."""
    PAUSE = 5
    """The process stops before it, until it is told to go on."""
    JUMP = 6
    """The clock jumps before it."""


@dataclass(frozen=True)
class Fault:
    """A fault at one call that writes."""

    how: How = How.NOTHING
    at: int = 0
    """The number of the call, from 1 on, of those on files below the watched folder."""
    error: int = errno.EIO
    """The error of `FAIL`."""
    seconds: int = 0
    """The length of a `JUMP`."""
    ahead: int = 0
    """By how many seconds the clock is ahead from the beginning."""

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.how == How.FAIL else self.how.name
        return f"{what} at call {self.at}"


@dataclass(frozen=True)
class Ended:
    """How a command has ended."""

    code: int
    """Its exit code, or minus the number of the signal that ended it."""
    said: str
    """Output and errors."""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def library(folder: Path) -> Path:
    """Compile `inject.c` into a folder."""
    compiler = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc, gcc or clang), for faults at system calls")
    built = folder / "inject.so"
    words: list[str | Path] = [compiler, "-shared", "-fPIC", "-O1", "-o", built, HERE / "inject.c", "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the C compiler does not make the library of faults: {done.stderr.strip()[:200]}")
    return built


class Nursery:
    """Runs commands in children of one process that has imported all they need.

    Args:
        place: a folder for the library and for what the commands say; its folder `here` is their current folder.
        below: the folder whose calls are counted.
    """

    def __init__(self, place: Path, below: Path) -> None:
        self._place, self._below, self._count = place, below, 0
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, HERE / "nursery.py", place / "here"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads, "LD_PRELOAD": str(library(place)), "COLUMNS": "200"},
        )

    def ask(self, do: str, **request: Any) -> Any:
        """Send a request, and return the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **request}), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def warm(self, *words: object) -> None:
        """Run a command in the process itself, without a fault."""
        assert self.ask("warm", words=[str(word) for word in words]) == 0, words

    def start(self, words: Iterable[object], fault: Fault | None = None) -> Child:
        """Start a command under a fault."""
        fault = fault or Fault()
        self._count += 1
        said, journal = (self._place / f"{name}-{self._count}" for name in ("said", "journal"))
        numbers = {"how": int(fault.how), "error": fault.error, "at": fault.at}
        times = {"seconds": fault.seconds, "ahead": fault.ahead}
        words = [str(word) for word in words]
        files = {"said": str(said), "journal": str(journal), "below": str(self._below)}
        return Child(self, self.ask("start", words=words, **numbers, **times, **files), said, journal)

    def run(self, words: Iterable[object], fault: Fault | None = None) -> Ended:
        """Run a command under a fault to its end."""
        return self.start(words, fault).end()

    def calls(self, words: Iterable[object]) -> list[str]:
        """Run a command undisturbed, and return its calls that write: the call's name and the file, in order."""
        child = self.start(words)
        done, lines = child.end(keep=True), child.journal.read_text().splitlines()
        child.forget()
        assert done.code == 0, done.said
        return lines

    def close(self) -> None:
        self._process.communicate()


@dataclass
class Child:
    """A command that runs."""

    nursery: Nursery
    pid: int
    _said: Path
    journal: Path
    _ended: int | None = None

    def stops(self) -> bool:
        """Wait until it stops or ends; return whether it has stopped."""
        state = self.nursery.ask("wait", pid=self.pid)
        self._ended = None if state == "stopped" else int(state)
        return self._ended is None

    def signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        if self._ended is None:
            os.kill(self.pid, number)

    def end(self, keep: bool = False) -> Ended:
        """Wait for its end."""
        while self._ended is None:
            if self.stops():
                self.signal(signal.SIGCONT)
        done = Ended(self._ended, self._said.read_text(errors="replace"))
        if not keep:
            self.forget()
        return done

    def forget(self) -> None:
        self._said.unlink()
        self.journal.unlink()
