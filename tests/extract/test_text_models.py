"""Models of texts by name: each family against the library's own forward pass, lengths, special tokens and words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from itin.errors import WeightsError
from itin.extract.config import EncoderConfig
from itin.extract.encoders import tokenizer as tokenizer_module
from itin.extract.encoders.build import identity_of
from itin.extract.encoders.tokenizer import Reader, load_tokenizer
from itin.extract.encoders.tokens import BertTokens

from ..loopback_hub import LoopbackHub
from .text_models import FAMILIES, T5, TEXTS, text_model, tower_of

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # DeBERTa's, before transformers 5
CPU = torch.device("cpu")
HARD = [
    *(TEXTS[:4]),
    " leading  and\tdouble spaces\nand a line ",
    "日本語のテキスト café naïve \U0001f600\U0001f44d\U0001f3fd ﬁ ™ … x²",
    "http://t.co/abc @Bob_1: it's #great!!",
    "",
]
SPECIAL = {"t5": 1, "siglip2": 1, "gpt2": 0}
"""Special tokens that a family's tokenizer adds, where not two."""
Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function from a family to its folder, made once."""
    folder, made = tmp_path_factory.mktemp("models"), {}

    def one(family: str) -> Path:
        if family not in made:
            made[family] = text_model(folder / family, family)
        return made[family]

    return one


def encoder_of(folder: Path | str, **options: Any) -> BertTokens:
    batch_size = options.pop("batch_size", None)
    return BertTokens(EncoderConfig(text_encoder=str(folder), **options), CPU, batch_size=batch_size)


def texts_of_length(tokenizer: Any, length: int) -> list[str]:
    """Return texts of fewer tokens than the length, of exactly as many, of one more and of many more."""
    counts = {len(tokenizer("dog" + " a" * count)["input_ids"]): "dog" + " a" * count for count in range(3 * length)}
    return ["happy dog", counts[length - 1], counts[length], counts[length + 1], " ".join(TEXTS)]


def letters(text: str) -> str:
    """Return the letters and digits of a text: BERT drops what it takes for control characters."""
    return "".join(character for character in text if character.isalnum())


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_the_librarys(family: str, make: Make) -> None:
    folder, length = make(family), FAMILIES[family][3]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*texts_of_length(tokenizer, length), *HARD]
    encoder = encoder_of(folder, batch_size=3)
    model = tower_of(folder, family)
    for text, output in zip(texts, encoder.encode(texts), strict=True):
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)
        ids = inputs["input_ids"][0].tolist()
        assert output["token_ids"].tolist() == ids
        if not ids:  # of a model without special tokens
            assert output["tokens"].shape == (0, 32)
            continue
        if family == "siglip2":  # trained on the full length, without a mask
            inputs = {"input_ids": torch.tensor([ids + [0] * (length - len(ids))])}
        else:
            inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        with torch.inference_mode():
            expected = model(**inputs).last_hidden_state[0, : len(ids)]
        np.testing.assert_allclose(output["tokens"], expected, atol=1e-5, rtol=0)
        assert np.isfinite(output["tokens"]).all()
        assert np.abs(output["tokens"]).max() > 0.05
    assert len(encoder.encode([texts[-len(HARD) - 1]])[0]["token_ids"]) == length
    assert encoder.spec.dims == {"feature": 32}


@pytest.mark.parametrize("family", FAMILIES)
def test_batch_size_order_and_padding_change_nothing(family: str, make: Make) -> None:
    texts = [*HARD, "a", " ".join(TEXTS)]
    whole = encoder_of(make(family), batch_size=32).encode(texts)
    single = encoder_of(make(family), batch_size=1).encode(texts[::-1])[::-1]
    for one, other in zip(whole, single, strict=True):
        np.testing.assert_allclose(one["tokens"], other["tokens"], atol=1e-5, rtol=0)
        assert one["word_ids"].tolist() == other["word_ids"].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_and_words(family: str, make: Make) -> None:
    """Special tokens are what the tokenizer adds; every other token lies in its word, and the words in the text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(make(family))
    encoder = encoder_of(make(family))
    for text, output in zip(HARD, encoder.encode(HARD), strict=True):
        length = FAMILIES[family][3]
        read = tokenizer(
            text, truncation=True, max_length=length, return_offsets_mapping=True, return_special_tokens_mask=True
        )
        assert [word < 0 for word in output["word_ids"]] == [bool(one) for one in read["special_tokens_mask"]]
        assert sum(output["word_ids"] < 0) == SPECIAL.get(family, 2)
        words, place = encoder.words(text), 0
        numbers = [word for word in output["word_ids"] if word >= 0]
        assert len(words) == 1 + max(numbers, default=-1)
        assert numbers == sorted(numbers)
        for word in words:  # in order, one behind the other, as written
            assert word == word.strip()
            place = text.index(word, place) + len(word)
        for number, (start, end) in zip(output["word_ids"], read["offset_mapping"], strict=True):
            if number >= 0:
                assert text[start:end].strip() in words[number]
        if len(read["input_ids"]) < length:
            assert letters("".join(words)) == letters(text)


