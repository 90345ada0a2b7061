"""Writing a run folder, under another name beside its place and renamed at the end: it is whole or absent."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RunError
from ..labels import LABELS
from .config import TrainConfig
from .presets import short_name
from .runs import FORMAT, UNTRAINED_NOTE
from .splits import Split

if TYPE_CHECKING:
    from .data import Features
    from .loop import Fit


def run_name(config: TrainConfig, dataset: str, when: datetime) -> str:
    """Return a run's default name, for example `20240131-142530-mvsa-single-m2-lam0.2-no-gate-seed0`."""
    clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in dataset) or "data"
    fold = f"-fold{config.fold}" if config.fold else ""
    return f"{when:%Y%m%d-%H%M%S}-{clean}-{short_name(config)}{fold}-seed{config.seed}"


def check_free(out: Path) -> None:
    """Raise RunError if something stands where a run is to be written; to be asked before the training."""
    if out.exists() or out.is_symlink():
        raise RunError(
            f"{out} is already there",
            expected="a name that is free: runs are never written over",
            next_step="choose another --out, or move the old run away",
        )


def write_run(
    fit: Fit,
    features: Features,
    split: Split,
    dataset: Mapping[str, Any],
    stores: Mapping[str, Any],
    key: str,
    *,
    device: str = "cpu",
    out: Path | None = None,
    parent: Path = Path("runs"),
    now: datetime | None = None,
) -> Path:
    """Write a run folder and return its path.

    Args:
        fit: what came out of the training.
        features: what it was trained on.
        split: their parts.
        dataset: of the data set's table, `itin.cache.Table.dataset`.
        stores: `itin.cache.Store` by kind, those that the features were read from.
        key: of the run, `identity.Identity.key`.
        device: where it was trained, for `environment.json`.
        out: the folder to make, which must not exist; its parents are made.
        parent: without `out`, the folder to make a run of the default name in; the name gets a number if it is taken.
        now: the time for the name and for `environment.json`; by default that of the clock.

    Raises:
        RunError: `out` is already there, or the folder cannot be written.
    """
    now = now or datetime.now(timezone.utc).astimezone()
    if out is not None:
        check_free(out)
    name = out.name if out is not None else run_name(fit.config, features.dataset, now)
    folder = (out.parent if out is not None else parent).absolute()
    files = {
        "config.json": _json(_config(fit, features, split, dataset, stores, key)),
        "metrics.json": _json(_metrics(fit)),
        "history.csv": _csv(list(fit.history[0]), (row.values() for row in fit.history)),
        "split.csv": _csv(["id", "part"], split.pairs(features.ids)),
        "predictions.csv": _predictions(fit, features, split),
        "model.safetensors": _checkpoint(fit),
        "environment.json": _json(_environment(fit, device, now)),
    }
    if "tokens" in stores and (tokenizer := stores["tokens"].tokenizer_file) is not None:
        files["tokenizer.json"] = tokenizer.read_bytes()
    temporary = folder / f".tmp-{name}-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        temporary.mkdir(parents=True)
        for file, data in files.items():
            _write(temporary / file, data)
        final = _rename(temporary, folder, name, numbered=out is None)
        _sync(folder)
    except OSError as error:
        raise RunError(
            f"cannot write the run {folder / name}: {error.strerror or error}",
            next_step="mend the cause, or choose another place with --out, and train again",
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def _config(
    fit: Fit, features: Features, split: Split, dataset: Mapping[str, Any], stores: Mapping[str, Any], key: str
) -> dict[str, Any]:
    untrained = sorted(kind for kind, store in stores.items() if store.untrained)
    return {
        "format": FORMAT,
        "key": key,
        "train": fit.config.to_dict(),
        "head": asdict(fit.head),
        "labels": list(LABELS),
        "dataset": dict(dataset),
        "samples": {"labelled": features.labelled, "used": len(features), "missing": features.missing},
        "split": split.description,
        "stores": {
            kind: {
                "path": str(store.path.resolve()),
                "fingerprint": store.fingerprint,
                "identity": store.identity,
                "options": store.options,
            }
            for kind, store in stores.items()
        },
        "untrained_encoders": untrained,
        "note": UNTRAINED_NOTE if untrained else None,
    }


def _metrics(fit: Fit) -> dict[str, Any]:
    from .objective import SELECTED_BY

    return {
        "format": FORMAT,
        "best_epoch": fit.best_epoch,
        "selected_by": SELECTED_BY,
        **fit.metrics,
    }


def _environment(fit: Fit, device: str, now: datetime) -> dict[str, Any]:
    import torch

    where = torch.device(device)
    return {
        "format": FORMAT,
        "itin": version_of("itin"),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": str(where),
        "device_name": torch.cuda.get_device_name(where) if where.type == "cuda" else platform.processor(),
        "threads": torch.get_num_threads(),
        "gru": fit.gru,
        "stacked": fit.stacked,
        "precision": fit.precision,
        "written": now.isoformat(timespec="seconds"),
        "training_seconds": round(fit.seconds, 3),
    }


def _predictions(fit: Fit, features: Features, split: Split) -> bytes:
    rows = []
    for part, probabilities in fit.probabilities.items():
        for row, values in zip(split.rows(part), probabilities, strict=True):
            label, predicted = LABELS[features.labels[row]], LABELS[int(values.argmax())]
            rows.append([features.ids[row], part, label, predicted, *map(float, values)])
    return _csv(["id", "part", "label", "predicted", *(f"p_{label}" for label in LABELS)], rows)


def _checkpoint(fit: Fit) -> bytes:
    from safetensors.torch import save

    # One entry alone: safetensors writes several in any order, and the same run shall give the same bytes.
    data: bytes = save(fit.state_dict, metadata={"itin_head": json.dumps(asdict(fit.head))})
    return data


def _csv(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _rename(temporary: Path, folder: Path, name: str, *, numbered: bool) -> Path:
    """Give the folder its name, or the next one that is free. A folder with something in it is never replaced."""
    number = 1
    while True:
        final = folder / (name if number == 1 else f"{name}-{number}")
        try:
            if final.exists():
                raise FileExistsError(f"{final} is already there")
            return temporary.rename(final)
        except OSError:
            if not numbered or not final.exists():
                raise
        number += 1


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def version_of(package: str) -> str:
    """Return the version of an installed package, `unknown` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
