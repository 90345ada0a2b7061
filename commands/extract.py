"""`itin extract`: stage one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..cache.schema import FLOATS, KINDS
from ..extract.config import BACKENDS, EncoderConfig, ExtractConfig
from ..extract.frcnn.recipe import RECIPES
from ..extract.text_encoding import ENCODINGS
from ..parts import Part
from .options import columns_of, field_option, part, usage_errors
from .terminal.signals import stop_on_signals

if TYPE_CHECKING:
    from ..extract.run import Summary

DATASETS = ("mvsa-single", "mvsa-multiple", "folder")
SHOWN = 10
"""Quarantined samples that the summary names one by one."""


@click.command("extract", short_help="Encode a data set's images and texts into the feature cache.")
@click.option("--dataset", type=click.Choice(DATASETS), required=True, help="Which data set, or `folder` for your own.")
@field_option(
    ExtractConfig, "root", "The data set's folder; by default $ITIN_DATA/<dataset>.", type=click.Path(path_type=Path)
)
@field_option(
    ExtractConfig,
    "table",
    "For `folder`: its CSV, TSV or JSONL table, if it holds several.",
    type=click.Path(path_type=Path),
)
@click.option(
    "--columns", default="", metavar="id=ID,text=TWEET,...", help="For `folder`: columns that have other names."
)
@field_option(ExtractConfig, "name", "For `folder`: its name in the cache; by default the folder's with a short hash.")
@field_option(ExtractConfig, "allow_outside", "For `folder`: accept images outside of the root.")
@field_option(
    ExtractConfig,
    "encoding",
    "For MVSA: what its text files are read as; by default what was decided before, else by what they hold.",
    type=click.Choice(ENCODINGS),
)
@field_option(EncoderConfig, "regions", "Region encoder: vg-frcnn, grid, grid-resnet18 or grid-small.")
@field_option(EncoderConfig, "text_encoder", "BERT-like model by name, or a folder that holds one.")
@field_option(EncoderConfig, "context_encoder", "Context encoder.")
@field_option(
    EncoderConfig, "detector_weights", "Checkpoint of vg-frcnn; by default the place that `itin weights` names."
)
@field_option(
    EncoderConfig,
    "detector_recipe",
    "Resizing, proposals and box arithmetic of vg-frcnn; by default those of the checkpoint's family.",
    type=click.Choice(tuple(RECIPES)),
)
@field_option(
    EncoderConfig, "detector_selection", "How vg-frcnn chooses its boxes.", type=click.Choice(("original", "hf"))
)
@field_option(EncoderConfig, "detector_backend", "What computes vg-frcnn.", type=click.Choice(BACKENDS))
@field_option(
    EncoderConfig, "object_names", "Object names of vg-frcnn; by default objects_vocab.txt beside the checkpoint."
)
@field_option(
    EncoderConfig, "attribute_names", "Likewise attribute names; by default attributes_vocab.txt beside the checkpoint."
)
@field_option(
    EncoderConfig, "random_init", "Use untrained encoders with random weights of this seed.", type=int, metavar="SEED"
)
@field_option(EncoderConfig, "max_regions", "Regions kept for each image, by score.")
@field_option(
    EncoderConfig, "min_regions", "Regions vg-frcnn keeps at least; by default 10, or all with `hf`.", type=int
)
@field_option(EncoderConfig, "max_tokens", "WordPieces kept for each text.")
@field_option(EncoderConfig, "store_dtype", "Dtype of the stored features.", type=click.Choice(FLOATS))
@field_option(
    EncoderConfig, "compute_dtype", "Dtype of the encoders' arithmetic.", type=click.Choice(("float32", "bfloat16"))
)
@click.option("--only", default=",".join(KINDS), show_default=True, help="Kinds of feature to extract.")
@field_option(ExtractConfig, "limit", "Extract only the first so many samples.", type=int)
@field_option(ExtractConfig, "retry_quarantined", "Try samples again that are in quarantine.")
@field_option(
    ExtractConfig,
    "cache",
    "Cache folder; by default $ITIN_CACHE, else ~/.cache/itin/features.",
    type=click.Path(path_type=Path),
)
@field_option(ExtractConfig, "shard_size", "Samples a shard; a kill loses at most one shard of work.")
@field_option(ExtractConfig, "batch_size", "Images a batch; by default what suits each encoder.", type=int)
@field_option(ExtractConfig, "workers", "Threads that decode images; by default one a core.", type=int)
@field_option(ExtractConfig, "device", "auto, cpu, cuda, cuda:1 or mps.")
@field_option(
    ExtractConfig,
    "part",
    "Make only the shards of part i of N (i from 0), from the last scan's table, and write no manifest.",
    type=part,
    metavar="i/N",
)
@field_option(
    ExtractConfig, "into", "Fill no other stores than these, with commas between: those that were planned elsewhere."
)
@field_option(ExtractConfig, "plan", "Only scan the data set, load the encoders and plan the shards.")
@field_option(ExtractConfig, "consolidate", "Only verify that every shard is there and sound; write the manifests.")
def command(**options: Any) -> None:
    """Encode a data set's images and texts once, into the feature cache.

    Run it again after an interruption, with more data or with another encoder: only what is missing is computed.
    SIGTERM and SIGUSR1 end it soon: what is encoded is committed, and exit code 75 says to run the command again.
    """
    from ..errors import RUN_AGAIN

    with usage_errors():
        config = config_from(options)
    try:
        with stop_on_signals() as stop:
            from ..extract.run import extract
            from .terminal.console import Bars

            with Bars() as bars, usage_errors():
                summary = extract(config, bars, stop)
    except KeyboardInterrupt:
        click.echo("\nStopped. What was committed is kept: run the same command again to continue.", err=True)
        raise click.exceptions.Exit(130) from None
    show(summary, config.part)
    if summary.unread:
        click.echo(f"{summary.unread} could not be read this time: run the same command again.", err=True)
    if summary.stopped:
        click.echo(
            f"Stopped by a signal: {summary.left} features are left. Run the command again to continue.", err=True
        )
    if summary.unread or summary.stopped:
        raise click.exceptions.Exit(RUN_AGAIN)


def config_from(options: dict[str, Any]) -> ExtractConfig:
    """The command's options as a configuration."""
    names = EncoderConfig.__dataclass_fields__
    encoders = EncoderConfig(**{name: options.pop(name) for name in names})
    columns = columns_of(options.pop("columns"))
    only = tuple(kind.strip() for kind in options.pop("only").split(",") if kind.strip())
    return ExtractConfig(**options, columns=columns, only=only, encoders=encoders)


