"""Options whose defaults come from the dataclass field that they fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from typing import Any, TypeVar

import click

from ..parts import Part

F = TypeVar("F", bound=Callable[..., Any])


def part(text: str) -> Part:
    """The value of an option such as `--part 3/16`."""
    try:
        return Part.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def field_option(config: type, name: str, help: str, flag: str | None = None, **more: Any) -> Callable[[F], F]:
    """`--name` for the field `name` of a configuration, with that field's default.

    Args:
        config: the dataclass.
        name: one of its fields.
        help: one sentence; what None stands for, if None is the default.
        flag: the option's name where it is not that of the field.
        more: passed on to `click.option`.
    """
    field = next(field for field in fields(config) if field.name == name)
    default = field.default if field.default is not MISSING else None
    declaration = [flag or "--" + name.replace("_", "-"), name]
    if isinstance(default, bool):
        more.setdefault("is_flag", True)
    else:
        more.setdefault("show_default", default is not None)
    return click.option(*declaration, default=default, help=help, **more)


@contextmanager
def usage_errors() -> Iterator[None]:
    """A ValueError from a configuration is a wrong option."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
