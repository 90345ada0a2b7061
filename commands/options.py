"""Options whose defaults come from the dataclass field that they fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..parts import Part
from ..train.config import DUPLICATES, GRUS, PRECISIONS

if TYPE_CHECKING:
    from ..train.protocols import Protocol

F = TypeVar("F", bound=Callable[..., Any])


def part(text: str) -> Part:
    """The value of an option such as `--part 3/16`."""
    try:
        return Part.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def either(names: Iterable[str]) -> str:
    """Return names as a sentence has them: `a, b or c`."""
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last


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
        more.setdefault("show_default", "/" in declaration[0])
    else:
        more.setdefault("show_default", default is not None)
    return click.option(*declaration, default=default, help=help, **more)


def columns_of(text: str) -> dict[str, str]:
    """Return what `--columns id=ID,text=TWEET` says: our names of columns, and the table's.

    Raises:
        ValueError: not such pairs, or a name that is none of ours.
    """
    from ..extract.data.sets.folder import check_columns

    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if any(not sign or not name for name, sign, _ in pairs):
        raise ValueError("--columns takes pairs such as id=ID,text=TWEET")
    columns = {name.strip(): column.strip() for name, _, column in pairs}
    check_columns(columns)
    return columns


STORES = {"regions": "regions", "tokens": "text_encoder", "context": "context_encoder"}
"""The kinds of feature, and the parameter of `feature_options` that names a store of each."""


def feature_options(command: F) -> F:
    """`--regions`, `--text-encoder`, `--context-encoder`, `--allow-missing` and `--cache`: what a run is made of."""
    for option in (
        click.option(
            "--cache",
            type=click.Path(path_type=Path),
            help="Cache folder; by default $ITIN_CACHE, else ~/.cache/itin/features.",
        ),
        click.option(
            "--allow-missing", is_flag=True, help="Go on where more than 5% of the pairs have no features or no part."
        ),
        click.option("--context-encoder", help="Which context features, where there are several."),
        click.option("--text-encoder", help="Which token features, where there are several."),
        click.option("--regions", help="Which region features, where there are several: encoder or store name."),
    ):
        command = option(command)
    return command


def speed_options(command: F) -> F:
    """`--gru`, `--cuda-graphs` and `--precision`: how a run is computed, whatever it is."""
    for option in (
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="float32",
            show_default=True,
            help="Of matrix products in training; evaluation stays in float32.",
        ),
        click.option("--cuda-graphs", is_flag=True, help="On a GPU: take each step of the training as one CUDA graph."),
        click.option(
            "--gru", type=click.Choice(GRUS), default="auto", show_default=True, help="How to compute the GRU."
        ),
    ):
        command = option(command)
    return command


def protocol_options(command: F) -> F:
    """`--protocol`, `--split` and `--group-duplicates`, for `protocol_of`."""
    for option in (
        click.option(
            "--group-duplicates",
            type=click.Choice(DUPLICATES),
            is_flag=False,
            flag_value="exact",
            help="Keep equal texts and equal images in one part; stripped: texts without URLs and RT prefixes.",
        ),
        click.option("--split", type=click.Path(path_type=Path), help="Short for --protocol file:PATH."),
        click.option(
            "--protocol",
            metavar="NAME",
            help="How samples become parts: itin-811 (the default), clmlf, folds:K, agree or file:PATH.",
        ),
    ):
        command = option(command)
    return command


def protocol_of(options: dict[str, Any]) -> Protocol:
    """Take the options of `protocol_options` out of a command's, and return what they name."""
    from ..train.protocols import Protocol

    name, path, together = (options.pop(key) for key in ("protocol", "split", "group_duplicates"))
    if name is not None and path is not None:
        raise click.UsageError("--split is short for --protocol file:PATH: give one of them")
    with usage_errors():
        if path is not None:
            return Protocol("file", path=path, duplicates=together)
        return Protocol.parse(name, together) if name is not None else Protocol(duplicates=together)


@contextmanager
def usage_errors() -> Iterator[None]:
    """A ValueError from a configuration is a wrong option."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error
