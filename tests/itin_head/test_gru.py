"""Our own bidirectional GRU against `torch.nn.GRU`, in PyTorch and in C++."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from itin.itin_head import HeadConfig, ITINHead
from itin.itin_head.gru import compiled
from itin.itin_head.gru.packing import Packing, Words, gather_words, pack, pack_words
from itin.itin_head.gru.recurrence import bigru, deep_bigru, plain_bigru, weights
from itin.train.config import TrainConfig
from itin.train.cuda_graphs import StaticShape
from itin.train.features.features import Features
from itin.train.loop import fit
from itin.train.protocols.split import random_split

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = [[4, 1, 7, 0, 3], [1], [0], [0, 0], [5, 5, 5], [0, 1, 0, 2], [9, 8, 7, 6, 5, 4, 3, 2, 1], []]
CPU = torch.device("cpu")


@pytest.fixture
def needs_compiler() -> None:
    try:
        compiled.load()
    except compiled.BuildError as error:
        pytest.skip(f"needs a C++ compiler: {error}")


@pytest.fixture(params=["packed", "compiled"])
def way(request: pytest.FixtureRequest) -> str:
    if request.param == "compiled":
        request.getfixturevalue("needs_compiler")
    return str(request.param)


def padded(lengths: list[int], E: int, seed: int = 0, rubbish: float = float("nan")) -> tuple[Tensor, Tensor]:
    """Random words (B, n, E) in float64 with rubbish at padding, and their mask."""
    n = max(lengths, default=0)
    mask = torch.arange(n) < torch.tensor(lengths, dtype=torch.int64)[:, None]
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(len(lengths), n, E)))
    return x.masked_fill(~mask[..., None], rubbish), mask


def random_gru(E: int, d: int, seed: int = 0) -> nn.GRU:
    gru = nn.GRU(E, d, batch_first=True, bidirectional=True, dtype=torch.float64)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in gru.parameters():
            parameter.copy_(torch.from_numpy(rng.normal(size=tuple(parameter.shape)) * 0.7))
    return gru


def one_by_one(gru: nn.GRU, x: Tensor, mask: Tensor) -> Tensor:
    """Eqs. 2-4 by `nn.GRU`, each text alone: nothing is packed, nothing padded."""
    W = x.new_zeros(*mask.shape, gru.hidden_size)
    for b, length in enumerate(mask.sum(1).tolist()):
        if length:
            h, _ = gru(x[b : b + 1, :length])
            forward, backward = h[0].chunk(2, -1)
            W[b, :length] = (forward + backward) / 2
    return W


def gradients(gru: nn.GRU, x: Tensor, W: Tensor) -> list[Tensor]:
    """Of a weighted sum of W: for the parameters and for x."""
    for one in (x, *gru.parameters()):
        one.grad = None
    (W * torch.arange(1.0, W.numel() + 1, dtype=W.dtype).cos().view_as(W)).sum().backward()
    return [torch.zeros_like(one) if one.grad is None else one.grad for one in (*gru.parameters(), x)]


# Packing -------------------------------------------------------------------------------------------------------------


def test_packing_by_hand() -> None:
    packing = pack(torch.tensor([1, 3, 0, 2]))
    assert packing.sizes == [3, 2, 1]
    assert (packing.n, packing.rows, packing.batch) == (3, 6, (4,))
    # Texts by length: 1, 3, 0. Packed: their first words, then two second words, then a third.
    words = [(1, 0), (3, 0), (0, 0), (1, 1), (3, 1), (1, 2)]
    assert packing.padded.tolist() == [3 * text + word for text, word in words]
    assert packing.forward.tolist() == [0, 1, 2, 3, 4, 5]
    assert packing.backward.tolist() == [6 + place for place in (5, 4, 2, 3, 1, 0)]  # text 1 reversed: 0 3 5 -> 5 3 0


@pytest.mark.parametrize("lengths", LENGTHS)
def test_packed_words_are_those_of_the_texts(lengths: list[int]) -> None:
    x, mask = padded(lengths, 3)
    words = pack_words(x, mask)
    P = sum(lengths)
    assert words.x.shape == (2, P, 3)
    assert not words.x.isnan().any()
    back = words.x.flatten(0, 1)
    for places in (words.packing.forward, words.packing.backward):
        again = torch.full_like(x, float("nan"))
        again.view(-1, 3)[words.packing.padded] = back[places]
        assert torch.equal(again[mask], x[mask])
        assert again[~mask].isnan().all()
    store = torch.cat([x[mask], x.new_full((2, 3), 7)]).half()
    offsets = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int64)
    gathered = gather_words(store, offsets, torch.arange(len(lengths)))
    assert gathered.x.dtype == torch.float32
    assert torch.equal(gathered.x, words.x.half().float())
    assert torch.equal(gathered.mask, mask)
    assert gathered.packing.sizes == words.packing.sizes


def test_packing_is_frozen() -> None:
    packing: Packing = pack(torch.tensor([1, 2]))
    with pytest.raises(AttributeError):
        packing.n = 3  # type: ignore[misc]


# Values and gradients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", LENGTHS)
def test_equals_torch(lengths: list[int], way: str) -> None:
    gru = random_gru(5, 6)
    x, mask = padded(lengths, 5, rubbish=0.0)
    x.requires_grad_()
    want = one_by_one(gru, x, mask)
    want_gradients = gradients(gru, x, want) if want.requires_grad else [torch.zeros_like(p) for p in gru.parameters()]
    words = pack_words(x, mask)
    got = bigru(words.x, words.packing, *weights(gru), recurrence=way)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    for one, other in zip(gradients(gru, x, got), want_gradients, strict=False):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(plain_bigru(gru, pack_words(x, mask)), want, rtol=1e-12, atol=1e-12)


def test_equals_torch_at_some_size(way: str) -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 30, 40).tolist()
    gru = nn.GRU(24, 32, batch_first=True, bidirectional=True, dtype=torch.float64)
    x, mask = padded(lengths, 24)
    words = pack_words(x, mask)
    results = []
    for W in (
        bigru(words.x, words.packing, *weights(gru), recurrence=way),
        plain_bigru(gru, words),
    ):
        results.append([W.detach(), *gradients(gru, x, W)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_extreme_sums_saturate(way: str) -> None:
    """In float32, with gates at 0 and 1 and new states at -1 and 1."""
    gru = random_gru(5, 6).float()
    x, mask = padded([3, 2], 5)
    words = pack_words(x.float() * 1e4, mask)
    W = bigru(words.x, words.packing, *weights(gru), recurrence=way)
    torch.testing.assert_close(W, plain_bigru(gru, words), rtol=1e-6, atol=1e-6)
    W.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in gru.parameters())


def test_not_a_number_stays_one(way: str) -> None:
    gru = random_gru(5, 6).float()
    x, mask = padded([3, 2], 5)
    x[0, 1, 2] = float("nan")
    words = pack_words(x.float(), mask)
    W = bigru(words.x, words.packing, *weights(gru), recurrence=way)
    assert W[0].isnan().all()
    assert not W[1].isnan().any()


def test_side_by_side_equals_alone(way: str) -> None:
    """Three batches with three GRUs, in one recurrence; one of them has no words, the store holds a NaN elsewhere."""
    lengths = torch.tensor([[4, 1, 7], [2, 2, 0], [0, 0, 0]])
    grus = [random_gru(5, 6, seed) for seed in range(3)]
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(17, 5)))
    values[0] = float("nan")  # of a text that is in no batch
    offsets = torch.cat([torch.tensor([0, 1]), 1 + lengths.flatten().cumsum(0)])
    rows = 1 + torch.arange(9).view(3, 3)
    words = gather_words(values, offsets, rows)
    assert words.packing.sizes == [3, 2, 2, 2, 1, 1, 1]
    stacked = [
        torch.stack([each for both in one for each in both])
        for one in zip(*(weights(gru) for gru in grus), strict=True)
    ]
    W = bigru(words.x, words.packing, *stacked, recurrence=way)
    mark = torch.arange(1.0, W.numel() + 1, dtype=W.dtype).cos().view_as(W)
    (W * mark).sum().backward()
    got = [[parameter.grad for parameter in gru.parameters()] for gru in grus]
    for j, gru in enumerate(grus):
        alone = gather_words(values, offsets, rows[j])
        one = bigru(alone.x, alone.packing, *weights(gru))
        torch.testing.assert_close(W[j, :, : alone.packing.n], one, rtol=1e-12, atol=1e-12)
        assert not W[j, :, alone.packing.n :].any()
        for parameter in gru.parameters():
            parameter.grad = None
        (one * mark[j, :, : alone.packing.n]).sum().backward()
        for parameter, gradient in zip(gru.parameters(), got[j], strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-12, atol=1e-12)


def test_every_thread_does_its_share_alike(needs_compiler: None) -> None:
    """Texts shared out among 1 to 5 threads: the same states, to the bit."""
    sizes = pack(torch.from_numpy(np.random.default_rng(2).integers(0, 12, 23))).sizes
    generator = torch.Generator().manual_seed(0)
    sums, W, b = (torch.randn(2, *shape, generator=generator) for shape in ((sum(sizes), 18), (18, 6), (6,)))
    grad = torch.randn(2, sum(sizes), 6, generator=generator)
    results = []
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        forward = compiled.forward(list(sums.clone()), W, b, sizes)
        found = compiled.backward(grad, forward, W, sizes)
        results.append([forward.h, found.sums, *found.W_hh, found.bias])
    torch.set_num_threads(1)
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result[:2], results[0][:2], strict=True))
        for one, other in zip(result[2:], results[0][2:], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bytes_", [16, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_of_every_kind_of_processor(needs_compiler: None, bytes_: int, dtype: torch.dtype) -> None:
    if bytes_ > compiled.widest_vector():
        pytest.skip(f"this processor has vectors of at most {compiled.widest_vector()} bytes")
    rng = np.random.default_rng(0)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-5
    for rows, inner, cols in [(1, 1, 1), (3, 5, 31), (4, 7, 32), (12, 8, 33), (31, 40, 100), (0, 3, 4), (64, 9, 16)]:
        A, B, C = (torch.from_numpy(rng.normal(size=size)) for size in ((rows, inner), (inner, cols), (rows, cols)))
        A, B, C = A.to(dtype), B.to(dtype), C.to(dtype)
        got = compiled.add_product(C, A, B, bytes_)
        torch.testing.assert_close(got, C + A @ B, rtol=tolerance, atol=tolerance)


def test_head_takes_padded_and_packed_words_alike() -> None:
    head = ITINHead(HeadConfig(region_dim=3, token_dim=5, context_dim=4, d=6, k=4, hidden=4)).double()
    x, mask = padded([3, 0, 2], 5)
    regions, context = torch.ones(3, 2, 3, dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64)
    words = pack_words(x, mask)
    for one, other in zip(head(regions, x, mask, context), head(regions, words, None, context), strict=True):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one is other is None
    with pytest.raises(ValueError, match="token_mask: expected None beside packed words, got a tensor"):
        head(regions, words, mask, context)
    with pytest.raises(ValueError, match=r"tokens.x: expected \(2, 5, 5\), got \(2, 5, 4\)"):
        head(regions, Words(words.x[..., :4], words.packing, mask), None, context)
    with pytest.raises(ValueError, match="gru: expected one of packed, compiled, fused, torch, got 'quick'"):
        ITINHead(head.config, gru="quick")


def test_state_dicts_are_interchangeable() -> None:
    config = HeadConfig(token_dim=5, d=6, k=4, hidden=4)
    heads = [ITINHead(config, gru=gru) for gru in ("packed", "torch")]
    assert list(heads[0].state_dict()) == list(heads[1].state_dict())
    heads[0].load_state_dict(heads[1].state_dict())
    assert isinstance(heads[0].gru, nn.GRU)
    x, mask = padded([3, 0, 2], 5)
    words = pack_words(x.float(), mask)
    torch.testing.assert_close(heads[0].read(words).W, heads[1].read(words).W, rtol=1e-5, atol=1e-6)


# Training ------------------------------------------------------------------------------------------------------------


def made_up(n: int = 200) -> Features:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 25, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Features(
        ids=[f"{i:04}" for i in range(n)],
        labels=rng.integers(3, size=n),
        regions=rng.normal(size=(n, 2, 16)).astype(np.float16),
        counts=rng.integers(3, size=n),
        tokens=rng.normal(size=(offsets[-1], 24)).astype(np.float16),
        offsets=offsets,
        context=rng.normal(size=(n, 8)).astype(np.float16),
    )


def test_losses_of_an_epoch(way: str) -> None:
    features = made_up()
    split = random_split(features.ids, 0)
    config = TrainConfig(d=64, k=32, hidden=16, epochs=2, batch_size=16, lr=1e-2)
    plain, own = (fit(config, features, split, gru=gru) for gru in ("torch", way))
    assert (plain.gru, own.gru) == ("torch", way)
    for one, other in zip(plain.history, own.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
    again = fit(config, features, split, gru=way)
    assert all(torch.equal(value, own.state_dict[name]) for name, value in again.state_dict.items())


def test_predictions_do_not_depend_on_a_compiler(needs_compiler: None) -> None:
    head = ITINHead(HeadConfig(region_dim=3, token_dim=5, context_dim=4, d=6, k=4, hidden=4))
    x, mask = padded([3, 0, 2], 5)
    words = pack_words(x.float(), mask)
    with torch.inference_mode():
        packed = head.read(words).W
        head.recurrence = "compiled"
        assert torch.equal(head.read(words).W, packed)


# Static shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2])
def test_static_packing_is_the_ragged_one(layers: int) -> None:
    """The same states and gradients; beyond a text's end there is zero, and rubbish in the words there is not read."""
    torch.manual_seed(0)
    grus = [nn.GRU(5, 4, layers, batch_first=True, bidirectional=True).double() for _ in range(2)]
    lengths = torch.tensor([[7, 4, 0], [5, 2, 1]])
    x = torch.randn(2, 3, 7, 5, dtype=torch.float64)
    mask = torch.arange(7) < lengths[..., None]
    ragged = pack_words(x, mask)
    shape = StaticShape.of(torch.tensor([9, 4, 2]), torch.device("cpu"))
    assert shape.sizes == [3, 3, 2, 2, 1, 1, 1, 1, 1]
    packing, numbers = shape.pack(lengths)
    assert sorted([*packing.forward.tolist(), *packing.backward.tolist()]) == list(range(2 * 2 * 15))
    texts = torch.arange(2)[:, None, None], shape.rank.expand(2, 2, 15)
    there = torch.where((numbers >= 0)[..., None], x[(*texts, numbers)], 7.0)
    static = Words(there.view(4, 15, 5), packing, torch.arange(9) < lengths[..., None])
    results = []
    for words in (ragged, static):
        for gru in grus:
            gru.zero_grad()
        stacked = [
            tuple(
                torch.stack([each for both in one for each in both])
                for one in zip(*(weights(gru, layer) for gru in grus), strict=True)
            )
            for layer in range(layers)
        ]
        W = deep_bigru(words, stacked)
        W[:, :, :7].square().sum().backward()
        results.append((W, [p.grad.clone() for gru in grus for p in gru.parameters()]))
    (W, gradients), (W_static, gradients_static) = results
    torch.testing.assert_close(W_static[:, :, :7], W, rtol=1e-12, atol=1e-12)
    assert not W_static[:, :, 7:].any()
    for one, other in zip(gradients_static, gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
