"""The scene: a second context of an image, of another encoder than the first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .contract import Arrays, ImageEncoder


class SceneEncoder:
    """A context encoder whose vectors are kept as the scene: all that decides their numbers is its own but the kind.

    Args:
        context: the context encoder.
    """

    def __init__(self, context: ImageEncoder) -> None:
        self._context = context
        self.spec = replace(context.spec, kind="scene")
        self.batch_size = context.batch_size
        self.trunk = getattr(context, "trunk", context)  # encoders of one model share its forward pass

    def prepare(self, image: np.ndarray) -> Any:
        """Return the prepared input of one decoded image."""
        return self._context.prepare(image)

    def encode(self, prepared: list[Any]) -> list[Arrays]:
        """Return `scene (D,)` of each prepared image."""
        return [{"scene": one["context"]} for one in self._context.encode(prepared)]
