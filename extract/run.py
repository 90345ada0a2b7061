"""The one extraction loop: data set -> samples -> what is missing -> decode -> encode -> commit."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from ..cache import StoreWriter, files, write_table
from ..cache.table import read_lines
from ..device import pick_device
from ..errors import TransientError
from ..paths import cache_root
from .build import build_encoder, default_workers, identity_of, needs_built_tokenizer
from .config import EncoderConfig, ExtractConfig
from .encoders import ImageEncoder
from .files import BadFile
from .images import read_image
from .lane import Lane, Progress
from .samples import DataSet, Rejected, Sample, open_dataset
from .scan import Scan, scan
from .wordpiece import train_wordpiece

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class StoreSummary:
    """What one extraction did to one store."""

    kind: str
    encoder: str
    path: Path
    untrained: bool
    wanted: int
    """Samples that this run was to bring into the store."""
    made: int
    """Samples encoded and committed by this run."""
    reused: int
    """Samples that were there before."""
    quarantined: dict[str, str]
    """Sample id -> reason, for the wanted samples that cannot be encoded."""
    unread: list[tuple[str, str]]
    """Samples left for the next run because their files could not be read this time."""


@dataclass(frozen=True)
class Summary:
    """What one extraction did."""

    dataset: DataSet
    folder: Path
    scan: Scan
    stores: list[StoreSummary] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rejected(self) -> list[Rejected]:
        """Pairs that cannot be used, of the table and of the files."""
        return self.dataset.rejected + self.scan.rejected

    @property
    def unread(self) -> int:
        """How many samples are left for the next run."""
        return len(self.scan.unread) + sum(len(store.unread) for store in self.stores)


class Silent:
    """A progress report that nobody sees."""

    def start(self, kind: str, total: int, done: int) -> None:
        """Nothing."""

    def advance(self, kind: str, count: int) -> None:
        """Nothing."""


def extract(config: ExtractConfig, progress: Progress | None = None) -> Summary:
    """Brings the stores of a data set up to date; what is there already is never computed again.

    Raises:
        DataError: the data set's files are not what its reader expects.
        WeightsError: an encoder's weights cannot be had.
        CacheError: the cache cannot be written, or holds a damaged file.
    """
    progress = progress or Silent()
    started = time.monotonic()
    workers = config.workers or default_workers()
    dataset = open_dataset(
        config.dataset,
        config.root,
        name=config.name,
        table=config.table,
        columns=config.columns or None,
        allow_outside=config.allow_outside,
    )
    folder = cache_root(config.cache) / dataset.name
    seen = _scan(dataset, folder, workers, progress)
    lanes = _lanes(config, folder, seen.samples, progress)
    text = [lane for lane in lanes if lane.kind == "tokens"]
    image = [lane for lane in lanes if lane.kind != "tokens"]
    for lane in text:
        _encode_texts(lane, seen.samples)
    _encode_images(image, seen.samples, workers)
    stores = [_finish(lane, config) for lane in lanes]
    return Summary(dataset, folder, seen, stores, time.monotonic() - started)


def _scan(dataset: DataSet, folder: Path, workers: int, progress: Progress) -> Scan:
    """Looks at every entry, and writes the data set's table beside its stores."""
    known = {row["id"]: Sample(**row) for row in read_lines(folder / "samples.jsonl")}
    progress.start("scan", len(dataset.entries), 0)
    seen = scan(dataset, known, workers, lambda _: progress.advance("scan", 1))
    record = {
        "name": dataset.name,
        "source": dataset.source,
        "samples": len(seen.samples),
        "labelled": sum(sample.label is not None for sample in seen.samples),
        "dropped": dataset.dropped,
        "quarantined": len(dataset.rejected) + len(seen.rejected),
    }
    rejected = [asdict(row) for row in dataset.rejected + seen.rejected]
    write_table(folder, record, map(asdict, seen.samples), rejected)
    return seen


def _lanes(config: ExtractConfig, folder: Path, samples: list[Sample], progress: Progress) -> list[Lane]:
    """All encoders first, so that missing weights are told before any work; then what each store lacks."""
    device = pick_device(config.device)
    tokenizer_file = None
    if "tokens" in config.only and needs_built_tokenizer(config.encoders):
        tokenizer_file = folder / "tokenizer.json"
        if not tokenizer_file.exists():  # built once: with other texts it would be another encoder
            files.create(tokenizer_file, train_wordpiece(sample.text for sample in samples))
    encoders = [
        build_encoder(
            kind,
            config.encoders,
            device,
            batch_size=config.batch_size if kind != "tokens" else None,
            tokenizer_file=tokenizer_file,
        )
        for kind in config.only
    ]
    lanes = []
    for encoder in encoders:
        writer = StoreWriter(folder, identity_of(encoder.spec, config.encoders.store_dtype))
        attribute = "text_sha256" if encoder.spec.kind == "tokens" else "image_sha256"
        rows = writer.extend(((sample.id, getattr(sample, attribute)) for sample in samples), config.shard_size)
        if config.retry_quarantined:
            writer.release_quarantined(rows[: config.limit])
        lanes.append(Lane(encoder, writer, rows[: config.limit], progress))
    return lanes


def _encode_texts(lane: Lane, samples: list[Sample]) -> None:
    for position in list(lane.row_of):
        lane.add(position, samples[position].text)
    lane.flush()


def _encode_images(lanes: list[Lane], samples: list[Sample], workers: int) -> None:
    """Decodes each image once for all the lanes that want it, ahead of the device, in the order of the first lane."""
    order = dict.fromkeys(position for lane in lanes for position in lane.row_of)

    def prepare(position: int) -> list[tuple[Lane, Any]]:
        image = read_image(samples[position].image)
        return [(lane, cast(ImageEncoder, lane.encoder).prepare(image)) for lane in lanes if position in lane.row_of]

    ahead = 2 * workers + max((lane.encoder.batch_size for lane in lanes), default=0)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for position, future in _ahead(pool, prepare, order, ahead):
            wanting = [lane for lane in lanes if position in lane.row_of]
            try:
                prepared = future.result()
            except BadFile as error:
                for lane in wanting:
                    lane.reject(position, error.reason)
            except TransientError as error:
                for lane in wanting:
                    lane.skip(position, error.what)
            else:
                for lane, one in prepared:
                    lane.add(position, one)
    for lane in lanes:
        lane.flush()


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, Future[R]]]:
    """Runs `work` on the items with at most `ahead` of them under way or waiting, and gives them back in order."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()


def _finish(lane: Lane, config: ExtractConfig) -> StoreSummary:
    writer, spec = lane.writer, lane.encoder.spec
    writer.finish(
        {
            "options": _options(config.encoders),
            "built_tokenizer": lane.kind == "tokens" and needs_built_tokenizer(config.encoders),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "itin": version("itin"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
    )
    wanted = lane.position_of
    quarantined = {writer.plan.rows[row][0]: reason for row, reason in writer.quarantined().items() if row in wanted}
    return StoreSummary(
        kind=lane.kind,
        encoder=spec.name,
        path=writer.folder,
        untrained=spec.untrained,
        wanted=len(wanted),
        made=lane.made,
        reused=len(wanted) - lane.made - len(quarantined) - len(lane.unread),
        quarantined=quarantined,
        unread=lane.unread,
    )


def _options(config: EncoderConfig) -> dict[str, Any]:
    """The options of the encoders, with paths that mean the same from everywhere."""
    options = asdict(config)
    for name in ("text_encoder", "detector_weights", "object_names", "attribute_names"):
        if options[name] is not None and Path(options[name]).exists():
            options[name] = str(Path(options[name]).resolve())
    return options
