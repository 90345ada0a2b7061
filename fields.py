"""Options described once: a dataclass field with its default and limits, and the docstring under it as its help."""

from __future__ import annotations

import dataclasses
import functools
import linecache
import math
import re
import sys
from collections.abc import Collection
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """The values that a field may take, apart from its type, and how the command line shows it."""

    choices: Collection[str] = ()
    """The values, where they can be listed."""
    form: str = ""
    """A form of values beside the choices, known by what stands before the colon: `hf:NAME`."""
    least: float | None = None
    """The smallest value."""
    most: float | None = None
    """The largest value."""
    above: float | None = None
    """The number that the value must exceed."""
    below: float | None = None
    """The number that the value must stay below."""
    group: str = ""
    """The heading in the help; by default that of the field before it."""
    switch: bool = False
    """Whether a flag can be turned off too: `--mask/--no-mask`."""
    metavar: str | None = None
    """The placeholder for the value in the help."""
    each: str = ""
    """The name of an option that is given once for each value, such as `sbatch-option` for `sbatch_options`."""
    alone: str | None = None
    """The value of an option that is given on the command line without one."""

    @property
    def span(self) -> str:
        """The range of a number in words, such as `from 0 to 1` or `of at least 1`; empty where there is none."""
        if self.least is None:
            most = "" if self.most is None else f" and at most {self.most:g}"
            return f"above {self.above}{most}" if self.above is not None else ""
        if self.most is None and self.below is None:
            return f"of at least {self.least}"
        return f"from {self.least} to " + (f"below {self.below}" if self.most is None else f"{self.most}")

    @property
    def named(self) -> str:
        """The choices in words."""
        return ", ".join([*self.choices, *([self.form] if self.form else [])])

    def allows(self, value: str) -> bool:
        """Return whether a text is one of the choices, or of the form beside them."""
        start = self.form.partition(":")[0] + ":"
        return value in self.choices or (bool(self.form) and value.startswith(start) and value != start)

    def contains(self, value: float) -> bool:
        """Return whether a number is finite and within its range."""
        return (
            -math.inf < value < math.inf
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


def option(default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """Return a dataclass field with a default and `Limits`."""
    return dataclasses.field(default=default, metadata={"limits": Limits(**limits)})


def limits_of(field: dataclasses.Field[Any]) -> Limits:
    """Return the limits of a field, empty ones if it was not made by `option`."""
    found: Limits = field.metadata.get("limits", Limits())
    return found


def kind_of(field: dataclasses.Field[Any]) -> str:
    """Return a field's type as written in the source, without `| None`."""
    return str(field.type).removesuffix(" | None")


def groups_of(config: type) -> dict[str, str]:
    """Return the help heading of each field of a dataclass, by field name."""
    groups, group = {}, ""
    for field in dataclasses.fields(config):
        groups[field.name] = group = limits_of(field).group or group
    return groups


def check(config: Any) -> None:
    """Check every field of a dataclass that is a number, a text or a flag against its type and `Limits`.

    Raises:
        ValueError: a field does not fit; names the field, what was expected and its value.
    """
    for field in dataclasses.fields(config):
        value, kind, limits = getattr(config, field.name), kind_of(field), limits_of(field)
        optional = kind != field.type
        if kind not in _FORMS or (optional and value is None):
            continue
        types, what = _FORMS[kind]
        fits = isinstance(value, types) and (kind == "bool" or not isinstance(value, bool))
        if fits and kind in ("int", "float"):
            fits = limits.contains(value)
        elif fits and limits.choices:
            fits = limits.allows(value)
        if not fits:
            expected = f"one of {limits.named}" if limits.choices else f"{what} {limits.span}".strip()
            raise ValueError(f"{field.name}: expected {expected}{' or None' * optional}, got {value!r}")


def helps(config: type) -> dict[str, str]:
    """Return the docstrings under the fields of a dataclass and of its bases, each as one line, by field name."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if dataclasses.is_dataclass(base):
            found |= _helps_in(base.__module__)[base.__name__]
    return found


# A line that is not indented, such as the start of a class; or a field, its further lines, which are indented deeper or
# close a bracket, and the docstring below: our layout. Python's own parser took a fifth of `itin train --help`.
_PARTS = re.compile(
    r'^(?:class )?(\w+)|^ {4}(\w+): .+(?:\n(?! {4}[\w"]|\w).*)*\n {4}("{3}|")((?s:.*?))\3', re.MULTILINE
)


@functools.cache
def _helps_in(module: str) -> dict[str, dict[str, str]]:
    source = "".join(linecache.getlines(str(sys.modules[module].__file__), vars(sys.modules[module])))
    found: dict[str, dict[str, str]] = {}
    for name, field, _, text in _PARTS.findall(source):
        if name:
            inside = found.setdefault(name, {})
        else:
            inside[field] = " ".join(text.split())
    return found


_FORMS: dict[str, tuple[tuple[type, ...], str]] = {
    "int": ((int,), "an integer"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "True or False"),
    "str": ((str,), "a text"),
}
"""The checked types by name: the Python types of a value, and the words for them in an error."""
