"""What the fuzzer has found, each input made in code: all used to be a traceback, and one the interpreter's end."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pytest
import torch

from itin.cache import open_store, read_table
from itin.cache.format.sealed_json import read_json, to_json
from itin.cache.upkeep.repair import repair
from itin.cache.upkeep.verify import verify
from itin.cluster.site import SiteError, read_site
from itin.cluster.submission import RECORD, ClusterError
from itin.cluster.submission import read as read_submission
from itin.errors import CacheError, DataError, RunError
from itin.extract.data.datasets import open_dataset
from itin.extract.data.samples import Rejected
from itin.extract.foreign.forms.files import ids_from
from itin.extract.foreign.forms.registry import FORMS
from itin.extract.foreign.reading import records
from itin.extract.foreign.record import Asked
from itin.tabular.pickled import load_arrays
from itin.train.runs.folder import load_run
from itin.train.sweeps.folder import Sweep
from itin.weights_file import UnsoundFile, read_state

from ..features import identity, make_data, make_run, make_store, rows
from ..keeper import told

DEEP = b"[" * 100_000
HEADER = b"\x93NUMPY\x01\0"


def reasons(source: Path, form: str) -> list[str]:
    found = list(records(source, FORMS[form], Asked("context", {})))
    assert all(isinstance(one, Rejected) for one in found)
    return [one.reason for one in found if isinstance(one, Rejected)]


def array(header: bytes) -> bytes:
    return HEADER + len(header).to_bytes(2, "little") + header + bytes(64)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}\n",
        b"[" * 5000,
    ],
    ids=["not closed", "a shape that is none", "nested deeply"],
)
def test_headers_of_arrays(header: bytes, tmp_path: Path) -> None:
    """NumPy raises what its tokenizer, its parser and its arrays raise."""
    (tmp_path / "7.npy").write_bytes(array(header))
    with zipfile.ZipFile(tmp_path / "8.npz", "w") as archive:
        archive.writestr("features.npy", array(header))
    found = reasons(tmp_path, "npz")
    assert len(found) == 2
    assert all("cannot be read: " in one for one in found)
    with pytest.raises(DataError, match=r"the ids in .*7\.npy cannot be read"):
        ids_from(tmp_path / "7.npy")


def test_a_damaged_member_of_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "7.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("features.npy", array(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}\n") * 9)
    data = bytearray((tmp_path / "7.npz").read_bytes())
    data[60:90] = bytes(30)
    (tmp_path / "7.npz").write_bytes(data)
    (reason,) = reasons(tmp_path, "npz")
    assert reason.startswith("7.npz cannot be read: ")


def test_texts_of_which_one_is_long(tmp_path: Path) -> None:
    """As an array of texts of equal length they would take 4 bytes for each character of the longest, a row."""
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["ids"] = ["a" * 100_000, *map(str, range(999))]
        file["context"] = np.zeros((1000, 3), np.float32)
    (reason,) = reasons(tmp_path, "hdf5")
    assert reason == "is too large: more than 268435456 bytes unpacked"


def test_a_text_that_says_it_has_gigabytes(tmp_path: Path) -> None:
    """HDF5 asks for the memory before it looks further, and the process that reads has not so much."""
    path = tmp_path / "features.h5"
    with h5py.File(path, "w") as file:
        file["ids"], file["context"] = ["one", "two"], np.zeros((2, 3), np.float32)
        at = file["ids"].id.get_offset()
    data = bytearray(path.read_bytes())
    assert data[at : at + 4] == (3).to_bytes(4, "little")
    data[at : at + 4] = (0x5FFFFFFF).to_bytes(4, "little")
    path.write_bytes(data)
    (reason,) = reasons(path, "hdf5")
    assert reason.startswith("cannot be read: ")
    assert "memory" in reason


@pytest.mark.parametrize("kind", ["lists", "texts"])
def test_offsets_that_lead_out_of_an_arrow_file(kind: str, tmp_path: Path) -> None:
    """Followed, those of lists end the process, and those of texts raise SystemError."""
    ids = ["one", "two", "three"]
    columns = {"ids": ids, "context": [[1.0, 2.0]] * 3}
    path = tmp_path / "features.arrow"
    with pa.ipc.new_file(str(path), pa.table(columns).schema) as file:
        file.write_table(pa.table(columns))
    data = path.read_bytes()
    sound, wild = ([0, 2, 4, 6], [0, 2, 1 << 30, 6]) if kind == "lists" else ([0, 3, 6, 11], [0, 3, -9, 11])
    before, after = (np.array(one, "<i4").tobytes() for one in (sound, wild))
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))
    (reason,) = reasons(path, "arrow")
    assert reason.startswith("cannot be read: ")


@pytest.mark.parametrize(
    "state", [{"_data_files": [{"filename": {}}]}, {"_data_files": [[]]}, {"_data_files": []}], ids=str
)
def test_a_saved_data_set_of_another_structure(state: dict[str, Any], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"id": ["1"], "text": ["x"]}).save_to_disk(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **state}))
    with pytest.raises(DataError, match="the library datasets cannot load"):
        open_dataset(f"hf:{tmp_path / 'saved'}")


# Records -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with votes, and a run on a number."""
    root = tmp_path_factory.mktemp("made")
    data = make_data(root, 24, votes=True)
    make_run(data, root / "run", epochs=1, head="text-only", target="intensity")
    return root


