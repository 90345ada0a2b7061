"""The head against the paper's equations, written out below in NumPy, one sample and one loop at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from itin.itin_head import ABLATIONS, GATES, HeadConfig, HeadOutput, ITINHead

from ..head_reference import (
    DIMS,
    Array,
    Weights,
    batch_of,
    close,
    linear,
    mlp,
    recurrence,
    redraw,
    relu,
    samples_of,
    sigmoid,
    softmax,
)

EVERY = list(itertools.product(GATES, ABLATIONS))


# The equations -------------------------------------------------------------------------------------------------------


def equations(config: HeadConfig, p: Weights, f: Array, x: Array, V: Array) -> dict[str, Array]:
    """Eqs. 1-19 for one sample: f (m, region_dim), x (n, token_dim), V (context_dim)."""
    d, k, lam = config.d, config.k, config.lam
    m, n = len(f), len(x)
    forward = recurrence(p, "gru", "l0", list(x), d)  # 2
    backward = recurrence(p, "gru", "l0_reverse", list(x[::-1]), d)[::-1]  # 3
    w = [(forward[j] + backward[j]) / 2 for j in range(n)]  # 4
    S = sum(w, np.zeros(d)) / max(n, 1)  # 15
    out = {}
    if config.ablation != "only-context":
        r = [linear(p, "W_r", f[i]) for i in range(m)]  # 1
        A_bar = np.zeros((m, n))
        for i in range(m):
            if config.ablation == "no-align":
                A_bar[i] = 1 / max(n, 1)
            else:
                A = np.array([(p["W_hat_r.weight"] @ r[i]) @ (p["W_hat_t.weight"] @ w[j]) for j in range(n)])  # 5
                A_bar[i] = softmax(A / np.sqrt(k))  # 6
        z, gate, scores = [], [], []
        for i in range(m):
            u = sum((A_bar[i, j] * w[j] for j in range(n)), np.zeros(d))  # 7
            if config.ablation == "no-gate":
                g = np.ones(d)
            elif config.gate == "scalar":
                g = sigmoid(np.full(d, r[i] @ u))  # 8
            else:
                g = sigmoid(r[i] * u)  # 8
            c = np.concatenate([g * r[i], g * u])  # 9
            o = relu(linear(p, "W_o", c))  # 10
            z.append(o + r[i])  # 11
            gate.append(g[0] if config.gate == "scalar" else g)
            scores.append(linear(p, "Tran_z.2", relu(linear(p, "Tran_z.0", z[i])))[0])
        alpha = softmax(np.array(scores))  # 12
        C = sum((alpha[i] * z[i] for i in range(m)), np.zeros(d))  # 13
        out = {"alignment": A_bar, "gate": np.array(gate), "attention": alpha}
    if config.ablation == "no-context":
        F = mlp(p, "mlp_c", C)
    elif config.ablation == "only-context":
        F = lam * mlp(p, "mlp_v", V) + (1 - lam) * mlp(p, "mlp_s", S)
    else:
        F1 = mlp(p, "mlp_v", np.concatenate([V, C]))  # 16
        F2 = mlp(p, "mlp_s", np.concatenate([S, C]))  # 17
        F = lam * F1 + (1 - lam) * F2  # 18
    return {"logits": linear(p, "W_f", F), "fused": F, **out}  # 19


# Helpers -------------------------------------------------------------------------------------------------------------


def head_of(
    gate: str = "scalar", ablation: str = "none", lam: float = 0.3, gru: str = "packed", **sizes: int
) -> ITINHead:
    head = ITINHead(HeadConfig(gate=gate, ablation=ablation, lam=lam, **{**DIMS, **sizes}), gru).double()
    redraw(head)
    return head


def ragged(lengths: list[int], counts: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The arguments of a head for random samples of so many words and so many regions each."""
    return batch_of(samples_of(lengths, counts))


def parts(out: HeadOutput) -> Iterator[tuple[str, Tensor]]:
    for name, value in out._asdict().items():
        if value is not None:
            yield name, value


