"""The reader of weights: every form that it reads, and everything that can lie under the name of one."""

from __future__ import annotations

import json
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from itin.weights_file import (
    UnsoundFile,
    cause_of,
    check_real,
    differences,
    form_of,
    load_arrays,
    read_object,
    read_state,
)

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 437955512\n"
PAGE = b"\n<!doctype HTML>\n<html><head><TITLE>\n 404 Not Found </TITLE></head></html>"
STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor([1, 2])}


def fault(path: Path, read: Any = read_state) -> UnsoundFile:
    with pytest.raises(UnsoundFile) as caught:
        read(path)
    return caught.value


@pytest.mark.parametrize("form", ["safetensors", "zip", "old", "arrays"])
@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "model.pkl"])
def test_a_file_is_read_by_its_bytes_whatever_its_name(tmp_path: Path, form: str, name: str) -> None:
    path = tmp_path / name
    if form == "safetensors":
        save_file(STATE, path)
    elif form == "arrays":
        path.write_bytes(pickle.dumps({"model": {key: value.numpy() for key, value in STATE.items()}}))
    else:
        torch.save({"state_dict": STATE}, path, _use_new_zipfile_serialization=form == "zip")
    assert form_of(path) == {"safetensors": "safetensors", "arrays": "pickle"}.get(form, "pytorch")
    state = read_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_arrays_of_another_byte_order(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"x": np.array([1.5, -2], ">f4")}))
    assert read_state(tmp_path / "a.pkl")["x"].tolist() == [1.5, -2]


@pytest.mark.parametrize(
    ("content", "found", "next_step"),
    [
        (b"", "an empty file", "download the file again"),
        (POINTER, "a Git LFS pointer, which stands for a file of 437955512 bytes that was not fetched", "git lfs pull"),
        (b"version https://git-lfs.github.com/spec/v1\n", "stands for a file that was not fetched", "git lfs pull"),
        (PAGE, "a web page, '404 Not Found'", "its address gave this page"),
        (b"\xef\xbb\xbf<html><body>Log in", "a web page, '<html><body>Log in'", "its address gave this page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "a web page, '<?xml ver", "its address gave"),
    ],
)
@pytest.mark.parametrize("read", [read_state, read_object, check_real, form_of])
def test_what_stands_in_the_place_of_a_file(
    tmp_path: Path, content: bytes, found: str, next_step: str, read: Any
) -> None:
    path = tmp_path / "any"
    path.write_bytes(content)
    caught = fault(path, read)
    assert found in caught.found
    assert next_step in caught.next_step


def test_a_vocabulary_that_begins_with_a_bracket_is_none(tmp_path: Path) -> None:
    for text in ("<s>\n<pad>\n", "<unk>", "<mask>", "<htmlx>"):
        (tmp_path / "vocab.txt").write_text(text)
        check_real(tmp_path / "vocab.txt")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"Not found\n", "10 bytes that begin with 'Not found'"),
        (b'{"error": "no such revision"}', """29 bytes that begin with '{"error": "no such revision"}'"""),
        (bytes(100), r"100 bytes that begin with b'\x00\x00\x00"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), r"28 bytes that begin with b'\x89PNG\r\n\x1a\n'"),
        (b"\x80", "a file that cannot be read (UnpicklingError"),
        (b"\x80\x02.", "a file that cannot be read (UnpicklingError"),
    ],
)
def test_what_is_no_weights_file(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    assert fault(tmp_path / "model.bin").found.startswith(found)


def test_every_cut_of_a_file_is_found_by_its_length(tmp_path: Path) -> None:
    """Before anything is read: a model of many gigabytes is not loaded in vain."""
    path, data = tmp_path / "model.safetensors", save(STATE)
    for size in range(9, len(data)):
        path.write_bytes(data[:size])
        assert re.match(rf"{size} bytes.* cut off", fault(path, form_of).found)
    path.write_bytes(data + b"0")
    assert fault(path, form_of).found == f"{len(data) + 1} bytes, where its header declares {len(data)}"
    torch.save(STATE, path)
    data = path.read_bytes()
    for size in range(2, len(data), 37):
        path.write_bytes(data[:size])
        assert fault(path, form_of).found == f"{size} bytes of a PyTorch file that was cut off"


@pytest.mark.parametrize(
    "header", [b"{]", b'{"a": 3}', b'{"a": {}}', b'{"a": {"data_offsets": [0]}}', b'{"a": {"data_offsets": "xy"}}']
)
def test_a_damaged_header(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(50))
    assert fault(tmp_path / "a", form_of).found.startswith("a safetensors file whose header is damaged: ")


def test_files_that_are_not_there_or_cannot_be_opened(tmp_path: Path) -> None:
    assert fault(tmp_path / "a").found == "no such file"
    (tmp_path / "annexed").symlink_to("objects/MD5-1")
    assert fault(tmp_path / "annexed").found == "a link to objects/MD5-1, which is not there"
    assert fault(tmp_path).found == "a file that cannot be opened (Is a directory)"


def test_content_that_is_no_state(tmp_path: Path) -> None:
    for content, found in (([1, 2], "a list"), ({"epoch": 3}, "'epoch' of type int"), ({1: STATE["b"]}, "1 of type")):
        torch.save(content, tmp_path / "a.pth")
        assert fault(tmp_path / "a.pth").found.startswith(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"[]", "JSON of another kind: '[]'"),
        (b"3", "JSON of another kind: '3'"),
        (b"null", "JSON of another kind: 'null'"),
        (b'"{}"', "JSON of another kind: '\"{}\"'"),
        (b'{"model_type": "b\xe9rt"}', "22 bytes that cannot be read as JSON: 'utf-8' codec can't decode byte 0xe9"),
        ('{"a": 1}'.encode("utf-16"), "18 bytes that cannot be read as JSON: "),
        (b'{"model_type": "be', "18 bytes that cannot be read as JSON: Unterminated string"),
        (b"[" * 100_000, "100000 bytes that cannot be read as JSON: "),
    ],
)
def test_json_that_is_no_object(tmp_path: Path, text: bytes, found: str) -> None:
    (tmp_path / "config.json").write_bytes(text)
    assert fault(tmp_path / "config.json", read_object).found.startswith(found)


