"""Throw mutated files at every reader: `python -m tests.fuzz --count 100000 --out FOLDER`, from the root."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from .engine import Child, fuzz
from .readers import READERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="inputs in all")
    parser.add_argument("--reader", action="append", choices=READERS, help="only this reader; may be repeated")
    parser.add_argument("--first", type=int, default=0, help="number of the first input of each reader")
    parser.add_argument("--out", type=Path, required=True, help="folder for sound files and findings")
    given = parser.parse_args()
    names = given.reader or list(READERS)
    shares = {name: READERS[name].share for name in names}
    child = Child((given.out / "sound").resolve())
    total = findings = 0
    print(
        f"{'reader':22} {'inputs':>7} {'read':>7} {'refused':>7} {'finds':>5} {'time':>7} {'slowest':>7} {'memory':>8}"
    )
    started = time.monotonic()
    try:
        for name in names:
            count = -(-int(given.count * shares[name]) // sum(shares.values()).__ceil__())
            one = fuzz(child, name, given.first, count, given.out / "findings")
            total, findings = total + one.inputs, findings + len(one.findings)
            figures = f"{one.inputs:7} {one.outcomes['read']:7} {one.outcomes['refused']:7} {len(one.findings):5}"
            print(
                f"{name:22} {figures} {one.seconds:6.0f}s {one.slowest:6.2f}s {one.bytes / 2**20:5.0f}MiB", flush=True
            )
    finally:
        child.close()
    print(f"{total} inputs, {findings} findings, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
