"""itin, with every sample that is handed to an encoder written down, and slower where a test needs time to interfere.

Environment: ITIN_COUNTS, a folder that gets a file a process; ITIN_DELAY, seconds a sample; ITIN_TOGETHER, how many
processes wait for one another with their first samples; ITIN_CHEAP, the folder of cheap_encoder.py, which then takes
the place of real encoders; ITIN_UNTIED, seconds after which a resubmission begins that nobody tied to its array.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

HEAVY = ("torch", "torchvision", "transformers", "tokenizers")


class Absent(MetaPathFinder, Loader):
    """Stands in for libraries that only real encoders use: importing them takes 5 s of a core in every process."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Finds every module of theirs."""
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in HEAVY else None

    def create_module(self, spec: ModuleSpec) -> Any:
        """A module that has whatever is asked for."""
        return MagicMock(__version__="0", __path__=[])

    def exec_module(self, module: Any) -> None:
        """Nothing is in it."""


def use_cheap_encoders() -> None:
    """Encodes from now on in this process without torch."""
    sys.meta_path.insert(0, Absent())
    sys.path.append(os.environ["ITIN_CHEAP"])
    from cheap_encoder import Fake

    from itin.extract import run

    stand_ins = {
        "build_encoder": lambda kind, *_, **__: Fake(kind, "cheap"),
        "needs_built_tokenizer": lambda config: False,
        "pick_device": lambda name: name,
    }
    for name, stand_in in stand_ins.items():
        setattr(run, name, stand_in)


def patch() -> None:
    """Counts from now on in this process."""
    if os.environ.get("ITIN_CHEAP"):
        use_cheap_encoders()
    from itin.cluster import slurm_chain as chain
    from itin.extract.lanes import Lane

    flush = Lane.flush
    path = Path(os.environ["ITIN_COUNTS"]) / f"{os.getpid()}.txt"
    delay, together = float(os.environ.get("ITIN_DELAY", "0")), int(os.environ.get("ITIN_TOGETHER", "0"))
    chain.UNTIED_SECONDS = int(os.environ.get("ITIN_UNTIED", chain.UNTIED_SECONDS))

    def counted(self: Any) -> None:
        batch = [row for row, _ in self._batch]
        if batch:
            with path.open("a") as file:
                file.write("".join(f"{time.time():.3f} {self.writer.folder.name} {row}\n" for row in batch))
            while len(list(path.parent.glob("*.txt"))) < together:
                time.sleep(0.05)
            time.sleep(delay * len(batch))
        flush(self)

    Lane.flush = counted  # type: ignore[method-assign]


def dask_setup(worker: object) -> None:
    """What `dask worker --preload` calls."""
    patch()


if __name__ == "__main__":
    if (
        sys.argv[1:3] == ["cluster", "resubmit"]
        and (once := Path(os.environ["ITIN_COUNTS"]) / "kill-resubmission").exists()
    ):
        once.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[1] == "extract" or sys.argv[1:3] == ["cluster", "submit"]:
        patch()
    elif os.environ.get("ITIN_UNTIED"):
        from itin.cluster import slurm_chain as chain

        chain.UNTIED_SECONDS = int(os.environ["ITIN_UNTIED"])
    from itin.cli import main

    main()
