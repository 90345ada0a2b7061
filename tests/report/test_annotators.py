"""The annotators' agreement, against SciPy and cases counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from itin.report.annotators import annotator_ceiling, votes_of

MULTIPLE = Path(__file__).resolve().parents[3] / "shared/data/mvsa-labels/mvsa-multiple.labelResultAll.txt"


def table(rows: list[dict[str, str]]) -> pd.DataFrame:
    return pd.DataFrame({"id": [str(number) for number in range(len(rows))], "targets": rows})


def test_votes_are_the_means_of_each_annotators_labels() -> None:
    samples = table(
        [
            {"text-label-1": "positive", "image-label-1": "neutral", "text-label-2": "negative",
             "image-label-2": "negative"},
            {"text-label-1": "neutral", "image-label-1": "negative", "text-label-2": "positive"},
        ]
    )  # fmt: skip
    names = ["label", "text-label-1", "image-label-1", "text-label-2", "image-label-2", "intensity"]
    assert votes_of(samples, "text-intensity", names) == pytest.approx(np.array([[1, -1], [0, 1]]))
    both = votes_of(samples, "intensity", names)
    assert both == pytest.approx(np.array([[0.5, -1], [-0.5, np.nan]]), nan_ok=True)
    assert votes_of(samples, "image-intensity", [*names[:3], "text-label-2"]) is None  # one annotator
    assert votes_of(samples, "label", names) is None
    assert votes_of(samples, "intensity", ["label", "text-label", "image-label"]) is None


def test_ceiling_by_hand() -> None:
    """Two annotators: each is the other's mean, so the errors are the same; three pairs, one with a single vote."""
    found = annotator_ceiling([[1.0, 0.5], [-1.0, 0.0], [0.5, 0.5], [1.0, np.nan]])
    assert found is not None
    assert (found["annotators"], found["n"]) == (2, 3)
    assert found["mae"] == pytest.approx(0.5)
    assert found["rmse"] == pytest.approx((1.25 / 3) ** 0.5)
    assert found["pearson"] == pytest.approx(stats.pearsonr([1, -1, 0.5], [0.5, 0, 0.5]).statistic)
    json.dumps(found, allow_nan=False)


def test_ceiling_leaves_each_out_in_turn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.5, 400)
    votes = np.clip(np.round(truth[:, None] + rng.normal(0, 0.4, (400, 3))), -1, 1)
    found = annotator_ceiling(votes)
    assert found is not None
    sides = [(votes[:, one], votes[:, [k for k in range(3) if k != one]].mean(1)) for one in range(3)]
    assert found["mae"] == pytest.approx(np.mean([np.abs(own - rest).mean() for own, rest in sides]))
    assert found["pearson"] == pytest.approx(np.mean([stats.pearsonr(*side).statistic for side in sides]))
    assert found["spearman"] == pytest.approx(np.mean([stats.spearmanr(*side).statistic for side in sides]))
    # The others' mean has the levels -1, -0.5, 0, 0.5, 1: within 0.25 counts as 0.
    three = [np.mean(np.sign(own) == np.where(np.abs(rest) <= 0.25, 0, np.sign(rest))) for own, rest in sides]
    assert found["three_accuracy"] == pytest.approx(np.mean(three))


def test_alpha_bounds_the_correlation_with_the_mean() -> None:
    """Votes of a truth plus noise: alpha is r k / (1 + (k - 1) r), its root how the truth correlates with the mean."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 40_000)
    votes = truth[:, None] + rng.normal(0, 1.5, (40_000, 3))
    found = annotator_ceiling(votes, (-9.0, 9.0))
    assert found is not None
    r = 1 / (1 + 1.5**2)
    assert found["alpha"] == pytest.approx(3 * r / (1 + 2 * r), abs=0.01)
    assert stats.pearsonr(truth, votes.mean(1)).statistic == pytest.approx(found["alpha"] ** 0.5, abs=0.01)
    # By hand: votes 1, 0 and 0, 0 and 1, 1: variances 1/3 each, of the sums 1; 2 (1 - 2/3).
    by_hand = annotator_ceiling([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, np.nan]])
    assert by_hand is not None
    assert by_hand["alpha"] == pytest.approx(2 / 3)


def test_no_ceiling_without_a_second_vote() -> None:
    assert annotator_ceiling([[1.0, np.nan], [np.nan, 0.5]]) is None
    assert annotator_ceiling(np.zeros((4, 1))) is None
    found = annotator_ceiling(np.zeros((4, 3)))
    assert found is not None
    assert (found["mae"], found["pearson"], found["nonzero_accuracy"], found["alpha"]) == (0.0, None, None, None)


@pytest.mark.skipif(not MULTIPLE.is_file(), reason="needs shared/data/mvsa-labels")
def test_mvsa_multiple() -> None:
    """All 19,600 rows of the raw label file: three annotators, each counted here by itself."""
    numbers = {"positive": 1, "neutral": 0, "negative": -1}
    lines = MULTIPLE.read_text(encoding="ascii").splitlines()[1:]
    cells = [[cell.split(",") for cell in line.split("\t")[1:]] for line in lines]
    samples = table(
        [
            {f"{kind}-label-{k}": one[at] for k, one in enumerate(row, 1) for at, kind in enumerate(("text", "image"))}
            for row in cells
        ]
    )
    names = [f"{kind}-label-{k}" for kind in ("text", "image") for k in (1, 2, 3)]
    votes = votes_of(samples, "intensity", names)
    assert votes == pytest.approx(
        np.array([[np.mean([numbers[one] for one in cell]) for cell in row] for row in cells])
    )
    assert votes is not None
    assert len(np.unique(votes.mean(1).round(6))) == 13
    assert votes.mean(1).std() == pytest.approx(0.426, abs=5e-4)
    found = annotator_ceiling(votes)
    assert found is not None
    assert (found["annotators"], found["n"]) == (3, 19600)
    assert found["mae"] == pytest.approx(0.4513, abs=5e-5)
    assert found["pearson"] == pytest.approx(0.3644, abs=5e-5)
    assert found["ccc"] == pytest.approx(0.3556, abs=5e-5)
    assert found["alpha"] == pytest.approx(0.554, abs=5e-4)
    others = votes[:, :2].mean(1)
    assert np.abs(others - others.mean()).mean() < found["mae"]  # one vote is noisier than a constant
