"""Runs and sweeps -> a report: its sections, the data of its page, and the files that it is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CacheError, RunError
from ..predict.pairs import Pair, pairs_of, shown_part
from ..targets import targets_of
from ..train.features.find import stores_of_run
from ..train.runs.folder import Run, load_run
from ..train.runs.listing import find_runs
from ..train.sweeps.folder import Sweep
from .annotators import annotator_ceiling, votes_of
from .browser import RunPairs, pairs_data
from .comparison import Comparison, compare_all, compare_data, comparisons
from .names import names_of
from .number_sections import cut_scores, further, intervals_of, number_summary, predicted, worst
from .page.files import write_figures, write_tables
from .page.html import Page, iframe, page_html, write_page
from .page.section import Section
from .run_sections import Runs, classes, confusion, learning, provenance, reliability, summary
from .sweep_sections import sweep_sections
from .thumbnails import Images, Thumbnail, thumbnails

MAX_DETAILED = 12
"""Number of runs in every section, at most: those named first, then the best by validation."""

MAX_BROWSED = 4
"""Number of runs whose pairs can be browsed, at most."""

PAGE = "report.html"


@dataclass(frozen=True)
class Report(Page):
    """A report that can be written to files or shown in a notebook."""

    missing: list[str] = field(default_factory=list)
    """What could not be shown and why, one line each."""

    def write(self, folder: str | Path, figures: str | None = "pdf") -> Path:
        """Write `report.html`, `tables/*.csv` and `.tex`, and `figures/*`; files of those names are replaced.

        Args:
            folder: the folder to write to; created if missing.
            figures: the file format of the figures, `pdf`, `png` or `svg`, or None for no figure files.

        Returns:
            The page.

        Raises:
            RunError: a file cannot be written.
        """
        folder = Path(folder)
        page = write_page(self, folder / PAGE)
        write_tables(self.sections, folder / "tables")
        if figures is not None:
            write_figures(self.sections, folder / "figures", figures)
        return page

    def html(self) -> str:
        """Return the page as HTML."""
        return page_html(self)

    def _repr_html_(self) -> str:
        return iframe(self.html())


def report(
    paths: Sequence[str | Path], *, images: Path | None = None, cache: Path | None = None, title: str | None = None
) -> Report:
    """Make a report.

    Args:
        paths: run folders, sweep folders, or folders with runs below them.
        images: the current folder of the images; None for the one that the cache records.
        cache: the current folder of the cache; None for the one that the run records.
        title: the title of the page; None builds one from the names of the data sets.

    Raises:
        RunError: a path holds no run, or one that cannot be read.
    """
    runs, sweeps = open_paths(paths)
    named: Runs = dict(zip(names_of(runs), runs, strict=True))
    detailed: Runs = dict(list(named.items())[:MAX_DETAILED])
    missing: list[str] = []
    pairs = _pairs(detailed, cache, missing)
    pictures = _pictures(pairs, detailed, images)
    missing_images = sum(not one.url for one in pictures.values())
    if missing_images:
        reasons = sorted({one.reason for one in pictures.values() if not one.url})
        hint = "" if images else " (--images says where they are now)"
        missing.append(f"{missing_images} of {len(pictures)} images cannot be shown: {'; '.join(reasons[:3])}{hint}")
    if len(detailed) > MAX_BROWSED:
        missing.append(f"the pairs of the first {MAX_BROWSED} of {len(detailed)} runs can be browsed")
    shown = [
        RunPairs(name, shown_part(detailed[name]), each, detailed[name].target.span) for name, each in pairs.items()
    ]
    shown.sort(key=lambda one: not any(pair.prediction.regions for pair in one.pairs))  # runs with regions first
    compared = compare_all(detailed)
    data: dict[str, Any] = {}
    if shown:
        data["pairs"] = pairs_data(shown, pictures)
    if compared:
        texts = {name: {pair.id: pair.text for pair in each} for name, each in pairs.items()}
        data["compare"] = compare_data(detailed, compared, texts, [one.name for one in shown])
    notes = sorted({run.note for run in runs if run.note})
    names = sorted({str(run.record["dataset"].get("name")) for run in runs})
    return Report(
        title or f"Report on {', '.join(names)}",
        _sections(detailed, sweeps, list(compared.values()), pairs, _ceilings(detailed, cache), missing),
        [_intro(len(runs), len(sweeps), len(named) - len(detailed))],
        " ".join(notes) or None,
        data,
        missing,
    )


def open_paths(paths: Sequence[str | Path]) -> tuple[list[Run], list[Sweep]]:
    """Open the runs and sweeps of some paths: named runs first, then those of each sweep's best configuration.

    Raises:
        RunError: a path holds no run, or one that cannot be read.
    """
    runs: dict[Path, Run] = {}
    sweeps = []
    chosen: list[Run] = []
    for path in map(Path, paths):
        if (path / "sweep.json").is_file():
            sweep = Sweep(path)
            sweeps.append(sweep)
            chosen += sweep.best_runs()
            continue
        below = list(find_runs([path])) if path.is_dir() and not (path / "config.json").is_file() else [path]
        for run in map(load_run, below or [path]):
            runs.setdefault(run.path.resolve(), run)
    for run in chosen:
        runs.setdefault(run.path.resolve(), run)
    if not runs:
        raise RunError(
            "there is nothing to report on",
            expected="runs, or sweeps with finished runs",
            found=f"no finished run in {', '.join(map(str, paths)) or 'no path'}",
            next_step="train with `itin train`, or continue with `itin sweep --resume`",
        )
    return list(runs.values()), sweeps


def _pairs(runs: Runs, cache: Path | None, missing: list[str]) -> dict[str, list[Pair]]:
    """Return the pairs of the first `MAX_BROWSED` runs; failures are added to `missing`."""
    found = {}
    for name, run in list(runs.items())[:MAX_BROWSED]:
        try:
            found[name] = pairs_of(run, cache=cache)
        except (CacheError, RunError) as error:
            missing.append(f"the pairs of {name} cannot be shown: {error.what}")
    return found


def _pictures(pairs: dict[str, list[Pair]], runs: Runs, images: Path | None) -> dict[str, Thumbnail]:
    pictures: dict[str, Thumbnail] = {}
    for name, each in pairs.items():
        new = [pair for pair in each if pair.image_sha256 not in pictures]
        pictures |= thumbnails(new, Images.of(runs[name], images))
    return pictures


def _ceilings(runs: Runs, cache: Path | None) -> dict[str, dict[str, Any]]:
    """Return the agreement of the annotators on the shown part of each run, where the data set names several."""
    found = {}
    for name, run in runs.items():
        if not run.target.is_number:
            continue
        try:
            table = stores_of_run(run, cache).table
        except (CacheError, RunError):
            continue  # the pairs cannot be shown either, which is reported
        ids = set(run.predictions.loc[run.predictions["part"] == shown_part(run), "id"])
        samples = table.samples[table.samples["id"].astype(str).isin(ids)]
        votes = votes_of(samples, run.target.name, targets_of(table.dataset))
        ceiling = None if votes is None else annotator_ceiling(votes, run.target.bounds)
        if ceiling is not None:
            found[name] = ceiling
    return found


def _sections(
    runs: Runs,
    sweeps: Sequence[Sweep],
    compared: Sequence[Comparison],
    pairs: Mapping[str, list[Pair]],
    ceilings: Mapping[str, Mapping[str, Any]],
    missing: Sequence[str],
) -> list[Section]:
    numbers = {name: run for name, run in runs.items() if run.target.is_number}
    named = {name: run for name, run in runs.items() if not run.target.is_number}
    sections = [summary(named)] if named else []
    if numbers:
        intervals = intervals_of(numbers)
        cut = cut_scores(numbers, intervals)
        sections += [number_summary(numbers, intervals, ceilings), *([cut] if cut else [])]
    if more := further(runs):
        sections.append(more)
    for number, sweep in enumerate(sweeps, 1):
        sections += sweep_sections(sweep, number)
    sections += [classes(named), confusion(named), reliability(named)] if named else []
    sections += [predicted(numbers), worst(numbers, pairs)] if numbers else []
    sections += [learning(runs), *comparisons(compared), provenance(runs)]
    if pairs:  # last, since it grows as one scrolls
        sections.append(Section("pairs", "Pairs", widget="pairs", notes=_sentences(missing)))
    elif missing:
        sections.append(Section("pairs", "Pairs", _sentences(missing)))
    return sections


def _sentences(missing: Sequence[str]) -> list[str]:
    return [f"{line[:1].upper()}{line[1:]}." for line in missing]


def _intro(runs: int, sweeps: int, left: int) -> str:
    line = f"{runs} run{'s' * (runs != 1)}"
    if sweeps:
        line += "; of a sweep those of the configuration that is best by validation"
    return line + (f"; the last {left} are left out below" if left else "") + "."