# Values --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gru", ["packed", "torch"])
@pytest.mark.parametrize(("gate", "ablation"), EVERY)
def test_equations(gate: str, ablation: str, gru: str) -> None:
    head = head_of(gate, ablation, gru=gru)
    weights = {name: value.numpy() for name, value in head.state_dict().items()}
    samples = samples_of([4, 1, 7, 0, 3], [2, 3, 0, 1, 3])
    out = head(*batch_of(samples))
    for b, (f, x, V) in enumerate(samples):
        want = equations(head.config, weights, f, x, V)
        m, n = len(f), len(x)
        close(out.logits[b], want["logits"])
        close(out.fused[b], want["fused"])
        if ablation == "only-context":
            assert out.alignment is None
            assert out.gate is None
            assert out.attention is None
            continue
        close(out.alignment[b, :m, :n], want["alignment"])
        close(out.attention[b, :m], want["attention"])
        if m:
            close(out.gate[b, :m], want["gate"])
        assert not out.alignment[b, m:].any()
        assert not out.alignment[b, :, n:].any()
        assert not out.attention[b, m:].any()
        assert not out.gate[b, m:].any()


def test_reading_of_the_ablations() -> None:
    arguments = ragged([4, 2], [3, 3])
    _, _, token_mask, *_ = arguments
    assert torch.equal(
        head_of(ablation="no-align")(*arguments).alignment,
        token_mask[:, None].expand(2, 3, 4) / token_mask.sum(1)[:, None, None].double(),
    )
    assert torch.equal(head_of(ablation="no-gate")(*arguments).gate, torch.ones(2, 3, dtype=torch.float64))
    assert torch.equal(head_of("vector", "no-gate")(*arguments).gate, torch.ones(2, 3, DIMS["d"], dtype=torch.float64))


@pytest.mark.parametrize("ablation", ["none", "no-align", "no-gate"])
def test_weights_sum_to_one(ablation: str) -> None:
    out = head_of(ablation=ablation)(*ragged([4, 1, 7], [2, 3, 1]))
    ones = torch.ones(1, dtype=torch.float64)
    for b, m in enumerate([2, 3, 1]):
        close(out.alignment[b, :m].sum(-1), ones.expand(m))
        close(out.attention[b].sum(), ones[0])
    assert ((out.gate >= 0) & (out.gate <= 1)).all()


def test_lam_is_the_share_of_the_visual_context() -> None:
    only_text, only_image = head_of(lam=0), head_of(lam=1)
    arguments = ragged([4, 2], [3, 3])
    regions, tokens, mask, context, region_mask = arguments
    moved = context + 1
    assert torch.equal(
        only_text(regions, tokens, mask, context, region_mask).fused,
        only_text(regions, tokens, mask, moved, region_mask).fused,
    )
    with torch.no_grad():
        only_image.mlp_s[0].weight.add_(1)
        assert torch.equal(
            only_image(regions, tokens, mask, context, region_mask).fused,
            head_of(lam=1)(regions, tokens, mask, context, region_mask).fused,
        )
    text, image = (head(*arguments).fused for head in (only_text, head_of(lam=1)))
    close(head_of(lam=0.25)(*arguments).fused, 0.25 * image + 0.75 * text)


def test_no_region_mask_means_that_all_are_regions() -> None:
    arguments = ragged([4, 2], [3, 3])
    head = head_of()
    with_mask, without = head(*arguments), head(*arguments[:4])
    for (_, one), (_, other) in zip(parts(with_mask), parts(without), strict=True):
        assert torch.equal(one, other)