def test_records_nested_deeply(made: Path, tmp_path: Path) -> None:
    """Python's parser raises RecursionError, which is no ValueError."""
    for name in ("config.json", "environment.json"):
        run = Path(shutil.copytree(made / "run", tmp_path / name))
        (run / name).write_bytes(DEEP)
        with pytest.raises(RunError, match=rf"cannot read .*{name}"):
            _ = load_run(run).environment
    (tmp_path / RECORD).write_bytes(DEEP)
    with pytest.raises(ClusterError, match=f"cannot read .*{RECORD}"):
        read_submission(tmp_path)
    (tmp_path / "dataset.json").write_bytes(DEEP)
    with pytest.raises(CacheError, match=r"dataset\.json is damaged: it is not JSON"):
        read_table(tmp_path)


def test_predictions_that_are_no_numbers(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    lines = (run / "predictions.csv").read_text().splitlines()
    lines[3] = ",".join([*lines[3].split(",")[:3], "PK"])
    (run / "predictions.csv").write_text("\n".join(lines))
    with pytest.raises(RunError, match=r"predictions\.csv does not describe the predictions of a run[\s\S]*'PK'"):
        _ = load_run(run).predictions


def test_scores_of_another_structure(made: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "run", tmp_path / "run"))
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["test"]["rmse"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(RunError, match=r"metrics\.json does not describe the scores of a run[\s\S]*missing 'rmse'"):
        _ = load_run(run).scores


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["places"][0]["config"].update(hops=2**70),
        lambda record: (record.update(inner_folds=2), record["places"][0].update(inner=0.5)),
        lambda record: (record.update(inner_folds=2), record["places"][0].update(inner="PK")),
    ],
    ids=["too large", "a fraction", "a word"],
)
def test_a_sweep_whose_whole_numbers_are_none(
    made: Path, change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    words = ("sweep", "--cache", made / "cache", "--out", tmp_path / "sweep", "--plan", "--head", "text-only")
    assert told((*words, "--seeds", 2, "--device", "cpu"), str).startswith("exit code 0")
    path = tmp_path / "sweep" / "sweep.json"
    assert len(Sweep(path.parent).results()) == 2
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"sweep\.json does not describe a sweep of this itin"):
        Sweep(path.parent).results()


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(targets=[1]),
        lambda record: record.update(targets=[{"kind": "classes", "classes": ["a", "b"]}]),
        lambda record: record.update(targets=[{"name": "x", "kind": "classes", "classes": 3}]),
        lambda record: record.update(targets=[{"name": "x", "kind": "number", "span": [1]}]),
        lambda record: record.update(source="folder"),
    ],
    ids=["no objects", "no name", "no classes", "half a span", "no source"],
)
def test_tables_of_another_structure(made: Path, change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    """The checksum fits: another program has written it."""
    folder = Path(shutil.copytree(made / "cache" / "made-up", tmp_path / "made-up"))
    record = read_json(folder / "dataset.json")
    change(record)
    (folder / "dataset.json").write_bytes(to_json(record))
    with pytest.raises(CacheError, match=r"dataset\.json is damaged: it (lacks|has another structure)"):
        read_table(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["shards"][1].update(rows="3-12884901890"),
        lambda record: record["shards"][1].update(rows="tokens"),
        lambda record: record["plan"][0].update(file={}),
        lambda record: record["quarantined"].append({"row": 1.5, "id": "x", "reason": "y"}),
        lambda record: record["identity"]["preprocessing"].update(x=float("inf")),
        lambda record: record["provenance"].update(x="\ud800"),
    ],
    ids=["more rows than memory", "no rows", "no file", "half a row", "infinity", "a lone surrogate"],
)
def test_manifests_that_cannot_be_used(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    path = make_store(tmp_path, identity("context"), rows(7), size=3).path
    manifest = read_json(path / "manifest.json")
    change(manifest)
    body = json.dumps(manifest).encode()[:-1] + b",\n"
    seal = f' "checksum": "sha256:{hashlib.sha256(body).hexdigest()}"\n}}\n'.encode()
    (path / "manifest.json").write_bytes(body + seal)
    with pytest.raises(CacheError, match=r"manifest\.json is damaged: it has another structure"):
        open_store(path)
    repair(verify(path))


def test_plans_of_another_structure(tmp_path: Path) -> None:
    path = make_store(tmp_path, identity("context"), rows(7), size=3).path
    plan = read_json(path / "plan.json")
    del plan["fingerprint"]
    (path / "plan.json").write_bytes(to_json(plan))
    with pytest.raises(CacheError, match=r"plan\.json"):
        _ = open_store(path).ids


@pytest.mark.parametrize(("field", "value"), [("count", "3"), ("bytes", None), ("rows", 7), ("file", 1.5)])
def test_manifests_of_another_structure(field: str, value: object, tmp_path: Path) -> None:
    path = make_store(tmp_path, identity("context"), rows(7), size=3).path
    manifest = read_json(path / "manifest.json")
    manifest["shards"][1][field] = value
    (path / "manifest.json").write_bytes(to_json(manifest))
    with pytest.raises(CacheError, match=rf"manifest\.json is damaged: .*{field} of a shard is"):
        open_store(path)
    assert [problem.where for problem in verify(path).problems] == ["manifest"]


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.update(count="3"),
        lambda header: header.pop("arrays"),
        lambda header: header["arrays"]["context"].update(shape=[3, -6]),
        lambda header: header["arrays"]["context"].update(shape=[2**40, 6]),
        lambda header: header["arrays"]["context"].update(offset=1 << 40),
        lambda header: header["arrays"]["context"].update(dtype="x"),
    ],
    ids=["count", "arrays", "negative", "larger than the file", "behind the file", "dtype"],
)
def test_shards_of_another_structure(change: Callable[[dict[str, Any]], None], tmp_path: Path) -> None:
    path = make_store(tmp_path, identity("context"), rows(7), size=3).path
    shard = path / "shard-00001.h5"
    data = shard.read_bytes()
    header = json.loads(data[: data.index(b"\n}\n") + 3])
    del header["checksum"]
    change(header)
    text = to_json(header)
    shard.write_bytes(text + b" " * (4096 - len(text) - 1) + b"\n" + data[4096:])
    (problem,) = (one for one in verify(path).problems if one.where == "shard")
    assert problem.path == shard
    with pytest.raises(CacheError, match=r"shard-00001\.h5 is damaged: it (lacks|has another structure)"):
        open_store(path).read("context", np.arange(7))


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_dtype_of_objects_flags(protocol: int, tmp_path: Path) -> None:
    """NumPy takes the flags over: numbers were to be freed as objects, a RuntimeError from nowhere or the end."""
    values = np.arange(3, dtype="<f2")
    data = pickle.dumps({"a": values}, protocol)
    flags = b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    assert data.count(flags) == 1
    path = tmp_path / "model.pkl"
    path.write_bytes(data.replace(flags, flags[:-2] + b"?t"))
    assert read_state(path)["a"].tolist() == [0, 1, 2]


