"""A small data set that changes, its caches, and what is known of every input without asking the cache.

The encoders have no weights: the colour of pictures of one colour, and of each word its length and its first letter.
So the features of an input are a few whole numbers, and are written down here by themselves.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

NAME = "pairs"
"""The data set's name, and that of its folder in a cache."""

SHARD_SIZE = 3

MODULE = "states_encoders"
ENCODERS = '''
from pathlib import Path

import numpy as np
from itin.extract.encoders.contract import EncoderSpec

POISON = Path(__file__).with_name("poison.txt")


def unit(key):
    """Not a number, which no store takes, for an input that is poisoned now."""
    return np.nan if key in POISON.read_text().splitlines() else 1


class Letters:
    factor = 1

    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = 2
        self.spec = EncoderSpec("tokens", f"letters {self.factor}", {}, {}, {"feature": 3})

    def words(self, text):
        return text.split()

    def encode(self, texts):
        return [self.one(self.words(text), unit(text)) for text in texts]

    def one(self, words, unit):
        places = np.arange(len(words), dtype=np.int32)
        values = [[len(word) * self.factor, ord(word[0]), unit] for word in words]
        return {"tokens": np.array(values, np.float32), "token_ids": places, "word_ids": places}


class Colour:
    factor = 1

    def __init__(self, config, device, *, batch_size=None):
        self.batch_size = 2
        self.spec = EncoderSpec("context", f"colour {self.factor}", {}, {}, {"feature": 4})

    def prepare(self, image):
        return image.reshape(-1, 3).mean(0)

    def encode(self, prepared):
        return [self.one(colour, unit(",".join(str(int(value)) for value in colour))) for colour in prepared]

    def one(self, colour, unit):
        return {"context": np.array([*(colour * self.factor), unit], np.float32)}


class LettersTwo(Letters):
    factor = 2


class ColourTwo(Colour):
    factor = 2
'''

Key = tuple[str, str]
"""A sample's id and the SHA-256 of its input."""

Colours = tuple[int, int, int]


@dataclass
class Pair:
    """One row of the table."""

    text: str
    colour: Colours
    state: str = "sound"
    """Of the image: `sound`; `cut`, which only decoding shows; `junk`, which is no image at all."""

    @property
    def image(self) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (4, 4), self.colour).save(buffer, "PNG")
        data = buffer.getvalue()
        return data[: data.index(b"IDAT") + 8] if self.state == "cut" else b"junk" if self.state == "junk" else data

    @property
    def poisons(self) -> tuple[str, str]:
        """How the encoders know it."""
        return self.text, ",".join(map(str, self.colour))


def tokens(text: str, factor: int) -> bytes:
    """The stored bytes of a text."""
    return np.array([[len(word) * factor, ord(word[0]), 1] for word in text.split()], np.float16).tobytes()


def context(colour: Colours, factor: int) -> bytes:
    """The stored bytes of an image."""
    return np.array([*(value * factor for value in colour), 1], np.float16).tobytes()


@dataclass
class World:
    """A data set and its caches in one folder."""

    root: Path
    here: Path
    """The folder with the encoders: the current one of all commands."""
    pairs: dict[str, Pair] = field(default_factory=dict)
    ever: dict[str, dict[Key, Pair]] = field(default_factory=lambda: {"tokens": {}, "context": {}})
    """By kind every input that there has ever been, and what it was."""
    poisoned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        (self.root / "data").mkdir(parents=True)
        self.write()

    @property
    def main(self) -> Path:
        """The cache."""
        return self.root / "main"

    @property
    def away(self) -> Path:
        """The cache on another machine."""
        return self.root / "away"

    def write(self) -> None:
        """Write the table, the images that have changed, and what is poisoned."""
        text = io.StringIO(newline="")
        table = csv.writer(text)
        table.writerow(["id", "image", "text", "label"])
        for number, (id, pair) in enumerate(self.pairs.items()):
            table.writerow([id, f"{id}.png", pair.text, ("positive", "neutral", "negative")[number % 3]])
            path = self.root / "data" / f"{id}.png"
            if not path.exists() or path.read_bytes() != pair.image:
                path.write_bytes(pair.image)
            self.ever["tokens"][id, sha256(pair.text.encode())] = Pair(**vars(pair))
            self.ever["context"][id, sha256(pair.image)] = Pair(**vars(pair))
        (self.root / "data" / "table.csv").write_text(text.getvalue(), encoding="utf-8")
        (self.here / "poison.txt").write_text("\n".join(sorted(self.poisoned)) + "\n")

    def extract(self, cache: Path, factor: int, *more: object) -> list[object]:
        """The command that makes what a cache lacks."""
        two = "Two" if factor == 2 else ""
        words = ["--text-encoder", f"{MODULE}:Letters{two}", "--context-encoder", f"{MODULE}:Colour{two}"]
        place = ["--root", self.root / "data", "--name", NAME, "--cache", cache, "--only", "tokens,context"]
        size = ["--shard-size", SHARD_SIZE, "--workers", 1, "--device", "cpu"]
        return ["extract", "--dataset", "folder", *place, *words, *size, *more]

    def wanted(self, kind: str) -> set[Key]:
        """The keys of all pairs as they are today."""
        pairs = {id: pair for id, pair in self.pairs.items() if pair.state != "junk"}
        return {(id, sha256(pair.text.encode() if kind == "tokens" else pair.image)) for id, pair in pairs.items()}

    def refused(self, kind: str) -> set[Key]:
        """Those of them that cannot be encoded as things are now."""
        poison = (lambda pair: pair.poisons[0]) if kind == "tokens" else (lambda pair: pair.poisons[1])
        cut = {key for key, pair in self.ever[kind].items() if pair.state == "cut" and kind == "context"}
        return self.wanted(kind) & (
            cut | {key for key, pair in self.ever[kind].items() if poison(pair) in self.poisoned}
        )

    def expected(self, store: Path, key: Key) -> bytes | None:
        """The bytes that a store must hold for a key; None where it can hold none."""
        kind, _, name = store.name.partition("-")
        pair = self.ever[kind].get(key)
        factor = 2 if "Two-" in store.name or name.startswith("imported2") else 1
        if pair is None or (kind == "context" and pair.state != "sound"):
            return None
        return tokens(pair.text, factor) if kind == "tokens" else context(pair.colour, factor)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def stores_in(cache: Path) -> list[Path]:
    """The folders of stores, whatever is in them."""
    return sorted(path for path in (cache / NAME).glob("*-*") if path.is_dir())


def rows_of(shard: Path) -> list[tuple[Key, bytes]]:
    """What a shard holds, read by h5py alone."""
    return _rows(shard.read_bytes())


@functools.lru_cache(2048)
def _rows(data: bytes) -> list[tuple[Key, bytes]]:
    with h5py.File(io.BytesIO(data), "r") as file:
        ids, digests = (file[name].asstr()[:] for name in ("ids", "sha256"))
        if "context" in file:
            values = list(file["context"][:])
        else:
            ends, every = file["offsets"][:], file["tokens"][:]
            values = [every[begin:end] for begin, end in itertools.pairwise(ends)]
        return [((id, digest), value.tobytes()) for id, digest, value in zip(ids, digests, values, strict=True)]
