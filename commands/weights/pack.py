"""`itin weights pack`: all weights that an extraction will need, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...extract.config import EncoderConfig, ExtractConfig
from ..terminal.options import Command, options_of
from .fetch import ENCODERS, NONE, fetched


@click.command("pack", cls=Command)
@click.argument("folder", type=click.Path(path_type=Path))
@options_of(EncoderConfig, *ENCODERS)
@options_of(ExtractConfig, "only")
def command(folder: Path, only: str, **options: Any) -> None:
    """Put all weights that `itin extract` with these options will need into FOLDER, for machines without a network.

    What is missing is downloaded first. On the other machine, ITIN_WEIGHTS=FOLDER is enough; every file is checked
    there against the digests in FOLDER/weights.json. Packing again adds to the folder.
    """
    from ...extract.weights.pack import pack
    from ..terminal.console import console

    needed = fetched(only, options)
    if not needed:
        console.print(NONE)
        return
    record = pack(needed, folder)
    for place, known in record.items():
        console.print(f"{known['sha256']}  {place}", markup=False)
    console.print(f"Packed: {folder}. Use it with ITIN_WEIGHTS={folder.absolute()}", markup=False)
