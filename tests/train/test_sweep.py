"""Sweeps: real worker processes, real kills; what is finished stays, nothing is trained twice."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from itin.cache import open_store, read_table
from itin.cli import main
from itin.errors import RunError
from itin.train.config import TrainConfig
from itin.train.loop import fit
from itin.train.runs.folder import load_run
from itin.train.runs.listing import best, find_runs, runs_table, sort, where
from itin.train.sweeps.axes import SweepPlan, Trial
from itin.train.sweeps.folder import FIGURES, Sweep, locked
from itin.train.sweeps.prepare import SweepData, check_same, create
from itin.train.sweeps.result import Result
from itin.train.sweeps.reveal import reveal, revealed
from itin.train.sweeps.run import run
from itin.train.sweeps.setup import Event
from itin.train.sweeps.workers import Pool

from ..features import make_cache

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")

BASE = TrainConfig(d=6, k=4, hidden=4, epochs=2, batch_size=16)
VICTIM = replace(BASE, seed=7, epochs=400)
CONFIGS = {
    "plain": BASE,
    "seed": replace(BASE, seed=1),
    "more": replace(BASE, m=3, lam=0.5),
    "special": replace(BASE, keep_special=True),
    "parts": replace(BASE, split_seed=3),
    "again": replace(BASE),
    "blind": replace(BASE, m=0),
    "the same": replace(BASE, ablation="only-context", gate="vector"),
    "not a number": replace(BASE, lr=1e30),
    "memory": replace(BASE, d=3_000_000),
    "killed": VICTIM,
}
SAME = {"again": "plain", "the same": "blind"}
BROKEN = {"not a number", "memory", "killed"}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cache(tmp_path_factory.mktemp("sweep") / "cache")


def sweep_data(cache: Path, configs: Iterable[TrainConfig] = CONFIGS.values(), **options: Any) -> SweepData:
    folder = cache / "planted"
    stores = {path.name.partition("-")[0]: open_store(path) for path in sorted(folder.glob("*-test-*"))}
    return SweepData(read_table(folder), stores, configs, **options)


def read_results(path: Path) -> pd.DataFrame:
    """Read a `results.csv` with its keys as text."""
    return pd.read_csv(path, dtype=dict.fromkeys(("key", "run", "error", "protocol", "note"), str))


def definition(cache: Path, **more: Any) -> dict[str, Any]:
    return {"mode": "grid", "axes": {}, "seeds": [0], "number": None, "folder": str(cache / "planted"), **more}


class Made:
    """A sweep that has been run, and what was heard of it."""

    def __init__(self, cache: Path, path: Path) -> None:
        self.data = sweep_data(cache)
        plan = SweepPlan([Trial(name, config) for name, config in CONFIGS.items()], [])
        self.sweep = create(path, plan, self.data, **definition(cache))
        self.keys = {trial.axis: trial.key for trial in self.sweep.definition.trials}
        self.events: list[Event] = []
        self.pools: list[Pool] = []
        with pytest.MonkeyPatch.context() as patch, locked(path):
            patch.setattr("itin.train.sweeps.run.Pool", self.pool)
            self.results = run(self.sweep, self.data, workers=2, listen=self.listen)

    def pool(self, *arguments: Any) -> Pool:
        self.pools.append(Pool(*arguments))
        return self.pools[-1]

    def listen(self, event: Event) -> None:
        self.events.append(event)
        if event.trial.config == VICTIM and event.row.get("epoch") == 1:
            os.kill(self.pools[0]._workers[event.worker].process.pid, signal.SIGKILL)

    def row(self, name: str) -> pd.Series[Any]:
        table = self.sweep.results()
        return table[table["axis"] == name].iloc[0]


@pytest.fixture(scope="module")
def made(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(cache, tmp_path_factory.mktemp("made") / "sweep")


# A whole sweep -------------------------------------------------------------------------------------------------------


def test_each_configuration_is_trained_once_and_shown_in_each_of_its_places(made: Made) -> None:
    started = [event.trial.key for event in made.events if event.row.get("epoch") == 1]
    assert len(started) == len(set(started)) == len(CONFIGS) - len(SAME) - 2  # two break down before
    table = made.sweep.results()
    assert table["axis"].tolist() == list(CONFIGS)
    for name, other in SAME.items():
        one, two = made.row(name), made.row(other)
        assert one["run"] == two["run"]
        assert one[list(FIGURES)].tolist() == two[list(FIGURES)].tolist()
    assert len(list((made.sweep.path / "runs").iterdir())) == len(CONFIGS) - len(SAME) - len(BROKEN)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in BROKEN | set(SAME)])
def test_each_run_is_the_run_alone_bit_by_bit(made: Made, name: str) -> None:
    config = CONFIGS[name]
    alone_in = data_alone(made, config)
    alone = fit(config, alone_in.features[config.view], alone_in.split_for(config), evaluate=("val",))
    kept = load_run(made.sweep.path / made.row(name)["run"])
    assert kept.config == alone.config
    weights = load_file(kept.path / "model.safetensors")
    assert weights.keys() == alone.state_dict.keys()
    assert all(torch.equal(value, alone.state_dict[key]) for key, value in weights.items())
    history = kept.history.drop(columns="seconds").to_dict("records")
    assert history == [{key: value for key, value in row.items() if key != "seconds"} for row in alone.history]
    assert kept.metrics["val"] == alone.metrics["val"]
    assert kept.record["key"] == made.keys[name]


def data_alone(made: Made, config: TrainConfig) -> SweepData:
    """The features as `itin train` reads them: only the regions that are looked at."""
    return SweepData(made.data.table, made.data.stores, [config])


def test_the_test_part_stays_closed(made: Made) -> None:
    kept = load_run(made.sweep.path / made.row("plain")["run"])
    assert set(kept.metrics) & {"train", "val", "test"} == {"val"}
    assert set(kept.predictions["part"]) == {"val"}
    assert not [name for name in made.sweep.results() if "test" in name]


def test_failures_are_recorded_and_the_others_go_on(made: Made) -> None:
    table = made.sweep.results()
    assert set(table[table["status"] == "failed"]["axis"]) == BROKEN
    assert made.row("not a number")["error"].startswith("training broke down in epoch 1 (learning rate 1e+30)")
    assert "allocate" in made.row("memory")["error"]
    assert made.row("killed")["error"] == (
        "the worker process was ended by SIGKILL: perhaps the machine ran out of memory"
    )
    for name in BROKEN:
        assert np.isnan(made.row(name)["val_accuracy"])
        assert (made.sweep.path / "failed" / f"{made.keys[name]}.json").exists()


def test_results_on_disk(made: Made) -> None:
    table = made.sweep.results()
    written = read_results(made.sweep.path / "results.csv")
    assert list(written) == list(table)
    assert written["key"].tolist() == list(made.keys.values())
    for name in FIGURES:
        assert written[name].tolist() == pytest.approx(table[name].tolist(), nan_ok=True, rel=1e-12)
    assert not list(made.sweep.path.glob(".features-*"))
    pytest.importorskip("pyarrow")
    pd.testing.assert_frame_equal(
        pd.read_parquet(made.sweep.path / "results.parquet"), table, check_dtype=False, check_column_type=False
    )


def test_nothing_is_left_to_do(made: Made, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.sweep.path.rglob("*.json")}
    events: list[Event] = []
    results = run(Sweep(made.sweep.path), made.data, listen=events.append)
    assert events == []
    assert results == made.results
    assert {path: path.stat().st_mtime_ns for path in made.sweep.path.rglob("*.json")} == before


def test_configurations(made: Made) -> None:
    table = made.sweep.configurations()
    assert len(table) == len(CONFIGS) - len(SAME) - 2  # other seeds and other splits are of one configuration
    assert table["val_accuracy"].dropna().is_monotonic_decreasing
    plain = table[(table["m"] == 2) & (table["lr"] == BASE.lr) & (table["epochs"] == 2) & ~table["keep_special"]]
    plain = plain[plain["d"] == BASE.d]
    assert len(plain) == 1
    row = plain.iloc[0]
    figures = [made.row(name)["val_accuracy"] for name in ("plain", "seed", "parts")]
    assert row["seeds"] == 3
    assert row["val_accuracy"] == pytest.approx(np.mean(figures))
    assert row["val_accuracy_std"] == pytest.approx(np.std(figures, ddof=1))
    assert {one.config for one in made.sweep.runs_of(row)} == {CONFIGS[name] for name in ("plain", "seed", "parts")}


def test_side_by_side(made: Made, cache: Path, tmp_path: Path) -> None:
    """The same sweep in stacks, as on a GPU: the same keys and runs, figures equal but for rounding."""
    names = ["plain", "seed", "more", "parts", "blind", "the same", "not a number"]
    data = sweep_data(cache)
    plan = SweepPlan([Trial(name, CONFIGS[name]) for name in names], [])
    sweep = create(tmp_path / "sweep", plan, data, **definition(cache))
    run(sweep, data, stack=8)
    table = sweep.results()
    for name, (_, row) in zip(names, table.iterrows(), strict=True):
        alone = made.row(name)
        assert (row["key"], row["status"], row["run"]) == (alone["key"], alone["status"], alone["run"])
        assert row["error"] == alone["error"]
        if row["run"]:
            assert row["val_loss"] == pytest.approx(alone["val_loss"], rel=1e-4)
            environment = load_run(sweep.path / row["run"]).environment
            assert environment["stacked"] == {"parts": 1, "blind": 1, "the same": 1}.get(name, 3)
    events: list[Event] = []
    run(sweep, data, stack=8, retry=True, listen=events.append)  # what has failed, and nothing else
    assert [event.result.key for event in events if event.result is not None] == [made.keys["not a number"]]
    assert all(event.result is not None and event.result.run is None for event in events)
    assert sweep.results()["status"].tolist() == table["status"].tolist()


# Folders -------------------------------------------------------------------------------------------------------------


def test_only_one_process_runs_a_sweep(made: Made) -> None:
    with locked(made.sweep.path), pytest.raises(RunError, match=r"is running already[\s\S]*holds its .lock"):  # noqa: SIM117
        with locked(made.sweep.path):
            pass


def test_a_sweep_is_never_written_over(made: Made, cache: Path) -> None:
    with pytest.raises(RunError, match=r"cannot make the sweep folder .*File exists[\s\S]*--resume"):
        create(made.sweep.path, SweepPlan([], []), made.data, **definition(cache))


def test_what_is_no_sweep(tmp_path: Path, made: Made) -> None:
    with pytest.raises(RunError, match=r"none is not a sweep folder[\s\S]*found:    nothing"):
        Sweep(tmp_path / "none")
    with pytest.raises(RunError, match=r"found:    a folder without one"):
        Sweep(tmp_path)
    path = tmp_path / "sweep.json"
    path.write_text("{")
    with pytest.raises(RunError, match=r"cannot read .*sweep.json"):
        Sweep(tmp_path)
    path.write_text("[]")
    with pytest.raises(RunError, match=r"cannot read .*sweep.json: not a JSON object"):
        Sweep(tmp_path)
    path.write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"another format version, newer[\s\S]*format 1\n  found:    format 2"):
        Sweep(tmp_path)
    path.write_text('{"format": 1}')
    with pytest.raises(RunError, match=r"does not describe a sweep of this itin[\s\S]*found:    missing 'places'"):
        Sweep(tmp_path)
    path.write_text('{"format": 1, "places": [], "wings": 2}')
    with pytest.raises(RunError, match=r"does not describe a sweep of this itin[\s\S]*unexpected keyword argument"):
        Sweep(tmp_path)


def test_other_features_are_refused(made: Made) -> None:
    check_same(made.sweep, made.data)
    store = made.data.stores["tokens"]
    changed = data_alone(made, BASE)
    changed.stores = {**made.data.stores, "tokens": type("Other", (), {"fingerprint": "f" * 64})}
    with pytest.raises(
        RunError, match=rf"begun on other tokens features\n  expected: fingerprint {store.fingerprint[:12]}"
    ):
        check_same(made.sweep, changed)
    changed.stores = {kind: store for kind, store in made.data.stores.items() if kind != "tokens"}
    with pytest.raises(RunError, match=r"found:    no store"):
        check_same(made.sweep, changed)
    table = made.data.table
    labels = table.samples["label"].tolist()
    labels[0] = "neutral" if labels[0] != "neutral" else "positive"
    other = type("Table", (), {"dataset": table.dataset, "samples": table.samples.assign(label=labels)})()
    relabelled = SweepData(other, made.data.stores, CONFIGS.values())
    with pytest.raises(RunError, match=r"begun on other samples[\s\S]*start a new sweep"):
        check_same(made.sweep, relabelled)


def test_workers_are_counted(made: Made) -> None:
    with pytest.raises(ValueError, match="workers: expected at least 1, got 0"):
        Pool(made.data.setup(made.sweep.path / ".features-0", Path()), 0)
    shutil.rmtree(made.sweep.path / ".features-0")


# The test part -------------------------------------------------------------------------------------------------------


def test_reveal_waits_for_all_runs(made: Made, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.sweep.path, copy)
    (gone,) = copy.glob(f"runs/*{made.keys['plain']}")
    shutil.rmtree(gone)
    with pytest.raises(RunError, match=r"has not ended[\s\S]*2 trials without one[\s\S]*itin sweep --resume"):
        reveal(Sweep(copy), made.data)
    for folder in copy.glob("runs/*"):
        shutil.rmtree(folder)
    for name, key in made.keys.items():
        (copy / "failed" / f"{key}.json").write_text(f'{{"error": "{name}"}}')
    with pytest.raises(RunError, match=r"no configuration whose runs have all finished[\s\S]*11 trials that failed"):
        reveal(Sweep(copy), made.data)
    assert revealed(Sweep(copy)) is None


def test_reveal_evaluates_the_chosen_configuration_once(made: Made, tmp_path: Path, monkeypatch: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(made.sweep.path, copy)
    sweep = Sweep(copy)
    record = reveal(sweep, made.data)
    table = sweep.configurations()
    chosen = table[table["open"] == 0].iloc[0]
    runs = sweep.runs_of(chosen)
    assert [copy / row["run"] for row in record["runs"]] == [one.path for one in runs]
    for row, one in zip(record["runs"], runs, strict=True):
        own = data_alone(made, one.config)
        again = fit(one.config, own.features[one.config.view], own.split_for(one.config))
        assert row["test"] == again.metrics["test"]
    assert record["mean"]["accuracy"] == pytest.approx(np.mean([row["test"]["accuracy"] for row in record["runs"]]))
    assert "seed" not in record["config"]
    monkeypatch.setattr("itin.train.sweeps.reveal.evaluate", lambda *_: pytest.fail("looked at the test part again"))
    assert reveal(sweep, made.data) == record == revealed(sweep)
    (copy / "test.json").write_text('{"format": 2}')
    with pytest.raises(RunError, match=r"test.json has another format version, newer"):
        revealed(sweep)


# Runs as a table -----------------------------------------------------------------------------------------------------


def test_table_of_runs(made: Made) -> None:
    table, bad = runs_table([made.sweep.path])
    assert bad == []
    assert len(table) == len(CONFIGS) - len(SAME) - len(BROKEN)
    assert set(table["key"]) == {made.keys[name] for name in CONFIGS if name not in BROKEN}
    assert table["test_accuracy"].isna().all()
    assert set(where(table, "m=3")["lam"]) == {0.5}
    assert set(where(table, "lam<=0.2")["m"]) == {0, 2}
    assert len(where(table, "keep_special = true")) == 1
    assert len(where(table, "ablation!=none")) == 0
    assert sort(table, "-val_loss")["val_loss"].is_monotonic_decreasing
    assert best(table, 1)["val_accuracy"].iloc[0] == table["val_accuracy"].max()
    for condition, message in (
        ("wings=2", "no column 'wings': expected one of run, key"),
        ("m", "expected a condition such as m=2 or lam<=0.3, got 'm'"),
        ("m=two", "m=two: expected a number"),
        ("keep_special=1", "keep_special=1: expected true or false"),
    ):
        with pytest.raises(ValueError, match=message):
            where(table, condition)
    with pytest.raises(ValueError, match="no column 'wings'"):
        sort(table, "-wings")


def test_unfinished_and_damaged_runs(made: Made, tmp_path: Path) -> None:
    source = next(find_runs([made.sweep.path]))
    for name in (".tmp-run", "sweep/runs/.tmp-run", "whole", "damaged"):
        shutil.copytree(source, tmp_path / name)
    (tmp_path / "damaged" / "metrics.json").write_text("{")
    assert list(find_runs([tmp_path])) == [tmp_path / "damaged", tmp_path / "whole"]
    table, bad = runs_table([tmp_path])
    assert table["run"].tolist() == [str(tmp_path / "whole")]
    assert [path for path, _ in bad] == [tmp_path / "damaged"]
    result = CliRunner().invoke(main, ["runs", str(tmp_path)])
    assert result.exit_code == 0
    assert "damaged: cannot read" in result.output
    assert "whole" in result.output
    empty = CliRunner().invoke(main, ["runs", str(tmp_path / "sweep")])
    assert empty.output == "No runs.\n"


def test_runs_command(made: Made, tmp_path: Path) -> None:
    def itin_runs(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["runs", str(made.sweep.path), *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    lines = itin_runs("--sort", "-val_loss").splitlines()
    assert lines[0].split()[:4] == ["run", "target", "preset", "m"]
    assert "label (3 classes)" in lines[1]
    assert "test_accuracy" not in lines[0]
    assert "mae" not in lines[0]
    assert lines.pop() == "protocol itin-811"
    assert len(lines) == 1 + len(CONFIGS) - len(SAME) - len(BROKEN)
    assert len(itin_runs("--best", "2").splitlines()) == 4
    assert "test_accuracy" in itin_runs("--test")
    assert len(itin_runs("--where", "m=3", "--where", "lam=0.5").splitlines()) == 3
    out = tmp_path / "runs.csv"
    assert itin_runs("--csv", str(out)).startswith("6 runs: ")
    assert len(pd.read_csv(out)) == 6
    wrong = CliRunner().invoke(main, ["runs", str(made.sweep.path), "--where", "wings=1"])
    assert wrong.exit_code == 2
    assert "no column 'wings'" in wrong.output


# The command, killed and resumed -------------------------------------------------------------------------------------


def sweep_arguments(cache: Path, out: Path) -> list[str]:
    settings = ["--d", "6", "--k", "4", "--hidden", "4", "--epochs", "12", "--batch-size", "4"]
    return [
        "sweep", "--cache", str(cache), "--out", str(out), "--m", "0:2", "--ablation", "none,only-context",
        "--seeds", "4", *settings, "--workers", "1", "--device", "cpu",
    ]  # fmt: skip


def test_killed_sweep_goes_on(cache: Path, tmp_path: Path) -> None:
    """SIGKILL to a real sweep, over a run: what has finished is kept as it is, the rest is trained, nothing doubles."""
    out = tmp_path / "sweep"
    process = subprocess.Popen(
        [sys.executable, "-c", "from itin.cli import main; main()", *sweep_arguments(cache, out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not list(out.glob("runs/[!.]*/config.json")):
        if process.poll() is not None:
            pytest.fail(str(process.communicate()[1]))
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(RunError, match="is running already"), locked(out):
        pass
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while workers_at(out) and time.monotonic() < deadline:  # they end with it
        time.sleep(0.05)
    assert not workers_at(out)
    kept = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.glob("runs/[!.]*/*")}
    finished = {path.parent.name for path in kept}
    definition = Sweep(out).definition
    keys = {trial.key for trial in definition.trials}
    assert (len(definition.trials), len(keys)) == (24, 12)  # m = 0, and only-context with any m, are one
    assert 0 < len(finished) < len(keys)
    (out / "runs" / ".tmp-half").mkdir()  # a run that was being written

    result = CliRunner().invoke(main, ["sweep", "--resume", str(out), "--workers", "1", "--reveal-test"])
    assert result.exit_code == 0, result.output
    assert f"{len(finished)} results are there already" in result.output, (sorted(finished), result.output)
    assert "12 runs: 3 configurations, 4 seeds each; 12 duplicates left out" in result.output
    assert f"{12 - len(finished)}/{12 - len(finished)} runs in" in result.output
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in kept} == kept
    folders = [path.name for path in (out / "runs").iterdir()]
    assert sorted(folder.rpartition("-")[2] for folder in folders) == sorted(keys)
    table = Sweep(out).results()
    assert (table["status"] == "done").all()
    assert table.groupby("key")["val_loss"].nunique().eq(1).all()
    assert "Best of 3 by validation accuracy:" in result.output
    assert "Chosen of 3 by mean validation accuracy over the seeds" in result.output
    assert len(revealed(Sweep(out))["runs"]) == 4  # type: ignore[index]
    assert not list(out.glob(".features-*"))


# Exit codes ----------------------------------------------------------------------------------------------------------


def sweep_command(*arguments: object, code: int) -> str:
    result = CliRunner().invoke(main, ["sweep", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize(("rates", "told"), [("1e30", "all 2 runs of"), ("0.01,1e30", "2 of 4 runs of")])
def test_failed_runs_end_with_1(cache: Path, tmp_path: Path, rates: str, told: str) -> None:
    """However the sweep is ended: at once, resumed, or in parts; a part is through whatever its runs came to."""
    small = ["--d", 6, "--k", 4, "--hidden", 4, "--epochs", 2]
    new = ["--cache", cache, "--seeds", 2, "--lr", rates, *small, "--workers", 1]
    printed = sweep_command(*new, "--out", tmp_path / "whole", code=1)
    assert f"Error: {told} {tmp_path / 'whole'} failed" in printed
    assert "training broke down" in printed.partition("found:")[2]
    assert f"itin sweep --resume {tmp_path / 'whole'} --retry-failed" in printed
    assert printed.index("Results: ") < printed.index("Error: ")
    assert len(Sweep(tmp_path / "whole").failed()) == 2
    assert told in sweep_command("--resume", tmp_path / "whole", "--workers", 1, code=1)

    parts = tmp_path / "parts"
    sweep_command(*new, "--out", parts, "--plan", code=0)
    for part in ("0/2", "1/2"):
        sweep_command("--resume", parts, "--workers", 1, "--part", part, code=0)
    assert f"{told} {parts} failed" in sweep_command("--resume", parts, "--consolidate", code=1)
    assert len(read_results(parts / "results.csv")) == len(Sweep(parts).definition.trials)


def test_a_run_that_has_been_trained_since_has_not_failed(cache: Path, tmp_path: Path) -> None:
    small = ["--d", 6, "--k", 4, "--hidden", 4, "--epochs", 2]
    sweep_command("--cache", cache, *small, "--out", tmp_path / "s", "--workers", 1, code=0)
    (trial,) = Sweep(tmp_path / "s").definition.trials
    for name in (trial.key, "of no place"):
        (tmp_path / "s" / "failed" / f"{name}.json").write_text('{"error": "once"}')
    sweep_command("--resume", tmp_path / "s", "--workers", 1, code=0)


def workers_at(out: Path) -> list[str]:
    """Processes that have mapped the sweep's features."""
    found = []
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            if str(out) in maps.read_text():
                found.append(maps.parent.name)
        except OSError:
            continue
    return found


