"""The head `linear` against scikit-learn's own pipeline; its run folders, keys and sweeps."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from itin.cli import main
from itin.errors import DataError, RunError
from itin.itin_head.heads.linear import LinearHead
from itin.itin_head.outputs import class_logits, steps_of
from itin.predict.pairs import pairs_of
from itin.report.explain import Explanation
from itin.report.thumbnails import Images
from itin.targets import UNKNOWN, Target
from itin.train import solving
from itin.train.config import TrainConfig
from itin.train.features.batches import ResidentFeatures, mean_words
from itin.train.features.features import Features, TargetColumn
from itin.train.features.find import stores_of_run
from itin.train.features.load import load_features
from itin.train.loop import Fit, fit, train
from itin.train.protocols.split import PARTS, Split, random_split
from itin.train.runs.evaluation import evaluate
from itin.train.runs.folder import load_run
from itin.train.runs.key import canonical
from itin.train.runs.listing import runs_table
from itin.train.solving import GRID, NEVER
from itin.train.steps import ComputeOptions, check_compute, predict, stackable
from itin.train.sweeps.folder import Sweep

from ..features import make_data, make_run

pytestmark = pytest.mark.usefixtures("one_thread", "quick_workers")


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solve to the last digits, so that another way to the same solution gives the same numbers."""
    monkeypatch.setattr(solving, "TOLERANCE", 1e-9)


N = 150
LINEAR = TrainConfig(head="linear", logistic_c=0.7, batch_size=16)
GOOD, BAD = ["love", "lovely", "joy", "sun", "café", "❤"], ["awful", "hate", "rain", "sad", "#fail", "😢"]
MORE = ["a", "the", "today", "I", "RT", "@you", "http://t.co/x", "photo", "of", "2", "cats"]


def text_of(label: int, rng: np.random.Generator) -> str:
    own = (GOOD, MORE, BAD)[label]
    return " ".join(str(word) for word in [*rng.choice(own, 2), *rng.choice(MORE, rng.integers(0, 6))])


@pytest.fixture(scope="module")
def features() -> Features:
    """Texts of 2 to 7 words and one that is empty, in features one without words."""
    rng = np.random.default_rng(4)
    labels = rng.integers(3, size=N)
    lengths = rng.integers(1, 9, size=N)
    lengths[7] = 0
    texts = [text_of(label, rng) for label in labels]
    texts[7] = ""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    context = rng.normal(size=(N, 4)) * [1, 5, 0.1, 0] + 3
    mood = labels - 1 + rng.normal(size=N) / 9
    mood[::5] = np.nan
    order = np.where(np.arange(N) % 4, labels, UNKNOWN)
    return Features(
        ids=[f"{i:03}" for i in range(N)],
        labels=labels,
        regions=np.zeros((N, 0, 0), np.float16),
        counts=np.zeros(N, np.int64),
        tokens=rng.normal(size=(offsets[-1], 5)).astype(np.float16) + np.float16(2),
        offsets=offsets,
        context=context.astype(np.float16),
        dataset="my set",
        labelled=N,
        further={
            "mood": TargetColumn(Target("mood", "number", span=(-1, 3)), mood),
            "order": TargetColumn(Target("order", "ordered", classes=("low", "middle", "high")), order),
        },
        texts=texts,
    )


@pytest.fixture(scope="module")
def split(features: Features) -> Split:
    return random_split(features.ids, 0)


