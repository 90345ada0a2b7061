"""Output never fails: whatever the encoding of the terminal or the pipe, and when nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from itin.cli import main

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

SMALL = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "2"]
ENCODINGS = ("ascii", "latin-1", "cp1252", "koi8-r")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("output") / "Größe λ 日本"
    make_cache(folder / "cache")
    return folder


def printed(encoding: str, *arguments: object) -> str:
    result = CliRunner(charset=encoding).invoke(main, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout_bytes.decode("utf-8" if encoding == "ascii" else encoding)  # click writes UTF-8 where it can


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding(work: Path, encoding: str) -> None:
    out = work / encoding
    train = ["train", "--d", 6, "--k", 4, "--hidden", 4, "--epochs", 2, "--cache", work / "cache", "--device", "cpu"]
    shown = printed(encoding, *train, "--out", out / "run")
    assert f"{'–' if encoding == 'cp1252' else '-'}0." in shown  # the interval of an accuracy
    printed(encoding, *train, "--seeds", 2, "--out", out / "runs")
    printed(encoding, "sweep", "--cache", work / "cache", *SMALL, "--seeds", 2, "--stack", 2, "--out", out / "sweep")
    assert "日本".encode(encoding, "backslashreplace").decode(encoding) in printed(encoding, "runs", out)
    printed(encoding, "evaluate", out / "run", "--cache", work / "cache")
    printed(encoding, "report", out / "run", "--out", out / "report")
    printed(encoding, "data", "check", "--cache", work / "cache")
    printed(encoding, "cache", "info", work / "cache" / "planted")


@pytest.mark.parametrize("name", ["λ", "\udcff"])
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "C.UTF-8"},
    ],
)
def test_errors_are_told_in_every_encoding(tmp_path: Path, environment: dict[str, str], name: str) -> None:
    """A name that no encoding has, too: bytes that are no UTF-8."""
    done = subprocess.run(
        [sys.executable, "-m", "itin", "runs", tmp_path / name],
        capture_output=True,
        env={**os.environ, **environment},
    )
    assert b"Traceback" not in done.stderr
    assert b"No runs." in done.stdout + done.stderr or b"Error: " in done.stderr


@pytest.mark.parametrize("handler", ["replace", "xmlcharrefreplace"])
def test_a_handler_that_the_user_chose_stays(handler: str) -> None:
    code = "import sys; from itin.cli import main; main(['--help'], standalone_mode=False); print('\\u2013')"
    environment = {**os.environ, "PYTHONIOENCODING": f"cp437:{handler}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.stdout.splitlines()[-1] == "–".encode("cp437", handler)


@pytest.mark.parametrize("arguments", [["--help"], ["runs", "."], ["cache", "info", "--help"], ["weights"]])
def test_a_closed_pipe_ends_quietly(arguments: list[str], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as `| head -1` does once it has its line
    try:
        done = subprocess.run(
            [sys.executable, "-m", "itin", *arguments], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path
        )
    finally:
        os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1
