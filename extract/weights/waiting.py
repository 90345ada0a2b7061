"""Patience with a limit: calls that may never return."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T]) -> T:
    """Return what a call returns; it runs in a thread of its own, which is left behind when the time is over.

    A timeout of a library holds for one address of a server and one attempt, not for looking up its name.

    Raises:
        TimeoutError: it took longer.
    """
    ended: list[tuple[Any, BaseException | None]] = []

    def run() -> None:
        try:
            ended.append((call(), None))
        except BaseException as error:  # raised again in the caller's thread
            ended.append((None, error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not ended:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    value, error = ended[0]
    if error is not None:
        raise error
    returned: T = value
    return returned