class Pipeline:
    """scikit-learn's own way to the matrix, from a training part."""

    def __init__(self, features: Features, split: Split, words: int = 2, characters: int = 5, scale: float = 0.03):
        self.texts = features.texts or []
        self.scale = scale
        begin = features.offsets
        means = [features.tokens[begin[i] : begin[i + 1]].astype(np.float64) for i in range(len(features))]
        self.there = np.array([len(text) > 0 for text in means])
        self.means = np.stack([text.mean(0) if len(text) else np.zeros(5) for text in means])
        self.V = features.context.astype(np.float64)
        taught = [self.texts[row] for row in split.train]
        own = {"min_df": 2, "sublinear_tf": True}
        self.blocks = [TfidfVectorizer(ngram_range=(1, words), **own).fit(taught)] if words else []
        if characters:
            self.blocks.append(TfidfVectorizer(analyzer="char", ngram_range=(2, characters), **own).fit(taught))
        self.of_words = StandardScaler().fit(self.means[[row for row in split.train if self.there[row]]])
        self.of_context = StandardScaler().fit(self.V[split.train])

    def __call__(self, rows: NDArray[np.int64]) -> sparse.csr_matrix:
        parts = [block.transform([self.texts[row] for row in rows]) for block in self.blocks]
        words = np.where(self.there[rows, None], self.of_words.transform(self.means[rows]), 0)
        V = self.of_context.transform(self.V[rows])
        if self.scale:
            parts.append(sparse.csr_matrix(self.scale * np.hstack([words, V])))
        return sparse.hstack(parts, format="csr")


def head_of(made: Fit) -> LinearHead:
    head = LinearHead(made.head)
    assert made.vocabulary is not None
    head.know(json.loads(json.dumps(made.vocabulary)))
    head.load_state_dict(made.state_dict)
    return head


def matrix_of(head: LinearHead, features: Features, rows: NDArray[np.int64]) -> sparse.csr_matrix:
    resident = ResidentFeatures(features, torch.device("cpu"), 0, 100, ("label",), True)
    return head.matrix(resident.batch(torch.from_numpy(rows)).inputs)


# Against scikit-learn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"word_ngrams": 0, "char_ngrams": 3},
        {"word_ngrams": 1, "char_ngrams": 0, "means_scale": 0.5},
        {"means_scale": 0.0, "class_weights": "balanced"},
    ],
)
def test_probabilities_are_those_of_the_pipeline(features: Features, split: Split, options: dict[str, Any]) -> None:
    """The matrix to float32's rounding of the means, and what is said of it to the solver's tolerance."""
    config = replace(LINEAR, **options)
    made = fit(config, features, split)
    pipeline = Pipeline(features, split, config.word_ngrams, config.char_ngrams, config.means_scale)
    head = head_of(made)
    rows = np.arange(len(features))
    ours, theirs = matrix_of(head, features, rows), pipeline(rows)
    assert ours.shape == theirs.shape
    assert ours.shape[1] > 20
    assert abs(ours - theirs).max() < 3e-7
    terms = len(head.idf)
    assert abs(ours[:, :terms] - theirs[:, :terms]).max() < 1e-12 if terms else True
    weight = "balanced" if options.get("class_weights") else None
    own = LogisticRegression(C=0.7, max_iter=5000, tol=1e-9, class_weight=weight)
    own.fit(ours[split.train], features.labels[split.train])
    for part in ("val", "test"):
        want = own.predict_proba(ours[split.rows(part)])
        np.testing.assert_allclose(made.predicted[part]["label"], want, rtol=0, atol=1e-6)
    other = LogisticRegression(C=0.7, max_iter=5000, tol=1e-9, class_weight=weight)
    other.fit(theirs[split.train], features.labels[split.train])
    np.testing.assert_allclose(made.predicted["test"]["label"], other.predict_proba(theirs[split.test]), atol=1e-3)
    assert made.chosen == {"label": 0.7}
    assert made.selected_by == "C as given"
    (row,) = made.history
    assert (made.best_epoch, row["epoch"], row["lr"]) == (1, 1, 0)
    assert row["val_loss"] == made.metrics["val"]["loss"]
    assert row["train_loss"] == pytest.approx(
        log_loss(features.labels[split.train], own.predict_proba(ours[split.train]))
    )


