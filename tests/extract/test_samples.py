"""Opening data sets by name; retries."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from itin.errors import DataError, TransientError
from itin.extract.data import reading
from itin.extract.data.datasets import DATASETS, Reader, open_dataset
from itin.extract.data.samples import Rejected, reject
from itin.labels import LABELS


def test_label_order_is_the_class_index() -> None:
    assert LABELS == ("positive", "neutral", "negative")


@pytest.mark.parametrize("kind", DATASETS)
def test_every_kind_has_a_reader(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ITIN_DATA", raising=False)
    with pytest.raises(DataError, match=r"--root"):
        open_dataset(kind)


def test_a_new_data_set_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    read = SimpleNamespace(read=lambda source: (source.kind, source.root, source.encoding))
    monkeypatch.setitem(sys.modules, "itin.extract.data.sets.mine", read)
    monkeypatch.setitem(DATASETS, "mine", Reader("mine", ("encoding",)))
    found: Any = open_dataset("mine", "here", encoding="utf-8")
    assert found == ("mine", "here", "utf-8")
    with pytest.raises(ValueError, match="table: an option of folder, not of the data set 'mine'"):
        open_dataset("mine", "here", table="t.csv")
    with pytest.raises(ValueError, match="the name 'mine' belongs to the data set mine"):
        open_dataset("folder", "here", name="mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "mvsa"}, "no data set 'mvsa'; there are mvsa-single, mvsa-multiple, msed, .*, folder"),
        ({"kind": "folder", "name": "a/b"}, "the name 'a/b' cannot be used"),
        ({"kind": "folder", "name": ".hidden"}, "'.' not first"),
        ({"kind": "folder", "name": ""}, "the name '' cannot be used"),
        ({"kind": "folder", "name": "mvsa-single"}, "the name 'mvsa-single' belongs to the data set mvsa-single"),
        ({"kind": "mvsa-single", "table": "t.csv"}, "table: an option of folder, not of the data set 'mvsa-single'"),
        ({"kind": "mvsa-single", "columns": {"id": "x"}}, "columns: an option of msed, memotion, folder, not"),
        ({"kind": "mvsa-single", "allow_outside": True}, "allow_outside: an option of folder, not"),
        ({"kind": "msed", "aspect": "pair"}, "aspect: an option of twitter-2015, twitter-2017, not of the .* 'msed'"),
        ({"kind": "twitter-2015", "aspect": "both"}, "aspect: expected one of pair, insert, keep, got 'both'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset(**arguments)


def test_source_opens_the_same_again(
    tmp_path: Path, draw_mvsa: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_mvsa(tmp_path / "mvsa", 4)
    (tmp_path / "mine.csv").write_text("key,image,text\n1,a.jpg,hello\n")
    (tmp_path / "other.csv").write_text("")
    monkeypatch.chdir(tmp_path)
    for dataset in (
        open_dataset("mvsa-single", "mvsa", name="small"),
        open_dataset("folder", ".", table="mine.csv", columns={"id": "key"}, allow_outside=True),
    ):
        source = json.loads(json.dumps(dataset.source))
        monkeypatch.chdir("/")
        assert open_dataset(**source) == dataset
        monkeypatch.chdir(tmp_path)


def test_rejected_row_of_a_kept_id_is_named_by_its_line() -> None:
    failed = [("7", "line 3", "twice"), ("8", "line 4", "odd"), ("", "lines 5-9", "no id")]
    assert reject(failed, {"7"}, "t.csv") == [
        Rejected("line 3", "t.csv, line 3: twice"),
        Rejected("8", "t.csv, line 4: odd"),
        Rejected("lines 5-9", "t.csv, lines 5-9: no id"),
    ]


def failing(codes: list[int | None]) -> Callable[[], str]:
    def read() -> str:
        if codes:
            code = codes.pop(0)
            raise OSError(code, os.strerror(code)) if code is not None else OSError("no number")
        return "read"

    return read


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waits: list[float] = []
    monkeypatch.setattr(reading.time, "sleep", waits.append)
    return waits


def test_transient_errors_are_tried_three_times(waits: list[float]) -> None:
    assert reading.retrying(failing([errno.EIO, errno.ESTALE]), "x") == "read"
    assert waits == [0.1, 0.5]
    codes: list[int | None] = [errno.ETIMEDOUT, errno.EMFILE, errno.ECONNRESET, errno.EIO]
    with pytest.raises(TransientError, match=r"x could not be read: Connection reset by peer\n.*run the command again"):
        reading.retrying(failing(codes), "x")
    assert codes == [errno.EIO]


def test_a_missing_file_is_not_tried_again(waits: list[float]) -> None:
    with pytest.raises(FileNotFoundError):
        reading.retrying(failing([errno.ENOENT]), "x")
    with pytest.raises(OSError, match=r"no number"):
        reading.retrying(failing([None]), "x")
    with pytest.raises(TransientError, match=r"Permission denied"):
        reading.retrying(failing([errno.EACCES]), "x")
    assert waits == []


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "big").write_bytes(b"12345")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in {
        "none": "is missing",
        "big/inside": "is missing",
        "n" * 300: "is missing",
        "loop": "is missing",
        "": "is not a regular file",
        "pipe": "is not a regular file",
        "big": "is too large: 5 bytes, at most 4 are read",
    }.items():
        with pytest.raises(reading.BadFile, match=f"^{reason}$") as caught:
            reading.read_bytes(tmp_path / name, limit=4)
        assert caught.value.missing == (reason == "is missing")
    assert reading.read_bytes(tmp_path / "big", limit=5) == b"12345"
