"""Parts of an extraction from archives and tables take them whole: no part reads another's bytes."""

# ruff: noqa: F811  (fixtures that are imported)

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from itin.cache import open_store
from itin.cli import main
from itin.cluster import submission as submissions
from itin.cluster.extract_work import Extraction
from itin.extract.config import ExtractConfig
from itin.extract.data.places import locator, tables
from itin.extract.run import extract
from itin.parts import Part

from ..extract.forms import as_parquet, as_tars, pairs
from ..extract.test_run import Fake, fakes, made  # noqa: F401


@pytest.fixture(params=["tars", "row groups"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ExtractConfig:
    given = pairs(24)
    if request.param == "tars":
        kind, root = "webdataset", as_tars(tmp_path / "data", given, 4)
    else:
        kind, root = "folder", as_parquet(tmp_path / "data", given, rows=6)
    return ExtractConfig(kind, root=root, name="d", cache=tmp_path / "cache", shard_size=4, workers=3)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The archives and row groups that images are read from."""
    found: list[tuple[str, int]] = []
    member, batches = locator.Locator._member, tables.TableFile.batches

    def from_tar(self: locator.Locator, limit: int) -> bytes:
        found.append((self.path.name, 0))
        return member(self, limit)

    def from_table(self: tables.TableFile, group: int, columns: Any, *rest: Any) -> Any:
        found.append((self.path.name, group))
        return batches(self, group, columns, *rest)

    monkeypatch.setattr(locator.Locator, "_member", from_tar)
    monkeypatch.setattr(tables.TableFile, "batches", from_table)
    return found


def test_no_part_reads_what_another_reads(
    config: ExtractConfig, fakes: dict[str, Fake], reads: list[tuple[str, int]], tmp_path: Path
) -> None:
    extract(replace(config, plan=True))
    of: dict[int, set[tuple[str, int]]] = defaultdict(set)
    for index in range(3):
        reads.clear()
        summary = extract(replace(config, part=Part(index, 3)))
        of[index] = set(reads)
        assert made(summary) == dict.fromkeys(("regions", "tokens", "context"), 12 if index == 0 else 6)
        if config.dataset == "folder":
            assert len(reads) == len(of[index])  # each row group is read once, from front to back
    assert [len(of[index]) for index in range(3)] == [2, 1, 1]
    assert len(set.union(*of.values())) == 4
    done = extract(replace(config, consolidate=True))
    whole = extract(replace(config, cache=tmp_path / "whole"))
    for one, other in zip(done.stores, whole.stores, strict=True):
        left, right = open_store(one.path), open_store(other.path)
        assert left.manifest["complete"]
        assert left.ids == right.ids
        if one.kind == "context":
            rows = np.arange(24)
            np.testing.assert_array_equal(left.read("context", rows), right.read("context", rows))


def test_what_is_missing_counts_for_the_part_that_makes_it(
    config: ExtractConfig, fakes: dict[str, Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ITIN_SITE", str(tmp_path / "none.yaml"))
    where = ["--dataset", config.dataset, "--root", str(config.root), "--cache", str(config.cache), "--name", "d"]
    words = ["cluster", "submit", "--dry-run", "--jobs", "3", "--", "extract", *where, "--shard-size", "4"]
    result = CliRunner().invoke(main, words)
    assert "72 features wanted, 72 missing, in 3 of 3 parts" in result.output, result.output
    assert config.cache is not None
    (folder,) = submissions.find(config.cache)
    one, work = submissions.read(folder), Extraction()
    assert dict(work.missing(one).parts) == {0: 36, 1: 18, 2: 18}
    for arguments in ([*work.part(one), "1/3"], [*work.part(one), "0/3"]):
        assert CliRunner().invoke(main, arguments).exit_code == 0
    assert dict(work.missing(one).parts) == {2: 18}


def test_parts_take_the_table_of_the_last_scan(
    config: ExtractConfig, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(replace(config, plan=True))
    scans: list[Any] = []
    from itin.extract.data import survey

    real = survey.survey_stream
    monkeypatch.setattr(survey, "survey_stream", lambda *given: scans.append(1) or real(*given))
    summary = extract(replace(config, part=Part(0, 2)))
    assert not scans
    assert summary.dataset.classes == ("anger", "fear", "joy")
    assert config.root is not None
    last = sorted(config.root.iterdir())[-1]
    last.write_bytes(last.read_bytes() + bytes(1024) * (config.dataset == "webdataset"))
    extract(replace(config, part=Part(1, 2)))
    assert len(scans) == 1  # a file that has changed
