"""How fast the head trains: a plain program written as one writes it, and ours, in one interleaved run.

    python tests/bench/head.py [--d 512] [--samples 128] [--threads 2] [--rounds 15] [--no-sweep] [--no-growth]
    python tests/bench/head.py --sizes 64,128,256,512,1024 --no-one --no-sweep --no-growth  # d = k, m, token widths
    python tests/bench/head.py --no-one --no-sweep --no-growth --d 1024 --k 1024 --samples 4511 --paper 4511  # CUDA

Version A reads each sample from an HDF5 file in a `Dataset`, collates padded batches in a `DataLoader` and runs a
packed `nn.GRU`. Ours keep the features in memory; `torch` is the same head with `nn.GRU`, `packed` our recurrence in
PyTorch, `compiled` the same in C++. All hold the same weights, and are held equal before the timing. One epoch of each
is trained in turn, with a matrix product between; the tables give the median of the ratios of a round. Wall time is
what counts; processor time beside it tells how much of a difference is other people's work on the same machine. With
one thread the clock is the thread's own processor time where `--cpu-time` is given.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in cli.py

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from version_a import BATCH, VersionA, collate

from itin.itin_head import HeadConfig, ITINHead
from itin.itin_head.gru import compiled
from itin.train.config import PRECISIONS, TrainConfig, View
from itin.train.features.features import Features
from itin.train.features.shared import save_features
from itin.train.loop import Fit, train
from itin.train.protocols.protocol import Protocol, Splitter
from itin.train.protocols.split import Split, random_split
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.key import canonical
from itin.train.steps import ComputeOptions, Training
from itin.train.sweeps.axes import Trial, make_plan
from itin.train.sweeps.one_device import Stacks
from itin.train.sweeps.run import Queue
from itin.train.sweeps.setup import Setup
from itin.train.sweeps.workers import Pool

PLAIN = View(keep_special=False, center_crop=False)
STORED_REGIONS = 10


# Ours ----------------------------------------------------------------------------------------------------------------


class Ours:
    def __init__(self, features: Features, config: HeadConfig, m: int, gru: str) -> None:
        recipe = TrainConfig(m=m, d=config.d, k=config.k, batch_size=BATCH, epochs=10**6)  # as many as are asked for
        rows = np.arange(len(features))
        split = Split(rows, rows[:1], rows[:1], {})
        self.training = Training([recipe], features, split, "cpu", ComputeOptions(recurrence=gru))
        self.resident, self.head = self.training.resident, self.training.heads[0]
        self.rows = torch.from_numpy(rows)

    def epoch(self) -> None:
        self.training.epoch(1)

    def gather(self) -> None:
        """What an epoch spends on its batches alone."""
        for begin in range(0, len(self.rows), BATCH):
            self.resident.batch(self.rows[begin : begin + BATCH])


# Data ----------------------------------------------------------------------------------------------------------------


class Dims(NamedTuple):
    """Lengths of a region's, a word's and an image's features."""

    regions: int = 2048
    tokens: int = 768
    context: int = 512

    def config(self, d: int, k: int) -> HeadConfig:
        """The head of this size for them."""
        return HeadConfig(region_dim=self.regions, token_dim=self.tokens, context_dim=self.context, d=d, k=k)


SMALL = Dims(1280, 384, 1280)
"""Those of `itin[small]`: EfficientNet-Lite0 and MiniLM."""


