"""A run's head as a folder of its own: weights, configuration, card; no pair of the data set, no path of this machine.

FOLDER/config.json        the run's record without paths, its metrics, and `exported`, the version of this form
FOLDER/model.safetensors  the head's weights, as in the run
FOLDER/vocabulary.json    only of linear (the partner too) and lexicon: n-grams or names
FOLDER/tokenizer.json     only where the tokenizer was built from the data set's own texts
FOLDER/README.md          the model card
FOLDER/encoders.json      with `--with-encoders`: which models made the features
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import disk
from ..disk import describing, read_record
from ..extract.encoders.own import FIELDS
from ..itin_head import Head
from ..itin_head.config import HeadConfig
from ..itin_head.pretrained.checkpoint import AGAIN, CONFIG, VOCABULARY, WEIGHTS
from ..itin_head.pretrained.fetch import CARD, TOKENIZER, folder_of
from ..targets import outputs_of
from ..train.config import TrainConfig
from ..train.runs.folder import FORMAT, Run, load_run
from .encoders import FILE, encoders_of

EXPORTED = 1
"""The version of the form of these folders."""

_DATASET = ("format", "name", "samples", "labelled", "classes", "targets", "dropped", "undecided", "quarantined")
_MADE_WITH = ("itin", "python", "torch", "numpy", "scikit_learn", "gru")


def head_files(run: Run, licence: str | None = None, with_encoders: bool = False) -> dict[str, bytes]:
    """Return the files of a run's head by name: `model.safetensors` and all that it needs, with the model card.

    Args:
        run: the run.
        licence: of the weights, for the card.
        with_encoders: whether to add `encoders.json`.
    """
    from .card import card_of  # its statistics take a second to import, and opening such a folder needs none

    files = {
        CONFIG: disk.to_json(_record(run)),
        WEIGHTS: (run.path / WEIGHTS).read_bytes(),
        CARD: card_of(run, licence).encode(),
    }
    files |= {name: (run.path / name).read_bytes() for name in (VOCABULARY, TOKENIZER) if (run.path / name).is_file()}
    return files | ({FILE: disk.to_json(encoders_of(run))} if with_encoders else {})


def head_of(run: Run, licence: str | None = None) -> Head:
    """Return a run's head with the card and the files that `save_pretrained` and `push_to_hub` write beside it."""
    head = run.head()
    head.beside = {name: data for name, data in head_files(run, licence).items() if name != WEIGHTS}
    return head


def open_run(name: str | Path) -> Run:
    """Open a run folder, a folder with an exported head, or one on the hub.

    Args:
        name: a folder, or a model's name on the hub such as `org/name`.

    Raises:
        RunError: it is none of these, or cannot be read.
        WeightsError: it cannot be fetched.
    """
    path = Path(name)
    if len(path.parts) == 2 and not path.parent.is_dir():  # else it is a path, though maybe a wrong one
        path = folder_of(name)
    config = path / CONFIG
    if not config.is_file() or "exported" not in (record := read_record(config, AGAIN)):
        return load_run(path)
    disk.check_format(config, record.get("exported"), EXPORTED, AGAIN)
    disk.check_format(config, record.get("format"), FORMAT, AGAIN)
    with describing(config, "an exported head", AGAIN):
        run = Run(path, TrainConfig.from_dict(record["train"]), HeadConfig(**record["head"]), record, record["metrics"])
        if (given := outputs_of(run.targets)) != run.head_config.classes:
            raise ValueError(f"{given} outputs of targets for a head of {run.head_config.classes}")
        _ = record["stores"], record["note"], record["dataset"]
        vars(run)["environment"] = dict(record["environment"])  # where the cached property looks first
    return run


def _record(run: Run) -> dict[str, Any]:
    """Return the record of a run without what belongs to its machine or its data set's files."""
    record = run.record
    data = {name: record["dataset"][name] for name in _DATASET if name in record["dataset"]}
    source = record["dataset"].get("source") or {}
    stores = {
        kind: {**{name: each[name] for name in ("fingerprint", "identity")}, "options": _portable(each["options"])}
        for kind, each in record["stores"].items()
    }
    return {
        **{name: value for name, value in record.items() if name not in ("dataset", "stores")},
        "exported": EXPORTED,
        "train": _without_paths(record["train"]),
        "dataset": {**data, **({"source": {"kind": source["kind"]}} if "kind" in source else {})},
        "split": _without_paths(record["split"]),
        "stores": stores,
        "metrics": run.metrics,
        "environment": {name: run.environment[name] for name in _MADE_WITH if name in run.environment},
    }


def _portable(options: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return an encoder's options: of a model's folder its name; of other files none, so that they are looked for."""
    if options is None:
        return None
    named = set(FIELDS.values())
    return {
        name: value if not _is_path(value) else Path(value).name if name in named else None
        for name, value in options.items()
    }


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Return a record in which a path, also one such as `file:PATH`, is the last part of it."""
    found = dict(values)
    for name, value in values.items():
        prefix = "file:" if isinstance(value, str) and value.startswith("file:") else ""
        path = value[len(prefix) :] if prefix else value
        if _is_path(path):
            found[name] = f"{prefix}{Path(path).name}"
    return found


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (Path(value).is_absolute() or ("/" in value and Path(value).is_dir()))
