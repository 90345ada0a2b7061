"""Pages of the library, made from its docstrings: a page a package, with every module and its public names."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "reference/python"
APART = ("itin.commands", "itin.demo")
"""Packages that are no library: the command line has pages of its own."""


def python_pages() -> dict[str, str]:
    """Return a page for each package, by path, the list of all first."""
    pages, rows = {f"{FOLDER}/index.md": ""}, []
    for package in packages():
        folder = ROOT.joinpath(*package.split(".")[1:])
        modules = sorted(path.stem for path in folder.glob("*.py") if not path.name.startswith("__"))
        if package == "itin":
            modules.remove("cli")
        name = "ground" if package == "itin" else package.removeprefix("itin.")
        lines = [f"# `{package}`", ""]
        if package != "itin":
            lines += [f"::: {package}", "    options:", "      members: false", "      show_root_heading: false", ""]
        for module in modules:
            lines += [f"::: {package}.{module}", ""]
        pages[f"{FOLDER}/{name}.md"] = "\n".join(lines)
        rows.append(f"| [`{package}`]({name}.md) | {', '.join(f'`{one}`' for one in modules)} |")
    lines = ["# Python", "", "Every public class and function, made from the code.", "", "| package | modules |"]
    pages[f"{FOLDER}/index.md"] = "\n".join([*lines, "|---|---|", *rows, ""])
    return pages


def packages() -> list[str]:
    """Return the packages of setup.cfg that are a library."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [
        name
        for name in config["options"]["packages"].split()
        if not f"{name}.".startswith(tuple(f"{one}." for one in APART))
    ]
