"""Run folders: their files, and how to read them; `write_run` writes them.

RUN/config.json        format version, recipe, head, data set, stores with their fingerprints and encoders, split
RUN/metrics.json       best epoch, scores of the validation and the test part, the majority class beside them
RUN/history.csv        one row per epoch
RUN/split.csv          id, part
RUN/predictions.csv    id, part, label, predicted, and the probability of each class; of a number the two values
RUN/predictions.NAME.csv  the same of each further target
RUN/model.safetensors  the head's parameters; its configuration again in the metadata
RUN/vocabulary.json    only of linear (the partner too) and lexicon: n-grams or names, and the targets' rows
RUN/tokenizer.json     only where the tokenizer was built from the data set's own texts
RUN/environment.json   versions, machine, device, times
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...disk import describing, read_record, record_of
from ...errors import RunError
from ...itin_head.config import HeadConfig
from ...labels import LABELS, listed
from ...tabular.matching import match
from ...targets import LABEL, UNKNOWN, Target, outputs_of
from ..config import TrainConfig
from ..protocols.split import PARTS, Split, split_from_parts

if TYPE_CHECKING:
    import torch

    from ...itin_head import Head
    from ..features.features import Features

FORMAT = 1
"""Version of the run folder's format; a reader refuses every other one."""

AGAIN = "train the run again"

FILES = (
    "config.json",
    "metrics.json",
    "history.csv",
    "split.csv",
    "predictions.csv",
    "model.safetensors",
    "environment.json",
)

VOCABULARY = "vocabulary.json"
"""The file of what a head keeps beside its weights: the n-grams of `linear`, or the names that `lexicon` reads."""

TEXT_COLUMNS = {"id", "part", "label", "predicted"}
"""The columns of the CSV files that hold text."""

UNTRAINED_NOTE = "Features come from untrained encoders (random weights): their figures say nothing about sentiment."
"""The note on every table made from a run on untrained encoders alone."""


def untrained_note(untrained: Collection[str], kinds: Collection[str]) -> str | None:
    """Return the note on every table made from features of which some kinds, or all, come from untrained encoders.

    Args:
        untrained: those kinds.
        kinds: all kinds.
    """
    if not untrained or set(untrained) == set(kinds):
        return UNTRAINED_NOTE if untrained else None
    named = " and ".join(sorted(untrained))
    return f"The {named} features come from untrained encoders (random weights): they say nothing about sentiment."


