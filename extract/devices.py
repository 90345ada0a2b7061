"""One extraction on several devices: a process for each, which fills its part of every store."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Event
from typing import Any, Generic, TypeVar

import torch

from ..errors import ItinError
from ..parts import ended, threads_of_children
from .progress import Progress

R = TypeVar("R")
Work = Callable[[Progress, Event], R]
"""The work of one process: it reports its progress, and ends soon once the event is set. Sent to it by pickle."""

POLL_SECONDS = 0.2
"""The maximum time after which children learn that the parent was told to stop."""

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
"""The signals after which a child ends soon."""


class DeviceError(ItinError):
    """One of several devices failed."""


def run_on_devices(works: Sequence[tuple[str, Work[R]]], progress: Progress, stop: Event) -> list[R]:
    """Run one process a device at the same time, and return their results.

    The threads of this process are divided between them. They end with it, however it ends, and commit what is encoded
    before; so they do after a KeyboardInterrupt here, or once one of them has failed.

    Args:
        works: devices and their work.
        progress: receives the progress of all.
        stop: once set, all end soon, and their results are those so far.

    Raises:
        DeviceError: a process failed or died; names its device.
    """
    threads = max(1, torch.get_num_threads() // len(works))
    children: list[_Child[R]] = []
    try:
        with threads_of_children(threads), _held_signals():
            for device, work in works:
                children.append(_Child(device, work, threads))
        told = False
        while running := {child.connection: child for child in children if not child.results}:
            if stop.is_set() and not told:
                told = True
                for child in running.values():
                    with suppress(OSError):  # if it has died, `receive` notices
                        child.connection.send(None)
            for connection in wait(list(running), POLL_SECONDS):
                running[connection].receive(progress)  # type: ignore[index]
        return [child.results[0] for child in children]
    except BaseException:
        for child in children:
            child.connection.close()  # it commits what is encoded, and ends
        for child in children:
            child.process.join()
        raise
    finally:
        for child in children:
            child.process.kill()
            child.process.join()


class _Child(Generic[R]):
    def __init__(self, device: str, work: Work[R], threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork, nor do torch's threads
        self.device = device
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(target=_run, args=(theirs, work, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.results: list[R] = []

    def receive(self, progress: Progress) -> None:
        """Take one message: progress, the result, or an error."""
        again = "run the same command again, without this device if it fails again: what was committed is kept"
        try:
            what, value = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise DeviceError(
                f"device {self.device}: its process {ended(self.process.exitcode)}", next_step=again, machine=True
            ) from None
        if what == "advance":
            progress.advance(*value)
        elif what == "result":
            self.results.append(value)
        else:
            raise DeviceError(f"device {self.device}: {value}", next_step=again if what == "bug" else None)


class _Sent:
    """Progress that is sent to the parent, which knows the totals itself."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def start(self, kind: str, total: int, done: int) -> None:
        """Do nothing."""

    def advance(self, kind: str, count: int) -> None:
        """Send so many more samples as done."""
        with suppress(OSError):  # the parent listens no more, or has died: `stop` is set then
            self._connection.send(("advance", (kind, count)))


def _run(connection: Connection, work: Work[Any], threads: int) -> None:
    """Do the work of a child process."""
    stop = Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its children
    for number in STOPPING:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    threading.Thread(target=_stop_with_parent, args=(connection, stop), daemon=True).start()
    torch.set_num_threads(threads)
    message: tuple[str, Any]
    try:
        message = ("result", work(_Sent(connection), stop))
    except ItinError as error:
        message = ("error", str(error))
    except Exception as error:
        traceback.print_exc()
        message = ("bug", f"{type(error).__name__}: {error}")
    with suppress(OSError):
        connection.send(message)


def _stop_with_parent(connection: Connection, stop: Event) -> None:
    """Set the event when the parent says so, or closes the connection."""
    with suppress(EOFError, OSError):
        connection.recv()
    stop.set()


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back, here and in the children started here, which take them once they can act on them."""
    resource_tracker.ensure_running()  # its start, which every child would cause, lets the signals through
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, *STOPPING))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
