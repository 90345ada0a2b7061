"""A process that forks writers and readers of a store on command, so that killing hundreds of them takes seconds.

Commands on stdin: `writer FOLDER COUNT SHARD` and `reader FOLDER` answer with the process's number, `wait PID` with how
it ended (0, or minus the signal's number). Run as a module.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import h5py
import numpy as np

from itin.cache import StoreWriter, fingerprint_of, open_store
from itin.cache.format.shard_read import Shard

from .. import features

IDENTITY = features.identity("regions")
IN_QUARANTINE = 50
"""Every so manieth row goes into quarantine."""


def write(folder: Path, count: int, shard_size: int) -> None:
    writer = StoreWriter(folder, IDENTITY)
    rows = writer.extend(features.rows(count), shard_size)
    for piece in writer.missing(rows):
        good = [row for row in piece.rows if row % IN_QUARANTINE]
        for row in set(piece.rows) - set(good):
            writer.quarantine(row, "every fiftieth")
        features.fill(writer, good)
    writer.finish({})


def read(folder: Path) -> None:
    """Opens every shard that appears, again and again, until a file `stop` is there; writes down how many."""
    reads = 0
    fingerprint = fingerprint_of(IDENTITY)
    while not (folder / "stop").exists():
        for path in folder.glob("*/shard-*.h5"):
            shard = Shard(path, fingerprint)
            assert not shard.damage(), path
            check(shard.rows, shard.array("regions"))
            with h5py.File(path, "r", locking=False) as file:
                check(file["rows"][:], file["regions"][:])
            reads += 1
        for manifest in folder.glob("*/manifest.json"):
            store = open_store(manifest.parent)
            numbers = np.array([int(sample.removeprefix("id-")) for sample in store.ids])
            check(numbers, store.read("regions", np.arange(len(store))))
    (folder / f"reads-{os.getpid()}").write_text(str(reads))


def check(rows: np.ndarray, regions: np.ndarray) -> None:
    for row, found in zip(rows.tolist(), regions, strict=True):
        expected = features.sample("regions", row)["regions"]
        np.testing.assert_array_equal(found[: len(expected)], expected)


def main() -> None:
    for line in sys.stdin:
        command, *arguments = line.split()
        if command == "wait":
            _, status = os.waitpid(int(arguments[0]), 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
            continue
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        try:
            folder = Path(arguments[0])
            if command == "writer":
                write(folder, int(arguments[1]), int(arguments[2]))
            else:
                read(folder)
        except BaseException:
            (folder / f"error-{os.getpid()}").write_text(traceback.format_exc())
            os._exit(1)
        os._exit(0)


if __name__ == "__main__":
    main()
