"""`itin export`: the head of a run for other tools."""

from __future__ import annotations

from pathlib import Path

import click

from ..export.forms import FORMS


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--to", type=click.Choice(list(FORMS)), required=True, help="; ".join(f"{k}: {v}" for k, v in FORMS.items()) + "."
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder to write; by default ./RUN-onnx and the like.")
@click.option(
    "--with-encoders", is_flag=True, help="Also write encoders.json: names, revisions and preprocessing; no weights."
)
@click.option("--license", "licence", metavar="ID", help="Licence of the weights for the card, such as cc-by-4.0.")
def command(run: Path, to: str, out: Path | None, with_encoders: bool, licence: str | None) -> None:
    """Write the head of RUN into a new folder, with a model card: data, protocol, figures with intervals, limits.

    The folder holds no pair of the data set and no path of this machine. Before an ONNX graph is written, ONNX Runtime
    runs it on made-up pairs, and the results are compared with the head's (`pip install 'itin[onnx]'`).
    """
    from ..export import export
    from ..train.runs.folder import load_run
    from .terminal.console import console
    from .train import short

    made = export(load_run(run), to, out, licence=licence, with_encoders=with_encoders)
    console.print(f"{short(made.path)}: {', '.join(made.files)}")
    if made.difference is not None:
        console.print(f"ONNX Runtime gives what the head gives, to {made.difference:.1g}")
