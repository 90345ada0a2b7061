"""Checking and mending stores: every flipped byte is found, and what is made again is just what was bad."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest

from itin.cache import Store, StoreWriter, open_store, read_table, write_table
from itin.cache.format import sealed_json
from itin.cache.format.plan import StorePlan
from itin.cache.format.shard_header import header_of
from itin.cache.table import damaged_tables
from itin.cache.upkeep.repair import repair
from itin.cache.upkeep.verify import verify
from itin.errors import CacheError

from .. import features
from ..features import KINDS, fill, make_store


def made(
    parent: Path, kind: str = "context", count: int = 10, quarantine: tuple[int, ...] = (), size: int = 4
) -> Store:
    away = [f"id-{row}" for row in quarantine]
    options = {"options": {"seed": 3}}
    return make_store(
        parent, features.identity(kind), features.rows(count), size=size, quarantine=away, provenance=options
    )


def extract_again(parent: Path, kind: str = "context", count: int = 10) -> int:
    """What the next extraction makes."""
    writer = StoreWriter(parent, features.identity(kind))
    new = fill(writer, writer.extend(features.rows(count), 4))
    writer.finish({"options": {"seed": 3}})
    return new


def problems(store: Store) -> list[str]:
    return [problem.what for problem in verify(store.path).problems]


def mend(store: Store) -> list[str]:
    return [path.name for path in repair(verify(store.path))]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restore(folder: Path, files_of: dict[Path, bytes]) -> None:
    for path in contents(folder).keys() - files_of.keys():
        path.unlink()
    for path, data in files_of.items():
        path.write_bytes(data)


def flip(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_manifest", [True, False])
def test_every_flipped_bit_is_found(tmp_path: Path, kind: str, with_manifest: bool) -> None:
    store = made(tmp_path, kind, quarantine=(3,))
    if not with_manifest:
        (store.path / "manifest.json").unlink()
    chance = random.Random(f"{kind} {with_manifest}")
    whole = contents(store.path)
    for _ in range(100):
        path = chance.choice(sorted(whole))
        at = chance.randrange(len(whole[path]))
        flip(path, at, chance.randrange(8))
        assert any(str(path) in what for what in problems(store)), (path.name, at)
        path.write_bytes(whole[path])
    assert len(problems(store)) == (0 if with_manifest else 1)


@pytest.mark.slow
def test_every_flipped_bit_is_found_in_large_shards(tmp_path: Path) -> None:
    identity = {**features.identity("regions", dtype="float16"), "dims": {"feature": 256, "max_regions": 20}}
    writer = StoreWriter(tmp_path, identity)
    rng = np.random.default_rng(0)
    vectors = {name: np.zeros(20, np.float32) for name in features.sample("regions", 0) if name != "boxes"}
    for piece in writer.missing(writer.extend(features.rows(256), 128)):
        sample = {**vectors, "regions": rng.normal(size=(20, 256)), "boxes": rng.random((20, 4))}
        writer.commit(piece.block, {row: writer.stored(sample) for row in piece.rows})
    writer.finish({})
    chance = random.Random(0)
    for path in sorted(writer.folder.glob("shard-*.h5")):
        whole = path.read_bytes()
        for _ in range(300):
            flip(path, chance.randrange(len(whole)), chance.randrange(8))
            assert len(verify(writer.folder).problems) == 1
            path.write_bytes(whole)


def test_any_damage_is_mended_and_only_what_was_bad_is_made_again(tmp_path: Path) -> None:
    store = made(tmp_path, "regions", count=11, quarantine=(3,))
    again = {"manifest.json": 0, "plan.json": 0, "row-00000003.json": 1}
    whole = contents(store.path)
    for path in whole:
        flip(path, len(whole[path]) // 2, 0)
        (problem,) = [what for what in problems(store) if str(path) in what]
        assert "damaged" in problem
        mend(store)
        rows = 0 if path.suffix == ".json" else header_of(path, whole[path]).count
        assert extract_again(tmp_path, "regions", 11) == again.get(path.name, rows), path.name
        assert problems(store) == []
        assert open_store(store.path).options == {"seed": 3}
        changed = {name for name, data in whole.items() if not name.exists() or name.read_bytes() != data}
        expected = {path, store.path / "manifest.json"} if path.name.startswith("row") else set()
        assert changed == expected, path.name
        restore(store.path, whole)


def test_what_is_damaged_is_named(tmp_path: Path) -> None:
    store = made(tmp_path, "regions")
    shard = store.path / "shard-00001.h5"
    place = header_of(shard, shard.read_bytes()).arrays["boxes"]
    flip(shard, place.offset + 5, 2)
    assert problems(store) == [f"{shard} is damaged: boxes"]


def test_a_shard_cut_short_or_missing(tmp_path: Path) -> None:
    store = made(tmp_path)
    shard = store.path / "shard-00001.h5"
    whole = shard.read_bytes()
    for cut in (0, 1, 100, 4096, len(whole) - 1):
        shard.write_bytes(whole[:cut])
        (problem,) = problems(store)
        assert problem.startswith(f"{shard} is damaged: it ")
    shard.unlink()
    assert problems(store) == [f"{shard} is missing"]
    assert mend(store) == []
    assert len(open_store(store.path)) == 6  # the manifest lists the existing shards
    assert not open_store(store.path).manifest["complete"]
    assert extract_again(tmp_path) == 4
    assert problems(store) == []


def test_a_foreign_shard(tmp_path: Path) -> None:
    store = made(tmp_path)
    other = StoreWriter(tmp_path / "other", features.identity("context", name="other"))
    fill(other, other.extend(features.rows(10), 4))
    shutil.copy(other.folder / "shard-00000.h5", store.path / "shard-00001.h5")
    shutil.copy(other.folder / "shard-00000.h5", store.path / "shard-00009.h5")
    shutil.copy(store.path / "shard-00000.h5", store.path / "shard-00000 (copy).h5")
    found = "\n".join(problems(store))
    assert "shard-00001.h5 belongs to other features than its folder" in found
    assert "shard-00009.h5 belongs to other features than its folder" in found
    assert "shard-00000 (copy).h5 is foreign: no file of a store has such a name" in found
    assert sorted(mend(store)) == ["shard-00000 (copy).h5", "shard-00001.h5", "shard-00009.h5"]
    assert extract_again(tmp_path) == 4
    assert problems(store) == []


def test_a_shard_of_the_same_features_that_belongs_elsewhere(tmp_path: Path) -> None:
    store = made(tmp_path)
    other = StoreWriter(tmp_path / "other", features.identity("context"))
    fill(other, other.extend(features.rows(10, start=5), 4))
    shutil.copy(other.folder / "shard-00000.h5", store.path / "shard-00000-1.h5")
    assert problems(store) == [
        f"{store.path / 'shard-00000-1.h5'} is foreign: it holds other samples than the plan says"
    ]
    mend(store)
    shutil.copy(store.path / "shard-00001.h5", store.path / "shard-00002-1.h5")
    assert problems(store) == [f"{store.path / 'shard-00002-1.h5'} is foreign: its rows belong to block 1"]
    mend(store)
    far = StoreWriter(tmp_path / "far", features.identity("context"))
    fill(far, far.extend(features.rows(40), 4)[30:])
    shutil.copy(far.folder / "shard-00008.h5", store.path)
    assert problems(store) == [f"{store.path / 'shard-00008.h5'} is foreign: it holds rows that the plan does not name"]
    writer = StoreWriter(tmp_path, features.identity("context"))
    with pytest.raises(CacheError, match=r"row 35, and its plan names only 10[\s\S]*itin cache verify --repair"):
        writer.missing(range(10))
    with pytest.raises(CacheError, match="holds rows that no plan names"):
        writer.finish({})
    mend(store)
    assert problems(store) == []
    assert extract_again(tmp_path) == 0


def test_a_duplicate_shard(tmp_path: Path) -> None:
    store = made(tmp_path)
    shutil.copy(store.path / "shard-00001.h5", store.path / "shard-00001-1.h5")
    copy = store.path / "shard-00001-1.h5"
    assert problems(store) == [f"{copy} holds row 4, which shard-00001.h5 holds too: it is a duplicate"]
    assert mend(store) == ["shard-00001-1.h5"]
    assert problems(store) == []
    assert extract_again(tmp_path) == 0


def test_a_shard_that_is_not_listed_yet(tmp_path: Path) -> None:
    store = made(tmp_path)
    writer = StoreWriter(tmp_path, features.identity("context"))
    fill(writer, writer.extend(features.rows(14), 4))
    (problem,) = problems(store)
    assert "shard-00003.h5 is not in the manifest: an extraction is not finished" in problem
    assert mend(store) == []
    assert len(open_store(store.path)) == 14
    assert problems(store) == []


def test_a_damaged_shard_is_never_listed(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path, features.identity("context"))
    fill(writer, writer.extend(features.rows(4), 4))
    shard = writer.folder / "shard-00000.h5"
    place = header_of(shard, shard.read_bytes()).arrays["context"]
    flip(shard, place.offset, 0)
    another = StoreWriter(tmp_path, features.identity("context"))
    with pytest.raises(CacheError, match=r"shard-00000\.h5 is damaged: context do not match[\s\S]*verify --repair"):
        another.finish({})
    assert not (writer.folder / "manifest.json").exists()


@pytest.mark.parametrize("lost", ["plan.json", "plan-00001.json", "plan-00002.json"])
@pytest.mark.parametrize("how", ["missing", "flipped", "of another store"])
def test_a_lost_plan_is_put_together_from_the_shards(tmp_path: Path, lost: str, how: str) -> None:
    for parent, start in ((tmp_path / "a", 0), (tmp_path / "b", 100)):
        writer = StoreWriter(parent, features.identity("context"))
        for count, size in ((10, 4), (13, 2), (20, 3)):
            fill(writer, writer.extend(features.rows(count, start), size))
        writer.finish({})
    store = open_store(tmp_path / "a" / writer.folder.name)
    path = store.path / lost
    whole = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "flipped":
        flip(path, 500, 3)
    else:
        shutil.copy(writer.folder / lost, path)
    assert any(str(path) in what for what in problems(store))
    if how != "of another store" and lost != "plan-00002.json" and (how, lost) != ("missing", "plan.json"):
        with pytest.raises(CacheError, match="itin cache verify --repair"):
            StoreWriter(tmp_path / "a", store.identity).missing(range(20))
    assert mend(store) == []
    assert path.read_bytes() == whole
    assert problems(store) == []
    assert extract_again(tmp_path / "a", count=20) == 0


def test_rows_that_nobody_knows_any_more_are_planned_anew(tmp_path: Path) -> None:
    store = made(tmp_path)
    for name in ("shard-00001.h5", "plan.json"):
        (store.path / name).unlink()
    mend(store)
    assert list(StorePlan.read(store.path).rows)[3:6] == [("id-3", f"{3:064x}"), ("", ""), ("", "")]
    assert len(open_store(store.path)) == 6
    assert open_store(store.path).manifest["planned"] == 6
    assert extract_again(tmp_path) == 4
    assert sorted(open_store(store.path).ids) == sorted(f"id-{row}" for row in range(10))
    assert open_store(store.path).manifest["complete"]
    assert problems(store) == []


def grown(parent: Path) -> Store:
    """A store of three plans, each with shards of another size."""
    writer = StoreWriter(parent, features.identity("context"))
    for count, size in ((10, 4), (13, 2), (20, 3)):
        fill(writer, writer.extend(features.rows(count), size))
    writer.finish({})
    return open_store(writer.folder)


PLANS = ("plan.json", "plan-00001.json", "plan-00002.json")


@pytest.mark.parametrize("lost", [PLANS[:2], PLANS[1:], PLANS[::2], PLANS])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_several_lost_plans_are_put_together_from_the_shards(tmp_path: Path, lost: tuple[str, ...], how: str) -> None:
    """The rows of two plans were taken for those of one, with blocks of another size: an error about a plan."""
    store = grown(tmp_path)
    whole = {name: (store.path / name).read_bytes() for name in PLANS}
    for name in lost:
        (store.path / name).unlink() if how == "missing" else (store.path / name).write_text("{")
    mend(store)
    assert {name: (store.path / name).read_bytes() for name in PLANS} == whole
    assert problems(store) == []
    assert extract_again(tmp_path, count=20) == 0


def test_an_extraction_does_not_plan_over_rows_whose_plan_is_lost(tmp_path: Path) -> None:
    """Without a manifest nothing names the lost end of a plan: new rows got its numbers, and shards were foreign."""
    store = grown(tmp_path)
    for name in (PLANS[2], "manifest.json"):
        (store.path / name).unlink()
    with pytest.raises(CacheError, match=r"holds rows that the plan does not name[\s\S]*itin cache verify --repair"):
        StoreWriter(tmp_path, store.identity).extend(features.rows(5, 25), 4)
    lost, shard = store.path / PLANS[2], store.path / "shard-00005.h5"
    assert f"{lost} is missing: {shard} holds rows that it named" in problems(store)
    assert mend(store) == []
    assert extract_again(tmp_path, count=20) == 0
    assert problems(store) == []


def test_a_plan_that_the_shards_do_not_show(tmp_path: Path) -> None:
    store = grown(tmp_path)
    for name in (*PLANS[:2], "shard-00002.h5"):  # where the first ended, and the second began, is not known
        (store.path / name).unlink()
    there = sorted(path.name for path in store.path.iterdir())
    with pytest.raises(
        CacheError, match=r"found: +no sound plan\.json and no sound plan-00001\.json\n.*`itin cache rm"
    ):
        mend(store)
    assert sorted(path.name for path in store.path.iterdir()) == there


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_when_nothing_says_what_a_store_holds_the_extraction_does(tmp_path: Path, how: str) -> None:
    """Repair said to remove the store, with whole shards in it."""
    store = grown(tmp_path)
    whole = {name: (store.path / name).read_bytes() for name in PLANS}
    for name in (*PLANS, "manifest.json"):
        (store.path / name).unlink() if how == "missing" else (store.path / name).write_text("{")
    assert sorted(mend(store)) == sorted([*PLANS, "manifest.json"] if how == "damaged" else [])
    assert len(list(store.path.glob("shard-*.h5"))) == 8
    assert extract_again(tmp_path, count=20) == 0
    assert {name: (store.path / name).read_bytes() for name in PLANS} == whole
    assert problems(store) == []


def test_a_plan_is_made_of_whole_shards_alone(tmp_path: Path) -> None:
    """A flipped bit in an id would be planned as another sample."""
    store = made(tmp_path)
    for name in ("plan.json", "manifest.json"):
        (store.path / name).unlink()
    shard = store.path / "shard-00001.h5"
    flip(shard, header_of(shard, shard.read_bytes()).arrays["ids"].offset, 0)
    with pytest.raises(CacheError, match=r"shard-00001\.h5 is damaged: ids[\s\S]*itin cache verify --repair"):
        StoreWriter(tmp_path, store.identity)
    assert mend(store) == ["shard-00001.h5"]
    assert extract_again(tmp_path) == 4
    assert sorted(open_store(store.path).ids) == sorted(f"id-{row}" for row in range(10))


def test_shards_and_quarantine_are_checked_when_neither_plan_nor_manifest_can_be_read(tmp_path: Path) -> None:
    store = made(tmp_path, quarantine=(1,))
    for name in ("plan.json", "manifest.json"):
        (store.path / name).write_text("{")
    assert len(problems(store)) == 2
    shard, record = store.path / "shard-00001.h5", store.path / "quarantine" / "row-00000001.json"
    flip(shard, shard.stat().st_size - 9, 0)
    flip(record, 40, 0)
    found = problems(store)
    assert len(found) == 4
    assert any(str(shard) in what and "is damaged" in what for what in found)
    assert any(str(record) in what and "is damaged" in what for what in found)


def test_a_store_of_which_only_the_manifest_is_whole_begins_anew(tmp_path: Path) -> None:
    """The damaged plan used to stay, for no row of it is known: each repair asked for another."""
    store = made(tmp_path)
    for path in (store.path / "plan.json", *store.path.glob("shard-*")):
        flip(path, path.stat().st_size // 2, 0)
    assert mend(store) == [*(f"shard-0000{n}.h5" for n in range(3)), "plan.json", "manifest.json"]
    assert extract_again(tmp_path) == 10
    assert problems(store) == []


def test_a_damaged_later_plan_of_which_no_row_is_known_is_removed(tmp_path: Path) -> None:
    store = made(tmp_path)
    writer = StoreWriter(tmp_path, features.identity("context"))
    writer.extend(features.rows(12), 4)
    writer.finish({})
    (store.path / "plan-00001.json").write_text("{")
    assert mend(store) == ["plan-00001.json"]
    assert extract_again(tmp_path, count=12) == 2
    assert problems(store) == []


def test_a_manifest_of_another_store_or_plan(tmp_path: Path) -> None:
    store, other = made(tmp_path / "a"), made(tmp_path / "b", "tokens")
    shutil.copy(other.path / "manifest.json", store.path)
    assert problems(store)[0] == f"{store.path / 'manifest.json'} belongs to another store"
    assert mend(store) == ["manifest.json"]
    assert extract_again(tmp_path / "a") == 0
    assert problems(store) == []


def test_a_renamed_folder(tmp_path: Path) -> None:
    store = made(tmp_path)
    renamed = store.path.rename(tmp_path / "context-mine")
    (problem,) = verify(renamed).problems
    assert problem.what.endswith(f"is named for other features than it holds: rename it to {store.path.name}")


def test_quarantine_that_is_damaged_or_belongs_elsewhere(tmp_path: Path) -> None:
    store = made(tmp_path, quarantine=(3, 5))
    folder = store.path / "quarantine"
    shutil.copy(folder / "row-00000003.json", folder / "row-00000004.json")
    other = StoreWriter(tmp_path / "other", features.identity("context"))
    other.extend(features.rows(10, start=50), 4)
    other.quarantine(5, "from elsewhere")
    shutil.copy(other.folder / "quarantine" / "row-00000005.json", folder)
    assert [problem.what for problem in verify(store.path).problems] == [
        f"{folder / 'row-00000004.json'} is damaged: it is the record of row 3",
        f"{folder / 'row-00000005.json'} is foreign: row 5 is another sample",
    ]
    mend(store)
    assert extract_again(tmp_path) == 1
    assert problems(store) == []


def test_the_table_of_a_data_set(tmp_path: Path) -> None:
    rows = [{"id": "1", "label": "positive"}, {"id": "2", "label": "neutral"}]
    write_table(tmp_path, {"name": "demo"}, rows, [{"id": "3", "reason": "empty"}])
    assert damaged_tables(tmp_path) == {}
    assert read_table(tmp_path).dataset["name"] == "demo"
    samples = tmp_path / "samples.jsonl"
    samples.write_text(samples.read_text().replace("neutral", "neutrol"))
    (tmp_path / "quarantine.jsonl").unlink()
    assert [error.what for error in damaged_tables(tmp_path).values()] == [
        f"{samples} is damaged: its digest is not the one in dataset.json",
        f"{tmp_path / 'quarantine.jsonl'} is missing",
    ]
    with pytest.raises(CacheError, match=r"samples.jsonl is damaged: .* in dataset.json\n.*itin"):
        read_table(tmp_path)
    flip(tmp_path / "dataset.json", 30, 1)
    assert list(damaged_tables(tmp_path)) == [tmp_path / "dataset.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"[]", "it is not a JSON object"),
        (lambda data: data[:-1], "its checksum does not match"),
        (lambda data: data + b" ", "its checksum does not match"),
        (lambda data: data.replace(b'"name": "fake"', b'"name": "fale"'), "its checksum does not match"),
        (lambda data: data[: len(data) // 2], "it is not JSON"),
    ],
)
def test_a_damaged_json_file_says_why(tmp_path: Path, change: object, message: str) -> None:
    path = made(tmp_path).path / "plan.json"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(CacheError, match=rf"plan\.json is damaged: {message}[\s\S]*itin cache verify --repair"):
        sealed_json.read_json(path)
