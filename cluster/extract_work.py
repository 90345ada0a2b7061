"""`itin extract` in parts: part i of N takes the blocks of each store's plan whose number is i modulo N."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..cache import StoreWriter
from ..cache.format.manifest import NAME as MANIFEST
from ..cache.format.manifest import shard_sizes
from ..cache.format.plan import StorePlan
from ..cache.format.sealed_json import read_json
from ..cache.format.shard_read import Shard
from ..cache.table import read_lines
from ..extract.config import ExtractConfig
from ..extract.data.listed import read_ids, wanted_positions
from ..extract.data.places.remote import is_remote, named_place
from ..extract.data.samples import Sample
from ..extract.data.sets.hf import absolute_kind
from ..extract.encoders.own import FIELDS, FLAGS, has_form
from ..paths import cache_root
from .submission import Submission
from .work import Missing, Prepared

if TYPE_CHECKING:
    from ..extract.progress import Progress

RESERVED = ("part", "plan", "consolidate", "into")
"""The options that a submission sets itself."""


class Extraction:
    """Features of a data set, split by shards."""

    name = "extract"
    pieces = "features"

    def prepare(
        self,
        config: ExtractConfig,
        words: Sequence[str],
        progress: Progress | None = None,
        allow: Collection[str] = (),
    ) -> Prepared:
        """Scan the data set, load the encoders on the CPU, and plan; the cache then holds what parts need.

        Args:
            config: the extraction.
            words: its arguments as typed.
            progress: receives the progress.
            allow: the encoders of a user's own whose code may be imported, see `load_encoders`.

        Raises:
            ValueError: an option that a submission sets itself.
        """
        from ..extract.run import extract, load_encoders

        for name in RESERVED:
            if getattr(config, name):
                raise ValueError(f"--{name} is set by the submission: leave it out")
        config = with_absolute_paths(config)
        load = partial(load_encoders, allow=allow)
        summary = extract(replace(config, plan=True, device="cpu"), progress, load=load)
        stores = tuple(store.path.name for store in summary.stores)
        config = replace(config, root=config.root or summary.dataset.root, retry_quarantined=False)
        return Prepared(
            folder=summary.folder,
            stores=stores,
            words=tuple(words),
            limit=config.limit,
            config=replace(config, into=",".join(stores)).to_record(),
            allow=tuple(allow),
            note=summary.scan.encoding.note,
        )

    def part(self, submission: Submission) -> list[str]:
        """Return the arguments of itin for a part, to be followed by its `i/N`."""
        return [*_command(submission), "--part"]

    def consolidate(self, submission: Submission) -> list[str]:
        """Return the arguments of itin that write the manifests."""
        return [*_command(submission), "--device", "cpu", "--consolidate"]

    def missing(self, submission: Submission) -> Missing:
        """Return what the stores lack of the samples in the last scan."""
        samples = [Sample(**row) for row in read_lines(submission.home / "samples.jsonl")]
        record = read_json(submission.home / "dataset.json")
        undecided, streamed = bool(record.get("undecided")), "files" in record
        ids = submission.config.get("ids")
        listed = None if ids is None else read_ids(Path(ids))
        samples = [samples[i] for i in wanted_positions(samples, submission.limit, listed, undecided)]
        parts: Counter[int] = Counter()
        quarantined = 0
        for name in submission.stores:
            identity = StorePlan.read(submission.home / name).identity
            writer = StoreWriter(submission.home, identity)
            digest = "text_sha256" if writer.kind == "tokens" else "image_sha256"
            found = writer.plan.find([one.id for one in samples], [getattr(one, digest) for one in samples])
            rows = [row for row in found if row >= 0]
            quarantined += len(set(rows) & set(writer.quarantined()))
            for piece in writer.missing(rows):
                (number,) = writer.plan.pieces_of(np.array([piece.block]), streamed).tolist()
                parts[number % submission.parts] += len(piece.rows)
            for position in np.flatnonzero(np.array(found) < 0).tolist():  # in no plan: any part will plan it
                parts[position % submission.parts] += 1
        return Missing(dict(sorted(parts.items())), len(samples) * len(submission.stores), quarantined)

    def made_since(self, submission: Submission, begin: float) -> int:
        """Return the number of features in shards written at `begin` or later."""
        made = 0
        for name in submission.stores:
            folder = submission.home / name
            fingerprint = StorePlan.read(folder).fingerprint
            for file in shard_sizes(folder):
                if (folder / file).stat().st_mtime >= begin:
                    made += len(Shard(folder / file, fingerprint))
        return made

    def consolidated(self, submission: Submission) -> bool:
        """Return whether each store has its manifest."""
        return all((submission.home / name / MANIFEST).exists() for name in submission.stores)


def _command(submission: Submission) -> list[str]:
    """Return the command of a part; it names a user's own encoders, for their code is imported for no record's sake."""
    encoders = ExtractConfig.from_record(submission.config).encoders
    named = ((FLAGS[kind], getattr(encoders, field)) for kind, field in FIELDS.items())
    own = [word for flag, name in named if name is not None and has_form(name) for word in (flag, name)]
    return ["extract", "--config", str(submission.record), *own]


def with_absolute_paths(config: ExtractConfig) -> ExtractConfig:
    """Return the configuration with absolute paths."""
    encoders = replace(
        config.encoders,
        text_encoder=_absolute_if_there(config.encoders.text_encoder),
        detector_weights=_absolute(config.encoders.detector_weights),
        object_names=_absolute(config.encoders.object_names),
        attribute_names=_absolute(config.encoders.attribute_names),
    )
    table = config.table
    root = None if config.root is None else named_place(config.root)
    below = root is not None and is_remote(root)
    if table is not None and not below and not (config.root is not None and (config.root / table).exists()):
        table = table.expanduser().absolute()
    cache = os.path.abspath(cache_root(config.cache))  # noqa: PTH100  (resolve() would follow links of a site's own)
    ids = None if config.ids is None else Path(os.path.abspath(config.ids.expanduser()))  # noqa: PTH100
    kind = absolute_kind(config.dataset)
    return replace(config, dataset=kind, encoders=encoders, root=root, table=table, cache=Path(cache), ids=ids)


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def _absolute_if_there(name: str) -> str:
    return str(Path(name).expanduser().absolute()) if Path(name).expanduser().is_dir() else name
