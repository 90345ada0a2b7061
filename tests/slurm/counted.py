"""itin, with every sample that is handed to an encoder written down, and slower where a test needs time to interfere.

Environment: ITIN_COUNTS, a folder that gets a file a process; ITIN_DELAY, seconds a sample;
ITIN_UNTIED, seconds after which a sweep begins that nobody tied to its array.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def patch() -> None:
    """Counts from now on in this process."""
    from itin.cluster import chain
    from itin.extract.lanes import Lane

    flush = Lane.flush
    path = Path(os.environ["ITIN_COUNTS"]) / f"{os.getpid()}.txt"
    delay = float(os.environ.get("ITIN_DELAY", "0"))
    chain.UNTIED_SECONDS = int(os.environ.get("ITIN_UNTIED", chain.UNTIED_SECONDS))

    def counted(self: Any) -> None:
        batch = [row for row, _ in self._batch]
        if batch:
            with path.open("a") as file:
                file.write("".join(f"{time.time():.3f} {self.writer.folder.name} {row}\n" for row in batch))
            time.sleep(delay * len(batch))
        flush(self)

    Lane.flush = counted  # type: ignore[method-assign]


def dask_setup(worker: object) -> None:
    """What `dask worker --preload` calls."""
    patch()


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "extract":
        patch()
    elif sys.argv[1:3] == ["cluster", "sweep"] and (once := Path(os.environ["ITIN_COUNTS"]) / "kill-sweep").exists():
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    elif os.environ.get("ITIN_UNTIED"):
        from itin.cluster import chain

        chain.UNTIED_SECONDS = int(os.environ["ITIN_UNTIED"])
    from itin.cli import main

    main()
