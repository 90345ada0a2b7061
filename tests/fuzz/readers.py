"""Every reader of files that someone else may have made or damaged: what it is given, and what it may raise."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from itin.errors import ItinError
from itin.extract.data.reading import BadFile
from itin.weights_file import UnsoundFile

from . import sound

REFUSALS = (ItinError, BadFile, UnsoundFile)
"""The product's own errors."""


@dataclass(frozen=True)
class Reader:
    """A reader, or several of one kind."""

    sound: Callable[[Path], None]
    """Writes the sound folders that are mutated, each below the folder that it is given."""
    read: Callable[[Path], None]
    """Reads such a folder."""
    files: tuple[str, ...] = ("*",)
    """The files that are mutated, as patterns."""
    share: float = 1.0
    """The share of the inputs of a usual reader: less for slow ones."""
    isolated: bool = False
    """Whether it reads in a child process, so that the end of the process is no end of itin."""
    sound_is_read: bool = True
    """Whether the sound files are none that must be refused."""
    writes: bool = False
    """Whether it changes the folder, which is copied afresh for each input."""


# Pictures and data sets ----------------------------------------------------------------------------------------------


def read_picture(folder: Path) -> None:
    from itin.extract.data.images import image_input, read_image

    path = folder / "picture"
    refused = None
    for read in (
        lambda: image_input(path.read_bytes()),
        lambda: read_image(path),
        lambda: read_image(path, turn=False),
    ):
        try:
            read()
        except BadFile as error:
            refused = error
    if refused is not None:
        assert refused.reason, "a reason"
        assert "\n" not in refused.reason, "a reason of one line"
        raise refused


def read_pairs(kind: str, folder: Path, **options: Any) -> None:
    """Open a data set, read all of it as an extraction does, and decode its pictures."""
    from itin.extract.data.datasets import open_dataset
    from itin.extract.data.images import read_image
    from itin.extract.data.scan import scan
    from itin.extract.data.streams.survey import survey_stream

    dataset = open_dataset(kind, None if kind.startswith("hf:") else folder, **options)
    if dataset.stream is None:
        found = scan(dataset, workers=1)
    else:
        cache = folder.parent / "cache"
        dataset, found = survey_stream(dataset.stream, cache, lambda *_: {"name": "x"}, 1, lambda count: None)
    for one in (*dataset.rejected, *found.rejected, *found.unread):
        one.reason.encode()
        one.id.encode()
    for sample in found.samples:
        (sample.id + sample.text).encode()
        try:
            read_image(sample.place)
        except BadFile:
            continue


def read_saved(folder: Path) -> None:
    read_pairs(f"hf:{folder}", folder)


def read_published(folder: Path) -> None:
    read_pairs(folder.name, folder)


# Features of other tools ---------------------------------------------------------------------------------------------


def read_features(form: str, folder: Path) -> None:
    """Read all samples of a folder that is named after their kind."""
    from itin.extract.data.samples import Rejected
    from itin.extract.foreign import reading
    from itin.extract.foreign.forms.registry import FORMS
    from itin.extract.foreign.record import Asked

    known = FORMS[form]
    held = next((one for one in folder.glob("features*") if one.is_dir()), folder) if known.alone else folder
    for one in reading.records(held, known, Asked(folder.name, {k: v for k, v in known.map.items() if k != "scene"})):
        if isinstance(one, Rejected):
            one.reason.encode(errors="surrogateescape")
        else:
            assert all(array.dtype.kind in "fi" for array in one.arrays.values())


def within(files: Sequence[Path], form: Any, asked: Any) -> Iterator[Any]:
    """Stand in for `isolated`: what the child and the process that listens to it do, in this process."""
    from itin.extract.foreign import child, frames
    from itin.extract.foreign.naming import found_names

    for path in files:
        try:
            for name, read, file in form.lists()(path, asked):
                pipe = io.BytesIO()
                try:
                    raw = read()
                    frames.send_raw(pipe, raw, found_names(raw.arrays, asked))
                except Exception as error:
                    yield name, file, child._reason(error)
                    continue
                pipe.seek(0)
                message = frames.receive(pipe)
                assert message is not None, "a message that can be read"
                yield name, file, message[1]
        except Exception as error:
            yield path.name, "", child._reason(error)


# Weights and settings ------------------------------------------------------------------------------------------------


def read_weights(folder: Path) -> None:
    from itin.weights_file import read_state

    (path,) = folder.iterdir()
    for name, value in read_state(path).items():
        assert isinstance(name, str)
        assert value.numel() >= 0


def read_config(folder: Path) -> None:
    from itin.cluster import site, submission
    from itin.extract.foreign.forms.files import ids_from
    from itin.extract.frcnn.vocabulary import read_names
    from itin.extract.weights import origin
    from itin.train.protocols.split import read_parts
    from itin.weights_file import read_object

    (path,) = folder.iterdir()
    readers: dict[str, Callable[[Path], Any]] = {
        "object": read_object,
        "names": partial(read_names, count=5),
        "record": lambda path: origin.read_record(path.parent),
        "card": origin._licence,
        "site": site.read_site,
        "submission": lambda path: submission.read(path.parent),
        "ids": ids_from,
        "ids-npy": ids_from,
    }
    readers.get(folder.name, read_parts)(path)


def read_model(folder: Path) -> None:
    import torch

    from itin.extract.config import EncoderConfig
    from itin.extract.encoders.build import build_encoder

    config = EncoderConfig(text_encoder=str(folder), random_init=0 if folder.name == "random-bert" else None)
    encoder: Any = build_encoder("tokens", config, torch.device("cpu"))
    (made,) = encoder.encode(["a positive day, number 3 :)"])
    assert len(made["tokens"]) == len(made["token_ids"])


