"""Real stores to features to batches: which samples, which rows, which words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from itin.cache import Store
from itin.errors import CacheError, DataError
from itin.train.features.batches import ResidentFeatures
from itin.train.features.features import Features
from itin.train.features.load import load_features

from .. import features

IDS = [f"s{i}" for i in range(7)]
LENGTHS = [3, 3, 5, 3, 4, 3, 6]  # with [CLS] and [SEP]
COUNTS = [3, 1, 0, 3, 2, 3, 2]
LABELS = ["positive", None, "negative", "neutral", "positive", "negative", "neutral"]


def digest(kind: str, sample: str) -> str:
    return f"{'text' if kind == 'tokens' else 'image'}-{sample}"


def arrays(kind: str, i: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(i)
    if kind == "context":
        return {"context": np.full(4, i, np.float32)}
    if kind == "tokens":
        n = LENGTHS[i]
        words = np.arange(-1, n - 1)
        words[-1] = -1
        return {
            "tokens": rng.normal(size=(n, 5)).astype(np.float16).astype(np.float32),
            "token_ids": np.arange(n, dtype=np.int32),
            "word_ids": words.astype(np.int32),
        }
    k = COUNTS[i]
    return {
        "regions": (np.arange(k * 6).reshape(k, 6) + 100 * i).astype(np.float32),
        "boxes": np.zeros((k, 4), np.float32),
        "scores": np.zeros(k, np.float32),
        "objects": np.zeros(k, np.int32),
        "object_scores": np.zeros(k, np.float32),
        "attributes": np.zeros(k, np.int32),
        "attribute_scores": np.zeros(k, np.float32),
    }


def make_store(
    parent: Path, kind: str, ids: list[str], max_regions: int = 3, quarantine: tuple[str, ...] = ()
) -> Store:
    identity = features.identity(kind, "test", "float16", features.DIMS[kind], max_regions)
    identity["weights"] = {"random_init": 0}
    rows = [(sample, digest(kind, sample)) for sample in ids]
    return features.make_store(
        parent, identity, rows, lambda id: arrays(kind, IDS.index(id)), size=2, quarantine=quarantine
    )


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """Regions in another order, and one sample without context."""
    parent = tmp_path_factory.mktemp("cache")
    return {
        "regions": make_store(parent, "regions", IDS[::-1]),
        "tokens": make_store(parent, "tokens", IDS),
        "context": make_store(parent, "context", [sample for sample in IDS if sample != "s3"]),
    }


def make_table(**changes: Any) -> SimpleNamespace:
    samples = pd.DataFrame(
        {
            "id": IDS,
            "label": LABELS,
            "image_sha256": [digest("context", sample) for sample in IDS],
            "text_sha256": [digest("tokens", sample) for sample in IDS],
            **changes,
        }
    )
    return SimpleNamespace(dataset={"name": "planted"}, samples=samples)


def test_labelled_samples_that_all_stores_hold(stores: dict[str, Store]) -> None:
    features = load_features(make_table(), stores, m=2, allow_missing=True)
    assert features.ids == ["s0", "s2", "s4", "s5", "s6"]  # s1 has no label, s3 no context
    assert features.labels.tolist() == [0, 2, 0, 2, 1]
    assert (features.labelled, features.missing) == (6, {"regions": 0, "tokens": 0, "context": 1})
    assert features.dataset == "planted"
    assert features.dims == {"region_dim": 6, "token_dim": 5, "context_dim": 4}
    assert features.counts.tolist() == [2, 0, 2, 2, 2]
    assert features.regions.dtype == features.tokens.dtype == features.context.dtype == np.float16
    assert features.context[:, 0].tolist() == [0, 2, 4, 5, 6]
    assert features.regions[3].tolist() == (np.arange(12).reshape(2, 6) + 500).tolist()
    assert not features.regions[1].any()
    assert np.diff(features.offsets).tolist() == [1, 3, 2, 1, 4]
    for row, i in enumerate([0, 2, 4, 5, 6]):
        words = features.tokens[features.offsets[row] : features.offsets[row + 1]]
        assert np.array_equal(words, arrays("tokens", i)["tokens"][1:-1])


def test_many_samples_without_features_are_refused(stores: dict[str, Store], tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=r"1 of 6 labelled pairs of planted have no features[\s\S]*--allow-missing"):
        load_features(make_table(), stores, m=2)
    assert load_features(make_table(), stores, m=2, allow_missing=True).outside == [
        "without features: 1 (s3), `itin extract` makes them"
    ]
    renamed = make_table(id=[f"S{i:02d}" for i in range(7)])
    with pytest.raises(
        CacheError, match=r"no labelled sample of planted [\s\S]*cause: upper and lower case and leading zeros"
    ):
        load_features(renamed, stores, m=2)
    some = make_table(id=[*IDS[:4], *(f"{one}.txt" for one in IDS[4:])])
    with pytest.raises(CacheError) as caught:
        load_features(some, stores, m=2)
    assert "likely cause: file extensions: 's4.txt' against 's4', 3 such" in str(caught.value)


def test_a_changed_input_is_told_from_one_that_was_never_extracted(stores: dict[str, Store]) -> None:
    texts = [*(digest("tokens", sample) for sample in IDS[:4]), "changed", "changed", "changed"]
    with pytest.raises(CacheError) as caught:
        load_features(make_table(text_sha256=texts), stores, m=2)
    assert "4 of 6 labelled pairs" in str(caught.value)
    assert "3 of them had another image or text when their tokens features were made" in str(caught.value)


def test_what_is_in_quarantine_is_no_loss(stores: dict[str, Store], tmp_path: Path) -> None:
    """Its reason is known, and was told when the features were made; of another input of the sample it says nothing."""
    context = make_store(tmp_path, "context", IDS, quarantine=("s3", "s4"))
    features = load_features(make_table(), {**stores, "context": context}, m=2)
    assert (features.ids, features.missing["context"]) == (["s0", "s2", "s5", "s6"], 2)
    assert features.outside == ["in quarantine: 2 (s3, s4), `itin cache info` says why"]
    other = make_table(
        image_sha256=[*(digest("context", one) for one in IDS[:4]), "new", *(digest("context", one) for one in IDS[5:])]
    )
    with pytest.raises(CacheError, match="1 of 6 labelled pairs of planted have no features"):
        load_features(other, {**stores, "context": context}, m=2)


def test_special_tokens_can_be_kept(stores: dict[str, Store]) -> None:
    features = load_features(make_table(), stores, m=2, keep_special=True, allow_missing=True)
    assert np.diff(features.offsets).tolist() == [3, 5, 4, 3, 6]
    assert np.array_equal(features.tokens[:3], arrays("tokens", 0)["tokens"])


def test_changed_input_is_missing_until_it_is_extracted_again(stores: dict[str, Store]) -> None:
    table = make_table(image_sha256=["changed", *(digest("context", sample) for sample in IDS[1:])])
    features = load_features(table, stores, m=2, allow_missing=True)
    assert features.ids == ["s2", "s4", "s5", "s6"]
    assert features.missing == {"regions": 1, "tokens": 0, "context": 2}


def test_without_regions(stores: dict[str, Store], tmp_path: Path) -> None:
    with_store = load_features(make_table(), stores, m=0, allow_missing=True)
    assert with_store.regions.shape == (5, 0, 0)
    assert with_store.dims == {"token_dim": 5, "context_dim": 4}
    fewer = {**stores, "regions": make_store(tmp_path, "regions", ["s0", "s2"])}
    assert load_features(make_table(), fewer, m=0, allow_missing=True).ids == [
        "s0",
        "s2",
    ]  # the same samples as with regions
    del fewer["regions"]
    assert load_features(make_table(), fewer, m=0, allow_missing=True).ids == with_store.ids


@pytest.mark.parametrize("kind", ["regions", "tokens", "context"])
def test_missing_store(stores: dict[str, Store], kind: str) -> None:
    others = {name: store for name, store in stores.items() if name != kind}
    with pytest.raises(CacheError, match=f"no {kind} features of planted[\\s\\S]*run `itin extract --only {kind}`"):
        load_features(make_table(), others, m=2)


def test_too_few_regions_in_the_store(stores: dict[str, Store]) -> None:
    with pytest.raises(
        CacheError, match=r"at least m = 5\n  found:    3\n  next:     train with --m 3, or run .*--max-regions 5"
    ):
        load_features(make_table(), stores, m=5)


def test_nothing_in_common(stores: dict[str, Store]) -> None:
    table = make_table(text_sha256=["changed"] * 7)
    with pytest.raises(CacheError, match=r"no labelled sample of planted[\s\S]*6 labelled samples; .*6 of tokens"):
        load_features(table, stores, m=2)


def test_labels_are_checked(stores: dict[str, Store]) -> None:
    with pytest.raises(DataError, match=r"no sample of planted has a label[\s\S]*7 samples without a label"):
        load_features(make_table(label=[None] * 7), stores, m=2)
    with pytest.raises(DataError, match=r"unknown labels in planted[\s\S]*found:    angry"):
        load_features(make_table(label=["angry", *LABELS[1:]]), stores, m=2)
    with pytest.raises(DataError, match="0 samples without a label"):
        load_features(SimpleNamespace(dataset={"name": "planted"}, samples=pd.DataFrame()), stores, m=2)


def test_arguments_are_checked(stores: dict[str, Store]) -> None:
    with pytest.raises(ValueError, match="m: expected at least 0, got -1"):
        load_features(make_table(), stores, m=-1)
    features = load_features(make_table(), stores, m=2, allow_missing=True)
    with pytest.raises(ValueError, match="features: expected at least m = 3 regions per image, got 2"):
        ResidentFeatures(features, torch.device("cpu"), 3)
    with pytest.raises(ValueError, match=r"context: expected \(5, C\), got \(4, 4\)"):
        Features(
            features.ids, features.labels, features.regions, features.counts, features.tokens, features.offsets,
            features.context[:4],
        )  # fmt: skip


def test_batches(stores: dict[str, Store]) -> None:
    features = load_features(make_table(), stores, m=3, allow_missing=True)
    resident = ResidentFeatures(features, torch.device("cpu"), 2)
    batch = resident.batch(torch.tensor([3, 0, 1]))  # s5, s0, s2
    assert batch.labels.tolist() == [2, 0, 2]
    assert batch.region_mask.tolist() == [[True, True], [True, True], [False, False]]
    assert batch.words.mask.tolist() == [[True, False, False], [True, False, False], [True, True, True]]
    assert batch.regions.dtype == batch.words.x.dtype == batch.context.dtype == torch.float32
    assert batch.regions[0].tolist() == (np.arange(12).reshape(2, 6) + 500).tolist()
    first, second, third = arrays("tokens", 2)["tokens"][1:-1].tolist()  # of the longest text, which is read first
    assert [batch.words.x[0, place].tolist() for place in (0, 3, 4)] == [first, second, third]
    assert [batch.words.x[1, place].tolist() for place in (0, 3, 4)] == [third, second, first]
    assert batch.context[:, 0].tolist() == [5, 0, 2]
    none = ResidentFeatures(features, torch.device("cpu"), 0).batch(torch.tensor([3]))
    assert none.regions is None
    assert none.region_mask is None


def test_resident_uses_the_arrays_without_a_copy(stores: dict[str, Store]) -> None:
    features = load_features(make_table(), stores, m=2, allow_missing=True)
    resident = ResidentFeatures(features, torch.device("cpu"), 2)
    assert resident.tokens.data_ptr() == features.tokens.ctypes.data
    assert resident.regions.data_ptr() == features.regions.ctypes.data
    features.context.flags.writeable = False
    assert torch.equal(ResidentFeatures(features, torch.device("cpu"), 2).context, resident.context)
