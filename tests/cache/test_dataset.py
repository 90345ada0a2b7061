"""A store as PyTorch takes data: single samples, and batches that workers and processes share."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import itin.cache
from itin.cache import Samples, Store
from itin.cache.dataset import StoreBatches, StoreDataset
from itin.cache.format.schema import KINDS
from itin.cache.rows import RowReader
from itin.errors import CacheError
from itin.parts import Part

from ..features import DIM, MAX_REGIONS, fill_store, rows, sample

COUNT = 23


@pytest.fixture(params=["regions", "tokens", "context"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return fill_store(tmp_path, request.param, rows(COUNT), size=5)


def expected(kind: str, row: int, first: int | None = None) -> dict[str, np.ndarray]:
    made = sample(kind, row)
    return {name: array[:first] for name, array in made.items()} if kind == "regions" else made


@pytest.mark.parametrize("first", [None, 2])
def test_samples_by_number(store: Store, first: int | None) -> None:
    dataset = itin.cache.open(store.path).dataset(first)
    assert isinstance(dataset, Dataset)
    assert len(dataset) == COUNT
    for row in (*np.random.default_rng(0).permutation(COUNT).tolist(), 0, COUNT - 1):
        found = dataset[row]
        assert found.pop("id") == f"id-{row}"
        made = expected(store.kind, row, first)
        assert list(found) == list(made)
        for name, array in made.items():
            assert found[name].dtype == torch.from_numpy(array[:0].copy()).dtype
            np.testing.assert_array_equal(found[name].numpy(), array)
    assert dataset[-1]["id"] == f"id-{COUNT - 1}"
    with pytest.raises(IndexError):
        dataset[COUNT]
    again: StoreDataset = pickle.loads(pickle.dumps(dataset))
    assert again[4]["id"] == "id-4"


def test_samples_in_workers(store: Store) -> None:
    loader: DataLoader[Any] = DataLoader(StoreDataset(store), batch_size=None, shuffle=True, num_workers=2)
    found = {one["id"]: one for one in loader}
    assert len(found) == COUNT
    for row in range(COUNT):
        np.testing.assert_array_equal(found[f"id-{row}"][store.kind].numpy(), sample(store.kind, row)[store.kind])


def test_few_files_are_open_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("itin.cache.rows.MAX_OPEN_FILES", 2)
    read = RowReader(store)
    for row in (0, 22, 6, 11, 0, 16, 5):
        np.testing.assert_array_equal(read(row)[store.kind], sample(store.kind, row)[store.kind])
        assert len(read._open) <= 2


def test_a_shard_that_was_cut_off_is_named(tmp_path: Path) -> None:
    store = fill_store(tmp_path, "context", rows(4), size=4)
    read = RowReader(store)
    read(0)
    shard = next(store.path.glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[: store.shard(0).header.arrays["context"].offset])
    with pytest.raises(CacheError, match=r"shard-00000\.h5 .*it ends too early"):
        read(3)


def unpacked(kind: str, batch: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
    """The samples of a batch by id."""
    found = {}
    for i, id in enumerate(batch["ids"]):
        names = [schema.name for schema in KINDS[kind]]
        if kind == "tokens":
            begin, end = batch["offsets"][i : i + 2].tolist()
            found[id] = {name: batch[name][begin:end].numpy() for name in names}
        elif kind == "regions":
            found[id] = {name: batch[name][i, : batch["counts"][i]].numpy() for name in names}
        else:
            found[id] = {name: batch[name][i].numpy() for name in names}
    return found


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [None, 3])
def test_batches_hold_each_sample_once(store: Store, workers: int, shuffle: int | None) -> None:
    batches = itin.cache.open(store.path).batches(4, shuffle=shuffle)
    assert isinstance(batches, IterableDataset)
    found = list(DataLoader(batches, batch_size=None, num_workers=workers))
    assert len(found) == len(batches) == 6
    assert sorted(len(batch["ids"]) for batch in found) == [3, 4, 4, 4, 4, 4]
    ids = [id for batch in found for id in batch["ids"]]
    assert sorted(ids) == sorted(store.ids)
    assert shuffle is not None or workers or ids == store.ids
    for batch in found:
        assert "offsets" not in batch or batch["offsets"][0] == 0
        for id, arrays in unpacked(store.kind, batch).items():
            for name, array in sample(store.kind, int(id.removeprefix("id-"))).items():
                np.testing.assert_array_equal(arrays[name], array)


def test_batches_are_read_ahead_in_blocks_of_the_same_values(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [batch["ids"] for batch in StoreBatches(store, 4, shuffle=1)]
    monkeypatch.setattr("itin.cache.dataset.BLOCK_BYTES", 1)
    alone = list(StoreBatches(store, 4, shuffle=1))
    assert [batch["ids"] for batch in alone] == whole
    for batch in alone:
        for id, arrays in unpacked(store.kind, batch).items():
            np.testing.assert_array_equal(
                arrays[store.kind], sample(store.kind, int(id.removeprefix("id-")))[store.kind]
            )


def test_orders_and_parts(tmp_path: Path) -> None:
    store = fill_store(tmp_path, "context", rows(COUNT), size=5)
    batches = StoreBatches(store, 5, shuffle=7)
    first = [batch["ids"] for batch in batches]
    assert [batch["ids"] for batch in batches] == first
    batches.set_epoch(1)
    assert [batch["ids"] for batch in batches] != first
    parts = [StoreBatches(store, 5, shuffle=7, part=Part(index, 2)) for index in range(2)]
    assert [len(part) for part in parts] == [3, 2]
    shared = [[batch["ids"] for batch in part] for part in parts]
    assert [shared[0][0], shared[1][0], shared[0][1], shared[1][1], shared[0][2]] == first
    assert [len(batch["ids"]) for batch in StoreBatches(store, 5, drop_last=True)] == [5, 5, 5, 5]
    chosen = list(StoreBatches(store, 2, rows=[9, 2, 2]))
    assert [batch["ids"] for batch in chosen] == [["id-9", "id-2"], ["id-2"]]
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        StoreBatches(store, 0)


def test_the_first_regions_alone(tmp_path: Path) -> None:
    store = fill_store(tmp_path, "regions", rows(9), size=4)
    assert isinstance(itin.cache.open(store.path), Samples)
    for batch in StoreBatches(store, 4, first=1):
        assert batch["regions"].shape[1:] == (1, DIM)
        for id, arrays in unpacked("regions", batch).items():
            made = sample("regions", int(id.removeprefix("id-")))
            np.testing.assert_array_equal(arrays["boxes"], made["boxes"][:1])
    assert MAX_REGIONS > 1
