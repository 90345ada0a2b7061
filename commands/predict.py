"""`itin predict`: a label for raw pairs, and the words that each region was aligned with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal.named_encoders import encoder_options, names_for
from .terminal.options import columns_of, options_of, usage_errors
from .terminal.run_options import Computing

if TYPE_CHECKING:
    from rich.text import Text

    from ..predict import Prediction, Predictor, Region

MAX_WORDS = 5
"""The maximum number of words shown for each region."""

MIN_SHADE = 0.25
"""The minimum strength of a word's shade; weaker shades are left out."""


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="An image file, or its URL.")
@click.option("--text", help="The text that belongs to it.")
@click.option("--table", type=click.Path(path_type=Path), help="CSV, TSV, JSONL, Parquet or .tar instead.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="With --table: CSV file to write; by default it is printed."
)
@click.option("--columns", default="", metavar="id=ID,text=TWEET,...", help="With --table: columns of other names.")
@click.option("--allow-outside", is_flag=True, help="With --table: accept images outside of the table's folder.")
@encoder_options
@options_of(Computing, "device")
def command(
    run: Path,
    image: Path | None,
    text: str | None,
    table: Path | None,
    out: Path | None,
    columns: str,
    allow_outside: bool,
    device: str,
    **_: Any,
) -> None:
    """Run RUN's own encoders and head on raw input: one pair (--image, --text) or a whole file (--table).

    RUN is a run, what `itin export --to safetensors` wrote, or the name of such a model on the hub.
    """
    if (table is None) == (image is None or text is None) or (table is not None and (image or text)):
        raise click.UsageError("give --image FILE and --text TEXT, or --table FILE")
    if table is None and (out is not None or columns or allow_outside):
        raise click.UsageError("--out, --columns and --allow-outside go with --table FILE")
    from ..device import pick_device
    from ..export import open_run
    from ..predict import Predictor
    from ..predict.raw import table_files
    from ..predict.table import check_out

    opened = open_run(run)
    with usage_errors():
        where = pick_device(device)
        names, allow = columns_of(columns), names_for(opened)
    files = [] if table is None else table_files(table)
    for file in files:
        check_out(out, file, opened.path)
    image = None if image is None else named_image(image)
    predictor = Predictor(opened, where, allow)
    if table is not None:
        _table(predictor, table, out, allow_outside, names)
    elif image is not None and text is not None:
        _one(predictor, image, text)


def _one(predictor: Predictor, image: Path, text: str) -> None:
    from .train import show_note

    with pair_errors(image):
        prediction = predictor(image, text)
    show(prediction, predictor.run.target_name)
    show_foreign(predictor)
    show_note(predictor.run.note)


def show_foreign(predictor: Predictor) -> None:
    """Print how many texts were in a language that the run's lexicons do not know, where there were any."""
    if count := predictor.foreign:
        texts = "1 text is" if count == 1 else f"{count} texts are"
        click.echo(f"{texts} in another language than English: the lexicons give no values.", err=True)


def named_image(image: Path) -> Path:
    """Return the place of an image that is named by its path or its URL; raise DataError where a URL is refused."""
    from ..extract.data.places.remote import is_remote, named_place

    return named_place(image, "image") if is_remote(image) or ("::" in str(image) and not image.exists()) else image


@contextmanager
def pair_errors(image: Path) -> Iterator[None]:
    """Turn the failure to encode a pair into a data error."""
    from ..cache.format.shard_write import FeatureError
    from ..errors import DataError
    from ..extract.data.places.remote import spelt
    from ..extract.data.reading import BadFile

    try:
        yield
    except BadFile as error:
        raise DataError(
            f"{spelt(image)}: {error.reason}", next_step="name a whole JPEG, PNG, WebP, GIF, BMP or TIFF file"
        ) from error
    except FeatureError as error:
        raise DataError(f"no features of this pair: {error}", next_step="give another image or text") from error


def show(prediction: Prediction, target: str | None = None) -> None:
    """Print a prediction, what the head attends to, and the words aligned with each region, shaded if in colours.

    Args:
        prediction: of one pair.
        target: the name of what is predicted, where it is not the label.
    """
    from .terminal.console import console, grid

    for name, one in {target or "": prediction, **prediction.further}.items():
        console.print(f"{f'{name}: ' * bool(name)}{one.label}  ({one.chances('.3f')})".removesuffix("  ()"))
    if prediction.reasons:
        console.print(f"  because: {prediction.because}")
    if prediction.attended:
        console.print(f"  attends to  {prediction.heaviest(prediction.attended)}")
    if prediction.by_sentence:
        console.print(f"  sentences   {prediction.by_sentence}")
    rows: list[tuple[object, ...]] = []
    known = [
        name
        for name in ("object", "attribute")
        if any(getattr(region, name) >= 0 for region in prediction.regions)  # what no region has is not shown
    ]
    for number, region in enumerate(prediction.regions, 1):
        box = " ".join(f"{value:.0f}" for value in region.box)
        names = (getattr(region, f"{name}_name") for name in known)
        local = () if region.gate is None else (f"{region.gate:.3f}", shaded(prediction, region, number - 1))
        rows.append((number, box, *names, f"{region.attention:.3f}", *local))
    if rows:
        columns = ("region", "box (x1 y1 x2 y2)", *known, "attention", "gate", "aligned words")[: len(rows[0])]
        console.print(grid(columns, rows, right=("region", "attention", "gate")))


def shaded(prediction: Prediction, region: Region, number: int) -> Text:
    """Return the words most aligned with a region, with their weights, each on a shade of the region's colour."""
    from rich.text import Text

    from ..report.page.colors import over, region_color, strength

    words = sorted(region.words.items(), key=lambda item: -item[1])[:MAX_WORDS]
    line = Text()
    for word, weight in words:
        strong = strength(weight)
        paper = over(region_color(number), "#000000", 0.2 + 0.5 * strong)
        line.append("  " if line else "")
        line.append(prediction.word(word), style=f"#ffffff on {paper}" if strong >= MIN_SHADE else "")
        line.append(f" {weight:.2f}")
    return line


def _table(predictor: Predictor, table: Path, out: Path | None, allow_outside: bool, columns: dict[str, str]) -> None:
    from ..predict.table import predict_table
    from .terminal.console import console

    good, bad = predict_table(predictor, table, out, allow_outside, columns)
    show_foreign(predictor)
    if out is not None:
        console.print(f"{good} predicted, {bad} not (see the column error): {out}")
    elif bad:
        click.echo(f"{bad} of {good + bad} rows could not be predicted: see the column error.", err=True)
