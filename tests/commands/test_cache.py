"""`itin cache`: info, verify, merge, rm, diff, as a user meets them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import itin.cache
from itin.cache import StoreWriter, open_store, read_table
from itin.cache.upkeep.verify import verify
from itin.cli import main
from itin.errors import CacheError

from .. import features
from ..features import OPTIONS, fill_store, make_pairs, store_of


def itin_cache(*arguments: object, code: int = 0, answer: str | None = None) -> str:
    """Runs `itin cache ...` and returns all that it printed."""
    result = CliRunner().invoke(main, ["cache", *map(str, arguments)], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


def test_info_of_a_cache_a_data_set_and_a_store(cache: Path) -> None:
    everything = itin_cache("info", "--cache", cache)
    lines = everything.splitlines()
    assert lines[0].split() == [
        "data",
        "set",
        "kind",
        "encoder",
        "weights",
        "rows",
        "quarantined",
        "size",
        "state",
        "store",
    ]
    assert [line.split()[1] for line in lines[1:]] == ["context", "regions", "tokens"]
    assert all(line.split()[0] == "pairs" and " 10 " in line and " complete " in line for line in lines[1:])
    assert itin_cache("info", cache / "pairs") == itin_cache("info", "pairs", "--cache", cache) == everything
    one = itin_cache("info", store_of(cache, "context").path)
    assert "weights.bin abababababab" in one
    assert '"random_init": 0' in one
    assert "2030-01-01T00:00:00Z" in one


def test_info_as_json(cache: Path) -> None:
    writer = StoreWriter(cache / "pairs", features.identity("context"))
    writer.extend([*features.rows(10), ("new", "0" * 64), ("bad", "1" * 64)], 4)
    writer.quarantine(11, "spoilt")
    writer.finish({"options": OPTIONS})
    rows = json.loads(itin_cache("info", "--json", "--cache", cache))
    context = next(row for row in rows if row["kind"] == "context")
    assert {name: context[name] for name in ("encoder", "rows", "planned", "shards", "complete", "missing")} == {
        "encoder": "fake",
        "rows": 10,
        "planned": 12,
        "shards": 3,
        "complete": False,
        "missing": 0,
    }
    assert context["quarantined"] == [{"row": 11, "id": "bad", "reason": "spoilt"}]
    assert context["provenance"] == {"options": OPTIONS}
    assert context["identity"] == store_of(cache, "context").identity
    assert context["bytes"] == sum(path.stat().st_size for path in Path(context["path"]).glob("shard-*"))
    shown = itin_cache("info", context["path"])
    assert "1 to come" in shown
    assert "in quarantine   bad: spoilt" in shown


def test_info_of_unfinished_and_damaged_stores(cache: Path) -> None:
    context, regions, tokens = (store_of(cache, kind).path for kind in ("context", "regions", "tokens"))
    (context / "manifest.json").unlink()
    (regions / "shard-00000.h5").unlink()
    (tokens / "manifest.json").write_text("{")
    shown = itin_cache("info", "--cache", cache)
    assert "no manifest yet, 3 shards" in shown
    assert "1 shard missing" in shown
    assert "manifest.json is damaged" in shown
    rows = json.loads(itin_cache("info", "--json", "--cache", cache))
    assert sum("error" in row for row in rows) == 1


def test_nothing_there(tmp_path: Path) -> None:
    assert "no feature store in" in itin_cache("info", tmp_path, code=1)
    assert "no such folder" in itin_cache("verify", tmp_path / "nowhere", code=1)


def test_verify_names_the_commands_that_mend(cache: Path, tmp_path: Path) -> None:
    assert "3 stores, 30 rows in 9 shards" in itin_cache("verify", "--cache", cache)
    path = store_of(cache, "context").path
    (path / "shard-00001.h5").unlink()
    shown = itin_cache("verify", "--cache", cache, code=1)
    assert f"{path / 'shard-00001.h5'} is missing" in shown
    assert f"  itin cache verify --repair {path}\n" in shown
    again = f"itin extract --dataset mvsa-single --root '{tmp_path / 'my data'}' --cache {cache} --only context"
    assert f"  {again} --regions grid --random-init 0\n" in shown
    shown = itin_cache("verify", "--repair", path)
    assert "Fixed." in shown
    assert again in shown
    assert "all whole" in itin_cache("verify", "--cache", cache)
    assert len(open_store(path)) == 6


def test_an_interrupted_removal_of_a_data_set_can_be_repeated(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dataset.json` used to go first, and what was left then was no data set, which nothing removes."""
    unlink = Path.unlink

    def fail(path: Path, missing_ok: bool = False) -> None:
        if path.name == "samples.jsonl":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        assert "Input/output error" in itin_cache("rm", "--yes", "pairs", "--cache", cache, code=1)
    assert "Removed" in itin_cache("rm", "--yes", "pairs", "--cache", cache)
    assert not [path for path in (cache / "pairs").rglob("*") if path.is_file()]


