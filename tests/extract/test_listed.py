"""`--ids FILE`: only the listed samples are extracted; plan and table stay those of the whole data set."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from itin.cache import open_store, read_table
from itin.cli import main
from itin.cluster import submission as submissions
from itin.cluster.extract_work import Extraction, with_absolute_paths
from itin.errors import CacheError, DataError
from itin.extract.config import ExtractConfig
from itin.extract.data.listed import check_known, note_of, read_ids, wanted_positions
from itin.extract.lanes import _rounds
from itin.extract.run import extract
from itin.parts import Part

from ..cheap_encoder import Fake
from .test_run import config, fakes, made  # noqa: F401

Fakes = dict[str, Fake]


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    """Of 11 pairs in blocks of 4: two of the first, one of the second, one of the third."""
    path = tmp_path / "ids.txt"
    path.write_bytes(b"\xef\xbb\xbf9\r\n\r\n 2\t\n4\n2\n7")
    return path


def invoke(config: ExtractConfig, *words: object, code: int = 0) -> str:  # noqa: F811
    where = ["--dataset", "mvsa-single", "--root", config.root, "--cache", config.cache, "--shard-size", 4]
    result = CliRunner().invoke(main, [*map(str, ("extract", *where, *words))])
    assert result.exit_code == code, result.output
    return result.output


def test_a_file_of_ids(ids: Path, tmp_path: Path) -> None:
    assert read_ids(ids) == Counter({"9": 1, "2": 2, "4": 1, "7": 1})
    assert list(read_ids(ids)) == ["9", "2", "4", "7"]
    (tmp_path / "odd").write_text("a b\n\u2028c\x85\n", encoding="utf-8")  # no line ends but those of a text file
    assert list(read_ids(tmp_path / "odd")) == ["a b", "c"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "lists no ids"), (b" \n\n", "lists no ids"), (b"\xff\xfe1\n", "cannot read the ids in .*utf-8")],
)
def test_a_file_that_lists_none(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "ids").write_bytes(content)
    with pytest.raises(DataError, match=rf"{message}[\s\S]*expected: a text file in UTF-8 with one id a line"):
        read_ids(tmp_path / "ids")
    with pytest.raises(DataError, match=r"cannot read the ids in .*none: .*No such file"):
        read_ids(tmp_path / "none")


def test_unknown_ids_are_named_with_the_likely_cause() -> None:
    path = Path("some.txt")
    check_known(path, ["2", "1"], ["1", "2", "3"], "mine")
    listed = [f"00{number}" for number in range(3, 12)]
    with pytest.raises(DataError) as caught:
        check_known(path, ["1", *listed], map(str, range(20)), "mine")
    said = str(caught.value)
    assert "some.txt lists ids that are not of mine: 9 (003, 004, 005, 006, 007 and so on)" in said
    assert "leading zeros" in said
    with pytest.raises(DataError, match=r"ids that are not of mine: 1 \(x\)\n  expected: ids such as 3\n  next:"):
        check_known(path, ["1", "2", "x"], ["1", "2", "3"], "mine")


def test_positions() -> None:
    samples: list[Any] = [SimpleNamespace(id=id, label=None if id in "aceg" else "x") for id in "abcdefg"]
    assert list(wanted_positions(samples, None, None)) == [0, 1, 2, 3, 4, 5, 6]
    assert list(wanted_positions(samples, 3, None)) == [0, 1, 2]
    assert list(wanted_positions(samples, None, {"d": 1, "b": 2, "x": 1})) == [1, 3]
    # Those that the label rule leaves without a label come along.
    assert list(wanted_positions(samples, 1, None, undecided=True)) == [0, 1]
    assert list(wanted_positions(samples, 2, None, undecided=True)) == [0, 1, 2, 3]
    for limit in (3, 100, None):
        assert list(wanted_positions(samples, limit, None, undecided=True)) == [0, 1, 2, 3, 4, 5, 6]
    assert list(wanted_positions(samples, 1, {"g": 1}, undecided=True)) == [6]


def test_every_line_is_accounted_for() -> None:
    listed = Counter({"1": 1, "2": 3, "x": 1})
    assert note_of(Path("a/b.txt"), listed, 3) == "b.txt lists 3 ids: 3 are extracted, 2 repeated"
    assert note_of(Path("b.txt"), Counter("ab"), 1) == "b.txt lists 2 ids: 1 are extracted, 1 cannot be used"


def test_only_the_listed_are_extracted(config: ExtractConfig, fakes: Fakes, ids: Path, tmp_path: Path) -> None:  # noqa: F811
    some = extract(replace(config, ids=ids))
    assert made(some) == {"regions": 4, "tokens": 4, "context": 4}
    assert fakes["regions"].seen == 4
    table = read_table(some.folder)
    assert len(table.samples) == 11
    for summary in some.stores:
        store = open_store(summary.path)
        assert store.ids == ["2", "4", "7", "9"]
        assert (store.manifest["planned"], store.manifest["complete"]) == (11, False)
        assert sorted(path.name for path in summary.path.glob("shard-*")) == [f"shard-0000{i}.h5" for i in range(3)]
    rest = extract(config)
    assert made(rest) == {"regions": 7, "tokens": 7, "context": 7}
    whole = extract(replace(config, cache=tmp_path / "whole"))
    left, right = (open_store(one.stores[2].path) for one in (rest, whole))
    names = [str(number) for number in range(1, 12)]
    np.testing.assert_array_equal(left.read("context", left.index(names)), right.read("context", right.index(names)))
    assert left.manifest["complete"]


def test_what_is_said(config: ExtractConfig, fakes: Fakes, ids: Path, tmp_path: Path) -> None:  # noqa: F811
    (config.root / "data" / "4.txt").write_text(" ")  # type: ignore[operator]
    said = invoke(config, "--ids", ids)
    assert "ids.txt lists 4 ids: 3 are extracted, 1 cannot be used, 1 repeated" in said
    ids.write_text("3\n12\n")
    said = invoke(config, "--ids", ids, code=1)
    assert f"{ids} lists ids that are not of mvsa-single: 1 (12)" in said
    assert "--limit and --ids exclude each other" in invoke(config, "--ids", ids, "--limit", 2, code=2)
    assert "cannot read the ids in" in invoke(config, "--ids", tmp_path / "none", code=1)


def test_parts_and_consolidation(config: ExtractConfig, fakes: Fakes, ids: Path) -> None:  # noqa: F811
    some = replace(config, ids=ids)
    assert extract(replace(some, plan=True)).left == 12
    with pytest.raises(CacheError, match="4 of 11 samples"):
        extract(replace(some, consolidate=True))
    assert made(extract(replace(some, part=Part(0, 2)))) == {"regions": 3, "tokens": 3, "context": 3}
    assert made(extract(replace(some, part=Part(1, 2)))) == {"regions": 1, "tokens": 1, "context": 1}
    done = extract(replace(some, consolidate=True))
    assert open_store(done.stores[0].path).ids == ["2", "4", "7", "9"]


def test_only_the_listed_are_taken_out_of_quarantine(config: ExtractConfig, fakes: Fakes, ids: Path) -> None:  # noqa: F811
    images = [config.root / "data" / f"{number}.jpg" for number in (2, 3)]  # type: ignore[operator]
    whole = [image.read_bytes() for image in images]
    for image in images:
        image.write_bytes(image.read_bytes()[:-20])
    assert set(extract(config).stores[0].quarantined) == {"2", "3"}
    fakes["regions"].seen = 0
    again = extract(replace(config, ids=ids, retry_quarantined=True))
    assert fakes["regions"].seen == 0
    assert set(again.stores[0].quarantined) == {"2"}
    assert set(extract(config).stores[0].quarantined) == {"2", "3"}
    for image, content in zip(images, whole, strict=True):
        image.write_bytes(content)
    assert made(extract(replace(config, ids=ids))) == {"regions": 1, "tokens": 0, "context": 1}


def test_a_submission_carries_the_file(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    ids: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITIN_SITE", str(tmp_path / "none.yaml"))
    assert with_absolute_paths(replace(config, ids=Path("ids.txt"))).ids == ids
    where = ["--dataset", "mvsa-single", "--root", str(config.root), "--cache", str(config.cache), "--shard-size", "4"]
    words = ["cluster", "submit", "--dry-run", "--jobs", "2", "--", "extract", *where, "--ids", "ids.txt"]
    result = CliRunner().invoke(main, words)
    assert "12 features wanted, 12 missing, in 2 of 2 parts" in result.output
    assert config.cache is not None
    (folder,) = submissions.find(config.cache)
    one, work = submissions.read(folder), Extraction()
    assert one.config["ids"] == str(ids)
    assert ExtractConfig.from_record(json.loads(json.dumps(one.config))).ids == ids
    assert dict(work.missing(one).parts) == {0: 9, 1: 3}
    monkeypatch.chdir("/")
    for arguments in ([*work.part(one), "0/2"], [*work.part(one), "1/2"], work.consolidate(one)):
        assert CliRunner().invoke(main, arguments).exit_code == 0
    missing = work.missing(one)
    assert (missing.wanted, missing.pieces) == (12, 0)


def test_train_on_what_is_there(config: ExtractConfig, fakes: Fakes, ids: Path, tmp_path: Path) -> None:  # noqa: F811
    ids.write_text("\n".join(str(number) for number in range(2, 12)))
    extract(replace(config, ids=ids))
    words = ["train", "--cache", config.cache, "--epochs", 1, "--d", 4, "--k", 4, "--device", "cpu"]
    words += ["--out", tmp_path / "run", "--m", 1]
    result = CliRunner().invoke(main, [*map(str, words)])
    assert result.exit_code == 1
    assert "1 of 11 labelled pairs of mvsa-single have no features" in result.output
    assert "--allow-missing" in result.output
    result = CliRunner().invoke(main, [*map(str, words), "--allow-missing"])
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "config.json").read_bytes())
    assert (record["samples"]["labelled"], record["samples"]["used"]) == (11, 10)


def test_blocks_of_other_samples_are_not_taken_for_the_same() -> None:
    class Lane:
        def __init__(self, **missing: Any) -> None:
            self.missing = {0: missing["positions"]}

    lanes: Any = [Lane(positions=[0, 1, 3]), Lane(positions=[0, 2, 3]), Lane(positions=[0, 1, 3])]
    found = [(positions, [lanes.index(lane) for lane, _ in blocks]) for positions, blocks in _rounds(lanes, False)]
    assert found == [([0, 1, 3], [0, 2]), ([0, 2, 3], [1])]
