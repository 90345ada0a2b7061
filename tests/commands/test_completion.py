"""Shell completion: the lines that docs/completion.md shows, in the shells that are here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from itin.cli import COMMANDS, main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "completion.md").read_text(encoding="utf-8")
ASK = {
    "bash": 'COMP_WORDS=({words}); COMP_CWORD={last}; _itin_completion itin; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "fish": 'complete --do-complete "{typed}"',
}
"""What makes a shell print the completions of a line without a terminal; zsh can do so in a terminal alone."""


def line_of(shell: str) -> str:
    """The line of the page that switches completion on."""
    (line,) = (line for line in PAGE.splitlines() if f"_ITIN_COMPLETE={shell}_source" in line and " > " not in line)
    return line


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A PATH on which `itin` is the one under test."""
    program = tmp_path / "itin"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m itin "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("typed", "expected"),
    [("itin re", {"reproduce", "report"}), ("itin train --optim", {"--optimizer"}), ("itin cache ver", {"verify"})],
)
def test_a_real_shell_completes(shell: str, typed: str, expected: set[str], environment: dict[str, str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    words = typed.split()
    ask = ASK[shell].format(words=typed, last=len(words) - 1, typed=typed)
    command = [shell, *(["--norc"] if shell == "bash" else []), "-c", f"{line_of(shell)}\n{ask}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == expected


def test_zsh_takes_the_script(environment: dict[str, str]) -> None:
    """zsh completes in a terminal alone: here it defines the function and names it for `itin`."""
    if shutil.which("zsh") is None:
        pytest.skip("needs zsh")
    ask = "autoload -Uz compinit; compinit -u; " + line_of("zsh") + "; print -r -- $_comps[itin]"
    done = subprocess.run(["zsh", "-fc", ask], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "_itin_completion", done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_what_a_script_asks_is_answered(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each shell: its script calls the program with the variables that give the answer, here in this process."""
    found = get_completion_class(shell)
    assert found is not None
    complete = found(main, {}, "itin", "_ITIN_COMPLETE")
    monkeypatch.setattr(complete, "_check_version", lambda: None, raising=False)  # asks a bash, which need not be here
    assert f"_ITIN_COMPLETE={shell}_complete" in complete.source()
    monkeypatch.setenv("COMP_WORDS", "itin ")
    monkeypatch.setenv("COMP_CWORD", "" if shell == "fish" else "1")  # fish: the word itself, the others: its number
    answer = complete.complete()
    assert [name for name in COMMANDS if name not in answer] == []
