"""`itin train`: one run on cached features, or one run per seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..fields import option
from ..itin_head.registry import HEADS, label_of
from ..targets import LABEL
from ..train.config import TrainConfig, select_of
from ..train.presets import PresetOptions, with_preset
from .terminal.options import Command, given, options_of, take, usage_errors
from .terminal.run_options import Computing, FeatureOptions, OutputOptions, ProtocolOptions

if TYPE_CHECKING:
    from pathlib import Path

    from ..train.features.features import Features
    from ..train.loop import Fit
    from ..train.protocols.split import Split
    from ..train.sweeps.prepare import SweepData
    from ..train.sweeps.tensorboard import EventFiles


@dataclass(frozen=True, repr=False, eq=False)
class SeedOptions:
    """The seeds of several runs."""

    seeds: str | None = option(None, metavar="SEEDS", group="The recipe")
    """How many seeds, from 0, or which, such as 3,7: one run each, and their mean."""


@click.command("train", cls=Command)
@options_of(TrainConfig)
@options_of(PresetOptions)
@options_of(SeedOptions)
@options_of(ProtocolOptions)
@options_of(FeatureOptions)
@options_of(Computing, but=("workers", "threads", "stack"))
@options_of(OutputOptions)
def command(**options: Any) -> None:
    """Train the head on cached features by the paper's recipe, and evaluate it once on the test part.

    Writes a run folder with the configuration, scores, history, predictions and weights; with --seeds one for each seed
    into a folder of their own, and prints the mean.
    """
    from ..device import pick_device
    from ..train.features.load import load_features
    from ..train.loop import compute_for, fit
    from ..train.protocols.teaching import TargetSplitter
    from ..train.runs.folder import load_run
    from ..train.runs.key import Identity
    from ..train.runs.write import check_free, write_run
    from ..train.steps import ComputeOptions, check_compute
    from ..train.sweeps.axes import parse_seeds
    from .terminal.console import console, epochs_bar
    from .terminal.scores import show_mean, show_scores

    fields = given(options, TrainConfig, PresetOptions)
    seeds, protocol = take(SeedOptions, options).seeds, take(ProtocolOptions, options)
    wanted, computing, output = take(FeatureOptions, options), take(Computing, options), take(OutputOptions, options)
    with usage_errors():
        config = TrainConfig(**with_preset(fields))
        if seeds is not None and "seed" in fields:
            raise ValueError("--seed and --seeds exclude each other")
        every = None if seeds is None else parse_seeds(seeds)
        check_compute(config, ComputeOptions(bool(computing.cuda_graphs), precision=computing.precision))
        device = pick_device(computing.device)
        rule = protocol.protocol_of()
    if output.out is not None:
        check_free(output.out)
    own, without = wanted.fitted(fields)
    with usage_errors():
        config = TrainConfig(**with_preset({**fields, **own}))
    found = wanted.find([config])
    configs = [config] if every is None else [replace(config, seed=seed) for seed in every]
    stores, missing = found.of(config.view), wanted.allow_missing
    with usage_errors():
        features = load_features(
            found.table,
            stores,
            config.regions,
            config.keep_special,
            allow_missing=missing,
            inputs=config.inputs,
            targets=config.targets,
            lexicons=config.lexicon_names,
        )
        select_of(config, features.column(config.targets[0]).target)
    splitter = TargetSplitter.of(rule, features, found.table, missing)
    with usage_errors():
        split = splitter.split(config.split_seed, config.fold, config.targets, config.train_share)
    show_data(stores, features, [*splitter.outside, *only_train(split), *without])
    if (label := label_of(config.head, features.has, config.scene)).endswith(")"):  # something stands in
        console.print(f"  head     {label}", markup=False)
    if unread := _unread(config, fields, features.dims):
        console.print(f"Note: {', '.join(unread)}: no effect on the head {config.head}", markup=False, highlight=False)
    with usage_errors():
        compute = compute_for(
            [config], features, split, device, computing.gru, computing.cuda_graphs, computing.precision, console.print
        )
    identity = Identity(features, found.table, stores)
    folders = _folders(output.out, configs, features.dataset)
    results = []
    with event_files(output.tensorboard) as files:
        for one, folder in zip(configs, folders, strict=True):
            with epochs_bar(1 if HEADS[one.head].solved else one.epochs) as advance:

                def on_epoch(row: dict[str, float], name: str = folder.name, advance: Any = advance) -> None:
                    advance(row)
                    if files is not None:
                        files.add(name, row)

                result = fit(one, features, split, device, on_epoch, compute=compute)
            run = write_run(
                result, features, split, found.table.dataset, stores, identity.key(one, split), device=str(device),
                out=folder,
            )  # fmt: skip
            results.append(result)
            seed = f"seed {one.seed}: " if seeds is not None else ""
            console.print(f"{seed}{kept(result)}, {result.seconds:.1f} s on {device}")
            if seeds is None:
                show_scores(result.metrics, split.description, None if one.target == LABEL else one.targets[0])
            else:
                console.print(f"  {short(run)}")
    if seeds is not None:
        show_mean([result.metrics for result in results], split.description)
    show_note(load_run(run).note)
    console.print(f"Run{'s' if seeds is not None else ''}: {short(run if seeds is None else run.parent)}")


def _unread(config: TrainConfig, fields: Mapping[str, Any], dims: Mapping[str, int]) -> list[str]:
    """Return the options among `fields` that some heads have, and not this one or its partner, or not as it is set."""
    known = {name for spec in HEADS.values() for name in spec.settings}
    read = {name for head in config.head_configs(dims) for name in head.settings}
    return [f"--{name.replace('_', '-')}" for name in fields if name in known - read]


def kept(fit: Fit) -> str:
    """Return the epoch that was kept, or C of the solution, in words."""
    C = "C = " + ", ".join(f"{C:g} of {target}" for target, C in fit.chosen.items())
    if HEADS[fit.head.head].solved:
        return C
    epochs = f"{len(fit.history)} of " if len(fit.history) < fit.config.epochs else ""
    return f"best epoch {fit.best_epoch} of {epochs}{fit.config.epochs}" + f", {C}" * bool(fit.chosen)


def event_files(folder: Path | None) -> AbstractContextManager[EventFiles | None]:
    """Return TensorBoard's event files; None if they are not wanted."""
    if folder is None:
        return nullcontext()
    from ..train.sweeps.tensorboard import EventFiles

    return EventFiles(folder)


