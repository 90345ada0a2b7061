"""The survey of a stream: each file is read once from front to back, and little is held of each pair."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .... import disk
from ....cache.format.sealed_json import write_error
from ....cache.table import write_table
from ....errors import DataError, TransientError
from ....parts import run_ahead
from ....targets import targets_of
from ..images import ImageInput, image_input
from ..places.locator import Locator
from ..places.opening import Status, status
from ..places.remote import spelt
from ..reading import BadFile
from ..samples import DataSet, Rejected, Sample
from ..scan import RawEntry, Scan, read_entry, sample_of
from ..sets.scores import number
from .lines import SampleLines
from .stream import Found, Stream


def survey_stream(
    stream: Stream,
    folder: Path,
    record_of: Callable[[DataSet, int, int, int], dict[str, Any]],
    workers: int,
    progress: Callable[[int], None],
) -> tuple[DataSet, Scan]:
    """Read every pair, and write the data set's table: its samples in the order of the files.

    Args:
        stream: the pairs.
        folder: the data set's folder in the cache.
        record_of: makes the content of `dataset.json` from the data set and the number of samples, of those with a
            label, and of rejected pairs.
        workers: threads.
        progress: called in the calling thread with the number of pairs done so far.

    Returns:
        The data set with its classes, and the scan, whose samples stay on disk.

    Raises:
        DataError: no pair can be used.
    """
    disk.make_folder(folder, write_error)
    files = [_state(path) for path in stream.files]
    spool_path = disk.temporary_beside(folder / "scan.jsonl")
    try:
        with spool_path.open("w+b") as spool:
            first = _FirstPass(spool)
            first.read(stream, folder / "samples.jsonl", workers, progress)
            dataset, labels, scale = stream.finish(first.counts, first.cells)
            if not first.count and not first.unread:
                raise _nothing(dataset, first.rejected)
            repeated = first.repeated()
            kept: set[str] = set()
            count = labelled = 0

            def rows() -> Iterator[dict[str, Any]]:
                nonlocal count, labelled
                spool.seek(0)
                for where, row, label, score in map(json.loads, spool):
                    id = row["id"]
                    try:
                        if id in kept:
                            raise ValueError(f"id {id} is at an earlier place too")
                        row["label"] = labels.class_of(label)
                        values = scale.values(score)
                    except ValueError as error:
                        first.rejected.append(Rejected(f"{where}: {id}" if id in kept else id, f"{where}: {error}"))
                        continue
                    if hash(id) in repeated:
                        kept.add(id)
                    count, labelled = count + 1, labelled + (row["label"] is not None)
                    yield {**row, "targets": values} if values else row

            def record() -> dict[str, Any]:
                made = record_of(dataset, count, labelled, len(first.rejected))
                return {**made, "files": [] if first.unread else files}  # parts scan where it is not complete

            write_table(folder, record, rows(), (asdict(one) for one in first.rejected))
    except OSError as error:
        raise write_error(spool_path, error) from error
    finally:
        spool_path.unlink(missing_ok=True)
    if not count and not first.unread:
        raise _nothing(dataset, first.rejected)
    return dataset, Scan(SampleLines(folder / "samples.jsonl"), first.rejected, first.unread)


def last_survey_stream(stream: Stream, folder: Path, record: dict[str, Any]) -> Scan | None:
    """Return the scan that the last survey of the very same files wrote, None where they have changed since."""
    if record.get("files") != [_state(path) for path in stream.files]:
        return None
    with (folder / "quarantine.jsonl").open(encoding="utf-8") as lines:
        rejected = [Rejected(**json.loads(line)) for line in lines]
    return Scan(SampleLines(folder / "samples.jsonl"), rejected, [])


def _state(path: Path) -> list[Any]:
    """Return path, size and modification time of a file, no size where it is none."""
    try:
        return [str(path), *status(path)]
    except (BadFile, TransientError):
        return [str(path), None, None]


def as_recorded(dataset: DataSet, record: dict[str, Any]) -> DataSet:
    """Return a data set with the classes and targets that its record in the cache names."""
    targets = targets_of(record)
    label = targets.pop("label", None)
    return replace(
        dataset,
        classes=label.classes if label is not None else (),
        targets=tuple(targets.values()),
        rare=dict(record.get("rare", {})),
    )


class _FirstPass:
    """What is known once all files have been read; the pairs wait in a file for the classes."""

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self.counts: Counter[str] = Counter()
        """The number of pairs of each label."""
        self.cells: list[Any] = []
        """The least and the greatest score, and a cell that holds none."""
        self.rejected: list[Rejected] = []
        self.unread: list[Rejected] = []
        self._hashes = array("q")

    def read(self, stream: Stream, before: Path, workers: int, progress: Callable[[int], None]) -> None:
        """Read the pairs.

        Args:
            stream: the pairs.
            before: the samples of the last scan, if there was one.
            workers: threads.
            progress: see `survey_stream`.
        """
        last = SampleLines(before) if before.exists() else None

        def known(id: str, path: Path, within: Mapping[str, Any], state: Status) -> Sample | None:
            sample = last.find(id) if last is not None else None
            same = sample is not None and sample.orientation and sample.locator == Locator(path, within)
            return sample if same and sample and state == (sample.image_bytes, sample.image_mtime_ns) else None

        def tried(found: Found) -> Sample | BadFile | TransientError:
            try:
                return look(found, last)
            except (BadFile, TransientError) as error:
                return error

        with ThreadPoolExecutor(workers, thread_name_prefix="scan") as pool:
            for done, (found, future) in enumerate(run_ahead(pool, tried, stream.pairs(known), 2 * workers), 1):
                self._take(found, future.result())
                progress(done)

    def _take(self, found: Found, result: Sample | BadFile | TransientError) -> None:
        if found.label:
            self.counts[found.label] += 1
        if found.score is not None:
            self._take_score(found.score)
        if isinstance(result, TransientError):
            self.unread.append(Rejected(found.id, f"{found.where}: {result.what}"))
        elif isinstance(result, BadFile):
            self.rejected.append(Rejected(found.id, f"{found.where}: {result.reason}"))
        else:
            self._hashes.append(hash(result.id))
            self._spool.write(json.dumps([found.where, result.row, found.label, found.score]).encode() + b"\n")

    def _take_score(self, cell: Any) -> None:
        try:
            value = number(cell)
        except ValueError:
            if not any(isinstance(one, str) for one in self.cells):
                self.cells.append(str(cell))
            return
        if value is not None:
            numbers = [one for one in self.cells if not isinstance(one, str)] + [value]
            self.cells[:] = [min(numbers), max(numbers), *(one for one in self.cells if isinstance(one, str))]

    @property
    def count(self) -> int:
        """The number of pairs that wait for the classes."""
        return len(self._hashes)

    def repeated(self) -> set[int]:
        """Return the hashes that several ids have: equal ids, or by chance different ones."""
        hashes = np.sort(np.frombuffer(self._hashes, np.int64)) if self._hashes else np.zeros(0, np.int64)
        return set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def look(found: Found, last: SampleLines | None = None) -> Sample:
    """Return a pair as a sample without a label.

    Args:
        found: the pair.
        last: the samples of the last scan, by which images in files of their own are known again.

    Raises:
        BadFile: it cannot be used.
        TransientError: it could not be read this time.
    """
    if found.unread:
        raise TransientError(found.unread)
    entry, known = found.entry, found.known
    if entry is None or found.problem:
        raise BadFile(found.problem)
    if known is not None:
        image = ImageInput(known.image_sha256, known.width, known.height, known.orientation)
        return sample_of(entry, RawEntry(image, known.image_bytes, known.image_mtime_ns, str(entry.text)), "utf-8")
    if found.data is None or found.status is None:
        return sample_of(entry, read_entry(entry, last.find(entry.id) if last is not None else None), "utf-8")
    try:
        image = image_input(found.data)
    except BadFile as error:
        raise BadFile(f"{entry.locator.what}: {error.reason}") from error
    return sample_of(entry, RawEntry(image, *found.status, str(entry.text)), "utf-8")


def _nothing(dataset: DataSet, rejected: list[Rejected]) -> DataError:
    reasons = [f"{one.id}: {one.reason.removeprefix(f'{one.id}: ')}" for one in rejected[:3]]
    return DataError(
        f"no pair of {spelt(dataset.root)} can be used",
        expected="an image and a text for each pair",
        found="; ".join(reasons) or "no pair at all",
        next_step="check that --dataset and --root belong together, and say with --columns what holds the text",
    )
