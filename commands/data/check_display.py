"""What `itin data check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...targets import LABEL
from ..terminal.data_lines import count_words, rule_lines

if TYPE_CHECKING:
    from ...cache import Table
    from ...targets import Target
    from ...train.protocols.census import Census

MAX_COLUMNS = 8
"""The maximum number of classes that have a column each."""

MAX_LISTED = 10
"""The maximum number of unusable pairs that are listed."""


def sorted_lines(found: dict[str, dict[str, float]], sizes: dict[str, int]) -> list[str]:
    """Return a line for each part that is sorted by label.

    Args:
        found: what `census.sorted_parts` returned.
        sizes: the number of pairs of each part.
    """
    from ...train.protocols.split import PART_NAMES

    return [
        f"The {PART_NAMES[part]} part is sorted by label: {sizes[part]} pairs in {own['runs']} runs of equal labels, "
        f"about {own['expected']:.0f} in a random order. No head may look at a pair's neighbours there."
        for part, own in found.items()
    ]


def show(
    table: Table,
    unusable: dict[str, str],
    first: Target,
    counts: list[dict[str, Any]],
    found: Census,
    split: dict[str, Any],
    notes: list[str],
) -> None:
    """Print the census of a data set.

    Args:
        table: the data set's table.
        unusable: the pairs that cannot be used, with their reasons.
        first: the target whose values are counted by part.
        counts: `census.target_counts` of all targets.
        found: the census.
        split: the description of the parts.
        notes: lines about the parts.
    """
    from ...report.paper.published import DATASETS, TABLE_1
    from ...train.protocols.census import WHOLE
    from ...train.protocols.protocol import describe, kind_of
    from ..terminal.console import console, grid

    whole = found.classes[found.classes["part"] == WHOLE].iloc[0]
    what = "labelled pairs" if first.name == LABEL else f"pairs with a {first.name}"
    console.print(f"{table.dataset['name']}: {whole['n']} {what} that can be used")
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
    if len(counts) > 1:
        rows = [[one["name"], one["n"], count_words(one)] for one in counts]
        console.print("\nTargets:")
        console.print(grid(["target", "pairs", ""], rows, right=["pairs"]))
    if (kind := kind_of(table)) in TABLE_1:
        _show_table_1(DATASETS[kind], TABLE_1[kind], whole)

    console.print(f"\n{'Classes' if first.classes else first.name.capitalize()}, protocol {describe(split)}:")
    if first.classes:
        _show_classes(found.classes, first.classes)
    else:
        columns = [str(name) for name in found.classes]
        rows = [
            [part, n, *(f"{value:.3g}" if n else "" for value in own)] for part, n, *own in found.classes.to_numpy()
        ]
        console.print(grid(columns, rows, right=columns[1:]))

    without = int(whole["n"]) - sum(split["sizes"].values())
    if without:
        console.print(f"{without} in no part: {_why_outside(split)}")
    for line in notes:
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
    leaks = found.duplicates.set_index("kind")["test_in_train"]
    console.print(
        f"Of {split['sizes']['test']} test pairs the training part holds {leaks['equal texts']} texts"
        f" ({leaks['equal texts, stripped']} without links and retweet prefixes) and {leaks['equal images']} images."
    )
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
