"""Writing a store and reading it back: values, growth, quarantine, and refusals."""

from __future__ import annotations

import os
import pickle
import re
import stat
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from itin.cache import Store, StoreWriter, find_stores, open_store, store_name
from itin.cache.format import manifest, sealed_json
from itin.cache.format.ranges import from_ranges, to_ranges
from itin.cache.format.schema import KINDS, fingerprint_of
from itin.cache.format.shard_write import FeatureError
from itin.cache.upkeep import merge as merging
from itin.errors import CacheError

from .. import features
from ..features import fill, make_store


def made(parent: Path, kind: str, dtype: str = "float32") -> Store:
    return make_store(parent, features.identity(kind, dtype=dtype), features.rows(10))


@pytest.mark.parametrize("kind", ["regions", "context"])
def test_reads_back_what_was_written(tmp_path: Path, kind: str) -> None:
    store = made(tmp_path, kind)
    order = np.array([7, 0, 9, 3, 3])
    for schema in KINDS[kind]:
        values = store.read(schema.name, order)
        for position, row in enumerate(order):
            expected = features.sample(kind, int(row))[schema.name]
            if schema.axis == "sample":
                np.testing.assert_array_equal(values[position], expected)
            else:
                np.testing.assert_array_equal(values[position, : len(expected)], expected)
                assert (values[position, len(expected) :] == schema.fill).all()
    if kind == "regions":
        assert store.read("counts", order).tolist() == [len(features.sample(kind, int(r))["scores"]) for r in order]
        first = store.read("regions", order, first=2)
        np.testing.assert_array_equal(first, store.read("regions", order)[:, :2])


def test_reads_tokens_in_the_order_asked_for(tmp_path: Path) -> None:
    store = made(tmp_path, "tokens")
    order = np.array([8, 1, 1, 5])
    ragged = store.read_ragged(order)
    expected = [features.sample("tokens", int(row)) for row in order]
    assert ragged["offsets"].tolist() == np.cumsum([0, *(len(e["token_ids"]) for e in expected)]).tolist()
    for name in ("tokens", "token_ids", "word_ids"):
        np.testing.assert_array_equal(ragged[name], np.concatenate([e[name] for e in expected]))


def test_no_rows_is_no_error(tmp_path: Path) -> None:
    nothing = np.array([], dtype=np.int64)
    assert made(tmp_path, "context").read("context", nothing).shape == (0, features.DIM)
    assert made(tmp_path, "tokens").read_ragged(nothing)["offsets"].tolist() == [0]