def test_a_store_that_cannot_be_repaired_does_not_keep_the_others_from_it(cache: Path) -> None:
    lost, fixed = store_of(cache, "context").path, store_of(cache, "tokens").path
    (lost / "plan.json").write_text("{")
    (lost / "shard-00001.h5").rename(lost / "shard-00007.h5")
    (fixed / "shard-00001.h5").write_text("no shard")
    shown = itin_cache("verify", "--repair", "--cache", cache, code=1)
    assert f"removed {fixed / 'shard-00001.h5'}" in shown
    assert f"Error: the plan of {lost} cannot be made again from its shards" in shown
    assert "all whole" in itin_cache("verify", fixed)
    assert len(list(lost.glob("shard-*.h5"))) == 3


def test_verify_looks_at_the_table_too(cache: Path) -> None:
    samples = cache / "pairs" / "samples.jsonl"
    samples.write_text(samples.read_text().replace("neutral", "neutrel", 1))
    shown = itin_cache("verify", "pairs", "--cache", cache, code=1)
    assert f"{samples} is damaged" in shown
    assert "itin extract --dataset mvsa-single" in shown
    assert f"removed {samples}" in itin_cache("verify", "--repair", "--cache", cache)
    assert not samples.exists()


def test_merge_parts_with_different_plans(tmp_path: Path) -> None:
    """Three machines made parts of a data set, in other orders and with other shard sizes; two of them overlap."""
    rows = features.rows(20)
    first = fill_store(tmp_path / "a" / "pairs", "regions", rows[:9])
    second = fill_store(tmp_path / "b" / "pairs", "regions", rows[::-1][:8], size=3)
    third = fill_store(tmp_path / "c" / "pairs", "regions", rows[6:14], size=100)
    (third.path / "manifest.json").unlink()  # one that never came to an end serves too
    target = tmp_path / "all" / "pairs"
    shown = itin_cache("merge", first.path, tmp_path / "b" / "pairs", third.path, "--into", target)
    assert "20 rows, 0 of them there before" in shown
    assert f"9 rows from {first.path}" in shown
    assert f"3 rows from {third.path}" in shown
    merged = open_store(target / first.path.name)
    assert verify(merged.path).problems == []
    assert sorted(merged.ids) == sorted(sample for sample, _ in rows)
    assert merged.manifest["complete"]
    assert merged.options == OPTIONS
    assert merged.manifest["provenance"]["merged"] == [str(store.path) for store in (first, second, third)]
    for sample, arrays in itin.cache.open(merged.path).items():
        for name, array in features.sample("regions", int(sample.removeprefix("id-"))).items():
            np.testing.assert_array_equal(arrays[name], array)
    before = {path: path.read_bytes() for path in merged.path.glob("shard-*")}
    assert "20 of them there before" in itin_cache("merge", first.path, second.path, third.path, "--into", target)
    assert {path: path.read_bytes() for path in merged.path.glob("shard-*")} == before


@pytest.mark.parametrize("kind", ["regions", "tokens", "context"])
def test_merging_one_store_copies_it(tmp_path: Path, kind: str) -> None:
    store = fill_store(tmp_path / "a", kind, features.rows(10))
    itin_cache("merge", store.path, "--into", tmp_path / "b")
    for path in store.path.glob("shard-*"):
        assert (tmp_path / "b" / store.path.name / path.name).read_bytes() == path.read_bytes()


def test_merge_takes_quarantine_and_table_along(cache: Path, tmp_path: Path) -> None:
    writer = StoreWriter(cache / "pairs", features.identity("context"))
    writer.extend([*features.rows(10), ("id-77", "7" * 64), ("id-78", "8" * 64)], 4)
    for row in (10, 11):
        writer.quarantine(row, "spoilt here")
    writer.finish({})
    other = fill_store(tmp_path / "other", "context", [("id-78", "8" * 64)])
    (cache / "pairs" / "tokenizer.json").write_text("{}")
    target = tmp_path / "all" / "pairs"
    shown = itin_cache("merge", "pairs", "--cache", cache, other.path, "--into", target)
    assert f"the data set's table came from {cache / 'pairs'}" in shown
    assert read_table(target).samples["id"].tolist() == [f"id-{i}" for i in range(10)]
    assert (target / "tokenizer.json").exists()
    merged = open_store(target / other.path.name)
    assert [(record["id"], record["reason"]) for record in merged.manifest["quarantined"]] == [("id-77", "spoilt here")]
    assert len(merged) == 11
    assert "table came" not in itin_cache("merge", other.path, "--into", target)


def test_merge_refuses_what_does_not_belong_together(cache: Path, tmp_path: Path) -> None:
    from itin.cache.upkeep.merge import merge

    context, regions = store_of(cache, "context"), store_of(cache, "regions")
    with pytest.raises(CacheError, match=r"only stores of the same features[\s\S]*itin cache diff"):
        merge([context.path, regions.path], tmp_path / "all")
    with pytest.raises(CacheError, match="cannot be merged into itself"):
        merge([context.path], cache / "pairs")
    assert "takes the data set's folder" in itin_cache("merge", regions.path, "--into", context.path, code=2)