def make_features(n: int, words: float, m: int = STORED_REGIONS, dims: Dims = Dims()) -> Features:  # noqa: B008
    """Random features; the words of a text are spread as in tweets, with the given median."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.gamma(5, words / 4.67, n).astype(int), 1, 98)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Features(
        ids=[str(i) for i in range(n)],
        labels=rng.integers(3, size=n),
        regions=rng.standard_normal((n, m, dims.regions), np.float32).astype(np.float16),
        counts=np.full(n, m),
        tokens=rng.standard_normal((offsets[-1], dims.tokens), np.float32).astype(np.float16),
        offsets=offsets,
        context=rng.standard_normal((n, dims.context), np.float32).astype(np.float16),
        dataset="bench",
        labelled=n,
    )


def write_hdf5(features: Features, path: Path) -> None:
    with h5py.File(path, "w") as file:
        for name in ("regions", "tokens", "offsets", "context", "labels"):
            file[name] = getattr(features, name)


# Measuring -----------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, own: bool) -> None:
        self.own = own

    def __call__(self, work: Callable[[], object]) -> tuple[float, float]:
        """Wall seconds (with `own`, the thread's processor seconds) and processor seconds of the process."""
        wall = time.thread_time if self.own else time.perf_counter
        begun, busy = wall(), time.process_time()
        work()
        return wall() - begun, time.process_time() - busy


def interleave(
    clock: Clock, works: dict[str, Callable[[], object]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each work in each round; one round before them is not counted."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            taken = clock(work)
            if number:
                times[name].append(taken)
    return times


def ratio(times: dict[str, list[tuple[float, float]]], one: str, other: str, clock: int = 0) -> float:
    """Median over the rounds of `one` divided by `other`."""
    return statistics.median(a[clock] / b[clock] for a, b in zip(times[one], times[other], strict=True))


def median(times: list[tuple[float, float]], clock: int = 0) -> float:
    return statistics.median(taken[clock] for taken in times)


GEMM = 1536


def gemm() -> Callable[[], object]:
    a, b = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM)
    out = torch.empty(GEMM, GEMM)

    def work() -> None:
        for _ in range(8):
            torch.mm(a, b, out=out)

    return work


def count_flops(work: Callable[[], object]) -> float:
    """Return the operations of all matrix products; PyTorch's counter alone leaves out those in place."""

    def added(out: Sequence[int], a: Sequence[int], b: Sequence[int], **_: Any) -> int:
        return 2 * a[0] * a[1] * a[2] * b[2]

    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.baddbmm_: added}) as counter:
        work()
    return float(counter.get_total_flops())


