"""The words of a text as a run's text encoder read them, from its tokenizer alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import WeightsError
from ..train.runs.folder import Run
from .prediction import SPECIAL

Splitter = Callable[[str], list[str]]


def splitter_of(run: Run) -> Splitter | None:
    """Return a function from a text to its words, in the order of the stores' word ids.

    Return None if the tokenizer that the features were made with is not available; nothing is downloaded.
    """
    entry = run.record["stores"]["tokens"]
    reading = entry["identity"]["preprocessing"]
    if entry["options"] is None or "tokenizer_sha256" not in reading:
        return None
    from ..extract.encoders.tokenizer import Reader, has_tokenizer, load_tokenizer, tokenizer_sha256

    built: Path | None = run.path / "tokenizer.json"
    built = built if built is not None and built.is_file() else None
    name = entry["options"]["text_encoder"]
    if built is None and not has_tokenizer(name):
        return None
    try:
        tokenizer = load_tokenizer(name, built)
    except WeightsError:
        return None
    if tokenizer_sha256(tokenizer) != reading["tokenizer_sha256"]:
        return None
    length = int(reading["max_tokens"]) + tokenizer.num_special_tokens_to_add(pair=False)
    return Reader(tokenizer, length, reading.get("text_normalize")).words


def bert_words(text: str) -> list[str]:
    """Split a text by BERT's rule: at white space and around each punctuation mark."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    words: list[str] = [word for word, _ in BertPreTokenizer().pre_tokenize_str(text)]
    return words


def words_or_numbers(text: str, word_ids: Sequence[int], split: Splitter | None) -> list[str]:
    """Return the words that the ids refer to, or numbers such as `#3` if the words are unknown.

    Args:
        text: the text.
        word_ids: (n,), the word of each WordPiece, -1 for special ones.
        split: the function of `splitter_of`; None tries BERT's rule, which must give exactly as many words.
    """
    count = 1 + max(word_ids, default=SPECIAL)
    words = bert_words(text) if split is None else split(text)
    fits = len(words) == count if split is None else len(words) >= count
    return words[:count] if fits else numbers(count)


def numbers(count: int) -> list[str]:
    """Return numbers in place of so many words: `#1`, `#2` and so on."""
    return [f"#{number + 1}" for number in range(count)]


def segments(text: str, words: Sequence[str]) -> list[tuple[str, int | None]]:
    """Cut a text into its words and what is between them, so that it can be shown as it was written.

    Args:
        text: the text.
        words: pieces of it, in order.

    Returns:
        Pieces with the number of the word, or None between words; joined they are the text. If the words are not pieces
        of the text, they follow it, each after a space.
    """
    pieces: list[tuple[str, int | None]] = []
    place = 0
    for number, word in enumerate(words):
        if not word:
            continue
        start = text.find(word, place)
        if start < 0:
            return [(text, None), *(piece for n, one in enumerate(words) for piece in ((" ", None), (one, n)))]
        if start > place:
            pieces.append((text[place:start], None))
        pieces.append((word, number))
        place = start + len(word)
    return [*pieces, (text[place:], None)] if place < len(text) else pieces
