"""Nothing leaks within a batch: what any head says of a pair depends on no other pair, whatever order or size."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.itin_head import HEADS, Head
from itin.itin_head.gru.packing import Words
from itin.itin_head.head import HeadOutput
from itin.itin_head.heads.pooled import PooledHead
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.named import NamedRegions
from itin.train.lexicons.values import lexicon_values
from itin.train.loop import training_of
from itin.train.protocols.split import random_split
from itin.train.steps import ComputeOptions, predict

pytestmark = pytest.mark.usefixtures("one_thread")

N = 24
SMALL = TrainConfig(d=6, k=5, hidden=7, filters=3, m=3, max_words=6, epochs=1, batch_size=16, lr=0.05)
VADER = find_spec("vaderSentiment") is not None
LEXICONS = "shape"  # needs no package

READINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "more": {"dropout": 0.4, "word_dropout": 0.2, "lexical": 3, "lexicons": LEXICONS, "ensemble": 2},
    "other": {"mask": False, "gru_layers": 2, "pooling": "attention", "normalize": True, "context_gru": True},
}
"""Settings of which each head reads its own."""


@pytest.fixture(scope="module")
def features() -> Features:
    """Some images without regions, some texts without words or too long; with all that a head may read."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, size=N)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = [" ".join(rng.choice(["fine", "DAY", "rain", "so", "#sad", "!"], size=n)) for n in lengths]
    counts = rng.integers(0, 4, size=N)
    there = np.arange(3) < counts[:, None]
    objects, attributes = (np.where(there, rng.integers(3, size=(N, 3)), -1).astype(np.int32) for _ in range(2))
    names = {"objects": ["dog", "war", "hero"], "attributes": ["ugly", "lovely", "wooden"]}
    chances = np.where(there, rng.random((N, 3)), 0).astype(np.float32)
    return Features(
        ids=[f"s{i}" for i in range(N)],
        labels=np.sort(rng.integers(3, size=N)),
        regions=rng.normal(size=(N, 3, 6)).astype(np.float32),
        counts=counts,
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float32),
        offsets=offsets,
        context=rng.normal(size=(N, 4)).astype(np.float32),
        dataset="x",
        labelled=N,
        token_ids=rng.integers(12, size=offsets[-1]).astype(np.int32),
        texts=texts,
        lexicons=lexicon_values([LEXICONS, *(["vader"] if VADER else [])], texts),
        named=NamedRegions(objects, attributes, chances, names),
        sentence_ends=(3, 7),
        scene=rng.normal(size=(N, 5)).astype(np.float32),
    )


def trained(config: TrainConfig, features: Features) -> tuple[Head, ResidentFeatures, Any]:
    """The head after an epoch, with weights that are no longer those of its beginning."""
    training = training_of([config], features, random_split(features.ids, 0), "cpu", ComputeOptions())
    training.epoch(1)
    training.keep(0)
    return training.heads[0].eval(), training.resident.narrow(config.regions), training.targets


def orders() -> dict[str, np.ndarray]:
    """The samples in their order, which is that of the labels; reversed, shuffled, and each among copies of one."""
    rng = np.random.default_rng(1)
    some = np.concatenate([np.repeat(5, 8), rng.permutation(N), np.repeat(17, 5)])
    return {
        "by label": np.arange(N),
        "reversed": np.arange(N)[::-1].copy(),
        "shuffled": rng.permutation(N),
        "copies": some,
    }


def double(value: Any) -> Any:
    """The same inputs in float64."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, Words):
        return replace(value, x=value.x.double())
    if isinstance(value, tuple):  # of names
        return type(value)(*map(double, value))
    return value


def in_float64(head: Head, resident: ResidentFeatures, rows: np.ndarray, size: int) -> np.ndarray:
    with torch.inference_mode():
        batches = torch.from_numpy(rows).split(size)
        return torch.cat([head(*map(double, resident.batch(some).inputs)).logits for some in batches]).numpy()


def assert_alone(head: Head, resident: ResidentFeatures, targets: Any) -> None:
    """Assert that each pair has the prediction that it has alone, in float32 and in float64."""

    def in_float32(rows: np.ndarray, size: int) -> np.ndarray:
        return predict(head, resident, rows, size, targets)[targets[0].name]

    alone = in_float32(np.arange(N), 1)
    assert np.ptp(alone, axis=0).max() > 1e-3 or not list(head.parameters())
    for name, rows in orders().items():
        for size in (5, len(rows)):
            np.testing.assert_allclose(
                in_float32(rows, size), alone[rows], rtol=0, atol=1e-5, err_msg=f"{name}, {size}"
            )
    head = head.double()
    exact = in_float64(head, resident, np.arange(N), 1)
    for name, rows in orders().items():
        for size in (5, len(rows)):
            logits = in_float64(head, resident, rows, size)
            assert logits.dtype == np.float64
            np.testing.assert_allclose(logits, exact[rows], rtol=1e-12, atol=1e-12, err_msg=f"{name}, {size}")


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("head", HEADS)
def test_a_prediction_depends_on_no_other_pair(head: str, reading: str, features: Features) -> None:
    spec, settings = HEADS[head], dict(READINGS[reading])
    if spec.by_lexicon and not VADER:
        pytest.skip("needs itin[lexicons]")
    if "tokens" not in spec.inputs:
        settings.pop("lexicons", None)
    config = replace(SMALL, head=head, **settings)
    assert_alone(*trained(config, features))


class Whispering(PooledHead):
    """A head whose pairs see one another: from each logit the mean of the batch is taken, as some published ones do."""

    def forward(self, *batch: Any, **named: Any) -> HeadOutput:
        out = super().forward(*batch, **named)
        return out._replace(logits=out.logits - 0.01 * out.logits.mean(0))


def test_a_head_that_looks_at_its_neighbours_is_found(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    head, resident, targets = trained(replace(SMALL, head="pooled"), features)
    assert_alone(head, resident, targets)
    spy = Whispering(head.config).float()
    spy.load_state_dict(head.float().state_dict())
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_alone(spy, resident, targets)
