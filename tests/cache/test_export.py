"""`itin cache export`: the formats hold what the store holds, and what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from itin.disk import TEMPORARY

from .. import features
from ..commands.test_cache import itin_cache
from ..features import make_pairs, store_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


@pytest.mark.parametrize("kind", ["regions", "tokens", "context"])
def test_export_to_hdf5_and_npz(cache: Path, tmp_path: Path, kind: str) -> None:
    store = store_of(cache, kind)
    for suffix in ("h5", "npz"):
        assert "10 samples" in itin_cache("export", store.path, tmp_path / f"out.{suffix}")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []
    rows = np.arange(10)
    expected = store.read_ragged(rows) if kind == "tokens" else {}
    for name in {"regions": ("regions", "boxes", "objects", "counts"), "context": ("context",), "tokens": ()}[kind]:
        expected[name] = store.read(name, rows)
    with h5py.File(tmp_path / "out.h5") as file, np.load(tmp_path / "out.npz") as arrays:
        assert file["ids"].asstr()[:].tolist() == arrays["ids"].tolist() == store.ids
        assert file["sha256"].asstr()[:].tolist() == arrays["sha256"].tolist() == store.sha256
        assert file.attrs["fingerprint"] == store.fingerprint
        assert json.loads(file.attrs["identity"]) == store.identity
        for name, array in expected.items():
            np.testing.assert_array_equal(file[name][:], array)
            np.testing.assert_array_equal(arrays[name], array)
            assert arrays[name].dtype == array.dtype


def test_export_is_the_same_in_small_pieces(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itin.cache.export import export, pieces

    store = store_of(cache, "tokens")
    monkeypatch.setattr(pieces, "ROWS_AT_ONCE", 3)
    export.export(store, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz") as arrays:
        for name, array in store.read_ragged(np.arange(10)).items():
            np.testing.assert_array_equal(arrays[name], array)


def test_export_of_the_first_regions(cache: Path, tmp_path: Path) -> None:
    store = store_of(cache, "regions")
    itin_cache("export", store.path, tmp_path / "out.npz", "--first", 2)
    with np.load(tmp_path / "out.npz") as arrays:
        np.testing.assert_array_equal(arrays["regions"], store.read("regions", np.arange(10), first=2))
        np.testing.assert_array_equal(arrays["boxes"], store.read("boxes", np.arange(10), first=2))
        assert arrays["counts"].tolist() == np.minimum(store.read("counts", np.arange(10)), 2).tolist()


@pytest.mark.parametrize("kind", ["regions", "tokens", "context"])
def test_export_to_parquet(cache: Path, tmp_path: Path, kind: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")
    store = store_of(cache, kind)
    itin_cache("export", store.path, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.schema.metadata[b"fingerprint"].decode() == store.fingerprint
    assert table["id"].to_pylist() == store.ids
    for row in range(10):
        sample = features.sample(kind, row)
        found = np.array(table[kind][row].as_py(), np.float32)
        np.testing.assert_array_equal(found[: len(sample[kind])], sample[kind])


@pytest.mark.parametrize("suffix", ["h5", "hdf5"])
def test_export_without_file_locks(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """On a file system without locks HDF5 fails where it asks for one, as it does where another process holds it."""
    fcntl = pytest.importorskip("fcntl", reason="needs POSIX locks")
    store = store_of(cache, "context")
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    with (tmp_path / f"{TEMPORARY}out.{suffix}-{'0' * 16}").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        itin_cache("export", store.path, tmp_path / f"out.{suffix}")
    with h5py.File(tmp_path / f"out.{suffix}", locking=False) as file:
        np.testing.assert_array_equal(file["context"][:], store.read("context", np.arange(10)))


@pytest.mark.parametrize("form", ["hdf5", "hdf5-groups", "lmdb"])
def test_what_cannot_be_written_is_one_clear_error(cache: Path, tmp_path: Path, form: str) -> None:
    """HDF5 itself ends the process when it cannot write to a file; the limit is for a process of its own."""
    pytest.importorskip("resource", reason="needs limits of files")
    if form == "lmdb":
        pytest.importorskip("lmdb", reason="needs lmdb")
    kind, name = ("context", "out") if form == "lmdb" else ("regions", "out.h5")
    path, out = store_of(cache, kind).path, tmp_path / name
    code = (
        "import resource, signal, sys; from itin.cli import main; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY)); main()"
    )
    for limit in (0, 500, 3000):
        words = [str(limit), "cache", "export", str(path), str(out), "--to", form]
        done = subprocess.run([sys.executable, "-Bc", code, *words], capture_output=True, text=True)
        assert done.returncode == 1, done.stderr
        assert re.search(rf"cannot write \S*/{out.name}: (File too large|No space left)", done.stderr), done.stderr
    assert not list(tmp_path.glob("*out*"))
    itin_cache("export", path, out, "--to", form)


@pytest.mark.parametrize(("name", "more"), [("out.npz", ()), ("out", ("--to", "npz-files"))])
def test_what_a_killed_export_left_is_removed_a_day_later(
    cache: Path, tmp_path: Path, name: str, more: tuple[str, ...]
) -> None:
    path = store_of(cache, "context").path
    of_it, other = tmp_path / f"{TEMPORARY}{name}-{'0' * 16}", tmp_path / f"{TEMPORARY}mine"
    for left in (of_it, other):
        left.write_bytes(b"half")
    itin_cache("export", path, tmp_path / name, *more)
    assert of_it.exists()  # it may be that of a writer that is at work
    shutil.rmtree(tmp_path / name) if more else (tmp_path / name).unlink()
    for left in (of_it, other):
        os.utime(left, (0, 0))
    itin_cache("export", path, tmp_path / name, *more)
    assert not of_it.exists()
    assert other.exists()


def test_parquet_without_pyarrow(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    shown = itin_cache("export", store_of(cache, "context").path, tmp_path / "out.parquet", code=1)
    assert "Parquet needs pyarrow, which is not installed" in shown
    assert "pip install 'itin[features]'" in shown
    assert not list(tmp_path.glob("*.parquet"))


def test_export_refuses(cache: Path, tmp_path: Path) -> None:
    path = store_of(cache, "context").path
    (tmp_path / "there.h5").write_text("mine")
    assert "already exists" in itin_cache("export", path, tmp_path / "there.h5", code=1)
    assert (tmp_path / "there.h5").read_text() == "mine"
    assert "must end in .h5, .hdf5, .npz, .parquet" in itin_cache("export", path, tmp_path / "out.csv", code=2)
    assert "for a store of regions" in itin_cache("export", path, tmp_path / "out.h5", "--first", 2, code=2)
    assert "the folder vanished" in itin_cache("export", path, tmp_path / "no" / "out.npz", code=1)
    assert "holds several stores, name one" in itin_cache("export", cache, tmp_path / "out.h5", code=2)