def test_pickled_arrays_without_a_dtype_of_their_own(tmp_path: Path) -> None:
    data = pickle.dumps(np.zeros(2, [("x", "<f4")]), 4)
    with pytest.raises(pickle.UnpicklingError, match="it holds arrays of dtype"):
        load_arrays(data)
    with pytest.raises(pickle.UnpicklingError, match="it holds an array of the class"):
        load_arrays(b"cnumpy.core.multiarray\n_reconstruct\n(ccollections\nOrderedDict\n(I0\ntS'b'\ntR.")


def test_an_archive_of_several_parts(tmp_path: Path) -> None:
    """zipfile.is_zipfile raises of it, in place of an answer."""
    torch.save({"a": torch.zeros(2)}, tmp_path / "model.pth")
    data = (tmp_path / "model.pth").read_bytes()
    at = data.rindex(b"PK\x05\x06")
    locator = b"PK\x06\x07" + struct.pack("<LQL", 1, 0, 9)
    (tmp_path / "model.pth").write_bytes(data[:at] + locator + data[at:])
    with pytest.raises(UnsoundFile, match="bytes of a PyTorch file that was cut off"):
        read_state(tmp_path / "model.pth")


def test_tensors_that_end_nowhere(tmp_path: Path) -> None:
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, Infinity]}}'
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UnsoundFile, match="a safetensors file whose header is damaged"):
        read_state(tmp_path / "model.safetensors")


def test_settings_nested_deeply(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_bytes(b"[" * 3000)
    with pytest.raises(SiteError, match="cannot read the site's defaults"):
        read_site(tmp_path / "site.yaml")