# What must not matter ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gate", "ablation"), EVERY)
def test_padding_changes_nothing(gate: str, ablation: str) -> None:
    """More padding, other numbers in it, even NaN: the same results, the same gradients."""
    samples = samples_of([4, 1, 7, 0], [2, 3, 0, 1])
    head = head_of(gate, ablation)
    results = []
    for arguments in (batch_of(samples), batch_of(samples, n=12, m=6, rubbish=float("nan"))):
        head.zero_grad()
        out = head(*arguments)
        out.logits.square().sum().backward()
        results.append((out, {name: p.grad.clone() for name, p in head.named_parameters() if p.grad is not None}))
    (out, gradients), (padded, padded_gradients) = results
    close(padded.logits, out.logits)
    close(padded.fused, out.fused)
    if out.alignment is not None:
        close(padded.alignment[:, :3, :7], out.alignment)
        close(padded.gate[:, :3], out.gate)
        close(padded.attention[:, :3], out.attention)
        for more in (padded.alignment[:, 3:], padded.alignment[..., 7:], padded.gate[:, 3:], padded.attention[:, 3:]):
            assert not more.any()
    assert gradients.keys() == padded_gradients.keys() == dict(head.named_parameters()).keys()
    for name, gradient in gradients.items():
        close(padded_gradients[name], gradient)


@pytest.mark.parametrize(("gate", "ablation"), EVERY)
def test_order_and_company_change_nothing(gate: str, ablation: str) -> None:
    head = head_of(gate, ablation)
    arguments = ragged([4, 1, 7, 0, 3], [2, 3, 0, 1, 3])
    together = head(*arguments)
    order = torch.tensor([3, 0, 4, 2, 1])
    for (name, one), (_, other) in zip(parts(together), parts(head(*(a[order] for a in arguments))), strict=True):
        assert name
        close(other, one[order])
    for b in range(5):
        for (_, one), (_, alone) in zip(parts(together), parts(head(*(a[b : b + 1] for a in arguments))), strict=True):
            close(alone, one[b : b + 1])


@pytest.mark.parametrize(("gate", "ablation"), EVERY)
@pytest.mark.parametrize(
    ("lengths", "counts", "n", "m"),
    [([1], [0], 1, 2), ([1, 0], [0, 0], 3, 2), ([0, 0], [1, 2], 0, 2), ([0], [0], 0, 0), ([2, 3], [0, 0], 3, 0)],
)
def test_nothing_to_see_or_read(
    gate: str, ablation: str, lengths: list[int], counts: list[int], n: int, m: int
) -> None:
    head = head_of(gate, ablation)
    samples = samples_of(lengths, counts)
    out = head(*batch_of(samples, n, m, rubbish=float("nan")))
    weights = {name: value.numpy() for name, value in head.state_dict().items()}
    for b, sample in enumerate(samples):
        close(out.logits[b], equations(head.config, weights, *sample)["logits"])
    sum(value.sum() for _, value in parts(out)).backward()
    for name, value in parts(out):
        assert torch.isfinite(value).all(), name
    for name, parameter in head.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name


def test_empty_batch() -> None:
    out = head_of()(*(a[:0] for a in ragged([4, 2], [3, 3])))
    assert out.logits.shape == (0, 3)
    assert out.alignment.shape == (0, 3, 4)


def test_large_scores_stay_finite() -> None:
    head = head_of().float()
    with torch.no_grad():
        head.W_hat_r.weight.mul_(1e6)
        head.W_hat_t.weight.mul_(1e6)
    regions, tokens, mask, context, region_mask = ragged([4, 1, 0], [2, 3, 1])
    out = head(regions.float(), tokens.float(), mask, context.float(), region_mask)
    out.logits.sum().backward()
    assert torch.isfinite(out.logits).all()
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    close(out.alignment[0, :2].sum(-1), torch.ones(2))


def test_head_leaves_its_input_alone() -> None:
    arguments = ragged([4, 1], [2, 1])
    before = [a.clone() for a in arguments]
    head_of()(*arguments)
    assert all(torch.equal(a, b) for a, b in zip(arguments, before, strict=True))


# Names ---------------------------------------------------------------------------------------------------------------

GRU = [f"gru.{kind}_{gate}_l0{way}" for way in ("", "_reverse") for kind in ("weight", "bias") for gate in ("ih", "hh")]
BOTH = {"weight", "bias"}


def names(*modules: str, bias: bool = True) -> set[str]:
    return {f"{module}.{one}" for module in modules for one in (BOTH if bias else {"weight"})}


