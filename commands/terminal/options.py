"""The options of the commands, made from dataclass fields, and help that groups them under headings."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...fields import Limits, groups_of, helps, kind_of, limits_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...parts import Part

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

HEADINGS = (
    "Data set",
    "The search",
    "What is reproduced",
    "What is trained",
    "What is learnt",
    "Encoders",
    "The recipe",
    "Data and split",
    "Computing",
    "Output",
    "In parts",
    "Slurm",
    "Dask",
    "Other",
)
"""The headings of all commands, in the order of the help."""

FIRST = (
    *("dataset", "root", "head", "preset", "m", "lam", "ablation", "target"),
    *("epochs", "batch_size", "lr", "seed", "seeds"),
    *("protocol", "split", "split_seed", "fold", "group_duplicates", "regions", "text_encoder", "context_encoder"),
    *("scene_encoder", "device"),
)
"""The common options, which come first under their headings."""


class Option(click.Option):
    """An option that belongs under a heading."""

    def __init__(self, *arguments: Any, heading: str = "Other", **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.heading = heading

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the option's name, a switch as `--[no-]mask`, and its help."""
        record = super().get_help_record(ctx)
        if record is None or not self.secondary_opts:
            return record
        return f"--[no-]{self.opts[0].removeprefix('--')}", record[1]


class Command(click.Command):
    """A command whose help shows the options under headings, the common ones first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options under their headings."""
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in HEADINGS}
        for param in sorted(self.get_params(ctx), key=lambda one: (*FIRST, one.name).index(one.name)):
            if (record := param.get_help_record(ctx)) is not None and record[1]:  # arguments have no help
                groups[getattr(param, "heading", "Other")].append(record)
        wrap = textwrap.TextWrapper(formatter.width, " " * 30, " " * 30, break_on_hyphens=False, break_long_words=False)
        for heading in filter(groups.get, HEADINGS):
            formatter.write(f"\n{heading}:\n")
            for name, text in groups[heading]:
                kept = re.sub(r"\[[^]]*\]$", lambda found: found[0].replace(" ", "\0"), text)  # stays on one line
                wrapped = wrap.fill(kept).replace("\0", " ")
                if len(name) > 26:
                    formatter.write(f"  {name}\n{wrapped}\n")
                else:
                    formatter.write(f"  {name:28}{wrapped.lstrip()}\n")


def options_of(config: type, *names: str, but: tuple[str, ...] = (), many: bool = False) -> Callable[[F], F]:
    """Return a decorator that adds an option to a command for each field of a dataclass.

    Name, type, default and choices are those of the field; the help is the docstring under it.

    Args:
        config: the dataclass.
        names: the fields to take; by default all.
        but: the fields to leave out.
        many: whether options take several values, as text for `train.sweeps.axes.parse_values`; None if not given.
    """
    groups = groups_of(config)
    chosen = [field for field in fields(config) if field.name in (names or groups) and field.name not in but]

    def decorate(command: F) -> F:
        for field in reversed(chosen):
            command = _option(field, groups[field.name], helps(config)[field.name], many)(command)
        return command

    return decorate


def _option(field: Field[Any], heading: str, help: str, many: bool) -> Callable[[F], F]:
    limits, kind = limits_of(field), kind_of(field)
    word, flag = field.name.replace("_", "-"), f"--{field.name.replace('_', '-')}"
    default = None if field.default is MISSING else field.default
    if limits.each:
        flag, default = f"--{limits.each}", None
    elif isinstance(default, tuple):
        default = ",".join(default)
    metavar = limits.metavar or (f"[{'|'.join(limits.choices)}]" if limits.choices else _METAVARS.get(kind))
    more: dict[str, Any] = {"default": default, "metavar": metavar, "cls": Option, "heading": heading}
    shown = [] if default in (None, "") else [f"default: {default}"]
    if limits.metavar and limits.choices:  # too many to stand in one word
        help += f" One of {limits.named}."
    if many:
        more |= {"default": None, "metavar": "true,false" if kind == "bool" else f"{metavar},..."}
        shown = [one.lower() if kind == "bool" else one for one in shown]
    elif kind == "bool":
        flag += f"/--no-{word}" if limits.switch else ""
        more |= {"is_flag": True, "metavar": None}
        shown = [f"default: {'' if default else 'no-'}{word}"] if limits.switch and default is not None else []
    else:
        more["type"] = _Choice(limits) if limits.choices else _TYPES.get(kind)
        more["required"] = field.default is MISSING and field.default_factory is MISSING
        if limits.each:
            more["multiple"] = True
        if limits.alone is not None:
            more |= {"is_flag": False, "flag_value": limits.alone}
    if kind == "float" and limits.span.startswith("from"):
        shown.append(limits.span)
    return click.option(flag, field.name, help=help + (f"  [{'; '.join(shown)}]" if shown else ""), **more)


