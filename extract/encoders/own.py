"""A user's own encoders: `module:Class`, or an entry point of an installed package. No file's content causes an import.

Imports no torch.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EncoderError, first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "itin.encoders"
"""The group of entry points in which an installed package offers encoders by name."""

FIELDS = {"regions": "regions", "tokens": "text_encoder", "context": "context_encoder", "scene": "scene_encoder"}
"""Kind of feature -> the field of `EncoderConfig` that names its encoder."""

FLAGS = {kind: f"--{field.replace('_', '-')}" for kind, field in FIELDS.items()}
"""Kind of feature -> the option that names its encoder."""

_WORD = r"[^\W\d]\w*"
_FORM = re.compile(rf"{_WORD}(?:\.{_WORD})*:{_WORD}")


@dataclass(frozen=True)
class OwnClass:
    """The class of an encoder of a user's own, imported."""

    name: str
    """The name that selects it: `module:Class`, or that of its entry point."""
    cls: Any
    code: dict[str, str]
    """What identifies the code: `class`, the `sha256` of the file that defines it, and the `package` with its version
    for an entry point. A part of the store's fingerprint."""


def is_own(name: str) -> bool:
    """Return whether a name has the form `module:Class`, or is that of an installed entry point. Imports nothing."""
    return has_form(name) or name in _installed()


def has_form(name: str) -> bool:
    """Return whether a name has the form `module:Class`; no model's name on a hub and no folder's absolute path has."""
    return _FORM.fullmatch(name) is not None


def own_class(kind: str, name: str, allow: Collection[str]) -> OwnClass:
    """Return the class that a name stands for.

    Args:
        kind: the kind of feature that it is asked for, for the messages.
        name: an entry point's name, or `module:Class`; the module is imported as `python -m` does, from the current
            folder first.
        allow: the names that a user gave for this very process. A `module:Class` that is not one of them is not
            imported: it comes from a file.

    Raises:
        EncoderError: it may not be imported, cannot be, or two packages offer the name.
    """
    offered = _installed().get(name, [])  # looked up before the current folder is added to what can be imported
    packages = sorted({_package(one) for one in offered})
    if len(packages) > 1:
        raise EncoderError(
            f"two installed packages offer an encoder by the name {name}",
            found=" and ".join(packages),
            next_step=f"uninstall one of them, or name the class: {FLAGS[kind]} {offered[0].value}",
        )
    if offered:
        return _imported(name, offered[0].module, offered[0].attr or "", {"package": packages[0]})
    check_allowed({kind: name}, allow)
    if (here := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    module, _, attribute = name.partition(":")
    return _imported(name, module, attribute, {})


def check_allowed(names: Mapping[str, str], allow: Collection[str]) -> None:
    """Check that the code of encoders may be imported.

    Args:
        names: the name by kind of feature; those that are not `module:Class`, or are installed, need no permission.
        allow: the names that a user gave for this very process.

    Raises:
        EncoderError: names all that were not given.
    """
    options = {
        name: f"{FLAGS[kind]} {name}"
        for kind, name in names.items()
        if has_form(name) and name not in _installed() and name not in allow
    }
    if options:
        raise EncoderError(
            f"{', '.join(options)}: code to be imported, and the name comes from a file, not from the command line",
            expected=f"{' '.join(options.values())} on the command line: only code that you name yourself is imported",
            next_step=f"add that if you trust the module (from Python: allow={sorted(options)})",
        )


def described(error: BaseException, module: str) -> str:
    """Return an exception's class and first line, with the line of a module's file that it came from."""
    said = first_line(error)
    text = said if said == type(error).__name__ else f"{type(error).__name__}: {said}"
    file = getattr(sys.modules.get(module), "__file__", None)  # none where its import has failed
    passed = traceback.extract_tb(error.__traceback__)
    at = [one for one in passed if one.filename == file][-1:] or [one for one in passed if one.name == "<module>"][:1]
    return f"{text} ({Path(at[0].filename).name}, line {at[0].lineno})" if at else text


@cache
def _installed() -> dict[str, list[EntryPoint]]:
    """Return the entry points of installed packages by name."""
    from importlib.metadata import entry_points

    found: dict[str, list[EntryPoint]] = {}
    for one in entry_points(group=GROUP):
        found.setdefault(one.name, []).append(one)
    return found


def _package(entry: EntryPoint) -> str:
    return "unknown" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"


def _imported(name: str, module: str, attribute: str, origin: dict[str, str]) -> OwnClass:
    try:
        found: Any = import_module(module)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module}.".startswith(f"{missing}."):
            raise EncoderError(
                f"the encoder {name}: there is no module {missing}",
                expected=f"{module.replace('.', '/')}.py in {Path.cwd()}, or an installed package",
                next_step="run the command in the folder that holds the module, or add that folder to PYTHONPATH",
            ) from error
        raise EncoderError(
            f"the encoder {name}: its module fails when it is imported",
            found=described(error, module),
            next_step=f"fix it; all of the traceback: python -c 'import {module}'",
        ) from error
    try:
        cls = reduce(getattr, attribute.split("."), found)
    except AttributeError as error:
        classes = [one for one, value in vars(found).items() if inspect.isclass(value) and value.__module__ == module]
        raise EncoderError(
            f"the encoder {name}: {getattr(found, '__file__', module)} has no class {attribute}",
            found=", ".join(classes) or "no class at all",
            next_step="name one that is there",
        ) from error
    file = getattr(sys.modules.get(getattr(cls, "__module__", "")), "__file__", None)
    if not inspect.isclass(cls) or file is None:
        raise EncoderError(
            f"the encoder {name} is not a class that a file defines",
            expected="a class as docs/encoders.md describes it",
            found=repr(cls),
            next_step="name the class, as in my_encoders:ColourGrid",
        )
    return OwnClass(name, cls, {"class": f"{cls.__module__}:{cls.__qualname__}", **origin, "sha256": _sha256(file)})


@cache  # of what was imported: a later change of the file changes nothing in this process
def _sha256(file: str) -> str:
    import hashlib

    return hashlib.sha256(Path(file).read_bytes()).hexdigest()
