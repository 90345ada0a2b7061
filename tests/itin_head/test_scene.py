"""The heads that read a scene, against their equations in NumPy loops, alone and side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from itin.itin_head import HEADS, Head, HeadConfig, make
from itin.itin_head.extras import Extras
from itin.itin_head.gru.packing import Words, pack_words
from itin.itin_head.heads.linear import LinearHead
from itin.itin_head.registry import label_of
from itin.itin_head.side_by_side import SideBySide, SingleHead

from ..head_reference import DIMS, Array, batch_of, close, mask_of, pooled, redraw, samples_of, softmax
from ..stacked import gradient_of
from ..table2_reference import mean, multisentinet, mvan

SIZE = 4
LEARNED = ("multisentinet", "mvan", "pooled", "itin-plus")
SAMPLES = samples_of([4, 1, 7, 0, 3], [2, 3, 0, 1, 3])
P = np.random.default_rng(5).normal(size=(5, SIZE)) * 2 + 1


def head_of(head: str, seed: int = 1, **more: Any) -> Head:
    config = HeadConfig(**{"head": head, "scene": True, "scene_dim": SIZE, **DIMS, **more})
    made = make(config).double()
    redraw(made, seed)
    for name, buffer in made.named_buffers():
        spread = torch.linspace(0.4, 1.7, buffer.numel(), dtype=torch.float64).view_as(buffer)
        buffer.copy_(spread + 0.1 * seed + len(name) / 9)
    return made.eval()


def extras_of(scene: Array) -> Extras:
    """Extras of a scene (B, P) or (J, B, P), and of nothing else."""
    values = torch.from_numpy(np.ascontiguousarray(scene))
    shape = values.shape[:-1]
    return Extras(torch.zeros(*shape, 0), torch.zeros(*shape, 2, 0, dtype=torch.int64), scene=values)


def run(head: Head, rows: list[int], n: int = 7, m: int = 3) -> Any:
    some = [SAMPLES[row] for row in rows]
    return head(*batch_of(some, n, m, rubbish=float("nan")), extras=extras_of(P[rows]))


EQUATIONS = {"multisentinet": multisentinet, "mvan": mvan, "pooled": pooled, "itin-plus": pooled}


@pytest.mark.parametrize("head", LEARNED)
def test_equations(head: str) -> None:
    made = head_of(head)
    p = {name: value.numpy() for name, value in made.state_dict().items()}
    out = run(made, [0, 1, 2, 3, 4])
    for b, (f, x, V) in enumerate(SAMPLES):
        want = EQUATIONS[head](made.config, p, list(f), list(x), V, P[b])
        close(out.logits[b], want["logits"])
        close(out.fused[b], want["fused"])
        for name in set(want) - {"logits", "fused"}:
            own = getattr(out, name)[b]
            there = tuple(slice(length) for length in want[name].shape)
            if len(f) or name == "words":
                close(own[there], want[name])
            rest = own.clone()
            rest[there] = 0
            assert not rest.any()


def test_equations_of_linear() -> None:
    config = HeadConfig(
        head="linear", scene=True, scene_dim=SIZE, word_ngrams=1, char_ngrams=0, means_scale=0.7, **DIMS
    )
    head = LinearHead(config)
    words = ["day", "fine", "rain"]
    head.know({"words": words, "targets": [["classes", 3]]})
    columns = len(words) + DIMS["token_dim"] + DIMS["context_dim"] + SIZE
    rng = np.random.default_rng(3)
    W, b, idf = rng.normal(size=(3, columns)), rng.normal(size=3), np.array([1.5, 2.0, 0.7])
    for name, value in (("weight", W), ("bias", b), ("idf", idf)):
        getattr(head, name).copy_(torch.from_numpy(value))
    sizes = {"text": DIMS["token_dim"], "context": DIMS["context_dim"], "scene": SIZE}
    moments = {name: (rng.normal(size=size), 0.5 + rng.random(size)) for name, size in sizes.items()}
    for name, (mu, sigma) in moments.items():
        getattr(head, f"{name}_mean").copy_(torch.from_numpy(mu))
        getattr(head, f"{name}_sd").copy_(torch.from_numpy(sigma))
    texts = ["a fine day, fine", "rain", "no sun", "", "Day of RAIN rain"]
    _, tokens, mask, context, _ = batch_of(SAMPLES, 7, 3, rubbish=float("nan"))
    out = head(None, pack_words(tokens, mask), None, context, texts=texts, extras=extras_of(P))
    for row, ((_, x, V), text) in enumerate(zip(SAMPLES, texts, strict=True)):
        counts = [text.lower().replace(",", "").split().count(word) for word in words]
        a = np.array([(1 + np.log(count)) * weight if count else 0 for count, weight in zip(counts, idf, strict=True)])
        a = a / np.sqrt((a**2).sum()) if a.any() else a
        t = (mean(list(x), sizes["text"]) - moments["text"][0]) / moments["text"][1] if len(x) else np.zeros(5)
        v, s = ((one - moments[name][0]) / moments[name][1] for name, one in (("context", V), ("scene", P[row])))
        want = b.copy()
        for column, value in enumerate([*a, *(0.7 * t), *(0.7 * v), *(0.7 * s)]):
            want = want + W[:, column] * value
        close(out.logits[row].softmax(-1), softmax(want))
    reasons = head.reasons(None, pack_words(tokens, mask), None, context, None, texts, extras_of(P))
    for row, own in enumerate(reasons):
        chosen = int(out.logits[row].argmax())
        s = 0.7 * (P[row] - moments["scene"][0]) / moments["scene"][1]
        assert own["scene"] == pytest.approx(float((W[chosen] - W.mean(0))[-SIZE:] @ s), abs=1e-10)


@pytest.mark.parametrize("head", ["linear", "pooled"])
def test_means_and_deviations_are_measured(head: str) -> None:
    made = make(HeadConfig(head=head, scene=True, scene_dim=SIZE, **DIMS)).double()  # type: ignore[arg-type]
    batches = []
    for rows in ([0, 1, 2], [3, 4]):
        _, tokens, mask, context, _ = batch_of([SAMPLES[row] for row in rows], 7, 3)
        packed: Words = pack_words(tokens, mask)
        batches.append((None, packed, None, context, None, None, extras_of(P[rows])))
    made.scale(batches)
    close(made.scene_mean, P.mean(0), 1e-12)
    close(made.scene_sd, P.std(0), 1e-12)


@pytest.mark.parametrize("head", LEARNED)
def test_padding_and_order_do_not_matter(head: str) -> None:
    made = head_of(head)
    whole = run(made, [0, 1, 2, 3, 4]).logits
    order = [3, 0, 4, 2, 1]
    close(run(made, order, n=9, m=5).logits, whole[order])
    for row in range(5):
        close(run(made, [row], n=len(SAMPLES[row][1]) or 1, m=len(SAMPLES[row][0]) or 1).logits[0], whole[row])
    assert not torch.allclose(whole, made(*batch_of(SAMPLES), extras=extras_of(P[::-1])).logits)


@pytest.mark.parametrize("head", LEARNED)
def test_side_by_side_is_each_alone(head: str) -> None:
    """Values and gradients, with dropout too; of one head alone bit by bit."""
    heads = [head_of(head, seed, dropout=0.4).train() for seed in (1, 2, 3)]
    orders = ([0, 1, 2], [2, 4, 3], [1, 1, 0])
    each = [batch_of([SAMPLES[row] for row in rows], 7, 3) for rows in orders]
    regions, tokens, mask, context, region_mask = (torch.stack(every) for every in zip(*each, strict=True))
    extras = extras_of(np.stack([P[rows] for rows in orders]))
    stack = SideBySide(heads, generators=[torch.Generator().manual_seed(seed) for seed in range(3)])
    logits = stack.train()(regions, pack_words(tokens, mask), context, region_mask, extras)
    for seed, one in enumerate(heads):
        one.generators = [torch.Generator().manual_seed(seed)]
    alone = torch.stack([run(one, rows).logits for one, rows in zip(heads, orders, strict=True)])
    close(logits, alone, 1e-11)
    mark = torch.randn(alone.shape, dtype=torch.float64)
    for out in (logits, alone):
        (out * mark).sum().backward()
    for j, one in enumerate(heads):
        for name, parameter in one.named_parameters():
            close(gradient_of(stack, name, j), parameter.grad, 1e-11)
    single = SingleHead(heads[0]).eval()
    words = pack_words(tokens[:1], mask[:1])
    got = single(regions[:1], words, context[:1], region_mask[:1], extras.each(lambda one: one[:1]))
    heads[0].eval()
    plain = heads[0](regions[0], tokens[0], mask[0], context[0], region_mask[0], extras=extras_of(P[orders[0]])).logits
    assert torch.equal(got[0], plain)


@pytest.mark.parametrize("head", ["multisentinet", "mvan"])
def test_dropout_is_of_the_scene_by_sample(head: str) -> None:
    made = head_of(head, dropout=0.25)
    made.generators = [torch.Generator().manual_seed(5)]
    got = run(made.train(), [0, 1, 2, 3, 4])
    draws = torch.Generator().manual_seed(5)
    sizes = ["region_dim", "token_dim", *(["context_dim"] if head == "multisentinet" else [])]
    keep = [mask_of(5, size, 0.25, draws) / 0.75 for size in [*(DIMS[name] for name in sizes), SIZE]]
    regions, tokens, mask, context, region_mask = batch_of(SAMPLES, 7, 3)
    made.eval()
    if head == "multisentinet":
        context = context * keep[2]
    still = made(
        regions * keep[0][:, None], tokens * keep[1][:, None], mask, context, region_mask,
        extras=extras_of(P * keep[-1].numpy()),
    )  # fmt: skip
    close(got.fused, still.fused, 1e-12)


def test_who_reads_it() -> None:
    """multisentinet and mvan where it is there, pooled, itin-plus and linear where told to, others never."""
    for head in HEADS:
        for there in (0, SIZE):
            for scene in (None, True, False):
                config = HeadConfig(head=head, scene_dim=there, scene=scene)
                by_default = head in ("multisentinet", "mvan") and there > 0
                want = head in (*LEARNED, "linear") and (by_default if scene is None else scene)
                assert ("scene" in config.inputs) == config.reads_scene == want
                assert config.scene_dim == (there if want else 0)
                asks = scene is None and head in ("multisentinet", "mvan")
                assert config.optional == ({"scene"} if asks else set())
                assert ("scene_dim" in config.uses) == (want and there > 0)
    assert HeadConfig(head="multisentinet", scene_dim=SIZE).reads == {"tokens", "context", "scene"}
    assert HeadConfig(head="mvan", scene_dim=SIZE).reads == {"regions", "tokens", "scene"}
    assert HeadConfig(head="mvan").reads == {"regions", "tokens"}
    assert HeadConfig(head="linear", scene=True, scene_dim=SIZE, means_scale=0.0).reads == set()
    assert [label_of(head, ["scene_dim"]) for head in ("itin", "multisentinet", "mvan", "comn")] == [
        *("itin", "multisentinet", "mvan*", "comn*"),
    ]
    assert label_of("mvan", ["scene_dim"], False) == label_of("mvan") == "mvan* (mean region as scene)"


def test_where_there_is_none_nothing_is_new() -> None:
    """The weights of before, whether a scene is given or not."""
    for head in LEARNED:
        made = head_of(head, scene=None, scene_dim=0)
        assert not any("scene" in name or "mlp_p" in name for name in made.state_dict())
        arguments = batch_of(SAMPLES, 7, 3)
        assert torch.equal(made(*arguments).logits, made(*arguments, extras=extras_of(P)).logits)
    assert head_of("multisentinet", scene=None, scene_dim=0).W_s[0].in_features == DIMS["region_dim"]
    assert head_of("multisentinet", scene=None).W_s[0].in_features == SIZE


def test_what_is_refused() -> None:
    made = head_of("pooled")
    arguments = batch_of(SAMPLES, 7, 3)
    with pytest.raises(ValueError, match=r"extras: expected a scene \(B, 4\), got None"):
        made(*arguments)
    with pytest.raises(ValueError, match=r"extras.scene: expected \(B, 4\), got \(5, 3\)"):
        made(*arguments, extras=extras_of(P[:, :3]))
    with pytest.raises(
        ValueError, match="scene_dim: expected an integer of at least 1 for a head that reads the scene"
    ):
        make(replace(made.config, scene_dim=0))
