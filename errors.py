"""The package's own errors: what went wrong, what was expected, what was found, and what to do next."""

from __future__ import annotations

import errno
from collections.abc import Iterator

RUN_AGAIN = 75
"""The exit code for unfinished work that the same command, run again, continues (EX_TEMPFAIL)."""

DOCTOR = "`itin doctor` checks this machine"
"""The next step that every error adds whose cause is the machine, see `ItinError`."""

_OF_THE_MACHINE = {
    getattr(errno, name, None)
    for name in (
        *("ENOSPC", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EROFS", "EIO", "ESTALE", "EXDEV", "EMFILE", "ENFILE"),
        *("ENOMEM", "ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "ENODEV", "ETIMEDOUT"),
    )
}
"""Causes other than a path that is wrong."""


class ItinError(Exception):
    """An error that a user can fix.

    One that has to do with the machine names `itin doctor` in its next step. It is one of these if it says so, if its
    cause is an error of a disk, device, network or memory, or if its next step installs a package.

    Args:
        what: one sentence that names the file, store or option.
        expected: what should have been there.
        found: what was there.
        next_step: the command or action to try next.
        machine: whether the cause is this machine: its packages, devices, scheduler or network.
    """

    may_be_whole = False
    """Whether the file that the error is about may be whole: it cannot be read now, or a later itin has written it."""

    def __init__(
        self,
        what: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        next_step: str | None = None,
        machine: bool = False,
    ) -> None:
        more = {"expected: ": expected, "found:    ": found, "next:     ": next_step}
        super().__init__("\n".join([what, *(f"  {name}{line}" for name, line in more.items() if line is not None)]))
        self.what = what
        self._says_next = next_step is not None
        self._machine = machine or "pip install" in (next_step or "")

    def __str__(self) -> str:
        message = super().__str__()
        if DOCTOR in message or not (self._machine or any(map(_of_the_machine, _causes(self)))):
            return message
        return f"{message}; {DOCTOR}" if self._says_next else f"{message}\n  next:     {DOCTOR}"


class DataError(ItinError):
    """An error in a data set's files: not what their reader expects."""


class CacheError(ItinError):
    """An error of a feature store: missing, incomplete, damaged, or of another kind, format or fingerprint."""


class WeightsError(ItinError):
    """An error of model weights: missing, damaged, or of another architecture."""


class EncoderError(ItinError):
    """An error of an encoder of the user's own: it cannot be imported, or breaks the contract of encoders."""


class RunError(ItinError):
    """An error of a run folder: missing, incomplete, or not matching the stores or the options given."""


class TransientError(ItinError):
    """An error of input that may be intact but could not be read (an I/O error that outlasted the retries)."""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}  # a chain may lead back to where it began
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        error = cause


def _of_the_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class where it has none; never empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