def show(summary: Summary, one: Part | None = None) -> None:
    """Print what an extraction did."""
    from ..train.runs import UNTRAINED_NOTE
    from .terminal.console import console, grid
    from .train import short

    dataset, samples = summary.dataset, summary.scan.samples
    labels = Counter(sample.label or "unlabelled" for sample in samples)
    counted = ", ".join(f"{count} {label}" for label, count in labels.most_common())
    console.print(f"{dataset.name}: {len(samples)} pairs ({counted}) from {short(dataset.root)}", markup=False)
    for reason, count in dataset.dropped.items():
        console.print(f"  {count} left out by the label rule: {reason}", markup=False)
    if summary.scan.encoding.note:
        console.print(f"  {summary.scan.encoding.note}", markup=False)
    rows = [
        (store.kind, store.encoder, store.made, store.reused, len(store.quarantined), store.path.name)
        for store in summary.stores
    ]
    if one is not None:
        wanted = ", ".join(f"{store.wanted} {store.kind}" for store in summary.stores)
        console.print(f"part {one}: {wanted}", markup=False)
    right = ("made", "there before", "quarantined")
    console.print(grid(("kind", "encoder", *right, "store"), rows, right=right))
    reasons = [(row.id, "", row.reason) for row in summary.rejected]
    for store in summary.stores:
        reasons += [(sample, store.kind, reason) for sample, reason in store.quarantined.items()]
    lines = one_line_each(reasons)
    if lines:
        console.print(f"{len(lines)} in quarantine:")
        for line in lines[:SHOWN]:
            console.print(f"  {line}", markup=False)
        if len(lines) > SHOWN:
            console.print(f"  ... and {len(lines) - SHOWN} more in {summary.folder}", markup=False)
    if any(store.untrained for store in summary.stores):
        console.print(UNTRAINED_NOTE, style="yellow")
    console.print(f"Done in {summary.seconds:.1f} s: {short(summary.folder)}", markup=False)


def one_line_each(reasons: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one line a sample, whatever the number of its reasons, so that lines count samples.

    Args:
        reasons: sample, kind of feature (empty: of the pair as a whole) and reason.
    """
    found: dict[str, dict[str, list[str]]] = {}  # sample -> reason -> kinds
    for sample, kind, reason in reasons:
        kinds = found.setdefault(sample, {}).setdefault(reason, [])
        kinds += [kind] if kind else []
    return [
        f"{sample}: " + "; ".join(f"{', '.join(kinds)}: {reason}" if kinds else reason for reason, kinds in own.items())
        for sample, own in found.items()
    ]
