"""`itin data check`: duplicates, conflicting labels, class balance and the paper's Table I."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...extract.data.text_encoding import ENCODINGS
from ...labels import classes_of, numbers_of
from ...parts import default_workers
from ...train.config import TrainConfig
from ..terminal.data_lines import rule_lines
from ..terminal.json_output import json_option, print_json
from ..terminal.options import options_of, take, usage_errors
from ..terminal.run_options import ProtocolOptions

if TYPE_CHECKING:
    from ...cache import Table
    from ...train.protocols.census import Census

MAX_COLUMNS = 8
"""The maximum number of classes that have a column each."""

MAX_LISTED = 10
"""The maximum number of unusable pairs that are listed."""


@click.command("check", short_help="Duplicates, conflicting labels, class balance, Table I.")
@click.option("--dataset", help="The data set's name in the cache, or with --root one that `itin extract` knows.")
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
    many of them have differing labels, how many pairs of one part also stand in another, and the paper's Table I
    beside the same counts here.
    """

    from ... import disk
    from ...train.protocols.census import census
    from ...train.protocols.protocol import Splitter, kind_of

    if options["encoding"] is not None and options["root"] is None:
        raise click.UsageError("--encoding goes with --root; the cache holds texts as `itin extract` read them")
    with usage_errors():
        protocol = take(ProtocolOptions, options).protocol_of()
    table, unusable = _from_root(options) if options["root"] is not None else _from_cache(options)
    labelled = table.samples[table.samples["label"].notna() & ~table.samples["id"].astype(str).isin(unusable)]
    ids = [str(one) for one in labelled["id"]]
    classes = classes_of(table.dataset)
    labels = numbers_of(labelled["label"], classes)
    splitter = Splitter.of(protocol, ids, labels, table, allow_missing=True)
    with usage_errors():
        split = splitter.split(options["split_seed"], options["fold"])
    found = census(labelled, dict(split.pairs(ids)), classes)
    if options["as_json"]:
        named = {name: table.dataset.get(name) for name in ("name", "source", "dropped", "undecided", "texts")}
        print_json(
            {"dataset": named, "unusable": unusable, "split": split.description, "outside": splitter.outside}
            | {"classes": found.classes, "duplicates": found.duplicates, "members": found.members}
        )
    else:
        _show(table, unusable, found, split.description, kind_of(table), splitter.outside)
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


def _show(
    table: Table, unusable: dict[str, str], found: Census, split: dict[str, Any], kind: str, outside: list[str]
) -> None:
    from ...report.paper.published import DATASETS, TABLE_1
    from ...train.protocols.census import WHOLE
    from ...train.protocols.protocol import describe
    from ..terminal.console import console, grid

    whole = found.classes[found.classes["part"] == WHOLE].iloc[0]
    console.print(f"{table.dataset['name']}: {whole['n']} labelled pairs that can be used")
    for line in rule_lines(table.dataset.get("dropped") or {}, table.dataset.get("undecided") or {}):
        console.print(f"  {line}")
    if note := table.dataset.get("texts"):
        console.print(f"  {note}")
    if unusable:
        console.print(f"  {len(unusable)} that cannot be used:")
        for id, reason in list(unusable.items())[:MAX_LISTED]:
            console.print(f"    {id}: {reason}")
        if len(unusable) > MAX_LISTED:
            console.print(f"    and {len(unusable) - MAX_LISTED} more")
    if kind in TABLE_1:
        _show_table_1(DATASETS[kind], TABLE_1[kind], whole)

    console.print(f"\nClasses, protocol {describe(split)}:")
    _show_classes(found.classes, classes_of(table.dataset))

    without = int(whole["n"]) - sum(split["sizes"].values())
    if without:
        console.print(f"{without} in no part: {_why_outside(split)}")
    for line in outside:
        console.print(line)

    console.print("\nDuplicates:")
    heads = {
        "kind": "",
        "groups": "groups",
        "pairs": "pairs",
        "conflicting": "labels differ",
        "across": "in several parts",
        "test_in_train": "test pairs in train",
        "test_in_val": "test pairs in val",
        "val_in_train": "val pairs in train",
    }
    rows = [[row[name] for name in heads] for _, row in found.duplicates.iterrows()]
    console.print(grid(list(heads.values()), rows, right=list(heads.values())[1:]))
    if found.duplicates["across"].any() and "duplicates" not in split:
        console.print("--group-duplicates keeps them in one part.")


def _show_classes(balance: Any, classes: Sequence[str]) -> None:
    """Print the classes of each part: a column per class, or a row where there are many."""
    from ...train.protocols.census import column_of
    from ..terminal.console import console, ends, grid

    always = f"always {balance['majority'].iloc[0]}"
    shares = [f"{row['majority_accuracy']:.1%}" if row["n"] else "" for _, row in balance.iterrows()]
    if len(classes) <= MAX_COLUMNS:
        columns = ["part", "n", *classes, always]
        names = ["part", "n", *map(column_of, classes)]
        rows = [[*row, share] for row, share in zip(balance[names].to_numpy().tolist(), shares, strict=True)]
    else:
        columns = ["class", *balance["part"]]
        ordered = sorted(classes, key=lambda label: -int(balance[column_of(label)].iloc[0]))
        counts = [[label, *balance[column_of(label)]] for label in ordered]
        rows = [*map(list, ends(counts)), ["all classes", *balance["n"]], [always, *shares]]
    console.print(grid(columns, rows, right=columns[1:]))


def _why_outside(split: dict[str, Any]) -> str:
    """Return the reasons why pairs are in no part."""
    found = {
        "the text and image labels differ": split.get("labels_differ", 0),
        "an equal pair is in a later part": sum(split.get("duplicates_left_out", {}).values()),
        "the split does not name them": split.get("not_in_split", 0),
    }
    return ", ".join(f"{count} because {why}" for why, count in found.items() if count)


def _show_table_1(name: str, paper: dict[str, int], whole: Any) -> None:
    """Print the paper's counts beside those here."""
    from ..terminal.console import console, grid

    same = all(whole[label] == count for label, count in paper.items())
    rows = [
        ["paper", *paper.values(), sum(paper.values())],
        ["here", *(whole[label] for label in paper), whole["n"]],
    ]
    console.print(f"\nTable I, {name}: {'the same' if same else 'not the whole data set, or another one'}")
    columns = ["", *paper, "pairs"]
    console.print(grid(columns, rows, right=columns[1:]))
