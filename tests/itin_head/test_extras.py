"""Lexicon values and the learned table in every head that reads text, against loops over numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.itin_head import HEADS, Head, HeadConfig, make
from itin.itin_head.extras import ExtraLogits, Extras
from itin.itin_head.gru.packing import gather_words
from itin.itin_head.side_by_side import SideBySide, SingleHead

from ..head_reference import mask_of
from ..stacked import gradient_of

SIZES: dict[str, Any] = {"region_dim": 7, "token_dim": 5, "context_dim": 6, "d": 4, "k": 3, "hidden": 5, "dropout": 0.0}
EXTRA: dict[str, Any] = {"lexicon_values": 4, "lexical": 3, "entries": 6}
READERS = [name for name, spec in HEADS.items() if "tokens" in spec.inputs and not spec.solved]
BLIND = [name for name, spec in HEADS.items() if "tokens" not in spec.inputs and not spec.by_lexicon]
NAN = float("nan")


def redrawn(config: HeadConfig, seed: int = 0) -> Head:
    head = make(config).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64, generator=generator) * 0.7)
    if head.extra is not None:
        if config.lexicon_values:
            values = torch.randn(9, config.lexicon_values, generator=generator)
            values[2:4, 1] = NAN
            values[:, -1] = 3.0
            head.extra.begin(values, torch.arange(config.entries) * 10 if config.lexical else None)
        elif config.lexical:
            head.extra.begin(torch.zeros(9, 0), torch.arange(config.entries) * 10)
    return head


class Batch:
    """Texts of 3, 0, 1 and 5 words: the third of unknown words, the last in an unknown language."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        lengths = [3, 0, 1, 5]
        offsets = torch.tensor([0, *np.cumsum(lengths)])
        self.tokens, self.offsets = torch.from_numpy(rng.normal(size=(9, 5))), offsets
        self.regions = torch.from_numpy(rng.normal(size=(4, 2, 7)))
        self.context = torch.from_numpy(rng.normal(size=(4, 6)))
        self.values = torch.from_numpy(rng.normal(size=(4, 4)).astype(np.float32))
        self.values[3] = NAN
        self.entries = torch.full((4, 2, 5), -1)
        self.entries[0, 0, :3] = torch.tensor([4, -1, 4])
        self.entries[0, 1, :3] = torch.tensor([-1, 2, -1])
        self.entries[3, 0] = torch.tensor([0, 1, 2, 3, -1])
        self.entries[3, 1] = torch.tensor([5, -1, 5, -1, -1])

    def inputs(self, rows: Tensor) -> tuple[Any, ...]:
        words = gather_words(self.tokens, self.offsets, rows)
        entries = self.entries[rows][..., : words.packing.n]
        return self.regions[rows], words, None, self.context[rows], None, None, Extras(self.values[rows], entries)


