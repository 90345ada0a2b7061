"""The fuzzer: inputs by number, read in child processes; a finding is written to a folder, with its input."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import worker

QUIET_SECONDS = 600.0
"""Time without an answer after which a process is ended, whatever it waits for."""

SLOW = f"ended {signal.SIGPROF.name}"
"""What is said of a process that took too much processor time."""


@dataclass
class Finding:
    """An input that did what it must not."""

    reader: str
    number: int
    outcome: str
    why: str

    def __str__(self) -> str:
        return f"{self.reader} {self.number}: {self.outcome}\n{self.why}"


@dataclass
class Tally:
    """What the inputs of one reader did."""

    reader: str
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    """Processor time of all."""
    slowest: float = 0.0
    """Processor time of one input, at most."""
    bytes: int = 0
    """Memory that one input came to hold, at most."""
    findings: list[Finding] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return sum(self.outcomes.values())


class Child:
    """A worker; started again after each end."""

    def __init__(self, sound: Path) -> None:
        self.sound = sound
        memory = Path("/dev/shm")  # a disk would be written to hundreds of times a second
        place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
        self._home = tempfile.TemporaryDirectory(prefix="fuzz-", dir=place)
        self._errors = Path(self._home.name) / "errors"
        self._log = self._errors.open("w")
        self._read = b""
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, reader: str, first: int, count: int, *how: str) -> None:
        """Ask for some inputs of a reader; `apart` has those of isolated readers read in a child process."""
        if self._process is None or self._process.poll() is not None:
            here = Path(self._home.name) / "outer" / "here"
            here.mkdir(parents=True, exist_ok=True)
            name = worker.__name__
            root = Path(worker.__file__).parents[name.count(".")]
            paths = [str(root), *(path or str(Path.cwd()) for path in sys.path)]
            self._read = b""
            self._process = subprocess.Popen(
                [sys.executable, "-m", name, str(self.sound)],
                cwd=here,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                bufsize=0,
                start_new_session=True,
                env={
                    **os.environ,
                    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ARROW_NUM_THREADS"), "1"),
                    **{"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONFAULTHANDLER": "1"},
                    **{
                        "HF_HUB_OFFLINE": "1",
                        "HF_DATASETS_OFFLINE": "1",
                        "HF_HOME": str(here / "hf"),
                        "TMPDIR": str(here),
                    },
                    "TOKENIZERS_PARALLELISM": "false",
                },
            )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{' '.join((*how, reader))} {first} {count}\n".encode())

    def answer(self) -> str | None:
        """Return the next line, None where the process has ended or said nothing for too long."""
        assert self._process is not None
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([self._process.stdout], [], [], QUIET_SECONDS)
            if not ready:
                os.killpg(self._process.pid, signal.SIGKILL)
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                self._process.wait()
                return None
            self._read += data
        line, self._read = self._read.split(b"\n", 1)
        return line.decode()

    def errors(self) -> str:
        """Return the last lines of what was written to standard error."""
        return self._errors.read_text(errors="replace")[-2500:]

    def close(self) -> None:
        """End the process and remove its folder."""
        if self._process is not None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()
        self._home.cleanup()


def fuzz(child: Child, reader: str, first: int, count: int, out: Path) -> Tally:
    """Have inputs of a reader read, and return what they did.

    Args:
        child: the process that reads.
        reader: one of `worker.ALL`.
        first: the number of the first input.
        count: how many.
        out: where findings are written, with their inputs.
    """
    tally, at = Tally(reader), first
    stop = first + count
    slow = None
    while at < stop:
        child.ask(reader, at, stop - at)
        begun = False
        while not _is_last(line := child.answer()):
            assert line is not None
            if line.startswith("{"):
                _count(tally, json.loads(line))
                at, begun = at + 1, False
            else:
                assert int(line) == at, f"input {line} in place of {at}"
                begun = True
        if line != "done":
            how = f"{line or 'nothing for too long'}\n{child.errors()}"
            if not begun:
                raise RuntimeError(f"{reader}: the process ended before an input was read: {how}")
            if how.startswith(SLOW) and slow != at:  # a busy machine can be slow once
                slow = at
                continue
            _died(child, tally, at, how)
            at += 1
    for one in tally.findings:
        write(child.sound, one, out)
    return tally


def _is_last(line: str | None) -> bool:
    """Return whether nothing more comes to a command: all was read, a process ended, or nothing came for too long."""
    return line is None or line == "done" or line.startswith("ended")


def _count(tally: Tally, told: dict[str, Any]) -> None:
    tally.outcomes[told["outcome"]] += 1
    tally.seconds += told["seconds"]
    tally.slowest = max(tally.slowest, told["seconds"])
    tally.bytes = max(tally.bytes, told["bytes"])
    if told["outcome"] not in ("read", "refused"):
        tally.findings.append(Finding(tally.reader, told["number"], told["outcome"], told["why"]))


def _died(child: Child, tally: Tally, number: int, how: str) -> None:
    outcome = "slow" if how.startswith(SLOW) else "died" if how.startswith("ended") else "silent"
    if worker.ALL[tally.reader].isolated:  # a child process of itin's would have ended: see whether itin goes on
        child.ask(tally.reader, number, 1, "apart")
        told: list[dict[str, Any]] = []
        while not _is_last(line := child.answer()):
            assert line is not None
            told += [json.loads(line)] if line.startswith("{") else []
        if told and told[0]["outcome"] in ("read", "refused"):
            tally.outcomes[f"child {outcome}"] += 1
            return
        how = f"{how}\n{told}"
    tally.outcomes[outcome] += 1
    tally.findings.append(Finding(tally.reader, number, outcome, how))


def write(sound: Path, finding: Finding, out: Path) -> None:
    """Write a finding, and its input, below a folder."""
    here = out / f"{finding.reader}-{finding.number}"
    here.mkdir(parents=True, exist_ok=True)
    (here / "why.txt").write_text(str(finding), encoding="utf-8", errors="replace")
    cases = worker.Cases(finding.reader, worker.ALL[finding.reader], sound / finding.reader)
    _, path = cases.prepare(finding.number, here)
    (here / "file.txt").write_text(f"{path.relative_to(here)}\n")