def test_only_the_training_part_teaches(features: Features, split: Split) -> None:
    """n-grams, idf, means and weights; other texts, labels and features elsewhere change no number of them."""
    texts, labels = list(features.texts or []), features.labels.copy()
    tokens, context = features.tokens.copy(), features.context.copy()
    for row in [*split.val, *split.test]:
        texts[row], labels[row], context[row] = "zebra zebra of many zebras", 0, 9
        tokens[features.offsets[row] : features.offsets[row + 1]] = 5
    changed = replace(features, texts=texts, labels=labels, tokens=tokens, context=context)
    one, other = fit(LINEAR, features, split), fit(LINEAR, changed, split)
    assert one.vocabulary == other.vocabulary
    assert one.vocabulary is not None
    assert "love" in one.vocabulary["words"]
    assert "zebra" not in other.vocabulary["words"]  # type: ignore[index]
    assert all(torch.equal(value, other.state_dict[name]) for name, value in one.state_dict.items())
    assert one.history[0]["train_loss"] == other.history[0]["train_loss"]
    assert one.metrics["test"]["loss"] != other.metrics["test"]["loss"]


def test_c_is_chosen_by_the_validation_loss(features: Features, split: Split) -> None:
    made = fit(replace(LINEAR, logistic_c=None), features, split)
    pipeline = Pipeline(features, split)
    X, X_val = pipeline(split.train), pipeline(split.val)
    losses = []
    for C in GRID:
        own = LogisticRegression(C=C, max_iter=5000, tol=1e-9).fit(X, features.labels[split.train])
        losses.append(log_loss(features.labels[split.val], own.predict_proba(X_val)))
    first_rise = next((place for place in range(1, len(GRID)) if losses[place] >= losses[place - 1]), len(GRID))
    C = GRID[first_rise - 1]
    assert made.chosen == {"label": C}
    assert made.metrics["val"]["loss"] == pytest.approx(losses[first_rise - 1], abs=1e-4)
    given = fit(replace(LINEAR, logistic_c=C), features, split)
    for name, value in made.state_dict.items():  # which begins at the solution before it, not at zero
        torch.testing.assert_close(given.state_dict[name], value, rtol=0, atol=1e-5)
    noise = replace(features, labels=np.random.default_rng(0).integers(3, size=N))
    assert fit(replace(LINEAR, logistic_c=None), noise, split).chosen == {"label": GRID[0]}


def test_two_classes_and_one_that_nothing_teaches(features: Features, split: Split) -> None:
    labels = features.labels % 2
    two = replace(features, labels=labels, classes=("even", "odd"))
    made = fit(LINEAR, two, split)
    X = matrix_of(head_of(made), two, np.arange(N))
    own = LogisticRegression(C=0.7, max_iter=5000, tol=1e-9).fit(X[split.train], labels[split.train])
    np.testing.assert_allclose(made.predicted["test"]["label"], own.predict_proba(X[split.test]), rtol=0, atol=1e-6)
    rare = replace(features, labels=labels * 2, classes=("even", "never", "odd"))
    made = fit(LINEAR, rare, split)
    want = own.predict_proba(X[split.test])
    np.testing.assert_allclose(made.predicted["test"]["label"][:, [0, 2]], want, atol=1e-8)
    assert (made.predicted["test"]["label"][:, 1] < 1e-8).all()
    labels = features.labels.copy()
    labels[split.train] = 1
    alone = fit(LINEAR, replace(features, labels=labels), split)
    np.testing.assert_allclose(alone.predicted["test"]["label"][:, 1], 1 / (1 + 2 * np.exp(NEVER)), rtol=1e-12)