def test_merge_never_spreads_damage(cache: Path, tmp_path: Path) -> None:
    context = store_of(cache, "context")
    shard = context.path / "shard-00001.h5"
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    shown = itin_cache("merge", context.path, "--into", tmp_path / "all", code=1)
    assert "shard-00001.h5 is damaged" in shown
    assert not list((tmp_path / "all").glob("*/manifest.json"))


def test_rm_asks_and_shows(cache: Path) -> None:
    path = store_of(cache, "context").path
    shown = itin_cache("rm", path, code=1, answer="n\n")
    assert f"{path}: 10 rows, 5 files" in shown
    assert "Nothing was removed." in shown
    ended = itin_cache("rm", path, code=1, answer="")
    assert "Aborted" in ended or "Nothing was removed." in ended  # click 8.1's runner: no
    assert len(open_store(path)) == 10
    assert "Removed 5 files." in itin_cache("rm", path, answer="y\n")
    assert not path.exists()
    assert len(list((cache / "pairs").iterdir())) == 5


def test_rm_leaves_what_is_not_the_caches_own(cache: Path) -> None:
    path = store_of(cache, "context").path
    (path / "notes.txt").write_text("mine")
    (cache / "pairs" / "runs").mkdir()
    shown = itin_cache("rm", "--yes", "pairs", "--cache", cache)
    assert f"{path} holds files that are not the cache's own" in shown
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]
    assert sorted(entry.name for entry in (cache / "pairs").iterdir()) == [path.name, "runs"]


def test_rm_never_takes_a_whole_cache_or_anything_else(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("mine")
    for place in (cache, tmp_path / "home", tmp_path / "nothing"):
        shown = itin_cache("rm", "--yes", place, code=1)
        assert "is neither a store nor a data set's folder: nothing was removed" in shown
    assert (tmp_path / "home" / "letter.txt").exists()
    assert len(list((cache / "pairs").iterdir())) == 6
    itin_cache("rm", store_of(cache, "context").path, tmp_path / "home", "--yes", code=1)
    assert len(store_of(cache, "context")) == 10


def test_rm_removes_a_damaged_store(cache: Path) -> None:
    path = store_of(cache, "context").path
    (path / "plan.json").unlink()
    (path / "manifest.json").unlink()
    assert "cannot be read" in itin_cache("rm", "--yes", path)
    assert not path.exists()


def test_diff_of_stores_that_are_the_same(cache: Path, tmp_path: Path) -> None:
    for kind in ("regions", "tokens", "context"):
        other = fill_store(tmp_path / "other", kind, features.rows(10)[::-1], size=7)
        shown = itin_cache("diff", store_of(cache, kind).path, other.path)
        assert shown == "The same: 10 samples with equal values.\n"


def test_diff_names_the_fields_of_the_identity(cache: Path, tmp_path: Path) -> None:
    base = features.identity("context")
    identity = {**base, "weights": {"file": "other.bin", "sha256": "cd" * 32}, "preprocessing": {"resize": 224}}
    writer = StoreWriter(tmp_path / "other", identity)
    writer.extend(features.rows(1), 4)
    writer.finish({})
    shown = itin_cache("diff", store_of(cache, "context").path, writer.folder, code=1)
    assert f"weights.sha256: {'ab' * 32} here, {'cd' * 32} there" in shown
    assert "preprocessing.resize: nothing here, 224 there" in shown
    assert "weights.file" not in shown


def test_diff_names_samples_and_values(cache: Path, tmp_path: Path) -> None:
    rows = [*features.rows(9), ("id-10", f"{10:064x}"), ("id-11", f"{11:064x}")]
    rows[2] = ("id-2", "e" * 64)
    for kind in ("context", "tokens", "regions"):
        arrays = features.sample(kind, 0)
        store = fill_store(tmp_path / "other", kind, rows, seed=1)
        first = store_of(cache, kind).path
        shown = itin_cache("diff", first, store.path, code=1)
        assert f"1 only in {first}: id-9\n" in shown
        assert f"2 only in {store.path}: id-10, id-11\n" in shown
        assert "1 made from other inputs: id-2\n" in shown
        assert "with other values: id-0" in shown
        assert any(f"({name}, by at most " in shown or f"({name}, of another length" in shown for name in arrays)
        assert "nan" not in shown
        assert "8 samples compared." in shown
    exact = np.abs(features.sample("context", 0)["context"].astype(float) - features.sample("context", 1)["context"])
    shown = itin_cache(
        "diff", store_of(cache, "context").path, fill_store(tmp_path / "o", "context", rows, seed=1).path, code=1
    )
    assert f"id-0 (context, by at most {exact.max():.3g})" in shown


def test_the_group_lists_its_commands(cache: Path) -> None:
    shown = itin_cache("--help")
    for name in ("info", "verify", "merge", "export", "rm", "diff"):
        assert f"  {name} " in shown
    assert "No such command" in itin_cache("nonsense", code=2)
