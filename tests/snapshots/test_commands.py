"""Every command in use, and its output as JSON: exit code, output and errors as text."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from itin.demo import run as demo
from itin.demo.run import UNTRAINED
from itin.extract.weights.requirement import INSTALL

from ..keeper import Book
from .world import EXPECTED, EXTRACT, NAMED, SMALL, Step, commands, shown, tell, tell_really

PAIR = ("--image", "MVSA/data/3.jpg", "--text", "what a lovely day")
FIGURE = ("--tables", "none", "--figures", 5, "--m", "0,1", "--seeds", 1, "--stack", 2)
TOKENS, OTHER = "cache/mvsa-single/tokens-*", "other/mvsa-single/tokens-*"
NPZ = ("cache", "import", "tokens.npz", "--from", "npz", "--kind", "tokens", "--name", "theirs")
SUBMISSION = "cache/mvsa-single/cluster/*"

USES: dict[str, list[Step]] = {
    "itin": [["--version"]],
    "itin demo": [["demo"]],
    "itin extract": [[*EXTRACT, "--cache", "new"], EXTRACT],
    "itin weights": [["weights"], ["weights", "--json"]],
    "itin weights fetch": [["weights", "fetch", *NAMED], ["weights", "fetch", "--text-encoder", "minilm"]],
    "itin weights pack": [
        ["weights", "pack", "packed", *NAMED],
        ["weights", "pack", "packed", "--only", "tokens", "--text-encoder", "minilm"],
    ],
    "itin data check": [["data", "check"], ["data", "check", "--json"], ["data", "check", "--csv", "duplicates.csv"]],
    "itin data fetch": [["data", "fetch", "clmlf", "--from", "MVSA"]],
    "itin cache info": [["cache", "info"], ["cache", "info", TOKENS], ["cache", "info", TOKENS, "--json"]],
    "itin cache verify": [["cache", "verify"], ["cache", "verify", "--json"]],
    "itin cache diff": [
        ["cache", "diff", TOKENS, TOKENS],
        ["cache", "diff", TOKENS, OTHER],
        ["cache", "diff", TOKENS, OTHER, "--json"],
    ],
    "itin cache merge": [["cache", "merge", "other/mvsa-single", "cache/mvsa-single", "--into", "both/mvsa-single"]],
    "itin cache export": [["cache", "export", TOKENS, "tokens.npz"]],
    "itin cache import": [["cache", "export", TOKENS, "tokens.npz"], NPZ],
    "itin cache rm": [["cache", "rm", "mvsa-single"], ["cache", "rm", "mvsa-single", "--yes"]],
    "itin cluster submit": [["cluster", "submit", "--dry-run", "--jobs", 2, "--", *EXTRACT, "--retry-quarantined"]],
    "itin cluster status": [["cluster", "status"], ["cluster", "status", SUBMISSION, "--json"]],
    "itin cluster resubmit": [["cluster", "resubmit", SUBMISSION]],
    "itin train": [["train", *SMALL, "--out", "run"], ["train", *SMALL, "--seeds", 2, "--out", "seeds"]],
    "itin sweep": [
        ["sweep", *SMALL, "--m", "1,2", "--stack", 2, "--out", "sweep"],
        ["sweep", "--resume", "sweep", "--reveal-test", "--device", "cpu"],
    ],
    "itin reproduce": [["reproduce", *SMALL, *FIGURE, "--out", "made"]],
    "itin runs": [["runs"], ["runs", "--best", 1], ["runs", "runs/one", "--json"], ["runs", "--csv", "runs.csv"]],
    "itin evaluate": [["evaluate", "runs/one", "--device", "cpu"]],
    "itin predict": [
        ["predict", "runs/one", *NAMED, *PAIR],
        ["predict", "runs/one", *NAMED, "--table", "more.csv", "--out", "found.csv"],
    ],
    "itin explain": [["explain", "runs/one", *NAMED, *PAIR, "--out", "fig7.svg"]],
    "itin report": [["report", "runs/one", "runs/sweep", "--figures", "none"]],
    "itin export": [
        ["export", "runs/one", "--to", "safetensors"],
        ["export", "runs/one", "--to", "onnx", "--with-encoders"],
    ],
    "itin doctor": [["doctor"], ["doctor", "--json"]],
}


def other(here: Path, patch: pytest.MonkeyPatch) -> None:
    """A second cache, in which the text of one pair was another one."""
    shutil.copytree(here / "MVSA", here / "MVSA2")
    (here / "MVSA2" / "data" / "3.txt").write_text("a much better day\n")
    assert tell(*EXTRACT, "--root", "MVSA2", "--cache", "other").startswith("exit code 0")


def submitted(here: Path, patch: pytest.MonkeyPatch) -> None:
    """A submission, on a machine without Slurm."""
    patch.setenv("PATH", str(here))
    assert tell("cluster", "submit", "--dry-run", "--jobs", 2, "--", *EXTRACT).startswith("exit code 0")


def more(here: Path, patch: pytest.MonkeyPatch) -> None:
    (here / "more.csv").write_text("id,image,text\na,MVSA/data/1.jpg,a fine day\nb,MVSA/data/none.jpg,a day\n")


def small_demo(here: Path, patch: pytest.MonkeyPatch) -> None:
    recipe = replace(UNTRAINED.recipe, epochs=1, d=8, k=8)
    patch.setattr(demo, "variant", lambda: replace(UNTRAINED, pairs=40, recipe=recipe))


ARRANGED: dict[str, Callable[[Path, pytest.MonkeyPatch], None]] = {
    "itin demo": small_demo,
    "itin cache diff": other,
    "itin cache merge": other,
    "itin cluster status": submitted,
    "itin cluster resubmit": submitted,
    "itin predict": more,
}


WITH_PACKAGES = pytest.mark.skipif(not demo.small_is_installed(), reason=f"needs {INSTALL}")


@pytest.mark.parametrize(
    "command",
    [pytest.param(one, marks=[pytest.mark.small, WITH_PACKAGES] if "weights" in one else []) for one in USES],
)
def test_use(command: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if command in ARRANGED:
        ARRANGED[command](here, monkeypatch)
    said = {shown(step): tell(*step) for step in USES[command]}
    Book(EXPECTED / "commands.txt", list(USES)).check(command, said)


def test_no_command_is_forgotten() -> None:
    """A group is in use by its subcommands, or by itself where it can be."""
    own = {
        name
        for name, command in commands().items()
        if not command.hidden and not (isinstance(command, click.Group) and not command.invoke_without_command)
    }
    assert own | {"itin"} == set(USES)
    with_json = {name for name, command in commands().items() if any(one.name == "as_json" for one in command.params)}
    assert with_json == {name for name, steps in USES.items() if any("--json" in step for step in steps)}


@pytest.mark.parametrize(
    "step",
    [
        ["--version"],
        ["cache", "info", "mvsa-single"],
        ["runs", "runs/one", "--json"],
        ["runs", "none"],
        ["evaluate", "none"],
    ],
)
def test_the_real_program_says_the_same(step: Step, here: Path) -> None:
    assert tell_really(*step) == tell(*step)
