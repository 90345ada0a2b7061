"""What people write with the little pictures: a good or a bad word for each thing they speak of."""

from __future__ import annotations

from random import Random

GLAD = ("happy", "lovely", "sweet")
SAD = ("sad", "awful", "poor")
WHO = ("anna", "old_tom", "photo_daily", "the_walker", "leo77", "nina")
TAGS = ("#photo", "#throwback", "#monday", "#friday", "#walk", "#nofilter", "#myweek", "#postcard")


def caption(said: list[tuple[str, bool]], rng: Random) -> str:
    """A caption that has a good (True) or a bad word for each of some objects, in any order.

    Args:
        said: the objects spoken of, and how.
        rng: decides the rest.
    """
    parts = [f"{rng.choice(GLAD if glad else SAD)} {kind}" for kind, glad in said]
    rng.shuffle(parts)
    text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1]
    if rng.random() < 0.1:
        text = f"RT @{rng.choice(WHO)}: {text}"
    for tag in rng.sample(TAGS, rng.choice((0, 0, 1))):
        text += f" {tag}"
    return text
