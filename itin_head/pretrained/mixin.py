"""`from_pretrained`, `save_pretrained` and `push_to_hub` of every head, through the mixin of the hub's client.

`ModelHubMixin`, not `PyTorchModelHubMixin`: the latter makes the class that it is called on out of its arguments, and
falls back to pickled weights. Here a folder says of which kind its head is, and only safetensors are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from huggingface_hub import ModelHubMixin

from ...disk import to_json
from ...targets import Target
from ..config import HeadConfig
from .fetch import CARD, LIMITS, folder_of

CARD_ALONE = """---
library_name: itin
---

# A head of itin

The head `{head}`. Nothing is recorded of what it was trained on.
"""


class Pretrained(ModelHubMixin):
    """What a head does with folders and the hub; `Head` derives from it."""

    config: HeadConfig
    targets: tuple[Target, ...] = ()
    """What the head has learnt, in the order of its outputs, where that is known: `outputs.predicted` reads it."""
    beside: Mapping[str, bytes] = MappingProxyType({})
    """The files that are saved beside the weights: configuration, card and more, as `itin export` wrote them."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Any) -> Any:
        """Return the head of a folder or of a model on the hub, of whichever kind it is, in evaluation mode on the CPU.

        Args:
            pretrained_model_name_or_path: a run, a folder that `itin export --to safetensors` or `save_pretrained`
                wrote, or a model's name on the hub.
            options: those of `fetch.folder_of`, such as `revision` and `token`.

        Raises:
            WeightsError: it is neither, or cannot be fetched.
            RunError: its files cannot be read or do not fit each other. They are not trusted: nothing is unpickled.
        """
        folder = folder_of(pretrained_model_name_or_path, **options)
        # By name: what makes heads of every kind imports them all, and each is one of us.
        head, record = import_module(".checkpoint", __package__).open_head(folder)
        if "exported" in record:
            small = (name for name in LIMITS if not name.endswith(".safetensors") and (folder / name).is_file())
            head.beside = {name: (folder / name).read_bytes() for name in small}
        return head

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the files into a folder, in place of those of the same name."""
        for name, data in {**self._own_files(), **self.beside, **self._weights()}.items():
            (save_directory / name).write_bytes(data)

    def _own_files(self) -> dict[str, bytes]:
        """Return what a head without a record is described by."""
        record = {
            "format": 1,
            "exported": 1,
            "head": self.config.to_dict(),
            "targets": [target.to_dict() for target in self.targets],
        }
        if (partner := getattr(self, "partner", None)) is not None:
            record["partner"] = partner.config.head
        vocabulary: Mapping[str, Any] | None = getattr(self, "vocabulary", None)
        files = {"config.json": to_json(record), CARD: CARD_ALONE.format(head=self.config.head).encode()}
        return files if vocabulary is None else {**files, "vocabulary.json": to_json({"format": 1, **vocabulary})}

    def _weights(self) -> dict[str, bytes]:
        from safetensors.torch import save

        state = {name: value.cpu().contiguous() for name, value in self.state_dict().items()}  # type: ignore[attr-defined]
        return {"model.safetensors": save(state, metadata={"itin_head": json.dumps(self.config.to_dict())})}
