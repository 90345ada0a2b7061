"""Parts of an extraction: who makes what, what is lost when it ends early, and the consolidation."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from itin.cache import open_store
from itin.cli import main
from itin.errors import RUN_AGAIN, CacheError, TransientError
from itin.extract import run
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.data import survey
from itin.extract.run import extract
from itin.extract.summary import Summary
from itin.parts import Part

from ..extract.test_run import Fake, config, fakes, made  # noqa: F401
from .test_submit import no_site, only_submission, submit  # noqa: F401

Fakes = dict[str, Fake]


def part(config: ExtractConfig, index: int, count: int, **more: Any) -> Summary:  # noqa: F811
    return extract(replace(config, part=Part(index, count)), **more)


def shards(summary: Summary) -> list[str]:
    return sorted(path.name for path in summary.stores[0].path.glob("shard-*.h5"))


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "1/0", "a/b", "1/2/3", ""])
def test_what_is_no_part(text: str) -> None:
    with pytest.raises(ValueError, match=r"part: expected i/N"):
        Part.parse(text)
    result = CliRunner().invoke(main, ["extract", "--dataset", "mvsa-single", "--part", text])
    assert result.exit_code == 2
    assert "part: expected i/N" in result.output


def test_parts_exclude_one_another_and_leave_nothing_out() -> None:
    assert Part.parse("3/16") == Part(3, 16)
    assert str(Part(3, 16)) == "3/16"
    owners = [[index for index in range(5) if Part(index, 5).has(block)] for block in range(20)]
    assert owners == [[block % 5] for block in range(20)]


def test_parts_together_make_what_one_run_makes(config: ExtractConfig, fakes: Fakes, tmp_path: Path) -> None:  # noqa: F811
    planned = extract(replace(config, plan=True))
    assert made(planned) == {"regions": 0, "tokens": 0, "context": 0}
    assert planned.left == 33
    second = part(config, 1, 2)  # of blocks 0, 1 and 2 with 4, 4 and 3 samples
    assert made(second) == {"regions": 4, "tokens": 4, "context": 4}
    assert shards(second) == ["shard-00001.h5"]
    assert not list(second.folder.glob("*/manifest.json"))
    assert made(part(config, 1, 2)) == {"regions": 0, "tokens": 0, "context": 0}
    assert made(part(config, 0, 2)) == {"regions": 7, "tokens": 7, "context": 7}
    assert made(part(config, 2, 3)) == {"regions": 0, "tokens": 0, "context": 0}
    assert not list(second.folder.glob("*/manifest.json"))
    extract(replace(config, consolidate=True))
    whole = extract(replace(config, cache=tmp_path / "whole"))
    for one, other in zip(second.stores, whole.stores, strict=True):
        left, right = open_store(one.path), open_store(other.path)
        assert left.manifest["complete"]
        assert left.ids == right.ids
        assert left.manifest["provenance"]["options"] == right.manifest["provenance"]["options"]
        if one.kind == "context":
            rows = np.arange(len(left))
            np.testing.assert_array_equal(left.read("context", rows), right.read("context", rows))


def test_a_part_takes_the_table_of_the_last_scan(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract(replace(config, plan=True))
    scans = []
    scan = survey.scan
    monkeypatch.setattr(survey, "scan", lambda *arguments: scans.append(1) or scan(*arguments))
    assert made(part(config, 0, 3))["regions"] == 4
    extract(replace(config, only=("context",), part=Part(1, 3)))
    assert not scans
    assert config.root is not None
    labels = config.root / "labelResultAll.txt"
    labels.write_bytes(labels.read_bytes().replace(b"11\tneutral,neutral", b"11\tnegative,negative"))
    part(config, 1, 3)
    assert len(scans) == 1  # a label that has changed
    extract(replace(config, part=Part(0, 3), cache=config.cache, name="mvsa-single"))
    assert len(scans) == 1
    (config.root / "data" / "3.jpg").unlink()
    extract(config)
    assert len(scans) == 2  # a run of its own always looks
    part(config, 0, 3)
    assert len(scans) == 2
    (config.root / "data" / "3.jpg").write_bytes((config.root / "data" / "4.jpg").read_bytes())
    extract(replace(config, consolidate=True))
    assert len(scans) == 2


def test_without_a_table_a_part_scans(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert made(part(config, 0, 1)) == {"regions": 11, "tokens": 11, "context": 11}


def test_an_image_that_changes_after_the_scan_is_not_taken_for_the_old_one(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
) -> None:
    extract(replace(config, plan=True))
    assert config.root is not None
    (config.root / "data" / "2.jpg").write_bytes((config.root / "data" / "4.jpg").read_bytes())
    summary = part(config, 0, 1)
    assert summary.unread == 1
    assert [sample for sample, _ in summary.stores[0].unread] == ["2"]
    assert "has changed since it was scanned" in summary.stores[0].unread[0][1]
    with pytest.raises(CacheError, match="missing: 1 of 11 samples"):
        extract(replace(config, consolidate=True))
    extract(replace(config, plan=True))
    assert made(part(config, 0, 1)) == {"regions": 1, "tokens": 0, "context": 1}
    extract(replace(config, consolidate=True))


def test_a_part_that_meets_a_changed_image_names_the_scan_that_takes_it(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
) -> None:
    arguments = ["extract", "--dataset", "mvsa-single", "--root", str(config.root), "--cache", str(config.cache)]
    arguments += ["--shard-size", "4", "--workers", "1"]
    assert CliRunner().invoke(main, [*arguments, "--plan"]).exit_code == 0
    assert config.root is not None
    (config.root / "data" / "2.jpg").write_bytes((config.root / "data" / "4.jpg").read_bytes())
    again = "run it with --plan in place of --part 0/1, which scans the changed files, then run the same command again."
    for _ in range(2):  # nothing but the plan helps
        result = CliRunner().invoke(main, [*arguments, "--part", "0/1"])
        assert result.exit_code == RUN_AGAIN
        assert f"1 could not be read this time: {again}" in result.output
    assert CliRunner().invoke(main, [*arguments, "--plan"]).exit_code == 0
    result = CliRunner().invoke(main, [*arguments, "--part", "0/1"])
    assert result.exit_code == 0, result.output


def test_a_submitted_part_that_meets_a_changed_image_says_to_submit_again(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
) -> None:
    submit(config, "--dry-run")
    assert config.root is not None
    (config.root / "data" / "2.jpg").write_bytes((config.root / "data" / "4.jpg").read_bytes())
    record = str(only_submission(config).record)
    result = CliRunner().invoke(main, ["extract", "--config", record, "--part", "0/1"])
    assert result.exit_code == RUN_AGAIN
    assert "1 could not be read this time: submit the extraction again, which scans the changed files." in result.output
    submit(config, "--dry-run")
    result = CliRunner().invoke(main, ["extract", "--config", record, "--part", "0/1"])
    assert result.exit_code == 0, result.output


def test_consolidation_names_what_is_missing(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    summary = part(config, 1, 3)
    with pytest.raises(CacheError) as caught:
        extract(replace(config, consolidate=True))
    message = str(caught.value)
    assert "not every sample is committed yet, and no manifest was written" in message
    assert f"7 of 11 samples in {summary.stores[0].path}" in message
    assert f"7 of 11 samples in {summary.stores[1].path}" in message
    assert "--part i/N" in message
    assert not list(summary.folder.glob("*/manifest.json"))


def test_consolidation_names_a_damaged_shard(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    summary = part(config, 0, 1)
    path = summary.stores[2].path / "shard-00001.h5"
    data = bytearray(path.read_bytes())
    place = data.index(open_bytes(path))
    data[place] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CacheError) as caught:
        extract(replace(config, consolidate=True))
    assert "is damaged, and no manifest was written" in str(caught.value)
    assert "shard-00001.h5" in str(caught.value)
    assert f"itin cache verify --repair {summary.stores[2].path}" in str(caught.value)
    assert not list(summary.folder.glob("*/manifest.json"))


def open_bytes(path: Path) -> bytes:
    """The bytes of a shard's features as they stand in the file."""
    import h5py

    with h5py.File(path, locking=False) as file:
        return bytes(file["context"][:].tobytes())


