"""The demo's data set: pictures and captions whose label takes both, in MVSA-Single's own layout.

Each picture shows one object in one of three settings. Its caption speaks of that object, and mostly of one or two
others that are not there, with a good or a bad word for each. The label is how the caption speaks of what the picture
shows, in its setting (`MOODS`). As soon as others are spoken of, the words alone say nothing, for a good word is as
likely to be for one of them; the picture alone leaves two labels, equally likely; so only who finds the words for what
is in the picture can do better.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

from .captions import caption
from .objects import OBJECTS
from .pen import FINE, SIZE, Pen
from .settings import HORIZON, SETTINGS

MOODS = {
    ("cheerful", True): "positive",
    ("cheerful", False): "neutral",
    ("everyday", True): "positive",
    ("everyday", False): "negative",
    ("gloomy", True): "neutral",
    ("gloomy", False): "negative",
}
"""(setting, whether the caption speaks well of the object shown) -> label."""

VOTES = {
    "positive": (("positive", "positive"), ("positive", "neutral"), ("neutral", "positive")),
    "neutral": (("neutral", "neutral"),),
    "negative": (("negative", "negative"), ("negative", "neutral"), ("neutral", "negative")),
}
"""Label -> the (text label, image label) that MVSA's rule turns into it."""

CONFLICTS = (("positive", "negative"), ("negative", "positive"))
"""Pairs of labels that MVSA's rule drops."""

HEADER = "ID\ttext,image"


@dataclass(frozen=True)
class Pair:
    """One picture with its caption."""

    id: str
    setting: str
    """One of `SETTINGS`."""
    shown: str
    """The object in the picture, one of `OBJECTS`."""
    caption: str
    others: int
    """How many objects the caption speaks of that are not in the picture, 0 to 2."""
    votes: tuple[str, str]
    """Text label and image label."""
    label: str | None
    """What MVSA's rule makes of them; None: it drops the pair."""
    damage: str | None = None
    """`truncated image` or `empty text`, for the pairs that cannot be used."""


def plan(pairs: int, seed: int) -> list[Pair]:
    """The data set before it is drawn.

    Args:
        pairs: usable pairs. There are four more: two that the label rule drops, two that are damaged.
        seed: the same seed gives the same data set, to the byte.
    """
    if pairs < 1:
        raise ValueError(f"pairs: expected at least 1, got {pairs}")
    rng = Random(seed)
    everything = list(product(OBJECTS, MOODS))
    order: list[tuple[str, tuple[str, bool]]] = []
    while len(order) < pairs + 4:  # whole rounds of all there is, so that nothing is more frequent than the rest
        order += rng.sample(everything, len(everything))
    special = [None] * pairs + ["conflict", "conflict", "truncated image", "empty text"]
    made = []
    for number, fate in enumerate(rng.sample(special, len(special))):
        shown, (setting, glad) = order[number]
        label = None if fate == "conflict" else MOODS[setting, glad]
        said = [(shown, glad)]
        others = rng.sample([kind for kind in OBJECTS if kind != shown], rng.choice((0, 1, 2)))
        said += zip(others, (not glad, rng.random() < 0.5), strict=False)
        made.append(
            Pair(
                id=str(number + 1),
                setting=setting,
                shown=shown,
                caption=caption(said, rng),
                others=len(others),
                votes=rng.choice(VOTES[label] if label else CONFLICTS),
                label=label,
                damage=None if fate == "conflict" else fate,
            )
        )
    return made


def picture(pair: Pair, rng: Random) -> Image.Image:
    """Draws a pair's picture; which scene it is, and where the object stands, is left to `rng`."""
    image = Image.new("RGB", (SIZE[0] * FINE, SIZE[1] * FINE))
    draw = ImageDraw.Draw(image)
    rng.choice(SETTINGS[pair.setting])(Pen(draw, 0, SIZE[1], 1), rng)
    x, y = rng.uniform(0.25, 0.75) * SIZE[0], SIZE[1] - rng.uniform(14, HORIZON - 40)
    OBJECTS[pair.shown](Pen(draw, x, y, rng.uniform(52, 62)))
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def draw(root: Path, pairs: int, seed: int) -> list[Pair]:
    """Writes the data set: `root/labelResultAll.txt`, and `root/data` with a picture and a text for each pair."""
    made = plan(pairs, seed)
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    for pair in made:
        file = io.BytesIO()
        picture(pair, Random(f"{seed}/{pair.id}")).save(file, "JPEG", quality=90)
        jpeg = file.getvalue()
        if pair.damage == "truncated image":
            jpeg = jpeg[: len(jpeg) // 2]
        text = "" if pair.damage == "empty text" else pair.caption
        (data / f"{pair.id}.jpg").write_bytes(jpeg)
        (data / f"{pair.id}.txt").write_bytes(f"{text}\n".encode("gb18030"))
    lines = [HEADER, *(f"{pair.id}\t{','.join(pair.votes)}" for pair in made)]
    (root / "labelResultAll.txt").write_bytes("".join(f"{line}\r\n" for line in lines).encode())
    return made
