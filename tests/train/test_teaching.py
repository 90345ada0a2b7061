"""Who is in which part whatever is learnt, and who only trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from itin.errors import DataError
from itin.targets import UNKNOWN
from itin.train.features.features import Features
from itin.train.protocols.protocol import Protocol, Splitter
from itin.train.protocols.split import PARTS
from itin.train.protocols.teaching import TargetSplitter

from ..several_targets import BARE, N, label_alone, several, table_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


@pytest.fixture(scope="module")
def splitter(features: Features) -> TargetSplitter:
    return TargetSplitter.of(Protocol(), features, table_of(features))


@pytest.mark.parametrize("protocol", ["itin-811", "folds:4", "agree", "file", "own"])
@pytest.mark.parametrize("duplicates", [None, "stripped"])
def test_parts_of_the_label_stay_and_others_only_train(
    features: Features, protocol: str, duplicates: str | None, tmp_path: Path
) -> None:
    own = label_alone(features)
    parts = [["train", "train", "val", "test"][i % 4] for i in range(N)]
    texts = ["positive" if i % 3 else "negative" for i in range(N)]
    columns = {"part": parts, "text_label": texts, "image_label": ["positive"] * N}
    if protocol == "file":
        path = tmp_path / "parts.csv"
        path.write_text("id,part\n" + "".join(f"{a},{b}\n" for a, b in zip(features.ids, parts, strict=True)))
        protocol = f"file:{path}"
    table = table_of(features, **columns)
    table.dataset["name"] = "mvsa-single"
    rule = Protocol.parse(protocol, duplicates)
    plain = Splitter.of(rule, own.ids, own.labels, table, True).split(3, 0)
    made = TargetSplitter.of(rule, features, table, True)
    on_label = made.split(3, 0)
    assert sorted(on_label.pairs(features.ids)) == sorted(plain.pairs(own.ids))
    assert {**on_label.description, "not_in_features": 0} == {**plain.description, "not_in_features": 0}
    more = made.split(3, 0, ("label", "level", "score"))
    bare = set(range(BARE))
    assert not bare & {*more.val.tolist(), *more.test.tolist()}
    assert {part: set(more.rows(part)) - bare for part in PARTS} == {part: set(on_label.rows(part)) for part in PARTS}
    given = {row for row in bare if parts[row] != "train"} if protocol.startswith(("file", "own")) else set()
    assert set(more.train) & bare == bare - given
    assert more.description["only_train"] == {"used": BARE - len(given), "left_out": len(given)}
    assert more.description["sizes"]["train"] == len(more.train)


def test_no_text_and_no_image_of_another_part_is_taught(features: Features) -> None:
    plain = TargetSplitter.of(Protocol(), features, table_of(features)).split(0, 0, ("label", "score"))
    texts = [f"text {i}" for i in range(N)]
    images = [f"image {i}" for i in range(N)]
    texts[0] = f"RT @you: text {plain.test[0]} http://t.co/abc"
    texts[1] = f"text {plain.val[0]}"
    images[2] = f"image {plain.test[1]}"
    texts[3] = f"text {plain.train[-1]}"  # equal to one that trains
    texts[4] = texts[5] = "http://t.co/x"  # nothing is left of them: they equal nothing
    table = table_of(features, text=texts, image_sha256=images)
    made = TargetSplitter.of(Protocol(), features, table).split(0, 0, ("label", "score"))
    assert set(made.train) & set(range(BARE)) == set(range(3, BARE))
    assert made.description["only_train"] == {"used": BARE - 3, "left_out": 3}
    assert np.array_equal(made.test, plain.test)


def test_scored_parts_hold_only_what_can_be_scored(features: Features, splitter: TargetSplitter) -> None:
    split = splitter.split(0, 0, ("score", "level"))
    score, level = features.column("score").known, features.column("level").known
    for part in ("val", "test"):
        assert score[split.rows(part)].all()
        drawn = splitter.split(0, 0).rows(part)
        assert set(split.rows(part)) == {row for row in drawn if score[row]}
    assert set(split.train) >= {row for row in splitter.split(0, 0).train if score[row] or level[row]}
    assert (score | level)[split.train].all()


def test_a_data_set_without_labels_is_split_by_its_first_target(features: Features) -> None:
    scores = replace(features, classes=(), labels=np.full(N, UNKNOWN), further={"score": features.further["score"]})
    made = TargetSplitter.of(Protocol.parse("folds:5"), scores, table_of(scores))
    known = scores.column("score").known
    parts = [made.split(0, fold, ("score",)).test for fold in range(5)]
    assert sorted(np.concatenate(parts)) == np.flatnonzero(known).tolist()
    means = [scores.column("score").values[part].mean() for part in parts]
    assert np.ptp(means) < 0.5  # stratified: of numbers from 0 to 10


def test_a_part_without_the_first_target_is_an_error(features: Features, splitter: TargetSplitter) -> None:
    none = {**splitter.known, "score": np.zeros(N, bool)}
    none["score"][:3] = True
    with pytest.raises(DataError, match="no sample of the val part has a value for the target score"):
        replace(splitter, known=none).split(0, 0, ("score",))