# Results and the cache -----------------------------------------------------------------------------------------------


def read_run(folder: Path) -> None:
    """Open a run, and each part of it by itself."""
    from itin.export.folder import open_run
    from itin.itin_head import Head

    run = open_run(folder)
    parts: tuple[Callable[[], Any], ...] = (
        lambda: run.history,
        lambda: run.predictions,
        lambda: run.parts,
        lambda: run.scores,
        lambda: run.environment,
        lambda: (run.targets, run.inputs, run.reads, run.half_widths, run.note),
        run.head,
        lambda: Head.from_pretrained(folder),
    )
    refused = [error for part in parts if (error := _refused(part)) is not None]
    if refused and folder.name != "exported":
        raise refused[0]


def read_sweep(folder: Path) -> None:
    from itin.train.sweeps.folder import Sweep
    from itin.train.sweeps.reveal import revealed

    sweep = Sweep(folder)
    parts: tuple[Callable[[], Any], ...] = (
        sweep.finished,
        sweep.failed,
        sweep.results,
        sweep.configurations,
        lambda: revealed(sweep),
        sweep._repr_html_,
    )
    refused = [error for part in parts if (error := _refused(part)) is not None]
    if refused:
        raise refused[0]


def read_store(folder: Path) -> None:
    """Open a store and read all of it; then verify it, look at it, repair it and go on writing."""
    import numpy as np

    from itin.cache import StoreWriter, open_store
    from itin.cache.upkeep.info import info
    from itin.cache.upkeep.repair import repair
    from itin.cache.upkeep.verify import verify

    from ..features import identity

    identity_of = identity(folder.name.partition("-")[0], dtype="float16")

    def everything() -> None:
        store = open_store(folder)
        every = np.arange(len(store))
        list(store.samples(every))
        _ = store.ids, store.sha256, store.quarantined, store.lacks, store.names, store.options
        store.index(["id-1", "x"])

    def again() -> None:
        writer = StoreWriter(folder.parent, identity_of)
        list(writer.missing(range(7)))
        _ = writer.quarantined()

    _refused(everything)
    _refused(lambda: info(folder))
    if (error := _refused(lambda: repair(verify(folder)))) is not None:
        raise error
    _refused(everything)
    _refused(again)


def read_cache_table(folder: Path) -> None:
    from itin.cache.table import damaged_tables, options_of, read_table
    from itin.targets import targets_of
    from itin.train.features.find import find_table

    _refused(lambda: damaged_tables(folder))
    table = read_table(folder)
    _refused(lambda: options_of(table.dataset))
    _refused(lambda: targets_of(table.dataset))
    _refused(lambda: find_table(folder.parent, folder.name))


def _refused(part: Callable[[], Any]) -> Exception | None:
    try:
        part()
    except REFUSALS as error:
        str(error).encode()
        return error
    return None


def _forms() -> dict[str, Reader]:
    kinds = ("regions", "tokens", "context")
    made: dict[str, tuple[Callable[[Path], None], bool]] = {
        "bua-npz": (sound.exported("bua-npz", "", "regions"), False),
        "bua-tsv": (sound.exported("bua-tsv", ".tsv", "regions"), False),
        "npz": (sound.arrays, False),
        "parquet": (sound.exported("parquet", ".parquet", *kinds), False),
        "arrow": (sound.exported("arrow", ".arrow", *kinds), False),
        "safetensors": (sound.exported("safetensors", ".safetensors", *kinds), False),
        "hdf5": (sound.hdf5, True),
        "lmdb": (sound.exported("lmdb", "", "regions"), True),
        "mmsa-fet": (sound.pickles, True),
        "multisentinet": (sound.exported("multisentinet", ".h5", "context"), True),
    }
    return {
        f"features-{name}": Reader(make, partial(read_features, name), isolated=isolated)
        for name, (make, isolated) in made.items()
    }


READERS: dict[str, Reader] = {
    **{f"picture-{kind.lower()}": Reader(sound.pictures(kind), read_picture, share=2) for kind in sound.WAYS},
    "picture-html": Reader(sound.web_pages, read_picture, share=0.5, sound_is_read=False),
    **{
        f"table-{ending}": Reader(sound.table(ending), partial(read_pairs, "folder"), (f"*.{ending}",))
        for ending in ("csv", "tsv", "jsonl")
    },
    "table-parquet": Reader(sound.parquet, partial(read_pairs, "folder", table="*.parquet"), ("*.parquet",)),
    "webdataset": Reader(sound.tars, partial(read_pairs, "webdataset")),
    "datasets": Reader(sound.saved, read_saved, share=0.3),
    "published": Reader(sound.published, read_published, ("*.txt", "*.csv", "*.json", "*.tsv")),
    **_forms(),
    "weights": Reader(sound.weights, read_weights, share=2),
    "settings": Reader(sound.configs, read_config, share=2),
    "text-encoder": Reader(sound.model, read_model, ("*.json", "*.safetensors"), share=0.1),
    "run": Reader(sound.runs, read_run, ("*.json", "*.csv", "*.safetensors"), share=0.5),
    "sweep": Reader(sound.sweeps, read_sweep, ("*.json", "*.csv", "*.safetensors"), share=0.5),
    "store": Reader(sound.stores, read_store, share=0.5, writes=True),
    "cache-table": Reader(sound.cache_tables, read_cache_table),
}
