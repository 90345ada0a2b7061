"""What the tests of the heads write their equations with, in NumPy loops over one sample, and ragged batches.

The NumPy below knows nothing of the code under test but the names of its weights.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from itin.itin_head import HeadConfig

Array = NDArray[np.float64]
Weights = dict[str, Array]
Sample = tuple[Array, Array, Array]
"""f (m, region_dim), x (n, token_dim), V (context_dim)."""

DIMS = {"region_dim": 7, "token_dim": 5, "context_dim": 6, "classes": 3, "d": 4, "k": 3, "hidden": 5}


# Equations -----------------------------------------------------------------------------------------------------------


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def softmax(x: Array) -> Array:
    if x.size == 0:
        return x
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def linear(p: Weights, name: str, x: Array) -> Array:
    out = p[f"{name}.weight"] @ x
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def mlp(p: Weights, name: str, x: Array) -> Array:
    return relu(linear(p, f"{name}.0", x))


def recurrence(p: Weights, gru: str, layer: str, x: list[Array], d: int) -> list[Array]:
    """One direction of a GRU (Cho et al. 2014, with PyTorch's place for the second bias): l0, l0_reverse, l1, ..."""
    W_i, W_h, b_i, b_h = (p[f"{gru}.{name}_{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, states = np.zeros(d), []
    for one in x:
        i, s = W_i @ one + b_i, W_h @ h + b_h
        reset = sigmoid(i[:d] + s[:d])
        update = sigmoid(i[d : 2 * d] + s[d : 2 * d])
        new = np.tanh(i[2 * d :] + reset * s[2 * d :])
        h = (1 - update) * new + update * h
        states.append(h)
    return states


def l2norm(x: Array) -> Array:
    return x / max(float(np.sqrt((x**2).sum())), 1e-8)


def gated(config: HeadConfig, p: Weights, name: str, r: Array, u: Array) -> tuple[Array, Array]:
    g = sigmoid(np.full(len(r), r @ u)) if config.gate == "scalar" else sigmoid(r * u)
    if config.ablation == "no-gate":
        g = np.ones(len(r))
    return g, relu(linear(p, name, np.concatenate([g * r, g * u]))) + r


def attend(p: Weights, query: Array, key: str, values: list[Array], k: int) -> tuple[Array, Array]:
    """softmax(query (W_key values)^T / sqrt(k)) values"""
    a = softmax(np.array([query @ (p[f"{key}.weight"] @ value) for value in values]) / np.sqrt(k))
    return a, sum(
        (a[j] * values[j] for j in range(len(values))), np.zeros(len(query) if not values else len(values[0]))
    )


def interaction(config: HeadConfig, p: Weights, f: Array, w: list[Array]) -> tuple[dict[str, Array], Array]:
    """Eqs. 1 and 5-13, and the readings of the demo: what a head shows of them, and C."""
    m, d, k = len(f), len(p["W_r.bias"]), config.k
    r = [linear(p, "W_r", one) for one in f]
    if config.normalize:
        r = [l2norm(one) for one in r]
    alignment, u = np.zeros((m, len(w))), [np.zeros(d)] * m
    for i in range(m):
        if config.ablation == "no-align":
            alignment[i], u[i] = 1 / max(len(w), 1), sum((one / len(w) for one in w), np.zeros(d))
            continue
        alignment[i], u[i] = attend(p, p["W_hat_r.weight"] @ r[i], "W_hat_t", w, k) if w else ([], np.zeros(d))
    if config.self_attention:
        query = [p["W_query.weight"] @ one for one in u]
        u = [attend(p, query[i], "W_key", u, k)[1] for i in range(m)]
    if config.normalize:
        u = [l2norm(one) for one in u]
    both = [gated(config, p, "W_o", r[i], u[i]) for i in range(m)]
    z = [one for _, one in both]
    scores = np.array([linear(p, "Tran_z.2", relu(linear(p, "Tran_z.0", one))) for one in z])  # (m, heads)
    alphas = [softmax(scores[:, h]) for h in range(config.pooling_heads)] if m else []
    # As the demo has it: pool with each head's weights, then take the mean of what was pooled.
    pooled = [sum((alpha[i] * z[i] for i in range(m)), np.zeros(d)) for alpha in alphas]
    C = sum(pooled, np.zeros(d)) / config.pooling_heads
    gate = np.array([g[0] if config.gate == "scalar" else g for g, _ in both])
    out = {"alignment": alignment, "gate": gate, "attention": sum(alphas, np.zeros(m)) / config.pooling_heads}
    return out, l2norm(C) if config.normalize else C


def pooled(config: HeadConfig, p: Weights, f: Array, x: Array, V: Array, P: Array | None = None) -> dict[str, Array]:
    """pooled, and itin-plus with the branch of ITIN; P where there is a scene."""
    own = [(one - p["text_mean"]) / p["text_sd"] for one in x]
    scores = np.array([one @ p["q"] for one in own]) if config.pooling == "attention" else np.zeros(len(own))
    a = softmax(scores / np.sqrt(config.token_dim))
    t = sum((a[j] * own[j] for j in range(len(own))), np.zeros(config.token_dim))
    parts, out = [mlp(p, "mlp_t", t), mlp(p, "mlp_v", (V - p["context_mean"]) / p["context_sd"])], {}
    if P is not None:
        parts.append(mlp(p, "mlp_p", (P - p["scene_mean"]) / p["scene_sd"]))
    if config.head == "itin-plus":
        w = [linear(p, "W_w", one) for one in own]
        out, C = interaction(config, p, np.array([(one - p["regions_mean"]) / p["regions_sd"] for one in f]), w)
        parts.append(mlp(p, "mlp_a", C))
    F = np.concatenate(parts)
    out |= {"logits": linear(p, "W_f", F), "fused": F}
    return out | ({"words": a} if config.pooling == "attention" else {})


# Heads and batches ---------------------------------------------------------------------------------------------------


def redraw(head: nn.Module, seed: int = 1) -> None:
    """Draws all weights anew, larger than by default, so that no softmax or gate is nearly flat."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.7)


def samples_of(lengths: list[int], counts: list[int]) -> list[Sample]:
    """Random samples of so many words and so many regions each."""
    rng = np.random.default_rng(2)
    sizes = DIMS["region_dim"], DIMS["token_dim"], DIMS["context_dim"]
    return [
        (rng.normal(size=(m, sizes[0])), rng.normal(size=(n, sizes[1])), rng.normal(size=sizes[2]))
        for n, m in zip(lengths, counts, strict=True)
    ]


def batch_of(
    samples: list[Sample], n: int | None = None, m: int | None = None, rubbish: float = 9.0
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A head's arguments: the samples padded to n words and m regions (by default the most), with rubbish there."""
    lengths, counts = [len(x) for _, x, _ in samples], [len(f) for f, _, _ in samples]
    n, m = max(lengths) if n is None else n, max(counts) if m is None else m
    regions = torch.full((len(samples), m, DIMS["region_dim"]), rubbish, dtype=torch.float64)
    tokens = torch.full((len(samples), n, DIMS["token_dim"]), rubbish, dtype=torch.float64)
    for b, (f, x, _) in enumerate(samples):
        regions[b, : len(f)], tokens[b, : len(x)] = torch.from_numpy(f), torch.from_numpy(x)
    token_mask = torch.arange(n) < torch.tensor(lengths)[:, None]
    region_mask = torch.arange(m) < torch.tensor(counts)[:, None]
    return regions, tokens, token_mask, torch.from_numpy(np.stack([V for *_, V in samples])), region_mask


def close(got: Tensor, want: Array | Tensor, tolerance: float = 1e-10) -> None:
    want = torch.as_tensor(want)
    assert got.shape == want.shape
    assert torch.allclose(got, want, rtol=tolerance, atol=tolerance), (got - want).abs().max()


def mask_of(rows: int, size: int, share: float, generator: torch.Generator | None) -> torch.Tensor:
    """A mask of dropout (rows, size): places whose number, of 32 random bits, is a share of them or more."""
    bits = torch.empty(-(-rows * size // 2), dtype=torch.int64).random_(-(2**63), None, generator=generator)
    numbers = (bits.numpy().view(np.int32).astype(np.float64) + 2**31) / 2**32
    return torch.from_numpy((numbers[: rows * size].reshape(rows, size) >= share).astype(np.float64))