def test_the_words_of_four_kinds_of_tokenizers(make: Make) -> None:
    text = "RT @bob: it isn't  café…"
    found = {name: encoder_of(make(name)).words(text) for name in ("bert", "roberta", "modernbert", "clip")}
    assert found["bert"] == ["RT", "@", "bob", ":", "it", "isn", "'", "t", "café", "…"]
    assert found["roberta"] == ["RT", "@", "bob", ":", "it", "isn", "'t", "", "café", "…"]  # "": the second space
    assert found["modernbert"] == found["roberta"]
    assert found["clip"] == ["RT", "@", "bob", ":", "it", "isn", "'t", "café", "…"]
    for family in ("xlm-roberta", "deberta-v3", "t5", "siglip2"):
        assert encoder_of(make(family)).words(text) == text.split(), family


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "deberta-v3", "clip", "siglip2"])
@pytest.mark.parametrize("normalize", [None, "tweet"])
def test_words_of_real_texts(family: str, normalize: str | None, make: Make, shared_data: Path) -> None:
    files = sorted((shared_data / "mvsa-single-sample" / "data").glob("*.txt"))
    texts = [path.read_bytes().decode("gb18030").strip() for path in files]
    assert len(texts) > 100
    reader = Reader(load_tokenizer(str(make(family)), None), 500, normalize)
    encoded = reader.encode(texts)
    found = zip(texts, encoded["input_ids"], reader.word_ids(encoded, texts), strict=True)
    for text, ids, word_ids in found:
        words = reader.words(text)
        assert len(ids) == len(word_ids)
        assert len(words) == 1 + max(word_ids)
        assert letters("".join(words)) == letters(text)


def tweet(text: str) -> str:
    """The rule on the cards of the models that were trained on tweets."""
    read = []
    for part in text.split(" "):
        part = "@user" if part.startswith("@") and len(part) > 1 else part
        read.append("http" if part.startswith("http") else part)
    return " ".join(read)


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta", "clip", "siglip2", "gpt2"])
def test_names_and_links_are_read_as_one_word_each(family: str, make: Make) -> None:
    plain, encoder = encoder_of(make(family)), encoder_of(make(family), text_normalize="tweet")
    texts = ["RT @Bob_1: so https://t.co/Ab #ok", "@a  @ http x@b.c", "no names", "@Bob\n@Eve ok"]
    for text, one, two in zip(texts, encoder.encode(texts), plain.encode([tweet(text) for text in texts]), strict=True):
        assert one["token_ids"].tolist() == two["token_ids"].tolist()
        np.testing.assert_array_equal(one["tokens"], two["tokens"])
        words = encoder.words(text)
        assert len(words) == 1 + max(one["word_ids"])
        assert "".join(words) == "".join(text.split(" "))
    assert encoder.words(texts[0])[:2] == ["RT", "@Bob_1:"]
    assert "https://t.co/Ab" in encoder.words(texts[0])
    assert [word for word in encoder.words(texts[1]) if word][:3] == ["@a", "@", "http"]
    read = encoder.encode(texts[:1])[0]
    name = [int(word) for word in read["word_ids"]].count(1)
    assert name == len(load_tokenizer(str(make(family)), None).tokenize(" @user"))


def test_fingerprints_differ_where_a_number_would(make: Make) -> None:
    base = encoder_of(make("roberta")).spec
    assert "text_normalize" not in base.preprocessing
    assert list(base.preprocessing) == ["tokenizer_sha256", "max_tokens", "layer", "compute_dtype"]
    tweets = encoder_of(make("roberta"), text_normalize="tweet").spec
    assert tweets.preprocessing == {**base.preprocessing, "text_normalize": "tweet"}
    assert encoder_of(make("roberta"), max_tokens=5).spec != base
    assert encoder_of(make("siglip2")).spec.preprocessing["padded_to"] == 24
    alone = encoder_of(make("siglip2"), max_tokens=5).encode(["the happy dog runs home"])[0]
    assert len(alone["tokens"]) == 6
    specs = [json.dumps(identity_of(encoder_of(make(family)).spec, "float16")) for family in FAMILIES]
    assert len(set(specs)) == len(FAMILIES)


