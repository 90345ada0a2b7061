"""The process that reads mutated files: `READER FIRST COUNT` on its input, a line of JSON for each input on its output.

After `apart READER FIRST COUNT` what is read in a child process is, as in the product, and here it is read within.

It runs in an empty folder. Of each input it says before it begins which it is, so that the end of the process is known
to be that input's, and afterwards what came out. Run as a module, with the folder of sound files.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from random import Random
from typing import IO, Any

from .misbehaving import MISBEHAVING
from .mutations import mutate
from .readers import READERS, REFUSALS, Reader, within

ALL = {**READERS, **MISBEHAVING}

CANARY = "itin-canary"
"""What a pickle or a document that was run would make in the current folder."""

SECONDS = 2.0
"""Processor time of one input, after which the process ends."""

ROOM = 2 * 2**30
"""Bytes of address space that an input may ask for beyond what the process has; the next allocation fails."""

MOST_RESIDENT = 2**30
"""Bytes of memory that an input may come to hold."""

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
)
RUNS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "subprocess.Popen", "pty.spawn")
ASKS = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib.Request")


class Watch:
    """An audit hook: what is run, asked of a network, or written outside of this folder while an input is read."""

    def __init__(self) -> None:
        self.here = f"{Path.cwd()}{os.sep}"
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in RUNS or event in ASKS:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event in CHANGES:
            self._outside(event, [one for one in arguments[:2] if isinstance(one, (str, bytes))])
        elif event == "open" and isinstance(arguments[0], (str, bytes)) and (arguments[2] or 0) & WRITING:
            self._outside(event, [arguments[0]])

    def _outside(self, event: str, paths: list[Any]) -> None:
        for path in map(os.fsdecode, paths):
            whole = os.path.normpath(Path(self.here) / path)
            if not whole.startswith(self.here) and whole != os.devnull:
                self.seen.append(f"{event} {whole}")


class Cases:
    """The sound folders of a reader, and its mutated ones."""

    def __init__(self, name: str, reader: Reader, place: Path) -> None:
        self.name, self.reader = name, reader
        self.folders = sorted(place.iterdir())
        self.files = {folder: _mutated(folder, reader) for folder in self.folders}

    def prepare(self, number: int, here: Path) -> tuple[Path, Path]:
        """Put the input of a number into a folder, and return folder and file."""
        rng = Random(f"{self.name} {number}")
        source = rng.choice(self.folders)
        file = rng.choice(self.files[source])
        data = mutate(rng, file.name, file.read_bytes())
        folder = here / source.name
        if self.reader.writes or not folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
        path = folder / file.relative_to(source)
        path.write_bytes(data)
        return folder, path

    def restore(self, folder: Path, path: Path) -> None:
        """Put the sound file back."""
        source = next(one for one in self.folders if one.name == folder.name)
        if not self.reader.writes:
            shutil.copyfile(source / path.relative_to(folder), path)


def _mutated(folder: Path, reader: Reader) -> list[Path]:
    found = {path for pattern in reader.files for path in folder.rglob(pattern) if path.is_file()}
    return sorted(found)


def make_sound(name: str, place: Path) -> Path:
    """Return the folder of a reader's sound files; the first process that asks makes them."""
    folder = place / name
    if not folder.exists():
        unfinished = place / f".{name}-{os.getpid()}"
        unfinished.mkdir(parents=True)
        ALL[name].sound(unfinished)
        unfinished.rename(folder)
    return folder


def memory(field: str) -> int:
    """Return a number of bytes that the kernel tells of this process."""
    with Path("/proc/self/status").open() as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field + ":"))


def serve(place: Path, commands: IO[str], answers: IO[str]) -> None:
    """Answer each command from a process of its own, forked from this one, which has imported what takes long."""
    for command in commands:
        if pid := os.fork():
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                print("ended", how, file=answers, flush=True)
            continue
        try:
            answer(command, place, answers)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)


def answer(command: str, place: Path, answers: IO[str]) -> None:
    """Read the inputs that a command names."""
    from itin.extract.foreign import child, reading

    *how, name, first, count = command.split()
    if not how:
        vars(reading)["isolated"] = within
    reader, watch = ALL[name], None if how else Watch()
    cases = Cases(name, reader, make_sound(name, place))
    here = Path.cwd() / name
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    for folder in cases.folders:  # what is loaded at first use is loaded now
        shutil.copytree(folder, here / folder.name)
        with contextlib.nullcontext() if reader.sound_is_read else contextlib.suppress(*REFUSALS):
            reader.read(here / folder.name)
    if not how:
        room = child.ROOM if reader.isolated else ROOM
        resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + room, resource.RLIM_INFINITY))
    for number in range(int(first), int(first) + int(count)):
        print(number, file=answers, flush=True)
        told = one(cases, number, here, watch)
        print(json.dumps(told), file=answers, flush=True)
    shutil.rmtree(here)
    print("done", file=answers, flush=True)


def one(cases: Cases, number: int, here: Path, watch: Watch | None) -> dict[str, Any]:
    """Read one input and return what came of it."""
    folder, path = cases.prepare(number, here)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, outcome, why = memory("VmRSS"), "read", ""
    started = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    if watch is not None:
        watch.seen.clear()
        watch.on = True
    try:
        cases.reader.read(folder)
    except REFUSALS:
        outcome = "refused"
    except BaseException as error:
        outcome, why = f"{type(error).__module__}.{type(error).__name__}", traceback.format_exc()[-3000:]
    if watch is not None:
        watch.on = False
    signal.setitimer(signal.ITIMER_PROF, 0)
    spent, peak = time.process_time() - started, max(0, memory("VmHWM") - before)
    if Path(CANARY).exists():
        Path(CANARY).unlink()
        outcome, why = "executed", "the canary was made"
    elif watch is not None and watch.seen:
        outcome, why = "went outside", "; ".join(watch.seen[:4])
    elif peak > MOST_RESIDENT:
        outcome, why = "memory", f"{peak} bytes"
    cases.restore(folder, path)
    shutil.rmtree(here / "cache", ignore_errors=True)
    return {"number": number, "outcome": outcome, "why": why, "seconds": round(spent, 4), "bytes": peak}


def main() -> None:
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in ("torch", "h5py", "pyarrow.parquet", "itin.extract.data.images", "itin.train.runs.folder"):
        import_module(module)
    serve(Path(sys.argv[1]), sys.stdin, answers)


if __name__ == "__main__":
    main()
