"""A small cache with all three kinds of features, and `itin cache` on it."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from itin.cache import Store, StoreWriter, open_store, write_table
from itin.cli import main

from . import features

OPTIONS = {"regions": "grid", "random_init": 0, "max_regions": 36, "text_encoder": "bert-base-uncased"}


def itin_cache(*arguments: object, code: int = 0, answer: str | None = None) -> str:
    """Runs `itin cache ...` and returns all that it printed."""
    result = CliRunner().invoke(main, ["cache", *map(str, arguments)], input=answer)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def fill(
    parent: Path, kind: str, rows: list[tuple[str, str]], size: int = 4, seed: int = 0, **identity: object
) -> Store:
    """A store that holds the given rows, each with the features of its number in its id."""
    writer = StoreWriter(parent, features.identity(kind, **identity))  # type: ignore[arg-type]
    numbers = writer.extend(rows, size)
    for piece in writer.missing(numbers):
        made = {row: int(writer.plan.rows[row][0].removeprefix("id-")) for row in piece.rows}
        samples = {row: writer.stored(features.sample(kind, number + seed)) for row, number in made.items()}
        writer.commit(piece.block, samples)
    writer.finish({"options": OPTIONS, "created": "2030-01-01T00:00:00Z"})
    return open_store(writer.folder)


def make_pairs(folder: Path) -> Path:
    """A cache in a folder with one data set `pairs` of 10 samples and its three stores."""
    pairs = folder / "cache" / "pairs"
    source = {"kind": "mvsa-single", "root": str(folder / "my data"), "table": None}
    samples = [{"id": f"id-{i}", "label": "neutral", "image_sha256": f"{i:064x}"} for i in range(10)]
    write_table(pairs, {"name": "pairs", "source": source}, samples, [])
    for kind in ("regions", "tokens", "context"):
        fill(pairs, kind, features.rows(10))
    return pairs.parent


def store_of(cache: Path, kind: str) -> Store:
    (path,) = (cache / "pairs").glob(f"{kind}-*")
    return open_store(path)
