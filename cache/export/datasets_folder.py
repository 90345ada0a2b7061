"""A folder of the `datasets` library: a row a sample, with the image's path, the text, the label and the features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import CacheError
from ...lazy import optional
from ..format.sealed_json import digest_of
from .columns import tables
from .pieces import Export


def dataset(what: Export, folder: Path) -> None:
    """Write a folder for `datasets.load_from_disk`."""
    datasets = optional("datasets", "a folder of the datasets library needs datasets", "itin[features]", CacheError)
    pyarrow = optional("pyarrow", "a folder of the datasets library needs pyarrow", "itin[features]", CacheError)
    rows = what.table()
    labels = [row["label"] if isinstance(row.get("label"), str) else None for row in rows.values()]
    classes = _classes(what, labels)
    raw = folder.with_name(f"{folder.name}.arrow")  # a data set is not saved where it is read from
    writer, features = None, datasets.Features()
    try:
        for table in tables(what):
            known = [rows[id] for id in table["id"].to_pylist()]
            for place, name in enumerate(("image", "text")):
                texts = [None if row.get(name) is None else str(row[name]) for row in known]
                table = table.add_column(1 + place, name, pyarrow.array(texts, pyarrow.string()))
            numbers = [classes.index(row["label"]) if isinstance(row.get("label"), str) else None for row in known]
            table = table.add_column(3, "label", pyarrow.array(numbers, pyarrow.int64()))
            if writer is None:
                features = datasets.Features.from_arrow_schema(table.schema)
                if classes:
                    features["label"] = datasets.ClassLabel(names=classes)
                writer = pyarrow.ipc.new_stream(str(raw), features.arrow_schema)
            writer.write_table(table.cast(features.arrow_schema))
        if writer is not None:
            writer.close()
            writer = None
        made = datasets.Dataset.from_file(str(raw))
        # The library's own fingerprint is of the temporary name: the same export would give other bytes each time.
        made = datasets.Dataset(made.data, info=made.info, fingerprint=digest_of(raw)[:16])
        made.info.description = f"{what.store.path.name}, exported by itin; fingerprint {what.store.fingerprint}"
        _silently(datasets, made.save_to_disk, str(folder))
        del made
    finally:
        if writer is not None:
            writer.close()
        raw.unlink(missing_ok=True)


def _classes(what: Export, labels: list[str | None]) -> list[str]:
    """Return the names of the classes, in the data set's order where it has one."""
    from ..table import read_table

    there = {label for label in labels if label is not None}
    listed = [str(one) for one in read_table(what.store.path.parent).dataset.get("classes") or []]
    return listed if there and there <= set(listed) else sorted(there)


def _silently(datasets: Any, work: Any, *arguments: Any) -> None:
    shown = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        work(*arguments)
    finally:
        if shown:
            datasets.enable_progress_bars()