def test_index_by_id_and_by_input(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    fill(writer, writer.extend(features.rows(5), 4))
    changed = ("id-2", "f" * 64)
    fill(writer, writer.extend([*features.rows(5), changed], 4))
    writer.finish({})
    store = open_store(writer.folder)
    assert store.index(["id-4", "id-2", "nobody"]).tolist() == [4, 5, -1]
    assert store.index(["id-2", "id-2", "id-2"], [f"{2:064x}", "f" * 64, "0" * 64]).tolist() == [2, 5, -1]


def test_another_process_opens_a_store_again(tmp_path: Path) -> None:
    store = made(tmp_path, "context")
    everything = store.read("context", np.arange(len(store)))
    sent = pickle.dumps(store)
    assert len(sent) < 1000  # neither ids nor what was read
    other = pickle.loads(sent)
    assert (other.path, other.fingerprint, other.ids) == (store.path, store.fingerprint, store.ids)
    np.testing.assert_array_equal(other.read("context", np.arange(len(other))), everything)


def test_row_numbers_out_of_range_are_refused(tmp_path: Path) -> None:
    store = made(tmp_path, "context")
    with pytest.raises(IndexError, match=r"0\.\.9, got -1\.\.3"):
        store.read("context", np.array([3, -1]))


def test_float16_rounds_to_nearest_and_never_to_infinity(tmp_path: Path) -> None:
    store = made(tmp_path, "context", dtype="float16")
    values = store.read("context", np.arange(10))
    exact = np.stack([features.sample("context", row)["context"] for row in range(10)])
    assert values.dtype == np.float16
    assert (np.abs(values.astype(np.float64) - exact) <= np.spacing(np.abs(exact).astype(np.float16)) / 2).all()
    writer = StoreWriter(tmp_path, features.identity("context", dtype="float16"))
    assert writer.stored({"context": np.full(features.DIM, 65519.0)})["context"].tolist() == [65504.0] * features.DIM
    with pytest.raises(FeatureError, match=r"context overflows float16: 65520 \(use --store-dtype float32\)"):
        writer.stored({"context": np.full(features.DIM, 65520.0)})
    with pytest.raises(FeatureError, match="not finite"):
        writer.stored({"context": np.full(features.DIM, np.nan)})


@pytest.mark.parametrize("loaded", [True, False])
def test_float16_is_the_same_with_pytorch_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: bool
) -> None:
    """Every finite float16, the ties between neighbours and the numbers beside them, rounded by exact arithmetic."""
    monkeypatch.setitem(sys.modules, "torch", pytest.importorskip("torch"))
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float64)  # from 0 to 65504
    below, above = halves[:-1], halves[1:]
    ties = ((below + above) / 2).astype(np.float32)  # exact: 12 bits
    even = np.where(np.arange(len(ties)) % 2 == 0, below, above)
    given = np.concatenate([ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(1e9)), above])
    rounded = np.concatenate([even, below, above, above])
    given, rounded = (np.concatenate([each, -each]).astype(np.float32) for each in (given, rounded))
    identity = features.identity("context", dtype="float16")
    writer = StoreWriter(tmp_path, {**identity, "dims": {"feature": len(given)}})
    readonly = given.copy()
    readonly.flags.writeable = False
    for array in (given, np.repeat(given, 2)[::2], readonly):
        stored = writer.stored({"context": array})["context"]
        assert stored.dtype == np.float16
        np.testing.assert_array_equal(stored, rounded.astype(np.float64))
        assert not np.shares_memory(stored, array)


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("regions"))
    with pytest.raises(FeatureError, match="regions has 3 values a vector, expected 6"):
        writer.stored({**features.sample("regions", 1), "regions": np.zeros((2, 3))})
    with pytest.raises(FeatureError, match="differ in length"):
        writer.stored({**features.sample("regions", 1), "scores": np.zeros(9)})
    many = {name: np.repeat(array[:1], 5, axis=0) for name, array in features.sample("regions", 1).items()}
    with pytest.raises(FeatureError, match="5 regions, at most 4 are stored"):
        writer.stored(many)


def test_nothing_is_planned_or_made_twice(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    assert writer.extend(features.rows(6), 4) == [0, 1, 2, 3, 4, 5]
    fill(writer, [0, 1, 2])
    again = StoreWriter(tmp_path, features.identity("context"))
    assert again.extend(features.rows(8), 3) == list(range(8))
    assert [(piece.block, piece.rows) for piece in again.missing(range(8))] == [(0, (3,)), (1, (4, 5)), (2, (6, 7))]
    fill(again, list(range(8)))
    assert not again.missing(range(8))
    assert sorted(path.name for path in again.folder.glob("shard-*")) == [
        "shard-00000-1.h5",
        "shard-00000.h5",
        "shard-00001.h5",
        "shard-00002.h5",
    ]
    assert again.finish({})["complete"]
    store = open_store(again.folder)
    assert store.ids == [f"id-{i}" for i in range(8)]
    np.testing.assert_array_equal(store.read("context", np.array([3]))[0], features.sample("context", 3)["context"])


def test_a_slower_writer_drops_what_the_faster_one_committed(tmp_path: Path) -> None:
    fast, slow = (StoreWriter(tmp_path, features.identity("context")) for _ in range(2))
    rows = fast.extend(features.rows(4), 4)
    assert slow.extend(features.rows(4), 4) == rows
    assert len(slow.missing(rows)) == len(fast.missing(rows)) == 1
    stored = {row: fast.stored(features.sample("context", row)) for row in rows}
    assert fast.commit(0, {row: stored[row] for row in (0, 2)}) == 2
    assert slow.commit(0, stored) == 2
    assert fast.commit(0, stored) == 0
    fast.finish({})
    assert sorted(open_store(fast.folder).ids) == ["id-0", "id-1", "id-2", "id-3"]


def test_a_removed_piece_is_made_again(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(4), 4)
    stored = {row: writer.stored(features.sample("context", row)) for row in rows}
    writer.commit(0, {0: stored[0], 1: stored[1]})
    writer.commit(0, {2: stored[2], 3: stored[3]})
    (writer.folder / "shard-00000.h5").unlink()
    again = StoreWriter(tmp_path, features.identity("context"))
    assert [piece.rows for piece in again.missing(rows)] == [(0, 1)]
    fill(again, rows)
    again.finish({})
    assert sorted(open_store(again.folder).ids) == ["id-0", "id-1", "id-2", "id-3"]


def test_two_writers_that_plan_other_samples_keep_both(tmp_path: Path) -> None:
    one, other = (StoreWriter(tmp_path, features.identity("context")) for _ in range(2))
    assert one.extend(features.rows(3), 4) == [0, 1, 2]
    assert other.extend(features.rows(3, start=2), 4) == [2, 3, 4]
    assert one.extend(features.rows(5), 4) == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in one.folder.glob("plan*")) == ["plan-00001.json", "plan.json"]


