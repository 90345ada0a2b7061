"""The content of a store: the kinds of feature with their arrays, the format version, and the fingerprint."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
"""The version of the on-disk format; a reader refuses any other."""

FLOATS = ("float16", "float32")
"""The dtypes in which features may be stored."""


@dataclass(frozen=True)
class ArraySchema:
    """One array of a kind of feature."""

    name: str
    dtype: str
    """A NumPy dtype, or `feature` for the dtype that the store was made with."""
    axis: Literal["sample", "region", "token"]
    """`sample`: (N, ...); `region`: (N, M, ...) padded with `fill`; `token`: (sum of n, ...) packed by `offsets`."""
    fill: float = 0

    def numpy_dtype(self, feature: str) -> np.dtype[Any]:
        """Return the little-endian dtype on disk, given the store's feature dtype."""
        import numpy as np  # the command line shows the kinds without it

        dtype: np.dtype[Any] = np.dtype(feature if self.dtype == "feature" else self.dtype).newbyteorder("<")
        return dtype


KINDS: dict[str, tuple[ArraySchema, ...]] = {
    "regions": (
        ArraySchema("regions", "feature", "region"),
        ArraySchema("boxes", "float32", "region"),
        ArraySchema("scores", "float32", "region"),
        ArraySchema("objects", "int32", "region", fill=-1),
        ArraySchema("object_scores", "float32", "region"),
        ArraySchema("attributes", "int32", "region", fill=-1),
        ArraySchema("attribute_scores", "float32", "region"),
    ),
    "tokens": (
        ArraySchema("tokens", "feature", "token"),
        ArraySchema("token_ids", "int32", "token"),
        ArraySchema("word_ids", "int32", "token"),
    ),
    "context": (ArraySchema("context", "feature", "sample"),),
    "scene": (ArraySchema("scene", "feature", "sample"),),
}
"""The arrays of each kind. `regions` adds `counts (N,)`, `tokens` adds `offsets (N + 1,)`; every shard has `ids`."""


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces, so that equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint_of(identity: dict[str, Any]) -> str:
    """Return the SHA-256 of a store's identity: encoder, weights, preprocessing and dtype, with the format version.

    Args:
        identity: `kind`, `name`, `weights`, `preprocessing`, `dims`, `dtype`. The file name of the weights (`file`)
            is informative only and not hashed: renaming a file changes no feature.
    """
    import hashlib

    weights = {key: value for key, value in identity["weights"].items() if key != "file"}
    return hashlib.sha256(canonical({**identity, "weights": weights, "format": FORMAT})).hexdigest()


def store_name(identity: dict[str, Any]) -> str:
    """Return the folder name of a store: kind, encoder and the first twelve digits of the fingerprint."""
    encoder = "".join(c if c.isalnum() or c in "-_." else "_" for c in str(identity["name"]))
    return f"{identity['kind']}-{encoder}-{fingerprint_of(identity)[:12]}"
