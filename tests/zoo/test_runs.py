"""Damaged runs and sweeps: what the commands say about them and leave of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from itin.errors import RunError
from itin.train.sweeps.folder import Sweep

from ..keeper import Book
from .damage import Damage
from .keeper import EXPECTED, Files, changed, files_of, told
from .run_damage import RUN_DAMAGE, SWEEP_DAMAGE
from .sound import HEAD, World

SOUND = "sound"
AS_SOUND = "as of the sound one"


@pytest.fixture(scope="module")
def trained(sound: World) -> World:
    """The sound world with a run and a sweep of three runs."""
    recipe = HEAD[: HEAD.index("--device")]
    assert told(sound, "train", "--cache", sound.cache, *HEAD, "--out", sound.root / "run").startswith("exit code 0")
    words = ("sweep", "--cache", sound.cache, *recipe, "--seeds", 3, "--device", "cpu", "--stack", 3)
    said = told(sound, *words, "--out", sound.root / "sweep")
    assert said.startswith("exit code 0"), said
    return sound


def of_run(world: World) -> dict[str, tuple[object, ...]]:
    run = world.root / "run"
    return {
        "runs": ("runs", run, "--test"),
        "evaluate": ("evaluate", run, "--cache", world.cache, "--device", "cpu"),
    }


def of_sweep(world: World) -> dict[str, tuple[object, ...]]:
    sweep = world.root / "sweep"
    resume = ("sweep", "--resume", sweep, "--cache", world.cache, "--device", "cpu", "--stack", 3)
    return {"runs": ("runs", sweep), "resume": resume, "resume and reveal": (*resume, "--reveal-test")}


def whole_runs(files: Files) -> Files:
    return {name: data for name, data in files.items() if "/runs/" in f"/{name}"}


def tell(steps: dict[str, tuple[object, ...]], world: World, folder: Path) -> dict[str, str]:
    before = files_of(folder)
    pieces = {name: told(world, *words) for name, words in steps.items()}
    if left := changed(before, files_of(folder)):
        pieces["left"] = left
    return pieces


def compared(pieces: dict[str, str], sound: dict[str, str]) -> dict[str, str]:
    return {name: AS_SOUND if text == sound.get(name) else text for name, text in pieces.items()}


@pytest.fixture(scope="module")
def sound_run(trained: World, place: Path) -> dict[str, str]:
    here = trained.copy(place / "whole run")
    return tell(of_run(here), here, here.root / "run")


@pytest.fixture(scope="module")
def sound_sweep(trained: World, place: Path) -> dict[str, str]:
    here = trained.copy(place / "whole sweep")
    return tell(of_sweep(here), here, here.root / "sweep")


@pytest.mark.parametrize("animal", [SOUND, *RUN_DAMAGE])
def test_runs(animal: str, trained: World, sound_run: dict[str, str], fresh: Path) -> None:
    book = Book(EXPECTED / "runs.txt", [SOUND, *RUN_DAMAGE])
    if animal == SOUND:
        book.check(animal, sound_run)
        return
    here = trained.copy(fresh / "w")
    damage: Damage = RUN_DAMAGE[animal]
    damage(here.root / "run")
    book.check(animal, compared(tell(of_run(here), here, here.root / "run"), sound_run))


@pytest.mark.parametrize("animal", [SOUND, *SWEEP_DAMAGE])
def test_sweeps(animal: str, trained: World, sound_sweep: dict[str, str], fresh: Path) -> None:
    """Whole runs stay as they are, and a sweep that can be resumed ends with the figures of the sound one."""
    book = Book(EXPECTED / "sweeps.txt", [SOUND, *SWEEP_DAMAGE])
    if animal == SOUND:
        book.check(animal, sound_sweep)
        return
    here = trained.copy(fresh / "w")
    sweep = here.root / "sweep"
    SWEEP_DAMAGE[animal](sweep)
    before = whole_runs(files_of(sweep))
    pieces = tell(of_sweep(here), here, sweep)
    after = whole_runs(files_of(sweep))
    temporary = [name for name in before if "/.tmp-" in name]
    assert {name: after.get(name) for name in before if name not in temporary} == {
        name: data for name, data in before.items() if name not in temporary
    }
    if pieces["resume"].startswith("exit code 0"):
        assert losses(sweep) == pytest.approx(losses(trained.root / "sweep"), rel=1e-5)
    book.check(animal, compared(pieces, sound_sweep))


def losses(sweep: Path) -> list[float]:
    """The validation losses by seed."""
    try:
        table = Sweep(sweep).results().sort_values("seed")
    except RunError as error:
        pytest.fail(str(error))
    assert set(table["status"]) == {"done"}
    written = [json.loads((sweep / run / "metrics.json").read_bytes())["val"]["loss"] for run in table["run"]]
    assert table["val_loss"].tolist() == written
    return written
