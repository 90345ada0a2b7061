"""MMSA-FET's pickles: padded arrays by part (`train`, `valid`, `test`) with the ids of their rows, or one sample's.

Read in a child process and with the unpickler that admits arrays and plain containers only. The file is read whole.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ....tabular.pickled import load_arrays
from ...data.reading import BadFile
from ..naming import candidates, known
from ..record import Asked, Item, Raw
from .files import id_of, ids_from, texts_of

TEXT, VISION = "text", "vision"
"""What MMSA-FET calls features of texts and of images: `vision` is one vector a frame, or one a clip."""

IDS, MASK = 0, 1
"""Rows of its `text_bert`: token ids, and which of them are no filling."""


def listed(path: Path, asked: Asked) -> Iterator[Item]:
    """List the samples of a file."""
    try:
        content = load_arrays(path.read_bytes())
    except pickle.UnpicklingError as error:
        raise BadFile(f"is not read: {error} (write it with return_type='np')") from error
    if not isinstance(content, Mapping):
        raise BadFile(f"is a pickled {type(content).__name__}, expected named arrays")
    parts = [part for part in content.values() if isinstance(part, Mapping)] or [content]
    given = iter(ids_from(asked.ids)) if asked.ids is not None else None
    for part in parts:
        ids = next((part[name] for name in candidates("ids", asked) if name in part), None)
        if given is None and ids is None:
            yield Item(id_of(path), partial(_sample, id_of(path), part, asked, None), path.name)
            continue
        count = max((len(one) for one in part.values() if isinstance(one, np.ndarray) and one.ndim), default=0)
        own = texts_of("id", np.asarray(ids)) if given is None else [next(given, "") for _ in range(count)]
        for row, id in enumerate(own):
            yield Item(id, partial(_sample, id, part, asked, row))


def _sample(id: str, part: Mapping[Any, Any], asked: Asked, row: int | None) -> Raw:
    """Return the arrays of one row of a part, or of all of it, under our names; filling is cut off."""

    def of(name: str) -> Any:
        if name not in part:
            return None
        try:
            return part[name] if row is None else part[name][row]
        except (IndexError, TypeError, KeyError) as error:
            raise BadFile(f"holds {name} for fewer samples than ids") from error

    main = asked.map.get(asked.kind, TEXT if asked.kind == "tokens" else VISION)
    ids = candidates("ids", asked)
    arrays: dict[str, Any] = {str(name): of(name) for name in part if name in known(asked) and name not in ids}
    features, bert, length = of(main), of("text_bert"), of(f"{main}_lengths")
    if features is None:
        raise BadFile(f"has no {main}, only {', '.join(sorted(map(str, part)))}")
    arrays[main if asked.kind in asked.map else asked.kind] = features
    if asked.kind == "tokens" and main == TEXT and np.shape(bert) == (3, len(features)):
        arrays = {"token_ids": bert[IDS], "mask": bert[MASK], **arrays}
    if length is not None:
        arrays.setdefault("counts" if asked.kind == "regions" else "lengths", length)
    return Raw(id, arrays)
