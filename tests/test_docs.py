"""The README against the code: help text, file tree, examples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from itin.cli import main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_after(heading: str, fence: str = "```") -> str:
    """The first code block below a heading."""
    below = README.split(f"\n## {heading}\n", 1)[1]
    match = re.search(rf"^{fence}[a-z]*\n(.*?)^```", below, re.M | re.S)
    assert match is not None, f"no code block below {heading}"
    return match.group(1)


def test_help_text_is_the_command_lines() -> None:
    printed = CliRunner().invoke(main, ["--help"], prog_name="itin", terminal_width=100).output
    assert block_after("The command line").rstrip() == printed.rstrip()


def test_file_tree_is_that_of_the_project() -> None:
    lines = block_after("Development").splitlines()
    named, folders, above = set(), set(), [""]
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        words = [word for word in line[:21].split() if depth == 0 or word.endswith("/")]
        named |= {word.rstrip("/") for word in words[:1] if depth == 0}
        folders |= {above[depth] + word for word in words if word.endswith("/")}
        above[depth + 1 :] = [above[depth] + words[0]]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("needs a git checkout to tell sources from leftovers")
    top = {name.split("/")[0] for name in tracked.stdout.splitlines()}
    shown = {name for name in top if not name.startswith(".") and name not in ("__init__.py", "py.typed", "LICENSE")}
    assert named == shown
    packages = {f"{Path(name).parent}/" for name in tracked.stdout.splitlines() if name.endswith("/__init__.py")}
    assert {name for name in packages if not name.startswith("tests/")} == folders - {"docs/", "tests/"}


def test_two_lines_do_all_the_set_up() -> None:
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith(".venv/bin/itin demo")
    assert commands[1].endswith(".venv/bin/pytest")


def test_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(block_after("From Python", "```python"), "README.md", "exec"), {})
    assert capsys.readouterr().out == "torch.Size([8, 3]) torch.Size([8, 2, 28]) torch.Size([8, 2])\n"


def test_links_to_files_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_pages_that_are_named_exist() -> None:
    """In the code, its messages and the pages themselves; case counts, also where the file system does not care."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout to tell sources from leftovers")
    tracked = set(listed.stdout.splitlines())
    named = {
        (page, file)
        for file in tracked
        if file.endswith((".py", ".md", ".cfg", ".toml", ".html", ".sh", ".cpp"))
        for page in re.findall(r"\bdocs/[\w-]+\.(?:md|py|png)\b", (ROOT / file).read_text(encoding="utf-8"))
    }
    assert named, "no page is named anywhere"
    assert [f"{file}: {page}" for page, file in sorted(named) if page not in tracked] == []
    for file in tracked:
        if re.fullmatch(r"docs/[\w-]+\.md", file):
            for target in re.findall(r"\]\((?!http|#)([^)#]+)", (ROOT / file).read_text(encoding="utf-8")):
                assert (ROOT / "docs" / target).exists(), f"{file}: {target}"
