"""Features in the forms of other tools, written here as those tools write them: what is read, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from itin.errors import DataError
from itin.extract.data.samples import Rejected
from itin.extract.foreign import isolated, record
from itin.extract.foreign.forms.registry import FORMS, guessed
from itin.extract.foreign.reading import records
from itin.extract.foreign.record import Asked, Record

DIM = 5
RNG = np.random.default_rng(0)


def read(source: Path, form: str, kind: str, ids: Path | None = None, **names: str) -> dict[str, Record]:
    """All samples of a source by id, none of which is rejected."""
    found = list(records(source, FORMS[form], Asked(kind, {**FORMS[form].map, **names}, ids)))
    assert not [one for one in found if isinstance(one, Rejected)]
    return {one.id: one for one in found if isinstance(one, Record)}


def rejected(source: Path, form: str, kind: str, ids: Path | None = None, **names: str) -> dict[str, str]:
    """The reasons by name."""
    found = records(source, FORMS[form], Asked(kind, {**FORMS[form].map, **names}, ids))
    return {one.id: one.reason for one in found if isinstance(one, Rejected)}


def vectors(count: int = 3, *shape: int) -> np.ndarray:
    return RNG.normal(size=(count, *(shape or (DIM,)))).astype(np.float32)


def same(found: dict[str, Record], kind: str, expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for id, array in expected.items():
        np.testing.assert_array_equal(found[id].arrays[kind], array, err_msg=id)


# HDF5 ----------------------------------------------------------------------------------------------------------------


def test_hloc_global_descriptors_by_the_names_of_images(tmp_path: Path) -> None:
    made = dict(zip(("db/1.jpg", "db/2.jpg", "query/x.png"), vectors(), strict=True))
    with h5py.File(tmp_path / "global.h5", "w") as file:
        for name, vector in made.items():
            file.create_group(name).create_dataset("global_descriptor", data=vector)
    same(read(tmp_path / "global.h5", "hdf5", "context"), "context", made)


def test_hloc_local_features_stand_on_end(tmp_path: Path) -> None:
    """hloc writes descriptors (D, N); keypoints are no boxes."""
    x, scores = vectors(7), RNG.random(7).astype(np.float32)
    with h5py.File(tmp_path / "feats.h5", "w") as file:
        group = file.create_group("1.jpg")
        group["keypoints"], group["descriptors"], group["scores"] = np.zeros((7, 2), np.float32), x.T, scores
        group["image_size"] = np.array([40, 30])
    (one,) = read(tmp_path / "feats.h5", "hdf5", "regions").values()
    order = np.argsort(-scores)
    np.testing.assert_array_equal(one.arrays["regions"], x[order])
    np.testing.assert_array_equal(one.arrays["scores"], scores[order])
    np.testing.assert_array_equal(one.arrays["object_scores"], scores[order])
    np.testing.assert_array_equal(one.arrays["boxes"], np.zeros((7, 4)))
    assert (one.width, one.height, one.scored, one.lacks) == (40, 30, True, ("boxes",))


def test_trident_has_a_file_a_sample(tmp_path: Path) -> None:
    made = {"a": vectors(4), "b": vectors(2)}
    for id, x in made.items():
        with h5py.File(tmp_path / f"{id}.h5", "w") as file:
            file.create_dataset("features", data=x[None], chunks=(1, 1, DIM), compression="gzip")
            file.create_dataset("coords", data=np.zeros((len(x), 2), np.int64))
    same(read(tmp_path, "hdf5", "regions"), "regions", made)
    assert rejected(tmp_path, "hdf5", "regions", boxes="coords") == {
        "a": "a.h5 holds features (1, 4, 5) and coords (4, 2) for 4 regions",
        "b": "b.h5 holds features (1, 2, 5) and coords (2, 2) for 2 regions",
    }


def test_an_array_a_sample_and_packed_arrays(tmp_path: Path) -> None:
    made = dict(zip(("7", "007", "日本"), vectors(), strict=True))
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        for id, vector in made.items():
            file[id] = vector
    same(read(tmp_path / "flat.h5", "hdf5", "context"), "context", {id: made[id] for id in sorted(made)})
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file["names"] = list(made)
        file["x"] = np.stack(list(made.values())).astype(np.float64)
    found = read(tmp_path / "packed.h5", "hdf5", "context")
    same(found, "context", {id: vector.astype(np.float64) for id, vector in made.items()})
    assert not found["7"].half
    with h5py.File(tmp_path / "numbers.h5", "w") as file:
        file["image_id"] = np.array([9, 10])
        file["tokens"], file["offsets"] = vectors(5), np.array([0, 2, 5])
    found = read(tmp_path / "numbers.h5", "hdf5", "tokens")
    assert {id: len(one.arrays["tokens"]) for id, one in found.items()} == {"9": 2, "10": 3}
    assert found["10"].lacks == ("token_ids", "word_ids")
    assert found["10"].arrays["token_ids"].tolist() == [-1, -1, -1]
    assert found["10"].arrays["word_ids"].tolist() == [0, 1, 2]


def test_multisentinet_names_its_rows_by_their_texts(tmp_path: Path) -> None:
    texts, made = ["good day", "bäd", "x"], vectors(3, 8)
    with h5py.File(tmp_path / "MSVA_single_4511.h5", "w") as file:
        file["txt_data"] = [text.encode() for text in texts]
        file["label"], file["scene_data"], file["object_data"] = np.arange(3), vectors(3, 9), made
    found = {one.id: one for one in records(tmp_path, FORMS["multisentinet"], msn()) if isinstance(one, Record)}
    same(found, "context", dict(zip(texts, made, strict=True)))
    assert FORMS["multisentinet"].by == "text"


def msn() -> Asked:
    return Asked("context", {"ids": "txt_data", "context": "object_data"})


def test_nothing_leads_out_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(np.ones(DIM, np.float32).tobytes())
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = np.ones(DIM, np.float32)
    (tmp_path / "in").mkdir()
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["good/features"] = np.ones(DIM, np.float32)
        file["linked"] = h5py.ExternalLink(str(tmp_path / "other.hdf5"), "x")
        file["soft"] = h5py.SoftLink("/good/features")
        file.create_dataset("stored", (DIM,), "<f4", external=[(str(tmp_path / "secret.bin"), 0, 4 * DIM)])
        layout = h5py.VirtualLayout((DIM,), "<f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "x", (DIM,))
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("huge", (1 << 40,), "<f4", chunks=(1024,))
        file.create_dataset("chunky", (1 << 30,), "<f4", chunks=(1 << 29,))
    found = rejected(tmp_path / "in", "hdf5", "context")
    assert found == {
        "linked": "leads out of the file or to another place in it",
        "soft": "leads out of the file or to another place in it",
        "stored": "holds stored whose values lie in another file",
        "virtual": "holds virtual whose values lie in another file",
        "huge": record.UNPACKED,
        "chunky": record.UNPACKED,
    }


# The child process ---------------------------------------------------------------------------------------------------


def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> Path:
    """Five samples, and a child that does something at the one named `c`."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(
        "import importlib.util, os, signal, sys, time\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'itin.extract.foreign.forms.hdf5':\n"
        "            sys.meta_path.remove(self)\n"
        "            spec = importlib.util.find_spec(name)\n"
        "            plain = spec.loader.exec_module\n"
        "            def run(module):\n"
        "                plain(module)\n"
        "                value = module._value\n"
        "                def trapped(data):\n"
        f"                    if data.name.startswith('/c'): {trap}\n"
        "                    return value(data)\n"
        "                module._value = trapped\n"
        "            spec.loader.exec_module = run\n"
        "            return spec\n"
        "sys.meta_path.insert(0, Watch())\n"
    )
    monkeypatch.syspath_prepend(str(code))
    with h5py.File(tmp_path / "five.h5", "w") as file:
        for id, vector in zip("abcde", vectors(5), strict=True):
            file[f"{id}/features"] = vector
    return tmp_path / "five.h5"


