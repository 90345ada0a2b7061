"""One extraction: data set -> samples -> what is missing -> encoded and committed -> manifests."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import torch

from .. import disk
from ..cache import StoreWriter, store_name
from ..cache.format.sealed_json import write_error
from ..device import device_names, pick_device
from ..errors import CacheError, TransientError
from ..parts import Part, default_workers
from .config import EncoderConfig, ExtractConfig
from .consolidate import check_complete
from .data.listed import check_known, note_of, read_ids, wanted_positions
from .data.samples import DataSet, Sample, unit_of
from .data.survey import Survey, last_survey, open_config, survey
from .devices import run_on_devices
from .encoders.build import ENCODERS, build_encoder, identity_of, weights_of
from .encoders.contract import ImageEncoder, TextEncoder
from .encoders.tokens import needs_built_tokenizer
from .encoders.wordpiece import train_wordpiece
from .fill import fill
from .lanes import Lane
from .progress import Progress, SilentProgress
from .summary import StoreSummary, Summary
from .weights.origin import described

Encoder = ImageEncoder | TextEncoder


def load_encoders(
    config: ExtractConfig, folder: Path, samples: Sequence[Sample], allow: Collection[str] = ()
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
    load: Callable[[ExtractConfig, Path, Sequence[Sample]], list[Encoder]] = load_encoders,
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
    devices = device_names(config.device)
    listed = None if config.ids is None else read_ids(config.ids)
    dataset, folder = open_config(config)
    seen = last_survey(dataset, folder) if config.part or config.consolidate else None
    seen = seen or _survey(dataset, folder, workers, progress, stop)
    samples = seen.scan.samples
    undecided = bool(dataset.undecided)
    wanted = wanted_positions(samples, config.limit, listed, undecided)
    note = None
    if config.ids is not None and listed is not None:
        unusable = [row.id for row in (*seen.scan.rejected, *seen.scan.unread, *dataset.rejected)]
        check_known(config.ids, listed, [*(sample.id for sample in samples), *unusable], dataset.name)
        note = note_of(config.ids, listed, len(wanted))
    here = replace(config, device=devices[0] if len(devices) == 1 else "cpu")
    # A vocabulary is built from the texts of labelled pairs: with others it would be another encoder than before.
    read = [sample for sample in samples if sample.label is not None] if undecided else samples
    streamed = dataset.stream is not None
    lanes = _lanes(here, load(here, folder, read), folder, samples, wanted, progress, streamed)
    stores = None
    if config.consolidate:
        check_complete([lane.writer for lane in lanes], [lane.left for lane in lanes])
    elif len(devices) > 1 and not config.plan:
        names = ",".join(lane.writer.folder.name for lane in lanes)
        whole, workers = config.part or Part(0, 1), max(1, workers // len(devices))
        here = replace(config, into=names, retry_quarantined=False, workers=workers)
        archives = streamed and config.part is not None  # devices of one machine share archives
        works = [
            (
                device,
                partial(_fill_part, replace(here, device=device, part=one), folder, samples, wanted, load, archives),
            )
            for device, one in zip(devices, whole.split(len(devices)), strict=True)
        ]
        made = run_on_devices(works, progress, stop)
        stores = [StoreSummary.of_parts(parts) for parts in zip(*made, strict=True)]
    elif not config.plan:
        fill(lanes, samples, workers, stop, shuffled=config.part is not None)
    stores = stores or [StoreSummary.of(lane) for lane in lanes]
    stopped = stop.is_set() or (not config.plan and any(store.left for store in stores))
    if not (config.part or config.plan or stopped):
        for lane in lanes:
            lane.writer.finish(_provenance(lane, config))
    return Summary(seen.dataset, folder, seen.scan, stores, stopped, time.monotonic() - started, note)


def _fill_part(
    config: ExtractConfig,
    folder: Path,
    samples: Sequence[Sample],
    wanted: Sequence[int],
    load: Callable[[ExtractConfig, Path, Sequence[Sample]], list[Encoder]],
    whole: bool,
    progress: Progress,
    stop: Event,
) -> list[StoreSummary]:
    """Fill one device's part of the stores, which are planned already, in a process of its own."""
    lanes = _lanes(config, load(config, folder, samples), folder, samples, wanted, progress, whole)
    fill(lanes, samples, config.workers or 1, stop, shuffled=False)
    return [StoreSummary.of(lane) for lane in lanes]


