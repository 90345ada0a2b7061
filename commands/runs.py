"""`itin runs`: list runs."""

from __future__ import annotations

from pathlib import Path

import click

from .terminal.json_output import json_option, print_json
from .terminal.options import usage_errors

SINGLE_RUN_COLUMNS = ("head", "preset", "m", "lam", "ablation", "seed")
"""The columns shown for a single run; for several runs, those in which they differ are shown."""


@click.command("runs")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--where",
    "conditions",
    metavar="CONDITION",
    multiple=True,
    help="Only runs with, for example, m=2 or lam<=0.3; may be repeated.",
)
@click.option("--sort", "by", metavar="COLUMN", help="Sort by a column; with - before its name the greatest first.")
@click.option(
    "--best",
    type=click.IntRange(1),
    metavar="N",
    help="Only the best N by validation accuracy, then loss; where a number is predicted, by loss.",
)
@click.option("--csv", type=click.Path(path_type=Path), help="Write all columns to a file instead of showing some.")
@click.option("--test", is_flag=True, help="Also show test figures of runs that have them; never choose by them.")
@json_option
def command(
    paths: tuple[Path, ...],
    conditions: tuple[str, ...],
    by: str | None,
    best: int | None,
    csv: Path | None,
    test: bool,
    as_json: bool,
) -> None:
    """List the run folders below PATHS, by default ./runs: single runs and those of sweeps."""
    if csv is not None and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    from ..train.config import shown_scores
    from ..train.runs import listing as tables
    from ..train.sweeps.folder import FIELDS
    from .terminal.console import console, grid
    from .terminal.sweep_display import TEXT_COLUMNS, with_differences
    from .train import short, show_note

    table, bad = tables.runs_table(paths or (Path("runs"),))
    with usage_errors():
        for condition in conditions:
            table = tables.where(table, condition)
        if by is not None:
            table = tables.sort(table, by)
        if best is not None:
            table = tables.best(table, best)
    for path, reason in bad:
        click.echo(f"{path}: {reason}", err=True)
    everything = table if test else table.drop(columns=list(tables.TEST_COLUMNS))
    if as_json:
        print_json(everything)
        return
    if csv is not None:
        everything.to_csv(csv, index=False, lineterminator="\n")
        console.print(f"{len(table)} runs: {csv}")
        return
    if table.empty:
        console.print("No runs.")
        return
    table, shown = with_differences(table, FIELDS)
    shown = shown if len(table) > 1 else list(SINGLE_RUN_COLUMNS)
    shown = [name for name in shown if name != "target"]
    kinds = [
        is_number for is_number, score in ((False, "accuracy"), (True, "mae")) if table[f"val_{score}"].notna().any()
    ]
    figures = [f"val_{score}" for kind in kinds for score in shown_scores(kind)] + ["val_loss"]
    figures += [f"test_{score}" for kind in kinds for score in shown_scores(kind)] if test else []
    origin = [name for name in ("dataset", "protocol") if table[name].nunique(dropna=False) > 1]
    table["target"] = [f"{name} ({kind})" for name, kind in zip(table["target"], table["kind"], strict=True)]
    columns: list[str] = ["run", *origin, "target", *shown, "best_epoch", *figures]
    table["run"] = [short(Path(run)) for run in table["run"]]
    rows = [[_cell(value) for value in row] for row in table[columns].itertuples(index=False)]
    listing = grid(columns, rows, right=[name for name in columns if name not in TEXT_COLUMNS])
    console.print(listing)
    if "protocol" not in origin:
        console.print(f"protocol {table['protocol'].iloc[0]}")
    for note in sorted({note for note in table["note"] if note}):
        show_note(note)


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
