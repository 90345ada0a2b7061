"""The outputs of a head by target, against their formulas written out for one sample and one class at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from itin.itin_head.outputs import class_logits, cut, in_units, predicted, prior, scaled
from itin.targets import Target, outputs_of

CLASSES = Target("mood", "classes", ("a", "b", "c"))
ORDERED = Target("level", "ordered", ("none", "some", "much", "all"))
NUMBER = Target("score", "number", span=(1.0, 5.0))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def written_out(outputs: list[float]) -> list[float]:
    """P(y = k) of cumulative links: P(y > k) = sigmoid(η_k), η_k = o_1 - Σ_{j=2..k} log(1 + exp(o_j))."""
    above = [1.0]
    eta = outputs[0]
    for k, own in enumerate(outputs):
        eta -= math.log1p(math.exp(own)) if k else 0.0
        above.append(sigmoid(eta))
    above.append(0.0)
    return [above[k] - above[k + 1] for k in range(len(outputs) + 1)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.floats(-6, 6), min_size=3, max_size=3))
def test_ordered_classes_are_cumulative_links(outputs: list[float]) -> None:
    logits = class_logits(ORDERED, torch.tensor([outputs], dtype=torch.float64))
    np.testing.assert_allclose(logits.exp()[0], written_out(outputs), rtol=1e-9, atol=1e-12)
    assert float(logits.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_ordered_classes_stay_finite_far_out() -> None:
    outputs = torch.tensor([[80.0, -90.0, 60.0], [-80.0, -200.0, -200.0]], requires_grad=True)
    logits = class_logits(ORDERED, outputs)
    assert torch.isfinite(logits).all()
    (-logits[:, 1]).sum().backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_two_ordered_classes_are_a_logistic_regression() -> None:
    two = Target("sign", "ordered", ("below", "above"))
    assert two.outputs == 1
    chances = class_logits(two, torch.tensor([[0.7]], dtype=torch.float64)).softmax(-1)[0]
    assert chances.tolist() == pytest.approx([1 - sigmoid(0.7), sigmoid(0.7)], rel=1e-12)


def test_several_targets_stand_side_by_side() -> None:
    targets = [CLASSES, NUMBER, ORDERED]
    assert outputs_of(targets) == 3 + 1 + 3
    logits = torch.tensor([[0.1, 0.2, 0.3, -0.5, 1.0, 2.0, 3.0]], dtype=torch.float64)
    assert [(target.name, own.tolist()) for target, own in cut(logits, targets)] == [
        ("mood", [[0.1, 0.2, 0.3]]),
        ("score", [[-0.5]]),
        ("level", [[1.0, 2.0, 3.0]]),
    ]
    said = predicted(logits, targets)
    exps = np.exp([0.1, 0.2, 0.3])
    np.testing.assert_allclose(said["mood"], [exps / exps.sum()], rtol=1e-12)
    assert said["score"].tolist() == [3 - 0.5 * 2]  # the middle of the span, and half of it a unit
    np.testing.assert_allclose(said["level"], [written_out([1.0, 2.0, 3.0])], rtol=1e-9)


def test_no_number_lies_beyond_its_span() -> None:
    assert predicted(torch.tensor([[-1.5], [0.5], [9.0]]), [NUMBER])["score"].tolist() == [1.0, 4.0, 5.0]


def test_numbers_are_learnt_in_half_spans() -> None:
    values = np.array([1.0, 3.0, 5.0, 2.0])
    assert scaled(NUMBER, values).tolist() == [-1, 0, 1, -0.5]
    assert in_units(NUMBER, scaled(NUMBER, values)).tolist() == values.tolist()
    with pytest.raises(ValueError, match="expected a number, got classes"):
        scaled(CLASSES, values)


@pytest.mark.parametrize("target", [CLASSES, ORDERED])
def test_the_prior_says_the_frequencies(target: Target) -> None:
    values = torch.tensor([0, 2, 2, 1, 2, 0])
    logits = class_logits(target, prior(target, values)[None].double())
    counts = np.bincount(values.numpy(), minlength=len(target.classes)) + 0.5
    np.testing.assert_allclose(logits.softmax(-1)[0], counts / counts.sum(), rtol=1e-5)


def test_the_prior_of_a_number_is_its_mean() -> None:
    values = np.array([1.0, 5.0, 4.5])
    own = prior(NUMBER, torch.from_numpy(values))
    assert in_units(NUMBER, own.double().numpy()).tolist() == pytest.approx([values.mean()], rel=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "text"}, "kind: expected one of classes, ordered, number, got 'text'"),
        ({"kind": "number"}, "expected classes, or a span for a number"),
        ({"kind": "classes"}, "expected classes, or a span for a number"),
        ({"kind": "number", "span": (1.0, 1.0)}, "expected a span that goes upwards"),
        ({"kind": "number", "span": (0.0, 1.0), "classes": ("a",)}, "expected classes, or a span for a number"),
    ],
)
def test_targets_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target("x", **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("target", [CLASSES, ORDERED, NUMBER])
def test_a_target_comes_back_from_its_record(target: Target) -> None:
    assert Target.from_dict(target.to_dict()) == target
