"""The demo's data set: pictures and captions whose label depends on both, in MVSA-Single's own layout.

Each picture shows one object in one of three settings. Its caption mentions that object, and mostly one or two others
that are not in the picture, with a good or a bad word for each. The label follows from the word for the object shown
and from the setting (`MOODS`). Once other objects are mentioned, the words alone carry no information, since a good
word is as likely to be for one of them; the picture alone leaves two equally likely labels; so only a model that finds
the word for the object in the picture can do better.
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
from .pen import OVERSAMPLING, SIZE, Pen
from .settings import HORIZON, SETTINGS

MOODS = {
    ("cheerful", True): "positive",
    ("cheerful", False): "neutral",
    ("everyday", True): "positive",
    ("everyday", False): "negative",
    ("gloomy", True): "neutral",
    ("gloomy", False): "negative",
}
"""The label for each setting and whether the caption has a good word for the object shown."""

VOTES = {
    "positive": (("positive", "positive"), ("positive", "neutral"), ("neutral", "positive")),
    "neutral": (("neutral", "neutral"),),
    "negative": (("negative", "negative"), ("negative", "neutral"), ("neutral", "negative")),
}
"""For each label the pairs of (text label, image label) from which MVSA's rule makes it."""

CONFLICTS = (("positive", "negative"), ("negative", "positive"))
"""The pairs of labels that MVSA's rule drops."""

HEADER = "ID\ttext,image"


@dataclass(frozen=True)
class DemoPair:
    """One picture with its caption."""

    id: str
    setting: str
    """The setting, one of `SETTINGS`."""
    subject: str
    """The object in the picture, one of `OBJECTS`."""
    caption: str
    others: int
    """The number of objects in the caption that are not in the picture, 0 to 2."""
    votes: tuple[str, str]
    """The text label and the image label."""
    label: str | None
    """The label by MVSA's rule; None if it gives the pair none."""
    damage: str | None = None
    """The damage of an unusable pair, `truncated image` or `empty text`; else None."""


def plan(pairs: int, seed: int) -> list[DemoPair]:
    """Plan the data set before it is drawn.

    Args:
        pairs: number of usable pairs with a label. There are four more: two that the label rule gives none and two
            that are damaged.
        seed: the same seed gives the same data set, to the byte.
    """
    if pairs < 1:
        raise ValueError(f"pairs: expected at least 1, got {pairs}")
    rng = Random(seed)
    everything = list(product(OBJECTS, MOODS))
    order: list[tuple[str, tuple[str, bool]]] = []
    while len(order) < pairs + 4:  # whole rounds, so that all combinations are equally frequent
        order += rng.sample(everything, len(everything))
    special = [None] * pairs + ["conflict", "conflict", "truncated image", "empty text"]
    made = []
    for number, fate in enumerate(rng.sample(special, len(special))):
        subject, (setting, glad) = order[number]
        label = None if fate == "conflict" else MOODS[setting, glad]
        mentions = [(subject, glad)]
        others = rng.sample([kind for kind in OBJECTS if kind != subject], rng.choice((0, 1, 2)))
        mentions += zip(others, (not glad, rng.random() < 0.5), strict=False)
        made.append(
            DemoPair(
                id=str(number + 1),
                setting=setting,
                subject=subject,
                caption=caption(mentions, rng),
                others=len(others),
                votes=rng.choice(VOTES[label] if label else CONFLICTS),
                label=label,
                damage=None if fate == "conflict" else fate,
            )
        )
    return made


def picture(pair: DemoPair, rng: Random) -> Image.Image:
    """Draw a pair's picture; `rng` chooses the scene and the position of the object."""
    image = Image.new("RGB", (SIZE[0] * OVERSAMPLING, SIZE[1] * OVERSAMPLING))
    draw = ImageDraw.Draw(image)
    rng.choice(SETTINGS[pair.setting])(Pen(draw, 0, SIZE[1], 1), rng)
    x, y = rng.uniform(0.25, 0.75) * SIZE[0], SIZE[1] - rng.uniform(14, HORIZON - 40)
    OBJECTS[pair.subject](Pen(draw, x, y, rng.uniform(52, 62)))
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def draw(root: Path, pairs: int, seed: int) -> list[DemoPair]:
    """Write the data set: `root/labelResultAll.txt`, and `root/data` with a picture and a text for each pair."""
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
