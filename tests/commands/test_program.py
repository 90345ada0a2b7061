"""A process of `itin` ends at once, and yet with all that it has to say and to leave behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

BEGIN = """
import atexit, sys, threading, time, types
from itin.cli import program
atexit.register(lambda: print("ended"))
class Module(types.ModuleType):
    def __del__(self): print("taken apart")
"""


def run(*arguments: str, before: str = "", torch: bool = True) -> tuple[int, list[str]]:
    """Return exit code and lines of a process that has loaded torch, or what is called so."""
    made = "sys.modules['torch'] = Module('torch')" if torch else "made = Module('other')"
    code = f"{BEGIN}\n{made}\n{before}\nsys.argv = {['itin', *arguments]!r}\nprogram()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines()


def test_what_is_registered_for_the_end_runs_and_all_is_written() -> None:
    code, lines = run("--help")
    assert (code, lines[-1]) == (0, "ended")
    assert lines[0].startswith("Usage: itin ")
    assert sum(line.startswith("  ") for line in lines) > 20


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nonsense"], 2), (["runs", "/nowhere"], 2)])
def test_exit_codes_stay(arguments: list[str], code: int) -> None:
    assert run(*arguments)[0] == run(*arguments, torch=False)[0] == code


def test_modules_are_taken_apart_only_without_torch_or_with_threads_at_work() -> None:
    thread = "threading.Thread(target=lambda: (time.sleep(0.3), print('worked'))).start()"
    assert run("--version")[1][1:] == ["ended"]
    assert run("--version", torch=False)[1][1:] == ["ended", "taken apart"]
    assert run("--version", before=thread)[1][1:] == ["worked", "ended", "taken apart"]


def test_a_reader_that_has_gone_is_no_crash() -> None:
    code = (
        "import sys; from itin.cli import program; sys.modules['torch'] = sys; sys.argv = ['itin', '--help']; program()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
    assert process.returncode in (1, 120)
    assert "Traceback" not in said
