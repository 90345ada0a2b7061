"""`itin data check`: duplicates, conflicting labels, class balance and the paper's Table I."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...extract.data.text_encoding import ENCODINGS
from ...parts import default_workers
from ...train.config import TrainConfig
from ..terminal.json_output import json_option, print_json
from ..terminal.options import options_of, take, usage_errors
from ..terminal.run_options import ProtocolOptions
from .check_display import show, sorted_lines

if TYPE_CHECKING:
    from ...cache import Table
    from ...train.protocols.protocol import Protocol


@click.command("check")
@click.option(
    "--dataset", metavar="NAME", help="The data set's name in the cache, or with --root one that `itin extract` knows."
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Cache folder with its table; by default $ITIN_CACHE, else ~/.cache/itin/features.",
)
@click.option("--root", type=click.Path(path_type=Path), help="Read the data set's own folder; decodes every image.")
@click.option(
    "--encoding",
    type=click.Choice(ENCODINGS),
    help="With --root: encoding of the text files; by default detected.",
)
@options_of(ProtocolOptions)
@options_of(TrainConfig, "split_seed", "fold")
@click.option("--csv", type=click.Path(path_type=Path), help="Write every pair that has a duplicate to a file.")
@json_option
def command(**options: Any) -> None:
    """Count the pairs of a data set, by part of a protocol.

    Prints classes and the accuracy of always predicting the most frequent one, groups of equal texts and images, how
    many of them have differing labels, how many pairs of one part also stand in another, whether a part is sorted by
    label, what else can be learnt from the data set, and the paper's Table I beside the same counts here.
    """

    from ... import disk
    from ...errors import DataError
    from ...targets import cells_of, targets_of, values_of
    from ...train.features.features import TargetColumn, strata_of
    from ...train.protocols.census import census, sorted_parts, target_counts
    from ...train.protocols.protocol import Splitter

    if options["encoding"] is not None and options["root"] is None:
        raise click.UsageError("--encoding goes with --root; the cache holds texts as `itin extract` read them")
    with usage_errors():
        protocol = take(ProtocolOptions, options).protocol_of()
    table, unusable = _from_root(options) if options["root"] is not None else _from_cache(options)
    usable = table.samples[~table.samples["id"].astype(str).isin(unusable)]
    targets = targets_of(table.dataset)
    if not targets:
        raise DataError(
            f"{table.dataset['name']} has neither labels nor scores, so there is nothing to count",
            expected="a table with a column label or score",
            next_step="extract it again with the table's columns named: --columns label=NAME",
        )
    first = next(iter(targets.values()))
    pairs = usable[[cell is not None for cell in cells_of(usable, first.name)]]
    ids = [str(one) for one in pairs["id"]]
    strata = strata_of(TargetColumn(first, values_of(cells_of(pairs, first.name), first)))
    splitter = Splitter.of(protocol, ids, strata, table, allow_missing=True)
    with usage_errors():
        split = splitter.split(options["split_seed"], options["fold"])
    part_of = dict(split.pairs(ids))
    found = census(pairs, part_of, first.classes, first.name)
    counts = target_counts(usable, targets.values())
    label_of = dict(zip(ids, strata.tolist(), strict=True))
    order = [one for one in _order(protocol, table, ids) if one in label_of]
    in_order = sorted_parts([part_of.get(one) for one in order], [label_of[one] for one in order])
    if options["as_json"]:
        named = {name: table.dataset.get(name) for name in ("name", "source", "dropped", "undecided", "texts")}
        print_json(
            {"dataset": named, "unusable": unusable, "targets": counts}
            | {"split": split.description, "outside": splitter.outside, "sorted": in_order}
            | {"classes": found.classes, "duplicates": found.duplicates, "members": found.members}
        )
    else:
        show(
            table,
            unusable,
            first,
            counts,
            found,
            split.description,
            [*splitter.outside, *sorted_lines(in_order, split.description["sizes"])],
        )
    if options["csv"] is not None:
        data = found.members.to_csv(index=False, lineterminator="\n")
        disk.replace(options["csv"], data.encode())
        click.echo(f"Pairs with an equal one: {options['csv']}", err=options["as_json"])


def _from_cache(options: dict[str, Any]) -> tuple[Table, dict[str, str]]:
    """Return the table that the last extraction wrote, and the unusable pairs with their reasons."""
    from ...cache import find_stores
    from ...cache.upkeep.info import info
    from ...paths import cache_root
    from ...train.features.find import find_table

    table = find_table(cache_root(options["cache"]), options["dataset"])
    unusable = {str(row["id"]): str(row["reason"]) for row in table.rejected.to_dict("records")}
    for store in find_stores(table.folder):
        one = info(store)
        unusable |= {str(row["id"]): f"{one.kind}: {row['reason']}" for row in one.quarantined}
    return table, unusable


def _from_root(options: dict[str, Any]) -> tuple[Table, dict[str, str]]:
    """Return the table of a data set's own folder, and the unusable pairs with their reasons."""
    import pandas as pd

    from ...cache import Table
    from ...errors import DataError
    from ...extract.data.datasets import open_dataset
    from ...extract.data.scan import scan, undecodable
    from ..terminal.console import Bars, console, notes

    with usage_errors():
        dataset = open_dataset(options["dataset"] or "mvsa-single", options["root"], encoding=options["encoding"])
    if dataset.stream is not None:
        raise DataError(
            f"{dataset.root} is read as a stream, whose pairs are checked from the cache",
            next_step="run `itin extract --plan ...`, and `itin data check` without --root",
        )
    workers, total = default_workers(), len(dataset.entries)
    with Bars(notes if options["as_json"] else console) as bars:
        bars.start("scan", total, 0)
        seen = scan(dataset, workers=workers, progress=lambda _: bars.advance("scan", 1))
        bars.start("decode", len(seen.samples), 0)
        bad = undecodable(seen.samples, workers, lambda: bars.advance("decode", 1))
    unusable = {row.id: row.reason for row in (*dataset.rejected, *seen.rejected, *seen.unread, *bad)}
    if not seen.samples:
        raise DataError(
            f"no pair of {dataset.root} can be used",
            expected="an image and a text for each row",
            found="; ".join(f"{id}: {reason}" for id, reason in list(unusable.items())[:3]) or "no pair with a label",
            next_step=seen.encoding.note or "check that --dataset and --root belong together",
        )
    source = dataset.read_as(seen.encoding.name).source
    record = {
        "name": dataset.name,
        "classes": dataset.classes,
        "source": source,
        "targets": [target.to_dict() for target in dataset.all_targets],
        "dropped": dataset.dropped,
        "undecided": dataset.undecided,
        "texts": seen.encoding.note,
    }
    return Table(dataset.root, record, pd.DataFrame([sample.row for sample in seen.samples]), pd.DataFrame()), unusable


def _order(protocol: Protocol, table: Table, ids: list[str]) -> list[str]:
    """Return the ids in the order in which the parts list them: that of the split's file, else of the data set's."""
    from ...train.protocols.clmlf import split_path
    from ...train.protocols.protocol import kind_of
    from ...train.protocols.split import read_parts

    if protocol.kind not in ("file", "clmlf"):
        return ids
    return list(read_parts(protocol.path or split_path(kind_of(table)))[0])
