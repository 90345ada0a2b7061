"""The package's own errors: what went wrong, what was expected, what was found, and what to do next."""

from __future__ import annotations

RUN_AGAIN = 75
"""The exit code for unfinished work that the same command, run again, continues (EX_TEMPFAIL)."""


class ItinError(Exception):
    """An error that a user can fix.

    Args:
        what: one sentence that names the file, store or option.
        expected: what should have been there.
        found: what was there.
        next_step: the command or action to try next.
    """

    def __init__(
        self, what: str, *, expected: str | None = None, found: str | None = None, next_step: str | None = None
    ) -> None:
        more = {"expected: ": expected, "found:    ": found, "next:     ": next_step}
        super().__init__("\n".join([what, *(f"  {name}{line}" for name, line in more.items() if line is not None)]))
        self.what = what


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


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class where it has none; never empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
