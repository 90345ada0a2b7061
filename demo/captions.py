"""The captions of the demo's pictures: a good or a bad word for each object mentioned."""

from __future__ import annotations

from random import Random

GLAD = ("happy", "lovely", "sweet")
SAD = ("sad", "awful", "poor")
WHO = ("anna", "old_tom", "photo_daily", "the_walker", "leo77", "nina")
TAGS = ("#photo", "#throwback", "#monday", "#friday", "#walk", "#nofilter", "#myweek", "#postcard")


def caption(mentions: list[tuple[str, bool]], rng: Random) -> str:
    """Return a caption with a good (True) or a bad word for each mentioned object, in random order.

    Args:
        mentions: the objects mentioned, and whether the word is good.
        rng: the source of randomness for the rest.
    """
    parts = [f"{rng.choice(GLAD if glad else SAD)} {kind}" for kind, glad in mentions]
    rng.shuffle(parts)
    text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    if rng.random() < 0.1:
        text = f"RT @{rng.choice(WHO)}: {text}"
    for tag in rng.sample(TAGS, rng.choice((0, 0, 1))):
        text += f" {tag}"
    return text
