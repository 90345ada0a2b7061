"""The one extraction loop: data set -> samples -> what is missing -> decode -> encode -> commit."""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any, TypeVar, cast

import torch

from .. import disk
from ..cache import StoreWriter, store_name
from ..cache.format.sealed_json import write_error
from ..device import pick_device
from ..errors import CacheError, TransientError
from ..parts import default_workers
from .config import EncoderConfig, ExtractConfig
from .consolidate import check_complete
from .data.images import read_image
from .data.reading import BadFile
from .data.samples import DataSet, Sample
from .data.survey import Survey, has_changed, last_survey, open_config, survey
from .encoders.build import build_encoder, identity_of
from .encoders.contract import ImageEncoder, TextEncoder
from .encoders.tokens import needs_built_tokenizer
from .encoders.wordpiece import train_wordpiece
from .lanes import Lane, pending_samples
from .progress import Progress, SilentProgress
from .summary import StoreSummary, Summary

T = TypeVar("T")
R = TypeVar("R")
Encoder = ImageEncoder | TextEncoder


def load_encoders(
    config: ExtractConfig, folder: Path, samples: list[Sample], allow: Collection[str] = ()
) -> list[Encoder]:
    """Return the encoders of every kind that is asked for, on their device.

    Args:
        config: the kinds and their encoders.
        folder: the data set's folder, which keeps a vocabulary that was built from its texts.
        samples: the samples from whose texts a vocabulary is built, where there is none yet.
        allow: the encoders of a user's own (`module:Class`) whose code may be imported: those that the user named.
    """
    device = pick_device(config.device)
    tokenizer_file = None
    if "tokens" in config.only and needs_built_tokenizer(config.encoders):
        tokenizer_file = folder / "tokenizer.json"
        if not tokenizer_file.exists():  # built once: with other texts it would be another encoder
            disk.create(tokenizer_file, train_wordpiece(sample.text for sample in samples), write_error)
    return [
        build_encoder(
            kind,
            config.encoders,
            device,
            batch_size=config.batch_size if kind != "tokens" else None,
            tokenizer_file=tokenizer_file,
            allow=allow,
        )
        for kind in config.only
    ]


def extract(
    config: ExtractConfig,
    progress: Progress | None = None,
    stop: Event | None = None,
    load: Callable[[ExtractConfig, Path, list[Sample]], list[Encoder]] = load_encoders,
) -> Summary:
    """Bring the stores of a data set up to date; features that are there already are never computed again.

    Args:
        config: what to do: everything, one part of the shards, only the plan, or only the manifests.
        progress: receives the progress.
        stop: once set, the work ends soon: encoded samples are committed, the rest is left for another run.
        load: the function that makes the encoders; for one's own `partial(load_encoders, allow={"module:Class"})`.

    Raises:
        DataError: the data set's files are not what its reader expects.
        WeightsError: an encoder's weights cannot be loaded.
        EncoderError: an encoder of the user's own cannot be imported, or breaks the contract of encoders.
        CacheError: the cache cannot be written, holds a damaged file, or lacks shards that consolidation needs.
        TransientError: stopped before anything was known.
    """
    progress = progress or SilentProgress()
    stop = stop or Event()
    started = time.monotonic()
    workers = config.workers or default_workers()
    dataset, folder = open_config(config)
    seen = last_survey(dataset, folder) if config.part or config.consolidate else None
    seen = seen or _survey(dataset, folder, workers, progress, stop)
    lanes = _lanes(config, load(config, folder, seen.scan.samples), seen, progress)
    if config.consolidate:
        check_complete([lane.writer for lane in lanes], [lane.left for lane in lanes])
    elif not config.plan:
        _encode_texts([lane for lane in lanes if lane.kind == "tokens"], seen.scan.samples, config, stop)
        _encode_images([lane for lane in lanes if lane.kind != "tokens"], seen.scan.samples, config, workers, stop)
    if not (config.part or config.plan or stop.is_set()):
        for lane in lanes:
            lane.writer.finish(_provenance(lane, config))
    stores = [StoreSummary.of(lane) for lane in lanes]
    return Summary(dataset, folder, seen.scan, stores, stop.is_set(), time.monotonic() - started)


