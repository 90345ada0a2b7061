"""`itin doctor`: what this machine can do, what is wrong with it, and what to do about it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .terminal.json_output import json_option, print_json

if TYPE_CHECKING:
    from ..doctor.examine import Line

COLORS = {"good": "green", "doubtful": "yellow", "bad": "red"}

ENCODERS = ("regions", "text_encoder", "context_encoder", "scene_encoder", "detector_weights")


@click.command("doctor")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder; by default as for `itin extract`.")
@click.option("--dataset", metavar="NAME", help="A data set to look for, by the name that `itin extract` takes.")
@click.option("--root", type=click.Path(path_type=Path), help="Its folder; by default $ITIN_DATA/<dataset>.")
@click.option("--regions", metavar="NAME", help="Encoders whose weights must be here; by default those of extract.")
@click.option("--text-encoder", metavar="NAME", help="As --regions.")
@click.option("--context-encoder", metavar="NAME", help="As --regions.")
@click.option("--scene-encoder", metavar="NAME", help="As --regions.")
@click.option("--detector-weights", metavar="FILE", help="As for `itin extract`.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler to reach: tcp://HOST:PORT or tls://HOST:PORT.")
@click.option("--strict", is_flag=True, help="End with exit code 1 for doubtful lines, too.")
@json_option
@click.pass_context
def command(context: click.Context, /, as_json: bool, strict: bool, **options: Any) -> None:
    """Check what itin needs of this machine, each line good, doubtful or bad, with the next step.

    Nothing is downloaded or left behind, and the command ends within two minutes, whatever does not answer. The exit
    code is 0 if nothing is bad, else 1; with --strict it is 1 if anything is doubtful, too.
    """
    from ..doctor.examine import examine
    from ..doctor.finding import Asked

    encoders = {name: options.pop(name) for name in ENCODERS}
    asked = Asked(**options, encoders={name: value for name, value in encoders.items() if value is not None})
    report = examine(asked, (lambda _: None) if as_json else show)
    if as_json:
        print_json({"worst": report.worst, "lines": report.lines})
    else:
        counts = {state: sum(line.state == state for line in report.lines) for state in COLORS}
        click.echo(", ".join(f"{count} {state}" for state, count in counts.items()))
    code = 1 if report.worst == "bad" or (strict and report.worst == "doubtful") else 0
    if report.left_behind:  # a thread that waits for a device or disk would keep this process from ending
        sys.stdout.flush()
        os._exit(code)
    context.exit(code)


def show(line: Line) -> None:
    """Print a line, and the next step below it."""
    click.echo(f"{click.style(f'{line.state:8}', fg=COLORS[line.state])}  {line.check:10}  {line.found}")
    if line.next_step is not None:
        click.echo(f"{'':22}{'' if line.state == 'good' else 'next: '}{line.next_step}")
