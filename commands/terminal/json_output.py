"""`--json`: a command's result on standard output, for programs; notes go to standard error."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, is_dataclass
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Everything as JSON on standard output.")


def print_json(value: Any) -> None:
    """Print a value as JSON in ASCII, so that every output encoding can hold it.

    Args:
        value: may hold dataclasses, data frames (one object per row), paths and NumPy scalars; NaN becomes null.
    """
    click.echo(json.dumps(_plain(value), indent=1, allow_nan=False))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if hasattr(value, "to_dict"):
        return _plain(value.to_dict("records"))
    if hasattr(value, "item"):
        return _plain(value.item())
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value) if (value == value) is True else None  # a path, or pandas' NA, which equals nothing
