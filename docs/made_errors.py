"""The page of all errors, made from the code: each text with what was expected, found, and what to do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = "reference/errors.md"
APART = ("tests", "docs", "build", "dist")
CLASSES = {
    "DataError": "Data sets, tables, images and texts",
    "WeightsError": "Weights",
    "EncoderError": "Encoders of one's own",
    "CacheError": "Feature stores",
    "FeatureError": "Imported features",
    "RunError": "Runs, sweeps, training and prediction",
    "DeviceError": "Devices",
    "ClusterError": "Clusters",
    "SiteError": "A site's defaults",
    "BusyError": "A busy scheduler",
    "BuildError": "The C++ recurrence",
    "TransientError": "Failures that may pass: exit code 75",
    "UsageError": "The command line: exit code 2",
    "DamagedError": "Reasons for quarantine",
    "ValueError": "Values of options and arguments",
}
"""The classes of errors that a user may see, with the heading that they stand under."""

HEAD = """# All errors

Every error that itin raises, by its text, made from the code. In braces stands what depends on the case. Search for
some words of the message; the [page on troubleshooting](../troubleshooting.md) explains the frequent ones at length.
"""


class Told(NamedTuple):
    """An error as the code tells it."""

    where: str
    what: str
    more: dict[str, str]


def error_pages() -> dict[str, str]:
    """Return the page, by its path."""
    found: dict[str, dict[str, Told]] = {name: {} for name in CLASSES}
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] in APART or place.parts[0].startswith("."):
            continue
        for name, told in errors_of(path, place.as_posix()):
            found[name].setdefault(told.what, told)
    lines = [HEAD]
    for name, heading in CLASSES.items():
        if found[name]:
            lines += [f"## {heading}", ""]
            for told in sorted(found[name].values(), key=lambda one: one.what.lower().lstrip("{")):
                lines += [code(told.what), *(f":   **{key}:** {code(text)}\n" for key, text in told.more.items())]
                lines += [f":   `{told.where}`", ""]
    return {PAGE: "\n".join(lines)}


def errors_of(path: Path, place: str) -> Iterator[tuple[str, Told]]:
    """Yield the errors of a module that carry a text, each with its class."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        what = text_of(node.args[0])
        if name in CLASSES and len(what.replace("{…}", "").strip()) > 2:
            given = {one.arg: text_of(one.value) for one in node.keywords}
            keys = {"expected": "expected", "found": "found", "next": "next_step"}
            more = {key: given[word] for key, word in keys.items() if given.get(word)}
            yield name, Told(place, what, more)


def text_of(node: ast.expr) -> str:
    """Return a text of the code as a reader sees it: what is put in stands in braces."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if isinstance(node, ast.JoinedStr):
        parts = []
        for part in node.values:
            if isinstance(part, ast.Constant):
                parts.append(str(part.value))
            elif isinstance(part, ast.FormattedValue):
                inner = part.value
                name = inner.id if isinstance(inner, ast.Name) else getattr(inner, "attr", "…")
                parts.append(f"{{{name}}}")
        return " ".join("".join(parts).split())
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return "".join(text_of(side) or "{…}" for side in (node.left, node.right))
    if isinstance(node, ast.IfExp):
        return text_of(node.body) or text_of(node.orelse)
    if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name) and node.func.id.endswith("Error"):
        return text_of(node.args[0])
    return ""


def code(text: str) -> str:
    """Return a text as code in Markdown, backticks and all."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