def test_values_of_lexicons_are_columns(features: Features, split: Split) -> None:
    """Standardised over the training part, 0 where unknown, times the scale, after all others."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(N, 9)).astype(np.float32) * 7 + 2
    values[::7] = np.nan
    values[:, 4] = 1
    known = replace(features, lexicons={"shape": values})
    config = replace(LINEAR, lexicons="shape", lexicon_scale=0.4, lexical=3, word_dropout=0.1)
    made = fit(config, known, split)
    wide = values.astype(np.float64)
    mean, sd = np.nanmean(wide[split.train], 0), np.nanstd(wide[split.train], 0)
    sd[4] = np.inf
    head = head_of(made)
    resident = ResidentFeatures(known, torch.device("cpu"), 0, 100, ("label",), True, ("shape",))
    X = head.matrix(resident.batch(torch.arange(N)).inputs)
    np.testing.assert_allclose(X[:, -9:].toarray(), 0.4 * np.nan_to_num((wide - mean) / sd), rtol=1e-9, atol=1e-12)
    own = LogisticRegression(C=0.7, max_iter=5000, tol=1e-9).fit(X[split.train], features.labels[split.train])
    np.testing.assert_allclose(made.predicted["test"]["label"], own.predict_proba(X[split.test]), rtol=0, atol=1e-6)
    assert list(head.reasons(*resident.batch(torch.arange(3)).inputs)[0])[-1] == "lexicons"
    assert not [name for name in made.state_dict if name.startswith("extra")]
    assert canonical(replace(config, lexical=0, word_dropout=0), "x") == canonical(config, "x")
    assert canonical(replace(config, lexicon_scale=0.1), "x") != canonical(config, "x")
    assert canonical(replace(LINEAR, lexicon_scale=0.1), "x") == canonical(LINEAR, "x")
    texts = replace(config, means_scale=0.0)
    assert canonical(replace(texts, lexicons=""), "x") != canonical(texts, "x")
    with pytest.raises(ValueError, match="extras: expected lexicon values, got None"):
        head(*resident.batch(torch.arange(3)).inputs[:-1], None)


def test_nothing_to_read_gives_the_frequencies(features: Features, split: Split) -> None:
    unique = replace(features, texts=[chr(0x4E00 + 2 * i) + chr(0x4E01 + 2 * i) for i in range(N)])
    made = fit(replace(LINEAR, means_scale=0), unique, split)
    assert made.vocabulary == {"words": [], "characters": [], "targets": [["classes", 3]]}
    shares = np.bincount(features.labels[split.train]) / len(split.train)
    np.testing.assert_allclose(made.predicted["test"]["label"], np.tile(shares, (len(split.test), 1)))


# Targets -------------------------------------------------------------------------------------------------------------


def test_each_target_is_solved_for_on_the_samples_that_have_it(features: Features, split: Split) -> None:
    """Numbers by ridge regression, in closed form here; ordered classes by logistic regression on the classes."""
    made = fit(replace(LINEAR, target="label+mood+order", target_weights="1+2+3"), features, split)
    assert made.head.classes == 3 + 1 + 2
    assert made.vocabulary is not None
    assert made.vocabulary["targets"] == [["classes", 3], ["number", 1], ["ordered", 3]]
    X = matrix_of(head_of(made), features, np.arange(N))
    alone = fit(LINEAR, features, split)
    np.testing.assert_allclose(made.predicted["test"]["label"], alone.predicted["test"]["label"], atol=1e-12)

    mood = features.further["mood"].values
    taught = split.train[~np.isnan(mood[split.train])]
    assert 0 < len(taught) < len(split.train)
    A = X[taught].toarray()
    center, mean = A.mean(0), mood[taught].mean()
    kernel = (A - center) @ (A - center).T + np.eye(len(A)) / 0.7
    w = (A - center).T @ np.linalg.solve(kernel, mood[taught] - mean)
    want = (X[split.test].toarray() - center) @ w + mean
    np.testing.assert_allclose(made.predicted["test"]["mood"], want.clip(-1, 3), atol=1e-6)  # none beyond its span

    order = features.further["order"].values
    taught = split.train[order[split.train] != UNKNOWN]
    own = LogisticRegression(C=0.7, max_iter=5000, tol=1e-9).fit(X[taught], order[taught])
    np.testing.assert_allclose(made.predicted["test"]["order"], own.predict_proba(X[split.test]), rtol=0, atol=1e-6)
    assert set(made.metrics["test"]["targets"]) == {"mood", "order"}
    known = replace(split, **{part: rows[~np.isnan(mood[rows])] for part, rows in vars(split).items() if part in PARTS})
    number = fit(replace(LINEAR, target="mood", logistic_c=None), features, known)
    assert number.chosen["mood"] in GRID
    always_the_mean = np.abs(mood[known.test] - mood[known.train].mean()).mean()
    assert number.metrics["test"]["mae"] < 0.7 * always_the_mean


@pytest.mark.parametrize("balanced", [False, True])
def test_shares_of_annotators_teach(features: Features, split: Split, balanced: bool) -> None:
    """The gradient of C Σ share · -ln p + |W|² / 2 is zero, by hand; a pair without a value that has shares counts."""
    rng = np.random.default_rng(1)
    shares = rng.multinomial(3, [0.5, 0.3, 0.2], size=N) / 3
    shares[::6] = 0
    values = np.where(shares.max(1) > 0.5, shares.argmax(1), UNKNOWN)
    assert ((values == UNKNOWN) & (shares.sum(1) > 0)).any()
    column = TargetColumn(Target("text-label", classes=features.classes), values, shares)
    config = replace(LINEAR, target="label+text-label", class_weights="balanced" if balanced else "none")
    made = fit(config, replace(features, further={"text-label": column}), split)
    W, b = (made.state_dict[name].numpy()[3:] for name in ("weight", "bias"))
    X, own = matrix_of(head_of(made), features, split.train).toarray(), shares[split.train]
    weights = own.sum() / (3 * own.sum(0)) if balanced else np.ones(3)
    z = X @ W.T + b
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    error = (own * weights).sum(1, keepdims=True) * p - own * weights
    assert abs(0.7 * error.T @ X + W).max() < 1e-2
    assert abs(error.sum(0)).max() < 1e-2
    assert abs(W).max() > 0.1


def test_steps_are_the_inverse_of_links() -> None:
    target = Target("o", "ordered", classes=tuple("abcde"))
    logits = torch.tensor([[0.0, 1, 2, -1, 0], [30, -30, 5, 5, 5], [-400, 0, 0, 0, -400]], dtype=torch.float64)
    logarithms = logits.log_softmax(1)
    again = class_logits(target, steps_of(logarithms))
    torch.testing.assert_close(again.softmax(1), logarithms.exp(), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(again.exp().sum(1), torch.ones(3, dtype=torch.float64), rtol=1e-10, atol=0)


# The frame -----------------------------------------------------------------------------------------------------------


def test_company_changes_nothing(features: Features, split: Split) -> None:
    made = fit(LINEAR, features, split)
    head = head_of(made)
    resident = ResidentFeatures(features, torch.device("cpu"), 0, 100, ("label",), True)
    target = [Target(classes=features.classes)]
    rows = np.random.default_rng(0).permutation(N)
    together = predict(head, resident, rows, N, target)["label"]
    for size in (1, 7):
        np.testing.assert_allclose(predict(head, resident, rows, size, target)["label"], together, rtol=0, atol=1e-12)
    back = predict(head, resident, rows[::-1].copy(), 16, target)["label"][::-1]
    np.testing.assert_allclose(back, together, rtol=0, atol=1e-12)
    plain = ResidentFeatures(features, torch.device("cpu"), 0, 100)
    np.testing.assert_allclose(predict(head, plain, rows, 16, target)["label"], together, rtol=0, atol=1e-7)


def test_mean_words(features: Features) -> None:
    means, offsets = mean_words(features.tokens, features.offsets, 3)
    assert means.dtype == np.float32
    assert len(means) == N - 1
    assert offsets.tolist() == [*range(8), *range(7, N)]
    first = features.tokens[features.offsets[9] :][: min(3, features.offsets[10] - features.offsets[9])]
    np.testing.assert_allclose(means[offsets[9]], first.astype(np.float64).mean(0), rtol=1e-6)


@pytest.mark.parametrize("target", ["label", "mood", "order"])
def test_reasons_add_up(features: Features, split: Split, target: str) -> None:
    """With every n-gram named they sum to z above the mean of the classes; else the largest n-grams are."""
    made = fit(replace(LINEAR, target=f"{target}+label" if target != "label" else target), features, split)
    head = head_of(made)
    resident = ResidentFeatures(features, torch.device("cpu"), 0, 100, ("label",), True)
    batch = resident.batch(torch.arange(20)).inputs
    X = head.matrix(batch).toarray()
    rows = 1 if target == "mood" else 3
    W, b = made.state_dict["weight"][:rows].numpy(), made.state_dict["bias"][:rows].numpy()
    own = (X @ W.T + b).argmax(1)
    W = W if rows == 1 else W - W.mean(0)
    names = [*made.vocabulary["words"], *(f"‹{term}›" for term in made.vocabulary["characters"])]  # type: ignore[index]
    n = len(names)
    for x, c, reasons in zip(X, own, head.reasons(*batch), strict=True):
        parts = x * W[c]
        assert reasons["word vectors"] == pytest.approx(parts[n : n + 5].sum())
        assert reasons["image"] == pytest.approx(parts[n + 5 :].sum())
        there = sorted((-abs(parts[i]), i) for i in range(n) if x[i])[:8]
        assert list(reasons)[:-2] == [names[i] for _, i in there]
        assert list(reasons.values())[:-2] == pytest.approx([parts[i] for _, i in there])


def test_what_is_refused(features: Features, split: Split) -> None:
    with pytest.raises(ValueError, match="word_ngrams, char_ngrams, means_scale: expected one above 0"):
        replace(LINEAR, word_ngrams=0, char_ngrams=0, means_scale=0)
    with pytest.raises(ValueError, match="logistic_c: expected a number above 0"):
        replace(LINEAR, logistic_c=0)
    with pytest.raises(DataError, match="my set has no texts, which the head linear reads"):
        fit(LINEAR, replace(features, texts=None), split)
    with pytest.raises(ValueError, match="configs: expected one of the head linear, got 2"):
        list(train([LINEAR, LINEAR], features, split))
    assert not stackable(LINEAR)
    with pytest.raises(ValueError, match="head: expected one that is trained in steps with CUDA graphs"):
        check_compute(LINEAR, ComputeOptions(graphs=True))
    head = head_of(fit(LINEAR, features, split))
    resident = ResidentFeatures(replace(features, texts=None), torch.device("cpu"), 0, 100)
    with pytest.raises(ValueError, match="texts: expected 3, got None"):
        head(*resident.batch(torch.arange(3)).inputs)


def test_keys_depend_on_what_is_read() -> None:
    own = canonical(LINEAR, "x")
    steps = {"lr": 0.5, "epochs": 3, "patience": 2, "warmup": 1, "clip": 1.0, "label_smoothing": 0.1, "batch_size": 8}
    unread: dict[str, Any] = {**steps, "hidden": 9, "m": 4, "lam": 0.9, "pooling": "attention", "dropout": 0.5}
    assert canonical(replace(LINEAR, **unread), "x") == own
    read = {"logistic_c": 3.0, "word_ngrams": 1, "char_ngrams": 0, "means_scale": 0.1, "class_weights": "balanced"}
    for name, value in {**read, "seed": 1, "max_words": 5, "keep_special": True, "center_crop": True}.items():
        assert canonical(replace(LINEAR, **{name: value}), "x") != own, name
    texts = replace(LINEAR, means_scale=0.0)  # which reads no feature
    assert canonical(replace(texts, keep_special=True, center_crop=True), "x") == canonical(texts, "x")
    assert not texts.head_config({}).reads
    concat = TrainConfig(head="concat")
    other = replace(concat, logistic_c=2.0, word_ngrams=1, char_ngrams=0, means_scale=9.0)
    assert canonical(other, "x") == canonical(concat, "x")


# Run folders, sweeps, the command line ------------------------------------------------------------------------------


def cli(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_a_run_folder_is_plain_data_and_gives_the_same_again(tmp_path: Path) -> None:
    made = make_data(tmp_path / "made")
    path = make_run(made, tmp_path / "run", head="linear", logistic_c=2.0)
    files = {file.name for file in path.iterdir()}
    assert "vocabulary.json" in files
    assert {Path(name).suffix for name in files} == {".json", ".csv", ".safetensors"}
    run = load_run(path)
    assert run.metrics["logistic_c"] == {"label": 2.0}
    assert run.config.epochs == run.metrics["best_epoch"] == 1
    found = stores_of_run(run)
    own = load_features(found.table, found.stores, 0, inputs=run.config.inputs)
    again = evaluate(run, own)
    assert again["loss"] == pytest.approx(run.metrics["test"]["loss"], abs=1e-12)
    for pair in pairs_of(run, "val"):
        assert pair.prediction.regions == []
        assert list(pair.prediction.reasons)[-2:] == ["word vectors", "image"]
        assert len(pair.prediction.reasons) > 2
        first, value = next(iter(pair.prediction.reasons.items()))
        assert f"Because: {escape(first)} {value:+.2f}, " in Explanation.of(pair, Images()).html()
    vocabulary = json.loads((path / "vocabulary.json").read_text(encoding="utf-8"))
    assert vocabulary["format"] == 1
    assert vocabulary["words"] == sorted(vocabulary["words"])
    table, bad = runs_table([tmp_path / "run"])
    assert not bad
    assert table["head"].tolist() == ["linear"]

    (path / "vocabulary.json").write_text(json.dumps({**vocabulary, "words": vocabulary["words"][1:]}))
    with pytest.raises(RunError, match="does not have the shapes"):
        load_run(path).head()
    (path / "vocabulary.json").write_text(json.dumps({"format": 1, "words": []}))
    with pytest.raises(RunError, match=r"vocabulary\.json does not describe the vocabulary of a run"):
        load_run(path).head()
    (path / "vocabulary.json").write_text(json.dumps({**vocabulary, "format": 9}))
    with pytest.raises(RunError, match=r"vocabulary\.json"):
        load_run(path).head()
    (path / "vocabulary.json").unlink()
    with pytest.raises(RunError, match=r"cannot read .*vocabulary\.json"):
        load_run(path).head()


def test_from_the_command_line(tmp_path: Path) -> None:
    """Trained by seeds, swept over C beside another head by workers and side by side, evaluated and reported on."""
    made = make_data(tmp_path / "made")
    said = cli("train", "--cache", made.cache, "--head", "linear", "--out", tmp_path / "run")
    chosen = load_run(tmp_path / "run").metrics["logistic_c"]["label"]
    assert f"C = {chosen:g} of label, " in said
    row = next(line for line in said.splitlines() if line.startswith("test"))
    assert row in cli("evaluate", tmp_path / "run")
    cli("report", tmp_path / "run", "--out", tmp_path / "page")
    assert "linear" in "".join(page.read_text(encoding="utf-8") for page in (tmp_path / "page").glob("*.html"))
    cli("train", "--cache", made.cache, "--head", "linear", "--seeds", 2, "--out", tmp_path / "seeds")
    one, two = (load_run(tmp_path / "seeds" / f"seed{seed}") for seed in (0, 1))
    assert one.metrics == two.metrics
    tables = []
    for how in (("--workers", 1), ("--stack", 4)):
        out = tmp_path / how[0]
        cli(
            *("sweep", "--cache", made.cache, "--head", "linear,pooled", "--logistic-c", "0.5,none", "--epochs", 1),
            *(*how, "--device", "cpu", "--out", out),
        )
        results = Sweep(out).finished()
        assert len(results) == 3  # pooled has no C
        tables.append(pd.read_csv(out / "results.csv").set_index("key").sort_index())
        assert sorted(tables[-1]["head"]) == ["linear", "linear", "pooled", "pooled"]
        assert "Results" in cli("sweep", "--resume", out)
    columns = ["val_accuracy", "val_loss"]
    np.testing.assert_allclose(tables[0][columns], tables[1][columns], rtol=1e-4)  # workers solve as coarsely as ever
    own = tables[0][tables[0]["logistic_c"].isna() & (tables[0]["head"] == "linear")]
    assert own["val_loss"].tolist() == pytest.approx([load_run(tmp_path / "run").metrics["val"]["loss"]], rel=1e-4)