def test_an_object_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"a": ["é"]}, ensure_ascii=False), encoding="utf-8")
    assert read_object(tmp_path / "config.json") == {"a": ["é"]}


class Hostile:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return exec, (f"open({str(self.target)!r}, 'w').write('owned')",)


@pytest.mark.parametrize("form", ["zip", "old", "plain"])
def test_no_code_of_a_file_is_run(tmp_path: Path, form: str) -> None:
    content = {**STATE, "x": Hostile(tmp_path / "owned")}
    if form == "plain":
        (tmp_path / "a.bin").write_bytes(pickle.dumps({"x": Hostile(tmp_path / "owned")}))
    else:
        torch.save(content, tmp_path / "a.bin", _use_new_zipfile_serialization=form == "zip")
    caught = fault(tmp_path / "a.bin")
    assert re.search(r"it asks for \S*exec\)", caught.found)
    assert "weights_only" not in caught.found + caught.next_step  # PyTorch's advice is to load it all the same
    assert not (tmp_path / "owned").exists()


def test_causes_are_one_line_and_never_empty() -> None:
    assert cause_of(EOFError()) == "EOFError"
    assert cause_of(ValueError("\n\n")) == "ValueError"
    assert cause_of(KeyError("added_tokens")) == "KeyError: 'added_tokens'"
    assert cause_of(RuntimeError("first\nsecond")) == "RuntimeError: first"
    assert cause_of(TypeError("field 'a':\n    expected int\nmore")) == "TypeError: field 'a': expected int"


def test_differences_of_shapes() -> None:
    wanted: dict[str, tuple[int, ...]] = dict.fromkeys("abcdef", (2, 3))
    assert differences(wanted, dict(wanted)) is None
    assert differences(wanted, {"a": (2,), "x": ()}) == (
        "5 missing: b, c, d ...; 1 unknown: x; 1 of another shape: a (2,) instead of (2, 3)"
    )


def test_the_unpickler_admits_arrays_and_containers_only() -> None:
    plain: dict[str, Any] = {
        "a": [np.arange(6, dtype=np.float32).reshape(2, 3), np.float64(2.5), (1, "x", None, True)],
        "b": OrderedDict(c=np.array([1, 2], ">i4")),
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = load_arrays(pickle.dumps(plain, protocol))
        np.testing.assert_array_equal(read["a"][0], plain["a"][0])
        assert read["a"][1:] == plain["a"][1:]
        assert read["b"]["c"].tolist() == [1, 2]
    forbidden: list[Any] = [print, np.load, re.compile("x"), Path(), torch.zeros(1), eval, getattr]
    for value in forbidden:
        with pytest.raises(pickle.UnpicklingError, match="it asks for "):
            load_arrays(pickle.dumps(value))
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for _codecs\.encode with 'rot13'"):
        load_arrays(b"c_codecs\nencode\n(Vx\nVrot13\ntR.")
    with pytest.raises(pickle.UnpicklingError, match=r"it asks for numpy\.f2py"):
        load_arrays(b"cnumpy\nf2py\n.")


def test_python_2_pickles_of_arrays() -> None:
    """Written by Python 2 with protocol 2: the array's bytes come as a str."""
    old = (
        b"\x80\x02}q\x01U\x01wq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05"
        b"(K\x01K\x02\x85cnumpy\ndtype\nq\x06U\x02f4K\x00K\x01\x87Rq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tbs."
    )
    assert load_arrays(old)["w"].tolist() == [1.0, -2.0]
