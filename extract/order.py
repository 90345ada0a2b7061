"""In which order samples are encoded: block by block, so that few shards are under way at any time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from .lane import Lane

Block = tuple[Lane, int]
"""A lane and one of its blocks."""


def rounds(lanes: Sequence[Lane], shuffled: bool) -> list[tuple[list[int], list[Block]]]:
    """The blocks that lack rows. Blocks of several lanes that hold the same samples go together: one image, one look.

    Args:
        lanes: what is to be filled.
        shuffled: in an order of chance. Two processes that do the same part (two submissions of one store) then meet
            in few blocks, because each passes over what the other has committed.

    Returns:
        (positions of the samples, blocks) each.
    """
    together: dict[tuple[int, int, int], tuple[list[int], list[Block]]] = {}
    for lane in lanes:
        for block, positions in lane.missing.items():
            key = (min(positions), max(positions), len(positions))
            together.setdefault(key, (positions, []))[1].append((lane, block))
    found = list(together.values())
    if shuffled:
        random.SystemRandom().shuffle(found)
    return found


def in_order(
    lanes: Sequence[Lane], shuffled: bool, stopped: Callable[[], bool]
) -> Iterator[tuple[int, tuple[Lane, ...]]]:
    """The samples that are still to be made, each with the lanes that want it; looks again before every block."""
    for positions, blocks in rounds(lanes, shuffled):
        if stopped():
            return
        for lane, block in blocks:
            lane.look_again(block)
        for position in positions:
            wanting = tuple(lane for lane, _ in blocks if position in lane.row_of)
            if wanting:
                yield position, wanting