def show(title: str, columns: list[str], rows: list[list[object]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |")
    sys.stdout.flush()


# The benches ---------------------------------------------------------------------------------------------------------


def check_equal(a: VersionA, ours: list[Ours], features: Features) -> None:
    """The same loss and gradient of W_hh on one batch."""
    rows = torch.arange(BATCH)
    regions, tokens, lengths, context, labels = collate([a.loader.dataset[i] for i in range(BATCH)])
    values = []
    for head, arguments in [
        (a.head, (regions, tokens, lengths, context)),
        *((one.head, one.resident.batch(rows).inputs) for one in ours),
    ]:
        head.zero_grad(set_to_none=True)
        out: Any = head(*arguments)
        loss = cross_entropy(out if isinstance(out, Tensor) else out.logits, labels)
        loss.backward()
        values.append((loss.item(), head.gru.weight_hh_l0_reverse.grad.clone()))
    for loss, gradient in values[1:]:
        if abs(loss - values[0][0]) > 1e-4 or (gradient - values[0][1]).abs().max() > 1e-4:
            sys.exit("the versions do not compute the same")


def bench_one(options: argparse.Namespace, features: Features, path: Path) -> float:
    """One configuration; returns version A's median seconds an epoch."""
    clock = Clock(options.cpu_time)
    config = options.dims.config(options.d, options.k)
    ways = ["torch", "packed"] + (["compiled"] if compiled.loaded() else [])
    ours = {gru: Ours(features, config, options.m, gru) for gru in ways}  # of one seed: with the same weights
    a = VersionA(path, config, options.m, ours[ways[0]].head.state_dict())
    check_equal(a, list(ours.values()), features)
    flops = count_flops(ours["packed"].epoch)
    works: dict[str, Callable[[], object]] = {"A": a.epoch, **{gru: one.epoch for gru, one in ours.items()}}
    times = interleave(clock, {**works, "gather": ours["packed"].gather, "gemm": gemm()}, options.rounds)
    peak = 8 * 2 * GEMM**3 / median(times["gemm"])
    rows = [
        [
            name,
            median(times[name]),
            ratio(times, "A", name),
            ratio(times, "A", name, 1),
            flops / median(times[name]) / peak,
        ]
        for name in works
    ]
    show(
        f"One epoch of {len(features)} samples, {flops / 1e12:.2f} TFLOP; matrix products: {peak / 1e9:.0f} GFLOP/s",
        ["version", "seconds", "x faster than A", "the same by processor time", "share of GEMM peak"],
        rows,
    )
    fastest = ways[-1]
    print(f"\nGathering batches: {100 * ratio(times, 'gather', fastest):.1f}% of an epoch ({fastest})")
    return median(times["A"])


def bench_sizes(options: argparse.Namespace, folder: Path) -> None:
    """What `auto` takes beside version A, for d = k, m and lengths of the features."""
    rows: list[list[object]] = []
    for dims in (SMALL, Dims()):
        features = make_features(options.samples, options.words, dims=dims)
        path = folder / f"features-{dims.tokens}.h5"
        write_hdf5(features, path)
        for d in map(int, options.sizes.split(",")):
            for m in (2, 4):
                config = dims.config(d, d)
                ways = ["packed"] + (["compiled"] if compiled.loaded() else [])
                ours = {gru: Ours(features, config, m, gru) for gru in ways}
                a = VersionA(path, config, m, ours["packed"].head.state_dict())
                check_equal(a, list(ours.values()), features)
                flops, fastest = count_flops(ours["packed"].epoch), ways[-1]
                works = {"A": a.epoch, fastest: ours[fastest].epoch, "gemm": gemm()}
                times = interleave(Clock(options.cpu_time), works, options.rounds)
                peak = 8 * 2 * GEMM**3 / median(times["gemm"])
                rows.append(
                    [
                        dims.tokens,
                        d,
                        m,
                        median(times["A"]),
                        median(times[fastest]),
                        ratio(times, "A", fastest),
                        ratio(times, "A", fastest, 1),
                        flops / median(times["A"]) / peak,
                        flops / median(times[fastest]) / peak,
                    ]
                )
                print(*(f"{cell:.3g}" for cell in rows[-1]), file=sys.stderr)  # the whole takes minutes
    show(
        f"One epoch of {options.samples} samples, {fastest}; matrix products: {peak / 1e9:.0f} GFLOP/s",
        [
            "tokens",
            "d = k",
            "m",
            "A, seconds",
            "seconds",
            "x",
            "by processor time",
            "A's share of peak",
            "share of peak",
        ],
        rows,
    )


def bench_growth(options: argparse.Namespace, features: Features) -> None:
    """Epochs with one thing changed against the same epoch unchanged."""
    clock = Clock(options.cpu_time)
    gru = "compiled" if compiled.loaded() else "packed"

    def make(n: int, m: int, d: int, words: float) -> Ours:
        same = n == len(features) and words == options.words
        data = features if same else make_features(n, words, max(m, 1), options.dims)
        config = options.dims.config(d, options.k)
        return Ours(data, config, m, gru)

    n, m, d, words = 2 * BATCH, options.m, options.d, options.words
    cases = {
        "base": (n, m, d, words),
        "samples x2": (2 * n, m, d, words),
        "samples x4": (4 * n, m, d, words),
        **{f"m = {value}": (n, value, d, words) for value in (1, 5, 10)},
        **{f"median {value} words": (n, m, d, float(value)) for value in (7, 14, 56)},
        **{f"d = {value}": (n, m, value, words) for value in (256, 1024)},
    }
    rows = []
    base = make(*cases.pop("base"))
    for name, case in cases.items():
        times = interleave(clock, {"base": base.epoch, name: make(*case).epoch}, options.rounds)
        rows.append([name, ratio(times, name, "base")])
    show(f"Growth ({gru}): times the epoch of {n} samples, m = {m}, median {words:g} words, d = {d}", ["", "x"], rows)


def bench_sweep(options: argparse.Namespace, features: Features, path: Path, folder: Path) -> None:
    """Configurations by the sweep's own workers against as many runs of version A, one after another."""
    save_features(features, folder / "features")
    base = TrainConfig(m=options.m, d=options.d, k=options.k, epochs=options.sweep_epochs)
    cores = len(os.sched_getaffinity(0))
    count = options.configs or 2 * cores
    split = random_split(features.ids, 0)
    config = options.dims.config(options.d, options.k)
    a = VersionA(path, config, options.m, ITINHead(config).state_dict())
    pools: dict[str, Pool] = {}
    with ExitStack() as stack:
        ways = ["packed"] + (["compiled"] if compiled.loaded() else [])
        for gru in [way for way in ways if options.only is None or way in options.only]:
            setup = setup_of(features, folder / "features", folder / f"runs-{gru}", gru=gru)
            pools[gru] = stack.enter_context(Pool(setup, cores))
            listen(pools[gru].run(Queue([trial(base, f"warm-{i}", 100 + i) for i in range(cores)])))
        rounds: dict[str, list[tuple[float, float]]] = {"A": [], **{gru: [] for gru in pools}}
        for number in range(options.rounds):
            rounds["A"].append(Clock(False)(a.epoch))
            for gru, pool in pools.items():
                trials = Queue([trial(base, f"run-{number}-{i}", count * number + i) for i in range(count)])
                begun, busy = time.perf_counter(), busy_seconds(pool)
                listen(pool.run(trials))
                rounds[gru].append((time.perf_counter() - begun, busy_seconds(pool) - busy))
    # A trains all samples and nothing else; a run of ours trains the training part, validates and is written.
    share = count * options.sweep_epochs * len(split.train) / len(features)
    show(
        f"{count} configurations of {options.sweep_epochs} epochs of {len(split.train)} samples, {cores} processes "
        "of one thread, against the training of as many runs of A, one after another",
        ["how", "x faster than A", "the same by processor time"],
        [[gru, share * ratio(rounds, "A", gru), share * ratio(rounds, "A", gru, 1)] for gru in pools],
    )


def busy_seconds(pool: Pool) -> float:
    """Processor seconds of a pool's processes so far."""
    ticks = 0
    for worker in pool._workers:
        if worker is not None:
            fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def ways_of(device: str) -> dict[str, ComputeOptions]:
    """How configurations side by side may be computed there."""
    if device == "cpu":
        return {"ragged": ComputeOptions(), "static shapes": ComputeOptions(graphs=True)}
    cells = {"plain": ComputeOptions()} | {
        f"fused, {precision}": ComputeOptions(False, "fused", precision) for precision in PRECISIONS
    }
    return cells | {f"graphs, {name}": replace(how, graphs=True) for name, how in cells.items()}


def bench_stacks(options: argparse.Namespace, features: Features, heights: list[int], device: str) -> None:
    """Configurations side by side, in every way: time for each of J as multiples of that of J = 1."""
    base = TrainConfig(d=options.d, k=options.k, m=options.m, batch_size=BATCH, epochs=4, lr_step=4)
    split = random_split(features.ids, 0)
    rows: list[list[object]] = []
    for way, how in ways_of(device).items():
        if options.only is not None and way not in options.only:
            continue
        first = 0.0
        for J in heights:
            configs = [replace(base, seed=j, lam=j / max(heights)) for j in range(J)]
            training = train(configs, features, split, device, evaluate=("val",), compute=how)
            fits = [made for _, made in training if isinstance(made, Fit)]
            if len(fits) < J:
                sys.exit("a configuration broke down")
            seconds = statistics.median(row["seconds"] * J for row in fits[0].history[2:])  # once all is captured
            first = first or seconds
            rows.append([way, J, seconds, seconds / first, fits[0].history[-1]["train_loss"]])
            print(f"{way}, J = {J}: {seconds:.3f} s an epoch", file=sys.stderr)  # the whole takes minutes
    show(
        f"J configurations side by side on {device}, an epoch of {len(split.train)} samples",
        ["way", "J", "seconds", f"x of J = {heights[0]}", "loss of the first"],
        rows,
    )


def bench_paper(options: argparse.Namespace, folder: Path, device: str) -> None:
    """`--paper` side by side, as high as memory allows, with validation and all files: wall time."""
    features = make_features(options.paper, options.words, dims=options.dims)
    save_features(features, folder / "paper")
    sizes = {name: [getattr(options, name)] for name in ("d", "k", "epochs")}
    plan = make_plan("paper", sizes, range(options.seeds))
    configs = list(dict.fromkeys(canonical(trial.config, features.dataset) for trial in plan.trials))
    rows: list[list[object]] = []
    for number, (way, how) in enumerate(ways_of(device).items()):
        if options.only is not None and way not in options.only:
            continue
        how_to = {"device": device, "gru": how.recurrence, "graphs": how.graphs, "precision": how.precision}
        setup = setup_of(features, folder / "paper", folder / f"paper-{number}", **how_to)
        begun = time.perf_counter()
        engine = Stacks(setup, None if device == "cuda" else len(configs))
        listen(engine.run(Queue([Trial("bench", config, f"{i}") for i, config in enumerate(configs)])))
        rows.append([way, len(configs), time.perf_counter() - begun])
    show(
        f"--paper, {options.seeds} seeds: {options.epochs} epochs, {len(features)} samples, d = {options.d}, "
        f"k = {options.k}, on {device}",
        ["way", "runs", "seconds"],
        rows,
    )


def setup_of(features: Features, saved: Path, runs: Path, **how: Any) -> Setup:
    """What a sweep's workers are told, with stores that say nothing; makes the folder of the runs."""
    facts: dict[str, Any] = {
        kind: SimpleNamespace(
            path=saved, fingerprint=kind, identity={"kind": kind}, untrained=False, options=None, tokenizer_file=None
        )
        for kind in ("regions", "tokens", "context")
    }
    n = len(features)
    drawn = Splitter(Protocol(), features.ids, features.labels)
    splitter = TargetSplitter(
        drawn, features.ids, np.arange(n), features.known, features.known, np.full((2, n), -1), np.zeros(n, bool)
    )
    runs.mkdir()
    return Setup({PLAIN: saved}, {"name": "bench"}, {PLAIN: facts}, runs, splitter, **how)


def trial(base: TrainConfig, name: str, seed: int) -> Trial:
    return Trial("bench", replace(base, seed=seed), name)


def listen(events: Iterator[Any]) -> None:
    for event in events:
        if event.result is not None and event.result.run is None:
            sys.exit(event.result.error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--k", type=int, default=256)
    parser.add_argument("--m", type=int, default=2)
    parser.add_argument("--words", type=float, default=28.0, help="median words of a text")
    parser.add_argument(
        "--small", dest="dims", action="store_const", const=SMALL, default=Dims(), help="small features"
    )
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--cpu-time", action="store_true", help="with --threads 1: the clock is processor time")
    parser.add_argument("--sweep-epochs", type=int, default=1)
    parser.add_argument("--configs", type=int, help="configurations of a sweep; by default two a core")
    parser.add_argument("--stacks", help="heights J of stacks; by default 1,4,16,64 on a CUDA device, else 1,4")
    parser.add_argument("--paper", type=int, help="samples of --paper; MVSA-Single has 4511")
    parser.add_argument("--epochs", type=int, default=30, help="of --paper")
    parser.add_argument("--seeds", type=int, default=5, help="of --paper")
    parser.add_argument("--only", action="append", help="of the ways, of a sweep and side by side; repeatable")
    parser.add_argument("--sizes", help="d = k of what is taken beside A, for two m and two lengths of features each")
    parser.add_argument("--no-one", action="store_true")
    parser.add_argument("--no-sweep", action="store_true")
    parser.add_argument("--no-growth", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        compiled.load()
    except compiled.BuildError as error:
        print(f"without the C++ recurrence: {error}")
    threads, cores = torch.get_num_threads(), os.cpu_count()
    print(f"torch {torch.__version__}, {threads} threads of {cores} cores, load {os.getloadavg()}")
    cuda = torch.cuda.is_available()
    print(f"CUDA: {torch.cuda.get_device_name() if cuda else 'none here'}")
    features = make_features(options.samples, options.words, dims=options.dims)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        write_hdf5(features, path)
        if not options.no_one:
            bench_one(options, features, path)
        if options.sizes:
            bench_sizes(options, Path(folder))
        if not options.no_growth:
            bench_growth(options, features)
        if not options.no_sweep:
            bench_sweep(options, features, path, Path(folder))
        stacks = (
            ("1,4,16,64" if cuda else "1,4" * (not options.no_growth)) if options.stacks is None else options.stacks
        )
        if stacks:
            bench_stacks(options, features, [int(J) for J in stacks.split(",")], "cuda" if cuda else "cpu")
        if options.paper:
            bench_paper(options, Path(folder), "cuda" if cuda else "cpu")


if __name__ == "__main__":
    main()
