"""The tables and figures of a report as separate files: CSV and LaTeX, PDF, PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ... import disk
from .html import cell_text, make_folder, numeric
from .section import Section

_LATEX = str.maketrans(
    {
        **{sign: "\\" + sign for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "λ": r"$\lambda$",
        "α": r"$\alpha$",
        "±": r"$\pm$",
        "×": r"$\times$",
        "−": "$-$",
        "≤": r"$\leq$",
        "≥": r"$\geq$",
        "–": "--",
        "—": "---",
        "…": r"\ldots{}",
    }
)
"""Characters that are special in LaTeX, and symbols that it writes as commands."""


def write_tables(sections: Sequence[Section], folder: str | Path) -> list[Path]:
    """Write the table of each section that has one as NAME.csv and NAME.tex.

    Returns:
        The files.

    Raises:
        RunError: a file cannot be written.
    """
    folder, files = Path(folder), []
    for section in sections:
        if section.table is not None and section.table.shape[1]:
            make_folder(folder)
            for path, text in (
                (folder / f"{section.name}.csv", section.table.to_csv(index=False, lineterminator="\n")),
                (folder / f"{section.name}.tex", to_latex(section)),
            ):
                disk.replace(path, text.encode("utf-8", "replace"))
                files.append(path)
    return files


def to_latex(section: Section) -> str:
    """Return a section's table as a LaTeX `table` (booktabs), with its caption and the label `tab:NAME`."""
    if section.table is None:
        raise ValueError(f"section {section.name!r} has no table")
    table = section.table.map(cell_text).map(_latex).set_axis([_latex(str(name)) for name in section.table], axis=1)
    text: str = table.to_latex(
        index=False,
        escape=False,  # pandas escapes fewer characters than `_LATEX`
        column_format="".join("r" if one else "l" for one in numeric(section.table)),
        caption=_latex(section.caption or section.title),
        label=f"tab:{section.name}",
    )
    return text


def _latex(text: str) -> str:
    return text.translate(_LATEX)


def write_figures(sections: Sequence[Section], folder: str | Path, kind: str = "pdf") -> list[Path]:
    """Draw each figure of the sections into NAME.pdf, NAME.png or NAME.svg.

    Returns:
        The files.

    Raises:
        RunError: a file cannot be written.
        ValueError: `kind` is none of these.
    """
    from .plot import FORMATS, write_figure

    if kind not in FORMATS:
        raise ValueError(f"figures: expected one of {', '.join(FORMATS)}, got {kind!r}")
    folder, files = Path(folder), []
    for section in sections:
        for figure in section.figures:
            make_folder(folder)
            path = folder / f"{figure.name}.{kind}"
            write_figure(figure, path)
            files.append(path)
    return files
