"""Encoding and committing at the same time, and what a kill can lose meanwhile."""

from __future__ import annotations

from dataclasses import replace
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from itin.cache import open_store
from itin.cache.writer import StoreWriter
from itin.errors import CacheError
from itin.extract.config import ExtractConfig
from itin.extract.run import extract

from .test_run import Fake, config, fakes, made  # noqa: F401

WAIT = 30
"""Seconds that only a deadlock takes."""


@pytest.fixture
def regions(config: ExtractConfig, monkeypatch: pytest.MonkeyPatch) -> ExtractConfig:  # noqa: F811
    monkeypatch.setattr(Fake, "batch_size", 4)  # as a shard's rows
    return replace(config, only=("regions",), workers=1)


def test_a_shard_is_committed_while_the_next_batch_is_encoded(
    regions: ExtractConfig,
    fakes: dict[str, Fake],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first commit ends only once the second batch is being encoded, which ends only after that commit."""
    extract(replace(regions, plan=True))
    encoding, committed, seen = Event(), Event(), list[bool]()
    commit = StoreWriter.commit

    def slow(self: StoreWriter, block: int, samples: Any) -> int:
        assert current_thread() is not main_thread()
        if not committed.is_set():
            seen.append(encoding.wait(WAIT))
        new = commit(self, block, samples)
        committed.set()
        return new

    def batch(_: list[Any]) -> None:
        if seen or fakes["regions"].seen:
            encoding.set()
            seen.append(committed.wait(WAIT))

    monkeypatch.setattr(StoreWriter, "commit", slow)
    fakes["regions"].fault = batch
    summary = extract(regions)
    assert seen == [True, True, True]
    assert made(summary) == {"regions": 11}
    assert len(open_store(summary.stores[0].path).ids) == 11


def test_no_more_than_a_shard_waits_beside_the_batch_under_way(
    regions: ExtractConfig,
    fakes: dict[str, Fake],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract(replace(regions, plan=True))
    done, begun, waiting = 0, 0, list[int]()
    commit = StoreWriter.commit

    def counted(self: StoreWriter, block: int, samples: Any) -> int:
        nonlocal done
        Event().wait(0.05)
        done += commit(self, block, samples)
        return done

    def batch(inputs: list[Any]) -> None:
        nonlocal begun
        waiting.append(begun - done)
        begun += len(inputs)

    monkeypatch.setattr(StoreWriter, "commit", counted)
    fakes["regions"].fault = batch
    monkeypatch.setattr(Fake, "batch_size", 1)
    extract(regions)
    assert len(waiting) == 11
    assert max(waiting) <= 4


def test_a_commit_that_fails_ends_the_extraction(
    regions: ExtractConfig,
    fakes: dict[str, Fake],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(self: StoreWriter, block: int, samples: Any) -> int:
        raise CacheError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(StoreWriter, "commit", full)
        with pytest.raises(CacheError, match="the disk is full"):
            extract(regions)
    assert fakes["regions"].seen <= 8
    assert made(extract(regions)) == {"regions": 11}


@pytest.mark.parametrize(("batches", "sizes"), [(1, [1] * 11), (3, [3, 3, 3, 2]), (30, [4, 4, 3])])
def test_an_encoder_may_take_batches_together_but_no_more_than_a_shard(
    batches: int,
    sizes: list[int],
    regions: ExtractConfig,
    fakes: dict[str, Fake],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extract(replace(regions, plan=True))
    given = list[int]()
    monkeypatch.setattr(Fake, "batch_size", 1)
    monkeypatch.setattr(Fake, "batches_at_once", batches, raising=False)
    fakes["regions"].fault = lambda inputs: given.append(len(inputs))
    extract(regions)
    assert given == sizes
