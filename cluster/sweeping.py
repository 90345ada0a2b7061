"""`itin sweep` in parts: part i of N trains the runs whose number in the sweep leaves i modulo N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..parts import Part
from .contract import Missing, Prepared
from .submission import Submission


class Sweeping:
    """Runs of a sweep, each a folder of its own."""

    name = "sweep"
    pieces = "runs"

    def prepare(self, path: Path, words: Sequence[str]) -> Prepared:
        """Check a sweep folder, which says what is to be trained on which features.

        Args:
            path: the folder.
            words: options of `itin sweep` that say how to train, for every part.
        """
        from ..train.sweep import Sweep
        from ..train.sweep_parts import check_parts

        check_parts(Sweep(path))
        home = path.expanduser().absolute()
        return Prepared(folder=home, stores=(), words=("--resume", str(home), *words))

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
