"""The last step after many parts: check that every shard is there and sound, and name those that are not."""

from __future__ import annotations

from collections.abc import Sequence

from ..cache import StoreWriter
from ..cache.upkeep.verify import verify
from ..errors import CacheError

MAX_NAMED = 5
"""Number of damaged files that an error names."""


def check_complete(writers: Sequence[StoreWriter], left: Sequence[int]) -> None:
    """Check that every shard is there, and read every byte of it.

    Args:
        writers: the stores.
        left: how many wanted samples each of them lacks.

    Raises:
        CacheError: names the stores that lack samples, and the files that are damaged.
    """
    lacking = [
        f"{count} of {len(writer.plan.rows)} samples in {writer.folder}"
        for writer, count in zip(writers, left, strict=True)
        if count
    ]
    if lacking:
        raise CacheError(
            "not every sample is committed yet, and no manifest was written",
            found="missing: " + "; ".join(lacking),
            next_step="run the parts (--part i/N) that have not ended with exit code 0 again, or `itin cluster submit`",
        )
    for writer in writers:
        problems = [problem for problem in verify(writer.folder).problems if problem.where != "manifest"]
        if problems:
            more = f"; and {len(problems) - MAX_NAMED} more" if len(problems) > MAX_NAMED else ""
            raise CacheError(
                f"{writer.folder} is damaged, and no manifest was written",
                found="; ".join(problem.what for problem in problems[:MAX_NAMED]) + more,
                next_step=f"run `itin cache verify --repair {writer.folder}`, and then the same parts again",
            )
