"""A store that is exported and imported again is the same, bit by bit, in every form and for every kind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itin.cache import Store, Table, open_store, read_table, write_table
from itin.cache.export.export import FORMS, export
from itin.cache.format.schema import KINDS
from itin.errors import CacheError
from itin.extract.foreign.importing import ImportOptions, import_features
from itin.labels import LABELS

from ..features import DIM, MAX_REGIONS, identity, make_store, sample

IDS = ("007", "7", "a b", "日本", "é", "x.y", "10", "11", "12")
SIZE = (120, 110)
NEEDS = {"parquet": "pyarrow", "arrow": "pyarrow", "lmdb": "lmdb", "datasets": "datasets"}
READ_AS = {"hdf5-groups": "hdf5", "npz-files": "npz", "datasets": "arrow"}
"""The name of a form for `--from`, where it is another than for `--to`."""


def arrays(kind: str, id: str) -> dict[str, np.ndarray]:
    """The features of a sample; the first texts have one token, and -0.0 and the smallest numbers are among them."""
    seed = IDS.index(id)
    made = sample(kind, seed)
    if kind == "tokens" and seed < 2:
        made = {name: array[1:2] for name, array in made.items()}
    made[kind].reshape(-1)[:2] = [-0.0, 6e-8]
    return made


def digests(id: str) -> dict[str, str]:
    return {f"{what}_sha256": hashlib.sha256(f"{what} {id}".encode()).hexdigest() for what in ("image", "text")}


@pytest.fixture
def table(tmp_path: Path) -> Table:
    folder = tmp_path / "cache" / "pairs"
    samples: list[dict[str, Any]] = [
        {
            "id": id,
            "label": LABELS[i % 3] if i else None,
            "text": f"text of {id}",
            "image": f"/pictures/{i}.jpg",
            "width": SIZE[0],
            "height": SIZE[1],
            "part": ("train", "val", "test")[i % 3],
            **digests(id),
        }
        for i, id in enumerate(IDS)
    ]
    write_table(folder, {"name": "pairs", "root": "/pictures", "classes": list(LABELS)}, samples, [])
    return read_table(folder)


def store_of(table: Table, kind: str, dtype: str) -> Store:
    column = "text_sha256" if kind == "tokens" else "image_sha256"
    rows = [(id, digests(id)[column]) for id in reversed(IDS)]
    return make_store(table.folder, identity(kind, "made", dtype, DIM, MAX_REGIONS), rows, lambda id: arrays(kind, id))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(
    ("form", "kind"), [(form, kind) for form in FORMS for kind in KINDS if kind in (FORMS[form].kinds or KINDS)]
)
def test_every_form_comes_back(table: Table, tmp_path: Path, form: str, kind: str, dtype: str) -> None:
    if form in NEEDS:
        pytest.importorskip(NEEDS[form], reason=f"needs {NEEDS[form]}")
    store = store_of(table, kind, dtype)
    target = tmp_path / f"out{(FORMS[form].endings or ('',))[0]}"
    export(store, target, to=form)
    options = ImportOptions(kind=kind, store_dtype=dtype if form.startswith("bua-") else None)
    done = import_features(target, READ_AS.get(form, form), table, options)
    assert (done.made, done.rejected, done.match.ours, done.match.theirs, done.lacks) == (len(IDS), [], (), (), ())
    back = open_store(done.path)
    assert back.path != store.path
    assert back.identity["dtype"] == dtype
    ids = list(IDS)
    there, here = store.packed(store.index(ids)), back.packed(back.index(ids))
    for name, array in there.items():
        if kind == "regions" and name != "counts":  # the widest image of the source says how many have room
            array = array[:, : here[name].shape[1]]
        assert here[name].dtype == array.dtype, name
        assert here[name].tobytes() == np.ascontiguousarray(array).tobytes(), name
    checked = {"bua-tsv": 0, "bua-npz": 0, "multisentinet": 0}
    assert done.checked == checked.get(form, len(IDS))
    again = import_features(target, READ_AS.get(form, form), table, options)
    assert (again.path, again.made, again.reused) == (done.path, 0, len(IDS))


@pytest.mark.parametrize("form", FORMS)
def test_the_same_export_gives_the_same_bytes(table: Table, tmp_path: Path, form: str) -> None:
    if form in NEEDS:
        pytest.importorskip(NEEDS[form], reason=f"needs {NEEDS[form]}")
    store, found = store_of(table, (FORMS[form].kinds or ("regions",))[0], "float16"), []
    for place in ("one", "other"):
        (tmp_path / place).mkdir()
        export(store, tmp_path / place / f"out{(FORMS[form].endings or ('',))[0]}", to=form)
        files = [path for path in (tmp_path / place).rglob("*") if path.is_file()]
        found.append({path.relative_to(tmp_path / place): path.read_bytes() for path in files})
    assert found[0] == found[1] != {}


def test_features_of_other_images_are_rejected(table: Table, tmp_path: Path) -> None:
    """An export names the digest of each input, so that features of an image that was replaced do not come back."""
    store = store_of(table, "context", "float32")
    export(store, tmp_path / "out.npz")
    samples = table.samples.to_dict("records")
    samples[3]["image_sha256"] = "0" * 64
    write_table(table.folder, table.dataset, samples, [])  # type: ignore[arg-type]
    options = ImportOptions(kind="context", allow_missing=True)
    done = import_features(tmp_path / "out.npz", "npz", read_table(table.folder), options)
    assert [row.id for row in done.rejected] == [IDS[3]]
    assert done.rejected[0].reason.startswith("was made from another image: SHA-256 ")


def test_datasets_have_paths_texts_and_labels(table: Table, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    store = store_of(table, "tokens", "float16")
    export(store, tmp_path / "out", to="datasets")
    rows = datasets.load_from_disk(str(tmp_path / "out"))
    assert rows.column_names[:4] == ["id", "image", "text", "label"]
    assert rows.features["label"].names == list(LABELS)
    for row in rows:
        i = IDS.index(row["id"])
        assert (row["image"], row["text"]) == (f"/pictures/{i}.jpg", f"text of {row['id']}")
        assert row["label"] == (i % 3 if i else None)
        np.testing.assert_array_equal(np.float16(row["tokens"]), arrays("tokens", row["id"])["tokens"].astype("<f2"))
        assert row["word_ids"] == arrays("tokens", row["id"])["word_ids"].tolist()


def test_what_cannot_be_exported(table: Table, tmp_path: Path) -> None:
    store = store_of(table, "context", "float32")
    with pytest.raises(ValueError, match=r"the form bua-tsv holds regions, and context-made-.* holds context"):
        export(store, tmp_path / "out.tsv")
    with pytest.raises(ValueError, match=r"a file of the form arrow must end in \.arrow or \.feather, got out\.h5"):
        export(store, tmp_path / "out.h5", to="arrow")
    bad = make_store(table.folder, identity("context", "slash"), [("a/b", "0" * 64)], lambda id: sample("context", 0))
    with pytest.raises(CacheError, match="the id 'a/b' cannot be the name of a file"):
        export(bad, tmp_path / "out", to="npz-files")
    assert not list(tmp_path.glob("*out*"))
    with pytest.raises(CacheError, match="does not name all of its samples"):
        export(bad, tmp_path / "out.pkl")
