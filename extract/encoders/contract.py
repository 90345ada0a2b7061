"""What every encoder of stage one is: a specification that names its numbers, and a function from a batch to arrays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

Kind = Literal["regions", "tokens", "context"]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides the numbers of one kind of feature; two equal specifications give equal features."""

    kind: Kind
    """What is encoded: `regions`, `tokens` or `context`."""
    name: str
    """The name that selects the encoder, for example `vg-frcnn`."""
    weights: dict[str, Any]
    """Where the weights come from: `{"file", "sha256"}`, or `{"random_init": seed, "sha256"}` for untrained ones."""
    preprocessing: dict[str, Any]
    """Whatever else changes a number: input sizes, selection, limits, tokenizer, compute dtype."""
    dims: dict[str, int] = field(default_factory=dict)
    """Sizes that a reader wants to know before it opens a shard, for example `{"feature": 2048}`."""

    @property
    def untrained(self) -> bool:
        """True when the weights are random."""
        return "random_init" in self.weights

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, in the order of the fields."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


class ImageEncoder(Protocol):
    """Turns images into regions or context.

    One that `build.ENCODERS` names is made by `Class(config: EncoderConfig, device: torch.device, *, batch_size: int |
    None)`, with its own name in the configuration, and its static method `needs(config) -> weights.Needed` says which
    weights that takes.

    `prepare` runs in worker threads on one decoded image, (H, W, 3) uint8 RGB, and must neither touch the device nor
    shared state. `encode` runs on the device and returns one dict of float32 or integer arrays an image, in order:

    - regions: `regions (k, D)`, `boxes (k, 4)` as x1, y1, x2, y2 in pixels of the original image, `scores (k,)`,
      `objects (k,)` and `attributes (k,)` int32 with -1 for unknown, `object_scores (k,)`, `attribute_scores (k,)`;
      rows by descending score, ties by proposal (or cell) index, k at most `max_regions`.
    - context: `context (D,)`.
    """

    spec: EncoderSpec
    batch_size: int

    def prepare(self, image: np.ndarray) -> Any:
        """One decoded image -> one prepared input."""
        ...

    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Prepared inputs -> one dict of arrays each."""
        ...


class TextEncoder(Protocol):
    """Turns texts into tokens: `tokens (n, D)` float32, `token_ids (n,)`, `word_ids (n,)` int32 (-1: special token).

    Made as an `ImageEncoder` is, with `tokenizer_file: Path | None` besides.
    """

    spec: EncoderSpec
    batch_size: int

    def encode(self, texts: list[str]) -> list[Arrays]:
        """Texts -> one dict of arrays each, in order."""
        ...

    def words(self, text: str) -> list[str]:
        """The words of a text that `word_ids` count, in order."""
        ...


def state_sha256(module: torch.nn.Module) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of a module's state, in sorted order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.view(torch.uint8).numpy().data if array.dim() else array.numpy().tobytes())
    return digest.hexdigest()
