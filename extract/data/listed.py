"""A file that lists ids, one a line: it limits an extraction to these samples of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

from ...errors import DataError
from ...tabular.lines import lines_of
from ...tabular.matching import examples, match
from .samples import Sample


def read_ids(path: Path) -> Counter[str]:
    """Return the ids that a file lists, in its order, each with the number of its lines.

    White space around an id and blank lines are ignored.

    Args:
        path: a text in UTF-8.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or lists nothing.
    """
    expected, next_step = "a text file in UTF-8 with one id a line", "name another with --ids"
    try:
        listed = Counter(id for line in lines_of(path.expanduser().read_bytes()) if (id := line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read the ids in {path}: {reason}", expected=expected, next_step=next_step) from error
    if not listed:
        raise DataError(
            f"{path} lists no ids", expected=expected, found="no line that is not blank", next_step=next_step
        )
    return listed


def check_known(path: Path, listed: Iterable[str], known: Iterable[str], dataset: str) -> None:
    """Check that a data set has every listed id.

    Args:
        path: the file that lists them.
        listed: the ids in it.
        known: the ids of all pairs of the data set, with those that cannot be used.
        dataset: its name.

    Raises:
        DataError: ids that the data set lacks; names the first few and the likely cause.
    """
    matched = match(known, listed)
    if unknown := matched.theirs:
        raise DataError(
            f"{path} lists ids that are not of {dataset}: {len(unknown)} ({examples(unknown)})",
            expected=f"ids such as {examples(matched.ours[:3])}" if matched.ours else f"ids of {dataset}",
            found=matched.cause,
            next_step="fix the file: pairs that the label rule or --labelled-only leaves out have no features",
        )


def wanted_positions(
    samples: Sequence[Sample], limit: int | None, listed: Container[str] | None, undecided: bool = False
) -> Sequence[int]:
    """Return the positions of the samples that an extraction is limited to.

    Args:
        samples: all samples, in the data set's order.
        limit: the number of samples that are wanted, from the first on; None for all.
        listed: the ids that are wanted; None for all.
        undecided: whether the samples without a label are those that the data set's label rule gives none. They do not
            count towards the limit, and those before the last one that counts come along (all where none is left
            out): a limit names the same labelled samples with `labelled_only` and without.
    """
    if listed is not None:
        return [position for position, sample in enumerate(samples) if sample.id in listed]
    if limit is None or not undecided:
        return range(len(samples) if limit is None else min(limit, len(samples)))
    counted = [place for place, sample in enumerate(samples) if sample.label is not None]
    if limit >= len(counted):
        return range(len(samples))
    return range(counted[limit - 1] + 1)


def note_of(path: Path, listed: Counter[str], wanted: int) -> str:
    """Return one line that accounts for every line with an id."""
    parts = [f"{path.name} lists {len(listed)} ids: {wanted} are extracted"]
    if rest := len(listed) - wanted:
        parts.append(f"{rest} cannot be used")
    if repeated := listed.total() - len(listed):
        parts.append(f"{repeated} repeated")
    return ", ".join(parts)
