"""Every head and reading against its equations, written out below in NumPy, one sample and one loop at a time."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from itin.itin_head import HEADS, Head, HeadConfig, make
from itin.itin_head.gru.packing import Words, fill_up, pack_words
from itin.itin_head.gru.recurrence import deep_bigru, plain_bigru, weights
from itin.itin_head.head import Text, mean_of
from itin.itin_head.outputs import prior
from itin.itin_head.side_by_side import SideBySide
from itin.targets import Target
from itin.train.presets import PRESETS

from ..head_reference import (
    DIMS,
    Array,
    Weights,
    attend,
    batch_of,
    close,
    gated,
    interaction,
    linear,
    mask_of,
    mlp,
    pooled,
    recurrence,
    redraw,
    samples_of,
)
from ..stacked import gradient_of
from ..table2_reference import SYSTEMS

LABEL = Target(classes=("a", "b", "c"))
SIZES = {**DIMS, "max_words": 9, "filters": 2}
OFFICIAL = {name: value for name, value in PRESETS["official"].items() if name in HeadConfig.__dataclass_fields__}
READINGS: dict[str, dict[str, object]] = {
    "paper": {},
    "official": OFFICIAL,
    "normalize": {"normalize": True},
    "self-attention": {"self_attention": True, "gate": "vector"},
    "no fusion bias": {"fusion_bias": False},
    "pooling heads": {"pooling_heads": 3},
    "gru layers": {"gru_layers": 3},
    "context gru": {"context_gru": True},
    "no mask": {"mask": False},
    "one hop": {"hops": 1},
    "filters": {"filters": 3},
    "attention": {"pooling": "attention"},
    "no align": {"ablation": "no-align"},
    "no gate": {"ablation": "no-gate"},
}
CASES = [
    *[("itin", name) for name in READINGS],
    ("itin", "official"),
    *itertools.product(["global-local"], ["paper", "self-attention", "context gru"]),
    *itertools.product(["concat", "text-only"], ["paper", "gru layers", "no mask"]),
    ("image-only", "paper"),
    *[(name, "paper") for name in SYSTEMS],
    *[(name, "no mask") for name in SYSTEMS],
    *itertools.product(["comn", "mvan"], ["one hop"]),
    *itertools.product(["cnn-multi", "dnn-lr"], ["filters"]),
    *itertools.product(["pooled"], ["paper", "attention"]),
    *itertools.product(["itin-plus"], ["paper", "attention", "self-attention", "official", "no align", "no gate"]),
]


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


# Helpers -------------------------------------------------------------------------------------------------------------


def head_of(head: str, reading: str = "paper", lam: float = 0.3, seed: int = 1) -> Head:
    made = make(HeadConfig(head=head, lam=lam, **{**SIZES, **READINGS[reading]})).double()  # type: ignore[arg-type]
    redraw(made, seed)
    for name, buffer in made.named_buffers():  # what `begin` and `scale` would measure
        spread = torch.linspace(0.4, 1.7, buffer.numel(), dtype=torch.float64).view_as(buffer)
        buffer.copy_(spread + 0.1 * seed + len(name) / 9)
    return made.eval()


SAMPLES = samples_of([4, 1, 7, 0, 3], [2, 3, 0, 1, 3])
TEXTS = ["a fine day", "rain", "no sun today", "", "fine"]


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


# Words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_layers_are_those_of_torch(layers: int) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(5, 4, layers, batch_first=True, bidirectional=True).double()
    _, tokens, mask, *_ = batch_of(SAMPLES, 7, 3)
    words = pack_words(tokens, mask)
    own = deep_bigru(words, [weights(gru, layer) for layer in range(layers)])
    plain = plain_bigru(gru, words)
    close(own, plain, 1e-12)
    mark = torch.randn(own.shape, dtype=torch.float64)
    gradients = []
    for out in (own, plain):
        gru.zero_grad()
        (out * mark).sum().backward()
        gradients.append([p.grad.clone() for p in gru.parameters()])
    for one, other in zip(*gradients, strict=True):
        close(one, other, 1e-12)


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


def test_one_output_has_no_softmax() -> None:
    """dnn-lr of a number: z_T and z_I enter W as they are, for the softmax of one would be 1."""
    made = make(HeadConfig(head="dnn-lr", **{**SIZES, "classes": 1})).double().eval()  # type: ignore[arg-type]
    redraw(made)
    out = made(*batch_of(SAMPLES, 7, 3))
    close(out.logits, (out.further.flatten(1) @ made.W.weight.mT + made.W.bias).detach())


def test_filling_up() -> None:
    _, tokens, mask, *_ = batch_of(SAMPLES, 7, 3, rubbish=float("nan"))
    words = fill_up(pack_words(tokens, mask), 9)
    assert isinstance(words, Words)
    assert words.mask.shape == (5, 9)
    assert words.mask.all()
    rows = torch.zeros(45, 5, dtype=torch.float64)
    rows[words.packing.padded] = words.x.flatten(0, 1)[words.packing.forward]
    want = torch.zeros(5, 9, 5, dtype=torch.float64)
    want[:, :7] = tokens.masked_fill(~mask[..., None], 0)
    assert torch.equal(rows.view(5, 9, 5), want)
    with pytest.raises(ValueError, match="words: expected texts of at most 6 words, got one of 7"):
        fill_up(pack_words(tokens, mask), 6)
    assert fill_up(pack_words(tokens[:1], mask[:1]), 6).mask.shape == (1, 6)  # padding beyond it is no word


def test_mean_of_nothing_is_zero() -> None:
    values = torch.full((2, 3, 4), float("nan"))
    values[0, 0] = 2.0
    mask = torch.tensor([[True, False, False], [False, False, False]])
    assert torch.equal(mean_of(values, mask), torch.tensor([[2.0] * 4, [0.0] * 4]))


# Side by side --------------------------------------------------------------------------------------------------------


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


def test_side_by_side_refuses_what_differs() -> None:
    with pytest.raises(ValueError, match="heads: expected at least one, got none"):
        SideBySide([])
    with pytest.raises(ValueError, match="expected configurations that differ in lam alone"):
        SideBySide([head_of("concat"), head_of("text-only")])
    stack = SideBySide([head_of("concat"), head_of("concat", seed=2)])
    words = pack_words(torch.zeros(2, 1, 3, 5).double(), torch.ones(2, 1, 3).bool())
    with pytest.raises(ValueError, match=r"regions: expected \(J, B, m, region_dim\), got None"):
        stack(None, words, torch.zeros(2, 1, 6).double())


# Configurations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "hydra"}, "head: expected one of itin, global-local, concat, .*, got 'hydra'"),
        ({"head": "concat", "ablation": "no-gate"}, "for the head concat has no ablations; got no-gate"),
        ({"head": "itin-plus", "ablation": "no-context"}, "expected none, no-align, no-gate, for .*; got no-context"),
        ({"normalize": 1}, "normalize: expected True or False, got 1"),
        ({"pooling_heads": 0}, "pooling_heads: expected an integer of at least 1, got 0"),
        ({"gru_layers": True}, "gru_layers: expected an integer of at least 1, got True"),
        ({"gru_dropout": 1.0}, "gru_dropout: expected a number from 0 to below 1, got 1.0"),
        ({"filters": 1}, "filters: expected an integer of at least 2, got 1"),
        ({"hops": 0}, "hops: expected an integer of at least 1 or None, got 0"),
        ({"max_words": 2.5}, "max_words: expected an integer of at least 1, got 2.5"),
    ],
)
def test_wrong_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HeadConfig(**values)  # type: ignore[arg-type]


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
