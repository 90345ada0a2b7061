"""`itin sweep` in parts: part i of N trains the runs whose number in the sweep leaves i modulo N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..commands import sweep as sweep_command
from ..parts import Part
from .contract import Missing, Prepared
from .submission import Submission

if TYPE_CHECKING:
    from ..extract.lane import Progress

KEPT = ("cache", "device", "workers", "threads", "stack", "cuda_graphs", "precision", "gru")
"""Options that say how to train, not what; they are passed on to every part."""

REFUSED = ("plan", "part", "consolidate", "retry_failed", "reveal_test")
"""Options that a submission sets itself, or that belong to a sweep as a whole."""


class Sweeping:
    """Runs of a sweep, each a folder of its own."""

    name = "sweep"
    pieces = "runs"

    def prepare(self, words: Sequence[str], progress: Progress | None = None) -> Prepared:
        """Makes the sweep's folder, which says what is to be trained on which features, and trains nothing."""
        from ..train.sweep import Sweep
        from ..train.sweep_parts import check_parts

        context = sweep_command.command.make_context("sweep", list(words))
        for name in REFUSED:
            if context.params[name]:
                raise ValueError(f"--{name.replace('_', '-')} does not go with a submission: leave it out")
        given = {name: _absolute(name, context) for name in KEPT if _was_given(name, context)}
        path = context.params["resume"] or context.params["out"] or _default_path()
        if context.params["resume"] is None:
            more = [] if context.params["out"] else ["--out", str(path)]
            sweep_command.command.main([*words, *more, "--device", "cpu", "--plan"], "sweep", standalone_mode=False)
        check_parts(Sweep(path))
        home = path.expanduser().absolute()
        flags = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
        passed = [word for flag, value in flags.items() for word in ((flag,) if value == str(True) else (flag, value))]
        return Prepared(folder=home, stores=(), words=("--resume", str(home), *passed), limit=None)

    def part(self, submission: Submission) -> list[str]:
        """Arguments of itin for a part, whose `i/N` is to be put behind them."""
        return ["sweep", *submission.words, "--part"]

    def consolidate(self, submission: Submission) -> list[str]:
        """Arguments of itin for the table of results."""
        return ["sweep", "--resume", str(submission.home), "--consolidate"]

    def missing(self, submission: Submission) -> Missing:
        """The runs that have neither ended nor failed."""
        from ..train.sweep import Sweep, missing
        from ..train.sweep_parts import places_of

        sweep = Sweep(submission.home)
        failed, finished = sweep.failed(), sweep.finished()
        parts: Counter[int] = Counter()
        left = {key for _, key in missing(sweep.definition, {**failed, **finished})}
        for index in range(submission.parts):
            lacking = sum(key in left for _, key in places_of(sweep.definition, Part(index, submission.parts)))
            if lacking:
                parts[index] = lacking
        wanted = len({key for _, key in sweep.definition.places})
        return Missing(dict(parts), wanted, len(set(failed) - set(finished)))

    def made_since(self, submission: Submission, begin: float) -> int:
        """Runs whose folder got its name then or later."""
        runs = (path for path in (submission.home / "runs").iterdir() if not path.name.startswith("."))
        return sum(path.stat().st_mtime >= begin for path in runs)

    def consolidated(self, submission: Submission) -> bool:
        """Whether the table of results has been written since."""
        table = submission.home / "results.csv"
        return table.exists() and table.stat().st_mtime >= submission.created


def _was_given(name: str, context: click.Context) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _absolute(name: str, context: click.Context) -> str:
    value = context.params[name]
    return str(value.expanduser().absolute()) if isinstance(value, Path) else str(value)


def _default_path() -> Path:
    return Path("runs") / f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
