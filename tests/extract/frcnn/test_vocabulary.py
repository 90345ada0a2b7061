"""Names of the ids: the user's files, those beside the checkpoint, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from itin.errors import WeightsError
from itin.extract.frcnn.vocabulary import Vocabulary, find_vocabulary, read_names


def test_the_first_synonym_names_the_class(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("yolk\nteddy bear,teddy\n goggles , glasses", encoding="utf-8")  # no newline at the end
    assert read_names(path, 3) == ("yolk", "teddy bear", "goggles")


def test_where_the_names_come_from(tmp_path: Path) -> None:
    weights = tmp_path / "model.bin"
    assert find_vocabulary(weights) == Vocabulary(None, None)
    assert find_vocabulary(None) == Vocabulary(None, None)
    (tmp_path / "objects_vocab.txt").write_text("a\nb,c")
    (tmp_path / "attributes_vocab.txt").write_text("red\nblue\ngreen\n")
    found = find_vocabulary(weights, object_count=2, attribute_count=3)
    assert found == Vocabulary(("a", "b"), ("red", "blue", "green"))
    (tmp_path / "mine.txt").write_text("x\ny")
    found = find_vocabulary(weights, objects=tmp_path / "mine.txt", object_count=2, attribute_count=3)
    assert found.objects == ("x", "y")


def test_names_of_ids() -> None:
    names = Vocabulary(("dog", "cat"), None)
    assert [names.object(i) for i in (-1, 0, 1, 2)] == ["unknown", "dog", "cat", "object 2"]
    assert [names.attribute(i) for i in (-1, 7)] == ["unknown", "attribute 7"]


def test_wrong_files(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(WeightsError, match=r"names.txt: the vocabulary cannot be read\n  expected: 2 names"):
        read_names(path, 2)
    path.write_text("a\nb\nc")
    with pytest.raises(WeightsError, match=r"does not fit the detector\n  expected: 2 names.*\n  found:    3 lines"):
        read_names(path, 2)
    path.write_text("a\n,x")
    with pytest.raises(WeightsError, match="2 lines, of which line 2 is empty"):
        read_names(path, 2)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="UnicodeDecodeError"):
        read_names(path, 1)
