"""`itin train`: one run on cached features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..itin_head.config import ABLATIONS, GATES
from ..train.config import GRUS, TrainConfig
from .options import field_option, usage_errors

if TYPE_CHECKING:
    from ..train.find import Found


@click.command("train", short_help="Train the head on cached features.")
@field_option(TrainConfig, "m", "Regions of an image, the first m by score; 0 leaves the context alone.", flag="--m")
@field_option(TrainConfig, "lam", "λ of eq. 18, the share of the visual context.", flag="--lam")
@field_option(TrainConfig, "gate", "Reading of eq. 8.", type=click.Choice(GATES))
@field_option(TrainConfig, "ablation", "What is left out, as in Table III.", type=click.Choice(ABLATIONS))
@field_option(TrainConfig, "d", "Hidden size.", flag="--d")
@field_option(TrainConfig, "k", "Size of the projections in eq. 5.", flag="--k")
@field_option(TrainConfig, "hidden", "Size of the fused representation.")
@field_option(TrainConfig, "epochs", "Passes over the training part; the best on the validation part is kept.")
@field_option(TrainConfig, "batch_size", "Samples a batch; by default 128 for mvsa-multiple, else 64.", type=int)
@field_option(TrainConfig, "lr", "Learning rate of Adam in the first epochs.")
@field_option(TrainConfig, "lr_step", "Epochs after which the learning rate changes.")
@field_option(TrainConfig, "lr_gamma", "What the learning rate is multiplied by then.")
@field_option(TrainConfig, "weight_decay", "Adam's weight decay.")
@field_option(TrainConfig, "seed", "Fixes the initial weights and the order of the samples.")
@field_option(TrainConfig, "split_seed", "Fixes the random 8:1:1 split.")
@field_option(TrainConfig, "keep_special", "Keep [CLS] and [SEP] among the words.")
@click.option("--split", type=click.Path(path_type=Path), help="A table of id and part, instead of a random split.")
@click.option("--dataset", help="The data set's name in the cache; may be left out if there is only one.")
@click.option("--regions", help="Which region features, where there are several: encoder or store name.")
@click.option("--text-encoder", help="Which token features, where there are several.")
@click.option("--context-encoder", help="Which context features, where there are several.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Cache folder; by default $ITIN_CACHE, else ~/.cache/itin/features.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; by default a new one in ./runs.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option("--gru", type=click.Choice(GRUS), default="auto", show_default=True, help="How to compute the GRU.")
def command(**options: Any) -> None:
    """Train the head on cached features by the paper's recipe, and evaluate it once on the test part.

    Writes a run folder with the configuration, scores, history, predictions and weights.
    """
    from ..device import pick_device
    from ..paths import cache_root
    from ..train.data import load_features
    from ..train.find import find_features
    from ..train.loop import fit, work_of
    from ..train.recurrence import choose
    from ..train.splits import random_split, split_from_file
    from ..train.write_run import check_free, write_run
    from .console import console, epochs_bar

    named = {kind: options.pop(option) for kind, option in _STORES.items()}
    out, split_file, device_name = options.pop("out"), options.pop("split"), options.pop("device")
    gru = options.pop("gru")
    cache, dataset = options.pop("cache"), options.pop("dataset")
    with usage_errors():
        config = TrainConfig(**options)
        device = pick_device(device_name)
    if out is not None:
        check_free(out)
    found = find_features(cache_root(cache), dataset, named, regions=config.regions > 0)
    features = load_features(found.table, found.stores, config.regions, config.keep_special)
    split = (
        random_split(features.ids, config.split_seed)
        if split_file is None
        else split_from_file(split_file, features.ids)
    )
    show_data(found, len(features), features.labelled, features.streamed)
    with usage_errors():
        gru = choose(gru, device, work_of(config, features, split), say=console.print)
    with epochs_bar(config.epochs) as on_epoch:
        result = fit(config, features, split, device, on_epoch, gru=gru)
    run = write_run(result, features, split, found.table, found.stores, device=str(device), out=out)
    console.print(f"best epoch {result.best_epoch} of {config.epochs}, {result.seconds:.1f} s on {device}")
    show_scores(result.metrics, split.description)
    show_note([store.name for store in found.stores.values() if store.untrained])
    console.print(f"Run: {short(run)}", markup=False)


_STORES = {"regions": "regions", "tokens": "text_encoder", "context": "context_encoder"}


def show_data(found: Found, used: int, labelled: int, streamed: bool) -> None:
    """Prints which features a run is made of, how many labelled samples lack them, and whether memory holds them."""
    from .console import console

    console.print(f"{found.table.dataset['name']}: {used} labelled samples", markup=False)
    for kind, store in found.stores.items():
        console.print(f"  {kind:8} {store.path.name}", markup=False)
    if used < labelled:
        console.print(
            f"  {labelled - used} more have a label and no features: `itin extract` makes them",
            style="yellow",
            markup=False,
        )
    if streamed:
        console.print("  memory cannot hold them: each batch is read from the cache, which is slower", style="yellow")


def show_scores(metrics: dict[str, dict[str, Any]], split: dict[str, Any]) -> None:
    """Prints accuracy and F1 of each part, and of always predicting the majority class."""
    from ..labels import LABELS
    from .console import console, grid

    names = {"val": "validation", "test": "test", "train": "training"}
    columns = ["", "n", "accuracy", "weighted F1", "macro F1", *(f"F1 {label}" for label in LABELS)]
    rows = []
    for part, scores in metrics.items():
        f1 = [f"{scores['f1'][label]:.4f}" for label in LABELS]
        means = [f"{scores[name]:.4f}" for name in ("accuracy", "weighted_f1", "macro_f1")]
        rows.append([names[part], str(scores["n"]), *means, *f1])
        majority = scores["majority"]
        rows.append(
            [f"  always {majority['class']}", "", f"{majority['accuracy']:.4f}", f"{majority['weighted_f1']:.4f}"]
            + [""] * (1 + len(LABELS))
        )
    console.print(grid(columns, rows, right=columns[1:]))


def show_note(untrained: list[str]) -> None:
    """Prints what every table made from untrained encoders must say."""
    from ..train.runs import UNTRAINED_NOTE
    from .console import console

    if untrained:
        console.print(UNTRAINED_NOTE, style="yellow")


def short(path: Path) -> str:
    """The path, relative to the current folder where it lies below it."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
