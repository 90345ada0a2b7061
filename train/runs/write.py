"""The writing of run folders; each is committed as a whole."""

from __future__ import annotations

import csv
import io
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import disk
from ...errors import ItinError, RunError
from ...targets import Target
from ..config import TrainConfig
from ..lexicons.values import record_of
from ..presets import short_name
from ..protocols.split import Split
from ..statistics import split_conformal
from .folder import FORMAT, VOCABULARY, untrained_note

if TYPE_CHECKING:
    from ..features.features import Features
    from ..loop import Fit

COVERAGE = 0.9
"""The share of pairs whose true number lies within the interval around a prediction."""


def prediction_columns(classes: Iterable[str]) -> list[str]:
    """Return the columns of a table of predictions."""
    return ["id", "part", "label", "predicted", *(f"p_{name}" for name in classes)]


def predictions_name(target: str | None = None) -> str:
    """Return the name of a run's file of predictions: those of the first target, or of a further one."""
    if target is None:
        return "predictions.csv"
    clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in target)
    return f"predictions.{clean}.csv"


def run_name(config: TrainConfig, dataset: str, when: datetime) -> str:
    """Return a run's default name, for example `20240131-142530-mvsa-single-m2-lam0.2-no-gate-seed0`."""
    clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in dataset) or "data"
    fold = f"-fold{config.fold}" if config.fold else ""
    return f"{when:%Y%m%d-%H%M%S}-{clean}-{short_name(config)}{fold}-seed{config.seed}"


def check_free(out: Path) -> None:
    """Raise RunError if the path of a run exists already; to be called before the training."""
    if out.exists() or out.is_symlink():
        raise RunError(
            f"{out} is already there",
            expected="a free name: runs are never overwritten",
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
        fit: the result of the training.
        features: the features that it was trained on.
        split: their parts.
        dataset: the record of the data set, `itin.cache.Table.dataset`.
        stores: `itin.cache.Store` by kind, those that the features were read from.
        key: the run's key, `key.Identity.key`.
        device: where it was trained, for `environment.json`.
        out: the folder to make, which must not exist; its parents are made.
        parent: without `out`, the folder to make a run of the default name in; the name gets a number if it is taken.
        now: the time for the name and for `environment.json`; by default the current time.

    Raises:
        RunError: `out` is already there, or the folder cannot be written.
    """
    now = now or datetime.now(timezone.utc).astimezone()
    if out is not None:
        check_free(out)
    name = out.name if out is not None else run_name(fit.config, features.dataset, now)
    folder = (out.parent if out is not None else parent).absolute()
    files = {
        "config.json": disk.to_json(_config(fit, features, split, dataset, stores, key)),
        "metrics.json": disk.to_json(
            {
                "format": FORMAT,
                "best_epoch": fit.best_epoch,
                "selected_by": fit.selected_by,
                **({"logistic_c": fit.chosen} if fit.chosen else {}),
                **_intervals(fit, features, split),
                **fit.metrics,
            }
        ),
        "history.csv": csv_bytes(list(fit.history[0]), (row.values() for row in fit.history)),
        "split.csv": csv_bytes(["id", "part"], split.pairs(features.ids)),
        "model.safetensors": _checkpoint(fit),
        "environment.json": disk.to_json(_environment(fit, device, now)),
    }
    if fit.vocabulary is not None:
        files[VOCABULARY] = disk.to_json({"format": FORMAT, **fit.vocabulary})
    for place, target in enumerate(fit.targets):
        said = {part: each[target.name] for part, each in fit.predicted.items()}
        files[predictions_name(target.name if place else None)] = predictions_csv(said, features, split, target)
    if "tokens" in stores and (tokenizer := stores["tokens"].tokenizer_file) is not None:
        files["tokenizer.json"] = tokenizer.read_bytes()
    return disk.create_folder(folder / name, files, numbered=out is None, fault=_fault)


def _fault(path: Path, error: OSError) -> ItinError:
    return RunError(
        f"cannot write the run {path}: {error.strerror or error}",
        next_step="fix the cause, or choose another place with --out, and train again",
    )


def _config(
    fit: Fit, features: Features, split: Split, dataset: Mapping[str, Any], stores: Mapping[str, Any], key: str
) -> dict[str, Any]:
    untrained = sorted(kind for kind, store in stores.items() if store.untrained)
    return {
        "format": FORMAT,
        "key": key,
        "train": fit.config.to_dict(),
        "head": fit.head.to_dict(),
        "labels": list(fit.targets[0].classes),
        "targets": [target.to_dict() for target in fit.targets],
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
        **({"lexicons": record_of(fit.config.lexicon_names)} if fit.config.lexicon_names else {}),
        "untrained_encoders": untrained,
        "note": untrained_note(untrained, stores),
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
        "scikit_learn": version_of("scikit-learn"),
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


def predictions_csv(
    predicted: Mapping[str, NDArray[np.float64]], features: Features, split: Split, target: Target
) -> bytes:
    """Return a table of predictions: id, part, label, predicted, and of classes the probability of each.

    Args:
        predicted: (rows of the part, classes) probabilities, or (rows of the part,) numbers in units, of each part.
        features: the features, with ids and targets.
        split: the parts as rows of the features.
        target: what is predicted. A sample without a value for it has an empty label.
    """
    rows, column = [], features.column(target.name)
    known = column.known
    for part, each in predicted.items():
        for row, said in zip(split.rows(part), each, strict=True):
            value = column.values[row]
            if target.is_number:
                rows.append([features.ids[row], part, float(value) if known[row] else "", float(said)])
            else:
                label = target.classes[int(value)] if known[row] else ""
                rows.append([features.ids[row], part, label, target.classes[int(said.argmax())], *map(float, said)])
    return csv_bytes(prediction_columns(target.classes), rows)


def _intervals(fit: Fit, features: Features, split: Split) -> dict[str, Any]:
    """Return `conformal`: by number target the half width of its prediction interval, from the validation part."""
    widths = {}
    for target in fit.targets:
        if target.is_number and "val" in fit.predicted:
            true = features.column(target.name).values[split.val]
            away = np.abs(true - fit.predicted["val"][target.name])[~np.isnan(true)]
            low, high = target.bounds
            widths[target.name] = split_conformal(away, COVERAGE, high - low)
    return {"conformal": {"coverage": COVERAGE, "half_width": widths}} if widths else {}


def _checkpoint(fit: Fit) -> bytes:
    from safetensors.torch import save

    # Only one entry: safetensors writes several in any order, and the same run must give the same bytes.
    data: bytes = save(fit.state_dict, metadata={"itin_head": json.dumps(fit.head.to_dict())})
    return data


def csv_bytes(header: Sequence[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """Return a table as a CSV file."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def version_of(package: str) -> str:
    """Return the version of an installed package, `unknown` where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
