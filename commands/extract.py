"""`itin extract`: stage one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..extract.config import EncoderConfig, ExtractConfig
from ..extract.data.datasets import HF_FORM, KINDS
from ..extract.encoders.own import FIELDS
from ..labels import LABELS, listed
from ..parts import Part
from .terminal.data_lines import rule_lines, target_line
from .terminal.named_encoders import check_named, encoders_named
from .terminal.options import Command, Option, columns_of, options_of, take, usage_errors
from .terminal.signals import stop_on_signals

if TYPE_CHECKING:
    from ..extract.data.samples import DataSet
    from ..extract.summary import Summary

MAX_LISTED = 10
"""The maximum number of quarantined samples that the summary lists."""


@click.command("extract", cls=Command)
@options_of(ExtractConfig, but=("encoders",))
@options_of(EncoderConfig)
@click.option(
    "--config",
    "record",
    cls=Option,
    heading="In parts",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take all options from a submission's record, for --part or --consolidate.",
)
def command(**options: Any) -> None:
    """Encode a data set's images and texts once, into the feature cache.

    Run it again after an interruption, with more data or with another encoder: only what is missing is computed.
    SIGTERM and SIGUSR1 end it early: what is encoded is committed, and exit code 75 says to run the command again.
    """
    from ..errors import RUN_AGAIN

    allow = set(encoders_named().values())
    with usage_errors():
        config = config_from(options)
    try:
        with stop_on_signals() as stop:
            from ..extract.run import extract, load_encoders
            from .terminal.console import Bars

            _fetch_weights(config)
            with Bars() as bars, usage_errors():
                summary = extract(config, bars, stop, partial(load_encoders, allow=allow))
    except KeyboardInterrupt:
        click.echo("\nStopped. What was committed is kept: run the same command again to continue.", err=True)
        raise click.exceptions.Exit(130) from None
    show(summary, config.part)
    if summary.unread:
        click.echo(f"{summary.unread} could not be read this time: {_again(summary, config.part)}.", err=True)
        for id, reason in islice(summary.unread_reasons.items(), 3):
            click.echo(f"  {reason if reason.startswith(id) else f'{id}: {reason}'}", err=True)
    if summary.stopped:
        click.echo(
            f"Stopped by a signal: {summary.left} features are left. Run the command again to continue.", err=True
        )
    if summary.unread or summary.stopped:
        raise click.exceptions.Exit(RUN_AGAIN)


def _again(summary: Summary, part: Part | None) -> str:
    """Return what reads the samples that were not read; a part takes the last scan as it is, and sees no change."""
    from ..extract.fill import CHANGED

    again = "run the same command again"
    if part is None or not any(reason.endswith(CHANGED) for reason in summary.unread_reasons.values()):
        return again
    if _typed("record"):
        return "submit the extraction again, which scans the changed files"
    return f"run it with --plan in place of --part {part}, which scans the changed files, then {again}"


def _fetch_weights(config: ExtractConfig) -> None:
    """Download the weights that are missing, before the bars take the terminal; the client has bars of its own."""
    from ..extract.data.survey import open_config
    from ..extract.encoders.build import weights_of
    from ..extract.weights.download import offline

    with usage_errors():
        missing = [row for row in weights_of(config.encoders, config.only).values() if row.found is None and row.fetch]
        if missing and not offline():
            open_config(config)  # a wrong folder is reported before anything is downloaded
    for row in missing if not offline() else ():
        note = row.fetch() if row.fetch is not None else None
        if isinstance(note, str):
            click.echo(note, err=True)


for _param in command.params:
    if _param.name == "dataset":
        _param.required = False  # --config may set it


def config_from(options: dict[str, Any]) -> ExtractConfig:
    """Return the command's options as a configuration; with `--config` those of a submission's record.

    Raises:
        ValueError: an option is wrong, or conflicts with another.
        DataError: the record cannot be read.
    """
    if (record := options.pop("record")) is not None:
        return _from_record(record, options)
    if options["dataset"] is None:
        raise ValueError(f"--dataset is missing: expected one of {', '.join(KINDS)}, or {HF_FORM}")
    encoders = take(EncoderConfig, options)
    columns = columns_of(options.pop("columns") or "")
    only = tuple(kind.strip() for kind in options.pop("only").split(",") if kind.strip())
    config = ExtractConfig(**options, columns=columns, only=only, encoders=encoders)
    return _beside(config) if encoders.scene_encoder is not None and not _typed("only") else config


def _typed(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _beside(config: ExtractConfig) -> ExtractConfig:
    """Return a configuration without the kinds whose encoder is not named and of which only others' features are there.

    So that `--scene-encoder NAME` alone adds the scene to what encoders by other names than the default ones have made.
    """
    from ..cache import find_stores
    from ..extract.data.survey import open_config

    _, folder = open_config(config)
    others = set()
    for kind, field in FIELDS.items():
        paths = find_stores(folder, kind)
        own = f"{kind}-{getattr(config.encoders, field)}"
        if paths and not _typed(field) and not any(path.name.rpartition("-")[0] == own for path in paths):
            others.add(kind)
    return replace(config, only=tuple(kind for kind in config.only if kind not in others))


def _from_record(path: Path, options: dict[str, Any]) -> ExtractConfig:
    from ..cluster.submission import RECORD, read

    context = click.get_current_context()
    given = {name for name in options if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    named = encoders_named()
    given -= named.keys()
    if more := sorted(given - {"part", "consolidate", "device"}):
        raise ValueError(
            f"--config sets all options but --part, --consolidate and --device: leave --{more[0].replace('_', '-')} out"
        )
    config = ExtractConfig.from_record(read(path.parent if path.name == RECORD else path).config)
    check_named(named, vars(config.encoders), str(path))
    return replace(config, **{name: options[name] for name in given})


def show(summary: Summary, part: Part | None = None) -> None:
    """Print the summary of an extraction."""
    from ..train.runs.folder import untrained_note
    from .terminal.console import console, grid
    from .train import short, show_note

    dataset, samples = summary.dataset, summary.scan.samples
    counts: Counter[str | None] = Counter()
    parts: Counter[str] = Counter()
    values = dict.fromkeys([one.name for one in dataset.all_targets], 0) if dataset.targets else {}
    for sample in samples:
        counts[sample.label] += 1
        parts.update([sample.part] if sample.part is not None else [])
        for name in values:
            values[name] += sample.value(name) is not None
    labels = counts.most_common()
    counted = listed([f"{count} {'unlabelled' if label is None else label}" for label, count in labels])
    pairs = f"{len(samples)} pairs ({counted})" if counted else "no pairs"
    console.print(f"{dataset.name}: {pairs} from {short(dataset.root)}", markup=False)
    for line in label_lines(dataset):
        console.print(f"  {line}", markup=False)
    for line in rule_lines(dataset.dropped, dataset.undecided):
        console.print(f"  {line}", markup=False)
    if values:
        console.print(f"  {target_line(values)}", markup=False)
    if parts:
        told = ", ".join(f"{count} {part}" for part, count in parts.items())
        console.print(f"  its own split, --protocol own: {told}", markup=False)
    if summary.scan.encoding.note:
        console.print(f"  {summary.scan.encoding.note}", markup=False)
    rows = [
        (store.kind, store.encoder, store.made, store.reused, len(store.quarantined), store.path.name)
        for store in summary.stores
    ]
    if summary.note is not None:
        console.print(f"  {summary.note}", markup=False)
    if part is not None:
        wanted = ", ".join(f"{store.wanted} {store.kind}" for store in summary.stores)
        console.print(f"part {part}: {wanted}", markup=False)
    right = ("made", "there before", "quarantined")
    console.print(grid(("kind", "encoder", *right, "store"), rows, right=right))
    reasons = [(row.id, "", row.reason) for row in summary.rejected]
    for store in summary.stores:
        reasons += [(sample, store.kind, reason) for sample, reason in store.quarantined.items()]
    lines = lines_by_sample(reasons)
    if lines:
        console.print(f"{len(lines)} in quarantine:")
        for line in lines[:MAX_LISTED]:
            console.print(f"  {line}", markup=False)
        if len(lines) > MAX_LISTED:
            console.print(f"  ... and {len(lines) - MAX_LISTED} more in {summary.folder}", markup=False)
    stores = summary.stores
    show_note(untrained_note([store.kind for store in stores if store.untrained], [store.kind for store in stores]))
    console.print(f"Done in {summary.seconds:.1f} s: {short(summary.folder)}", markup=False)


def label_lines(dataset: DataSet) -> list[str]:
    """Return the classes of a data set, and the labels that are none, a line each."""
    lines = []
    if dataset.ordered or (dataset.classes and dataset.classes != LABELS):
        order = " from the least to the greatest" if dataset.ordered else ""
        lines.append(f"{len(dataset.classes)} classes{order}: {listed(dataset.classes)}")
    for what, labels in (
        ("left unlabelled, too few rows of a label", dataset.rare),
        ("in quarantine, labels that are no classes", dataset.unknown),
    ):
        if labels:
            lines.append(f"{what}: {listed([f'{label!r} ({count})' for label, count in labels.items()])}")
    if dataset.rare or dataset.unknown:
        lines.append("--classes NAME,... says which labels are classes; runs on other classes must be trained again")
    if dataset.strange:
        told = listed([f"{value} ({count})" for value, count in dataset.strange.items()])
        lines.append(f"without a value of a target, none of its classes: {told}")
    return lines


def lines_by_sample(reasons: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one line per sample, whatever the number of its reasons, so that lines count samples.

    Args:
        reasons: sample, kind of feature (empty: the pair as a whole) and reason.
    """
    found: dict[str, dict[str, list[str]]] = {}  # sample -> reason -> kinds
    for sample, kind, reason in reasons:
        kinds = found.setdefault(sample, {}).setdefault(reason, [])
        kinds += [kind] if kind else []
    return [
        f"{sample}: " + "; ".join(f"{', '.join(kinds)}: {reason}" if kinds else reason for reason, kinds in own.items())
        for sample, own in found.items()
    ]
