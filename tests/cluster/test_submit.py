"""`itin cluster submit`: what is prepared, the scripts, and what bash makes of them; no scheduler is needed."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from itin.cache import open_store
from itin.cli import main
from itin.cluster import submission as submissions
from itin.cluster.extract_work import Extraction, with_absolute_paths
from itin.cluster.scripts import directives, exports
from itin.cluster.site import Site
from itin.cluster.works import work_of
from itin.extract.config import EncoderConfig, ExtractConfig

from ..extract.test_run import Fake, config, fakes  # noqa: F401

Fakes = dict[str, Fake]


def words(config: ExtractConfig) -> list[str]:  # noqa: F811
    return ["--dataset", "mvsa-single", "--root", str(config.root), "--cache", str(config.cache), "--shard-size", "4"]


def submit(config: ExtractConfig, *options: str, code: int = 0, more: tuple[str, ...] = ()) -> str:  # noqa: F811
    result = CliRunner().invoke(main, ["cluster", "submit", *options, "--", "extract", *words(config), *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def only_submission(config: ExtractConfig) -> submissions.Submission:  # noqa: F811
    assert config.cache is not None
    (folder,) = submissions.find(config.cache)
    return submissions.read(folder)


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ITIN_SITE", str(tmp_path / "none.yaml"))


def test_dry_run_writes_readable_scripts(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    printed = submit(
        config,
        *("--dry-run", "--jobs", "2", "--partition", "gpu", "--gpus", "a100:1", "--time", "2:00:00"),
        *("--sbatch-option=--account=lab", "--light-option=--partition=cpu", "--prologue", "module load cuda"),
    )
    assert "33 features wanted, 33 missing, in 2 of 2 parts" in printed
    assert "Nothing was submitted." in printed
    one = only_submission(config)
    assert one.folder.parent.parent == config.cache / "mvsa-single"  # type: ignore[operator]
    texts = {path.stem: path.read_text() for path in one.folder.glob("*.sbatch")}
    assert set(texts) == {"parts", "resubmit", "consolidate"}
    for path in one.folder.glob("*.sbatch"):
        assert str(path) in printed
        subprocess.run(["bash", "-n", path], check=True)
    parts = texts["parts"].splitlines()
    assert parts[0] == "#!/bin/bash"
    for line in (
        f"#SBATCH --job-name=itin-{one.id}",
        f"#SBATCH --output={one.logs}/part-%A_%a.log",
        f"#SBATCH --chdir={Path.cwd()}",
        "#SBATCH --partition=gpu",
        "#SBATCH --gres=gpu:a100:1",
        "#SBATCH --time=2:00:00",
        "#SBATCH --signal=B:USR1@60",
        "#SBATCH --account=lab",
        "module load cuda",
    ):
        assert line in parts, line
    command = next(line for line in parts if line.startswith(sys.executable))
    assert command.endswith(f' extract --config {one.record} --part "$part/2" &')
    assert f"itin extract {shlex.join(words(config)[:4])}" in texts["parts"]
    for light in (texts["resubmit"], texts["consolidate"]):
        assert "--gres" not in light
        assert light.index("#SBATCH --partition=gpu") < light.index("#SBATCH --partition=cpu")  # the last one counts
        assert "--account=lab" in light
        assert 'scontrol requeue "$SLURM_JOB_ID"' in light
    assert "scontrol" not in texts["parts"]
    assert f" extract --config {one.record} --device cpu --consolidate &" in texts["consolidate"]
    assert f"cluster resubmit {one.folder} " in texts["resubmit"]


def test_everything_is_prepared_once(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    submit(config, "--dry-run", more=("--limit", "5", "--retry-quarantined", "--device", "cuda"))
    one = only_submission(config)
    assert one.limit == 5
    recorded = ExtractConfig.from_record(one.config)
    assert recorded == ExtractConfig(
        "mvsa-single", root=config.root, cache=config.cache, limit=5, shard_size=4, device="cuda",
        into=",".join(one.stores),
    )  # fmt: skip
    assert one.words[-5:] == ("--limit", "5", "--retry-quarantined", "--device", "cuda")
    assert [name.partition("-")[0] for name in one.stores] == ["regions", "tokens", "context"]
    assert all((one.home / name / "plan.json").exists() for name in one.stores)
    assert (one.home / "samples.jsonl").exists()
    assert fakes["regions"].seen == 0
    missing = work_of("extract").missing(one)
    assert (missing.wanted, missing.pieces, dict(missing.parts)) == (15, 15, {0: 12, 1: 3})


def test_missing_is_what_no_part_has_committed(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    assert config.root is not None
    (config.root / "data" / "6.jpg").write_bytes((config.root / "data" / "6.jpg").read_bytes()[:700])
    submit(config, "--dry-run", "--jobs", "3")
    one = only_submission(config)
    work = Extraction()
    assert dict(work.missing(one).parts) == {0: 12, 1: 12, 2: 9}
    arguments = [*work.part(one), "1/3"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    missing = work.missing(one)
    assert dict(missing.parts) == {0: 12, 2: 9}
    assert missing.given_up == 2  # regions and context of the image that is cut short
    for index in (0, 2):
        assert CliRunner().invoke(main, [*work.part(one), f"{index}/3"]).exit_code == 0
    assert work.missing(one).pieces == 0
    result = CliRunner().invoke(main, work.consolidate(one))
    assert result.exit_code == 0, result.output
    assert open_store(one.home / one.stores[0]).manifest["rows"] == 10


def test_arguments_mean_the_same_from_with_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert").mkdir()
    given = ExtractConfig(
        "folder",
        root=Path("data"),
        table=Path("t.csv"),
        columns={"id": "a", "text": "b"},
        cache=Path("cache"),
        only=("tokens",),
        allow_outside=True,
        encoders=EncoderConfig(text_encoder="bert", detector_weights="w.pt", object_names="names.txt"),
    )
    names = {"detector_weights": "w.pt", "object_names": "names.txt", "text_encoder": "bert"}
    expected = replace(
        given,
        root=tmp_path / "data",
        table=tmp_path / "t.csv",
        cache=tmp_path / "cache",
        encoders=EncoderConfig(**{name: str(tmp_path / file) for name, file in names.items()}),
    )
    assert with_absolute_paths(given) == expected
    assert ExtractConfig.from_record(json.loads(json.dumps(expected.to_record()))) == expected
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").touch()
    assert with_absolute_paths(given).table == Path("t.csv")  # in the root
    named = EncoderConfig(text_encoder="bert-base")
    assert with_absolute_paths(ExtractConfig("mvsa-single", encoders=named)).encoders == named


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"dataset": "mvsa-single", "depth": 3}, "unknown fields: depth"),
        ({"dataset": "mvsa-single", "encoders": {"depth": 3}}, "unknown fields: depth"),
        ({"limit": 3}, "dataset: expected a name, got none"),
    ],
)
def test_a_record_that_is_none(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExtractConfig.from_record(record)


def test_a_record_says_all_but_the_part(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    submit(config, "--dry-run")
    one = only_submission(config)
    for more in (["--limit", "3"], ["--dataset", "mvsa-single"], ["--into", "x"]):
        result = CliRunner().invoke(main, ["extract", "--config", str(one.record), *more])
        assert result.exit_code == 2
        assert f"leave {more[0]} out" in result.output
    result = CliRunner().invoke(main, ["extract", "--config", str(one.folder / "nothing" / "submission.json")])
    assert result.exit_code == 1
    assert "is not the folder of a submission" in result.output
    result = CliRunner().invoke(main, ["extract"])
    assert result.exit_code == 2
    assert "--dataset is missing" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "train"], "`itin train` cannot run in parts; what can: extract, sweep"),
        (["--", "extract", "--dataset", "mvsa-single", "--part", "0/2"], "--part is set by the submission"),
        (["--", "extract", "--dataset", "mvsa-single", "--consolidate"], "--consolidate is set by the submission"),
        (["--", "extract", "--dataset", "mvsa-single", "--limit", "0"], "limit: expected an integer of at least 1"),
        (["--", "extract", "--data", "x"], "No such option"),
        (["--time", "soon", "--", "extract"], "time: expected Slurm's form"),
        (["--jobs", "0", "--", "extract"], "jobs: expected an integer of at least 1, got 0"),
        (["--retries", "-1", "--", "extract"], "retries: expected an integer of at least 0, got -1"),
        (["--warn", "65536", "--", "extract"], "warn: expected an integer from 1 to 65535, got 65536"),
        (["--site", "none.yaml", "--", "extract"], "--site: there is no file none.yaml"),
        (["--engine", "dask", "--", "extract"], "--engine dask needs --scheduler ADDRESS"),
        (["--engine", "dask", "--scheduler", "tcp://h:1", "--dry-run", "--", "extract"], "there are none for Dask"),
        (["--tls-ca", __file__, "--", "extract"], "--tls-ca, --tls-cert and --tls-key belong together"),
    ],
)
def test_wrong_options_are_usage_errors(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["cluster", "submit", *arguments])
    assert result.exit_code == 2, result.output
    assert message in result.output.replace("\n", " ")


def test_options_are_those_of_the_dataclasses() -> None:
    from itin.commands.cluster import SubmitOptions
    from itin.commands.cluster import submit as command

    names = {field.name: field.default for one in (SubmitOptions, Site) for field in fields(one)}
    options = {one.name: one for one in command.params if isinstance(one, click.Option) and one.name != "help"}
    assert options.keys() == names.keys()
    flags = {name: option.opts[0] for name, option in options.items()}
    assert flags == {name: f"--{name.replace('_', '-').replace('-options', '-option')}" for name in names}
    for name, option in options.items():
        assert option.help, name
        assert option.multiple == (names[name] == ())
        if not option.multiple:
            assert option.default == names[name] or "UNSET" in str(option.default), name


def test_dask_takes_one_device_a_worker(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    asked = ("--engine", "dask", "--scheduler", "tcp://h:1")
    for device in ("all", "cpu,cpu"):
        said = submit(config, *asked, code=2, more=("--device", device))
        assert f"--device {device} runs on Slurm" in said


def test_a_site_is_overridden_by_what_is_typed_alone(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    tmp_path: Path,
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("warn: 90\nat_once: 2\nsbatch_options: [--time=9:00:00, --account=lab]\nprologue: [true]\n")
    submit(config, "--dry-run", "--site", str(site), "--time", "2:00:00", "--prologue", "a", "--prologue", "b c")
    one = only_submission(config)
    script = (one.folder / "parts.sbatch").read_text()
    assert [line for line in script.splitlines() if "--time" in line] == ["#SBATCH --time=2:00:00"]
    assert "#SBATCH --account=lab" in script
    assert "#SBATCH --signal=B:USR1@90" in script
    assert one.at_once == 2
    assert "\na\nb c\n" in script
    assert "\ntrue\n" not in script


def test_odd_folders_are_quoted(config: ExtractConfig, fakes: Fakes, tmp_path: Path) -> None:  # noqa: F811
    config = ExtractConfig("mvsa-single", root=config.root, cache=tmp_path / "a b%c's")
    submit(config, "--dry-run")
    one = only_submission(config)
    assert f'"--output={str(one.logs).replace("%", "%%")}/part-%A_%a.log"' in (one.folder / "parts.sbatch").read_text()
    for path in one.folder.glob("*.sbatch"):
        subprocess.run(["bash", "-n", path], check=True)
    assert "--gres" not in " ".join(directives(one, Site(), "parts"))


def test_the_environment_that_itin_reads_is_written_down() -> None:
    lines = exports({"ITIN_CACHE": "/a b", "HF_HOME": "/hf", "HOME": "/home/me", "ITIN_DATA": ""})
    assert lines == ["export ITIN_CACHE='/a b'", "export HF_HOME=/hf", "export PYTHONUNBUFFERED=1"]


@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_the_script_passes_signals_on_and_waits(
    name: str,
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    tmp_path: Path,
) -> None:
    """bash itself: the trap runs while Python works, and the task ends with Python's own exit code."""
    program = tmp_path / "program.py"
    program.write_text(
        "import signal, sys, time\n"
        "def told(number, frame):\n"
        "    print('told', signal.Signals(number).name, flush=True)\n"
        "    time.sleep(0.3)\n"
        "    sys.exit(75)\n"
        "signal.signal(signal.SIGUSR1, told)\n"
        "signal.signal(signal.SIGTERM, told)\n"
        "print('ready', sys.argv[-1], flush=True)\n"
        "time.sleep(30)\n"
    )
    submit(config, "--dry-run", "--jobs", "50", "--itin", shlex.join([sys.executable, str(program)]))
    script = only_submission(config).folder / "parts.sbatch"
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_JOB_ID": "17"}
    shell = subprocess.Popen(["bash", script, "40"], env=environment, stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    assert re.fullmatch(r"itin: part 42/50 begins on \S+, job 17_2\n", shell.stdout.readline())
    assert shell.stdout.readline() == "ready 42/50\n"
    time.sleep(0.2)  # until bash waits
    shell.send_signal(getattr(signal, f"SIG{name}"))
    rest = shell.communicate(timeout=20)[0]
    assert rest == f"told SIG{name}\nitin: part 42/50 ended with exit code 75\n"
    assert shell.returncode == 75


def test_without_slurm_the_next_step_is_said(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = submit(config, code=1)
    assert "sbatch is not here" in printed
    assert "--engine dask" in printed


def test_without_distributed_the_extra_is_named(
    config: ExtractConfig,  # noqa: F811
    fakes: Fakes,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    printed = submit(config, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", code=1)
    assert "pip install 'itin[dask]'" in printed
    printed = submit(config, "--engine", "dask", "--scheduler", "tls://127.0.0.1:1", code=2)
    assert "a tls:// scheduler takes --tls-ca, --tls-cert and --tls-key" in printed.replace("\n", " ")


def test_a_folder_that_is_no_submission(tmp_path: Path) -> None:
    for arguments in (["status", str(tmp_path)], ["resubmit", str(tmp_path)], ["sweep", str(tmp_path)]):
        result = CliRunner().invoke(main, ["cluster", *arguments])
        assert result.exit_code == 1
        assert "is not the folder of a submission" in result.output
    result = CliRunner().invoke(main, ["cluster", "status", "--cache", str(tmp_path)])
    assert "holds no submission" in result.output
    (tmp_path / "submission.json").write_text("{")
    result = CliRunner().invoke(main, ["cluster", "status", str(tmp_path)])
    assert "cannot read" in result.output


def test_submissions_are_found_in_order(config: ExtractConfig, fakes: Fakes) -> None:  # noqa: F811
    submit(config, "--dry-run")
    time.sleep(1.1)
    submit(config, "--dry-run")
    assert config.cache is not None
    first, second = map(submissions.read, submissions.find(config.cache))
    assert first.created < second.created
    assert first.id != second.id
    result = CliRunner().invoke(main, ["cluster", "status", "--cache", str(config.cache)])
    assert second.id in result.output
