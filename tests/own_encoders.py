"""Modules with encoders of a user's own, for tests."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from itin.extract.encoders import own

PAGE = Path(__file__).resolve().parents[1] / "docs" / "encoders.md"

CONTEXT = '''
import numpy as np
from itin.extract.encoders.contract import EncoderSpec

class Mean:
    """Context: the mean colour."""
    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = batch_size or 4
        self.spec = EncoderSpec("context", "mean", {}, {"space": "RGB"}, {"feature": 3})
    def prepare(self, image):
        return image
    def encode(self, prepared):
        return [{"context": image.reshape(-1, 3).mean(0)} for image in prepared]
'''
"""The source of an encoder of context features that is right."""


def example() -> str:
    """The complete example of docs/encoders.md."""
    found = re.search(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert found is not None
    return found.group(1)


def forget(folder: Path) -> None:
    """Forget what was imported from a folder, as a new process would."""
    for name, module in sys.modules.copy().items():
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
    own._installed.cache_clear()
    own._sha256.cache_clear()


@contextmanager
def current_folder(folder: Path) -> Iterator[Path]:
    """Make a folder the current one, and undo all that imports from it have left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [one for one in sys.path if one])
        patch.setattr(sys, "dont_write_bytecode", True)
        forget(folder)
        yield folder
        forget(folder)
