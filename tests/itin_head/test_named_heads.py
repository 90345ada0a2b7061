"""The heads that read names of regions and ends of sentences: hsan and the inputs of lexicon against NumPy loops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.itin_head import Head, HeadConfig, make
from itin.itin_head.extras import Extras
from itin.itin_head.gru.packing import pack_words
from itin.itin_head.heads.lexicon import LexiconHead
from itin.itin_head.side_by_side import SideBySide, SingleHead
from itin.itin_head.solved import Lesson
from itin.targets import Target

from ..head_reference import DIMS, batch_of, close, redraw, samples_of
from ..stacked import gradient_of
from ..table2_reference import hsan

SAMPLES = samples_of([6, 1, 7, 0, 3], [2, 3, 0, 1, 3])
OBJECTS = [[3, -1], [0, 1, 1], [], [2], [-1, -1, 3]]
ATTRIBUTES = [[1, 0], [-1, 1, 0], [], [-1], [-1, 1, 1]]
CHANCES = [[0.5, 0.0], [0.0, 0.25, 0.75], [], [0.0], [0.0, 0.0, 0.1]]
LENGTHS = [[2, 3, 1], [1], [7], [], [1, 2]]
"""Of the sentences of each text."""
SIZES = {"objects": 4, "attributes": 2, "sentence_ends": 3}
NAMES = {"objects": ["dog", "war", "hero", "table"], "attributes": ["ugly", "lovely"]}
VALUES = {"objects": np.array([0.0, -0.6, 0.5, 0.0]), "attributes": np.array([-0.4, 0.7])}


def extras_of(rows: list[int], n: int, m: int, values: Tensor | None = None, rubbish: int = -1) -> Extras:
    """Of some samples, padded to n words and m regions, with rubbish there where it may be."""

    def padded(lists: list[list[Any]], size: int, filler: float, dtype: torch.dtype) -> Tensor:
        return torch.tensor([[*lists[row], *[filler] * (size - len(lists[row]))] for row in rows], dtype=dtype)

    sentences = [[number for number, length in enumerate(each) for _ in range(length)] for each in LENGTHS]
    return Extras(
        torch.zeros(len(rows), 0) if values is None else values[rows],
        torch.zeros(len(rows), 2, 0, dtype=torch.int64),
        padded(OBJECTS, m, rubbish, torch.int64),
        padded(ATTRIBUTES, m, rubbish, torch.int64),
        padded(CHANCES, m, 9.0 if rubbish >= 0 else 0.0, torch.float64),
        padded(sentences, n, -1, torch.int64),
    )


def hsan_of(seed: int = 1, **changes: Any) -> Head:
    made = make(HeadConfig(**{"head": "hsan", **DIMS, "max_words": 9, **SIZES, **changes})).double()
    redraw(made, seed)
    return made.eval()


# hsan ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("without", [[], ["attributes"], ["objects", "attributes"], ["sentence_ends"], list(SIZES)])
def test_hsan_is_its_equations(without: list[str]) -> None:
    made = hsan_of(**dict.fromkeys(without, 0))
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    assert ("E_o" in p, "E_a" in p) == ("objects" not in without, "attributes" not in without)
    out = made(*batch_of(SAMPLES, 7, 3), None, extras_of([0, 1, 2, 3, 4], 7, 3))
    for b, (f, x, V) in enumerate(SAMPLES):
        want = hsan(
            made.config,
            p,
            list(f),
            list(x),
            V,
            () if "objects" in without else OBJECTS[b],
            () if "attributes" in without else ATTRIBUTES[b],
            () if "sentence_ends" in without else LENGTHS[b],
        )
        close(out.logits[b], want["logits"])
        close(out.fused[b], want["fused"])
        for name in ("words", "sentences"):
            close(getattr(out, name)[b, : len(x)], want[name])
            assert not getattr(out, name)[b, len(x) :].any()
    said = made(*batch_of(SAMPLES, 7, 3), None, extras_of([0, 1, 2, 3, 4], 7, 3)).sentences[0, :6].tolist()
    assert len({round(one, 9) for one in said}) == (1 if "sentence_ends" in without else 3)


def test_padding_without_mask_is_a_sentence_of_its_own() -> None:
    made = hsan_of(mask=False)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    out = made(*batch_of(SAMPLES, 7, 3), None, extras_of([0, 1, 2, 3, 4], 7, 3))
    for b, (f, x, V) in enumerate(SAMPLES):
        words = [*x, *[np.zeros(5)] * (9 - len(x))]
        want = hsan(made.config, p, list(f), words, V, OBJECTS[b], ATTRIBUTES[b], [*LENGTHS[b], 9 - len(x)])
        close(out.logits[b], want["logits"])
        close(out.sentences[b], want["sentences"])


def test_padding_order_and_company_change_nothing() -> None:
    made = hsan_of()
    results = []
    for rows, n, m, rubbish in (([0, 1, 2, 3, 4], 7, 3, -1), ([3, 0, 4, 1, 2], 9, 6, 1)):
        made.zero_grad()
        samples = [SAMPLES[row] for row in rows]
        out = made(*batch_of(samples, n, m, float("nan")), None, extras_of(rows, n, m, rubbish=rubbish))
        out.logits.square().sum().backward()
        gradients = {name: one.grad.clone() for name, one in made.named_parameters() if one.grad is not None}
        results.append((out.logits[torch.tensor(rows).argsort()].detach(), gradients))
    (logits, gradients), (others, more) = results
    close(others, logits)
    assert gradients.keys() == more.keys() == dict(made.named_parameters()).keys()
    for name, gradient in gradients.items():
        close(more[name], gradient)
        assert gradient.any() or name == "attend_s.W_k.bias", name
    for row, sample in enumerate(SAMPLES):
        n, m = len(sample[1]), len(sample[0])
        close(made(*batch_of([sample]), None, extras_of([row], n, m)).logits, logits[row : row + 1])


def test_hsan_side_by_side_as_alone() -> None:
    heads = [hsan_of(seed) for seed in range(3)]
    orders = [[0, 1, 2], [4, 3, 0], [2, 2, 4]]
    batches = [batch_of([SAMPLES[row] for row in order], 7, 3, 0.0) for order in orders]
    every = [extras_of(order, 7, 3) for order in orders]
    regions, tokens, mask, context, region_mask = (torch.stack(each) for each in zip(*batches, strict=True))
    together = Extras(*(torch.stack(each) for each in zip(*(one[:-1] for one in every), strict=True)))  # no scene
    stack = SideBySide(heads)
    logits = stack(regions, pack_words(tokens, mask), context, region_mask, together)
    logits.square().sum().backward()
    for j, head in enumerate(heads):
        alone = head(*batches[j], None, every[j]).logits
        close(logits[j], alone, 1e-12)
        alone.square().sum().backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None
            close(gradient_of(stack, name, j), parameter.grad, 1e-11)
    own = together.each(lambda one: one[:1])
    single = SingleHead(heads[0])(regions[:1], pack_words(tokens[:1], mask[:1]), context[:1], region_mask[:1], own)
    close(single[0], logits[0], 1e-12)


def test_missing_extras_of_hsan_are_an_error() -> None:
    batch, extras = batch_of(SAMPLES, 7, 3), extras_of([0, 1, 2, 3, 4], 7, 3)
    with pytest.raises(ValueError, match="extras: expected the objects of regions, got None"):
        hsan_of()(*batch)
    with pytest.raises(ValueError, match="extras: expected the attributes of regions, got None"):
        hsan_of()(*batch, None, extras._replace(attributes=None))
    with pytest.raises(ValueError, match="extras: expected the sentences of words, got None"):
        hsan_of()(*batch, None, extras._replace(sentences=None))


# lexicon -------------------------------------------------------------------------------------------------------------

CLASSES = (Target(classes=("a", "b", "c")),)
COLUMNS = [f"vader {name}" for name in ("neg", "neu", "pos", "compound")]


def values_of_text() -> Tensor:
    values = torch.from_numpy(np.random.default_rng(5).normal(size=(5, 4)) + 1)
    values[3] = float("nan")  # in another language
    return values


def lexicon_of(rows: list[int], **changes: Any) -> LexiconHead:
    """A head that has measured some samples as its training part."""
    config = HeadConfig(**{"head": "lexicon", "lexicon_values": 4, **DIMS, **SIZES, **changes})
    made = make(config)
    assert isinstance(made, LexiconHead)
    named = "attributes" in config.uses
    made.learn(Lesson([], CLASSES, COLUMNS, NAMES if named else {}, VALUES if named else {}))
    made.scale(inputs(rows[i : i + 2]) for i in range(0, len(rows), 2))
    draws = torch.Generator().manual_seed(3)
    for buffer in (made.weight, made.bias):
        buffer.copy_(torch.randn(buffer.shape, generator=draws, dtype=torch.float64))
    return made


def inputs(rows: list[int], n: int = 7, m: int = 3, rubbish: int = -1) -> Any:
    regions, tokens, mask, context, region_mask = batch_of([SAMPLES[row] for row in rows], n, m, float("nan"))
    return regions, tokens, mask, context, region_mask, None, extras_of(rows, n, m, values_of_text(), rubbish)


def sums_by_hand(row: int) -> tuple[float, float]:
    positive = negative = 0.0
    for o, a, p in zip(OBJECTS[row], ATTRIBUTES[row], CHANCES[row], strict=True):
        if o >= 0 and a >= 0:
            v = VALUES["attributes"][a] + VALUES["objects"][o]
            positive += p * v if v > 0 else 0
            negative += p * v if v < 0 else 0
    return positive, negative


@pytest.mark.parametrize("named", [True, False])
def test_inputs_of_lexicon(named: bool) -> None:
    """Sums of the pairs by sign over their deviation, and the text's values standardised, 0 where unknown."""
    train = [0, 1, 3, 4]
    made = lexicon_of(train, **({} if named else {"attributes": 0}))
    X = made.matrix(inputs([0, 1, 2, 3, 4])).toarray()
    sums = np.array([sums_by_hand(row) for row in range(5)])
    assert (sums != 0).any(0).all()
    values = values_of_text().numpy()
    known = [row for row in train if row != 3]
    l = (values - values[known].mean(0)) / values[known].std(0)  # noqa: E741
    l[3] = 0
    want = np.hstack([sums / sums[train].std(0), l]) if named else l
    np.testing.assert_allclose(X, want, rtol=0, atol=1e-10)
    logits = made(*inputs([0, 1, 2, 3, 4])).logits.numpy()
    np.testing.assert_allclose(logits, want @ made.weight.numpy().T + made.bias.numpy(), rtol=0, atol=1e-10)
    assert made.vocabulary["objects"] == (NAMES["objects"] if named else [])


