"""`itin train`: one run on cached features, or one for each of some seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..itin_head.config import ABLATIONS, GATES
from ..itin_head.heads import HEADS
from ..train.config import CLASS_WEIGHTS, SCHEDULES, TrainConfig
from ..train.presets import PRESETS, with_preset
from .options import STORES, feature_options, field_option, protocol_of, protocol_options, speed_options, usage_errors

if TYPE_CHECKING:
    from ..train.data import Features
    from ..train.sweep_run import Workplace
    from ..train.tensorboard import EventFiles

_PRESET = "Readings of the paper: its equations, or the authors' demo."


@click.command("train", short_help="Train the head on cached features.")
@field_option(TrainConfig, "head", "Which head; docs/heads.md says what each computes.", type=click.Choice(list(HEADS)))
@click.option("--preset", type=click.Choice(list(PRESETS)), default="paper", show_default=True, help=_PRESET)
@field_option(TrainConfig, "m", "Regions of an image, the first m by score; 0 leaves the context alone.", flag="--m")
@field_option(TrainConfig, "lam", "λ of eq. 18, the share of the visual context.", flag="--lam")
@field_option(TrainConfig, "gate", "Reading of eq. 8.", type=click.Choice(GATES))
@field_option(TrainConfig, "ablation", "What is left out, as in Table III.", type=click.Choice(ABLATIONS))
@field_option(TrainConfig, "d", "Hidden size.", flag="--d")
@field_option(TrainConfig, "k", "Size of the projections in eq. 5.", flag="--k")
@field_option(TrainConfig, "hidden", "Size of the fused representation.")
@field_option(TrainConfig, "normalize", "Divide r, u and C by their L2 norms.", flag="--normalize/--no-normalize")
@field_option(
    TrainConfig,
    "self_attention",
    "Let the rows of U attend to one another after eq. 7.",
    flag="--self-attention/--no-self-attention",
)
@field_option(TrainConfig, "fusion_bias", "W_o with a bias, eq. 10.", flag="--fusion-bias/--no-fusion-bias")
@field_option(TrainConfig, "pooling_heads", "Outputs of Tran_z, eq. 12.")
@field_option(TrainConfig, "gru_layers", "Layers of the GRU.")
@field_option(TrainConfig, "gru_dropout", "Dropout between them.")
@field_option(TrainConfig, "context_gru", "A second GRU for S, eq. 15.", flag="--context-gru/--no-context-gru")
@field_option(
    TrainConfig, "mask", "Let padding take part in nothing; without, it is read as words.", flag="--mask/--no-mask"
)
@field_option(TrainConfig, "max_words", "Words of a text that are read.")
@field_option(
    TrainConfig, "keep_special", "Keep [CLS] and [SEP] among the words.", flag="--keep-special/--no-keep-special"
)
@field_option(TrainConfig, "center_crop", "Take V from the centre of the image.", flag="--center-crop/--no-center-crop")
@field_option(TrainConfig, "epochs", "Passes over the training part; the best on the validation part is kept.")
@field_option(TrainConfig, "patience", "End after so many epochs without a better one; by default never.", type=int)
@field_option(TrainConfig, "batch_size", "Samples a batch; by default 128 for mvsa-multiple, else 64.", type=int)
@field_option(TrainConfig, "lr", "Learning rate of Adam.")
@field_option(TrainConfig, "schedule", "How it goes on.", type=click.Choice(SCHEDULES))
@field_option(TrainConfig, "warmup", "Epochs in which it rises to that.")
@field_option(TrainConfig, "lr_step", "Epochs after which the schedule `step` changes it.")
@field_option(TrainConfig, "lr_gamma", "What it is multiplied by then.")
@field_option(TrainConfig, "weight_decay", "Adam's weight decay.")
@field_option(TrainConfig, "clip", "The most that the gradient's norm may be; by default any.", type=float)
@field_option(TrainConfig, "class_weights", "Weights of the classes in the loss.", type=click.Choice(CLASS_WEIGHTS))
@field_option(TrainConfig, "label_smoothing", "Share of the loss spread over all classes.")
@field_option(TrainConfig, "seed", "Fixes the initial weights and the order of the samples.")
@click.option("--seeds", help="How many seeds, from 0, or which, such as 3,7: a run each, and their mean.")
@field_option(TrainConfig, "split_seed", "Fixes what is random in the protocol: the 8:1:1 split, the folds.")
@field_option(TrainConfig, "fold", "Which fold is the test part, from 0; of --protocol folds:K.")
@protocol_options
@click.option("--dataset", help="The data set's name in the cache; may be left out if there is only one.")
@feature_options
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; by default a new one in ./runs.")
@click.option("--tensorboard", type=click.Path(path_type=Path), metavar="DIR", help="Also write event files there.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@speed_options
def command(**options: Any) -> None:
    """Train the head on cached features by the paper's recipe, and evaluate it once on the test part.

    Writes a run folder with the configuration, scores, history, predictions and weights; with --seeds one for each seed
    into a folder of their own, and prints the mean.
    """
    from ..device import pick_device
    from ..paths import cache_root
    from ..train.axes import parse_seeds
    from ..train.data import load_features
    from ..train.find import find_features
    from ..train.loop import fit, work_of
    from ..train.protocols import Splitter
    from ..train.recurrence import choose, side_by_side
    from ..train.steps import ComputeOptions, check_compute
    from ..train.write_run import check_free, write_run
    from .terminal.console import console, epochs_bar

    named = {kind: options.pop(option) for kind, option in STORES.items()}
    out, device_name = options.pop("out"), options.pop("device")
    protocol = protocol_of(options)
    gru, events, seeds = options.pop("gru"), options.pop("tensorboard"), options.pop("seeds")
    graphs, precision = options.pop("cuda_graphs"), options.pop("precision")
    cache, dataset, allow_missing = (options.pop(name) for name in ("cache", "dataset", "allow_missing"))
    with usage_errors():
        config = TrainConfig(**with_preset(given(options)))
        if seeds is not None and "seed" in given(options):
            raise ValueError("--seed and --seeds exclude each other")
        configs = [config] if seeds is None else [replace(config, seed=seed) for seed in parse_seeds(seeds)]
        compute = ComputeOptions(graphs, precision=precision)
        check_compute(config, compute)
        device = pick_device(device_name)
    if out is not None:
        check_free(out)
    found = find_features(cache_root(cache), dataset, named, regions=config.regions > 0, views=[config.view])
    stores = found.of(config.view)
    features = load_features(found.table, stores, config.regions, config.keep_special, allow_missing=allow_missing)
    splitter = Splitter.of(protocol, features.ids, features.labels, found.table, allow_missing)
    with usage_errors():
        split = splitter.split(config.split_seed, config.fold)
    show_data(stores, features, splitter.outside)
    with usage_errors():
        if compute.plain:
            recurrence = choose(gru, device, work_of(config, features, split), say=console.print)
        else:  # as configurations side by side may be computed
            recurrence = side_by_side(gru, device, say=console.print)
        compute = replace(compute, recurrence=recurrence)
    folders = _folders(out, configs, features.dataset)
    results = []
    with event_files(events) as files:
        for one, folder in zip(configs, folders, strict=True):
            with epochs_bar(one.epochs) as advance:

                def on_epoch(row: dict[str, float], name: str = folder.name, advance: Any = advance) -> None:
                    advance(row)
                    if files is not None:
                        files.add(name, row)

                result = fit(one, features, split, device, on_epoch, compute=compute)
            run = write_run(result, features, split, found.table, stores, device=str(device), out=folder)
            results.append(result)
            seed = f"seed {one.seed}: " if seeds is not None else ""
            took = f"{len(result.history)} of {one.epochs}" if len(result.history) < one.epochs else f"{one.epochs}"
            console.print(f"{seed}best epoch {result.best_epoch} of {took}, {result.seconds:.1f} s on {device}")
            if seeds is None:
                show_scores(result.metrics, split.description)
            else:
                console.print(f"  {short(run)}", markup=False)
    if seeds is not None:
        show_mean([result.metrics for result in results], split.description)
    show_note([store.name for store in stores.values() if store.untrained])
    console.print(f"Run{'s' if seeds is not None else ''}: {short(run if seeds is None else run.parent)}", markup=False)


def event_files(folder: Path | None) -> AbstractContextManager[EventFiles | None]:
    """TensorBoard's event files, where they are wanted."""
    if folder is None:
        return nullcontext()
    from ..train.tensorboard import EventFiles

    return EventFiles(folder)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given on the command line; the others leave their fields to the preset."""
    source = click.get_current_context().get_parameter_source
    return {name: value for name, value in options.items() if source(name) is click.core.ParameterSource.COMMANDLINE}


def _folders(out: Path | None, configs: Sequence[TrainConfig], dataset: str) -> list[Path]:
    """Where each run goes: `out` or a folder in ./runs; with several seeds, one for each in there."""
    if out is None:
        from ..train.write_run import run_name

        name = run_name(configs[0], dataset, datetime.now())
        if len(configs) > 1:
            name = name.rpartition("-")[0] + f"-{len(configs)}-seeds"
        out = free(Path("runs") / name)
    return [out] if len(configs) == 1 else [out / f"seed{config.seed}" for config in configs]


def free(path: Path) -> Path:
    """The path, or one with a number after it that is free."""
    number = 1
    while (place := path if number == 1 else path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return place


def show_data(stores: Mapping[str, Any], data: Features | Workplace, outside: Sequence[str]) -> None:
    """Prints which features a run is made of, which samples are left out, and whether memory holds them.

    Args:
        stores: by kind.
        data: the features.
        outside: of `Splitter`.
    """
    from .terminal.console import console

    console.print(f"{data.dataset}: {len(data.ids)} labelled samples", markup=False)
    for kind, store in stores.items():
        console.print(f"  {kind:8} {store.path.name}", markup=False)
    for line in (*data.outside, *outside):
        console.print(f"  {line}", style="yellow", markup=False)
    if data.streamed:
        console.print("  memory cannot hold them: each batch is read from the cache, which is slower", style="yellow")


def show_scores(metrics: dict[str, dict[str, Any]], split: dict[str, Any]) -> None:
    """Prints the protocol, accuracy (with Wilson's 95% interval over the pairs) and F1 of each part, and of always
    predicting the majority class."""
    from ..labels import LABELS
    from ..train.protocols import describe
    from ..train.statistics import wilson
    from .terminal.console import console, grid

    names = {"val": "validation", "test": "test", "train": "training"}
    columns = ["", "n", "accuracy", "95% interval", "weighted F1", "macro F1", *(f"F1 {label}" for label in LABELS)]
    rows = []
    for part, scores in metrics.items():
        f1 = [f"{scores['f1'][label]:.4f}" for label in LABELS]
        accuracy, *means = (f"{scores[name]:.4f}" for name in ("accuracy", "weighted_f1", "macro_f1"))
        low, high = wilson(round(scores["accuracy"] * scores["n"]), scores["n"])
        rows.append([names[part], str(scores["n"]), accuracy, f"{low:.3f}–{high:.3f}", *means, *f1])
        majority = scores["majority"]
        rows.append(
            [f"  always {majority['class']}", "", f"{majority['accuracy']:.4f}", "", f"{majority['weighted_f1']:.4f}"]
            + [""] * (1 + len(LABELS))
        )
    console.print(f"protocol {describe(split)}", markup=False)
    console.print(grid(columns, rows, right=columns[1:]))


def show_mean(metrics: Sequence[dict[str, dict[str, Any]]], split: dict[str, Any]) -> None:
    """Prints the protocol, the mean over the seeds, and their standard deviation."""
    from statistics import fmean, stdev

    from ..train.protocols import describe
    from .terminal.console import console, grid

    names = {"accuracy": "accuracy", "weighted_f1": "weighted F1", "macro_f1": "macro F1"}
    columns = [f"mean of {len(metrics)} seeds", "n", *names.values()]
    rows = []
    for part, label in (("val", "validation"), ("test", "test")):
        values = {name: [one[part][name] for one in metrics] for name in names}
        cells = [
            f"{fmean(each):.4f} ± {stdev(each):.4f}" if len(each) > 1 else f"{each[0]:.4f}" for each in values.values()
        ]
        rows.append([label, str(metrics[0][part]["n"]), *cells])
    console.print(f"protocol {describe(split)}", markup=False)
    console.print(grid(columns, rows, right=columns[1:]))


def show_note(untrained: list[str]) -> None:
    """Prints what every table made from untrained encoders must say."""
    from ..train.runs import UNTRAINED_NOTE
    from .terminal.console import console

    if untrained:
        console.print(UNTRAINED_NOTE, style="yellow")


def short(path: Path) -> str:
    """The path, relative to the current folder where it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
