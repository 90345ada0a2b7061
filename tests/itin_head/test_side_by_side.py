"""Heads side by side: each has the results and the gradients that it has alone."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from itin.itin_head import ABLATIONS, GATES, HeadConfig, ITINHead
from itin.itin_head.gru.packing import gather_words, pack_words
from itin.itin_head.outputs import prior
from itin.itin_head.side_by_side import SideBySide

from ..head_cases import CASES, LABEL, head_of
from ..head_reference import DIMS, batch_of, close, samples_of
from ..stacked import gradient_of

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = list(itertools.product(GATES, ABLATIONS))


def heads_of(kinds: list[tuple[str, str]]) -> list[ITINHead]:
    heads = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for j, (gate, ablation) in enumerate(kinds):
            head = ITINHead(HeadConfig(gate=gate, ablation=ablation, lam=j / 10, **DIMS)).double()
            with torch.no_grad():
                for parameter in head.parameters():
                    parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * 0.7)
            heads.append(head)
    return heads


class Batches:
    """J ragged batches of B samples: texts of length 0 and 1, images without regions, rubbish where nothing stands."""

    def __init__(self, J: int, B: int = 5, m: int = 3) -> None:
        rng = np.random.default_rng(3)
        lengths = rng.integers(0, 7, size=(J, B))
        lengths[0, :2] = 0, 1
        counts = rng.integers(0, m + 1, size=(J, B))
        values = rng.normal(size=(int(lengths.sum()), DIMS["token_dim"]))
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
        self.rows = torch.arange(J * B).view(J, B)
        self.values, self.offsets = torch.from_numpy(values), offsets
        self.regions = torch.from_numpy(rng.normal(size=(J, B, m, DIMS["region_dim"])))
        self.region_mask = torch.arange(m) < torch.from_numpy(counts)[..., None]
        self.regions[~self.region_mask] = float("nan")
        self.context = torch.from_numpy(rng.normal(size=(J, B, DIMS["context_dim"])))
        self.words = gather_words(self.values, offsets, self.rows)

    def alone(self, j: int) -> tuple[Any, ...]:
        words = gather_words(self.values, self.offsets, self.rows[j])
        return self.regions[j], words, None, self.context[j], self.region_mask[j]


def compare(heads: list[ITINHead], batches: Batches) -> None:
    stack = SideBySide(heads)
    logits = stack(batches.regions, batches.words, batches.context, batches.region_mask)
    logits.square().sum().backward()
    for j, head in enumerate(heads):
        alone = head(*batches.alone(j)).logits
        torch.testing.assert_close(logits[j], alone, rtol=1e-12, atol=1e-12)
        alone.square().sum().backward()
        for name, parameter in head.named_parameters():
            want = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradient_of(stack, name, j), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", EVERY)
def test_heads_of_one_kind(kind: tuple[str, str]) -> None:
    compare(heads_of([kind] * 3), Batches(3))


@pytest.mark.parametrize("kind", EVERY)
def test_weights_come_back_as_they_were(kind: tuple[str, str]) -> None:
    heads = heads_of([kind] * 2)
    stack = SideBySide(heads)
    for j, head in enumerate(heads):
        state = stack.state_of(j)
        assert list(state) == [name for name, _ in head.named_parameters()]
        assert all(torch.equal(state[name], value) for name, value in head.state_dict().items())


def test_all_regions_when_no_mask_is_given() -> None:
    heads, batches = heads_of([("scalar", "none")] * 2), Batches(2)
    stack = SideBySide(heads)
    regions = batches.regions.nan_to_num(0.5)
    every = torch.ones_like(batches.region_mask)
    arguments = (regions, batches.words, batches.context)
    assert torch.equal(stack(*arguments), stack(*arguments, every))
    with pytest.raises(ValueError, match=r"regions: expected \(J, B, m, region_dim\), got None"):
        stack(None, batches.words, batches.context)
    blind = SideBySide(heads_of([("scalar", "only-context")] * 2))
    assert torch.equal(blind(None, batches.words, batches.context), blind(*arguments))


def test_heads_must_have_one_size() -> None:
    with pytest.raises(ValueError, match="heads: expected at least one, got none"):
        SideBySide([])
    with pytest.raises(ValueError, match="expected configurations that differ in lam alone"):
        SideBySide([ITINHead(HeadConfig(**DIMS)), ITINHead(HeadConfig(**{**DIMS, "d": 6}))])


@pytest.mark.parametrize(("head", "reading"), [*CASES, ("majority", "paper")])
def test_side_by_side_is_each_alone(head: str, reading: str) -> None:
    heads = [head_of(head, reading, lam, seed) for lam, seed in ((0.1, 1), (0.7, 2), (0.1, 3))]
    for one in heads:
        one.begin(prior(LABEL, torch.tensor([0, 0, 1, 2])))
    batches = [batch_of(samples_of(lengths, [2, 3, 1]), 7, 3) for lengths in ([4, 1, 7], [0, 2, 5], [3, 3, 6])]
    regions, tokens, mask, context, region_mask = (torch.stack(each) for each in zip(*batches, strict=True))
    stack = SideBySide(heads).eval()
    logits = stack(regions, pack_words(tokens, mask), context, region_mask)
    outs = [one(*batch) for one, batch in zip(heads, batches, strict=True)]
    alone = torch.stack([out.logits for out in outs])
    close(logits, alone, 1e-11)
    if outs[0].further is not None:  # in training they stand behind
        alone = torch.stack([out.learned for out in outs])
        logits = stack.train()(regions, pack_words(tokens, mask), context, region_mask)
        close(logits, alone, 1e-11)
    if alone.requires_grad:
        mark = torch.randn(alone.shape, dtype=torch.float64)
        for out in (logits, alone):
            (out * mark).sum().backward()
    for j, one in enumerate(heads):
        assert one.lam == one.config.lam
        for name, parameter in one.named_parameters():
            close(gradient_of(stack, name, j), parameter.grad, 1e-11)
        state = stack.state_of(j)
        assert list(state) == list(one.state_dict())
        assert all(torch.equal(value, one.state_dict()[name]) for name, value in state.items())


def test_side_by_side_refuses_what_differs() -> None:
    with pytest.raises(ValueError, match="heads: expected at least one, got none"):
        SideBySide([])
    with pytest.raises(ValueError, match="expected configurations that differ in lam alone"):
        SideBySide([head_of("concat"), head_of("text-only")])
    stack = SideBySide([head_of("concat"), head_of("concat", seed=2)])
    words = pack_words(torch.zeros(2, 1, 3, 5).double(), torch.ones(2, 1, 3).bool())
    with pytest.raises(ValueError, match=r"regions: expected \(J, B, m, region_dim\), got None"):
        stack(None, words, torch.zeros(2, 1, 6).double())