def _survey(dataset: DataSet, folder: Path, workers: int, progress: Progress, stop: Event) -> Survey:
    def on_entry(_: int) -> None:
        if stop.is_set():
            raise TransientError(f"stopped while looking at {dataset.name}", next_step="run the same command again")
        progress.advance("scan", 1)

    progress.start("scan", len(dataset.entries), 0)  # of archives and tables the number is not known before
    return survey(dataset, folder, workers, on_entry)


def _lanes(
    config: ExtractConfig,
    encoders: list[Encoder],
    folder: Path,
    samples: Sequence[Sample],
    wanted: Sequence[int],
    progress: Progress,
    whole: bool,
) -> list[Lane]:
    """Return a lane for each store, with the rows that the store lacks; all samples are planned.

    Args:
        config: the extraction.
        encoders: its encoders.
        folder: the data set's folder.
        samples: all samples.
        wanted: the positions of those that are wanted.
        progress: receives the progress.
        whole: whether a part takes whole archives or row groups.
    """
    lanes = []
    positions = np.fromiter(wanted, np.int64, len(wanted))
    for encoder in encoders:
        identity = identity_of(encoder.spec, config.encoders.store_dtype)
        _check_planned(config, store_name(identity))
        writer = StoreWriter(folder, identity)
        attribute = "text_sha256" if encoder.spec.kind == "tokens" else "image_sha256"
        units = (((one.id, getattr(one, attribute)) for one in own) for _, own in groupby(samples, unit_of))
        every = writer.extend_by_unit(units, config.shard_size)
        rows = every[positions]
        if config.retry_quarantined and not config.consolidate and len(rows):
            held = np.intersect1d(rows, np.fromiter(writer.quarantined(), np.int64))
            mine = config.part.of(writer.plan.pieces_of(writer.plan.blocks_of(held), whole)) if config.part else ...
            writer.release_quarantined(held[mine].tolist())
        lanes.append(Lane(encoder, writer, positions, rows, progress, config.part, whole, every))
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


def _provenance(lane: Lane, config: ExtractConfig) -> dict[str, Any]:
    vocabulary, ends = getattr(lane.encoder, "vocabulary", None), getattr(lane.encoder, "sentence_ends", ())
    names = {} if vocabulary is None else {kind: list(each) for kind, each in asdict(vocabulary).items() if each}
    return {
        "options": _options(config.encoders),
        "weights": _weights(lane, config),
        **({"names": names} if names else {}),
        **({"sentence_ends": list(ends)} if ends else {}),
        "built_tokenizer": lane.kind == "tokens" and needs_built_tokenizer(config.encoders),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "itin": version("itin"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _weights(lane: Lane, config: ExtractConfig) -> list[dict[str, Any]]:
    """Return the files of weights of a lane's encoder, with the digest, model and commit that are known of each."""
    needed = weights_of(config.encoders, [lane.kind]) if not lane.encoder.spec.untrained else {}
    return [described(path) for row in needed.values() for path in row.weight_files()]


def _options(config: EncoderConfig) -> dict[str, Any]:
    """Return the options of the encoders, with absolute paths."""
    options = asdict(config)
    if config.scene_encoder is None:  # as before there was any
        del options["scene_encoder"]
    names = {name for known in ENCODERS.values() for name in known}
    files = ("detector_weights", "object_names", "attribute_names")
    for name in ("regions", "text_encoder", "context_encoder", "scene_encoder", *files):
        if options.get(name) is not None and options[name] not in names and Path(options[name]).exists():
            options[name] = str(Path(options[name]).resolve())
    return options
