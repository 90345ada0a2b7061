"""Every head and reading against its equations, written out below in NumPy, one sample and one loop at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from itin.itin_head import HEADS, HeadConfig, make
from itin.itin_head.gru.packing import pack_words
from itin.itin_head.outputs import prior
from itin.train.presets import PRESETS

from ..head_cases import CASES, LABEL, OFFICIAL, SAMPLES, SIZES, TEXTS, head_of
from ..head_reference import (
    Array,
    Weights,
    attend,
    batch_of,
    close,
    gated,
    interaction,
    linear,
    mlp,
    pooled,
    recurrence,
    redraw,
    samples_of,
)
from ..table2_reference import SYSTEMS

# The equations -------------------------------------------------------------------------------------------------------


def read(p: Weights, gru: str, layers: int, x: list[Array], d: int) -> list[Array]:
    """Layers 2 and up read the two states of the layer below; at the end they are averaged."""
    for layer in range(layers):
        forward = recurrence(p, gru, f"l{layer}", x, d)
        backward = recurrence(p, gru, f"l{layer}_reverse", x[::-1], d)[::-1]
        x = [np.concatenate(both) for both in zip(forward, backward, strict=True)]
    return [(state[:d] + state[d:]) / 2 for state in x]


def equations(config: HeadConfig, p: Weights, f: Array, x: Array, V: Array) -> dict[str, Array]:
    words = list(x)
    if not config.mask:
        words += [np.zeros(config.token_dim)] * (config.max_words - len(words))
    if config.head in SYSTEMS:
        return SYSTEMS[config.head](config, p, list(f), words, V)
    d, lam, out = config.d, config.lam, {}
    mean_f = f.mean(0) if len(f) else np.zeros(config.region_dim)
    if config.head in ("pooled", "itin-plus"):
        return pooled(config, p, f, x, V)
    if config.head != "image-only":
        w = read(p, "gru", config.gru_layers, words, d)
        own = read(p, "gru_s", config.gru_layers, words, d) if config.context_gru else w
        S = sum(own, np.zeros(d)) / max(len(own), 1)
    if config.head == "concat":
        F = mlp(p, "mlp", np.concatenate([mean_f, S, V]))
    elif config.head == "text-only":
        F = mlp(p, "mlp", S)
    elif config.head == "image-only":
        F = mlp(p, "mlp", np.concatenate([mean_f, V]))
    else:
        out, C = interaction(config, p, f, w)
        joined_v, joined_s = [V, C], [S, C]
        if config.head == "global-local":
            v, R = linear(p, "W_v", V), [linear(p, "W_r", one) for one in f]
            u_v = attend(p, p["W_hat_v.weight"] @ v, "W_hat_t", w, config.k)[1] if w else np.zeros(d)
            u_s = attend(p, p["W_hat_s.weight"] @ S, "W_hat_r", R, config.k)[1] if R else np.zeros(d)
            joined_v.append(gated(config, p, "W_ov", v, u_v)[1])
            joined_s.append(gated(config, p, "W_os", S, u_s)[1])
        F = lam * mlp(p, "mlp_v", np.concatenate(joined_v)) + (1 - lam) * mlp(p, "mlp_s", np.concatenate(joined_s))
    return {"logits": linear(p, "W_f", F), "fused": F, **out}


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "reading"), CASES)
def test_equations(head: str, reading: str) -> None:
    made = head_of(head, reading)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    out = made(*batch_of(SAMPLES, 7, 3))
    for b, (f, x, V) in enumerate(SAMPLES):
        want = equations(made.config, p, f, x, V)
        m, n = len(f), made.config.max_words if not made.config.mask else len(x)
        lengths = {"alignment": (m, n), "gate": (m,), "attention": (m,), "words": (n,), "sentences": (n,)}
        for name, value in out._asdict().items():
            if name not in want:
                assert value is None, name
            elif name not in lengths:
                close(value[b], want[name])
            else:
                there = tuple(slice(length) for length in lengths[name])
                if m or name in ("words", "sentences"):
                    close(value[b][there], want[name])
                rest = value[b].clone()
                rest[there] = 0
                assert not rest.any()


def test_official_is_the_demos_architecture() -> None:
    """Two layers, a second GRU, norms, attention among the rows of U, no bias of W_o, four pooling heads, no mask."""
    shapes = {name: tuple(value.shape) for name, value in head_of("itin", "official").state_dict().items()}
    assert {name.split(".")[0] for name in shapes} == {
        *("gru", "gru_s", "W_r", "W_hat_r", "W_hat_t", "W_query", "W_key", "W_o", "Tran_z", "mlp_v", "mlp_s", "W_f"),
    }
    assert shapes["gru.weight_ih_l1_reverse"] == shapes["gru_s.weight_ih_l1"] == (12, 8)
    assert "W_o.bias" not in shapes
    assert shapes["Tran_z.2.weight"] == (4, 4)
    assert PRESETS["official"]["keep_special"]
    assert PRESETS["official"]["center_crop"]
    out = head_of("itin", "official")(*batch_of(SAMPLES, 7, 3))
    assert out.alignment.shape == (5, 3, 9)
    assert ((out.gate == 0) | (out.gate > 0.268)).all()  # r and u have norm 1, so |r . u| <= 1
    assert (out.gate < 0.732).all()


def test_majority_knows_the_frequencies() -> None:
    head = make(HeadConfig(head="majority", **SIZES))
    head.begin(prior(LABEL, torch.tensor([2, 2, 0, 2, 2])))
    out = head(*(a.float() if a.is_floating_point() else a for a in batch_of(SAMPLES, 7, 3)))
    close(out.logits.softmax(1), torch.tensor([[1.5, 0.5, 4.5]]).expand(5, 3) / 6.5, 1e-6)
    assert not list(head.parameters())
    again = make(head.config)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(*batch_of(SAMPLES, 7, 3)).logits, out.logits)


def test_pooled_measures_the_training_part() -> None:
    """μ and σ over all texts that have words and over all V, whatever the batches; 1 where nothing varies."""
    samples = [(f, x, np.append(V[:-1], 3.0)) for f, x, V in SAMPLES]
    batches = [batch_of(some) for some in (samples[:2], samples[2:3], samples[3:])]
    made = make(HeadConfig(head="pooled", **SIZES)).double()
    made.scale((None, pack_words(tokens, mask), None, context, None, None) for _, tokens, mask, context, _ in batches)
    texts = np.stack([x.mean(0) for _, x, _ in samples if len(x)])
    V = np.stack([V for *_, V in samples])
    assert len(texts) == 4
    close(made.text_mean, texts.mean(0))
    close(made.text_sd, texts.std(0))
    close(made.context_mean, V.mean(0))
    close(made.context_sd, np.append(V.std(0)[:-1], 1.0))
    none = make(HeadConfig(head="pooled", **SIZES))
    none.scale([(None, pack_words(torch.zeros(2, 0, 5), torch.zeros(2, 0).bool()), None, torch.ones(2, 6), None, None)])
    close(none.text_sd, torch.ones(5))
    close(none.context_mean, torch.ones(6))


def test_attention_begins_with_the_mean() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        mean = make(HeadConfig(head="pooled", **SIZES)).double()
        torch.manual_seed(0)
        attention = make(HeadConfig(head="pooled", pooling="attention", **SIZES)).double()
    batch = batch_of(SAMPLES, 7, 3)
    close(attention(*batch).logits, mean(*batch).logits, 1e-12)
    attention(*batch).logits.square().sum().backward()
    assert attention.q.grad.abs().min() > 0


def test_itin_plus_begins_with_pooled() -> None:
    """The same weights drawn, and what is added at zero: the same outputs, and a branch that learns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        plain = make(HeadConfig(head="pooled", **SIZES)).double()
        torch.manual_seed(0)
        plus = make(HeadConfig(head="itin-plus", **SIZES)).double()
    batch = batch_of(SAMPLES, 7, 3)
    close(plus(*batch).logits, plain(*batch).logits, 1e-12)
    plus(*batch).logits.square().sum().backward()
    assert plus.W_f.weight.grad[:, -SIZES["hidden"] :].abs().max() > 0
    assert not plus.W_f.weight[:, -SIZES["hidden"] :].any()


