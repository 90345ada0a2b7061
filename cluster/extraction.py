"""`itin extract` in parts: part i of N takes the blocks of each store's plan whose number leaves i modulo N."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..cache import StoreWriter
from ..cache.manifest import NAME as MANIFEST
from ..cache.manifest import shard_sizes
from ..cache.plan import Plan
from ..cache.shard_reader import Shard
from ..cache.table import read_lines
from ..commands import extract as extract_command
from ..extract.config import ExtractConfig
from .contract import Missing, Prepared
from .submission import Submission

if TYPE_CHECKING:
    from ..extract.lane import Progress

OWN = ("part", "plan", "consolidate", "into")
"""Options that a submission sets itself."""


class Extraction:
    """Features of a data set, split by shards."""

    name = "extract"
    pieces = "features"

    def config(self, words: Sequence[str]) -> ExtractConfig:
        """The arguments of `itin extract` as a configuration whose paths mean the same from everywhere.

        Raises:
            ValueError: an option that a submission sets itself.
            click.UsageError: the arguments are wrong.
        """
        context = extract_command.command.make_context("extract", list(words))
        config = extract_command.config_from(context.params)
        for name in OWN:
            if getattr(config, name):
                raise ValueError(f"--{name} is set by the submission: leave it out")
        encoders = replace(
            config.encoders,
            text_encoder=_absolute_if_there(config.encoders.text_encoder),
            detector_weights=_absolute(config.encoders.detector_weights),
        )
        table = config.table
        if table is not None and not (config.root is not None and (config.root / table).exists()):
            table = table.expanduser().absolute()
        root = None if config.root is None else config.root.expanduser().absolute()
        return replace(config, encoders=encoders, root=root, table=table)

    def prepare(self, words: Sequence[str], progress: Progress | None = None) -> Prepared:
        """Scans the data set, loads the encoders on the CPU, and plans; what parts need is then in the cache."""
        from ..extract.run import extract

        config = self.config(words)
        config = replace(config, cache=Path(_cache(config)))
        summary = extract(replace(config, plan=True, device="cpu", part=None), progress)
        if config.root is None:
            config = replace(config, root=summary.dataset.root)
        return Prepared(
            folder=summary.folder,
            stores=tuple(store.path.name for store in summary.stores),
            words=tuple(to_words(replace(config, retry_quarantined=False))),
            limit=config.limit,
            note=summary.scan.encoding.note,
        )

    def part(self, submission: Submission) -> list[str]:
        """Arguments of itin for a part, whose `i/N` is to be put behind them."""
        return ["extract", *submission.words, "--into", ",".join(submission.stores), "--part"]

    def consolidate(self, submission: Submission) -> list[str]:
        """Arguments of itin for the manifests."""
        words = without(submission.words, "--device")
        return ["extract", *words, "--device", "cpu", "--into", ",".join(submission.stores), "--consolidate"]

    def missing(self, submission: Submission) -> Missing:
        """What the stores lack of the samples that the last scan found."""
        samples = read_lines(submission.home / "samples.jsonl")[: submission.limit]
        parts: Counter[int] = Counter()
        quarantined = 0
        for name in submission.stores:
            identity = Plan.read(submission.home / name).identity
            writer = StoreWriter(submission.home, identity)
            digest = "text_sha256" if writer.kind == "tokens" else "image_sha256"
            found = writer.plan.find([row["id"] for row in samples], [row[digest] for row in samples])
            rows = [row for row in found if row >= 0]
            quarantined += len(set(rows) & set(writer.quarantined()))
            for piece in writer.missing(rows):
                parts[piece.block % submission.parts] += len(piece.rows)
            for position in np.flatnonzero(np.array(found) < 0).tolist():  # no plan names it: any part will plan it
                parts[position % submission.parts] += 1
        return Missing(dict(sorted(parts.items())), len(samples) * len(submission.stores), quarantined)

    def made_since(self, submission: Submission, begin: float) -> int:
        """Features in shards that are no older."""
        made = 0
        for name in submission.stores:
            folder = submission.home / name
            fingerprint = Plan.read(folder).fingerprint
            for file in shard_sizes(folder):
                if (folder / file).stat().st_mtime >= begin:
                    made += len(Shard(folder / file, fingerprint))
        return made

    def consolidated(self, submission: Submission) -> bool:
        """Whether each store has its manifest."""
        return all((submission.home / name / MANIFEST).exists() for name in submission.stores)


def to_words(config: ExtractConfig) -> list[str]:
    """A configuration as arguments of `itin extract`: those that differ from the defaults."""
    default = ExtractConfig(config.dataset)
    given = {**asdict(config), **asdict(config.encoders)}
    usual = {**asdict(default), **asdict(default.encoders)}
    words = ["--dataset", config.dataset]
    for name, value in given.items():
        if name in ("dataset", "encoders", *OWN) or value == usual[name]:
            continue
        words.append("--" + name.replace("_", "-"))
        if name == "columns":
            words.append(",".join(f"{column}={there}" for column, there in value.items()))
        elif name == "only":
            words.append(",".join(value))
        elif value is not True:
            words.append(str(value))
    return words


def without(words: Sequence[str], option: str) -> list[str]:
    """Arguments without one option and its value."""
    if option not in words:
        return list(words)
    at = list(words).index(option)
    return [*words[:at], *words[at + 2 :]]


def _cache(config: ExtractConfig) -> str:
    from ..paths import cache_root

    return os.path.abspath(cache_root(config.cache))  # noqa: PTH100  (resolve() would follow links of a site's own)


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def _absolute_if_there(name: str) -> str:
    return str(Path(name).expanduser().absolute()) if Path(name).expanduser().is_dir() else name
