"""`itin sweep` in parts: part i of N trains the runs whose number in the sweep is i modulo N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .submission import Submission
from .work import Missing, Prepared


class Sweeping:
    """Runs of a sweep, each a folder of its own."""

    name = "sweep"
    pieces = "runs"

    def prepare(self, path: Path, words: Sequence[str]) -> Prepared:
        """Check a sweep folder, which defines the runs and their features.

        Args:
            path: the folder.
            words: options of `itin sweep` that every part takes.
        """
        from ..train.sweeps.folder import Sweep
        from ..train.sweeps.run import check_parts

        check_parts(Sweep(path))
        home = path.expanduser().absolute()
        return Prepared(folder=home, stores=(), words=("--resume", str(home), *words))

    def part(self, submission: Submission) -> list[str]:
        """Return the arguments of itin for a part, to be followed by its `i/N`."""
        return ["sweep", *submission.words, "--part"]

    def consolidate(self, submission: Submission) -> list[str]:
        """Return the arguments of itin that write the table of results."""
        return ["sweep", "--resume", str(submission.home), "--consolidate"]

    def missing(self, submission: Submission) -> Missing:
        """Return the runs that have neither ended nor failed."""
        from ..train.sweeps.folder import Sweep

        sweep = Sweep(submission.home)
        runs, ended = sweep.definition.runs(), sweep.ended()
        parts = Counter(number % submission.parts for number, trial in enumerate(runs) if trial.key not in ended)
        return Missing(dict(parts), len(runs), sum(result.run is None for result in ended.values()))

    def made_since(self, submission: Submission, begin: float) -> int:
        """Return the number of runs whose folder was committed at `begin` or later."""
        runs = (path for path in (submission.home / "runs").iterdir() if not path.name.startswith("."))
        return sum(path.stat().st_mtime >= begin for path in runs)

    def consolidated(self, submission: Submission) -> bool:
        """Return whether the table of results has been written since the submission."""
        table = submission.home / "results.csv"
        return table.exists() and table.stat().st_mtime >= submission.created
