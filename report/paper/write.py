"""The report of a reproduction: the page, the tables and figures as files, and the unrounded numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ... import disk
from ..report import Report
from . import published
from .figure_7 import Figure7, figure_7
from .reproduction import Reproduction
from .sections import sections
from .wording import scope_of


def report_of(made: Reproduction, images: Path | None = None, cache: Path | None = None) -> Report:
    """Make the report of a reproduction; arguments and errors as in `figure_7.figure_7`."""
    return _report(made, _figure_7(made, images, cache))


def write(
    made: Reproduction, figures: str | None = "pdf", images: Path | None = None, cache: Path | None = None
) -> Report:
    """Write `numbers/`, and the report with its tables and figures, into the folder of a reproduction.

    Args:
        made: the reproduction.
        figures: the file format of the figures, or None for no figure files.
        images: the current folder of the images; None for the one that the cache records.
        cache: the current folder of the cache; None for the one that the run records.

    Raises:
        RunError: a file cannot be written.
    """
    seven = _figure_7(made, images, cache)
    report = _report(made, seven)
    folder = made.path / "numbers"
    folder.mkdir(exist_ok=True)
    for name, table in made.tables.items():
        table = table.assign(protocol=made.protocol, note=report.banner or "")
        disk.replace(folder / f"{name}.csv", table.to_csv(index=False, lineterminator="\n").encode())
    report.write(made.path, figures)
    if figures is not None:
        seven.write(made.path / "figures", figures)
    return report


def _figure_7(made: Reproduction, images: Path | None, cache: Path | None) -> Figure7:
    """Make Fig. 7; one without a section if it was not requested."""
    return figure_7(made, images, cache) if 7 in made.request.figures else Figure7()


def _report(made: Reproduction, seven: Figure7) -> Report:
    name = published.DATASETS.get(made.dataset, made.dataset)
    banner = made.sweep.definition.note
    found = sections(made)
    if seven.section is not None:
        found.insert(-1 if found[-1].name == "provenance" else len(found), seven.section)
    if banner is not None:  # for the files of the tables, which have no page around them
        found = [replace(one, caption=f"{one.caption} {banner}" if one.caption else "") for one in found]
    return Report(
        f"{name}: ITIN reproduced",
        found,
        [f"{published.PAPER}, on {name}. {scope_of(made)}"],
        banner,
        seven.data,
        seven.missing,
    )
