"""The demo: what is drawn, that its label takes both image and text, and that ITIN finds it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from itin.cli import main
from itin.demo import run
from itin.demo.draw import MOODS, draw, plan
from itin.demo.run import RECIPE, load, prepare
from itin.extract.data.datasets import open_dataset
from itin.train.loop import fit
from itin.train.protocols.split import random_split
from itin.train.runs.folder import load_run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    one, same, other = (draw(tmp_path / name, 6, seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert one == same
    assert one != other
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_the_reader_finds_the_planted_labels(tmp_path: Path) -> None:
    pairs = draw(tmp_path, 40, 0)
    dataset = open_dataset("mvsa-single", tmp_path)
    assert {entry.id: entry.label for entry in dataset.entries} == {
        pair.id: pair.label for pair in pairs if pair.label is not None
    }
    assert dataset.dropped == {"text and image labels conflict": 2}
    assert len(pairs) == 44


def test_no_label_is_frequent() -> None:
    labels = Counter(pair.label for pair in plan(2400, 0))
    for label in ("positive", "neutral", "negative"):
        assert labels[label] == pytest.approx(800, abs=20)


def test_words_alone_do_not_give_the_label_away() -> None:
    """A bag of words knows nothing of a caption that speaks of more than the picture shows."""
    pairs = [pair for pair in plan(2400, 0) if pair.label and pair.others]
    words = CountVectorizer().fit_transform(pair.caption for pair in pairs).toarray()
    labels = np.array([pair.label for pair in pairs])
    model = LogisticRegression(max_iter=500).fit(words[:1000], labels[:1000])
    assert model.score(words[1000:], labels[1000:]) < 0.42
    assert {pair.label for pair in pairs if pair.setting == "gloomy"} == {"neutral", "negative"}
    assert set(MOODS.values()) == {"positive", "neutral", "negative"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    summary = prepare(folder)
    assert len(summary.scan.samples) == 2401  # the truncated picture shows when it is decoded
    assert [row.reason for row in summary.rejected] == ["text is empty"]
    assert [len(store.quarantined) for store in summary.stores] == [1, 0, 1]
    return folder


@pytest.mark.slow
def test_itin_finds_what_takes_image_and_text(folder: Path) -> None:
    """At least ten points above only-context for each of three seeds, and not below no-align in their mean."""
    _, features, _ = load(folder)
    assert len(features) == 2400
    accuracy: dict[str, list[float]] = {}
    for ablation in ("none", "only-context", "no-align"):
        for seed in (0, 1, 2):
            recipe = replace(RECIPE, ablation=ablation, seed=seed, split_seed=seed)
            result = fit(recipe, features, random_split(features.ids, seed))
            accuracy.setdefault(ablation, []).append(result.metrics["test"]["accuracy"])
    print(accuracy)
    for itin, context in zip(accuracy["none"], accuracy["only-context"], strict=True):
        assert itin >= context + 0.1, accuracy
    assert np.mean(accuracy["none"]) >= np.mean(accuracy["no-align"]), accuracy


def test_the_command_says_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "PAIRS", 40)
    monkeypatch.setattr(run, "RECIPE", replace(RECIPE, epochs=1, d=8, k=8))
    monkeypatch.setattr(run.prepare, "__defaults__", (40, 0, None))
    result = CliRunner().invoke(main, ["demo", "--folder", "demo"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for said in (
        "ITIN",
        "only context",
        "always ",
        "truncated",
        "text is empty",
        "untrained encoders",
        "itin train --m 2",
    ):
        assert said in result.output, said
    assert str(tmp_path) not in result.output
    assert "itin predict demo/runs/" in result.output
    runs = (tmp_path / "demo" / "runs").iterdir()
    assert {load_run(path).config.ablation for path in runs} == {"none", "only-context"}
