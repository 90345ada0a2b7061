"""The kinds of damage to a run folder and to a sweep, each a small function that does it to a sound one."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

from .damage import Damage, cut_record, dangling, flip_record, folder_instead, json_instead, loop, removed

FILES = (
    "config.json",
    "metrics.json",
    "history.csv",
    "split.csv",
    "predictions.csv",
    "model.safetensors",
    "environment.json",
)
RECORDS = ("config.json", "metrics.json", "environment.json")


def change(name: str, key: str, value: object, folder: Path) -> None:
    record = json.loads((folder / name).read_bytes())
    record[key] = value
    (folder / name).write_text(json.dumps(record))


def without(name: str, key: str, folder: Path) -> None:
    record = json.loads((folder / name).read_bytes())
    del record[key]
    (folder / name).write_text(json.dumps(record))


def other_head(folder: Path) -> None:
    record = json.loads((folder / "config.json").read_bytes())
    record["head"]["d"] = 7
    (folder / "config.json").write_text(json.dumps(record))


def id_lost(folder: Path) -> None:
    lines = (folder / "split.csv").read_text().splitlines()
    (folder / "split.csv").write_text("\n".join([*lines[:-1], "no such id,test"]) + "\n")


def not_utf8(name: str, folder: Path) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 3] = 0xFF
    (folder / name).write_bytes(data)


def linked(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to("elsewhere")


RUN_DAMAGE: dict[str, Damage] = {
    **{f"{name} is missing": partial(removed, name) for name in FILES},
    **{f"{name} is empty": partial(cut_record, 0, name) for name in FILES},
    **{f"{name} ends half way": partial(cut_record, 0.5, name) for name in FILES},
    **{f"{name} is not UTF-8": partial(not_utf8, name) for name in FILES},
    **{f"{name} is a list": partial(json_instead, "[1, 2]\n", name) for name in RECORDS},
    **{f"{name} of a newer format": partial(change, name, "format", 99) for name in RECORDS},
    **{f"{name} of an older format": partial(change, name, "format", 0) for name in RECORDS},
    **{f"a folder instead of {name}": partial(folder_instead, name) for name in ("config.json", "model.safetensors")},
    **{
        f"config.json lacks {key}": partial(without, "config.json", key) for key in ("train", "head", "split", "stores")
    },
    "metrics.json lacks val": partial(without, "metrics.json", "val"),
    "metrics.json with a list of scores": partial(change, "metrics.json", "val", [1]),
    "environment.json lacks training_seconds": partial(without, "environment.json", "training_seconds"),
    "config.json with stores that are a list": partial(change, "config.json", "stores", [1]),
    "config.json of another head": other_head,
    "split.csv with another id": id_lost,
    "model.safetensors with a flipped bit": partial(flip_record, "model.safetensors"),
    "model.safetensors links to nothing": partial(dangling, "model.safetensors"),
    "config.json links to itself": partial(loop, "config.json"),
    "a run that is a link": linked,
}


# Sweeps --------------------------------------------------------------------------------------------------------------


def runs_left(count: int, sweep: Path) -> None:
    """As it was after so many runs, and before its table was written."""
    for run in sorted((sweep / "runs").iterdir())[count:]:
        shutil.rmtree(run)
    removed("results.csv", sweep)
    (sweep / "results.parquet").unlink(missing_ok=True)


def writing_a_run(sweep: Path) -> None:
    """As it is while its last run is written."""
    run = sorted((sweep / "runs").iterdir())[-1]
    (run / "model.safetensors").unlink()
    run.rename(run.with_name(f".tmp-{run.name}-0123456789abcdef"))


def writing_the_table(sweep: Path) -> None:
    (sweep / "results.csv").rename(sweep / ".tmp-results.csv-0123456789abcdef")


def in_run(damage: Damage, sweep: Path) -> None:
    damage(sorted((sweep / "runs").iterdir())[-1])


def failed(text: str, sweep: Path) -> None:
    """A record of failure in place of a run."""
    run = sorted((sweep / "runs").iterdir())[-1]
    key = json.loads((run / "config.json").read_bytes())["key"]
    shutil.rmtree(run)
    (sweep / "failed").mkdir(exist_ok=True)
    (sweep / "failed" / f"{key}.json").write_text(text)


def doubled_run(sweep: Path) -> None:
    run = sorted((sweep / "runs").iterdir())[0]
    shutil.copytree(run, run.with_name(f"{run.name} (1)"))


def foreign_run(sweep: Path) -> None:
    shutil.copytree(sweep.parent / "run", sweep / "runs" / "foreign")


SWEEP_DAMAGE: dict[str, Damage] = {
    **{f"cut off after {count} runs": partial(runs_left, count) for count in range(3)},
    "cut off while a run is written": writing_a_run,
    "cut off while the table is written": writing_the_table,
    **{
        f"a run: {name}": partial(in_run, RUN_DAMAGE[name])
        for name in (
            "config.json is missing",
            "metrics.json is missing",
            "model.safetensors is missing",
            "config.json ends half way",
            "metrics.json lacks val",
            "environment.json is empty",
        )
    },
    "sweep.json is missing": partial(removed, "sweep.json"),
    "sweep.json is empty": partial(cut_record, 0, "sweep.json"),
    "sweep.json ends half way": partial(cut_record, 0.5, "sweep.json"),
    "sweep.json is not UTF-8": partial(not_utf8, "sweep.json"),
    "sweep.json of a newer format": partial(change, "sweep.json", "format", 99),
    "sweep.json lacks its places": partial(without, "sweep.json", "places"),
    "sweep.json with stores that are a list": partial(change, "sweep.json", "stores", [1]),
    "results.csv is damaged": partial(cut_record, 0.5, "results.csv"),
    "a failure": partial(failed, '{"error": "out of memory", "traceback": ""}\n'),
    "a failure whose record is empty": partial(failed, ""),
    "a run that was copied": doubled_run,
    "a run of something else": foreign_run,
}
