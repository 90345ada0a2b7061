"""`itin explain`: Fig. 7 of the paper for any pair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .terminal.named_encoders import encoder_options, names_for
from .terminal.options import options_of, usage_errors
from .terminal.run_options import Computing


@click.command("explain")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), required=True, help="An image file, or its URL.")
@click.option("--text", required=True, help="The text that belongs to it.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write: .png, .pdf, .svg or .html.",
)
@encoder_options
@options_of(Computing, "device")
def command(run: Path, image: Path, text: str, out: Path, device: str, **_: Any) -> None:
    """Run RUN's own encoders and head on one pair and draw the alignment of its regions with its words.

    The drawing shows the image with its regions outlined and numbered, and for each region the gate, the attention, and
    the words shaded by their weight.
    """
    from ..device import pick_device
    from ..predict import Predictor
    from ..report.explain import ENDINGS, explain
    from ..train.runs.folder import load_run
    from .predict import named_image, pair_errors, show, show_foreign
    from .terminal.console import console
    from .train import short, show_note

    if out.suffix.lower() not in ENDINGS:
        raise click.UsageError(f"--out {out}: expected a name that ends in {', '.join(ENDINGS)}")
    image = named_image(image)
    opened = load_run(run)
    with usage_errors():
        where, allow = pick_device(device), names_for(opened)
    predictor = Predictor(opened, where, allow)
    with pair_errors(image):
        made = explain(predictor, image, text)
    made.save(out)
    show(made.prediction, opened.target_name)
    show_foreign(predictor)
    show_note(opened.note)
    console.print(short(out))
