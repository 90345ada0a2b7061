"""The predictions and scores of a run, computed again from its checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import RunError
from ...tabular.matching import examples, match
from ..features.batches import ResidentFeatures
from ..features.features import Features
from ..loop import scores_by_target
from ..protocols.split import Split
from ..scoring import Scorer
from ..steps import predict
from .folder import Run
from .key import DIMS


def evaluate(run: Run, features: Features, device: str | torch.device = "cpu", part: str = "test") -> dict[str, Any]:
    """Return the scores of a part, computed again from the run's checkpoint; the same as in its `metrics.json`.

    Args:
        run: the run.
        features: of the stores that it was trained on (`Run.check_stores`), read with its m and keep_special.
        device: where to compute.
        part: `train`, `val` or `test`.

    Raises:
        RunError: the features do not fit the run: sizes, samples or labels.
    """
    split, predicted = predict_part(run, features, device, part)
    scorers = [Scorer(features.column(one.name), split.train, run.config.loss) for one in run.targets]
    return scores_by_target(scorers, split.rows(part), predicted, run.config.label_from)


def check_fit(run: Run, features: Features) -> None:
    """Raise RunError unless features have the sizes that a run was trained on."""
    for name in [*(DIMS[kind] for kind in sorted(run.inputs)), *sorted(run.head_config.uses)]:
        if (size := features.dims.get(name)) != (expected := getattr(run.head_config, name)):
            raise RunError(
                f"the features do not fit the run {run.path}",
                expected=f"{name} = {expected}",
                found=f"{name} = {size}",
                next_step="name the stores that the run was trained on",
            )


def predict_part(
    run: Run, features: Features, device: str | torch.device = "cpu", part: str = "test"
) -> tuple[Split, dict[str, NDArray[np.float64]]]:
    """Return the run's parts as rows of the features, and what the head's outputs say of a part: `steps.predict`.

    The arguments and errors are those of `evaluate`.
    """
    run.check_targets(features)
    head = run.head(device)
    check_fit(run, features)
    split = run.split(features.ids)
    rows = split.rows(part)
    recorded = run.predictions[run.predictions["part"] == part]
    label_of = dict(zip(recorded["id"], recorded["label"], strict=True))
    met = match((features.ids[row] for row in rows), label_of)
    if label_of and (met.ours or met.theirs):
        raise RunError(
            f"{run.path / 'predictions.csv'} does not hold the pairs of the {part} part in the run's split.csv",
            expected="the same ids in both",
            found="; ".join(met.lines("in split.csv only", "in predictions.csv only")),
            next_step="put the run's own files back, or train the run again",
        )
    changed = [
        features.ids[row] for row in rows if label_of and not run.has_label(features, row, label_of[features.ids[row]])
    ]
    if label_of and changed:
        raise RunError(
            f"the labels are not those of the run {run.path}",
            expected="the labels of its predictions.csv",
            found=f"another label of {len(changed)} pair{'s' * (len(changed) != 1)}: {examples(changed)}",
            next_step="train again on the new labels",
        )
    config = run.config
    resident = ResidentFeatures(
        features,
        torch.device(device),
        config.regions,
        config.max_words,
        config.targets,
        config.averages,
        config.lexicon_names,
        head.table,
        run.head_config.uses,
    )
    return split, predict(head, resident, rows, config.batch_for(features.dataset), run.targets)
