"""The command: its lines, JSON and exit codes, and that it ends whatever does not; the errors that name it."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from itin import disk
from itin.cli import main
from itin.device import device_names, pick_device
from itin.doctor import examine as examined
from itin.doctor.examine import CHECKS, Check, examine
from itin.doctor.finding import Asked, Finding, bad, doubtful, good
from itin.errors import DOCTOR, CacheError, ItinError, RunError


def fine(asked: Asked) -> Iterator[Finding]:
    yield good("all is well", "there could be more")


def odd(asked: Asked) -> Iterator[Finding]:
    yield doubtful("it is odd", "look at it")


def broken(asked: Asked) -> Iterator[Finding]:
    yield bad("it is broken", "repair it")


def raising(asked: Asked) -> Iterator[Finding]:
    yield good("so far")
    raise OSError("libcudart.so: cannot open shared object file\nmore")


def hanging(asked: Asked) -> Iterator[Finding]:
    time.sleep(30)
    yield good("at last")


@pytest.mark.parametrize(
    ("checks", "code", "strict_code", "worst"),
    [((fine,), 0, 0, "good"), ((odd, fine), 0, 1, "doubtful"), ((fine, broken, odd), 1, 1, "bad")],
)
def test_exit_code_is_that_of_the_worst_line(
    checks: tuple[object, ...], code: int, strict_code: int, worst: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tuple(Check(f"c{number}", one) for number, one in enumerate(checks))  # type: ignore[arg-type]
    monkeypatch.setattr(examined.examine, "__defaults__", (examine.__defaults__[0], rows, 5.0))  # type: ignore[index]
    assert CliRunner().invoke(main, ["doctor"]).exit_code == code
    assert CliRunner().invoke(main, ["doctor", "--strict"]).exit_code == strict_code
    done = CliRunner().invoke(main, ["doctor", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["worst"]) == (code, worst)


def test_lines_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (Check("first", fine), Check("second", odd), Check("third", broken))
    monkeypatch.setattr(examined.examine, "__defaults__", (examine.__defaults__[0], rows, 5.0))  # type: ignore[index]
    assert CliRunner().invoke(main, ["doctor"]).stdout.splitlines() == [
        "good      first       all is well",
        "                      there could be more",
        "doubtful  second      it is odd",
        "                      next: look at it",
        "bad       third       it is broken",
        "                      next: repair it",
        "1 good, 1 doubtful, 1 bad",
    ]
    lines = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)["lines"]
    assert lines[1] == {"check": "second", "state": "doubtful", "found": "it is odd", "next_step": "look at it"}
    assert [line["state"] for line in lines] == ["good", "doubtful", "bad"]


def test_a_check_that_fails_or_hangs_is_a_line() -> None:
    begun = time.monotonic()
    told: list[str] = []
    report = examine(
        Asked(),
        lambda line: told.append(line.check),
        (Check("a", raising), Check("b", hanging, 0.1), Check("c", fine)),
        5.0,
    )
    assert time.monotonic() - begun < 5
    assert told == ["a", "b", "c"]
    assert [line.state for line in report.lines] == ["bad", "doubtful", "good"]
    failed, silent, _ = report.lines
    assert failed.found == "the check failed: OSError: libcudart.so: cannot open shared object file"
    assert silent.found == "no answer within 0 s"
    assert report.left_behind


def test_all_checks_together_have_a_bound() -> None:
    begun = time.monotonic()
    report = examine(Asked(), checks=[Check(f"{number}", hanging) for number in range(9)], limit=0.3)
    assert time.monotonic() - begun < 3
    assert [line.check for line in report.lines] == [str(number) for number in range(9)]
    assert report.lines[-1].found == "not checked: the checks before took 0 s"
    assert examined.LIMIT == 120  # README, docs/troubleshooting.md, help


def test_a_process_with_a_check_that_hangs_ends() -> None:
    code = (
        "import threading; from itin.cli import main; from itin.doctor import examine as e\n"
        "def stuck(asked):\n"
        "    other = threading.Thread(target=threading.Event().wait); other.start(); other.join(); yield\n"
        "rows = (e.Check('stuck', stuck, 0.1),)\n"
        "e.examine.__defaults__ = (e.examine.__defaults__[0], rows, 5.0)\n"
        "main(['doctor', '--strict'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[-1] == "0 good, 1 doubtful, 0 bad"


def test_the_command_starts_without_heavy_imports() -> None:
    code = (
        "import sys, itin.commands.doctor, itin.doctor.examine; "
        "heavy = {'torch', 'numpy', 'pandas', 'transformers', 'huggingface_hub', 'h5py'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_check_has_its_line_in_the_documentation() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert rows == [check.name for check in CHECKS]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_errors_of_a_disk_name_the_doctor(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(disk.os, "fsync", refuse)
    with pytest.raises(RunError) as caught:
        disk.create(tmp_path / "x", b"x")
    assert str(caught.value).endswith(f"finished work is kept; {DOCTOR}")


def test_other_errors_do_not() -> None:
    error = CacheError("x is missing", next_step="run `itin extract` again")
    error.__cause__ = FileNotFoundError(errno.ENOENT, "no such file")
    assert DOCTOR not in str(error)
    assert str(error) == "x is missing\n  next:     run `itin extract` again"


def test_an_error_of_the_machine_names_the_doctor_once() -> None:
    deep = ItinError("outer", next_step="try")
    deep.__cause__ = ValueError("middle")
    deep.__cause__.__cause__ = ConnectionResetError("inner")
    assert str(deep) == f"outer\n  next:     try; {DOCTOR}"
    assert (
        str(ItinError("no package", next_step="pip install 'x'"))
        == f"no package\n  next:     pip install 'x'; {DOCTOR}"
    )
    assert str(ItinError("silent", machine=True)) == f"silent\n  next:     {DOCTOR}"
    assert str(ItinError(str(deep), machine=True)).count("itin doctor") == 1


def test_devices_that_are_not_here_name_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for names in ("all", "cuda:0,cuda:1"):
        with pytest.raises(ValueError, match="itin doctor"):
            device_names(names)
    with pytest.raises(ValueError, match="itin doctor"):
        pick_device("nonsense")


def test_causes_that_lead_back_end() -> None:
    error, cause = ItinError("no package", next_step="look"), ImportError("absent")
    error.__cause__, cause.__cause__ = cause, error
    assert str(error) == "no package\n  next:     look"
    cause.__cause__ = OSError(errno.ENOSPC, "no space")
    assert str(error).endswith("`itin doctor` checks this machine")