@dataclass(frozen=True)
class Run:
    """One run folder. Configuration and scores are read when it is opened, the rest on demand."""

    path: Path
    config: TrainConfig
    """The recipe."""
    head_config: HeadConfig
    """The configuration of the head that was trained."""
    record: dict[str, Any]
    """All of `config.json`: also `labels`, `dataset`, `stores`, `split`, `samples`, `untrained_encoders`, `note`."""
    metrics: dict[str, Any]
    """All of `metrics.json`: `best_epoch`, and the scores by part."""

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """What the head has learnt, in the order of its outputs; the first is the one that is scored."""
        if "targets" in self.record:
            return tuple(Target.from_dict(record) for record in self.record["targets"])
        return (Target(classes=tuple(self.record.get("labels", LABELS))),)

    @property
    def head_configs(self) -> list[HeadConfig]:
        """The configurations of the head and of its partner, if it has one."""
        beside = self.config.beside
        partners = [] if beside is None else [replace(self.head_config, head=beside.head, ablation=beside.ablation)]
        return [self.head_config, *partners]

    @property
    def inputs(self) -> frozenset[str]:
        """The kinds of feature that they take as input."""
        return frozenset().union(*(head.inputs for head in self.head_configs))

    @property
    def reads(self) -> frozenset[str]:
        """The kinds of feature whose values affect what they say."""
        return frozenset().union(*(head.reads for head in self.head_configs))

    @property
    def target(self) -> Target:
        """The target that is scored."""
        return self.targets[0]

    @property
    def target_name(self) -> str | None:
        """The name of the target that is scored, where it is not the label."""
        return None if self.target.name == LABEL else self.target.name

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the head tells apart, in the order of its outputs; none for a number."""
        return self.target.classes

    @property
    def half_widths(self) -> dict[str, float]:
        """Half the width of the prediction interval of each target that is a number, by name."""
        found: dict[str, float] = self.metrics.get("conformal", {}).get("half_width", {})
        return found

    @property
    def note(self) -> str | None:
        """The note that every table made from the run must carry beside its figures, or None."""
        note: str | None = self.record["note"]
        return note

    @cached_property
    def history(self) -> pd.DataFrame:
        """The history, one row per epoch."""
        return read_table(self.path / "history.csv")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The predictions, a row per validation and test sample: id, part, label, predicted, p_CLASS of each class; of
        a number label and predicted are numbers. An unknown label is empty, or NaN."""
        path = self.path / "predictions.csv"
        table = read_table(path)
        with describing(path, "the predictions of a run", AGAIN):
            if self.target.is_number:
                for column in ("label", "predicted"):
                    table[column] = [float(cell or "nan") for cell in table[column]]
        return table

    @cached_property
    def parts(self) -> dict[str, str]:
        """The part of each id."""
        table = read_table(self.path / "split.csv")
        if list(table) != ["id", "part"] or not set(table["part"]) <= set(PARTS):
            raise RunError(
                f"cannot read {self.path / 'split.csv'}",
                expected=f"the columns id and part, parts among {', '.join(PARTS)}",
                found=f"the columns {', '.join(map(str, table))}",
                next_step=AGAIN,
            )
        return dict(zip(table["id"], table["part"], strict=True))

    @property
    def scores(self) -> pd.DataFrame:
        """The scores: part, n, accuracy, weighted_f1, macro_f1, loss, f1_CLASS of each class, majority_accuracy; of a
        number part, n, mae, rmse, pearson, spearman, ccc, loss and mean_mae, that of always the training part's mean.
        """
        with describing(self.path / "metrics.json", "the scores of a run", AGAIN):
            frame: pd.DataFrame = pd.DataFrame([self._row(part) for part in PARTS if part in self.metrics])
        return frame

    def _row(self, part: str) -> dict[str, Any]:
        scores = self.metrics[part]
        if self.target.is_number:
            row = {name: scores[name] for name in ("n", "mae", "rmse", "pearson", "spearman", "ccc", "loss")}
            return {"part": part, **row, "mean_mae": scores["baseline"]["mae"]}
        row = {name: scores[name] for name in ("n", "accuracy", "weighted_f1", "macro_f1", "loss")}
        row |= {f"f1_{label}": scores["f1"][label] for label in self.classes}
        return {"part": part, **row, "majority_accuracy": scores["majority"]["accuracy"]}

    def _repr_html_(self) -> str:
        from ..protocols.protocol import describe
        from .notebook import block

        lines = [describe(self.record["split"]), f"epoch {self.metrics['best_epoch']} of {self.config.epochs} kept"]
        return block(f"Run {self.path}", lines, self.scores, self.note)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine, device and times."""
        return read_record(self.path / "environment.json", AGAIN, FORMAT)

    def with_predictions(self, table: pd.DataFrame) -> Run:
        """Return the same run with other predictions than its folder's, such as of the test part; same columns."""
        run = replace(self)
        vars(run)["predictions"] = table  # where the cached property looks first
        return run

    def check_stores(self, stores: Mapping[str, Any]) -> None:
        """Raise RunError unless these `itin.cache.Store` by kind hold the features that the run was trained on."""
        for kind, entry in self.record["stores"].items():
            store = stores.get(kind)
            if store is None and kind not in self.inputs:
                continue
            if store is None or store.fingerprint != entry["fingerprint"]:
                raise RunError(
                    f"the run {self.path} was trained on other {kind} features",
                    expected=f"{entry['path']}, fingerprint {entry['fingerprint'][:12]}",
                    found="no store" if store is None else f"{store.path}, fingerprint {store.fingerprint[:12]}",
                    next_step="name the run's own store, or train again on these features",
                )

    @property
    def lexicons(self) -> tuple[str, ...]:
        """The lexicons that the head reads.

        Raises:
            RunError: one is not installed, or not as it was when the run was trained.
        """
        from ..lexicons.values import record_of

        names = self.config.lexicon_names
        recorded, here = self.record.get("lexicons", {}), record_of(names)
        for name, found in here.items():
            if (expected := recorded.get(name)) != found:
                package = f"{expected['package']}=={expected['version']}" if expected and "package" in expected else ""
                raise RunError(
                    f"the run {self.path} was trained with another {name} lexicon",
                    expected=str(expected),
                    found=str(found),
                    next_step=f"pip install '{package}'" if package else "train the run again",
                )
        return names

    def check_targets(self, features: Features) -> None:
        """Raise RunError unless a data set's targets are those that the run was trained on, with the same classes."""
        for target in self.targets:
            now = features.column(target.name).target
            if now != target:
                raise RunError(
                    f"the run {self.path} was trained on other classes than the data set has now"
                    if now.classes and target.classes and now.classes != target.classes
                    else f"the run {self.path} was trained on another kind of {target.name} than the data set has now",
                    expected=listed(target.classes) or str(target.to_dict()),
                    found=listed(now.classes) or str(now.to_dict()),
                    next_step="train again on the data set's classes, or name the run's own: `itin extract --classes`",
                )

    def label_of(self, features: Features, row: int) -> str | float:
        """Return the value of the run's target for a row of the features, as `predictions` has it."""
        value = features.column(self.target.name).values[row]
        if self.target.is_number:
            return float(value)
        return "" if value == UNKNOWN else self.classes[int(value)]

    def has_label(self, features: Features, row: int, recorded: object) -> bool:
        """Return whether a row of the features has the label that `predictions` records, also where both are NaN."""
        own = self.label_of(features, row)
        return own == recorded or (own != own and recorded != recorded)

    def split(self, ids: Sequence[str]) -> Split:
        """Return the run's split as rows of these ids.

        Raises:
            RunError: ids of the run's split are missing.
        """
        met = match(self.parts, ids)
        if met.ours:
            raise RunError(
                f"the features lack samples that the run {self.path} was trained on",
                expected=f"all {len(self.parts)} of its split.csv",
                found="; ".join(met.lines("missing")),
                next_step="run the same `itin extract` again: it makes what is missing",
            )
        return split_from_parts(ids, self.parts, self.record["split"])

    def head(self, device: str | torch.device = "cpu") -> Head:
        """Return the trained head, in evaluation mode.

        Raises:
            RunError: the checkpoint is missing, damaged, or does not have the configuration's shapes.
        """
        import torch

        from ...itin_head import make
        from ...itin_head.ensemble import Ensemble, Partnered
        from ...itin_head.pretrained.checkpoint import WEIGHTS, fill, state_of

        path = self.path / WEIGHTS
        state = state_of(path)
        with torch.device("meta"):  # no memory and no random numbers for weights that are replaced next
            gru = "torch" if self.environment.get("gru") == "torch" else "packed"
            members = [make(self.head_config, gru) for _ in self.config.members]
            head = members[0] if len(members) == 1 else Ensemble(members, self.targets)
            for partner in self.head_configs[1:]:
                head = Partnered(head, make(partner), self.targets)
        head = fill(head, path, state, device)
        head.targets = self.targets
        return head