def test_padding_and_order_change_nothing_of_lexicon() -> None:
    made = lexicon_of([0, 1, 3, 4])
    logits = made(*inputs([0, 1, 2, 3, 4])).logits
    other = made(*inputs([3, 0, 4, 1, 2], 9, 6, rubbish=1)).logits
    close(other, logits[[3, 0, 4, 1, 2]])
    for row in range(5):
        close(made(*inputs([row])).logits, logits[row : row + 1])


def test_reasons_of_lexicon_are_pairs_and_values() -> None:
    """They add up to z of the predicted class above the mean, but for b; a pair that stands there twice is added."""
    made = lexicon_of([0, 1, 3, 4])
    batch = inputs([0, 1, 2, 3, 4])
    z = made.matrix(batch) @ made.weight.numpy().T
    chosen = (z + made.bias.numpy()).argmax(1)
    reasons = made.reasons(*batch)
    assert [list(one)[:-4] for one in reasons] == [
        ["lovely table"],
        ["ugly war", "lovely war"],
        [],
        [],
        ["lovely table"],
    ]
    for row, one in enumerate(reasons):
        assert list(one)[-4:] == COLUMNS
        assert sum(one.values()) == pytest.approx(z[row, chosen[row]] - z[row].mean(), abs=1e-10)
    (twice,) = made.reasons(*inputs([0])[:-1], inputs([0])[-1]._replace(
        objects=torch.tensor([[3, 3, 1]]), attributes=torch.tensor([[1, 1, -1]]),
        chances=torch.tensor([[0.5, 0.25, 0.0]]),
    ))  # fmt: skip
    assert twice["lovely table"] == pytest.approx(1.5 * reasons[0]["lovely table"])


def test_missing_extras_of_lexicon_are_an_error() -> None:
    made, batch = lexicon_of([0, 1]), inputs([0])
    with pytest.raises(ValueError, match="extras: expected lexicon values, got None"):
        made(*batch[:-1])
    with pytest.raises(ValueError, match="extras: expected the names of regions, got None"):
        made(*batch[:-1], batch[-1]._replace(chances=None))


def test_what_is_read_depends_on_what_there_is() -> None:
    config = HeadConfig(head="lexicon", lexicon_values=4)
    assert set(config.inputs) == {"regions"}
    assert not config.reads
    assert not config.uses
    named = replace(config, **SIZES)  # type: ignore[arg-type]
    assert set(named.reads) == {"regions"}
    assert set(named.uses) == {"attributes"}
    assert not replace(named, attributes=0).reads
    assert set(HeadConfig(head="hsan", **SIZES).uses) == set(SIZES)  # type: ignore[arg-type]
    assert not HeadConfig(head="itin", **SIZES).uses  # type: ignore[arg-type]
