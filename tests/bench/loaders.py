"""How fast a store gives samples and batches to PyTorch.

    python tests/bench/loaders.py samples    one sample at a time in random order, against h5py on the same arrays
    python tests/bench/loaders.py batches    batches of 64, against reading the packed arrays

h5py reads the file that `itin cache export` writes, which stays open: an array with one entry a sample, contiguous and
uncompressed, the layout that is fastest for it; `groups` is a group a sample, as many tools have it. The packed arrays
are those of `Store.packed`, 64 samples after 64; `whole` is all of them at once. Each measurement is repeated in turns
with its baseline, and the ratio is shown: on a shared machine only ratios of one run mean something, and where it is
very busy, those of `--clock cpu`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import h5py
import numpy as np

import cache as bench  # noqa: TID251  (the bench beside this one)
from itin.cache import Store
from itin.cache.dataset import StoreBatches, StoreDataset
from itin.cache.export.export import export
from itin.cache.format.schema import KINDS

WANTED = {"samples": 5.0, "batches": 0.9}


def from_h5py(file: h5py.File, kind: str, row: int) -> dict[str, np.ndarray]:
    """One sample's arrays out of packed ones."""
    names = [schema.name for schema in KINDS[kind]]
    if kind == "tokens":
        begin, end = file["offsets"][row : row + 2]
        return {name: file[name][begin:end] for name in names}
    if kind == "regions":
        count = file["counts"][row]
        return {name: file[name][row, :count] for name in names}
    return {name: file[name][row] for name in names}


def samples(folder: Path, store: Store, repeats: int) -> None:
    """A random order of samples, all of their arrays."""
    order = np.random.default_rng(0).permutation(len(store)).tolist()
    export(store, folder / f"{store.kind}.h5")
    export(store, folder / f"{store.kind}-groups.h5", to="hdf5-groups")
    names = [schema.name for schema in KINDS[store.kind]]
    with h5py.File(folder / f"{store.kind}.h5") as packed, h5py.File(folder / f"{store.kind}-groups.h5") as groups:
        dataset = StoreDataset(store)
        for row in order[:3]:
            for name, array in from_h5py(packed, store.kind, row).items():
                assert np.array_equal(dataset[row][name].numpy(), array), name
        ids = store.ids
        work: dict[str, Callable[[], object]] = {
            "ours": lambda: [dataset[row] for row in order],
            "h5py": lambda: [from_h5py(packed, store.kind, row) for row in order],
            "groups": lambda: [{name: groups[ids[row]][name][()] for name in names} for row in order],
        }
        seconds = bench.in_turns(repeats, **work)
    each = seconds["ours"] / len(order) * 1e6
    print(
        f"{store.kind:8} {each:6.1f} µs a sample; h5py takes {seconds['h5py'] / seconds['ours']:.1f} times as long,"
        f" a group a sample {seconds['groups'] / seconds['ours']:.1f} times; wanted: {WANTED['samples']:g}"
    )


def batches(folder: Path, store: Store, repeats: int) -> None:
    """All samples in their order, in batches of 64, without other processes."""
    everything = np.arange(len(store))
    work: dict[str, Callable[[], object]] = {
        "whole": lambda: store.packed(everything),
        "packed": lambda: exhaust(store.packed(everything[at : at + 64]) for at in range(0, len(store), 64)),
        "batches": lambda: exhaust(StoreBatches(store)),
        "shuffled": lambda: exhaust(StoreBatches(store, shuffle=0)),
    }
    seconds = bench.in_turns(repeats, **work)
    rate = {name: seconds["packed"] / seconds[name] for name in ("batches", "shuffled", "whole")}
    print(
        f"{store.kind:8} {rate['batches']:.2f} of the speed of the packed arrays, {rate['shuffled']:.2f} in random"
        f" order; whole {rate['whole']:.2f}; {len(store) / seconds['batches']:.0f} samples a second; wanted:"
        f" {WANTED['batches']:g}"
    )


def exhaust(pieces: Iterable[object]) -> None:
    """Take one after the other, as a loop over batches does."""
    for _ in pieces:
        pass


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tuple(WANTED))
    parser.add_argument("--count", type=int, default=2048, help="samples")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--clock", choices=tuple(bench.CLOCKS), default="wall")
    options = parser.parse_args()
    bench.clock = bench.CLOCKS[options.clock]
    with tempfile.TemporaryDirectory() as name:
        for kind in ("regions", "tokens", "context"):
            folder = Path(name)
            {"samples": samples, "batches": batches}[options.what](
                folder, bench.make(folder, kind, options.count), options.repeats
            )


if __name__ == "__main__":
    main()
