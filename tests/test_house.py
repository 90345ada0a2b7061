"""The house: which room may ask which, no module that asks for itself by way of others, and no crowded room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FLOORS = (
    ("__main__",),
    ("cli",),
    ("commands",),
    ("doctor",),
    ("report", "cluster", "demo", "export"),
    ("predict",),
    ("train", "extract"),
    ("cache", "itin_head"),
)
"""The rooms from the top down; a module asks only its own room and those further down. What is not named is ground."""

MOST = 12
"""Files of a package folder beside its `__init__.py`."""

REGISTERED = {"commands", "itin_head/heads", "extract/encoders", "extract/data/sets"}
"""Folders in which every file is one registered thing: there may be any number of them."""

NOT_SHIPPED = {"tests", "docs", "build", "dist"}


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its name below `itin`; a package by that of its folder, "" for the root."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] in NOT_SHIPPED or parts[0].startswith("."):
            continue
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def asked(module: str, path: Path) -> Iterator[str]:
    """The modules of ours that a module imports: at its top, in functions, and for types alone."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            target = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for name in node.names:
                below = f"{target}.{name.name}" if target else name.name
                yield below if below in modules() else target


@cache
def graph() -> dict[str, set[str]]:
    return {module: {one for one in asked(module, path) if one != module} for module, path in modules().items()}


def floor_of(module: str) -> int:
    room = module.split(".")[0]
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def test_imports_go_down() -> None:
    upwards = []
    for module, others in graph().items():
        for other in others:
            here, there = floor_of(module), floor_of(other)
            same_room = module.split(".")[0] == other.split(".")[0]
            if there < here or (there == here < len(FLOORS) and not same_room):
                upwards.append(f"{module} -> {other}")
    assert not upwards, "\n".join(sorted(upwards))


def test_no_circles() -> None:
    """Tarjan's strongly connected components, each of one module."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in sorted(graph().get(module, ())):
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                circles.append(circle)

    for module in graph():
        if module not in index:
            visit(module)
    assert not circles, "\n".join(" <-> ".join(sorted(circle)) for circle in circles)


def test_rooms_are_not_crowded() -> None:
    crowded = {}
    for folder in {path.parent for path in modules().values()}:
        name = folder.relative_to(ROOT).as_posix()
        files = [path for path in folder.iterdir() if path.suffix in (".py", ".cpp") and path.name != "__init__.py"]
        if len(files) > MOST and name not in REGISTERED:
            crowded[name] = len(files)
    assert not crowded
