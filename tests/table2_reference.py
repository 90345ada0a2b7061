"""The systems of the paper's Table II in NumPy, one sample and one loop at a time; only names of weights are shared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from itin.itin_head import HeadConfig

from .head_reference import Array, Weights, linear, mlp, recurrence, relu, sigmoid, softmax

Outputs = dict[str, Array]


def lstm(p: Weights, name: str, x: list[Array], d: int) -> list[Array]:
    """One direction of an LSTM (Hochreiter & Schmidhuber 1997, with a forget gate): `lstm/` or `lstm/_reverse`."""
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


def multisentinet(
    config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array, P: Array | None = None
) -> Outputs:
    o, s = mlp(p, "W_o", V), mlp(p, "W_s", mean(f, config.region_dim) if P is None else P)
    d, a = additive(p, "attend", lstm(p, "lstm/", x, config.d), np.concatenate([o, s]), config.d)
    F = mlp(p, "W_m", np.concatenate([s, o, d]))
    return {"logits": linear(p, "W_f", F), "fused": F, "words": a}


def after_gru(p: Weights, x: list[Array], d: int) -> list[Array]:
    forward, backward = recurrence(p, "gru", "l0", x, d), recurrence(p, "gru", "l0_reverse", x[::-1], d)[::-1]
    return [(one + other) / 2 for one, other in zip(forward, backward, strict=True)]


def comn(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array) -> Outputs:
    d = config.d
    M_t = after_gru(p, x, d)
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


def mvan(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array, P: Array | None = None) -> Outputs:
    d, D = config.d, 2 * config.d
    forward, backward = lstm(p, "lstm/", x, d), lstm(p, "lstm/_reverse", x[::-1], d)[::-1]
    H = [np.concatenate(both) for both in zip(forward, backward, strict=True)]
    O = [linear(p, "W_o", one) for one in f]  # noqa: E741
    S = linear(p, "W_s", mean(f, config.region_dim) if P is None else P)
    M_t, M_o, M_s = mean(H, D), mean(O, D), S

    def cell(name: str, x: Array, h: Array) -> Array:
        """torch's: the gates r, z and n; the second bias of n is within r's product."""
        i, s = (p[f"{name}.weight_{one}"] @ a + p[f"{name}.bias_{one}"] for one, a in (("ih", x), ("hh", h)))
        r, z = sigmoid(i[:D] + s[:D]), sigmoid(i[D : 2 * D] + s[D : 2 * D])
        n = np.tanh(i[2 * D :] + r * s[2 * D :])
        return np.asarray((1 - z) * n + z * h)

    assert config.hops is not None
    for _ in range(config.hops):
        o, attention = additive(p, "add_o", O, M_t, D)
        s, _one = additive(p, "add_o", [S], M_t, D)  # by whatever weights: it has one vector to choose from
        (by_o, words_o), (by_s, words_s) = additive(p, "add_t", H, o, D), additive(p, "add_t", H, s, D)
        M_t, M_o = cell("cell_t", np.concatenate([by_o, by_s]), M_t), cell("cell_o", o, M_o)
        M_s = cell("cell_s", s, M_s)
    t, o, s = M_t, M_o, M_s
    F = mlp(p, "W_m", np.concatenate([t, o, s, t * o, t * s, o * s, abs(t - o), abs(t - s), abs(o - s)]))
    return {"logits": linear(p, "W_f", F), "fused": F, "attention": attention, "words": (words_o + words_s) / 2}


def text_cnn(p: Weights, name: str, x: list[Array], size: int, filters: int) -> Array:
    wide, found = [*x, *[np.zeros(size)] * 4], []
    for place, w in enumerate((3, 4, 5)):
        for K, b in zip(p[f"{name}.windows.{place}.weight"], p[f"{name}.windows.{place}.bias"], strict=True):
            values = [sum(K[j * size : (j + 1) * size] @ wide[i + j] for j in range(w)) + b for i in range(len(x))]
            found.append(max([0.0, *values]))
    return np.array(found)


def cnn_multi(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array) -> Outputs:
    t, v = text_cnn(p, "text_cnn", x, config.token_dim, config.filters), mlp(p, "W_v", V)
    c = [relu(linear(p, "joint", np.concatenate([t[i : i + 3], v[i : i + 3]]))) for i in range(len(t) - 2)]
    F = np.concatenate([np.maximum(c[i], c[i + 1]) for i in range(0, len(c) - 1, 2)])
    return {"logits": linear(p, "W_f", F), "fused": F}


def dnn_lr(config: HeadConfig, p: Weights, f: list[Array], x: list[Array], V: Array) -> Outputs:
    z_T = linear(p, "W_T", text_cnn(p, "text_cnn", x, config.token_dim, config.filters))
    z_I = linear(p, "W_2", mlp(p, "W_1", V))
    said = np.concatenate([np.log(softmax(z_T)), np.log(softmax(z_I))])
    return {"logits": linear(p, "W", said), "fused": said, "further": np.stack([z_T, z_I])}


def hsan(
    config: HeadConfig,
    p: Weights,
    f: list[Array],
    x: list[Array],
    V: Array,
    objects: Sequence[int] = (),
    attributes: Sequence[int] = (),
    sentences: Sequence[int] = (),
) -> Outputs:
    """By the ids of each region's names, those below 0 unknown, and the length of each sentence; by default one."""
    seen = [linear(p, "W_r", one) for one in f]
    for table, ids in (("E_o", objects), ("E_a", attributes)):
        seen = [one + p[table][i] if i >= 0 else one for one, i in zip(seen, ids or [-1] * len(seen), strict=True)]
    c = mean([relu(one) for one in seen], config.d)
    H, begin, of_words, said = after_gru(p, x, config.d), 0, [], []
    for length in sentences or [len(x)] * (len(x) > 0):
        s, a = additive(p, "attend", H[begin : begin + length], c, config.d)
        said.append(s)
        of_words.append(a)
        begin += length
    d, b = additive(p, "attend_s", said, c, config.d)
    F = mlp(p, "W_m", np.concatenate([d, c]))
    return {
        "logits": linear(p, "W_f", F),
        "fused": F,
        "words": np.array([one * weight for a, weight in zip(of_words, b, strict=True) for one in a]),
        "sentences": np.array([weight for a, weight in zip(of_words, b, strict=True) for _ in a]),
    }


SYSTEMS: dict[str, Callable[..., Outputs]] = {
    "multisentinet": multisentinet,
    "comn": comn,
    "mvan": mvan,
    "cnn-multi": cnn_multi,
    "dnn-lr": dnn_lr,
    "hsan": hsan,
}