def _folders(out: Path | None, configs: Sequence[TrainConfig], dataset: str) -> list[Path]:
    """Return the folder of each run: `out` or a folder in ./runs; with several seeds, one folder each in it."""
    if out is None:
        from pathlib import Path

        from ..train.runs.write import run_name

        name = run_name(configs[0], dataset, datetime.now())
        if len(configs) > 1:
            name = name.rpartition("-")[0] + f"-{len(configs)}-seeds"
        out = free(Path("runs") / name)
    return [out] if len(configs) == 1 else [out / f"seed{config.seed}" for config in configs]


def free(path: Path) -> Path:
    """Return the path, with a number after it if it is taken."""
    number = 1
    while (candidate := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return candidate


def show_data(stores: Mapping[str, Any], data: Features | SweepData, outside: Sequence[str]) -> None:
    """Print the features of a run, the samples that are left out, and whether the features fit into memory.

    Args:
        stores: the stores by kind.
        data: the features.
        outside: the lines of `Splitter.outside`.
    """
    from .terminal.console import console

    values = [f"{int(known.sum())} with {name}" for name, known in data.known.items()]
    several = f" ({', '.join(values)})" if len(values) > 1 else ""
    what = "samples" if several or list(data.known) != [LABEL] else "labelled samples"
    console.print(f"{data.dataset}: {len(data.ids)} {what}{several}")
    for kind, store in stores.items():
        console.print(f"  {kind:8} {store.path.name}")
    if data.lexicons:
        from ..train.lexicons.values import foreign

        count = foreign(data.lexicons)
        texts = "1 text gets" if count == 1 else f"{count} texts get"
        told = f"; {texts} no values, being in another language than English" if count else ""
        console.print(f"  lexicons {', '.join(data.lexicons)}{told}")
    for line in (*data.outside, *outside):
        console.print(f"  {line}", style="yellow")
    if data.mapped:
        console.print(
            f"  they do not fit into memory: they are in a temporary file in {data.mapped}, which is slower",
            style="yellow",
        )


def only_train(split: Split) -> list[str]:
    """Return how many samples without a label train for other targets, and how many may not, a line each."""
    counts = split.description.get("only_train", {"used": 0, "left_out": 0})
    lines = [f"{counts['used']} without a label only train"] if counts["used"] else []
    if counts["left_out"]:
        lines.append(f"{counts['left_out']} more are left out: their text or image is in the validation or test part")
    return lines


def show_note(note: str | None) -> None:
    """Print the note that belongs to every result of untrained encoders, where there is one."""
    from .terminal.console import console

    if note:
        console.print(note, style="yellow")


def short(path: Path) -> str:
    """Return the path, relative to the current folder if it lies below it; of what is behind a protocol the URL."""
    from pathlib import Path

    from ..extract.data.places.remote import is_remote, url

    if is_remote(path):
        return url(path)
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
