"""Public names of a package that load their modules when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def attributes(package: str, where: Mapping[str, str]) -> Callable[[str], object]:
    """Return the `__getattr__` of a package, so that importing the package loads none of its modules.

    Args:
        package: its name.
        where: public name -> `module`, or `module:name` where the module calls it otherwise; relative to the package.
    """

    def load(name: str) -> object:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, own = where[name].partition(":")
        return getattr(import_module(f".{module}", package), own or name)

    return load