@pytest.mark.parametrize(
    ("trap", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "cannot be read: the process that read it was ended by SIGSEGV"),
        ("os._exit(3)", "cannot be read: the process that read it ended with exit code 3"),
        ("time.sleep(1000)", "cannot be read: the process that read it was ended: nothing came for 8 s"),
        ("raise RuntimeError('no memory')", "cannot be read: no memory"),
    ],
)
def test_a_child_that_dies_or_hangs_costs_one_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str, reason: str
) -> None:
    source = trapped(tmp_path, monkeypatch, trap)
    monkeypatch.setattr(isolated, "SECONDS", 8.0)
    found = list(records(source, FORMS["hdf5"], Asked("context", {})))
    assert [one.id for one in found] == list("abcde")
    lost = found[2]
    assert isinstance(lost, Rejected)
    assert lost.reason == reason
    assert all(isinstance(one, Record) for one in (*found[:2], *found[3:]))


@pytest.mark.long
def test_a_child_that_runs_in_circles_ends_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its processor time: on a busy machine what is slow is not lost, and what hangs costs no minute."""
    monkeypatch.setattr(isolated, "SECONDS", 900.0)  # of any clock
    source = trapped(tmp_path, monkeypatch, "all(iter(lambda: True, False))")
    found = list(records(source, FORMS["hdf5"], Asked("context", {})))
    assert [one.id for one in found if isinstance(one, Rejected)] == ["c"]
    assert isinstance(found[2], Rejected)
    assert found[2].reason == "cannot be read: the process that read it was ended by SIGPROF"


def test_files_that_are_none_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("a", "c"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["features"] = vectors(1)[0]
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(b"nothing")
    (tmp_path / "d.h5").write_bytes(whole[: len(whole) // 2])
    found = list(records(tmp_path, FORMS["hdf5"], Asked("context", {})))
    assert [one.id for one in found if isinstance(one, Record)] == ["a", "c"]
    lost = {one.id: one.reason for one in found if isinstance(one, Rejected)}
    assert list(lost) == ["b.h5", "d.h5"]
    assert all(reason.startswith("cannot be read: ") for reason in lost.values())


# NumPy ---------------------------------------------------------------------------------------------------------------


def test_npy_with_a_list_of_ids(tmp_path: Path) -> None:
    made = vectors(3)
    np.save(tmp_path / "all.npy", made)
    (tmp_path / "ids.txt").write_text("3\n1\n2\n")
    expected = dict(zip("312", made, strict=True))
    same(read(tmp_path / "all.npy", "npz", "context", tmp_path / "ids.txt"), "context", expected)
    np.save(tmp_path / "ids.npy", np.array([3, 1, 2]))
    same(read(tmp_path / "all.npy", "npz", "context", tmp_path / "ids.npy"), "context", expected)
    (tmp_path / "ids.txt").write_text("3\n1\n")
    assert rejected(tmp_path / "all.npy", "npz", "context", tmp_path / "ids.txt") == {
        "all.npy": "holds array (3, 5) for 2 ids"
    }
    with pytest.raises(DataError, match=r"the ids in .*none\.txt cannot be read"):
        rejected(tmp_path / "all.npy", "npz", "context", tmp_path / "none.txt")


def test_a_file_a_sample(tmp_path: Path) -> None:
    made = {"1": vectors(2), "2": vectors(3)}
    np.save(tmp_path / "1.npy", made["1"])
    np.savez_compressed(tmp_path / "2.jpg.npz", roi=made["2"], rects=np.tile(np.float32([1, 2, 3, 4]), (3, 1)))
    found = read(tmp_path / "1.npy", "npz", "regions") | read(
        tmp_path / "2.jpg.npz", "npz", "regions", regions="roi", boxes="rects"
    )
    same(found, "regions", made)
    assert found["2"].arrays["boxes"].tolist() == [[1, 2, 3, 4]] * 3
    assert rejected(tmp_path / "2.jpg.npz", "npz", "regions") == {
        "2": "2.jpg.npz has no array that is known as regions, only rects, roi: name one with --map regions=NAME"
    }


@pytest.mark.parametrize("compressed", [False, True])
def test_packed_npz_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool) -> None:
    monkeypatch.setattr("itin.extract.foreign.forms.packed.BLOCK_BYTES", 100)
    regions, counts = vectors(9, 4, DIM), np.arange(9) % 5
    ids = np.array([f"{i:03d}" for i in range(9)])
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    save(tmp_path / "all.npz", keys=ids, features=regions, num_boxes=counts, more=np.array([{}], dtype=object))
    expected = {id: regions[i, : counts[i]] for i, id in enumerate(ids.tolist())}
    same(read(tmp_path / "all.npz", "npz", "regions"), "regions", expected)
    lengths = np.array([2, 0, 3, 1, 1, 1, 1, 1, 1])
    tokens = vectors(int(lengths.sum()))
    save(tmp_path / "text.npz", keys=ids, tokens=tokens, lengths=lengths, input_ids=np.arange(len(tokens)))
    ends = np.cumsum([0, *lengths])
    found = read(tmp_path / "text.npz", "npz", "tokens")
    same(found, "tokens", {id: tokens[ends[i] : ends[i + 1]] for i, id in enumerate(ids.tolist())})
    assert found["002"].arrays["token_ids"].tolist() == [2, 3, 4]


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_npz_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, trap = tmp_path / "in", tmp_path / "trap"
    folder.mkdir()
    np.savez(folder / "a.npz", context=np.array([Trap(trap)], dtype=object))
    np.savez(folder / "b.npz", context=np.array(["text"]))
    np.savez(folder / "c.npz", context=np.zeros((2, DIM)))
    (folder / "d.npz").write_bytes(b"PK")
    np.savez_compressed(folder / "e.npz", context=np.zeros(100_000, np.float32))
    np.savez(folder / "f.npz", ids=np.array(["1", "2"]), context=np.zeros((2, DIM), order="F"))
    np.savez(folder / "g.npz", ids=np.array(["1", "2"]), context=np.zeros((3, DIM)))
    np.savez(folder / "h.npz", context=np.zeros(0))
    np.savez(folder / "i.npz", context=np.ones(3, complex))
    for place in ("numpy_files.MAX_BYTES", "packed.MAX_BYTES"):
        monkeypatch.setattr(f"itin.extract.foreign.forms.{place}", 200_000)
    found = rejected(folder, "npz", "context")
    assert found["a"].startswith("a.npz cannot be read: Object arrays cannot be loaded")
    assert found["b"] == "b.npz holds context of dtype <U4, expected numbers"
    assert found["c"] == "c.npz holds context (2, 5), expected one vector"
    assert found["d.npz"].startswith("cannot be read: ")
    assert found["e"].startswith("e.npz is too large")
    assert found["f.npz"] == "holds context in Fortran's order"
    assert found["g.npz"] == "holds context (3, 5) for 2 ids"
    assert found["h"] == "h.npz holds context (0,), expected one vector"
    assert found["i"] == "i.npz holds context of dtype complex128, expected numbers"
    assert not trap.exists()


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"token_ids": np.arange(2)}, "holds tokens (3, 5) and token_ids (2,) for 3 tokens"),
        ({"word_ids": np.zeros((3, 1), int)}, "holds tokens (3, 5) and word_ids (3, 1) for 3 tokens"),
        ({"token_ids": np.array([0, 1, 2**31])}, "holds token_ids that are no whole numbers of 32 bits"),
        ({"token_ids": np.array([0, 1, 0.5])}, "holds token_ids that are no whole numbers of 32 bits"),
        ({"token_ids": np.array([0, 1, np.nan])}, "holds token_ids that are no whole numbers of 32 bits"),
        ({"token_ids": np.array(["a", "b", "c"])}, "holds token_ids of dtype <U1, expected numbers"),
        ({"lengths": np.array(4)}, "holds tokens (3, 5) for 4 tokens"),
        ({"lengths": np.array([1, 2])}, "holds lengths (2,), expected one number"),
    ],
)
def test_tokens_that_do_not_fit(tmp_path: Path, arrays: dict[str, np.ndarray], reason: str) -> None:
    np.savez(tmp_path / "1.npz", tokens=vectors(3), **arrays)  # type: ignore[arg-type]
    assert rejected(tmp_path / "1.npz", "npz", "tokens") == {"1": f"1.npz {reason}"}


def test_a_mask_takes_filling_out_at_either_end(tmp_path: Path) -> None:
    x = vectors(4)
    np.savez(tmp_path / "1.npz", tokens=x, attention_mask=np.array([0, 1, 1, 0]), input_ids=np.arange(4.0))
    (one,) = read(tmp_path / "1.npz", "npz", "tokens").values()
    np.testing.assert_array_equal(one.arrays["tokens"], x[1:3])
    assert one.arrays["token_ids"].tolist() == [1, 2]


# Parquet, safetensors ------------------------------------------------------------------------------------------------


def test_parquet_as_pandas_writes_it(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    made = [vectors(2), vectors(1), vectors(3)]
    frame = pandas.DataFrame(
        {"image_id": [3, 1, 2], "features": [array.tolist() for array in made], "text": list("abc")}
    )
    frame.to_parquet(tmp_path / "a.parquet")
    same(read(tmp_path, "parquet", "regions"), "regions", dict(zip("312", made, strict=True)))
    frame.to_feather(tmp_path / "b.feather")
    same(read(tmp_path / "b.feather", "arrow", "regions"), "regions", dict(zip("312", made, strict=True)))
    bad = {"id": list("abcd"), "features": [[[1.0, 2.0], [1.0]], [[1.0], None], [[None]], None]}
    pandas.DataFrame(bad).to_parquet(tmp_path / "a.parquet")
    assert rejected(tmp_path / "a.parquet", "parquet", "regions") == {
        "a": "holds features with lists of 1 to 2 values",
        "b": "holds features with missing lists",
        "c": "holds features with missing numbers",
        "d": "has no array that is known as regions, only id: name one with --map regions=NAME",
    }
    pandas.DataFrame({"features": [[1.0]]}).to_parquet(tmp_path / "a.parquet")
    assert "has no column of ids" in rejected(tmp_path / "a.parquet", "parquet", "context")["a.parquet"]
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert "cannot be read" in rejected(tmp_path / "a.parquet", "parquet", "context")["a.parquet"]


def test_safetensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    made = dict(zip(("1", "2"), vectors(2), strict=True))
    save_file(made, tmp_path / "flat.safetensors")
    same(read(tmp_path / "flat.safetensors", "safetensors", "context"), "context", made)
    save_file({"1/regions": vectors(2), "1/scores": np.float32([1, 2])}, tmp_path / "groups.safetensors")
    (one,) = read(tmp_path / "groups.safetensors", "safetensors", "regions").values()
    assert one.arrays["scores"].tolist() == [2, 1]
    from safetensors.torch import save_file as save_tensors

    half = torch.tensor([[1.0, 2.5], [3.0, -0.5]], dtype=torch.bfloat16)
    save_tensors({"x": half}, str(tmp_path / "p.safetensors"), {"ids": json.dumps(["b", "a"])})
    found = read(tmp_path / "p.safetensors", "safetensors", "context")
    same(found, "context", {"b": np.float32([1, 2.5]), "a": np.float32([3, -0.5])})
    (tmp_path / "p.safetensors").write_bytes(b"\0" * 20)
    assert "cannot be read" in rejected(tmp_path / "p.safetensors", "safetensors", "context")["p.safetensors"]


# LMDB, pickles -------------------------------------------------------------------------------------------------------


def put(folder: Path, values: dict[bytes, bytes]) -> Path:
    lmdb = pytest.importorskip("lmdb", reason="needs lmdb")
    with lmdb.open(str(folder), map_size=1 << 24) as held, held.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    (folder / "lock.mdb").unlink()
    return folder


def test_lmdb_of_the_family(tmp_path: Path) -> None:
    """ViLBERT keeps arrays as base64, MMF as arrays, UNITER as .npz with boxes that are shares."""
    x, boxes = vectors(2), np.float32([[1, 2, 3, 4], [2, 3, 4, 5]])

    def code(array: np.ndarray) -> bytes:
        return base64.b64encode(array.tobytes())

    vilbert = {"image_id": "7", "image_h": 30, "image_w": 40, "num_boxes": 2, "boxes": code(boxes), "features": code(x)}
    mmf = {"features": x, "bbox": boxes, "num_boxes": 2, "image_height": 30, "image_width": 40, "feature_path": "x"}
    np.savez(tmp_path / "u.npz", features=x, norm_bb=np.c_[boxes / 40, boxes[:, :2]], conf=np.float32([0.1, 0.2]))
    trap = tmp_path / "trap"
    values = {
        b"7": pickle.dumps(vilbert),
        b"train/8.jpg": pickle.dumps(mmf),
        b"coco_9.npz": (tmp_path / "u.npz").read_bytes(),
        b"bad": pickle.dumps({"features": Trap(trap)}),
        b"nothing": b"nothing",
        b"list": pickle.dumps([1, 2]),
        b"keys": pickle.dumps([b"7"]),
    }
    source = put(tmp_path / "db", values)
    found = {one.id: one for one in records(source, FORMS["lmdb"], Asked("regions", {}))}
    assert sorted(found) == ["7", "bad", "coco_9", "list", "nothing", "train/8"]
    for id in ("7", "train/8"):
        one = found[id]
        assert isinstance(one, Record), one
        np.testing.assert_array_equal(one.arrays["regions"], x)
        np.testing.assert_array_equal(one.arrays["boxes"], boxes)
        assert (one.width, one.height) == (40, 30)
    uniter = found["coco_9"]
    assert isinstance(uniter, Record)
    np.testing.assert_array_equal(uniter.arrays["boxes"], (boxes / 40)[::-1])
    lost = {one.id: one.reason for one in found.values() if isinstance(one, Rejected)}
    assert lost["bad"].startswith("is not read: it asks for ")
    assert lost["nothing"].startswith("is neither a pickle nor a .npz: ")
    assert lost["list"] == "is a pickled list, expected named arrays"
    assert not trap.exists()
    assert sorted(path.name for path in source.iterdir()) == ["data.mdb"]


def test_a_damaged_database_is_one_reject(tmp_path: Path) -> None:
    x = vectors(40, 400)
    source = put(tmp_path / "db", {f"{i:03d}".encode(): pickle.dumps({"context": x[i]}) for i in range(40)})
    data = bytearray((source / "data.mdb").read_bytes())
    (source / "data.mdb").write_bytes(data[: 4096 * 6])  # its meta pages speak of pages that are gone: SIGBUS
    found = list(records(source, FORMS["lmdb"], Asked("context", {})))
    lost = [one for one in found if isinstance(one, Rejected)]
    assert lost
    assert all("read" in one.reason for one in lost)
    for one in found:
        if isinstance(one, Record):
            np.testing.assert_array_equal(one.arrays["context"], x[int(one.id)])


def test_mmsa_fet(tmp_path: Path) -> None:
    text, lengths = vectors(3, 4, DIM), [4, 2, 3]
    mask = np.arange(4) < np.array(lengths)[:, None]
    bert = np.stack([np.arange(12).reshape(3, 4) * mask, mask, np.zeros((3, 4))], 1).astype(np.float32)
    vision, frames = vectors(3, 6, 7), [6, 1, 3]

    def part(rows: Sequence[int]) -> dict[str, Any]:
        return {
            "id": [f"v$_${row}" for row in rows],
            "raw_text": ["text"] * len(rows),
            "text": text[rows],
            "text_bert": bert[rows],
            "vision": vision[rows],
            "vision_lengths": [frames[row] for row in rows],
            "regression_labels": np.zeros(len(rows)),
        }

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": part([0, 1]), "valid": part([]), "test": part([2])}))
    found = read(tmp_path / "a.pkl", "mmsa-fet", "tokens")
    same(found, "tokens", {f"v$_${i}": text[i, : lengths[i]] for i in range(3)})
    assert found["v$_$2"].arrays["token_ids"].tolist() == [8, 9, 10]
    assert found["v$_$2"].lacks == ("word_ids",)
    found = read(tmp_path / "a.pkl", "mmsa-fet", "regions")
    same(found, "regions", {f"v$_${i}": vision[i, : frames[i]] for i in range(3)})
    assert rejected(tmp_path / "a.pkl", "mmsa-fet", "context")["v$_$0"] == "holds context (6, 7), expected one vector"
    trap = tmp_path / "trap"
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"train": Trap(trap)}))
    assert "it asks for" in rejected(tmp_path / "a.pkl", "mmsa-fet", "tokens")["a.pkl"]
    assert not trap.exists()


# What is there -------------------------------------------------------------------------------------------------------


def test_the_form_is_guessed_by_the_endings(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, forms in (
        ("1.npz", ["npz"]),
        ("x.h5", ["hdf5"]),
        ("x.parquet", ["parquet"]),
        ("x.tsv", ["bua-tsv"]),
        ("x.txt", []),
    ):
        (tmp_path / "a" / name).touch()
        assert guessed(tmp_path / "a" / name) == forms
    assert guessed(tmp_path / "a") == ["bua-tsv", "npz", "hdf5", "parquet"]


def test_no_child_outlives_its_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for i in range(2000):
            file[f"{i}"] = np.zeros(500, np.float32)
    started: list[subprocess.Popen[bytes]] = []
    plain = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(plain(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(isolated.subprocess, "Popen", start)
    reading = records(tmp_path, FORMS["hdf5"], Asked("context", {}))
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert len(started) == 1
    assert started[0].poll() is not None


def test_zip_bombs_are_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "1.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
        file.write(bytes(1 << 16))
    assert "cannot be read" in rejected(tmp_path / "1.npz", "npz", "context")["1"]


@pytest.mark.parametrize("form", ["hdf5", "npz", "safetensors", "parquet"])
def test_packed_files_without_the_kind_are_one_reject(tmp_path: Path, form: str) -> None:
    ids = np.array(["1", "2"])
    if form == "hdf5":
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["ids"], file["roi"] = ids.tolist(), vectors(2)
    elif form == "npz":
        np.savez(tmp_path / "x.npz", ids=ids, roi=vectors(2))
    elif form == "safetensors":
        save_file({"roi": vectors(2)}, tmp_path / "x.safetensors", {"ids": json.dumps(ids.tolist())})
    else:
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow", reason="needs pyarrow")
        pandas.DataFrame({"id": ids, "roi": list(vectors(2))}).to_parquet(tmp_path / "x.parquet")
    (reason,) = rejected(tmp_path, form, "context").values()
    assert reason.startswith("has no array that is known as context, only ")
    assert reason.endswith("roi: name one with --map context=NAME")
    assert len(read(tmp_path, form, "context", context="roi")) == 2
