"""Heads side by side: each has the results, the gradients and the training that it has alone."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from itin.device import matmul_precision
from itin.errors import RunError
from itin.itin_head import ABLATIONS, GATES, HEADS, HeadConfig, ITINHead
from itin.itin_head.gru.packing import Words, gather_words
from itin.itin_head.heads.pooled import PooledHead
from itin.itin_head.side_by_side import SideBySide, SingleHead
from itin.train.config import TrainConfig, View
from itin.train.cuda_graphs import GraphSteps, bucket_of, longest_by_rank
from itin.train.features import batches
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.shared import open_features, save_features
from itin.train.loop import Fit, fit
from itin.train.optimization.objective import Objective
from itin.train.presets import short_name
from itin.train.protocols.protocol import Protocol, Splitter
from itin.train.protocols.split import Split, random_split
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.folder import Run, load_run
from itin.train.steps import ComputeOptions, predict, shape_of
from itin.train.sweeps import one_device
from itin.train.sweeps.axes import Trial
from itin.train.sweeps.one_device import Stacks, estimated_bytes, is_out_of_memory, stack_limit
from itin.train.sweeps.run import Queue
from itin.train.sweeps.setup import Event, Setup

from ..features import results_of
from ..stacked import gradient_of
from ..train.test_runs import TABLE, make_stores

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = list(itertools.product(GATES, ABLATIONS))
DIMS = {"region_dim": 7, "token_dim": 5, "context_dim": 6, "classes": 3, "d": 4, "k": 3, "hidden": 5}
PLAIN = View(keep_special=False, center_crop=False)
TABLE_2 = [{"head": head} for head, spec in HEADS.items() if (spec.inferred or spec.stand_ins) and not spec.solved]
BASE = TrainConfig(m=2, d=16, k=8, hidden=8, batch_size=16, epochs=3, lr=5e-3)


def heads_of(kinds: list[tuple[str, str]]) -> list[ITINHead]:
    heads = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for j, (gate, ablation) in enumerate(kinds):
            head = ITINHead(HeadConfig(gate=gate, ablation=ablation, lam=j / 10, **DIMS)).double()
            with torch.no_grad():
                for parameter in head.parameters():
                    parameter.copy_(torch.randn(parameter.shape, dtype=torch.float64) * 0.7)
            heads.append(head)
    return heads


class Batches:
    """J ragged batches of B samples: texts of length 0 and 1, images without regions, rubbish where nothing stands."""

    def __init__(self, J: int, B: int = 5, m: int = 3) -> None:
        rng = np.random.default_rng(3)
        lengths = rng.integers(0, 7, size=(J, B))
        lengths[0, :2] = 0, 1
        counts = rng.integers(0, m + 1, size=(J, B))
        values = rng.normal(size=(int(lengths.sum()), DIMS["token_dim"]))
        offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]))
        self.rows = torch.arange(J * B).view(J, B)
        self.values, self.offsets = torch.from_numpy(values), offsets
        self.regions = torch.from_numpy(rng.normal(size=(J, B, m, DIMS["region_dim"])))
        self.region_mask = torch.arange(m) < torch.from_numpy(counts)[..., None]
        self.regions[~self.region_mask] = float("nan")
        self.context = torch.from_numpy(rng.normal(size=(J, B, DIMS["context_dim"])))
        self.words = gather_words(self.values, offsets, self.rows)

    def alone(self, j: int) -> tuple[Any, ...]:
        words = gather_words(self.values, self.offsets, self.rows[j])
        return self.regions[j], words, None, self.context[j], self.region_mask[j]


def compare(heads: list[ITINHead], batches: Batches) -> None:
    stack = SideBySide(heads)
    logits = stack(batches.regions, batches.words, batches.context, batches.region_mask)
    logits.square().sum().backward()
    for j, head in enumerate(heads):
        alone = head(*batches.alone(j)).logits
        torch.testing.assert_close(logits[j], alone, rtol=1e-12, atol=1e-12)
        alone.square().sum().backward()
        for name, parameter in head.named_parameters():
            want = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            torch.testing.assert_close(gradient_of(stack, name, j), want, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", EVERY)
def test_heads_of_one_kind(kind: tuple[str, str]) -> None:
    compare(heads_of([kind] * 3), Batches(3))


@pytest.mark.parametrize("kind", EVERY)
def test_weights_come_back_as_they_were(kind: tuple[str, str]) -> None:
    heads = heads_of([kind] * 2)
    stack = SideBySide(heads)
    for j, head in enumerate(heads):
        state = stack.state_of(j)
        assert list(state) == [name for name, _ in head.named_parameters()]
        assert all(torch.equal(state[name], value) for name, value in head.state_dict().items())


def test_all_regions_when_no_mask_is_given() -> None:
    heads, batches = heads_of([("scalar", "none")] * 2), Batches(2)
    stack = SideBySide(heads)
    regions = batches.regions.nan_to_num(0.5)
    every = torch.ones_like(batches.region_mask)
    arguments = (regions, batches.words, batches.context)
    assert torch.equal(stack(*arguments), stack(*arguments, every))
    with pytest.raises(ValueError, match=r"regions: expected \(J, B, m, region_dim\), got None"):
        stack(None, batches.words, batches.context)
    blind = SideBySide(heads_of([("scalar", "only-context")] * 2))
    assert torch.equal(blind(None, batches.words, batches.context), blind(*arguments))


def test_heads_must_have_one_size() -> None:
    with pytest.raises(ValueError, match="heads: expected at least one, got none"):
        SideBySide([])
    with pytest.raises(ValueError, match="expected configurations that differ in lam alone"):
        SideBySide([ITINHead(HeadConfig(**DIMS)), ITINHead(HeadConfig(**{**DIMS, "d": 6}))])


# Training ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features() -> Features:
    rng = np.random.default_rng(0)
    n = 140
    lengths = rng.integers(0, 9, size=n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = rng.integers(3, size=n)
    context = rng.normal(size=(n, 4))
    context[:, :3] += np.eye(3)[labels]
    return Features(
        ids=[f"{i:03}" for i in range(n)],
        labels=labels,
        regions=rng.normal(size=(n, 3, 6)).astype(np.float16),
        counts=rng.integers(4, size=n),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float16),
        offsets=offsets,
        context=context.astype(np.float16),
        dataset="my set",
        labelled=n,
    )


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


VARIED = [BASE, replace(BASE, seed=1), replace(BASE, m=3, lam=0.7), replace(BASE, m=1, lam=1.0)]
GROUPS = [
    VARIED,
    [replace(BASE, gate="vector"), replace(BASE, gate="vector", m=1)],
    *([replace(BASE, ablation=one), replace(BASE, ablation=one, seed=2)] for one in ABLATIONS[1:4]),
    [replace(BASE, m=0), replace(BASE, ablation="only-context", lam=1.0)],
]


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: short_name(group[0]))
def test_training_side_by_side_is_training_alone(group: list[TrainConfig], features: Features, split: Split) -> None:
    """After 21 steps of Adam in float32: losses to 1e-4, weights to 1e-3 of their spread, the same epoch."""
    seen: list[tuple[int, dict[str, float]]] = []
    together = results_of(group, features, split, on_epoch=lambda j, row: seen.append((j, row)))
    same_epoch = 0
    for j, (config, result) in enumerate(zip(group, together, strict=True)):
        alone = fit(config, features, split, gru="packed")
        assert isinstance(result, Fit)
        assert [row for number, row in seen if number == j] == result.history
        assert (result.config, result.head, result.stacked) == (alone.config, alone.head, len(group))
        for one, other in zip(result.history, alone.history, strict=True):
            assert list(one) == list(other)
            for name in ("train_loss", "val_loss"):
                assert one[name] == pytest.approx(other[name], rel=1e-4)
        assert result.state_dict.keys() == alone.state_dict.keys()
        if result.best_epoch == alone.best_epoch:  # two epochs may be equal but for rounding
            same_epoch += 1
            for name, value in alone.state_dict.items():
                if name == "Tran_z.2.bias":  # a softmax does not see it: its gradient is rounding, its steps are chance
                    continue
                assert (result.state_dict[name] - value).abs().max() <= 1e-3 * value.abs().max(), name
            for part in ("val", "test"):
                np.testing.assert_allclose(result.probabilities[part], alone.probabilities[part], atol=1e-3)
    assert same_epoch >= len(group) // 2


def test_one_that_breaks_down_does_not_touch_the_others(features: Features, split: Split) -> None:
    regions, counts = features.regions.copy(), features.counts.copy()
    regions[split.train[3], 2], counts[split.train[3]] = np.nan, 3  # only a head of three regions sees it
    broken = replace(features, regions=regions, counts=counts)
    configs = [replace(BASE, m=3), BASE]
    one, other = results_of(configs, broken, split, evaluate=("val",))
    assert isinstance(one, RunError)
    assert str(one).startswith("training broke down in epoch 1 (learning rate 0.005)")
    assert isinstance(other, Fit)
    alone = fit(configs[1], broken, split, evaluate=("val",))
    assert other.history[-1]["train_loss"] == pytest.approx(alone.history[-1]["train_loss"], rel=1e-4)
    context = features.context.copy()
    context[split.test[0]] = np.nan
    (late,) = results_of([BASE], replace(features, context=context), split)
    assert isinstance(late, RunError)
    assert "test loss = nan" in str(late)


def test_only_equal_shapes_go_together(features: Features, split: Split) -> None:
    assert shape_of(BASE, "x") == shape_of(VARIED[2], "x")
    assert shape_of(replace(BASE, batch_size=None), "mvsa-multiple") == shape_of(
        replace(BASE, batch_size=128), "mvsa-multiple"
    )
    changes = {"d": 8, "gate": "vector", "ablation": "no-gate", "m": 0, "lr": 0.1, "split_seed": 1, "epochs": 1}
    for name, value in {**changes, "keep_special": True}.items():
        other = replace(BASE, **{name: value})  # type: ignore[arg-type]
        assert shape_of(BASE, "x") != shape_of(other, "x")
        with pytest.raises(ValueError, match="configs: expected configurations that differ only in m, lam, seed"):
            results_of([BASE, other], features, split)


def test_narrow(features: Features) -> None:
    resident = ResidentFeatures(features, torch.device("cpu"), 3)
    rows = torch.arange(9)
    for one, other in zip(
        resident.narrow(2).batch(rows), ResidentFeatures(features, torch.device("cpu"), 2).batch(rows), strict=True
    ):
        if isinstance(one, Words):
            pairs = [(one.x, other.x), (one.mask, other.mask)]
        else:
            pairs = list(zip(one, other, strict=True)) if isinstance(one, tuple) else [(one, other)]
        assert one is other is None or all(torch.equal(a, b) for a, b in pairs)
    assert resident.m == 3
    with pytest.raises(ValueError, match="m: expected at most 3, got 4"):
        resident.narrow(4)


# Stacks of jobs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def setup(features: Features, tmp_path: Path) -> Setup:
    save_features(features, tmp_path / "features")
    (tmp_path / "runs").mkdir()
    base = Splitter(Protocol(), features.ids, features.labels)
    n = len(features)
    splitter = TargetSplitter(
        base, features.ids, np.arange(n), features.known, features.known, np.full((2, n), -1), np.zeros(n, bool)
    )
    return Setup({PLAIN: tmp_path / "features"}, TABLE.dataset, {PLAIN: make_stores()}, tmp_path / "runs", splitter)


def queue(configs: list[TrainConfig]) -> Queue:
    return Queue(Trial("grid", config, f"key{i}") for i, config in enumerate(configs))


def done(events: Iterable[Event]) -> list[Run]:
    return [load_run(event.result.run) for event in events if event.result is not None and event.result.run is not None]


def failed(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [
        (event.result.key, event.result.error)
        for event in events
        if event.result is not None and event.result.run is None
    ]


def heights(events: list[Event]) -> list[int]:
    return [run.environment["stacked"] for run in done(events)]


def test_stacks_of_equal_shape(setup: Setup) -> None:
    short = replace(BASE, epochs=1)
    configs = [short, replace(short, seed=1), replace(short, d=8), replace(short, seed=2), replace(short, d=8, m=1)]
    events = list(Stacks(setup, 2).run(queue(configs)))
    assert [run.record["key"] for run in done(events)] == ["key0", "key1", "key2", "key4", "key3"]
    assert heights(events) == [2, 2, 2, 2, 1]
    assert sum(bool(event.row) for event in events) == 5
    kept = done(events)[1]
    assert kept.path == setup.runs / f"{short_name(configs[1])}-seed1-key1"
    assert kept.config == configs[1]
    assert set(kept.metrics) & {"val", "test"} == {"val"}


def test_stack_that_does_not_fit_is_halved(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(configs: list[TrainConfig], *rest: Any) -> Any:
        if len(configs) > 2 or any(config.seed == 4 for config in configs):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return real(configs, *rest)

    real = one_device.train
    monkeypatch.setattr(one_device, "train", small)
    short = replace(BASE, epochs=1)
    events = list(Stacks(setup, 5).run(queue([replace(short, seed=seed) for seed in range(5)])))
    assert heights(events) == [2, 2, 1, 1]
    ((key, error),) = failed(events)
    assert key == "key4"
    assert "can't allocate memory" in error


def test_other_errors_are_those_of_the_stack(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: Any) -> Any:
        raise KeyError("x")

    monkeypatch.setattr(one_device, "train", wrong)
    events = list(Stacks(setup, 2).run(queue([BASE, replace(BASE, seed=1)])))
    assert failed(events) == [("key0", "KeyError: 'x'"), ("key1", "KeyError: 'x'")]
    monkeypatch.undo()
    there = setup.runs / f"{short_name(BASE)}-seed0-key0"
    there.mkdir()
    (there / "file").touch()
    events = list(Stacks(setup, 2).run(queue([BASE, replace(BASE, seed=1)])))
    ((key, error),) = failed(events)
    assert key == "key0"
    assert f"{there.name} is already there" in error
    assert heights(events) == [2]
    with pytest.raises(ValueError, match="limit: expected at least 1, got 0"):
        Stacks(setup, 0)


def test_memory(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stack_limit(BASE, features, torch.device("cpu")) == 1
    each = estimated_bytes(BASE, features)
    weights = sum(p.numel() for p in ITINHead(BASE.head_config(features.dims)).parameters())
    assert each > 4 * 6 * weights
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (each * 100, each * 200))
    assert stack_limit(BASE, features, torch.device("cuda")) == 70
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (0, each * 200))
    assert stack_limit(BASE, features, torch.device("cuda")) == 1
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("x"))
    assert not is_out_of_memory(RuntimeError("x"))
    followed = RuntimeError("operation failed due to a previous error during capture")
    followed.__context__ = torch.cuda.OutOfMemoryError("x")
    assert is_out_of_memory(followed)


# Shared features -----------------------------------------------------------------------------------------------------


def test_shared_features_are_the_same(features: Features, tmp_path: Path) -> None:
    without = replace(features, regions=np.zeros((len(features), 0, 0), np.float16))
    for number, one in enumerate((features, without)):
        save_features(one, tmp_path / str(number))
        again = open_features(tmp_path / str(number))
        for name in ("labels", "regions", "counts", "tokens", "offsets", "context"):
            array = getattr(again, name)
            assert np.array_equal(array, getattr(one, name))
            assert array.dtype == getattr(one, name).dtype
            assert isinstance(array, np.memmap) or not array.size
        assert (again.ids, again.dataset, again.labelled) == (one.ids, one.dataset, one.labelled)
        before = (tmp_path / str(number) / "tokens.npy").read_bytes()
        ResidentFeatures(again, torch.device("cpu"), 0).tokens[0] = 7  # what somebody writes is theirs alone
        assert (tmp_path / str(number) / "tokens.npy").read_bytes() == before


# Precision -----------------------------------------------------------------------------------------------------------


def test_precision_of_training_alone(features: Features, split: Split) -> None:
    """Products in bfloat16 change losses by 1% at most; what is kept is scored in float32, whatever trained it."""
    alone = fit(BASE, features, split, gru="packed")
    rows: list[dict[str, float]] = []
    plain, low = (
        fit(BASE, features, split, "cpu", rows.append, compute=ComputeOptions(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert rows == plain.history + low.history
    assert [one.precision for one in (alone, plain, low)] == ["float32", "float32", "bfloat16"]
    for want, one, other in zip(alone.history, plain.history, low.history, strict=True):
        for name in ("train_loss", "val_loss"):
            assert one[name] == pytest.approx(want[name], rel=1e-4)
            assert other[name] == pytest.approx(want[name], rel=1e-2)
    assert low.history[-1]["train_loss"] != plain.history[-1]["train_loss"]
    assert all(value.dtype == torch.float32 for value in low.state_dict.values())
    head = ITINHead(low.head)
    head.load_state_dict(low.state_dict)
    resident = ResidentFeatures(features, torch.device("cpu"), BASE.m)
    for part, own in low.probabilities.items():
        np.testing.assert_array_equal(
            own, predict(head, resident, split.rows(part), BASE.batch_for("my set"), low.targets)["label"]
        )


@pytest.mark.parametrize("changes", TABLE_2)
def test_every_head_trains_in_low_precision(changes: dict[str, Any], features: Features, split: Split) -> None:
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1)]
    plain, low = (
        results_of(configs, features, split, compute=ComputeOptions(precision=precision))
        for precision in ("float32", "bfloat16")
    )
    for one, other in zip(plain, low, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            assert own["train_loss"] == pytest.approx(row["train_loss"], rel=2e-2)
    alone = fit(base, features, split, compute=ComputeOptions(precision="bfloat16"))
    assert alone.history[-1]["train_loss"] == pytest.approx(plain[0].history[-1]["train_loss"], rel=2e-2)


def test_precision_of_products(features: Features, split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def look(self: SingleHead, *batch: Any) -> Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return real(self, *batch)

    real = SingleHead.forward
    monkeypatch.setattr(SingleHead, "forward", look)
    during = []
    how = ComputeOptions(precision="tf32")
    fit(BASE, features, split, "cpu", lambda _: during.append(torch.get_float32_matmul_precision()), compute=how)
    assert set(seen) == {"high"}
    assert set(during) == {"highest"}
    before = torch.backends.cudnn.allow_tf32
    for tf32, name in ((True, "high"), (False, "highest")):
        with contextlib.suppress(KeyError), matmul_precision(tf32):
            assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == (name, tf32)
            raise KeyError
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == ("highest", before)
    with pytest.raises(ValueError, match="precision: expected one of float32, tf32, bfloat16, got 'half'"):
        fit(BASE, features, split, compute=ComputeOptions(precision="half"))
    with pytest.raises(ValueError, match="mask: expected True with CUDA graphs"):
        results_of([replace(BASE, mask=False)], features, split, compute=ComputeOptions(graphs=True))


def test_stacks_pass_on_how(setup: Setup) -> None:
    engine = Stacks(replace(setup, graphs=True, precision="bfloat16"), 2)
    _, run = done(engine.run(queue([BASE, replace(BASE, seed=1)])))
    environment = run.environment
    assert {name: environment[name] for name in ("gru", "stacked", "precision")} == {
        "gru": "packed",
        "stacked": 2,
        "precision": "bfloat16",
    }


# CUDA graphs ---------------------------------------------------------------------------------------------------------


def test_buckets() -> None:
    assert [bucket_of(n) for n in (0, 8, 9, 33, 104, 105, 128, 129)] == [8, 8, 16, 48, 104, 128, 128, 160]


def test_shapes_hold_every_batch_of_their_key() -> None:
    lengths = torch.tensor([3, 0, 7, 5, 9, 1, 1, 2])
    batches = [
        torch.tensor([[0, 1, 2], [5, 3, 6]]),
        torch.tensor([[4, 1, 5], [0, 6, 2]]),
        torch.tensor([[2, 3, 2]] * 2),
    ]
    most = longest_by_rank(batches, lengths)
    assert {key: ranked.tolist() for key, ranked in most.items()} == {(3, 8): [7, 7, 5], (3, 16): [9, 3, 1]}


@pytest.mark.parametrize("changes", [{}, {"head": "global-local", "clip": 0.5}, {"max_words": 3}, {"m": 0}, *TABLE_2])
def test_static_shapes_are_the_ragged_ones(changes: dict[str, Any], features: Features, split: Split) -> None:
    """What is captured on a GPU, taken on a CPU: the same losses as with ragged batches."""
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1, lam=0.7), replace(base, seed=2, m=min(1, base.m))]
    ragged, static = (results_of(configs, features, split, compute=ComputeOptions(graphs)) for graphs in (False, True))
    for one, other in zip(ragged, static, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            for name in ("train_loss", "val_loss", "train_accuracy"):
                assert own[name] == pytest.approx(row[name], rel=1e-4)


class OneDevice(TorchDispatchMode):
    """Fails where an operation reads or makes a tensor on another device than the one without values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, out)):
            if isinstance(value, Tensor) and value.ndim:
                assert value.device.type == "meta", func
        return out


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 0.5},
        {"class_weights": "balanced", "label_smoothing": 0.1},
        {"m": 0, "max_words": 3},
        {"gru_layers": 2},
        {"ema": 0.9, "optimizer": "rmsprop"},
        {"ensemble": 2},
        *({"head": head} for head, spec in HEADS.items() if not spec.solved),
    ],
)
def test_static_steps_ask_for_no_value(
    changes: dict[str, Any], features: Features, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph can hold no step that depends on a value or on the CPU: here the device has no values at all."""

    def take(self: GraphSteps, *arguments: Any) -> None:
        with OneDevice():
            real(self, *arguments)
        taken.append(arguments)

    taken: list[Any] = []
    real, plain = GraphSteps._take, Objective.__call__
    monkeypatch.setattr(GraphSteps, "_take", take)
    monkeypatch.setattr(PooledHead, "scale", lambda self, batches: None)  # before the steps, by values
    base = replace(BASE, **changes)
    configs = [base, replace(base, seed=1)]

    def train() -> None:
        results_of(configs, features, split, "meta", compute=ComputeOptions(graphs=True))

    with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):  # the sums of the first epoch
        train()
    assert len(taken) == 7
    for look, found in ((lambda y: y[y >= 0], "nonzero"), (lambda y: y.max().item(), "item"), (Tensor.cpu, "copy out")):
        monkeypatch.setattr(
            Objective, "__call__", lambda self, logits, y, look=look: (look(y[0]), plain(self, logits, y))[1]
        )
        with pytest.raises((NotImplementedError, RuntimeError), match=found):
            train()
        assert len(taken) == 7
    monkeypatch.setattr(Objective, "__call__", lambda self, *batch: plain(self, *batch) + torch.ones(2).to("meta"))
    with pytest.raises(AssertionError, match=r"_to_copy|ones"):
        train()


def test_training_on_features_that_a_device_cannot_hold_takes_ragged_steps(
    features: Features, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [BASE, replace(BASE, seed=1)]
    (ragged, _) = results_of(configs, features, split)
    monkeypatch.setattr(batches, "fits", lambda size, device: False)
    with pytest.warns(UserWarning, match="no CUDA graphs, slower: the device cannot hold the features"):
        (one, _) = results_of(configs, features, split, compute=ComputeOptions(graphs=True))
    assert isinstance(ragged, Fit)
    assert isinstance(one, Fit)
    assert [row["train_loss"] for row in one.history] == [row["train_loss"] for row in ragged.history]


def test_features_that_a_device_cannot_hold_take_no_static_steps(features: Features) -> None:
    resident = ResidentFeatures(features, torch.device("cpu"), 2)
    resident.held = False
    with pytest.raises(ValueError, match="resident: expected features on the device"):
        GraphSteps(resident, torch.nn.Identity(), torch.ones(1, 1, 2).bool(), lambda logits, labels: None, [])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_are_the_steps_without(features: Features, split: Split) -> None:
    configs = [BASE, replace(BASE, seed=1, lam=0.7), replace(BASE, seed=2, m=1)]
    plain, graphed = (
        results_of(configs, features, split, "cuda", compute=ComputeOptions(graphs)) for graphs in (False, True)
    )
    for one, other in zip(plain, graphed, strict=True):
        assert isinstance(one, Fit)
        assert isinstance(other, Fit)
        for row, own in zip(one.history, other.history, strict=True):
            assert own["train_loss"] == pytest.approx(row["train_loss"], rel=1e-3)
