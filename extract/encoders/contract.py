"""The contract of stage one's encoders: a specification of all that decides the numbers, and a batch function."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch

Kind = Literal["regions", "tokens", "context", "scene"]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides the numbers of one kind of feature; two equal specifications give equal features."""

    kind: Kind
    """Kind of feature: `regions`, `tokens` or `context`; `scene` of a context encoder that is asked for the scene."""
    name: str
    """The name that selects the encoder, for example `vg-frcnn`."""
    weights: dict[str, Any]
    """Origin of the weights: `{"file", "sha256"}`, or `{"random_init": seed, "sha256"}` for untrained ones."""
    preprocessing: dict[str, Any]
    """Everything else that changes a number: input sizes, selection, limits, tokenizer, compute dtype."""
    dims: dict[str, int] = field(default_factory=dict)
    """Sizes that a reader needs before it opens a shard, for example `{"feature": 2048}`."""

    @property
    def untrained(self) -> bool:
        """Whether the weights are random."""
        return "random_init" in self.weights

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, in their order."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


class ImageEncoder(Protocol):
    """An encoder of images into regions or context.

    A class that `build.ENCODERS` names is called as `Class(config: EncoderConfig, device: torch.device, *, batch_size:
    int | None)`, with its own name in the configuration, and its static method `needs(config) ->
    weights.WeightsRequirement` returns the weights that this takes. A user's own class, named as `module:Class` or by
    an entry point, is called in the same way. It may do without `needs` and the arrays in `checked.UNKNOWN`, and goes
    by the name that selects it: see docs/encoders.md.

    `prepare` runs in worker threads on one decoded image, (H, W, 3) uint8 RGB, and must neither touch the device nor
    shared state. `encode` runs on the device and returns a dict of float32 or integer arrays for each image, in order:

    - regions: `regions (k, D)`, `boxes (k, 4)` as x1, y1, x2, y2 in pixels of the original image, `scores (k,)`,
      `objects (k,)` and `attributes (k,)` int32 with -1 for unknown, `object_scores (k,)`, `attribute_scores (k,)`;
      rows by descending score, ties by proposal (or cell) index, k at most `max_regions`.
    - context: `context (D,)`.

    One that gains by more inputs at once, which it sorts into batches itself, says in `batches_at_once` how many
    batches it is given, of no more than a shard.
    """

    spec: EncoderSpec
    batch_size: int

    def prepare(self, image: np.ndarray) -> Any:
        """Return the prepared input of one decoded image."""
        ...

    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Return a dict of arrays for each prepared input, in order."""
        ...


class TextEncoder(Protocol):
    """An encoder of texts: `tokens (n, D)` float32, `token_ids (n,)`, `word_ids (n,)` int32 (-1: special token).

    Its class is called as that of an `ImageEncoder`; one that `build.ENCODERS` names with `tokenizer_file: Path | None`
    besides.
    """

    spec: EncoderSpec
    batch_size: int

    def encode(self, texts: list[str]) -> list[Arrays]:
        """Return a dict of arrays for each text, in order."""
        ...

    def words(self, text: str) -> list[str]:
        """Return the words of a text, which `word_ids` index."""
        ...


def state_sha256(module: torch.nn.Module) -> str:
    """Return the SHA-256 of the names, dtypes, shapes and bytes of a module's state, in sorted order."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
        digest.update(array.view(torch.uint8).numpy().data if array.dim() else array.numpy().tobytes())
    return digest.hexdigest()
