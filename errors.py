"""The package's own errors: what went wrong, what was expected, what was found, and what to do next."""

from __future__ import annotations

RUN_AGAIN = 75
"""Exit code when work is left over and the same command, run again, goes on with it (EX_TEMPFAIL)."""


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
        lines = [what]
        if expected is not None:
            lines.append(f"  expected: {expected}")
        if found is not None:
            lines.append(f"  found:    {found}")
        if next_step is not None:
            lines.append(f"  next:     {next_step}")
        super().__init__("\n".join(lines))
        self.what = what


class DataError(ItinError):
    """A data set's files are not what their reader expects."""


class CacheError(ItinError):
    """A feature store is missing, incomplete, damaged, or of another kind, format or fingerprint."""


class WeightsError(ItinError):
    """Model weights are missing, damaged, or of another architecture."""


class RunError(ItinError):
    """A run folder is missing, incomplete, or does not fit the stores or the options given."""


class TransientError(ItinError):
    """Input that could not be read this time though it may be sound (an I/O error that outlasted the retries)."""
