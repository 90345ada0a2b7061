"""docs/cache-format.md: its examples are what the code reads and writes, its Python runs, its rules are the code's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itin.cache import Store, fingerprint_of, store_name, write_table
from itin.cache.format import sealed_json
from itin.cache.format.manifest import listed_shards
from itin.cache.format.ranges import from_ranges
from itin.cache.format.schema import FORMAT, KINDS
from itin.cache.format.shard_header import header_of

from .. import features
from ..features import make_store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cache-format.md"
NAMES = ("plan.json", "shard-00000.h5", "quarantine/row-00000002.json", "manifest.json", "dataset.json")


@pytest.fixture(scope="module")
def examples() -> dict[str, bytes]:
    """The page's JSON by the heading that it stands under, as the file would be."""
    text = PAGE.read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)
    found = {}
    for section in sections:
        if block := re.search(r"^```json\n(.*?\n)```$", section, flags=re.MULTILINE | re.DOTALL):
            found[section.split("\n", 1)[0]] = block[1].encode()
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    write_table(tmp_path, {"name": "pairs"}, [{"id": "id-0"}], [])
    identity, rows = features.identity("regions"), features.rows(4)
    return make_store(tmp_path, identity, rows, size=128, quarantine=["id-2"], provenance={"options": {}})


def read(path: str, data: bytes) -> dict[str, Any]:
    return sealed_json.from_json(Path(path), data)


def test_every_kind_of_file_has_an_example(examples: dict[str, bytes]) -> None:
    assert tuple(examples) == NAMES


def test_the_examples_are_whole(examples: dict[str, bytes]) -> None:
    for name, data in examples.items():
        value = read(name, data)
        assert value["format"] == FORMAT
        assert sealed_json.to_json(value) == data
        seal = (
            f' "checksum": "sha256:{hashlib.sha256(data[: data.rindex(b" " + bytes([34]) + b"checksum")]).hexdigest()}"'
        )
        assert data.decode().splitlines()[-2] == seal


def test_the_examples_fit_each_other(examples: dict[str, bytes]) -> None:
    plan, header, quarantine, manifest, _ = (read(name, examples[name]) for name in NAMES)
    assert plan["fingerprint"] == fingerprint_of(plan["identity"])
    assert {value["fingerprint"] for value in (header, quarantine, manifest)} == {plan["fingerprint"]}
    assert manifest["identity"] == plan["identity"]
    (entry,) = listed_shards(manifest).values()
    assert entry.checksum == sealed_json.seal_of(examples["shard-00000.h5"])
    assert (entry.bytes, entry.rows, entry.count) == (header["bytes"], header["rows"], header["count"])
    assert manifest["plan"][0]["checksum"] == sealed_json.seal_of(examples["plan.json"])
    assert plan["ids"][quarantine["row"]] == quarantine["id"]
    assert plan["sha256"][quarantine["row"]] == quarantine["sha256"]
    assert sorted([*from_ranges(entry.rows).tolist(), quarantine["row"]]) == list(range(len(plan["ids"])))


def test_the_examples_have_the_fields_that_are_written(examples: dict[str, bytes], store: Store) -> None:
    shard = store.path / "shard-00000.h5"
    written = {
        "plan.json": (store.path / "plan.json").read_bytes(),
        "shard-00000.h5": shard.read_bytes()[: shard.read_bytes().index(b"\n}\n") + 3],
        "quarantine/row-00000002.json": (store.path / "quarantine" / "row-00000002.json").read_bytes(),
        "manifest.json": (store.path / "manifest.json").read_bytes(),
    }
    for name, data in written.items():
        assert list(read(name, data)) == list(read(name, examples[name])), name
    ours, example = (read("", data["shard-00000.h5"]) for data in (written, examples))
    assert list(ours["arrays"]) == list(example["arrays"])
    for name, place in ours["arrays"].items():
        assert list(place) == list(example["arrays"][name])
        assert len(place["shape"]) == len(example["arrays"][name]["shape"])
    dataset = read("", (store.path.parent / "dataset.json").read_bytes())
    assert set(dataset) <= set(read("", examples["dataset.json"]))


def test_the_page_names_every_array() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind, schemas in KINDS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {kind} |"))
        for schema in schemas:
            assert re.search(rf"`{schema.name}[ `]|`{schema.name} \(", line), (kind, schema.name)


def test_the_pages_python_reads_a_shard(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with_h5py, with_numpy = re.findall(r"^```python\n(.*?)```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(store.path)
    expected = features.sample("regions", 0)["regions"]
    names: dict[str, Any] = {}
    exec(with_h5py, names)
    assert names["ids"].tolist() == ["id-0", "id-1", "id-3"]
    np.testing.assert_array_equal(names["regions"], expected)
    names = {}
    exec(with_numpy, names)
    np.testing.assert_array_equal(names["regions"][0, : len(expected)], expected)
    assert "itin" not in with_h5py + with_numpy


def test_the_rules_of_a_header(store: Store) -> None:
    path = store.path / "shard-00000.h5"
    data = path.read_bytes()
    header = header_of(path, data)
    assert (header.header, header.bytes) == (4096, len(data))
    assert data[4096:].startswith(b"\x89HDF\r\n\x1a\n")
    text = data[: data.index(b"\n}\n") + 3]
    assert data[len(text) : 4096] == b" " * (4095 - len(text)) + b"\n"
    assert hashlib.sha256(data).hexdigest() == store.manifest["shards"][0]["sha256"]
    place = header.arrays["regions"]
    array = np.ndarray(place.shape, place.dtype, data, place.offset, place.strides)
    np.testing.assert_array_equal(array, store.read("regions", np.arange(3)))
    assert hashlib.sha256(data[place.offset : place.offset + place.bytes]).hexdigest() == place.sha256


def test_the_rule_of_the_fingerprint(store: Store) -> None:
    identity = json.loads(json.dumps(store.identity))
    with contextlib.suppress(KeyError):
        del identity["weights"]["file"]
    text = json.dumps({**identity, "format": 1}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == store.fingerprint
    assert store.path.name == store_name(store.identity) == f"regions-fake-{store.fingerprint[:12]}"
