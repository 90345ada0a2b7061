"""Reading rows in every order from shards of every shape, and what it costs to open and to commit."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itin.cache import Store, StoreWriter, open_store
from itin.cache import store as store_module
from itin.cache.format import shard_read as shard_reader
from itin.cache.format.schema import KINDS
from itin.cache.format.shard_header import header_of
from itin.errors import CacheError

from .. import features
from ..features import fill

COUNT = 60


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Stores whose shards have 16, 7 and other numbers of samples, some of them with gaps between their rows."""
    parent = tmp_path_factory.mktemp("stores")
    made = {}
    for kind in KINDS:
        writer = StoreWriter(parent, features.identity(kind))
        rows = writer.extend(features.rows(40), 16)
        writer.commit(0, {row: writer.stored(features.sample(kind, row)) for row in (1, 3, 4, 8, 15)})
        fill(writer, rows)
        fill(writer, writer.extend(features.rows(COUNT), 7))
        writer.finish({})
        made[kind] = open_store(writer.folder)
    return made


def orders() -> list[np.ndarray]:
    chance = np.random.default_rng(5)
    everything = np.arange(COUNT)
    some = [np.sort(chance.permutation(COUNT)[:n]) for n in (1, 5, 30, 48, 59)]
    mixed = [chance.permutation(COUNT)[:n] for n in (2, 20, 60)]
    return [everything, everything[::-1], everything[7:33], np.array([4, 4, 9, 4]), *some, *mixed]


@pytest.mark.parametrize(
    ("scratch", "run", "threads"),
    [(1 << 20, 1 << 15, 1 << 30), (40, 1 << 15, 1 << 30), (1 << 20, 1, 1 << 30), (1 << 20, 1 << 15, 0)],
    ids=["as it is", "small scratch", "reads of single runs", "threads"],
)
def test_any_rows_in_any_order(
    stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch, scratch: int, run: int, threads: int
) -> None:
    monkeypatch.setattr(shard_reader, "SCRATCH_BYTES", scratch)
    monkeypatch.setattr(shard_reader, "MIN_DIRECT_BYTES", run)
    monkeypatch.setattr(store_module, "MIN_THREADED_BYTES", threads)
    for kind, store in stores.items():
        numbers = [int(sample.removeprefix("id-")) for sample in store.ids]
        samples = [features.sample(kind, number) for number in numbers]
        for rows in orders():
            if kind == "tokens":
                ragged = store.read_ragged(rows)
                assert np.diff(ragged["offsets"]).tolist() == [len(samples[row]["tokens"]) for row in rows]
                for name in ("tokens", "token_ids", "word_ids"):
                    np.testing.assert_array_equal(ragged[name], np.concatenate([samples[row][name] for row in rows]))
                continue
            for schema in KINDS[kind]:
                for first in (None, 1, 3, 99) if schema.axis == "region" else (None,):
                    check(
                        store.read(schema.name, rows, first), [samples[row][schema.name] for row in rows], schema.fill
                    )


def test_samples_are_what_the_encoder_returned(stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "ROWS_AT_ONCE", 13)
    for kind, store in stores.items():
        for rows in (*orders(), np.zeros(0, np.int64)):
            found = list(store.samples(rows))
            assert len(found) == len(rows)
            for row, arrays in zip(rows, found, strict=True):
                expected = features.sample(kind, int(store.ids[row].removeprefix("id-")))
                assert list(arrays) == list(expected)
                for name, array in arrays.items():
                    np.testing.assert_array_equal(array, expected[name])


def check(found: np.ndarray, expected: list[np.ndarray], fill: float) -> None:
    assert len(found) == len(expected)
    for one, whole in zip(found, expected, strict=True):
        k = min(len(one), len(whole))
        np.testing.assert_array_equal(one[:k], whole[:k])
        assert (one[k:] == fill).all()


def test_an_array_that_is_not_there(stores: dict[str, Store]) -> None:
    with pytest.raises(ValueError, match=r"has no array 'colours', only ids, sha256, rows, regions, boxes"):
        stores["regions"].read("colours", np.arange(2))


def test_a_header_grows_with_its_rows(tmp_path: Path) -> None:
    """Rows in thousands of ranges take up more than 4096 bytes."""
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(4000), 4000)
    one = writer.stored(features.sample("context", 0))
    writer.commit(0, dict.fromkeys(rows[::2], one))
    path = writer.folder / "shard-00000.h5"
    header = header_of(path, path.read_bytes())
    assert header.header == 16384
    writer.commit(0, dict.fromkeys(rows, one))
    assert writer.finish({})["complete"]
    store = open_store(writer.folder)
    assert sorted(store.ids) == sorted(sample for sample, _ in features.rows(4000))
    for cut in (4096, 9000):
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(CacheError, match="it ends within its header"):
            shard_reader.Shard(path, store.fingerprint)


def test_opening_reads_no_shard(stores: dict[str, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a shard was opened")

    monkeypatch.setattr(shard_reader, "FileIO", refuse)
    store = open_store(stores["context"].path)
    assert len(store) == COUNT
    assert store.index(["id-59", "id-0"]).tolist() == [store.ids.index("id-59"), store.ids.index("id-0")]


def test_no_step_lists_the_folder_for_each_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listings: Counter[str] = Counter()
    scandir, listdir = os.scandir, os.listdir

    def count(function: Any) -> Any:
        def counted(path: Any = ".") -> Any:
            listings[str(path)] += 1
            return function(path)

        return counted

    monkeypatch.setattr(os, "scandir", count(scandir))
    monkeypatch.setattr(os, "listdir", count(listdir))
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(200), 4)
    pieces = writer.missing(rows)
    before = sum(listings.values())
    for piece in pieces:
        writer.commit(piece.block, {row: writer.stored(features.sample("context", row)) for row in piece.rows})
    assert sum(listings.values()) == before
    writer.finish({})
    assert listings[str(writer.folder)] <= 10


def test_a_writer_does_not_read_its_own_shards_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itin.cache.format import manifest

    writer = StoreWriter(tmp_path, features.identity("context"))
    fill(writer, writer.extend(features.rows(8), 4))

    def refuse(*_: object) -> None:
        raise AssertionError("a shard was read as a whole")

    monkeypatch.setattr(manifest, "_hashed", refuse)
    assert writer.finish({})["complete"]


def test_a_shard_that_was_made_again_gets_its_own_digest(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(4), 4)
    fill(writer, rows)
    first = writer.finish({})["shards"][0]
    (writer.folder / "shard-00000.h5").unlink()
    again = StoreWriter(tmp_path, features.identity("context"))
    again.missing(rows)
    again.commit(0, {row: again.stored(features.sample("context", row + 1)) for row in rows})  # another GPU, say
    second = StoreWriter(tmp_path, features.identity("context")).finish({})["shards"][0]
    assert second["bytes"] == first["bytes"]
    assert second["sha256"] != first["sha256"]
    values = open_store(writer.folder).read("context", np.array([0]))
    np.testing.assert_array_equal(values[0], features.sample("context", 1)["context"])
