"""How a text model reads a text: normalised where asked for, cut into tokens, each token with its word."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers

from ...errors import WeightsError
from ..weights.packaged import PACKAGES
from .pretrained import VOCABULARIES, load_part, loading_error, locate
from .wordpiece import build_tokenizer

EQUALS = {
    "BertweetTokenizer": "cardiffnlp/twitter-roberta-base or vinai/bertweet-large",
    "SiglipTokenizer": "google/siglip2-base-patch16-224",
    "FlaubertTokenizer": "almanach/camembert-base",
    "BertJapaneseTokenizer": "FacebookAI/xlm-roberta-base",
    "PhobertTokenizer": "FacebookAI/xlm-roberta-base",
    "XLMTokenizer": "FacebookAI/xlm-roberta-base",
}
"""Tokenizers without word ids -> models of the same use whose tokenizers have them."""

ENDS = frozenset(".!?…。！？")
"""The characters that end a sentence."""

Span = tuple[int, int]


class Reader:
    """The way from texts to token ids and word ids, and from a text to its words.

    The words are the tokenizer's own, cut at its rules. A tokenizer that makes none (SigLIP 2's: one word a text) has
    the words between spaces, and so has a name or link that `normalize` replaces: it is one word, shown as written.

    Args:
        tokenizer: a tokenizer from `load_tokenizer`.
        max_length: tokens that are read, special ones included.
        normalize: `tweet` reads names as @user and links as http; None reads the text as it is.
    """

    def __init__(self, tokenizer: Any, max_length: int, normalize: str | None = None) -> None:
        self._tokenizer, self._max_length, self._normalize = tokenizer, max_length, normalize
        self._own = len(set(tokenizer("one two", add_special_tokens=False).word_ids(0))) > 1

    def encode(self, texts: list[str]) -> Any:
        """Return the library's encoding of texts: `input_ids`, and what `word_ids` needs."""
        read = [" ".join(chunk for _, chunk in _chunks(text, self._normalize)) for text in texts]
        return self._tokenizer(
            read,
            truncation=True,
            max_length=self._max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )

    def word_ids(self, encoded: Any, texts: list[str]) -> list[list[int]]:
        """Return the word ids (-1: special token) of texts that were encoded."""
        return [self._word_ids(encoded, row, text) for row, text in enumerate(texts)]

    def words(self, text: str) -> list[str]:
        """Return the words of a text, which the word ids index: pieces of the text as written."""
        encoded = self.encode([text])
        if self._own and self._normalize is None:
            count = 1 + max(self._word_ids(encoded, 0, text), default=-1)
            found = [encoded.word_to_chars(0, word) for word in range(count)]
            return [text[span.start : span.end].strip() if span is not None else "" for span in found]
        return [text[start:end] for start, end in _numbers(self._spans(encoded, 0, text))]

    def _word_ids(self, encoded: Any, row: int, text: str) -> list[int]:
        if self._own and self._normalize is None:
            return [-1 if word is None else word for word in encoded.word_ids(row)]
        spans = self._spans(encoded, row, text)
        numbers = _numbers(spans)
        return [-1 if span is None else numbers[span] for span in spans]

    def _spans(self, encoded: Any, row: int, text: str) -> list[Span | None]:
        """Return the place in the text of each token's word, None for special tokens."""
        chunks = _chunks(text, self._normalize)
        read = " ".join(chunk for _, chunk in chunks)
        starts, origins = _starts([chunk for _, chunk in chunks]), _starts([chunk for chunk, _ in chunks])
        between = [match.span() for match in re.finditer(r"\S+", read)]
        spans: list[Span | None] = []
        for token, word in enumerate(encoded.word_ids(row)):
            if word is None:
                spans.append(None)
                continue
            found = encoded.word_to_chars(row, word) if self._own else encoded.token_to_chars(row, token)
            start, end = (found.start, found.end) if found is not None else (0, 0)
            start += len(read[start:end]) - len(read[start:end].lstrip())
            if not self._own:
                start, end = next((one for one in between if one[1] > start), between[-1] if between else (start, end))
            chunk = bisect_right(starts, start) - 1
            if chunks[chunk][0] == chunks[chunk][1]:
                shift = origins[chunk] - starts[chunk]
                spans.append((start + shift, max(start, end) + shift))
            else:
                spans.append((origins[chunk], origins[chunk] + len(chunks[chunk][0])))
        return spans