# Wrong options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "--paper"], "--grid and --paper exclude each other"),
        (["--m", "two"], "m=two: expected a number, or a range"),
        (["--seed", "1"], "--seeds"),
        (["--set", "d=256,512", "--set", "keep-special=true"], "is now --d 256,512 --keep-special true"),
        (["--set", "seed=1"], "--set seed=1 is now --seeds 1"),
        (["--mask", "yes"], "mask=yes: expected true or false"),
        (["--batch-size", "x"], "--batch-size=x: expected a number"),
        (["--retry-failed"], "--retry-failed goes with --resume DIR"),
        (["--device", "moon"], "device 'moon' is not available here"),
        (["--resume", "x", "--m", "2"], "--m cannot be changed with --resume"),
        (["--resume", "x", "--seeds", "2"], "--seeds cannot be changed with --resume"),
    ],
)
def test_wrong_options(arguments: list[str], message: str, cache: Path) -> None:
    result = CliRunner().invoke(main, ["sweep", "--cache", str(cache), *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_more_regions_than_there_are(cache: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sweep", "--cache", str(cache), "--m", "0:6", "--out", str(tmp_path / "x")])
    assert result.exit_code == 1
    assert "holds too few regions per image" in result.output
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("error", "reason"), [("", "no reason given"), ("\n", "no reason given"), ("a\nb", "a")])
def test_the_reason_of_a_failed_run(error: str, reason: str) -> None:
    assert Result("key", None, {}, error).reason == reason
