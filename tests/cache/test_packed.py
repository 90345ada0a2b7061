"""Packed strings are a list of them, the packed index is a dictionary, and units share no segment."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np

from itin.cache import StoreWriter
from itin.cache.format.packed import PackedIndex, PackedStrings
from itin.cache.format.plan import StorePlan

from ..features import identity

ODD = [
    "",
    "a",
    "0" * 64,
    "F" * 64,
    "f" * 64,
    "g" * 64,
    "x" * 32,
    "x" * 31 + "\0",
    "\0",
    "é" * 16,
    "写真-001",
    "0" * 63,
    "\ud800",
]


def test_packed_strings_are_a_list() -> None:
    packed = PackedStrings(ODD[:3])
    packed.extend(ODD[3:])
    assert list(packed) == ODD
    assert [packed[n] for n in range(-len(ODD), len(ODD))] == ODD * 2
    assert packed[2:5] == ODD[2:5]
    assert [packed.count(one) for one in ODD] == [1] * len(ODD)
    assert len(packed) == len(ODD)


def test_packed_index_finds_what_a_dictionary_finds() -> None:
    dice = random.Random(1)
    ids, digests = PackedStrings(), PackedStrings()
    index, known = PackedIndex(ids, digests), dict[tuple[str, str], int]()
    for step in range(30):
        for _ in range(dice.randrange(40)):
            pair = f"{dice.randrange(200)}", f"{dice.randrange(3):064x}"
            if pair not in known:
                known[pair] = len(ids)
                ids.extend([pair[0]])
                digests.extend([pair[1]])
        asked = [(f"{dice.randrange(250)}", f"{dice.randrange(4):064x}") for _ in range(100)]
        found = index.find([id for id, _ in asked], [digest for _, digest in asked])
        assert found == [known.get(pair, -1) for pair in asked], step


def test_rows_of_a_unit_are_in_one_segment(tmp_path: Path) -> None:
    def unit(name: str, count: int) -> list[tuple[str, str]]:
        return [(f"{name}{n}", f"{n:064x}") for n in range(count)]

    writer = StoreWriter(tmp_path, identity("context"))
    units = [unit("a", 3), unit("b", 5), [], unit("c", 9), unit("d", 1)]
    rows = writer.extend_by_unit(units, 4)
    assert rows.tolist() == list(range(18))
    assert [segment.count for segment in writer.plan.segments] == [8, 9, 1]
    blocks = writer.plan.blocks_of(np.arange(18))
    assert writer.plan.pieces_of(blocks, True).tolist() == [0] * 8 + [1] * 9 + [2]
    assert (
        writer.plan.pieces_of(blocks, False).tolist()
        == blocks.tolist()
        == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4 + [4, 5]
    )
    grown = [unit("a", 3), unit("b", 7), unit("c", 9), unit("d", 3)]
    assert writer.extend_by_unit(grown, 4).tolist() == [0, 1, 2, *range(3, 8), 18, 19, *range(8, 17), 17, 20, 21]
    assert [segment.count for segment in writer.plan.segments] == [8, 9, 1, 4]
    assert list(StorePlan.read(writer.folder).rows) == list(writer.plan.rows)
