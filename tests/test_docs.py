"""README, CONTRIBUTING and the pages against the code: file tree, figures, links, commands, options, variables."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from itin.cli import main

from . import doc_pages

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]
MADE = ("reference/commands/", "reference/python/", "reference/errors.md", "notebooks/")
"""Pages that docs/build.py makes, which checks the links to them."""

NEEDS = {
    "MVSA", "MSED", "Twitter-15", "Memotion", "the hub", "a GPU", "Slurm", "Dask", "PBS", "an S3 bucket",
    "the source folder", "a network", "a compiler", "bash", "zsh", "fish",
    "two minutes", "features in the cache", "the two changes above",
    "a folder with a column joy",
}  # fmt: skip
"""What blocks that are not run may need."""


def tracked_files() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("needs a git checkout to tell sources from leftovers")
    return set(listed.stdout.splitlines())


def test_file_tree_is_that_of_the_project() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    match = re.search(r"^```\n(cli\.py .*?)^```", text, re.M | re.S)
    assert match is not None
    named, folders, above = set(), set(), [""]
    for line in match.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        words = [word for word in line[:21].split() if depth == 0 or word.endswith("/")]
        named |= {word.rstrip("/") for word in words[:1] if depth == 0}
        folders |= {above[depth] + word for word in words if word.endswith("/")}
        above[depth + 1 :] = [above[depth] + words[0]]
    tracked = tracked_files()
    top = {name.split("/")[0] for name in tracked}
    shown = {name for name in top if not name.startswith(".") and name not in ("__init__.py", "py.typed", "LICENSE")}
    assert named == shown
    packages = {f"{Path(name).parent}/" for name in tracked if name.endswith("/__init__.py")}
    assert {name for name in packages if not name.startswith("tests/")} == folders - {"docs/", "tests/"}


def test_two_lines_do_all_the_set_up() -> None:
    commands = re.findall(r"^python3 -m venv \.venv && .*$", README, re.M)
    assert len(commands) == 2
    assert commands[0].endswith(".venv/bin/itin demo")
    assert commands[1].endswith(".venv/bin/pytest")


def test_the_readmes_figures_are_those_of_the_results() -> None:
    def rows(text: str) -> dict[str, list[str]]:
        lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
        return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}

    results = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    measured = rows(results.split("\n## The heads\n")[1].split("\n## ")[0])
    shown = rows(README.split("\n## Results\n")[1].split("\n## ")[0])
    assert len(shown) > 4
    for name, cells in shown.items():
        if name not in ("head", "---"):
            assert cells == [*measured[name][:2], *measured[name][-2:]], name


def test_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    first, printed, *_ = doc_pages.blocks_of(ROOT / "docs" / "reference" / "library.md")
    exec(compile(first.text, "library.md", "exec"), {})
    assert capsys.readouterr().out == printed.text


def test_links_lead_somewhere() -> None:
    """Also those of README and CONTRIBUTING, which are no part of the site; anchors in the site are checked there."""
    lost = []
    for page in TEXTS:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\((?!http|#|mailto)([^)\s]+)\)", text):
            path = (page.parent / target.split("#")[0]).resolve()
            if not path.exists() and not path.as_posix().startswith(tuple(f"{ROOT}/docs/{made}" for made in MADE)):
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert lost == []


def test_pages_that_are_named_exist() -> None:
    """In the code, its messages and the pages themselves; case counts, also where the file system does not care."""
    tracked = tracked_files()
    named = {
        (page, file)
        for file in tracked
        if file.endswith((".py", ".md", ".cfg", ".toml", ".html", ".sh", ".cpp"))
        for page in re.findall(r"\bdocs/[\w/-]+\.(?:md|py|png|svg)\b", (ROOT / file).read_text(encoding="utf-8"))
    }
    assert named, "no page is named anywhere"
    assert [f"{file}: {page}" for page, file in sorted(named) if page not in tracked] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    listed = set(re.findall(r"([\w/-]+\.md)", navigation))
    assert {page.relative_to(ROOT / "docs").as_posix() for page in PAGES} == listed - {"reference/errors.md"}


def test_blocks_that_are_not_run_say_what_they_need() -> None:
    for page in PAGES:
        for block in doc_pages.blocks_of(page):
            if block.needs:
                assert set(block.title.removeprefix("needs ").split(", ")) <= NEEDS, f"{page.name}: {block.title}"


RUN = ("start", "guides", "troubleshooting.md", "reference/library.md")
"""Pages whose blocks are run by test_guides.py."""

PYTHON = {
    "cache-format.md": "cache/test_format.py",
    "datasets.md": "commands/test_published.py",
    "encoders.md": "own_encoders.py",
    "heads.md": "train/test_heads_frame.py",
}
"""Pages with Python that tests of their own run."""


def test_every_block_is_run_or_says_what_it_needs() -> None:
    for page in PAGES:
        name = page.relative_to(ROOT / "docs").as_posix()
        for block in doc_pages.blocks_of(page):
            if block.language in ("sh", "console", "python") and not block.needs and not name.startswith(RUN):
                assert block.language == "python", f"{name}: {block.text}"
                assert name in PYTHON, f"{name}: {block.text}"
    assert all((ROOT / "tests" / test).exists() for test in PYTHON.values())


def commands_in(text: str) -> list[list[str]]:
    """The calls of itin in a shell block, as words."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in joined.splitlines():
        for part in re.split(r"\|\||&&|;|\|(?![a-z,\]])", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words and words[0].split("/")[-1] == "itin":
                found.append(words[1:])
    return found


def options_of(words: list[str]) -> tuple[str, set[str], list[str]]:
    """The command that words call, the options that it has, and those that the words give."""
    context, command, rest = click.Context(main, info_name="itin"), main, list(words)
    while isinstance(command, click.Group) and rest and (below := command.get_command(context, rest[0])) is not None:
        command, rest = below, rest[1:]
    has = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    has |= {"--help", "-h", "--version"}
    given = [word.split("=")[0] for word in rest if word.startswith("-") and not re.fullmatch(r"-?-?[\d.]+.*", word)]
    return command.name or "itin", has, given


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shells = re.findall(r"^ *```(?:sh|console)[^\n]*\n(.*?)^ *```", text, re.M | re.S)
    inline = re.findall(r"`(itin [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    indented = re.findall(r"^    (itin .*)$", text, re.M)
    for words in commands_in("\n".join([*shells, *(" ".join(one.split()) for one in inline), *indented])):
        parts = [words]
        if words[:2] == ["cluster", "submit"] and "--" in words:
            cut = words.index("--")
            parts = [words[:cut], words[cut + 1 :]]
        for part in parts:
            if part and part[0] in main.list_commands(click.Context(main)):
                command, has, given = options_of(part)
                assert set(given) - {"--lamda"} <= has, f"itin {' '.join(part)}: {command} has not {set(given) - has}"


def test_options_that_pages_name_exist() -> None:
    """Options in plain code, such as `--lam`: of some command, or of a program that the line names."""
    known: set[str] = {"--help", "-h", "--version"}

    def walk(command: click.Command, context: click.Context) -> None:
        known.update(name for param in command.params for name in (*param.opts, *param.secondary_opts))
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                walk(below, click.Context(below, info_name=name, parent=context))

    walk(main, click.Context(main, info_name="itin"))
    others = re.compile(r"bench/|sbatch|pip |dask|pytest|nthreads|dashboard|account|update|squeue|requeue|\.ci/run")
    unknown = []
    for page in PAGES:
        text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
        for number, paragraph in enumerate(text.split("\n\n")):
            if not others.search(paragraph):
                for code in re.findall(r"`(--[a-z][^`]*)`", paragraph):
                    name = re.split(r"[\s=,\[]", code)[0]
                    unknown += [f"{page.name}, paragraph {number}: {name}"] if name not in known else []
    assert unknown == []


def test_every_variable_is_listed() -> None:
    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    sources = [name for name in tracked_files() if name.endswith(".py") and not name.startswith(("tests/", "docs/"))]
    read: set[str] = set()
    for name in sources:
        code = (ROOT / name).read_text(encoding="utf-8")
        read |= set(re.findall(r"\bITIN_[A-Z]+\b", code))
        read |= set(re.findall(r"environ(?:\.get)?[\[(]\"([A-Z][A-Z_0-9]+)\"", code))
    missing = {name for name in read - {"PATH"} if f"`{name}`" not in page}
    assert missing == set()
    assert set(re.findall(r"`(ITIN_[A-Z]+)`", page)) <= read
