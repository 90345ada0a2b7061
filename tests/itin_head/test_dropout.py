"""What each head drops in training: by the equations on what is left, with a mask of its own for each pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from itin.itin_head import HEADS, HeadConfig, make
from itin.itin_head.gru.packing import pack_words
from itin.itin_head.head import Text
from itin.itin_head.side_by_side import SideBySide

from ..head_cases import SAMPLES, SIZES, head_of
from ..head_reference import batch_of, close, interaction, linear, mask_of, mlp, redraw, samples_of
from ..stacked import gradient_of


def test_dropout_of_itin_plus_is_of_what_it_reads_and_of_what_is_fused() -> None:
    """Masks for t, V, words, regions and F, in turn; against the same equations on what they leave."""
    made = head_of("itin-plus")
    dropping = make(replace(made.config, dropout=0.5)).double()
    dropping.load_state_dict(made.state_dict())
    batch = batch_of(SAMPLES, 7, 3)
    assert torch.equal(dropping.eval()(*batch).logits, made(*batch).logits)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = dropping.train()(*batch).logits
        torch.manual_seed(0)
        keep = [mask_of(5, n, 0.5, None).numpy() / 0.5 for n in (5, 6, 5, 7, 15)]
    for b, (f, x, V) in enumerate(SAMPLES):
        own = [(one - p["text_mean"]) / p["text_sd"] for one in x]
        t = np.mean(own, 0) if own else np.zeros(5)
        v = (V - p["context_mean"]) / p["context_sd"]
        seen = np.array([keep[3][b] * (one - p["regions_mean"]) / p["regions_sd"] for one in f])
        a = interaction(made.config, p, seen, [linear(p, "W_w", keep[2][b] * one) for one in own])[1]
        F = np.concatenate([mlp(p, "mlp_t", keep[0][b] * t), mlp(p, "mlp_v", keep[1][b] * v), mlp(p, "mlp_a", a)])
        close(logits[b], linear(p, "W_f", keep[4][b] * F))


def test_dropout_of_pooled_is_of_its_inputs_and_of_what_is_fused() -> None:
    made = head_of("pooled")
    dropping = make(replace(made.config, dropout=0.5)).double()
    dropping.load_state_dict(made.state_dict())
    batch = batch_of(SAMPLES, 7, 3)
    assert torch.equal(dropping.eval()(*batch).logits, made(*batch).logits)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits = dropping.train()(*batch).logits
        torch.manual_seed(0)
        keep = [mask_of(5, n, 0.5, None).numpy() / 0.5 for n in (5, 6, 10)]
    for b, (_, x, V) in enumerate(SAMPLES):
        t = (x.mean(0) - p["text_mean"]) / p["text_sd"] if len(x) else np.zeros(5)
        v = (V - p["context_mean"]) / p["context_sd"]
        F = np.concatenate([mlp(p, "mlp_t", keep[0][b] * t), mlp(p, "mlp_v", keep[1][b] * v)])
        close(logits[b], linear(p, "W_f", keep[2][b] * F))


def test_dropout_stands_between_layers_in_training_alone() -> None:
    made = head_of("itin", "official")
    batch = batch_of(SAMPLES, 7, 3)
    still = made(*batch).logits
    made.train()
    assert torch.equal(made.eval()(*batch).logits, still)
    made.train()
    torch.manual_seed(3)
    moved = made(*batch).logits
    assert not torch.allclose(moved, still)
    torch.manual_seed(3)
    assert torch.equal(made(*batch).logits, moved)
    single = head_of("itin").train()
    assert torch.equal(single(*batch).logits, single.eval()(*batch).logits)


def test_dropout_of_the_last_input() -> None:
    """cnn-multi drops half of F in training and doubles the rest, and drops nothing else."""
    made = make(HeadConfig(head="cnn-multi", dropout=0.5, **SIZES)).double()  # type: ignore[arg-type]
    redraw(made)
    batch = batch_of(SAMPLES, 7, 3)
    still, seen = made.eval()(*batch), []
    made.W_f.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    assert torch.equal(made.train()(*batch).fused, still.fused)
    given = seen[0]
    assert torch.equal(given[given != 0], 2 * still.fused[given != 0])
    assert 0 < int((given[still.fused != 0] == 0).sum()) < int((still.fused != 0).sum())


@pytest.mark.parametrize("head", [name for name, spec in HEADS.items() if "dropout" in spec.settings])
def test_dropout_is_of_inputs_by_sample_and_of_what_is_fused(head: str) -> None:
    """Masks of 0 and 1 / (1 - p) from the head's generator: regions, words with S, V, then F; against multiplying."""
    made = make(HeadConfig(head=head, dropout=0.25, **SIZES)).double()  # type: ignore[arg-type]
    if made.own_dropout:
        return
    redraw(made)
    regions, tokens, mask, context, region_mask = batch_of(SAMPLES, 7, 3, rubbish=float("nan"))
    made.generators = [torch.Generator().manual_seed(5)]
    got = made.train()(regions, tokens, mask, context, region_mask)
    draws = torch.Generator().manual_seed(5)

    def keep(size: int) -> torch.Tensor:
        return mask_of(len(SAMPLES), size, 0.25, draws) / 0.75

    inputs, text = made.config.inputs, None
    if "regions" in inputs:
        regions = regions.masked_fill(~region_mask[..., None], 0) * keep(regions.shape[2])[:, None]
    if "tokens" in inputs:
        text = made.read(pack_words(tokens, mask))
        own = keep(text.W.shape[2])
        text = Text(text.W * own[:, None], text.S * own, text.mask)
    if "context" in inputs:
        context = context * keep(context.shape[1])
    still = made.eval().join(
        *(
            each if name in inputs else None
            for name, each in (("regions", regions), ("regions", region_mask), ("tokens", text), ("context", context))
        )
    )
    close(got.fused, still.fused, 1e-12)
    close(got.logits, made.W_f(still.fused * keep(still.fused.shape[1])), 1e-12)
    assert 0.1 < float((keep(400) == 0).double().mean()) < 0.4


