"""The encoders that a user names on a command line: code of a user's own is imported for those alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ...extract.encoders.own import FIELDS, FLAGS

if TYPE_CHECKING:
    from ...train.runs.folder import Run

F = TypeVar("F", bound=Callable[..., Any])


def encoder_options(command: F) -> F:
    """Add the options to a command that confirm which encoders of a user's own a run may import."""
    for kind, flag in reversed(FLAGS.items()):
        says = f"The run's encoder of {kind}, if it is module:Class: only code that you name is imported."
        command = click.option(flag, FIELDS[kind], metavar="NAME", help=says)(command)
    return command


def encoders_named() -> dict[str, str]:
    """Return the encoders that stand on the current command's line, by field of `EncoderConfig`."""
    context = click.get_current_context()
    typed = (one for one in FIELDS.values() if context.get_parameter_source(one) is ParameterSource.COMMANDLINE)
    return {field: context.params[field] for field in typed}


def names_for(run: Run) -> set[str]:
    """Return the encoders named on the current command's line, which must be the run's.

    Raises:
        ValueError: one is not.
    """
    named, stores = encoders_named(), run.record["stores"]
    options = {field: (stores.get(kind) or {}).get("options") or {} for kind, field in FIELDS.items()}
    check_named(named, {field: said.get(field) for field, said in options.items()}, f"the run {run.path}")
    return set(named.values())


def check_named(named: Mapping[str, str], recorded: Mapping[str, Any], where: str) -> None:
    """Check that the encoders named are those that a record says.

    Args:
        named: by field, from `encoders_named`.
        recorded: name by field; fields that are missing were not used.
        where: what holds the record, for the message.

    Raises:
        ValueError: names the option that differs.
    """
    for field, name in named.items():
        flag, expected = f"--{field.replace('_', '-')}", recorded.get(field)
        if name != expected:
            said = "names none" if expected is None else f"says {expected}"
            raise ValueError(f"{flag} {name}: {where} {said}; leave {flag} out, or give it as it is there")
