"""The folder of `itin reproduce` and its results on the test part, as frames; `write` makes the report.

REPRODUCTION/reproduce.json  the request
REPRODUCTION/sweep/          the runs, an ordinary sweep, which does not evaluate the test part
REPRODUCTION/test/KEY.csv    the test predictions of each run, made once
REPRODUCTION/numbers/*.csv   `Reproduction.tables`
REPRODUCTION/report.html, tables/, figures/  the report
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ...errors import RunError
from ...itin_head.registry import label_of
from ...labels import LABELS, numbers_of
from ...tabular.matching import match
from ...train.protocols.protocol import describe
from ...train.runs.folder import Run
from ...train.statistics import bootstrap, interval, over_seeds
from ...train.sweeps.axes import Trial
from ...train.sweeps.folder import Sweep
from ...train.sweeps.result import Result
from . import evaluate, published
from .request import Request, configuration, read_request
from .scores import SCORES, ConfigurationScores, scores_of
from .tables import curve_table, runs_table, table_2, table_3


class Reproduction:
    """The results of a reproduction, for the report, a notebook or further work.

    Args:
        path: the folder.

    Raises:
        RunError: it is not a reproduction, or a file in it cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.request: Request = read_request(self.path)
        self.sweep = Sweep(self.path / "sweep")

    @cached_property
    def results(self) -> dict[str, Result]:
        """The results of all runs, by key."""
        return self.sweep.ended()

    @cached_property
    def trials(self) -> list[Trial]:
        """The requested trials."""
        asked = set(self.request.plan().trials)
        return list(dict.fromkeys(trial for trial in self.sweep.definition.trials if trial in asked))

    @cached_property
    def groups(self) -> dict[tuple[str, ...], list[Trial]]:
        """The configurations by the keys of their runs; the same runs may appear in several places of the paper."""
        by_recipe: dict[Any, list[Trial]] = {}
        for trial in self.trials:
            by_recipe.setdefault(configuration(trial), []).append(trial)
        found: dict[tuple[str, ...], list[Trial]] = {}
        for trials in by_recipe.values():
            trials.sort(key=lambda trial: (trial.config.seed, trial.config.fold))
            found.setdefault(tuple(trial.key for trial in trials), []).append(trials[0])
        return found

    @cached_property
    def missing(self) -> dict[str, str]:
        """Why runs have no test predictions, by key."""
        lacking = evaluate.missing(self.path, list(dict.fromkeys(trial.key for trial in self.trials)))
        reasons = {key: "not evaluated" if one.run else one.reason for key, one in self.results.items()}
        return {key: reasons.get(key, "not trained") for key in lacking}

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The true classes (N,) of the test pairs, of all folds one after the other."""
        return self._outcomes[1]

    @cached_property
    def ids(self) -> list[str]:
        """The N test pairs, in the order of `labels`."""
        return self._outcomes[0]

    @cached_property
    def rows(self) -> list[tuple[list[Trial], ConfigurationScores]]:
        """Every configuration whose runs are complete, with the trials of the paper that it belongs to."""
        _, labels, predicted = self._outcomes
        if not predicted:
            return []
        every = [np.broadcast_to(one, (len(self.request.seeds), len(labels))) for one in predicted.values()]
        resampled = bootstrap(labels, every, len(self.classes))
        found = []
        for number, (keys, own_classes) in enumerate(predicted.items()):
            by_seed = scores_of(labels, own_classes, len(self.classes))
            own = {name: values[number] for name, values in resampled.items()}
            scores = {
                name: replace(over_seeds(by_seed[name]), low=low, high=high)
                for name, (low, high) in ((name, interval(own[name])) for name in SCORES)
            }
            trials, right = self.groups[keys], every[number] == labels
            found.append((trials, ConfigurationScores(trials[0].config, scores, by_seed, own, right)))
        return found

    def row(self, axis: str, **fields: Any) -> ConfigurationScores | None:
        """Return the configuration on an axis with these values, or None if its runs are incomplete."""
        for trials, row in self.rows:
            for trial in trials:
                if trial.axis == axis and all(getattr(trial.config, name) == one for name, one in fields.items()):
                    return row
        return None

    @property
    def full(self) -> ConfigurationScores | None:
        """The full model with the paper's m and λ."""
        return self.row("ablation", ablation="none")

    @cached_property
    def tables(self) -> dict[str, pd.DataFrame]:
        """All results as numbers: `table-2`, `table-3`, `figure-5`, `figure-6` (those requested) and `runs`.

        Scores are fractions of 1. NAME, NAME_std, NAME_low and NAME_high are the mean over the seeds, their standard
        deviation and the 95% interval over pairs and seeds.
        """
        made: dict[str, pd.DataFrame] = {}
        if 2 in self.request.tables:
            paper = published.TABLE_2.get(self.paper_dataset or "", {})
            made["table-2"] = table_2(
                paper, lambda head: self.row("head", head=head), self.request.preset_of, self.label_of
            )
        if 3 in self.request.tables:
            paper = published.TABLE_3.get(self.paper_dataset or "", {})
            made["table-3"] = table_3(paper, lambda ablation: self.row("ablation", ablation=ablation))
        for figure, axis in ((5, "m"), (6, "lam")):
            if figure in self.request.figures:
                values = getattr(self.request, axis)
                made[f"figure-{figure}"] = curve_table(axis, {one: self.row(axis, **{axis: one}) for one in values})
        runs = runs_table(self.trials, self.results, self.missing, self._predictions, self.classes)
        return {**made, "runs": runs}

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in order."""
        return tuple(self.sweep.definition.classes)

    def label_of(self, head: str) -> str:
        """Return the name of a head as tables write it, with what stands in for what these stores do not hold."""
        return label_of(head, self.sweep.definition.has, self.request.settings.get("scene"))

    @property
    def dataset(self) -> str:
        """The paper's data set, by its key in `published`, or the name of another one."""
        return self.paper_dataset or self.sweep.definition.dataset

    @property
    def paper_dataset(self) -> str | None:
        """The key in `published` of the paper's data set that this is; None for another one."""
        run = self.first
        source = run.record["dataset"].get("source") or {} if run is not None else {}
        kind = str(source.get("kind") or self.sweep.definition.dataset)
        return kind if kind in published.DATASETS and self.classes == LABELS else None

    @cached_property
    def first(self) -> Run | None:
        """The full model's first finished run, which shows what all runs have in common."""
        from ...train.runs.folder import load_run

        for trial in self.trials:
            if (result := self.results.get(trial.key)) is not None and result.run is not None:
                return load_run(result.run)
        return None

    @property
    def protocol(self) -> str:
        """A description of the protocol."""
        if (run := self.first) is None:
            return str(self.sweep.definition.protocol_used)
        split = {name: value for name, value in run.record["split"].items() if name != "fold"}
        return describe(split)

    def _predictions(self, key: str) -> pd.DataFrame:
        """Return the test predictions of a run."""
        return evaluate.read(self.path, key, self.classes)

    def _repr_html_(self) -> str:
        return "".join(f"<h3>{name}</h3>{table.to_html(index=False)}" for name, table in self.tables.items())

    @cached_property
    def _outcomes(self) -> tuple[list[str], NDArray[np.int64], dict[tuple[str, ...], NDArray[np.int64]]]:
        """Ids (N), labels (N,), and predicted classes of each configuration whose runs are complete, (S, N).

        Those of a head without a seed are (1, N).
        """
        ids: list[str] = []
        labels: NDArray[np.int64] | None = None
        predicted = {}
        folds = len(self.request.folds)
        for keys in self.groups:
            if any(key in self.missing for key in keys):
                continue
            tables = [self._predictions(key) for key in keys]  # by seed, then by fold
            by_seed = [pd.concat(tables[s : s + folds], ignore_index=True) for s in range(0, len(tables), folds)]
            if labels is None:
                ids, labels = by_seed[0]["id"].tolist(), numbers_of(by_seed[0]["label"], self.classes)
            for table in by_seed:
                if table["id"].tolist() != ids or not np.array_equal(numbers_of(table["label"], self.classes), labels):
                    apart = match(table["id"], ids).lines("pairs in them alone", "pairs in the others alone")
                    raise RunError(
                        f"the test predictions in {self.path / 'test'} are not of the same pairs",
                        expected="the same ids and labels in all of them",
                        found=f"others in those of {keys[0]}: {'; '.join(apart) or 'the same pairs with other labels'}",
                        next_step="reproduce into another folder with --out",
                    )
            predicted[keys] = np.stack([numbers_of(table["predicted"], self.classes) for table in by_seed])
        return ids, labels if labels is not None else np.array([], np.int64), predicted