def by_hand(extra: ExtraLogits, values: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """W_l l + W_e e of one text, entry by entry."""
    state = {name: value.numpy() for name, value in extra.state_dict().items()}
    out = np.zeros(3)
    if "W_l.weight" in state:
        for number, value in enumerate(values):
            if not np.isnan(value):
                out += state["W_l.weight"][:, number] * (value - state["mean"][number]) * state["scale"][number]
    if "W_e.weight" in state and (known := [int(entry) for entry in entries.flatten() if entry >= 0]):
        out += state["W_e.weight"] @ np.mean([state["table"][entry] for entry in known], 0)
    return out


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("only", ["lexicons", "lexical", "both"])
def test_every_head_that_reads_text_adds_them(name: str, only: str) -> None:
    off = {"lexicons": {"lexical": 0}, "lexical": {"lexicon_values": 0}, "both": {}}[only]
    config = HeadConfig(head=name, **{**SIZES, **EXTRA, **off})
    head, batch = redrawn(config), Batch()
    assert head.extra is not None
    plain = make(replace(config, lexicon_values=0, lexical=0)).double().eval()
    plain.load_state_dict({key: value for key, value in head.state_dict().items() if not key.startswith("extra.")})
    rows = torch.arange(4)
    with torch.no_grad():
        got, without = (one(*batch.inputs(rows)).logits.numpy() for one in (head, plain))
    values = batch.values.double().numpy()[:, : config.lexicon_values or None]
    want = np.stack([by_hand(head.extra, values[row], batch.entries[row].numpy()) for row in range(4)])
    np.testing.assert_allclose(got - without, want, rtol=1e-10, atol=1e-12)
    assert np.abs(want[0]).min() > 1e-3
    if only != "lexicons":
        assert (want[1] == 0).all() == (only == "lexical")  # a text without a known word
    if only == "lexicons":
        assert (want[3] == 0).all()  # a text in an unknown language


@pytest.mark.parametrize("name", BLIND)
def test_heads_without_text_have_none(name: str) -> None:
    config = HeadConfig(head=name, **SIZES, **EXTRA)
    head = make(config)
    assert head.extra is None
    assert not any(key.startswith("extra") for key in head.state_dict())
    assert not {"lexical", "word_dropout", "lexicon_values"} & config.settings


def test_nothing_changes_without_them() -> None:
    for name in READERS:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            head = make(HeadConfig(head=name, **SIZES))
        assert not any(key.startswith("extra") for key in head.state_dict())
        batch = Batch()
        inputs = batch.inputs(torch.arange(4))
        head = head.double().eval()
        with torch.no_grad():
            assert torch.equal(head(*inputs).logits, head(*inputs[:-1]).logits)


def test_training_begins_with_the_head_alone() -> None:
    torch.manual_seed(0)
    extra = make(HeadConfig(head="text-only", **SIZES, **EXTRA)).extra
    batch = Batch()
    assert extra is not None
    extra.begin(batch.values, torch.arange(6))
    assert not extra.train()(Extras(batch.values, batch.entries)).any()


def test_scale_is_that_of_the_known_values() -> None:
    extra = redrawn(HeadConfig(head="text-only", **SIZES, **EXTRA)).extra
    assert extra is not None
    values = torch.tensor([[1.0, 2.0, 5.0, NAN], [3.0, NAN, 5.0, NAN], [8.0, 4.0, 5.0, NAN]])
    extra.begin(values, torch.arange(6))
    assert extra.mean.tolist() == pytest.approx([4.0, 3.0, 5.0, 0.0])
    assert extra.scale.tolist() == pytest.approx([1 / np.sqrt(26 / 3), 1.0, 0.0, 0.0])


@pytest.mark.parametrize("name", READERS)
def test_side_by_side_as_alone(name: str) -> None:
    config, batch = HeadConfig(head=name, **SIZES, **EXTRA), Batch()
    heads = [redrawn(replace(config, lam=j / 3), j) for j in range(3)]
    rows = torch.tensor([[0, 1, 2], [3, 0, 3], [2, 3, 1]])
    regions, words, _, context, _, _, extras = batch.inputs(rows)
    stack = SideBySide(heads)
    logits = stack(regions, words, context, None, extras)[..., :3]  # without those of a head's parts
    logits.square().sum().backward()
    for j, head in enumerate(heads):
        inputs = batch.inputs(rows[j])
        inputs = (*inputs[:-1], Extras(extras.values[j], extras.entries[j]))
        alone = head(*inputs).logits
        torch.testing.assert_close(logits[j], alone, rtol=1e-12, atol=1e-12)
        alone.square().sum().backward()
        for key, parameter in head.named_parameters():
            want = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradient_of(stack, key, j), want, rtol=1e-11, atol=1e-11)
        assert all(torch.equal(stack.state_of(j)[key], value) for key, value in head.state_dict().items())
    one = SingleHead(heads[0])(*(each[:1] for each in (regions,)), gather_words(batch.tokens, batch.offsets, rows[:1]),
                               context[:1], None, extras.each(lambda one: one[:1]))  # fmt: skip
    torch.testing.assert_close(one[0, :, :3], logits[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", READERS)
def test_a_text_alone_is_as_in_a_batch(name: str) -> None:
    head, batch = redrawn(HeadConfig(head=name, **SIZES, **EXTRA)), Batch()
    with torch.no_grad():
        every = head(*batch.inputs(torch.tensor([3, 1, 0, 2]))).logits
        for place, row in enumerate([3, 1, 0, 2]):
            alone = head(*batch.inputs(torch.tensor([row]))).logits[0]
            torch.testing.assert_close(every[place], alone, rtol=1e-12, atol=1e-12)


def test_word_dropout_drops_tokens_with_their_pairs() -> None:
    config = HeadConfig(head="text-only", **SIZES, **{**EXTRA, "lexicon_values": 0}, word_dropout=0.5)
    extra, batch = redrawn(config).extra, Batch()
    assert extra is not None
    extras = Extras(batch.values, batch.entries)
    assert torch.equal(extra(extras), extra(extras))  # none in evaluation
    extra.train()
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        got = extra(extras).detach().numpy()
        torch.manual_seed(seed)
        kept = mask_of(4, config.max_words, 0.5, None).numpy()[:, :5] > 0
        for row in (0, 3):
            entries = [int(batch.entries[row, 0, i]) for i in range(5) if kept[row, i]]
            entries += [int(batch.entries[row, 1, i]) for i in range(4) if kept[row, i] and kept[row, i + 1]]
            seen.add(len(entries))
            np.testing.assert_allclose(got[row], by_hand(extra, np.zeros(0), np.array(entries)), atol=1e-12)
    assert len(seen) > 3


def test_missing_extras_are_an_error() -> None:
    head, batch = redrawn(HeadConfig(head="text-only", **SIZES, **EXTRA)), Batch()
    with pytest.raises(ValueError, match="extras: expected lexicon values or entries of the learned table, got None"):
        head(*batch.inputs(torch.arange(4))[:-1])
