"""Mutated files at every reader: a few hundred each by default, a hundred thousand in all with `-m slow`."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from itin.extract.data.datasets import KINDS
from itin.extract.foreign.forms.registry import FORMS

from . import sound
from .engine import Child, fuzz
from .misbehaving import WAYS
from .readers import READERS
from .worker import SECONDS

EACH, ALL = 150, 100_000

KNOWN = {("weights", 2857, "slow")}
"""Findings that are not ours: torch.load searches its own message, with a name of 70 kB in it, in quadratic time."""


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Child]:
    made = Child(tmp_path_factory.mktemp("fuzz"))
    yield made
    made.close()


@pytest.mark.parametrize("reader", READERS)
def test_some_inputs(child: Child, reader: str, tmp_path: Path) -> None:
    count = int(EACH * READERS[reader].share)
    found = fuzz(child, reader, 0, count, tmp_path)
    assert not found.findings, "\n\n".join(map(str, found.findings[:3]))
    assert found.inputs == count
    assert found.slowest < SECONDS


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_hundred_thousand_inputs(child: Child, reader: str, tmp_path: Path) -> None:
    count = -(-int(ALL * READERS[reader].share) // int(sum(one.share for one in READERS.values())))
    found = fuzz(child, reader, 0, count, tmp_path)
    new = [one for one in found.findings if (reader, one.number, one.outcome) not in KNOWN]
    assert not new, "\n\n".join(map(str, new[:3]))
    assert found.inputs == count


@pytest.mark.parametrize("way", WAYS)
def test_what_must_not_happen_is_seen(child: Child, way: str, tmp_path: Path) -> None:
    """Of each input that is not the sound file again, with the input in a folder."""
    found = fuzz(child, way.replace(" ", "-"), 0, 3, tmp_path)
    assert found.inputs == 3
    assert {one.outcome for one in found.findings} == {WAYS[way][1]}
    for one in found.findings:
        folder = tmp_path / f"{one.reader}-{one.number}"
        assert (folder / "one" / "file").read_bytes() != b"sound"
        assert one.outcome in (folder / "why.txt").read_text()


class Slow:
    """A child that says beforehand what it will: an input takes too long so many times."""

    def __init__(self, times: int, sound: Path) -> None:
        self.times, self.sound = times, sound

    def ask(self, reader: str, first: int, count: int) -> None:
        told = {"number": first, "outcome": "read", "why": "", "seconds": 0.1, "bytes": 1}
        self.lines = [str(first), *(["ended SIGPROF"] if self.times else [json.dumps(told), "done"])]
        self.times -= 1

    def answer(self) -> str:
        return self.lines.pop(0)

    def errors(self) -> str:
        return ""


@pytest.mark.parametrize(("times", "outcome"), [(1, "read"), (2, "slow")])
def test_an_input_is_slow_that_is_slow_twice(child: Child, times: int, outcome: str, tmp_path: Path) -> None:
    fuzz(child, "raises", 0, 1, tmp_path)  # makes the sound file
    found = fuzz(Slow(times, child.sound), "raises", 7, 1, tmp_path)  # type: ignore[arg-type]
    assert dict(found.outcomes) == {outcome: 1}


def test_a_number_gives_the_same_input_again(child: Child, tmp_path: Path) -> None:
    once, again = (fuzz(child, "raises", 5, 2, tmp_path / name) for name in ("once", "again"))
    assert [one.number for one in once.findings] == [one.number for one in again.findings] == [5, 6]
    first, second = (
        [path.read_bytes() for path in sorted((tmp_path / name).rglob("file"))] for name in ("once", "again")
    )
    assert first == second
    assert len(set(first)) == 2


def test_every_reader_is_there() -> None:
    """Every form of features, every data set by name, every kind of picture."""
    assert {f"features-{form}" for form in FORMS} <= set(READERS)
    named = {"folder", "webdataset", *(path for path in KINDS if f'"{path}"' in Path(sound.__file__).read_text())}
    assert set(KINDS) - named <= {"twitter-2017"}  # the reader of twitter-2015
    images = importlib.import_module("itin.extract.data.images")
    classes = {name.lower().removesuffix("imageplugin") for name in vars(images) if name.endswith("ImagePlugin")}
    assert {one.replace("jpeg", "jpeg") for one in classes} | {"png"} == {kind.lower() for kind in sound.WAYS}
    assert pkgutil.resolve_name("itin.extract.data.images:BadImage")
