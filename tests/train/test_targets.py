"""Targets: their losses against loops, who may teach whom, and that runs on the label stay what they were."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from itin.errors import DataError
from itin.targets import UNKNOWN, Target, shares_of
from itin.train.config import TrainConfig, select_of
from itin.train.features import load
from itin.train.features.batches import ABSENT
from itin.train.features.features import Features, TargetColumn
from itin.train.label_rule import by_rule
from itin.train.loop import Fit, fit, train
from itin.train.objective import HUBER, Objective, number_loss
from itin.train.protocols.protocol import Protocol, Splitter
from itin.train.protocols.split import PARTS, Split
from itin.train.protocols.teaching import TargetSplitter
from itin.train.runs.folder import evaluate, load_run
from itin.train.runs.key import Identity
from itin.train.runs.write import write_run

from .test_loop import SMALL, planted

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
MOOD = Target(classes=("positive", "neutral", "negative"))
LEVEL = Target("level", "ordered", ("low", "middle", "high"))
SCORE = Target("score", "number", span=(0.0, 10.0))
N = 260
BARE = 20  # samples without a label


def several() -> Features:
    """The planted task with further targets: a level and a score that follow the label, and samples without label."""
    features = planted(N)
    rng = np.random.default_rng(1)
    labels = features.labels.copy()
    level = TargetColumn(LEVEL, np.where(rng.random(N) < 0.2, UNKNOWN, 2 - labels))
    score = 5.0 * (2 - labels) + rng.normal(size=N) * 0.2
    score[rng.random(N) < 0.2] = np.nan
    score[:BARE] = 1.0
    labels[:BARE] = UNKNOWN
    further = {"level": level, "score": TargetColumn(SCORE, np.clip(score, 0, 10))}
    return replace(features, labels=labels, further=further)


def table_of(features: Features, **columns: Any) -> Any:
    """The table of these samples, no two of which are equal but for given columns."""
    n = len(features)
    texts = columns.pop("text", [f"text {i}" for i in range(n)])
    images = columns.pop("image_sha256", [f"image {i}" for i in range(n)])
    samples = {"id": features.ids, "text": texts, "text_sha256": texts, "image_sha256": images, **columns}
    return SimpleNamespace(dataset={"name": "planted"}, samples=pd.DataFrame(samples))


def label_alone(features: Features) -> Features:
    """The same data set as a run on the label sees it: the samples with one."""
    rows = np.flatnonzero(features.labels != UNKNOWN)
    words = np.diff(features.offsets)
    keep = np.repeat(features.labels != UNKNOWN, words)
    return replace(
        features,
        ids=[features.ids[row] for row in rows],
        labels=features.labels[rows],
        regions=features.regions[rows],
        counts=features.counts[rows],
        tokens=features.tokens[keep],
        offsets=np.concatenate([[0], np.cumsum(words[rows])]),
        context=features.context[rows],
        further={},
    )


@pytest.fixture(scope="module")
def features() -> Features:
    return several()


@pytest.fixture(scope="module")
def splitter(features: Features) -> TargetSplitter:
    return TargetSplitter.of(Protocol(), features, table_of(features))


# Losses --------------------------------------------------------------------------------------------------------------


def written_out(kind: str, predicted: Sequence[float], values: Sequence[float]) -> float:
    pairs = [(p, v) for p, v in zip(predicted, values, strict=True) if not np.isnan(v)]
    if not pairs:
        return 0.0
    if kind == "ccc":
        p, v = np.array(pairs).T
        spread = p.var() + v.var() + (p.mean() - v.mean()) ** 2
        return float(1 - 2 * np.mean((p - p.mean()) * (v - v.mean())) / spread)
    total = 0.0
    for p, v in pairs:
        away = abs(p - v)
        total += away**2 if kind == "mse" else (away**2 / 2 if away <= HUBER else HUBER * (away - HUBER / 2))
    return total / len(pairs)


@pytest.mark.parametrize("kind", ["mse", "huber", "ccc"])
def test_losses_of_numbers(kind: str) -> None:
    rng = np.random.default_rng(0)
    predicted, values = rng.normal(size=(2, 3, 7))
    values[0, 2:4] = np.nan
    values[2] = np.nan
    said = torch.tensor(predicted, requires_grad=True)
    loss = number_loss(kind, said, torch.tensor(values))
    want = [written_out(kind, *one) for one in zip(predicted, values, strict=True)]
    assert loss.tolist() == pytest.approx(want, rel=1e-10)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert said.grad is not None
    assert torch.isfinite(said.grad).all()
    assert not said.grad[2].any()
    assert not said.grad[0, 2:4].any()


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_several_targets_add_up_by_their_weights(class_weights: str) -> None:
    config = TrainConfig(target="label+level+score", target_weights="1+0.5+2", class_weights=class_weights)
    columns = [
        TargetColumn(MOOD, np.array([0, 0, 1, 2, 2, UNKNOWN])),
        TargetColumn(LEVEL, np.array([0, 1, 1, UNKNOWN, 2, 2])),
        TargetColumn(SCORE, np.array([0.0, 5.0, np.nan, 1.0, 2.0, 3.0])),
    ]
    objective = Objective(config, columns, CPU)
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 6)
    labels = torch.tensor([[0, 1, ABSENT, 2], [ABSENT] * 4])
    levels = torch.tensor([[2, ABSENT, 1, 0], [1, 1, 0, 2]])
    scores = torch.tensor([[0.3, float("nan"), -1.0, 1.0], [float("nan")] * 4])
    found = objective(logits, [labels, levels, scores])
    for j in range(2):
        total = 0.0
        for place, (values, weight) in enumerate(((labels, 1.0), (levels, 0.5))):
            shares = np.ones(3)
            if class_weights == "balanced":
                counts = np.bincount(columns[place].values[columns[place].known].astype(int), minlength=3)
                shares = counts.sum() / (3 * counts)
            entropy = share = 0.0
            for row in range(4):
                label = int(values[j, row])
                if label != ABSENT:
                    entropy -= shares[label] * float(chances(place, logits[j, row])[label])
                    share += shares[label]
            total += weight * entropy / share if share else 0.0
        total += 2.0 * written_out("mse", logits[j, :, 5].tolist(), scores[j].tolist())
        assert float(found[j]) == pytest.approx(total, rel=1e-5)
        alone = objective(logits[j : j + 1], [labels[j : j + 1], levels[j : j + 1], scores[j : j + 1]])
        assert float(alone[0]) == pytest.approx(total, rel=1e-5)


def chances(place: int, outputs: torch.Tensor) -> np.ndarray:
    """Logarithms of the chances of the classes of the first (softmax) or second target (cumulative links)."""
    if place == 0:
        own = outputs[:3].double().numpy()
        return np.asarray(own - np.log(np.exp(own).sum()))
    first, second = outputs[3:5].double().tolist()
    above = [1.0, 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-(first - np.log1p(np.exp(second))))), 0.0]
    return np.log([above[k] - above[k + 1] for k in range(3)])


# Who is in which part ------------------------------------------------------------------------------------------------


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


# Keys ----------------------------------------------------------------------------------------------------------------


def test_keys_of_the_label_do_not_depend_on_further_targets(features: Features, splitter: TargetSplitter) -> None:
    own = label_alone(features)
    table, stores = table_of(features), {kind: SimpleNamespace(fingerprint=kind) for kind in ("regions", "tokens")}
    alone, among = Identity(own, table, stores), Identity(features, table, stores)
    split = TargetSplitter.of(Protocol(), own, table).split()
    assert among.key(SMALL, splitter.split()) == alone.key(SMALL, split)
    assert alone.samples == alone.samples_of(("label",)) == among.samples_of(("label",)) != among.samples


def test_keys_tell_targets_apart_and_nothing_else(features: Features) -> None:
    identity = Identity(features, table_of(features), {})

    def key(**values: Any) -> str:
        return identity.of(replace(SMALL, **values), "parts")

    different = [
        {},
        {"target": "level"},
        {"target": "score"},
        {"target": "score", "loss": "huber"},
        {"target": "score", "select": "mae"},
        {"target": "label+score"},
        {"target": "score+label"},
        {"target": "label+score", "target_weights": "1+0.5"},
        {"select": "loss"},
    ]
    assert len({key(**one) for one in different}) == len(different)
    for one, same in (
        ({"loss": "huber"}, {}),
        ({"select": "accuracy"}, {}),
        ({"target": "label+score", "target_weights": "1+1.0"}, {"target": "label+score"}),
        ({"target": "label + score"}, {"target": "label+score"}),
        ({"target": "score", "select": "loss"}, {"target": "score"}),
    ):
        assert key(**one) == key(**same)


def test_a_changed_value_changes_the_key(features: Features) -> None:
    values = features.column("score").values.copy()
    values[np.flatnonzero(features.column("score").known)[-1]] += 0.125
    changed = replace(features, further={**features.further, "score": TargetColumn(SCORE, values)})
    ids = [Identity(one, table_of(features), {}) for one in (features, changed)]
    config = replace(SMALL, target="score")
    assert ids[0].of(config, "parts") != ids[1].of(config, "parts")
    assert ids[0].of(SMALL, "parts") == ids[1].of(SMALL, "parts")


# Training ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(features: Features, splitter: TargetSplitter) -> tuple[Fit, Split]:
    config = replace(SMALL, target="score+label+level")
    split = splitter.split(0, 0, config.targets)
    return fit(config, features, split), split


def test_it_learns_all_of_several_targets(trained: tuple[Fit, Split]) -> None:
    test = trained[0].metrics["test"]
    assert test["mae"] < 0.6 * test["baseline"]["mae"]
    for name in ("label", "level"):
        own = test["targets"][name]
        assert own["accuracy"] >= own["majority"]["accuracy"] + 0.25
    assert list(trained[0].history[0]) == [
        *("epoch", "lr", "train_loss", "train_mae", "val_loss", "val_mae", "val_pearson", "seconds")
    ]
    assert trained[0].best_epoch == 1 + int(np.argmin([row["val_loss"] for row in trained[0].history]))


def test_scores_are_those_of_what_was_said(trained: tuple[Fit, Split], features: Features) -> None:
    made, split = trained
    for part in ("val", "test"):
        true, said = features.column("score").values[split.rows(part)], made.predicted[part]["score"]
        assert made.metrics[part]["mae"] == pytest.approx(float(np.abs(true - said).mean()), rel=1e-12)
        level = features.column("level")
        known = level.known[split.rows(part)]
        right = made.predicted[part]["level"].argmax(1)[known] == level.values[split.rows(part)][known]
        assert made.metrics[part]["targets"]["level"]["accuracy"] == pytest.approx(float(right.mean()))
        assert made.metrics[part]["targets"]["level"]["n"] == int(known.sum())


@pytest.mark.parametrize("target", ["level", "score", "label+score+level"])
def test_side_by_side_is_alone(features: Features, splitter: TargetSplitter, target: str) -> None:
    configs = [replace(SMALL, epochs=2, seed=seed, target=target, select="loss") for seed in (0, 1)]
    split = splitter.split(0, 0, configs[0].targets)
    stacked = {j: one for j, one in train(configs, features, split) if isinstance(one, Fit)}
    for j, config in enumerate(configs):
        alone = fit(config, features, split)
        for one, other in zip(alone.history, stacked[j].history, strict=True):
            for name in set(one) - {"seconds"}:
                assert other[name] == pytest.approx(one[name], rel=2e-3, abs=1e-4)


def test_a_run_on_the_label_is_the_same_among_further_targets(features: Features, splitter: TargetSplitter) -> None:
    own = label_alone(features)
    config = replace(SMALL, epochs=2)
    alone = fit(config, own, TargetSplitter.of(Protocol(), own, table_of(features)).split())
    among = fit(config, features, splitter.split())
    assert all(torch.equal(value, among.state_dict[name]) for name, value in alone.state_dict.items())
    assert alone.metrics == among.metrics


def test_a_run_folder_holds_every_target(trained: tuple[Fit, Split], features: Features, tmp_path: Path) -> None:
    made, split = trained
    path = write_run(made, features, split, {"name": "planted"}, {}, "key", out=tmp_path / "run")
    run = load_run(path)
    assert (run.target, run.targets) == (SCORE, (SCORE, MOOD, LEVEL))
    assert run.classes == ()
    for part in ("val", "test"):
        own = run.predictions[run.predictions["part"] == part]
        assert own["predicted"].tolist() == made.predicted[part]["score"].tolist()
        assert own["label"].tolist() == features.column("score").values[split.rows(part)].tolist()
        again = evaluate(run, features, part=part)
        assert json.loads(json.dumps(again)) == json.loads(json.dumps(made.metrics[part]))
    text = (path / "predictions.level.csv").read_text().splitlines()
    assert text[0] == "id,part,label,predicted,p_low,p_middle,p_high"
    unknown = [line for line in text[1:] if line.split(",")[2] == ""]
    known = features.column("level").known
    assert len(unknown) == sum(int((~known[split.rows(part)]).sum()) for part in ("val", "test"))
    width = json.loads((path / "metrics.json").read_text())["conformal"]["half_width"]["score"]
    away = np.sort(np.abs(features.column("score").values[split.val] - made.predicted["val"]["score"]))
    assert width == away[int(np.ceil((len(away) + 1) * 0.9)) - 1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target": "label+"}, r"target: expected names joined by \+, each once, got 'label\+'"),
        ({"target": "label+label"}, "target: expected names joined by"),
        (
            {"target_weights": "1+2"},
            r"expected 1 numbers joined by \+, one for each of label, got '1\+2'",
        ),
        ({"target_weights": "0"}, r"target_weights: expected numbers above 0 joined by \+, such as 1\+0.5, got '0'"),
        ({"target_weights": "much"}, "target_weights: expected numbers above 0"),
        ({"loss": "mae"}, "loss: expected one of mse, huber, ccc, got 'mae'"),
    ],
)
def test_wrong_values(values: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**values)  # type: ignore[arg-type]


def test_a_score_belongs_to_its_kind_of_target() -> None:
    assert [select_of(TrainConfig(), one) for one in (MOOD, LEVEL, SCORE)] == ["accuracy", "accuracy", "loss"]
    with pytest.raises(ValueError, match="select: expected one of accuracy, weighted_f1, macro_f1, loss for"):
        select_of(TrainConfig(select="mae"), MOOD)
    with pytest.raises(ValueError, match="for the target score, got 'accuracy'"):
        select_of(TrainConfig(select="accuracy"), SCORE)


# Annotators and the label rule ---------------------------------------------------------------------------------------


VOTES = [
    ["positive", "neutral", None, "negative"],
    ["positive", "negative", None, None],
    ["neutral", "positive", None, None],
]


def test_shares_of_annotators() -> None:
    shares = shares_of(VOTES, MOOD)
    assert shares is not None
    expected = [[2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_allclose(shares, expected)
    column = TargetColumn(MOOD, np.array([0, UNKNOWN, UNKNOWN, 2]), shares)
    assert column.known.tolist() == [True, False, False, True]
    assert column.taught.tolist() == [True, True, False, True]  # three who differ teach too
    assert shares_of([], MOOD) is None


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_shares_are_learnt_by_cross_entropy(class_weights: str, smoothing: float) -> None:
    shares = shares_of(VOTES, MOOD)
    assert shares is not None
    config = TrainConfig(class_weights=class_weights, label_smoothing=smoothing)
    objective = Objective(config, [TargetColumn(MOOD, np.array([0, UNKNOWN, UNKNOWN, 2]), shares)], CPU)
    weight = 3 / (3 * shares.sum(0)) if class_weights == "balanced" else np.ones(3)
    logits = torch.randn(2, 4, 3)
    total = norm = 0.0
    for row in (0, 1, 3):
        chance = logits[0, row].double().numpy()
        chance = np.log(np.exp(chance) / np.exp(chance).sum())
        smooth = (1 - smoothing) * shares[row] + smoothing / 3
        total -= float((weight * smooth * chance).sum())
        norm += float((weight * shares[row]).sum())
    both = torch.from_numpy(np.stack([shares, np.zeros_like(shares)])).float()
    assert objective(logits, [both]).tolist() == pytest.approx([total / norm, 0.0], rel=1e-5)


def test_annotators_are_read_from_the_table() -> None:
    values = [{f"text-label-{n + 1}": votes[row] for n, votes in enumerate(VOTES) if votes[row]} for row in range(4)]
    own = [None, None, "neutral", "negative"]
    samples = pd.DataFrame({"id": list("abcd"), "label": own, "text_label": own, "targets": values})
    names = [MOOD, *(replace(MOOD, name=f"text-label{end}") for end in ("", "-1", "-2", "-3"))]
    table = SimpleNamespace(dataset={"targets": [one.to_dict() for one in names]}, samples=samples)
    kept, columns = load._with_targets(table, "mine", ("text-label",))  # type: ignore[arg-type]
    assert kept["id"].tolist() == ["a", "b", "d"]
    assert columns["text-label"].values.tolist() == [UNKNOWN, UNKNOWN, 2]
    assert columns["text-label"].shares is not None
    assert columns["text-label"].shares[1].tolist() == pytest.approx([1 / 3] * 3)
    assert columns["label"].shares is None
    assert columns["label"].values.tolist() == [UNKNOWN, UNKNOWN, 2]


def test_the_label_rule_over_both_sides() -> None:
    text, image = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]]), np.array([[0.6, 0.1, 0.3], [0.0, 0.0, 1.0]])
    found = by_rule(text, image)
    positive = 0.5 * 0.6 + 0.5 * 0.1 + 0.3 * 0.6
    neutral = 0.3 * 0.1
    negative = 0.2 * 0.3 + 0.2 * 0.1 + 0.3 * 0.3
    conflict = 0.5 * 0.3 + 0.2 * 0.6
    assert positive + neutral + negative == pytest.approx(1 - conflict)
    np.testing.assert_allclose(found[0], np.array([positive, neutral, negative]) / (1 - conflict))
    assert found[1].tolist() == [0.5, 0.0, 0.5]  # nothing but a conflict is left


def sides(features: Features) -> Features:
    """The planted samples with own labels of text and image that the rule joins to the label."""
    text = np.where(np.arange(N) % 3, features.labels, 1)
    image = np.where(np.arange(N) % 3 == 1, 1, features.labels)
    text[:BARE], image[:BARE] = 0, 2
    names = ("text-label", "image-label")
    pairs = zip(names, (text, image), strict=True)
    further = {name: TargetColumn(replace(MOOD, name=name), one) for name, one in pairs}
    return replace(features, further=further)


@pytest.mark.parametrize("way", ["joint", "rule", "mean"])
def test_where_the_label_comes_from(features: Features, way: str, tmp_path: Path) -> None:
    own = sides(features)
    config = replace(SMALL, epochs=2, target="label+text-label+image-label", label_from=way)
    split = TargetSplitter.of(Protocol(), own, table_of(own)).split(0, 0, config.targets)
    made = fit(config, own, split)
    said = made.predicted["test"]
    rule = by_rule(said["text-label"], said["image-label"])
    joint = fit(replace(config, label_from="joint"), own, split)
    if way != "joint" and joint.best_epoch == made.best_epoch:
        plain = joint.predicted["test"]["label"]
        np.testing.assert_allclose(said["label"], rule if way == "rule" else (plain + rule) / 2, rtol=1e-12)
    right = said["label"].argmax(1) == own.labels[split.test]
    ways = made.metrics["test"]["label_from"]
    assert made.metrics["test"]["accuracy"] == ways[way]["accuracy"] == pytest.approx(float(right.mean()))
    by_the_rule = rule.argmax(1) == own.labels[split.test]
    assert ways["rule"]["accuracy"] == pytest.approx(float(by_the_rule.mean()))
    assert made.history[made.best_epoch - 1]["val_accuracy"] == made.metrics["val"]["accuracy"]
    run = load_run(write_run(made, own, split, {"name": "planted"}, {}, "key", out=tmp_path / "run"))
    assert evaluate(run, own)["label_from"] == ways
    chances = run.predictions[run.predictions["part"] == "test"][["p_positive", "p_neutral", "p_negative"]].to_numpy()
    assert np.array_equal(chances, said["label"])


def test_the_rule_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="label_from: expected joint without the targets label, text-label and image"):
        TrainConfig(target="label+text-label", label_from="rule")


def test_an_ordered_label_is_learnt_as_one(features: Features, tmp_path: Path) -> None:
    own = replace(label_alone(features), ordered=True)
    split = TargetSplitter.of(Protocol(), own, table_of(own)).split()
    made = fit(replace(SMALL, epochs=1), own, split)
    assert made.targets == (replace(MOOD, kind="ordered"),)
    assert made.head.classes == 2  # steps between three classes
    run = load_run(write_run(made, own, split, {"name": "planted"}, {}, "key", out=tmp_path / "run"))
    assert evaluate(run, own) == run.metrics["test"]
    assert Identity(own, table_of(own), {}).samples != Identity(replace(own, ordered=False), table_of(own), {}).samples