def _survey(dataset: DataSet, folder: Path, workers: int, progress: Progress, stop: Event) -> Survey:
    def on_entry(_: int) -> None:
        if stop.is_set():
            raise TransientError(f"stopped while looking at {dataset.name}", next_step="run the same command again")
        progress.advance("scan", 1)

    progress.start("scan", len(dataset.entries), 0)
    return survey(dataset, folder, workers, on_entry)


def _lanes(config: ExtractConfig, encoders: list[Encoder], seen: Survey, progress: Progress) -> list[Lane]:
    """Return a lane for each store, with the rows that the store lacks."""
    lanes = []
    for encoder in encoders:
        identity = identity_of(encoder.spec, config.encoders.store_dtype)
        _check_planned(config, store_name(identity))
        writer = StoreWriter(seen.folder, identity)
        attribute = "text_sha256" if encoder.spec.kind == "tokens" else "image_sha256"
        keys = ((sample.id, getattr(sample, attribute)) for sample in seen.scan.samples)
        rows = writer.extend(keys, config.shard_size)[: config.limit]
        if config.retry_quarantined and not config.consolidate:
            writer.release_quarantined(
                row for row in rows if config.part is None or config.part.has(writer.plan.block_of(row))
            )
        lanes.append(Lane(encoder, writer, rows, progress, config.part))
    return lanes


def _check_planned(config: ExtractConfig, name: str) -> None:
    """Check that the store is one that was planned: other weights or another itin would silently fill another."""
    if config.into is not None and name not in config.into.split(","):
        raise CacheError(
            f"the encoders here would fill another store than was planned: {name}",
            expected=config.into,
            found=name,
            next_step="use the same itin, weights and libraries on every machine, or submit again from this one",
        )


def _encode_texts(lanes: list[Lane], samples: list[Sample], config: ExtractConfig, stop: Event) -> None:
    for position, wanting in pending_samples(lanes, config.part is not None, stop.is_set):
        for lane in wanting:
            lane.add(position, samples[position].text)
        if stop.is_set():
            break
    _finish_lanes(lanes, stop)


def _encode_images(lanes: list[Lane], samples: list[Sample], config: ExtractConfig, workers: int, stop: Event) -> None:
    """Decode each image once for all the lanes that want it, ahead of the device."""

    def prepare(item: tuple[int, tuple[Lane, ...]]) -> list[Any]:
        sample = samples[item[0]]
        if has_changed(sample):
            raise TransientError(f"{sample.image} has changed since it was scanned")
        image = read_image(sample.image)
        inputs: dict[int, Any] = {}  # of each trunk: encoders of one model share the input, and so its forward pass
        for encoder in (cast(ImageEncoder, lane.encoder) for lane in item[1]):
            key = id(getattr(encoder, "trunk", encoder))
            inputs[key] = inputs[key] if key in inputs else encoder.prepare(image)
        return [inputs[id(getattr(lane.encoder, "trunk", lane.encoder))] for lane in item[1]]

    ahead = 2 * workers + max((lane.encoder.batch_size for lane in lanes), default=0)
    order = pending_samples(lanes, config.part is not None, stop.is_set)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for (position, wanting), future in _run_ahead(pool, prepare, order, ahead):
            if stop.is_set():
                break
            try:
                prepared = future.result()
            except BadFile as error:
                for lane in wanting:
                    lane.reject(position, error.reason)
            except TransientError as error:
                for lane in wanting:
                    lane.skip(position, error.what)
            else:
                for lane, one in zip(wanting, prepared, strict=True):
                    lane.add(position, one)
    _finish_lanes(lanes, stop)


def _finish_lanes(lanes: list[Lane], stop: Event) -> None:
    """Encode the last batch; after a stop, only commit what is encoded."""
    for lane in lanes:
        if stop.is_set():
            lane.commit_partial()
        else:
            lane.flush()


def _run_ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, Future[R]]]:
    """Run `work` on the items, at most `ahead` of them running or waiting, and yield them in order."""
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


def _provenance(lane: Lane, config: ExtractConfig) -> dict[str, Any]:
    return {
        "options": _options(config.encoders),
        "built_tokenizer": lane.kind == "tokens" and needs_built_tokenizer(config.encoders),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "itin": version("itin"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _options(config: EncoderConfig) -> dict[str, Any]:
    """Return the options of the encoders, with absolute paths."""
    options = asdict(config)
    for name in ("text_encoder", "detector_weights", "object_names", "attribute_names"):
        if options[name] is not None and Path(options[name]).exists():
            options[name] = str(Path(options[name]).resolve())
    return options
