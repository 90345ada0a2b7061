"""The extraction loop with cheap encoders: resume, growth, changes, quarantine, faults."""

from __future__ import annotations

import errno
import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from itin.cache import open_store, read_table
from itin.errors import CacheError, DataError
from itin.extract import fill, run
from itin.extract.config import EncoderConfig, ExtractConfig
from itin.extract.data import reading
from itin.extract.data.samples import Sample
from itin.extract.run import extract
from itin.extract.summary import Summary
from itin.targets import cells_of, targets_of

from ..cheap_encoder import Fake

Draw = Callable[..., Path]


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Fake]:
    """The encoders of the last extraction, by kind."""
    made: dict[str, Fake] = {}

    def build(kind: str, config: EncoderConfig, *_: Any, **__: Any) -> Fake:
        names = {"regions": config.regions, "tokens": config.text_encoder, "context": config.context_encoder}
        fault = made[kind].fault if kind in made else None
        made[kind] = Fake(kind, names[kind])
        if fault is not None:
            made[kind].fault = fault
        return made[kind]

    monkeypatch.setattr(run, "build_encoder", build)
    monkeypatch.setattr(run, "needs_built_tokenizer", lambda config: False)
    monkeypatch.setattr(reading, "WAITS", (0, 0))
    return made


@pytest.fixture
def config(tmp_path: Path, draw_mvsa: Draw) -> ExtractConfig:
    root = draw_mvsa(tmp_path / "data", pairs=11)
    return ExtractConfig("mvsa-single", root=root, cache=tmp_path / "cache", shard_size=4, workers=2)


def made(summary: Summary) -> dict[str, int]:
    return {store.kind: store.made for store in summary.stores}


def test_a_store_of_labelled_pairs_grows_by_those_without(
    config: ExtractConfig, fakes: dict[str, Fake], draw_mvsa: Draw, tmp_path: Path
) -> None:
    labels = tmp_path / "data" / "labelResultAll.txt"
    lines = labels.read_text().splitlines()
    lines[2], lines[6] = "2\tpositive,negative", "6\tnegative,positive"
    labels.write_text("\n".join(lines) + "\n")
    some = extract(replace(config, labelled_only=True))
    assert made(some) == {"regions": 9, "tokens": 9, "context": 9}
    assert read_table(some.folder).samples["id"].tolist() == [str(i) for i in (1, 3, 4, 5, 7, 8, 9, 10, 11)]
    before = {path: path.read_bytes() for path in some.folder.rglob("shard-*")}
    whole = extract(config)
    assert made(whole) == {"regions": 2, "tokens": 2, "context": 2}
    assert {path: path.read_bytes() for path in before} == before
    table = read_table(whole.folder)
    assert (table.dataset["samples"], table.dataset["labelled"], table.dataset["dropped"]) == (11, 9, {})
    assert table.dataset["undecided"] == {"text and image labels conflict": 2}
    assert next(iter(targets_of(table.dataset))) == "label"
    assert cells_of(table.samples, "intensity") == [1, 0, -1, 1, 0, 0, 1, 0, -1, 1, 0]
    assert cells_of(table.samples, "label")[1] is cells_of(table.samples, "label")[5] is None
    store = open_store(whole.stores[2].path)
    assert store.manifest["complete"]
    assert store.ids == ["1", "3", "4", "5", "7", "8", "9", "10", "11", "2", "6"]
    labelled = extract(replace(config, labelled_only=True, limit=3, cache=tmp_path / "other"))
    limited = extract(replace(config, limit=3, cache=tmp_path / "more"))
    ids = [open_store(one.stores[0].path).ids for one in (labelled, limited)]
    assert ids == [["1", "3", "4"], ["1", "2", "3", "4"]]
    read: list[str] = []  # the texts that a vocabulary is built from are those of before

    def load(config: ExtractConfig, folder: Path, samples: list[Sample]) -> list[run.Encoder]:
        read.extend(sample.id for sample in samples)
        return run.load_encoders(config, folder, samples)

    extract(config, load=load)
    assert read == ["1", "3", "4", "5", "7", "8", "9", "10", "11"]