def test_itin_plus_measures_the_regions() -> None:
    """μ_r and σ_r over the mean regions of the images that have any, whatever the batches and padding."""
    batches = [batch_of(some, 7, 4, float("nan")) for some in (SAMPLES[:2], SAMPLES[2:])]
    made = make(HeadConfig(head="itin-plus", **SIZES)).double()
    made.scale((f, pack_words(x, mask), None, V, there, None, None) for f, x, mask, V, there in batches)
    means = np.stack([f.mean(0) for f, *_ in SAMPLES if len(f)])
    assert len(means) == 4
    close(made.regions_mean, means.mean(0))
    close(made.regions_sd, means.std(0))
    close(made.context_sd, np.stack([V for *_, V in SAMPLES]).std(0))


def test_global_interaction_is_there_without_regions_that_say_anything() -> None:
    """ITIN sees V and the words only through what it pools; here V meets the words itself."""
    regions, *rest = batch_of(samples_of([4, 3], [2, 2]), 4, 2)
    made = head_of("global-local")
    out = made(torch.zeros_like(regions), *rest).logits
    words = rest[0].clone()
    words[:, 0] += 1
    assert not torch.allclose(made(torch.zeros_like(regions), words, *rest[1:]).logits, out)


# What must not matter ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("head", "reading"), [*CASES, ("majority", "paper")])
def test_padding_and_company_change_nothing(head: str, reading: str) -> None:
    """More padding, other numbers in it, even NaN, or alone: the same results, the same gradients."""
    made = head_of(head, reading)
    results = []
    for n, m, rubbish in ((7, 3, 9.0), (9, 6, float("nan"))):
        made.zero_grad()
        out = made(*batch_of(SAMPLES, n, m, rubbish))
        if out.learned.requires_grad:
            out.learned.square().sum().backward()
        results.append((out, {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}))
    (out, gradients), (padded, padded_gradients) = results
    close(padded.logits, out.logits)
    assert gradients.keys() == padded_gradients.keys() == dict(made.named_parameters()).keys()
    for name, gradient in gradients.items():
        close(padded_gradients[name], gradient)
        assert gradient.isfinite().all(), name
    for b, sample in enumerate(SAMPLES):
        close(made(*batch_of([sample])).logits, out.logits[b : b + 1])


