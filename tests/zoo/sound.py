"""What every animal of the zoo is bred from: a small sound data set, its two stores, a run and a sweep.

The encoders have no weights and count letters and colours, so that stores are the same bytes on every machine.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from itin.cache import open_store

from ..conftest import draw

PAIRS = 24
DATA = "mvsa-single"
ENCODERS = '''
import numpy as np
from itin.extract.encoders.contract import EncoderSpec


class Letters:
    """Tokens: of each word its length and its first letter; the text of number 5 cannot be encoded."""

    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = 8
        self.spec = EncoderSpec("tokens", "letters", {}, {"step": 1}, {"feature": 3})

    def words(self, text):
        return text.split()

    def encode(self, texts):
        return [self.one(self.words(text), np.nan if "number 5 " in text else 1) for text in texts]

    def one(self, words, unit):
        places = np.arange(len(words), dtype=np.int32)
        return {
            "tokens": np.array([[len(word) / 8, ord(word[0]) / 128, unit] for word in words], np.float32),
            "token_ids": places,
            "word_ids": places,
        }


class Colour:
    """Context: the mean colour."""

    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = 8
        self.spec = EncoderSpec("context", "colour", {}, {"step": 1}, {"feature": 3})

    def prepare(self, image):
        return image.reshape(-1, 3).mean(0) / 256

    def encode(self, prepared):
        return [{"context": one.astype(np.float32)} for one in prepared]
'''
HEAD = ("--head", "text-only", "--d", 4, "--k", 4, "--hidden", 4, "--epochs", 1, "--batch-size", 8, "--device", "cpu")

Features = dict[str, tuple[str, np.ndarray]]
"""Of each sample id the digest of its input and its values."""


@dataclass(frozen=True)
class World:
    """One data set with its cache, at some place."""

    root: Path
    data: Path
    """The pairs, which are never damaged."""
    store: str = ""
    """The name of the store of tokens."""

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def folder(self) -> Path:
        """The data set's folder in the cache."""
        return self.cache / DATA

    @property
    def tokens(self) -> Path:
        """The store of tokens that the damage is done to."""
        return self.folder / self.store

    @property
    def extract(self) -> tuple[object, ...]:
        """The command that makes what the cache lacks."""
        encoders = ("--text-encoder", "zoo_encoders:Letters", "--context-encoder", "zoo_encoders:Colour")
        place = ("--root", self.data, "--cache", self.cache)
        return ("extract", "--dataset", DATA, *place, "--only", "tokens,context", *encoders, "--shard-size", 8)

    @property
    def train(self) -> tuple[object, ...]:
        return ("train", "--cache", self.cache, *HEAD, "--out", self.root / "new-run")

    def copy(self, root: Path) -> World:
        shutil.copytree(self.root, root, symlinks=True)
        return World(root, self.data, self.store)


def prepare(folder: Path) -> World:
    """Draw the pairs, and write the encoders where the commands must run: `folder / "here"`."""
    draw(folder / "data", PAIRS)
    (folder / "here" / "zoo_encoders.py").write_text(ENCODERS)
    (folder / "sound").mkdir()
    return World(folder / "sound", folder / "data")


def values(store: Path) -> Features:
    """Every row of a store, token by token or as one vector.

    Raises:
        CacheError: it cannot be read.
    """
    opened = open_store(store)
    arrays = [one[opened.kind] for one in opened.samples(np.arange(len(opened)))]
    return dict(zip(opened.ids, zip(opened.sha256, arrays, strict=True), strict=True))


def equal(one: tuple[str, np.ndarray], other: tuple[str, np.ndarray]) -> bool:
    return one[0] == other[0] and np.array_equal(one[1], other[1])