@pytest.mark.parametrize(
    ("ablation", "expected"),
    [
        (
            "none",
            names("W_r", "W_o", "Tran_z.0", "Tran_z.2", "mlp_v.0", "mlp_s.0") | names("W_hat_r", "W_hat_t", bias=False),
        ),
        (
            "no-gate",
            names("W_r", "W_o", "Tran_z.0", "Tran_z.2", "mlp_v.0", "mlp_s.0") | names("W_hat_r", "W_hat_t", bias=False),
        ),
        ("no-align", names("W_r", "W_o", "Tran_z.0", "Tran_z.2", "mlp_v.0", "mlp_s.0")),
        (
            "no-context",
            names("W_r", "W_o", "Tran_z.0", "Tran_z.2", "mlp_c.0") | names("W_hat_r", "W_hat_t", bias=False),
        ),
        ("only-context", names("mlp_v.0", "mlp_s.0")),
    ],
)
def test_state_dict_names(ablation: str, expected: set[str]) -> None:
    assert set(head_of(ablation=ablation).state_dict()) == expected | set(GRU) | names("W_f")


def test_shapes_of_the_default_head() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in ITINHead(HeadConfig()).state_dict().items()}
    assert shapes["W_r.weight"] == (1024, 2048)
    assert shapes["gru.weight_ih_l0_reverse"] == (3072, 768)
    assert shapes["W_hat_r.weight"] == shapes["W_hat_t.weight"] == (1024, 1024)
    assert shapes["W_o.weight"] == (1024, 2048)
    assert shapes["Tran_z.2.weight"] == (1, 1024)
    assert shapes["mlp_v.0.weight"] == (64, 1536)
    assert shapes["mlp_s.0.weight"] == (64, 2048)
    assert shapes["W_f.weight"] == (3, 64)


# Errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "wrong", "message"),
    [
        (0, torch.zeros(2, 3, 8), r"regions: expected \(2, m, 7\), got \(2, 3, 8\)"),
        (0, torch.zeros(3, 3, 7), r"regions: expected \(2, m, 7\), got \(3, 3, 7\)"),
        (0, None, r"regions: expected \(B, m, 7\), got None"),
        (1, torch.zeros(2, 4), r"tokens: expected \(B, n, 5\), got \(2, 4\)"),
        (1, torch.zeros(2, 4, 6), r"tokens: expected \(B, n, 5\), got \(2, 4, 6\)"),
        (2, torch.ones(2, 5, dtype=torch.bool), r"token_mask: expected \(2, 4\), got \(2, 5\)"),
        (2, torch.ones(2, 4), r"token_mask: expected torch.bool, got torch.float32"),
        (2, None, r"token_mask: expected \(2, 4\), got None"),
        (3, torch.zeros(2, 7), r"context: expected \(2, 6\), got \(2, 7\)"),
        (3, None, r"context: expected \(B, 6\), got None"),
        (4, torch.ones(2, 2, dtype=torch.bool), r"region_mask: expected \(2, 3\), got \(2, 2\)"),
        (4, torch.ones(2, 3), r"region_mask: expected torch.bool, got torch.float32"),
        (
            2,
            torch.tensor([[True, True, False, False], [True, False, True, False]]),
            r"token_mask: expected words first and padding after them, got padding before a word in row 1",
        ),
    ],
)
def test_wrong_input_is_refused(which: int, wrong: Tensor | None, message: str) -> None:
    arguments: list[Tensor | None] = list(ragged([4, 2], [3, 3]))
    arguments[which] = wrong
    with pytest.raises(ValueError, match=message):
        head_of()(*arguments)


def test_what_an_ablation_does_not_use_may_be_left_out() -> None:
    regions, tokens, mask, context, region_mask = ragged([4, 2], [3, 2])
    head = head_of(ablation="only-context")
    assert torch.equal(head(None, tokens, mask, context).logits, head(regions, tokens, mask, context).logits)
    head = head_of(ablation="no-context")
    assert torch.equal(
        head(regions, tokens, mask, None, region_mask).logits, head(regions, tokens, mask, context, region_mask).logits
    )
