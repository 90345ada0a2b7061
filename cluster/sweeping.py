"""`itin sweep` in parts: part i of N trains the runs whose number in the sweep leaves i modulo N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from ..commands import sweep as sweep_command
from .contract import Missing, Prepared
from .submission import Submission

KEPT = ("cache", "device", "workers", "threads", "stack", "cuda_graphs", "precision", "gru")
"""Options that say how to train, not what; they are passed on to every part."""

REFUSED = ("plan", "part", "consolidate", "retry_failed", "reveal_test")
"""Options that a submission sets itself, or that belong to a sweep as a whole."""


class Sweeping:
    """Runs of a sweep, each a folder of its own."""

    name = "sweep"
    pieces = "runs"

    def prepare(self, words: Sequence[str]) -> Prepared:
        """Makes the sweep's folder, which says what is to be trained on which features, and trains nothing."""
        from ..train.sweeps.folder import Sweep
        from ..train.sweeps.run import check_parts

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
        from ..train.sweeps.folder import Sweep

        sweep = Sweep(submission.home)
        runs, ended = sweep.definition.runs(), sweep.ended()
        parts = Counter(number % submission.parts for number, trial in enumerate(runs) if trial.key not in ended)
        return Missing(dict(parts), len(runs), sum(result.run is None for result in ended.values()))

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