def test_what_is_encoded_when_time_is_up_is_kept(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    extract(replace(config, plan=True))
    stop, batches = Event(), []

    def enough(batch: list[Any]) -> None:
        batches.append(len(batch))
        if len(batches) == 2:
            stop.set()

    fakes["regions"].fault = enough
    first = part(config, 0, 1, stop=stop)
    assert first.stopped
    assert made(first)["regions"] == 6  # two batches of three: a shard of four, and a smaller one of two
    assert first.stores[0].left == 5
    fakes["regions"].fault = lambda batch: None
    second = part(config, 0, 1)
    assert not second.stopped
    assert made(second)["regions"] == 5
    extract(replace(config, consolidate=True))
    assert sorted(open_store(first.stores[0].path).ids, key=int) == [str(i) for i in range(1, 12)]


def test_a_stop_while_scanning(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    stop = Event()
    stop.set()
    with pytest.raises(TransientError, match=r"stopped while looking at mvsa-single(.|\n)*run the same command again"):
        extract(config, stop=stop)


def test_a_stopped_run_writes_no_manifest(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    extract(replace(config, plan=True))
    stop = Event()
    stop.set()
    summary = part(config, 0, 1, stop=stop)
    assert summary.left == 33
    assert made(summary) == {"regions": 0, "tokens": 0, "context": 0}


def test_what_another_has_committed_meanwhile_is_passed_over(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    extract(replace(config, plan=True))
    calls: list[int] = []

    def other(batch: list[Any]) -> None:
        calls.append(len(batch))
        if len(calls) == 1:
            fakes["regions"].fault = lambda batch: None
            extract(replace(config, only=("regions", "context"), workers=1))  # all of it
            calls.append(-1)

    one = fakes["regions"]
    one.fault = other
    summary = part(replace(config, workers=1, batch_size=None, shard_size=4), 0, 1)
    assert -1 in calls
    assert summary.stores[0].reused == 11 - made(summary)["regions"]
    assert made(summary)["regions"] == 0
    assert len(open_store(summary.stores[0].path).ids) == 11


def test_blocks_of_different_size_are_finished_one_by_one(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stores that were planned with other shard sizes never keep many blocks open at a time."""
    extract(replace(config, plan=True, only=("regions",), shard_size=4))
    extract(replace(config, plan=True, only=("context",), shard_size=3))
    most = 0
    write = run.Lane._write

    def watched(self: Any, results: Any, complete: Any) -> None:
        nonlocal most
        write(self, results, complete)
        most = max(most, len(self._finished) + len(complete))

    monkeypatch.setattr(run.Lane, "_write", watched)
    for index in range(2):
        part(config, index, 2)
    assert most <= 2
    extract(replace(config, consolidate=True))


def test_another_store_than_was_planned_is_refused(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    planned = extract(replace(config, plan=True))
    into = ",".join(store.path.name for store in planned.stores)
    assert made(part(replace(config, into=into), 0, 3))["regions"] == 4
    other = replace(config, into=into, encoders=EncoderConfig(regions="grid"))
    with pytest.raises(CacheError, match=r"would fill another store than was planned: regions-grid-") as caught:
        part(other, 1, 3)
    assert "use the same itin, weights and libraries on every machine" in str(caught.value)
    assert len(list(planned.folder.glob("regions-*"))) == 1


@pytest.mark.parametrize("more", [{"part": Part(0, 2), "plan": True}, {"plan": True, "consolidate": True}])
def test_stages_exclude_one_another(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="--part, --plan and --consolidate exclude each other"):
        ExtractConfig("mvsa-single", **more)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_signals_end_a_part_with_what_is_encoded_committed(
    name: str,
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arguments = ["extract", "--dataset", "mvsa-single", "--root", str(config.root), "--cache", str(config.cache)]
    arguments += ["--shard-size", "4", "--workers", "1"]
    assert CliRunner().invoke(main, [*arguments, "--plan"]).exit_code == 0
    before = signal.getsignal(getattr(signal, name))

    def enough(batch: list[Any]) -> None:
        os.kill(os.getpid(), getattr(signal, name))
        os.kill(os.getpid(), getattr(signal, name))  # told twice, as schedulers do

    fakes["regions"].fault = enough
    result = CliRunner().invoke(main, [*arguments, "--part", "0/2"])
    assert result.exit_code == RUN_AGAIN == 75
    assert "part 0/2: 7 regions, 7 tokens, 7 context" in result.output
    assert "Stopped by a signal: " in result.output
    assert "Run the command again" in result.output
    assert signal.getsignal(getattr(signal, name)) == before
    fakes["regions"].fault = lambda batch: None
    for index in range(2):
        assert CliRunner().invoke(main, [*arguments, "--part", f"{index}/2"]).exit_code == 0
    result = CliRunner().invoke(main, [*arguments, "--consolidate"])
    assert result.exit_code == 0
    store = open_store(next((config.cache / "mvsa-single").glob("regions-*")))  # type: ignore[operator]
    assert sorted(store.ids, key=int) == [str(i) for i in range(1, 12)]
