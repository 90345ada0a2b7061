"""What the commands show: tables that are never cut, JSON for programs, progress without figures that mean nothing."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from rich.console import Console

from itin.cli import main
from itin.commands.terminal import console as consoles
from itin.commands.terminal import sweep_display
from itin.commands.terminal.console import Bars, grid
from itin.commands.terminal.json_output import print_json

from .. import features
from ..features import make_cache
from .test_cache import itin_cache

NAME = "a-data-set-" + "x" * 150


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return features.make_pairs(tmp_path)


def printed_json(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == code, result.output
    assert result.stdout.isascii()
    return json.loads(result.stdout)


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_has_a_whole_record_a_line(width: int, terminal: bool) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width, soft_wrap=True, force_terminal=terminal, color_system=None)
    console.print(grid(("name", "rows", "kind"), [(NAME, 7, ""), ("日本", 1200, "tokens")], right=("rows",)))
    blank = " " * (len(NAME) - 4)
    assert file.getvalue().splitlines() == [
        f"name{blank}  rows  kind",
        f"{NAME}     7",
        f"日本{blank}  1200  tokens",
    ]


def test_cache_info_in_a_pipe_is_whole(cache: Path) -> None:
    (cache / "pairs").rename(cache / NAME)
    shown = itin_cache("info", cache).splitlines()
    columns = ("data set", "kind", "encoder", "weights", "rows", "quarantined", "size", "state", "store")
    assert shown[0].split() == " ".join(columns).split()
    stores = sorted(path.name for path in (cache / NAME).iterdir() if path.is_dir())
    assert [(line.split()[0], line.split()[-1]) for line in shown[1:4]] == [(NAME, store) for store in stores]


def test_json_of_values_that_it_has_no_words_for(capsys: pytest.CaptureFixture[str]) -> None:
    table = pd.DataFrame({"run": ["größe"], "batch": pd.array([None], dtype="Int64"), "loss": [float("nan")]})
    print_json({"path": Path("a/b"), "table": table, "n": table["loss"].notna().sum()})
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown) == {"path": "a/b", "table": [{"run": "größe", "batch": None, "loss": None}], "n": 0}


def test_json_of_two_stores(cache: Path, tmp_path: Path) -> None:
    ours = features.store_of(cache, "context")
    rows = features.rows(10)[1:]
    other = features.fill_store(tmp_path / "other", "context", rows, seed=1)
    found = printed_json("cache", "diff", ours.path, other.path, code=1)
    assert (found["same"], found["only_first"], found["compared"]) == (False, ["id-0"], 9)
    assert found["other_values"][0]["sample"] == "id-1"
    assert found["other_values"][0]["largest"] > 0
    assert printed_json("cache", "diff", ours.path, ours.path)["same"] is True


def test_json_of_a_check(cache: Path) -> None:
    found = printed_json("cache", "verify", cache)
    assert [store["problems"] for store in found["stores"]] == [[], [], []]
    assert sum(store["rows"] for store in found["stores"]) == 30
    assert (found["tables"], found["commands"]) == ([], [])
    store = features.store_of(cache, "context").path
    next(store.glob("*.h5")).write_bytes(b"damaged")
    found = printed_json("cache", "verify", cache, code=1)
    assert [problem["where"] for one in found["stores"] for problem in one["problems"]] == ["shard"]
    assert found["commands"][0].startswith("itin cache verify --repair ")
    assert found["removed"] == []
    found = printed_json("cache", "verify", "--repair", cache)
    assert [Path(path).parent.name for path in found["removed"]][:1] == [store.name]


def test_json_of_a_data_set_and_of_weights(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    found = printed_json("data", "check", "--cache", tmp_path / "cache")
    assert found["classes"][0]["part"] == "all"
    assert sum(found["split"]["sizes"].values()) <= found["classes"][0]["n"]
    assert {"dataset", "unusable", "duplicates", "members", "outside"} < set(found)
    encoders = printed_json("weights", "--detector-weights", tmp_path / "nothing.pth")
    assert [row["encoder"] for row in encoders][:1] == ["vg-frcnn"]
    assert encoders[0]["found"] is encoders[0]["sha256"] is None


def test_json_of_runs(tmp_path: Path, one_thread: None) -> None:
    make_cache(tmp_path / "cache")
    small = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "2", "--device", "cpu"]
    out = tmp_path / "größe"
    done = CliRunner().invoke(main, ["train", "--cache", str(tmp_path / "cache"), *small, "--out", str(out)])
    assert done.exit_code == 0, done.output
    (row,) = printed_json("runs", tmp_path)
    assert (row["run"], row["d"], row["patience"]) == (str(out), 6, None)
    assert "test_accuracy" not in row
    assert 0 <= printed_json("runs", "--test", tmp_path)[0]["test_accuracy"] <= 1


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_the_first_line_of_a_sweep_has_a_rate_of_what_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    display = sweep_display.Display("accuracy")
    display.begin(SimpleNamespace(total=10), {})
    assert display._progress() == "0/10 runs in 0:00"
    clock.now += 60
    trial = SimpleNamespace(config=SimpleNamespace(epochs=4), name="run-0")
    row = {"epoch": 2.0, "val_accuracy": 0.5}
    display.listen(SimpleNamespace(worker=0, trial=trial, row=row, result=None))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "0/10 runs in 1:00, 0.5 a minute, 19:00 left\n"


def test_the_last_line_of_a_sweep_in_a_log_is_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with sweep_display.Display("accuracy") as display:
        display.begin(SimpleNamespace(total=2), {})
        for name in ("run-0", "run-1"):
            clock.now += consoles.LOG_SECONDS
            trial = SimpleNamespace(config=SimpleNamespace(epochs=4), name=name)
            result = SimpleNamespace(run=name, figures={"val_accuracy": 0.5})
            display.listen(SimpleNamespace(worker=0, trial=trial, row={}, result=result))  # type: ignore[arg-type]
    assert capsys.readouterr().out == "1/2 runs in 0:30, 2 a minute, 0:30 left\n2/2 runs in 1:00, 2 a minute\n"


def test_progress_in_a_log_is_never_an_empty_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    with Bars() as bars:
        bars.start("scan", 20, 0)
        clock.now += consoles.LOG_SECONDS
        bars.advance("scan", 5)
        assert capsys.readouterr().out == "scan 5/20\n"
        bars.start("tokens", 30, 10)
        clock.now += consoles.LOG_SECONDS
        bars.advance("tokens", 2)
    assert capsys.readouterr().out.strip() == "tokens 12/30"
