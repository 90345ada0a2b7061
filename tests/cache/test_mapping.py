"""`itin.cache.open`: a store as a mapping from ids to features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import itin.cache

from .. import features
from ..features import fill_store, make_pairs, store_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return make_pairs(tmp_path)


def test_open_gives_a_mapping_and_bulk_access(cache: Path) -> None:
    for kind in ("regions", "tokens", "context"):
        samples = itin.cache.open(store_of(cache, kind).path)
        assert list(samples) == [f"id-{i}" for i in range(10)]
        assert len(samples) == 10
        assert "id-3" in samples
        assert "id-10" not in samples
        for sample, arrays in samples.items():
            expected = features.sample(kind, int(sample.removeprefix("id-")))
            assert arrays.keys() == expected.keys()
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, expected[name])
        with pytest.raises(KeyError):
            samples["nobody"]
    ids = ["id-8", "id-1"]
    np.testing.assert_array_equal(
        itin.cache.open(store_of(cache, "context").path).read("context", ids),
        np.stack([features.sample("context", row)["context"] for row in (8, 1)]),
    )
    ragged = itin.cache.open(store_of(cache, "tokens").path).read_ragged(ids)
    assert ragged["offsets"].tolist()[1] == len(features.sample("tokens", 8)["tokens"])
    assert repr(samples).startswith("Samples(Store('")
    assert not hasattr(itin.cache, "close")


def test_the_newest_features_of_a_changed_sample_are_given(tmp_path: Path) -> None:
    store = fill_store(tmp_path, "context", [*features.rows(3), ("id-1", "f" * 64)])
    samples = itin.cache.open(store.path)
    assert len(store) == 4
    assert len(samples) == 3
    assert samples.rows(["id-1"]).tolist() == [3]