class _Choice(click.Choice):  # generic since click 8.2 alone
    """The choices of an option, with the form of other values beside them."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(list(limits.choices))
        self._limits = limits

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a value of the form as it is; convert any other one."""
        return value if self._limits.form and self._limits.allows(str(value)) else super().convert(value, param, ctx)


class _Path(click.Path):
    """A path, as `pathlib` has it, which is loaded for a value alone."""

    def coerce_path_result(self, value: Any) -> Path:
        """Return a value as a path."""
        from pathlib import Path

        return Path(value)


def part(text: str) -> Part:
    """Return the value of an option such as `--part 3/16`."""
    from ...parts import Part

    try:
        return Part.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_TYPES = {"int": click.INT, "float": click.FLOAT, "Path": _Path(), "Part": part}
_METAVARS = {"int": "N", "float": "X", "str": "NAME", "Path": "PATH", "Part": "i/N"}


def take(config: type[T], options: dict[str, Any]) -> T:
    """Take the fields of a dataclass out of a command's options and return it; wrong values are usage errors."""
    with usage_errors():
        return config(**{name: options.pop(name) for name in groups_of(config) if name in options})


def given(options: dict[str, Any], *configs: type) -> dict[str, Any]:
    """Take the fields of dataclasses out of a command's options; return those on the command line, in its order.

    The preset, or the defaults of `TrainConfig`, set the others.
    """
    source = click.get_current_context().get_parameter_source
    own = {name: options.pop(name) for name in list(options) if any(name in groups_of(one) for one in configs)}
    return {name: value for name, value in own.items() if source(name) is click.core.ParameterSource.COMMANDLINE}


def reject_set(command: F) -> F:
    """Reject `--set FIELD=VALUES`, the former way to give any option of `itin train`, and name the new form."""

    def refuse(context: click.Context, param: click.Parameter, settings: tuple[str, ...]) -> None:
        if not settings:
            return
        import shlex

        switches = {one.name for one in context.command.params if one.secondary_opts}
        old, new = [], []
        for setting in settings:
            name, _, values = setting.partition("=")
            word = "seeds" if name == "seed" else name.strip().replace("_", "-")
            old += ["--set", setting]
            if word.replace("-", "_") in switches:
                new += [f"--no-{word}" if values == "false" else f"--{word}"]
            else:
                new += [f"--{word}", values or "VALUES"]
        raise click.UsageError(f"{shlex.join(old)} is now {shlex.join(new)}")

    more: dict[str, Any] = {"multiple": True, "hidden": True, "expose_value": False, "is_eager": True}
    return click.option("--set", callback=refuse, help="Removed: its error names the new form.", **more)(command)


def columns_of(text: str) -> dict[str, str]:
    """Return the names in `--columns id=ID,text=TWEET`: our names of columns -> the table's.

    Raises:
        ValueError: the text is malformed, or a name is not one of ours.
    """
    from ...extract.data.sets.folder import check_columns

    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if any(not sign or not name for name, sign, _ in pairs):
        raise ValueError("--columns takes pairs such as id=ID,text=TWEET")
    columns = {name.strip(): column.strip() for name, _, column in pairs}
    check_columns(columns)
    return columns


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a ValueError from a configuration into a usage error that names the option as it is typed."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(_as_typed(str(error))) from error


def _as_typed(message: str) -> str:
    """Return a message about a field, `batch_size: expected ...`, as one about the current command's option."""
    context = click.get_current_context(silent=True)
    params = context.command.params if context is not None else []
    flags = {one.name: one.opts[0] for one in params if isinstance(one, click.Option)}
    start = re.match(r"(\w+)(?=[:=])", message)
    if start is None or start[1] not in flags:
        return message
    return flags[start[1]] + message[start.end() :].replace(" or None, got ", ", got ", 1)