def test_dropconnect_drops_weights_of_each_pair() -> None:
    made = make(HeadConfig(head="dnn-lr", dropout=0.5, **{**SIZES, "hidden": 1})).double()  # type: ignore[arg-type]
    redraw(made)
    nn.init.constant_(made.W_1[0].bias, 9.0)
    batch = batch_of(SAMPLES, 7, 3)
    still, moved = made.eval()(*batch).further, made.train()(*batch).further
    assert torch.equal(moved[:, 0], still[:, 0])
    factor = (moved[:, 1] - made.W_2.bias) / (still[:, 1] - made.W_2.bias)
    assert torch.allclose(factor, factor.round())
    assert {*factor.round().flatten().tolist()} == {0.0, 2.0}
    assert len({tuple(row) for row in factor.round().tolist()}) > 1


@pytest.mark.parametrize("head", [name for name, spec in HEADS.items() if "dropout" in spec.settings])
def test_side_by_side_has_the_masks_of_each_alone(head: str) -> None:
    """Whatever the length of the other heads' texts, and between the layers of a GRU too."""
    config = HeadConfig(head=head, dropout=0.4, gru_layers=2, gru_dropout=0.3, context_gru=True, **SIZES)  # type: ignore[arg-type]
    heads = [make(config).double().train() for _ in range(3)]
    for seed, one in enumerate(heads):
        redraw(one, seed)
        one.generators = [torch.Generator().manual_seed(seed)]
    lengths = ([4, 1, 2], [0, 2, 5], [3, 3, 6])
    batches = [batch_of(samples_of(words, [2, 3, 1]), max(words), 3) for words in lengths]
    wide = [batch_of(samples_of(words, [2, 3, 1]), 7, 3) for words in lengths]
    regions, tokens, mask, context, region_mask = (torch.stack(each) for each in zip(*wide, strict=True))
    stack = SideBySide(heads, generators=[torch.Generator().manual_seed(seed) for seed in range(3)])
    still = stack.eval()(regions, pack_words(tokens, mask), context, region_mask)
    for _ in range(2):  # the generators go on
        logits = stack.train()(regions, pack_words(tokens, mask), context, region_mask)
        alone = torch.stack([one.train()(*batch).learned for one, batch in zip(heads, batches, strict=True)])
        close(logits, alone, 1e-11)
        assert not torch.allclose(logits[..., : still.shape[-1]], still)
    alone.sum().backward()
    logits.sum().backward()
    for j, one in enumerate(heads):
        for name, parameter in one.named_parameters():
            close(gradient_of(stack, name, j), parameter.grad, 1e-11)
