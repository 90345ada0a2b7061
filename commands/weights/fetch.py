"""`itin weights fetch`: download all weights that an extraction will need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...extract.config import EncoderConfig, ExtractConfig
from ..terminal.options import Command, options_of, usage_errors

if TYPE_CHECKING:
    from ...extract.weights.requirement import WeightsRequirement

ENCODERS = ("regions", "text_encoder", "context_encoder", "scene_encoder", "detector_weights", "random_init")
"""The options that decide which weights an extraction needs."""


NONE = "Nothing is needed: these encoders have no weights that are downloaded."


@click.command("fetch", cls=Command)
@options_of(EncoderConfig, *ENCODERS)
@options_of(ExtractConfig, "only")
def command(only: str, **options: Any) -> None:
    """Download all weights that `itin extract` with these options will need, where they are not here yet.

    An interrupted download continues where it ended.
    """
    from ..terminal.console import console

    needed = fetched(only, options)
    if not needed:
        console.print(NONE)
    for kind, row in needed.items():
        console.print(f"{kind}: {row.encoder}: {row.found or row.how}", markup=False)


def fetched(only: str, options: dict[str, Any]) -> dict[str, WeightsRequirement]:
    """Return the weights of the encoders that the options name, by kind, after what is missing was downloaded."""
    from ...extract.encoders.build import weights_of

    with usage_errors():
        config = ExtractConfig("folder", only=tuple(only.split(",")), encoders=EncoderConfig(**options))
        needed = weights_of(config.encoders, config.only)
    for row in needed.values():
        note = row.fetch() if row.fetch is not None else None
        if isinstance(note, str):
            click.echo(note, err=True)
    return weights_of(config.encoders, config.only)