def load_run(path: str | Path) -> Run:
    """Open a run folder.

    Raises:
        RunError: it is not one, a file is missing, cannot be read or is of another format version.
    """
    path = Path(path)
    if (path / "sweep.json").is_file():
        raise RunError(
            f"{path} is the folder of a sweep, not of a run",
            expected="one of its runs",
            next_step=f"`itin runs {path}` lists them",
        )
    described = record_of(path, "config.json", "a run folder", "itin train")
    for name in FILES:
        if not (path / name).is_file():
            if "exported" in read_record(described, AGAIN):
                raise RunError(
                    f"{path} holds an exported head, not a run",
                    expected="a run, with its pairs and its figures",
                    found="a head without them, as `itin export` writes it",
                    next_step="give the run itself; `itin predict` and `from_pretrained` read exported heads",
                )
            raise RunError(
                f"the run {path} is not complete",
                expected=", ".join(FILES),
                found=f"no {name}",
                next_step="copy the whole folder again, or train the run again",
            )
    record, metrics = (read_record(file, AGAIN, FORMAT) for file in (described, path / "metrics.json"))
    with describing(described, "a run", AGAIN):
        config, head = TrainConfig.from_dict(record["train"]), HeadConfig(**record["head"])
        run = Run(path, config, head, record, metrics)
        if (given := outputs_of(run.targets)) != head.classes:
            raise ValueError(f"{given} labels for a head of {head.classes} classes")
        _ = {**record["stores"]}, record["split"], record["dataset"], record["note"], metrics["best_epoch"]
    return run


def read_table(path: Path, next_step: str = AGAIN) -> pd.DataFrame:
    """Read a CSV file with its numbers exactly as written; pandas' own parser rounds in some versions.

    Raises:
        RunError: it cannot be read; the error names the next step.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in set(table) - TEXT_COLUMNS:
            table[column] = [int(value) if column == "epoch" else float(value) for value in table[column]]
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}", next_step=next_step) from error
    return table
