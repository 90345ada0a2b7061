"""`itin weights`: the weights of each encoder, where they are searched, and what was found."""

from __future__ import annotations

import click

from ..extract.config import EncoderConfig
from .terminal.json_output import json_option, print_json
from .terminal.named_encoders import encoders_named
from .terminal.options import options_of


@click.command("weights", short_help="List the encoders' weights: needed, found, how to get them.")
@options_of(EncoderConfig, "detector_weights", "text_encoder")
@json_option
def command(detector_weights: str | None, text_encoder: str, as_json: bool) -> None:
    """List each encoder's weights, where they are searched, what was found with its SHA-256, and how to get them.

    Nothing is downloaded. HF_HOME, TORCH_HOME, ITIN_WEIGHTS and HF_HUB_OFFLINE are honoured.
    """
    from ..extract.encoders.build import required_weights
    from .terminal.console import console

    config = EncoderConfig(detector_weights=detector_weights, text_encoder=text_encoder)
    rows = required_weights(config, set(encoders_named().values()))
    if as_json:
        print_json([{**vars(row), "sha256": row.sha256(), "fault": row.fault()} for row in rows])
        return
    for row in rows:
        fault = row.fault()
        state = f"but it is {fault}" if fault else f"sha256    {row.sha256()}"
        found = f"{row.found}\n  {state}" if row.found else "nothing"
        console.print(f"{row.encoder}: {row.needs}", style="bold", markup=False)
        console.print(f"  looked in {row.looked_in}\n  found     {found}", markup=False)
        if row.found is None:
            console.print(f"  get it    {row.how}", markup=False)
