"""Damaged stores and tables: what the commands say about them and leave of them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from itin.cache import find_stores
from itin.cache.upkeep.verify import verify
from itin.errors import CacheError

from ..keeper import Book
from .damage import FOLDER_DAMAGE, PERMISSIONS, RECORD_DAMAGE, SHARD_DAMAGE, SHARDS, TABLE_DAMAGE, Damage
from .keeper import EXPECTED, bound_by_permissions, changed, files_of, told
from .sound import DATA, Features, World, equal, values

ZOO: dict[str, dict[str, Damage]] = {
    "shards": SHARD_DAMAGE,
    "records": RECORD_DAMAGE,
    "folders": FOLDER_DAMAGE,
    "permissions": PERMISSIONS,
    "tables": TABLE_DAMAGE,
}
SOUND = "sound"
ANIMALS = [(book, animal) for book, animals in ZOO.items() for animal in [SOUND, *animals]]
AS_SOUND = "as of the sound one"


Steps = dict[str, tuple[object, ...]]


def trials(world: World) -> list[Steps]:
    """What is done to a copy of the world each: commands by name, one after the other."""
    verify = ("cache", "verify", world.folder)
    read_only = {
        "info": ("cache", "info", world.folder),
        "verify": verify,
        "train": world.train,
        "merge": ("cache", "merge", world.folder, "--into", world.root / "merged" / DATA),
    }
    repair = ("cache", "verify", "--repair", world.folder)
    return [
        read_only,
        {"extract": world.extract},
        {"repair": repair, "then extract": world.extract, "then verify": verify},
    ]


def story(world: World, fresh: Path, sound: Features, damage: Damage | None) -> dict[str, str]:
    """What each command says and leaves, after the damage was done; the properties are asserted on the way."""
    pieces = {}
    for number in range(len(trials(world))):
        here = world.copy(fresh / str(number))
        whole = files_of(here.cache)
        if damage is not None:
            damage(here.folder if damage in TABLE_DAMAGE.values() else here.tokens)
        before = files_of(here.cache)
        said = {}
        for name, words in trials(here)[number].items():
            with bound_by_permissions(here.root) if damage in PERMISSIONS.values() else nullcontext():
                said[name] = told(here, *words)
            after = files_of(here.cache)
            kept(whole, before, after)
            if number == 0:
                assert after == before
        read_right(here, sound, strict="then verify" in said and said["then verify"].startswith("exit code 0"))
        for store in find_stores(here.root / "merged" / DATA, "tokens"):
            if (store / "manifest.json").exists():
                assert not wrong(values(store), sound)
        pieces |= said
        if left := changed(before, after):
            pieces[f"left by {next(reversed(said))}"] = left
    return pieces


def kept(whole: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Assert that the content of every sound shard that was there is still there, under whatever name."""
    sound = {data for name, data in whole.items() if name.endswith(".h5")}
    lost = (sound & set(before.values())) - set(after.values())
    assert not lost, [name for name, data in before.items() if data in lost]


def wrong(found: Features, sound: Features) -> list[str]:
    return [id for id, value in found.items() if id not in sound or not equal(value, sound[id])]


def read_right(world: World, sound: Features, strict: bool) -> None:
    """Assert that what can be read is right, or that `verify` names the shard."""
    try:
        found = values(world.tokens)
    except CacheError:
        assert not strict
        return
    if bad := wrong(found, sound):
        assert not strict
        assert any(problem.path.name in SHARDS for problem in verify(world.tokens).problems), bad
    if strict:
        assert found.keys() == sound.keys()


@pytest.fixture(scope="module")
def sound_values(sound: World) -> Features:
    found = values(sound.tokens)
    assert len(found) == 23
    return found


@pytest.fixture(scope="module")
def sound_story(sound: World, sound_values: Features, place: Path) -> dict[str, str]:
    return story(sound, place / "whole", sound_values, None)


@pytest.mark.parametrize(("book", "animal"), ANIMALS)
def test_stores(
    book: str, animal: str, sound: World, sound_values: Features, sound_story: dict[str, str], fresh: Path
) -> None:
    pages = Book(EXPECTED / f"{book}.txt", [SOUND, *ZOO[book]])
    if animal == SOUND:
        pages.check(animal, sound_story)
        return
    pieces = story(sound, fresh, sound_values, ZOO[book][animal])
    pages.check(animal, {name: AS_SOUND if text == sound_story.get(name) else text for name, text in pieces.items()})
