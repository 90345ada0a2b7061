"""The pairs of a report against the head's own output, and texts against the words that were read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from itin.errors import RunError
from itin.extract.encoders.tokenizer import tokenizer_sha256
from itin.extract.encoders.wordpiece import build_tokenizer, train_wordpiece
from itin.itin_head.gru.batch import mask_of, pad
from itin.itin_head.registry import HEADS
from itin.predict.pairs import pairs_frame, pairs_of, shown_part, vocabulary_of
from itin.predict.words import segments, splitter_of, words_or_numbers
from itin.train.features.find import stores_of_run
from itin.train.runs.folder import Run, load_run

from ..features import Made, make_data, make_run, word_ids


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_data(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def path(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(made, tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("recipe", [{}, {"gate": "vector"}, {"ablation": "no-gate"}, {"keep_special": True}])
def test_regions_are_what_the_head_says(made: Made, tmp_path: Path, recipe: dict[str, object]) -> None:
    run = load_run(make_run(made, tmp_path / "run", **recipe))
    pairs = pairs_of(run)
    assert [pair.id for pair in pairs] == list(run.predictions[run.predictions["part"] == "test"]["id"])
    stores = stores_of_run(run).stores
    head = run.head()
    counts = set()
    for pair in pairs:
        i = made.ids.index(pair.id)
        assert (pair.text, pair.image, pair.size) == (made.texts[i], made.images / f"{i}.jpg", (64, 48))
        row = {kind: store.index([pair.id]) for kind, store in stores.items()}
        words = stores["tokens"].read_ragged(row["tokens"])
        kept = np.ones(len(words["word_ids"]), bool) if run.config.keep_special else words["word_ids"] >= 0
        tokens, mask = pad([torch.from_numpy(words["tokens"][kept])])
        count = int(stores["regions"].read("counts", row["regions"])[0])
        with torch.inference_mode():
            out = head(
                torch.from_numpy(stores["regions"].read("regions", row["regions"], first=3)),
                tokens,
                mask,
                torch.from_numpy(stores["context"].read("context", row["context"])),
                mask_of(torch.tensor([count]), 3),
            )
        chances = out.logits.double().softmax(1)[0].numpy()
        assert list(pair.prediction.probabilities.values()) == pytest.approx(chances, abs=1e-6)
        assert len(pair.prediction.regions) == count
        counts.add(count)
        ids = [word for word in word_ids(pair.text) if run.config.keep_special or word >= 0]
        for number, region in enumerate(pair.prediction.regions):
            expected: dict[int, float] = {}
            for word, weight in zip(ids, out.alignment[0, number].tolist(), strict=True):
                expected[word] = expected.get(word, 0) + weight
            assert region.words == pytest.approx(expected, abs=1e-6)
            assert sum(region.words.values()) == pytest.approx(1, abs=1e-5)
            assert region.gate == pytest.approx(float(out.gate[0, number].mean()), abs=1e-6)
            assert region.attention == pytest.approx(float(out.attention[0, number]), abs=1e-6)
            box = stores["regions"].read("boxes", row["regions"])[0, number]
            assert region.box == pytest.approx(box)
            assert region.name == (f"attribute 7 object {i}" if i % 2 == 0 else "")
        assert pair.prediction.words == pair.text.replace("!", " !").split()
    assert counts > {1, 2}


def test_heads_that_align_nothing_have_no_regions(made: Made, tmp_path: Path) -> None:
    run = load_run(make_run(made, tmp_path / "run", ablation="only-context"))
    pairs = pairs_of(run, "val")
    assert [pair.prediction.regions for pair in pairs] == [[]] * len(pairs)
    assert all(pair.prediction.words for pair in pairs)
    assert pairs_frame(pairs).empty


ATTEND = ("multisentinet", "comn", "mvan", "hsan")
"""The heads that attend to words by themselves."""


@pytest.mark.parametrize("head", ATTEND)
def test_what_a_head_attends_to_is_what_it_says(made: Made, tmp_path: Path, head: str) -> None:
    """The weights of a word's pieces are added; regions without a gate have an attention alone."""
    run = load_run(make_run(made, tmp_path / "run", head=head, epochs=1))
    stores, net = stores_of_run(run).stores, run.head()
    for pair in pairs_of(run):
        row = {kind: store.index([pair.id]) for kind, store in stores.items()}
        words = stores["tokens"].read_ragged(row["tokens"])
        tokens, mask = pad([torch.from_numpy(words["tokens"][words["word_ids"] >= 0])])
        count = int(stores["regions"].read("counts", row["regions"])[0])
        with torch.inference_mode():
            out = net(
                torch.from_numpy(stores["regions"].read("regions", row["regions"], first=3)),
                tokens,
                mask,
                torch.from_numpy(stores["context"].read("context", row["context"])),
                mask_of(torch.tensor([count]), 3),
            )
        expected: dict[int, float] = {}
        for word, weight in zip((one for one in word_ids(pair.text) if one >= 0), out.words[0].tolist(), strict=True):
            expected[word] = expected.get(word, 0) + weight
        assert pair.prediction.attended == pytest.approx(expected, abs=1e-6)
        assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
        first = pair.prediction.word(max(expected, key=lambda word: expected[word]))
        assert pair.prediction.heaviest(pair.prediction.attended, 1) == f"{first} {max(expected.values()):.2f}"
        assert [region.gate for region in pair.prediction.regions] == [None] * len(pair.prediction.regions)
        if head in ("comn", "mvan"):
            weights = [region.attention for region in pair.prediction.regions]
            assert weights == pytest.approx(out.attention[0, :count].tolist(), abs=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_can_be_reported_on(made: Made, tmp_path: Path, head: str) -> None:
    run = load_run(make_run(made, tmp_path / "run", head=head, epochs=1))
    pairs = pairs_of(run)
    aligned, hops, attends = head in ("itin", "global-local", "itin-plus"), head in ("comn", "mvan"), head in ATTEND
    assert any(pair.prediction.regions for pair in pairs) == (aligned or hops)
    assert any(pair.prediction.attended for pair in pairs) == attends
    assert pairs_frame(pairs).empty == (not aligned)
    for pair in pairs:
        row = run.predictions.set_index("id").loc[pair.id]
        assert pair.prediction.label == row["predicted"]
        assert pair.prediction.words == pair.text.replace("!", " !").split()


def test_weights_of_padding_belong_to_no_word(made: Made, tmp_path: Path) -> None:
    run = load_run(make_run(made, tmp_path / "run", mask=False, max_words=40, epochs=1))
    for pair in pairs_of(run):
        for region in pair.prediction.regions:
            assert set(region.words) == set(range(len(pair.prediction.words)))
            assert 0 < sum(region.words.values()) < 1


def test_validation_is_shown_where_the_test_part_is_closed(made: Made, path: Path, tmp_path: Path) -> None:
    assert shown_part(load_run(path)) == "test"
    run = load_run(make_run(made, tmp_path / "run", evaluate=("val",)))
    assert shown_part(run) == "val"
    assert {pair.id for pair in pairs_of(run)} == {one for one, part in run.parts.items() if part == "val"}


def test_pairs_as_a_frame(path: Path) -> None:
    pairs = pairs_of(load_run(path))
    frame = pairs_frame(pairs)
    assert len(frame) == sum(len(region.words) for pair in pairs for region in pair.prediction.regions)
    shares = frame.groupby(["id", "region"])["weight"].sum()
    assert shares.to_numpy() == pytest.approx(np.ones(len(shares)), abs=1e-5)
    first = next(pair for pair in pairs if pair.prediction.regions)
    row = frame[frame["id"] == first.id].iloc[0]
    assert (row["word"], row["gate"]) == (first.prediction.words[0], first.prediction.regions[0].gate)


def test_other_checkpoints_labels_and_samples_are_refused(made: Made, path: Path, tmp_path: Path) -> None:
    other = make_run(made, tmp_path / "other", seed=5)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    (copy / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    refused = r"does not reproduce the run's predictions\n.*within 0.01\n  found:    one that"
    with pytest.raises(RunError, match=refused):
        pairs_of(load_run(copy))
    run = load_run(path)
    found = stores_of_run(run)
    samples = found.table.samples.copy()
    samples["label"] = samples["label"].replace({"neutral": "positive"})
    with pytest.raises(RunError, match=r"does not hold the labels .*(?s:.*)with another label(?s:.*)train again"):
        pairs_of(run, found=replace(found, table=replace(found.table, samples=samples)))
    first = run.predictions[run.predictions["part"] == "test"]["id"].iloc[0]
    samples = found.table.samples[found.table.samples["id"] != first]
    with pytest.raises(
        RunError, match=rf"does not hold the samples(?s:.*)found:    missing: 1 \({first}\)\n.*itin extract"
    ):
        pairs_of(run, found=replace(found, table=replace(found.table, samples=samples)))


def test_words_are_numbers_where_nobody_can_say_which_they_were() -> None:
    assert words_or_numbers("RT @me: so good…", [-1, 0, 1, 2, 3, 4, 5, 6, -1], None) == [
        "RT", "@", "me", ":", "so", "good", "…",
    ]  # fmt: skip
    assert words_or_numbers("so good", [0, 1, 2], None) == ["#1", "#2", "#3"]
    assert words_or_numbers("a b c", [0, 1], str.split) == ["a", "b"]  # cut short, as long texts are
    assert words_or_numbers("a", [0, 1], str.split) == ["#1", "#2"]
    assert words_or_numbers("", [-1, -1], None) == []


def test_names_come_from_the_files_that_the_encoder_read(path: Path, tmp_path: Path) -> None:
    run = load_run(path)
    assert vocabulary_of(run).object(3) == "object 3"  # features that no encoder here has made
    for name, count in (("objects", 1600), ("attributes", 400)):
        (tmp_path / f"{name}.txt").write_text("".join(f"{name} name {i}\n" for i in range(count)))
    options = {
        "random_init": 0,
        "detector_weights": None,
        "object_names": str(tmp_path / "objects.txt"),
        "attribute_names": str(tmp_path / "attributes.txt"),
    }
    entry = run.record["stores"]["regions"]
    entry = {**entry, "identity": {**entry["identity"], "name": "vg-frcnn"}, "options": options}
    known = replace(run, record={**run.record, "stores": {"regions": entry}})
    assert vocabulary_of(known).object(3) == "objects name 3"
    assert vocabulary_of(known).attribute(7) == "attributes name 7"
    (tmp_path / "objects.txt").unlink()
    assert vocabulary_of(known).object(3) == "object 3"
    assert vocabulary_of(replace(run, record={**run.record, "stores": {}})).object(3) == "object 3"


def test_names_in_the_store_go_first(path: Path, tmp_path: Path) -> None:
    run = load_run(path)
    store = stores_of_run(run).stores["regions"]
    assert store.names == {}
    assert vocabulary_of(run, store).object(3) == "object 3"
    store.manifest["provenance"]["names"] = {"objects": ["cat", "dog", "kite", "boat"]}
    assert vocabulary_of(run, store).object(3) == "boat"
    assert vocabulary_of(run, store).object(4) == "object 4"
    assert vocabulary_of(run, store).attribute(0) == "attribute 0"


def test_other_tokenizers_are_not_believed(path: Path, tmp_path: Path) -> None:
    run = load_run(path)
    assert splitter_of(run) is None  # imported features have no options
    (tmp_path / "tokenizer.json").write_bytes(train_wordpiece(["so good, so bad"] * 3))
    tokenizer = build_tokenizer(tmp_path / "tokenizer.json")
    entry = run.record["stores"]["tokens"]

    def other(digest: str) -> Run:
        reading = {"tokenizer_sha256": digest, "max_tokens": 3}
        tokens = {
            **entry,
            "identity": {**entry["identity"], "preprocessing": reading},
            "options": {"text_encoder": "x"},
        }
        return replace(run, path=tmp_path, record={**run.record, "stores": {"tokens": tokens}})

    split = splitter_of(other(tokenizer_sha256(tokenizer)))
    assert split is not None
    assert split("so good, so bad") == ["so", "good", ","]  # as far as it is read
    assert splitter_of(other("ab" * 32)) is None
    (tmp_path / "tokenizer.json").unlink()
    assert splitter_of(other(tokenizer_sha256(tokenizer))) is None


def test_segments_are_the_text_again() -> None:
    cut = segments("so  good, so bad  ", ["so", "good", ",", "so"])
    assert cut == [("so", 0), ("  ", None), ("good", 1), (",", 2), (" ", None), ("so", 3), (" bad  ", None)]
    assert "".join(piece for piece, _ in cut) == "so  good, so bad  "
    assert segments("so", ["", "so"]) == [("so", 1)]
    assert segments("so good", ["#1", "#2"]) == [("so good", None), (" ", None), ("#1", 0), (" ", None), ("#2", 1)]