@pytest.mark.parametrize("work", ["finish", "merge"])
def test_rows_that_another_writer_plans_and_makes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """They used to be rows that no plan names: an error, with the advice to repair the store."""
    store = make_store(tmp_path / "one", features.identity("context"), features.rows(4))
    late = StoreWriter(store.path.parent, features.identity("context"))
    module = manifest if work == "finish" else merging
    listed = module.shard_sizes if work == "finish" else module.committed_rows
    name = listed.__name__
    calls = []

    def meanwhile(*arguments: Any) -> Any:
        if not calls:
            calls.append(arguments)
            other = StoreWriter(store.path.parent, features.identity("context"))
            fill(other, other.extend(features.rows(6), 4))
        return listed(*arguments)

    monkeypatch.setattr(module, name, meanwhile)
    if work == "finish":
        late.finish({})
        found = open_store(store.path)
    else:
        merging.merge([store.path], tmp_path / "two")
        found = open_store(tmp_path / "two" / store.path.name)
    assert calls
    np.testing.assert_array_equal(
        found.read("context", found.index([f"id-{n}" for n in range(6)])),
        np.stack([features.sample("context", n)["context"] for n in range(6)]),
    )


def test_quarantine_is_kept_and_released(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    rows = writer.extend(features.rows(3), 4)
    writer.quarantine(1, "image file is empty")
    fill(writer, rows)
    manifest = writer.finish({})
    assert manifest["quarantined"] == [{"row": 1, "id": "id-1", "reason": "image file is empty"}]
    assert manifest["complete"]
    assert open_store(writer.folder).ids == ["id-0", "id-2"]
    again = StoreWriter(tmp_path, features.identity("context"))
    assert not again.missing(rows)
    again.release_quarantined(rows)
    fill(again, rows)
    assert again.finish({})["quarantined"] == []
    assert sorted(open_store(again.folder).ids) == ["id-0", "id-1", "id-2"]


def test_a_shard_opens_with_plain_h5py_and_numpy(tmp_path: Path) -> None:
    store = made(tmp_path, "tokens")
    with h5py.File(store.path / "shard-00001.h5") as file:
        assert file["ids"].asstr()[:].tolist() == ["id-4", "id-5", "id-6", "id-7"]
        offsets = file["offsets"][:]
        tokens = file["tokens"][offsets[2] : offsets[3]]
        assert file["tokens"].chunks is None
        assert file["tokens"].compression is None
    np.testing.assert_array_equal(tokens, features.sample("tokens", 6)["tokens"])


def test_a_shard_holds_no_time(tmp_path: Path) -> None:
    """Else equal features would not give equal files a second later: bit 5 of an object header's flags says it."""
    for path in made(tmp_path, "tokens").path.glob("shard-*.h5"):
        flags = re.findall(rb"OHDR\x02(.)", path.read_bytes(), re.DOTALL)
        with h5py.File(path) as file:
            assert len(flags) == 1 + len(file)
        assert not any(flag[0] & 0x20 for flag in flags)


def test_equal_features_give_equal_files(tmp_path: Path) -> None:
    one, other = made(tmp_path / "a", "regions"), made(tmp_path / "b", "regions")
    for path in one.path.glob("shard-*.h5"):
        assert path.read_bytes() == (other.path / path.name).read_bytes()


def test_the_fingerprint_tells_what_matters_and_no_more() -> None:
    base = features.identity("context")
    assert fingerprint_of(base) == fingerprint_of({**base, "weights": {**base["weights"], "file": "renamed.bin"}})
    for changed in (
        {**base, "dtype": "float16"},
        {**base, "weights": {"sha256": "cd" * 32}},
        {**base, "preprocessing": {"resize": 256}},
        {**base, "name": "other"},
    ):
        assert fingerprint_of(changed) != fingerprint_of(base)
    assert store_name({**base, "name": "org/model name"}).startswith("context-org_model_name-")


def test_another_encoder_is_another_store(tmp_path: Path) -> None:
    made(tmp_path, "context")
    StoreWriter(tmp_path, features.identity("context", name="other")).extend(features.rows(1), 4)
    assert len(find_stores(tmp_path, "context")) == 2
    assert find_stores(tmp_path, "regions") == []


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        store = made(tmp_path, "context")
    finally:
        os.umask(before)
    for path in store.path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o664, path


def test_a_store_without_manifest_is_not_read(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    fill(writer, writer.extend(features.rows(3), 4))
    with pytest.raises(CacheError, match=r"has no manifest\.json[\s\S]*1 committed shard[\s\S]*itin extract"):
        open_store(writer.folder)
    with pytest.raises(CacheError, match="is not a feature store"):
        open_store(tmp_path)


def test_damage_is_named(tmp_path: Path) -> None:
    store = made(tmp_path, "context")
    shard = store.path / "shard-00001.h5"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(CacheError, match=rf"shard-00001\.h5 is not what the manifest says[\s\S]*{len(whole)} bytes"):
        open_store(store.path)
    with pytest.raises(CacheError, match=rf"it has {len(whole) - 1} bytes instead of {len(whole)}"):
        store.read("context", np.array([5]))
    shard.unlink()
    with pytest.raises(CacheError, match="no such file"):
        open_store(store.path)
    with pytest.raises(CacheError, match=r"shard-00001\.h5 is missing[\s\S]*makes just this shard"):
        store.read("context", np.array([5]))
    shard.write_bytes(b"x" * len(whole))
    with pytest.raises(CacheError, match=r"shard-00001\.h5 is damaged: it does not begin with a header"):
        open_store(store.path).read("context", np.array([5]))


def test_other_versions_and_fingerprints_are_refused(tmp_path: Path) -> None:
    store = made(tmp_path, "context")
    other = made(tmp_path / "other", "context", dtype="float16")
    manifest = store.path / "manifest.json"
    value = sealed_json.read_json(manifest)
    manifest.write_bytes(sealed_json.to_json({**value, "format": 2}))
    with pytest.raises(CacheError, match=r"newer than this itin[\s\S]*expected: format 1[\s\S]*found:    format 2"):
        open_store(store.path)
    manifest.write_bytes(sealed_json.to_json({**value, "identity": {**value["identity"], "dtype": "float16"}}))
    with pytest.raises(CacheError, match="contradicts itself"):
        open_store(store.path)
    manifest.write_bytes(sealed_json.to_json(value))
    shard = store.path / "shard-00000.h5"
    foreign = (other.path / "shard-00000.h5").read_bytes()
    shard.write_bytes(foreign)
    value["shards"][0]["bytes"] = len(foreign)
    manifest.write_bytes(sealed_json.to_json(value))
    with pytest.raises(CacheError, match="belongs to other features than its folder"):
        open_store(store.path).read("context", np.array([0]))
    (store.path / "plan.json").write_text("{")
    with pytest.raises(CacheError, match=r"plan\.json is damaged: it is not JSON[\s\S]*itin cache verify --repair"):
        StoreWriter(tmp_path, features.identity("context"))


def test_a_shard_that_the_manifest_does_not_list_is_not_read(tmp_path: Path) -> None:
    store, other = made(tmp_path, "context"), StoreWriter(tmp_path / "other", features.identity("context"))
    rows = other.extend(features.rows(4), 4)
    other.commit(0, {row: other.stored(features.sample("context", row + 1)) for row in rows})
    (store.path / "shard-00000.h5").write_bytes((other.folder / "shard-00000.h5").read_bytes())
    with pytest.raises(CacheError, match="is not the shard that the manifest lists"):
        open_store(store.path).read("context", np.array([0]))


@pytest.mark.parametrize("rows", [(), (3,), (0, 1, 2), (0, 2, 3, 4, 9), (7, 8, 100)])
def test_ranges_read_back(rows: tuple[int, ...]) -> None:
    assert tuple(from_ranges(to_ranges(rows)).tolist()) == rows


def test_ranges_are_short() -> None:
    assert to_ranges((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"


def test_a_writer_says_what_of_a_block_is_committed_by_whomever(tmp_path: Path) -> None:
    one, other = (StoreWriter(tmp_path, features.identity("context")) for _ in range(2))
    assert one.shard_size == 1
    rows = one.extend(features.rows(6), 4)
    other.plan.refresh()
    assert (one.shard_size, one.committed(0)) == (4, set())
    for writer, row in ((other, 2), (one, 0)):
        writer.commit(0, {row: writer.stored(features.sample("context", row))})
    assert [one.committed(block) for block in (0, 1)] == [{0, 2}, set()]
    assert [piece.rows for piece in other.missing(rows)] == [(1, 3), (4, 5)]
