"""The command after `itin cluster submit --`, prepared once for all parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import extract as extract_command
from .. import sweep as sweep_command
from .named_encoders import encoders_named

if TYPE_CHECKING:
    from ...cluster.work import Prepared

PASSED_ON = ("cache", "device", "workers", "threads", "stack", "cuda_graphs", "precision", "gru")
"""Options of a sweep that are passed on to every part: how to train, not what."""

RESERVED = ("plan", "part", "consolidate", "retry_failed", "reveal_test")
"""Options of a sweep that a submission sets itself, or that belong to a sweep as a whole."""


def prepare(words: Sequence[str]) -> Prepared:
    """Check a command and do once what no part should repeat: scan, plan, download weights.

    Args:
        words: `extract` or `sweep` with its arguments.

    Raises:
        ValueError: an option is one that a submission sets itself.
        click.UsageError: the arguments are wrong.
    """
    return {"extract": _extraction, "sweep": _sweep}[words[0]](list(words[1:]))


def _extraction(words: list[str]) -> Prepared:
    from ...cluster.extract_work import Extraction
    from .console import Bars

    context = extract_command.command.make_context("extract", list(words))
    with context:
        allow = set(encoders_named().values())
        config = extract_command.config_from(context.params)
    with Bars() as bars:
        return Extraction().prepare(config, words, bars, allow)


def _sweep(words: list[str]) -> Prepared:
    from ...cluster.sweep_work import Sweeping

    context = sweep_command.command.make_context("sweep", list(words))
    for name in RESERVED:
        if context.params[name]:
            raise ValueError(f"--{name.replace('_', '-')} does not go with a submission: leave it out")
    if context.params["optuna"] is not None:
        raise ValueError(
            "--optuna does not go with a submission: the trials of a guided search depend on each other; run "
            "`itin sweep` in one process, or submit a grid or N drawn combinations (--random N)"
        )
    given = {name: _absolute(name, context) for name in PASSED_ON if _was_given(name, context)}
    path = context.params["resume"] or context.params["out"] or Path("runs") / f"sweep-{datetime.now():%Y%m%d-%H%M%S}"
    if context.params["resume"] is None:
        more = [] if context.params["out"] else ["--out", str(path)]
        sweep_command.command.main([*words, *more, "--device", "cpu", "--plan"], "sweep", standalone_mode=False)
    flags = {name.replace("_", "-"): value for name, value in given.items()}
    switches = {str(True): "--", str(False): "--no-"}
    passed = [
        word
        for flag, value in flags.items()
        for word in ((switches[value] + flag,) if value in switches else (f"--{flag}", value))
    ]
    return Sweeping().prepare(path, passed)


def _was_given(name: str, context: click.Context) -> bool:
    return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _absolute(name: str, context: click.Context) -> str:
    value = context.params[name]
    return str(value.expanduser().absolute()) if isinstance(value, Path) else str(value)
