"""Pages of the command line, made from the commands themselves: usage, description, arguments and every option."""

from __future__ import annotations

import inspect
import re

import click

from itin.cli import main
from itin.commands.terminal.options import FIRST, HEADINGS

FOLDER = "reference/commands"


def command_pages() -> dict[str, str]:
    """Return a page for each command, by path, the list of all first."""
    pages = {f"{FOLDER}/index.md": ""}
    lines = ["# Commands", "", "Every command with every option, made from the code.", "", "| command | |", "|---|---|"]
    top = click.Context(main, info_name="itin", **main.context_settings)
    for name in main.list_commands(top):
        command = main.get_command(top, name)
        assert command is not None
        pages[f"{FOLDER}/{name}.md"] = "\n".join([*section(command, name, top, 1), ""])
        lines.append(f"| [`itin {name}`]({name}.md) | {command.get_short_help_str(200)} |")
        if isinstance(command, click.Group):
            for below, one in subcommands(command, click.Context(command, info_name=name, parent=top)):
                full = f"itin {name} {below}"
                lines.append(f"| [`{full}`]({name}.md#{anchor(full)}) | {one.get_short_help_str(200)} |")
    pages[f"{FOLDER}/index.md"] = "\n".join([*lines, ""])
    return pages


def section(command: click.Command, name: str, parent: click.Context, level: int) -> list[str]:
    """Return the lines on a command, and below them those on its subcommands."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [f"{'#' * level} {context.command_path}", "", *prose(command.help or ""), ""]
    lines += ["```text", usage, "```", ""]
    headed: dict[str, list[str]] = {}
    for param in sorted(command.get_params(context), key=lambda one: (*FIRST, one.name).index(one.name)):
        record = param.get_help_record(context)
        if record is not None and record[1]:
            option = f"`{record[0]}`{{ #{anchor(context.command_path, param)} }}"
            heading = getattr(param, "heading", "Options") if "--help" not in param.opts else "Other"
            headed.setdefault(heading, []).extend([option, f":   {escaped(record[1])}", ""])
    for heading in sorted(headed, key=("Options", *HEADINGS).index):
        if len(headed) > 1 + ("Options" in headed):
            lines += [f"**{heading}**", ""]
        lines += headed[heading]
    if isinstance(command, click.Group):
        for below, one in subcommands(command, context):
            lines += section(one, below, context, level + 1)
    return lines


def subcommands(group: click.Group, context: click.Context) -> list[tuple[str, click.Command]]:
    """Return the subcommands that are not hidden, in the order of the help."""
    found = [(name, group.get_command(context, name)) for name in group.list_commands(context)]
    return [(name, one) for name, one in found if one is not None and not one.hidden]


def anchor(path: str, param: click.Parameter | None = None) -> str:
    """Return the anchor of a command, or of one of its options: `itin-train--lam`."""
    option = max(param.opts, key=len) if param is not None else ""
    return f"{path.replace(' ', '-')}{option}"


def prose(text: str) -> list[str]:
    """Return a help text as Markdown: blocks that must not be wrapped (`\\b`) as code."""
    lines = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b\n"):
            lines += ["```text", *inspect.cleandoc(block[2:]).splitlines(), "```", ""]
        else:
            lines += [escaped(" ".join(block.split())), ""]
    return lines


def escaped(text: str) -> str:
    """Return a text with options as code, and elsewhere without the characters that Markdown would read."""
    parts = re.split(r"(`[^`]*`|(?<!\w)--[a-z][a-z-]*)", " ".join(text.split()))
    for index, part in enumerate(parts):
        if part.startswith("--"):
            parts[index] = f"`{part}`"
        elif not part.startswith("`"):
            parts[index] = re.sub(r"([\\*_<>|\[\]])", r"\\\1", part)
    return "".join(parts)
