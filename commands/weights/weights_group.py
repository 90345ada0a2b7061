"""`itin weights`: the weights of each encoder, where they are searched, and what was found; one file per subcommand."""

from __future__ import annotations

from typing import Any

import click

from ...extract.config import EncoderConfig
from ..terminal.json_output import json_option, print_json
from ..terminal.lazy_group import LazyGroup
from ..terminal.named_encoders import encoders_named
from ..terminal.options import options_of

COMMANDS = {
    "fetch": ("weights.fetch", "Download all weights that an extraction will need."),
    "pack": ("weights.pack", "Put all weights that an extraction will need into one folder."),
}
"""Command -> module in `itin.commands`, and its line in the help."""


@click.group("weights", cls=LazyGroup, modules=COMMANDS, invoke_without_command=True)
@options_of(EncoderConfig, "detector_weights", "regions", "text_encoder", "context_encoder", "scene_encoder")
@json_option
@click.pass_context
def command(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """List each encoder's weights, where they are searched, what was found with its SHA-256, and how to get them.

    The licence is the one that the model's card states. Listing downloads nothing. HF_HOME, TORCH_HOME,
    ITIN_WEIGHTS, HF_HUB_OFFLINE, HF_ENDPOINT and HF_TOKEN are honoured.
    """
    if context.invoked_subcommand is not None:
        return
    from ...extract.encoders.build import required_weights
    from ...extract.weights.origin import origin_of
    from ..terminal.console import console

    described = []
    for row in required_weights(EncoderConfig(**options), set(encoders_named().values())):
        origin = None if row.found is None else origin_of(row.found)
        one = {name: getattr(row, name) for name in ("encoder", "needs", "looked_in", "found", "how")}
        one |= {"sha256": row.sha256(), "fault": row.fault()}
        one |= {name: getattr(origin, name, None) for name in ("repo", "commit", "licence")}
        one["licence"] = one["licence"] or row.licence
        described.append({**one, "given": None if origin is None else origin.sha256})
    if as_json:
        print_json(described)
        return
    for one in described:
        console.print(f"{one['encoder']}: {one['needs']}", style="bold", markup=False)
        console.print(f"  looked in {one['looked_in']}\n  found     {one['found'] or 'nothing'}", markup=False)
        if one["found"] is None:
            console.print(f"  get it    {one['how']}", markup=False)
            console.print(f"  licence   {one['licence'] or 'not known before the download'}", markup=False)
            continue
        agrees = {None: "", one["sha256"]: ", as its origin says"}.get(one["given"], f", NOT {one['given']}")
        state = f"but it is {one['fault']}" if one["fault"] else f"sha256    {one['sha256']}{agrees}"
        console.print(f"  {state}", markup=False)
        if one["commit"] is not None:
            console.print(f"  from      {one['repo']}, commit {one['commit']}", markup=False)
        console.print(f"  licence   {one['licence'] or 'none stated'}", markup=False)