def test_every_feature_is_made_once(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    summary = extract(config)
    assert made(summary) == {"regions": 11, "tokens": 11, "context": 11}
    table = read_table(summary.folder)
    assert table.samples["id"].tolist() == [str(i) for i in range(1, 12)]
    assert table.dataset["labelled"] == 11
    store = open_store(summary.stores[2].path)
    assert store.manifest["complete"]
    rows = store.index(table.samples["id"].tolist(), table.samples["image_sha256"].tolist())
    for row, path in zip(rows, table.samples["image"], strict=True):
        expected = np.asarray(Image.open(path)).reshape(-1, 3).mean(0).astype(np.float16)
        np.testing.assert_array_equal(store.read("context", np.array([row]))[0], expected)
    again = extract(config)
    assert made(again) == {"regions": 0, "tokens": 0, "context": 0}
    assert [store.reused for store in again.stores] == [11, 11, 11]
    assert fakes["regions"].seen == 0


def test_an_image_is_decoded_once_for_all_encoders(
    config: ExtractConfig, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[str] = Counter()
    image_as_scanned = fill.image_as_scanned

    def count(sample: Any) -> Any:
        reads[sample.image] += 1
        return image_as_scanned(sample)

    monkeypatch.setattr(fill, "image_as_scanned", count)
    extract(config)
    assert len(reads) == 11
    assert set(reads.values()) == {1}


def test_another_encoder_recomputes_only_its_kind(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    first = extract(config)
    second = extract(replace(config, encoders=EncoderConfig(regions="grid")))
    assert made(second) == {"regions": 11, "tokens": 0, "context": 0}
    assert first.stores[0].path != second.stores[0].path
    assert first.stores[1].path == second.stores[1].path


def test_limit_is_a_prefix_of_the_same_plan(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    assert made(extract(replace(config, limit=6))) == {"regions": 6, "tokens": 6, "context": 6}
    rest = extract(config)
    assert made(rest) == {"regions": 5, "tokens": 5, "context": 5}
    store = open_store(rest.stores[0].path)
    assert sorted(store.ids, key=int) == [str(i) for i in range(1, 12)]


def test_only_some_kinds(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    assert made(extract(replace(config, only=("context",)))) == {"context": 11}
    assert made(extract(config)) == {"regions": 11, "tokens": 11, "context": 0}


def test_changed_and_new_inputs_are_extracted_and_nothing_else(
    config: ExtractConfig, fakes: dict[str, Fake], draw_mvsa: Draw, tmp_path: Path
) -> None:
    extract(config)
    assert config.root is not None
    Image.new("RGB", (8, 8), "red").save(config.root / "data" / "3.jpg")
    (config.root / "data" / "5.txt").write_text("three new words\n")
    larger = draw_mvsa(tmp_path / "larger", pairs=13)
    for name in ("data/12.jpg", "data/12.txt", "data/13.jpg", "data/13.txt", "labelResultAll.txt"):
        shutil.copy2(larger / name, config.root / name)
    summary = extract(config)
    assert made(summary) == {"regions": 3, "tokens": 3, "context": 3}
    table = read_table(summary.folder)
    store = open_store(summary.stores[2].path)
    row = store.index(["3"], [table.samples.set_index("id").loc["3", "image_sha256"]])
    np.testing.assert_allclose(store.read("context", row)[0], [254, 0, 0])
    assert made(extract(config)) == {"regions": 0, "tokens": 0, "context": 0}


def test_bad_pairs_are_quarantined_and_tried_again_when_asked(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    assert config.root is not None
    image = config.root / "data" / "4.jpg"
    whole = image.read_bytes()
    image.write_bytes(whole[:-20])
    (config.root / "data" / "6.jpg").unlink()
    (config.root / "data" / "7.txt").write_bytes(b" \n")
    summary = extract(config)
    assert {row.id for row in summary.rejected} == {"6", "7"}
    assert made(summary) == {"regions": 8, "tokens": 9, "context": 8}
    for store in (summary.stores[0], summary.stores[2]):
        assert list(store.quarantined) == ["4"]
        assert "cannot be decoded" in store.quarantined["4"]
    assert read_table(summary.folder).rejected["id"].tolist() == ["6", "7"]
    fakes["regions"].seen = 0
    assert made(extract(config)) == {"regions": 0, "tokens": 0, "context": 0}
    retried = extract(replace(config, retry_quarantined=True))
    assert list(retried.stores[0].quarantined) == ["4"]
    image.write_bytes(whole)
    mended = extract(config)
    assert made(mended) == {"regions": 1, "tokens": 0, "context": 1}
    assert mended.stores[0].quarantined == {}


def test_a_feature_that_overflows_is_quarantined(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    extract(replace(config, limit=1))

    def huge(batch: list[Any]) -> None:
        batch[0][:] = 1e6

    fakes["context"].fault = huge
    summary = extract(replace(config, only=("context",)))
    assert set(summary.stores[0].quarantined.values()) == {
        "context overflows float16: 1e+06 (use --store-dtype float32)"
    }
    assert len(summary.stores[0].quarantined) == 4  # the first of each batch of 3, of 10
    store = open_store(summary.stores[0].path)
    assert len(store) == 7
    assert np.isfinite(store.read("context", np.arange(7))).all()


def test_one_input_that_an_encoder_cannot_take_does_not_spoil_its_batch(
    config: ExtractConfig, fakes: dict[str, Fake]
) -> None:
    extract(replace(config, limit=1))

    def refuse(batch: list[Any]) -> None:
        if any("number 5" in text for text in batch):
            raise RuntimeError("index out of range\nlong trace")

    fakes["tokens"] = Fake("tokens", config.encoders.text_encoder)
    fakes["tokens"].fault = refuse
    summary = extract(replace(config, only=("tokens",)))
    assert summary.stores[0].quarantined == {"5": "the encoder failed: index out of range"}
    assert summary.stores[0].made == 9


def test_an_error_without_a_message_is_named_by_its_class(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    def refuse(batch: list[Any]) -> None:
        if any("number 5" in text for text in batch):
            raise RuntimeError

    fakes["tokens"] = Fake("tokens", config.encoders.text_encoder)
    fakes["tokens"].fault = refuse
    summary = extract(replace(config, only=("tokens",)))
    assert summary.stores[0].quarantined == {"5": "the encoder failed: RuntimeError"}


def test_an_encoder_that_fails_on_everything_stops_the_run(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    extract(replace(config, limit=1))

    def broken(batch: list[Any]) -> None:
        raise RuntimeError("no device")

    fakes["context"].fault = broken
    with pytest.raises(RuntimeError, match="no device"):
        extract(config)
    fakes["context"].fault = lambda batch: None
    assert made(extract(config))["context"] == 10


def test_a_passing_fault_never_quarantines(
    config: ExtractConfig, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.root is not None
    extract(replace(config, only=("tokens",)))
    broken = str(config.root / "data" / "9.jpg")
    open_file = Path.open

    def shaky(self: Path, *args: Any, **more: Any) -> Any:
        if str(self) == broken:
            raise OSError(errno.EIO, "Input/output error")
        return open_file(self, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", shaky)
        summary = extract(config)
    assert summary.unread == 1
    assert [sample for sample, _ in summary.stores[0].unread] == ["9"]
    assert summary.stores[0].quarantined == {}
    assert not open_store(summary.stores[0].path).manifest["complete"]
    assert made(extract(config)) == {"regions": 1, "tokens": 0, "context": 1}


def test_an_interrupted_run_keeps_what_was_committed(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    extract(replace(config, limit=1))
    batches = []

    def interrupt(batch: list[Any]) -> None:
        batches.append(len(batch))
        if len(batches) == 3:
            raise KeyboardInterrupt

    fakes["regions"].fault = interrupt
    with pytest.raises(KeyboardInterrupt):
        extract(config)
    fakes["regions"].fault = lambda batch: None
    rest = extract(config)
    assert made(rest)["regions"] == 7  # one shard of 3 was committed (rows 1-3 of the first block)
    assert len(open_store(rest.stores[0].path)) == 11


def test_a_lost_shard_is_made_again(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    summary = extract(config)
    (summary.stores[0].path / "shard-00001.h5").unlink()
    with pytest.raises(CacheError, match="run the same `itin extract` again"):
        open_store(summary.stores[0].path)
    assert made(extract(config)) == {"regions": 4, "tokens": 0, "context": 0}
    assert len(open_store(summary.stores[0].path)) == 11


def test_a_wrong_root_is_one_clear_error(config: ExtractConfig, fakes: dict[str, Fake], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labelResultAll\.txt"):
        extract(replace(config, root=tmp_path))
    assert not (tmp_path / "cache").exists()


def test_a_complete_cache_may_be_read_only(
    config: ExtractConfig, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(config)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("itin.disk._write", refuse)
    assert made(extract(config)) == {"regions": 0, "tokens": 0, "context": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ("regions", "sound")}, "only: expected some of regions, tokens, context, scene, got sound"),
        ({"only": ()}, "got nothing"),
        ({"limit": 0}, "limit: expected an integer of at least 1 or None, got 0"),
        ({"shard_size": -1}, "shard_size: expected an integer of at least 1, got -1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExtractConfig("mvsa-single", **options)


def test_wrong_encoder_options_are_refused() -> None:
    with pytest.raises(ValueError, match="store_dtype: expected one of float16, float32, got 'int8'"):
        EncoderConfig(store_dtype="int8")
    with pytest.raises(ValueError, match="compute_dtype: expected one of float32, bfloat16"):
        EncoderConfig(compute_dtype="float64")
    with pytest.raises(ValueError, match="max_regions: expected an integer of at least 1, got 0"):
        EncoderConfig(max_regions=0)


def turned(path: Path, orientation: int) -> None:
    """Write a picture whose upper half is red as it is stored."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (40, 30), "blue")
    picture.paste("red", (0, 0, 40, 15))
    picture.save(path, exif=exif, quality=95)


def test_no_feature_of_before_is_taken_for_a_picture_that_is_turned(
    config: ExtractConfig, fakes: dict[str, Fake]
) -> None:
    """Features and table as they were before orientation was applied: all rows stay but those of turned pictures."""
    assert config.root is not None
    turned(config.root / "data" / "3.jpg", 6)
    turned(config.root / "data" / "7.jpg", 1)
    with pytest.MonkeyPatch.context() as before:
        before.setattr("itin.extract.data.images.TURNS", {})
        folder = extract(config).folder
    table = folder / "samples.jsonl"
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    for row in rows:
        assert row.pop("orientation") == 1
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert (rows[2]["width"], rows[2]["height"]) == (40, 30)

    summary = extract(config)
    assert made(summary) == {"regions": 1, "tokens": 0, "context": 1}
    samples = read_table(folder).samples.set_index("id")
    assert samples.loc["3", ["width", "height", "orientation"]].tolist() == [30, 40, 6]
    assert samples.loc["3", "image_sha256"] != rows[2]["image_sha256"]
    others = [row for row in rows if row["id"] != "3"]
    assert [samples.loc[row["id"], "image_sha256"] for row in others] == [row["image_sha256"] for row in others]
    store = open_store(summary.stores[2].path)
    assert (store.index(["3", "3"], [rows[2]["image_sha256"], samples.loc["3", "image_sha256"]]) >= 0).all()
    assert made(extract(config)) == {"regions": 0, "tokens": 0, "context": 0}


def test_encoders_are_given_the_picture_as_shown(
    config: ExtractConfig, fakes: dict[str, Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.root is not None
    turned(config.root / "data" / "3.jpg", 6)  # the red half is at the right, as shown
    seen = []
    monkeypatch.setattr(Fake, "prepare", lambda self, image: seen.append(image) or np.zeros(3, np.float32))
    extract(replace(config, only=("context",), workers=1))
    image = seen[2]
    assert image.shape == (40, 30, 3)
    np.testing.assert_allclose(image[:, -5:].mean((0, 1)), [254, 0, 0], atol=2)
    np.testing.assert_allclose(image[:, :5].mean((0, 1)), [0, 0, 254], atol=2)


def test_equal_files_are_equal_inputs_however_they_are_turned(config: ExtractConfig, fakes: dict[str, Fake]) -> None:
    from itin.train.protocols.duplicates import image_keys

    assert config.root is not None
    for id, orientation in (("3", 6), ("4", 6), ("5", 8)):
        turned(config.root / "data" / f"{id}.jpg", orientation)
    keys = image_keys(read_table(extract(config).folder).samples)
    assert keys[2] == keys[3] != keys[4]
