"""The learned table's entries, and what batches hold of them, against loops over the tokens of each text."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from itin.itin_head.extras import Extras
from itin.train.cuda_graphs import GraphSteps
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.shared import open_features, save_features
from itin.train.features.word_table import entries_of, keys_of, table_of

LARGEST = 2**31 - 1
TEXTS = [[7, 8, 7, 8], [], [8, 7], [5], [7, LARGEST, 7], [5, 7, LARGEST], [], [LARGEST], [9, 9, 9]]


def features(texts: list[list[int]] = TEXTS) -> Features:
    n = len(texts)
    offsets = np.cumsum([0, *map(len, texts)])
    rng = np.random.default_rng(0)
    return Features(
        ids=[str(i) for i in range(n)],
        labels=np.zeros(n, np.int64),
        regions=np.zeros((n, 0, 0), np.float16),
        counts=np.zeros(n, np.int64),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float16),
        offsets=offsets,
        context=np.zeros((n, 2), np.float16),
        token_ids=np.array([token for text in texts for token in text], np.int32),
        lexicons={
            "vader": rng.normal(size=(n, 4)).astype(np.float32),
            "shape": rng.normal(size=(n, 9)).astype(np.float32),
        },
    )


Entry = tuple[int, ...]


def entries_in(text: list[int], longest: int) -> list[Entry]:
    text = text[:longest]
    return [*((token,) for token in text), *pairwise(text)]


def key(entry: Entry) -> int:
    return entry[0] * 2**32 + (entry[1] + 1 if len(entry) == 2 else 0)


@pytest.mark.parametrize("longest", [1, 2, 3, 100])
@pytest.mark.parametrize("rows", [range(9), [0, 2, 5], [4], []])
def test_entries_are_those_of_two_training_texts(longest: int, rows: list[int]) -> None:
    counts = Counter(entry for row in rows for entry in set(entries_in(TEXTS[row], longest)))
    want = sorted(key(entry) for entry, count in counts.items() if count >= 2)
    assert table_of(features(), np.array(rows, np.int64), longest).tolist() == want


@pytest.mark.parametrize("longest", [1, 2, 3, 100])
def test_batches_hold_the_entries_of_their_texts(longest: int) -> None:
    made = features()
    table = table_of(made, np.arange(9), 100)
    assert len(table) > 5
    known = {int(one): place for place, one in enumerate(table)}
    resident = ResidentFeatures(made, torch.device("cpu"), 0, longest, lexicons=("shape", "vader"), table=table)
    rows = torch.tensor([[4, 1, 5], [0, 8, 6]])
    batch = resident.batch(rows)
    assert batch.extras is not None
    n = max(min(len(TEXTS[row]), longest) for row in rows.flatten())
    assert batch.extras.entries.shape == (2, 3, 2, n)
    for place, row in np.ndenumerate(rows.numpy()):
        text = TEXTS[row][:longest]
        for i in range(n):
            single = known.get(key((text[i],)), -1) if i < len(text) else -1
            pair = known.get(key((text[i], text[i + 1])), -1) if i + 1 < len(text) else -1
            assert batch.extras.entries[(*place, slice(None), i)].tolist() == [single, pair]
        want = np.concatenate([made.lexicons["shape"][row], made.lexicons["vader"][row]])
        np.testing.assert_array_equal(batch.extras.values[place].numpy(), want)
    alone = resident.batch(rows[1])
    assert alone.extras is not None
    assert torch.equal(alone.extras.entries, batch.extras.entries[1][..., : alone.words.packing.n])


def test_batches_without_either_or_with_one() -> None:
    made, cpu, rows = features(), torch.device("cpu"), torch.tensor([0, 3])
    assert ResidentFeatures(made, cpu, 0).batch(rows).extras is None
    values = ResidentFeatures(made, cpu, 0, lexicons=("vader",)).batch(rows).extras
    entries = ResidentFeatures(made, cpu, 0, table=table_of(made, np.arange(9), 9)).batch(rows).extras
    empty = ResidentFeatures(made, cpu, 0, table=np.zeros(0, np.int64)).batch(rows).extras
    nothing = ResidentFeatures(features([[], []]), cpu, 0, table=np.zeros(0, np.int64)).batch(torch.arange(2)).extras
    assert values is not None
    assert entries is not None
    assert empty is not None
    assert nothing is not None
    assert (values.values.shape, values.entries.shape) == ((2, 4), (2, 2, 0))
    assert (entries.values.shape, entries.entries.shape) == ((2, 0), (2, 2, 4))
    assert (empty.entries == -1).all()
    assert nothing.entries.shape == (2, 2, 0)


def lines(extras: Extras, j: int) -> list[str]:
    return [f"{one.tolist()} {two.tolist()}" for one, two in zip(extras.values[j], extras.entries[j], strict=True)]


def test_graph_steps_take_the_same_extras() -> None:
    made = features()
    resident = ResidentFeatures(
        made, torch.device("cpu"), 0, 3, lexicons=("vader",), table=table_of(made, np.arange(9), 3)
    )
    rows = torch.tensor([[0, 1, 2], [4, 5, 7]])
    seen: list[Extras] = []

    def heads(regions: None, words: object, context: torch.Tensor, mask: None, extras: Extras) -> torch.Tensor:
        seen.append(extras)
        return torch.zeros(2, 3, 1)

    GraphSteps(resident, heads, torch.ones(2, 1, 0).bool(), lambda logits, labels: None, [rows])(rows)
    want = resident.batch(rows).extras
    (got,) = seen
    assert want is not None
    for j in range(2):  # each batch by rank, the longest text first
        assert sorted(lines(got, j)) == sorted(lines(want, j))


def test_shared_features_keep_them(tmp_path: Path) -> None:
    made = features()
    save_features(made, tmp_path / "shared")
    back = open_features(tmp_path / "shared")
    assert back.token_ids is not None
    assert made.token_ids is not None
    np.testing.assert_array_equal(back.token_ids, made.token_ids)
    assert list(back.lexicons) == ["vader", "shape"]
    np.testing.assert_array_equal(back.lexicons["shape"], made.lexicons["shape"])
    save_features(replace(made, token_ids=None, lexicons={}), tmp_path / "without")
    back = open_features(tmp_path / "without")
    assert back.token_ids is None
    assert back.lexicons == {}


def test_token_ids_must_be_there_and_fit() -> None:
    made = features()
    with pytest.raises(ValueError, match="expected token ids, which the learned table is made of, got none"):
        keys_of(replace(made, token_ids=None))
    with pytest.raises(ValueError, match=r"token_ids: expected \(17,\), got \(3,\)"):
        replace(made, token_ids=np.zeros(3, np.int32))
    assert (entries_of(made, np.zeros(0, np.int64)) == -1).all()