@pytest.mark.parametrize("head", HEADS)
def test_what_a_head_does_not_look_at_may_be_left_out(head: str) -> None:
    made = head_of(head)
    regions, tokens, mask, context, region_mask = batch_of(SAMPLES, 7, 3)
    inputs = HEADS[head].inputs
    given = (
        regions if "regions" in inputs else None,
        tokens if "tokens" in inputs else None,
        mask if "tokens" in inputs else None,
        context if "context" in inputs else None,
        region_mask if "regions" in inputs else None,
    )
    assert torch.equal(made(*given, TEXTS).logits, made(regions, tokens, mask, context, region_mask, TEXTS).logits)
    for place, kind in enumerate(("regions", "tokens", None, "context")):
        if kind in inputs:
            without = [None if other == place else one for other, one in enumerate(given)]
            with pytest.raises(ValueError, match=rf"{kind}: expected \(.*\), got None"):
                made(*without, TEXTS)


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="context: expected"):
        head_of("majority")(None, None, None, None)


def test_the_regression_does_not_teach_what_it_reads() -> None:
    """dnn-lr: the loss of y teaches W and b alone; z_T and z_I are taught by losses of their own."""
    made = head_of("dnn-lr")
    out = made(*batch_of(SAMPLES, 7, 3))
    out.logits.square().sum().backward()
    assert {name for name, p in made.named_parameters() if p.grad is not None} == {"W.weight", "W.bias"}
    made.zero_grad()
    out.further[:, 0].square().sum().backward(retain_graph=True)
    found = {name.split(".")[0] for name, p in made.named_parameters() if p.grad is not None and p.grad.any()}
    assert found == {"text_cnn", "W_T"}
    assert torch.equal(out.learned, torch.cat([out.logits, out.further[:, 0], out.further[:, 1]], -1))


def test_one_output_has_no_softmax() -> None:
    """dnn-lr of a number: z_T and z_I enter W as they are, for the softmax of one would be 1."""
    made = make(HeadConfig(head="dnn-lr", **{**SIZES, "classes": 1})).double().eval()  # type: ignore[arg-type]
    redraw(made)
    out = made(*batch_of(SAMPLES, 7, 3))
    close(out.logits, (out.further.flatten(1) @ made.W.weight.mT + made.W.bias).detach())


# Configurations ------------------------------------------------------------------------------------------------------


def test_hops_are_the_originals_by_default() -> None:
    """The same configuration whether they are named or not; where no head reads them, they are nothing."""
    assert [HeadConfig(head=head).hops for head in ("comn", "mvan", "itin")] == [6, 3, None]
    assert HeadConfig(head="comn", hops=6) == HeadConfig(head="comn")
    three, six = head_of("comn", seed=2), head_of("comn", seed=2)
    three.hops = 3
    assert not torch.allclose(three(*batch_of(SAMPLES)).logits, six(*batch_of(SAMPLES)).logits)


@pytest.mark.parametrize("head", HEADS)
def test_settings_are_fields_and_the_others_make_no_difference(head: str) -> None:
    """What a head does not read does not change its layers."""
    config = HeadConfig(head=head, **SIZES)
    assert set(HEADS[head].settings) <= set(HeadConfig.__dataclass_fields__)
    other = {"d": 8, "k": 5, "hidden": 7, "lam": 0.9, "gate": "vector", **OFFICIAL}
    unread = {name: value for name, value in other.items() if name not in config.settings}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = make(config)
        torch.manual_seed(0)
        two = make(replace(config, **unread))
    arguments = tuple(a.float() if a.is_floating_point() else a for a in batch_of(SAMPLES, 7, 3))
    assert torch.equal(one(*arguments, TEXTS).logits, two(*arguments, TEXTS).logits)
