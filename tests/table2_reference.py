"""The systems of the paper's Table II in NumPy, one sample and one loop at a time; only names of weights are shared."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from itin.itin_head import HeadConfig

from .head_reference import Array, Weights, linear, mlp, recurrence, sigmoid, softmax

Outputs = dict[str, Array]


def lstm(p: Weights, name: str, x: list[Array], d: int) -> list[Array]:
    """One direction of an LSTM (Hochreiter & Schmidhuber 1997, with a forget gate): `lstm.*_l0` or `_l0_reverse`."""
    module, _, way = name.partition("/")
    W_i, W_h, b_i, b_h = (p[f"{module}.{one}_l0{way}"] for one in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    h, c, states = np.zeros(d), np.zeros(d), []
    for one in x:
        gates = W_i @ one + b_i + W_h @ h + b_h
        i, f, o = (sigmoid(gates[place * d : (place + 1) * d]) for place in (0, 1, 3))
        c = f * c + i * np.tanh(gates[2 * d : 3 * d])
        h = o * np.tanh(c)
        states.append(h)
    return states


def mean(vectors: list[Array], size: int) -> Array:
    total = np.zeros(size)
    for one in vectors:
        total = total + one / len(vectors)
    return total


def weighted(weights: Array, vectors: list[Array], size: int) -> Array:
    total = np.zeros(size)
    for weight, one in zip(weights, vectors, strict=True):
        total = total + weight * one
    return total


def additive(p: Weights, name: str, K: list[Array], q: Array, size: int) -> tuple[Array, Array]:
    scores = [
        p[f"{name}.v.weight"][0] @ np.tanh(linear(p, f"{name}.W_k", one) + p[f"{name}.W_q.weight"] @ q) for one in K
    ]
    a = softmax(np.array(scores))
    return weighted(a, K, size), a


def multisentinet(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array) -> Outputs:
    o, s = mlp(p, "W_o", V), mlp(p, "W_s", mean(f, config.region_dim))
    d, a = additive(p, "attend", lstm(p, "lstm", x, config.d), np.concatenate([o, s]), config.d)
    F = mlp(p, "W_m", np.concatenate([s, o, d]))
    return {"logits": linear(p, "W_f", F), "fused": F, "words": a}


def comn(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array) -> Outputs:
    d = config.d
    forward, backward = recurrence(p, "gru", "l0", x, d), recurrence(p, "gru", "l0_reverse", x[::-1], d)[::-1]
    M_t = [(one + other) / 2 for one, other in zip(forward, backward, strict=True)]
    M_v = [np.tanh(linear(p, "W_v", one)) for one in f]
    t, v = mean(M_t, d), mean(M_v, d)

    def att(name: str, M: list[Array], q: Array) -> tuple[Array, Array]:
        keys = [p[f"{name}.W_k.weight"] @ m for m in M]
        query = p[f"{name}.W_q.weight"] @ q
        a = softmax(np.array([np.tanh(p[f"{name}.w.weight"][0] @ np.concatenate([key, query])) for key in keys]))
        return p[f"{name}.P.weight"] @ weighted(a, keys, config.k), a

    assert config.hops is not None
    for _ in range(config.hops):
        (from_t, words), (from_v, attention) = att("att_t", M_t, v), att("att_v", M_v, t)
        t, v = p["W_t.weight"] @ t + from_t, p["W_x.weight"] @ v + from_v
    F = np.concatenate([t, v])
    return {"logits": linear(p, "W_f", F), "fused": F, "words": words, "attention": attention}


SYSTEMS: dict[str, Callable[[HeadConfig, Weights, list[Array], list[Array], Array], Outputs]] = {
    "multisentinet": multisentinet,
    "comn": comn,
}