def test_the_tower_alone_is_that_of_the_whole(make: Make, tmp_path: Path) -> None:
    whole = make("clip")
    transformers.CLIPTextModel.from_pretrained(whole).save_pretrained(tmp_path)
    transformers.AutoTokenizer.from_pretrained(whole).save_pretrained(tmp_path)
    one, other = encoder_of(whole), encoder_of(tmp_path)
    assert one.spec.weights["sha256"] == other.spec.weights["sha256"]
    np.testing.assert_array_equal(one.encode(HARD)[0]["tokens"], other.encode(HARD)[0]["tokens"])


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_of_every_family(family: str, make: Make, tmp_path: Path) -> None:
    for path in make(family).iterdir():
        if not path.name.startswith("model.safetensors"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    one, same, other = (encoder_of(tmp_path, random_init=f"tokens={seed}") for seed in (1, 1, 2))
    assert one.spec == same.spec != other.spec
    assert one.spec.untrained
    assert one.encode(HARD)[0]["tokens"].std() > 0.01


@pytest.mark.parametrize("family", ["deberta-v3", "clip"])
def test_by_name_from_a_hub(family: str, make: Make, hub: LoopbackHub) -> None:
    hub.add(f"some/{family}", make(family))
    named, local = encoder_of(f"some/{family}"), encoder_of(make(family))
    assert named.spec.name == f"some/{family}"
    assert named.spec.weights["sha256"] == local.spec.weights["sha256"]
    assert named.spec.preprocessing == local.spec.preprocessing
    np.testing.assert_array_equal(named.encode(HARD)[1]["tokens"], local.encode(HARD)[1]["tokens"])


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(WeightsError) as error:
        encoder_of(folder)
    for part in (str(folder), "expected:", "next:", *parts):
        assert part in str(error.value)


def test_tokenizers_without_words_name_an_equal(tmp_path: Path) -> None:
    bertweet, siglip = tmp_path / "bertweet", tmp_path / "siglip"
    for folder, config in ((bertweet, {"model_type": "roberta"}), (siglip, {"model_type": "siglip"})):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
    (bertweet / "tokenizer_config.json").write_text('{"tokenizer_class": "BertweetTokenizer"}')
    (bertweet / "vocab.txt").write_text("hello 1\nwor@@ 1\nld 1\n")
    (bertweet / "bpe.codes").write_text("h e 1\n")
    refused(bertweet, "cannot say which words", "BertweetTokenizer", "cardiffnlp/twitter-roberta-base or vinai/bertw")
    T5(siglip)
    refused(siglip, "cannot say which words", "SiglipTokenizer", "google/siglip2-base-patch16-224")


@pytest.mark.parametrize("missing", ["sentencepiece", "google.protobuf"])
def test_a_missing_package_is_named(missing: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library used to ask for tiktoken, which reads none of these."""

    def fail(*args: Any, **options: Any) -> None:
        raise WeightsError("`tiktoken` is required to read a `tiktoken` file")

    folder = make("deberta-v3")
    monkeypatch.setattr(tokenizer_module, "find_spec", lambda name: None if name == missing else True)
    monkeypatch.setattr(tokenizer_module, "load_part", fail)
    package = missing.split(".")[-1]
    refused(
        folder, f"{folder / 'spm.model'}: a SentencePiece model", f"needs the package {package} to", f"no {package}"
    )
    with pytest.raises(WeightsError, match="tiktoken"):  # its cause is another: there is no such file
        encoder_of(make("roberta"))


ENDING = {"bert": {".", "!"}, "roberta": {".", "!"}, "xlm-roberta": {"."}, "clip": {".", "!"}}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family in ENDING])
def test_ends_of_sentences_are_found_by_any_tokenizer(family: str, make: Make) -> None:
    """Whatever marks the begin or end of a word: the tokens of the marks alone, wherever they stand in a text."""
    one, tokenizer = encoder_of(make(family)), transformers.AutoTokenizer.from_pretrained(make(family))
    ends = set(one.sentence_ends)
    assert len(ends) >= len(ENDING[family])
    assert {tokenizer.decode([end]).strip().strip("#") for end in ends} >= ENDING[family]
    for end in ends:
        assert set(tokenizer.decode([end]).strip().strip("#")) <= set(".!?…。！？"), end
    (found,) = one.encode(["a dog runs . a sad cat!"])
    marks = [number in ends for number in found["token_ids"].tolist()]
    assert sum(marks) >= 1
    assert not marks[0]