def sentence_ends(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of a tokenizer's tokens that end a sentence, ascending: one or several of . ! ? and their like,
    without regard to the marks of a word's begin and end."""
    found = []
    for token, number in tokenizer.get_vocab().items():
        bare = token.removeprefix("##").lstrip("\u2581\u0120").removesuffix("</w>")
        if bare and not set(bare) - ENDS:
            found.append(int(number))
    return tuple(sorted(found))


def load_tokenizer(name: str, built: Path | None) -> Any:
    """Return the tokenizer of a model, or the one that was built from a data set's texts.

    Args:
        name: the model's name or folder.
        built: the file of a tokenizer that was built, or None.

    Raises:
        WeightsError: it cannot be loaded, or cannot say which words its tokens belong to.
    """
    if built is not None:
        return build_tokenizer(built)
    try:
        tokenizer = load_part(transformers.AutoTokenizer, name, "tokenizer", use_fast=True)
    except WeightsError as error:
        raise _lacks_packages(name) or error from error
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):  # made up from config.json alone
        raise _lacks_packages(name) or loading_error(
            name, "tokenizer", f"no vocabulary among its files ({', '.join(VOCABULARIES)})"
        )
    if not tokenizer.is_fast:
        equal = EQUALS.get(type(tokenizer).__name__)
        raise WeightsError(
            f"the tokenizer of {name} cannot say which words its tokens belong to",
            expected="a fast tokenizer (tokenizer.json, or vocab.txt of a BERT)",
            found=f"{type(tokenizer).__name__}, which is written in Python alone",
            next_step=f"take --text-encoder {equal}, whose tokenizer can"
            if equal
            else "choose another --text-encoder, or convert its tokenizer to tokenizer.json",
        )
    return tokenizer


def has_tokenizer(name: str) -> bool:
    """Return whether a model's tokenizer is in its folder, the hub's cache or a package (nothing is downloaded)."""
    return name in PACKAGES or any(locate(name, file) is not None for file in VOCABULARIES)


def tokenizer_sha256(tokenizer: Any) -> str:
    """Return the digest of a tokenizer for the identity of a store."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


def _lacks_packages(name: str) -> WeightsError | None:
    """Return the error for a SentencePiece model that cannot be read for want of a package; the library's names
    another one."""
    packages = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
    missing = [package for module, package in packages.items() if not _importable(module)]
    model = next((path for file in VOCABULARIES if file.endswith(".model") and (path := locate(name, file))), None)
    if not missing or model is None or locate(name, "tokenizer.json") is not None:
        return None
    return WeightsError(
        f"{model}: a SentencePiece model, which needs the package {' and '.join(missing)} to be read",
        expected="sentencepiece and protobuf, or a tokenizer.json beside it",
        found=f"no {' and no '.join(missing)}",
        next_step="pip install sentencepiece protobuf",
    )


def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def _chunks(text: str, normalize: str | None) -> list[tuple[str, str]]:
    """Return the parts of a text between single spaces, as written and as read.

    `tweet` is the rule on the cards of the models that were trained on tweets (cardiffnlp/twitter-roberta-base).
    """
    if normalize is None:
        return [(text, text)]
    return [
        (chunk, "@user" if chunk.startswith("@") and len(chunk) > 1 else "http" if chunk.startswith("http") else chunk)
        for chunk in text.split(" ")
    ]


def _starts(chunks: list[str]) -> list[int]:
    """Return where each part begins in the text that joins them by single spaces."""
    starts = [0]
    for chunk in chunks[:-1]:
        starts.append(starts[-1] + len(chunk) + 1)
    return starts


def _numbers(spans: list[Span | None]) -> dict[Span, int]:
    """Return the number of each word, in the order of the tokens."""
    return {span: number for number, span in enumerate(dict.fromkeys(span for span in spans if span is not None))}
