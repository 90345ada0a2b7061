"""Modules that are loaded when they are needed: those behind a package's names, and those not always installed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .errors import ItinError, RunError


def attributes(package: str) -> Callable[[str], object]:
    """Return the `__getattr__` of a package, so that importing the package loads none of its modules.

    The names are those that its source imports from its own modules for type checkers (`if TYPE_CHECKING`).

    Args:
        package: its name.
    """

    def load(name: str) -> object:
        where = {} if name.startswith("__") else _written(package)  # whoever reads the source asks for such a one
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, own = where[name]
        return getattr(import_module(f".{module}", package), own)

    return load


@functools.cache
def _written(package: str) -> dict[str, tuple[str | None, str]]:
    """Return the module and the name behind each name that a package's source imports from its own modules."""
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(sys.modules[package]))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1]
    return {one.asname or one.name: (node.module, one.name) for node in imports for one in node.names}


def optional(module: str, needs: str, install: str, fault: type[ItinError] = RunError) -> Any:
    """Import a module that not every installation has.

    Args:
        module: its name.
        needs: what needs which package, for the message.
        install: the package's name for pip.
        fault: the error to raise.

    Raises:
        ItinError: a `fault`, where it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise fault(f"{needs}, which is not installed", next_step=f"pip install '{install}'") from error
