"""A WordPiece vocabulary built from a data set's own texts, for untrained text encoders without tokenizer files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

from ...errors import WeightsError
from ...weights_file import UnsoundFile, cause_of, read_object

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = 8000


def train_wordpiece(texts: Iterable[str]) -> bytes:
    """Train an uncased WordPiece tokenizer like BERT's, of at most 8000 entries, and return its `tokenizer.json`.

    Equal texts give equal bytes. The trainer alone numbers the pieces of one letter (`##a`) in an order that changes
    from call to call, and breaks ties by it; so they are passed to it in sorted order.
    """
    texts = list(texts)
    trained = _tokenizer(models.WordPiece(unk_token="[UNK]"))
    letters = {letter for text in texts for letter in trained.normalizer.normalize_str(text) if not letter.isspace()}
    trainer = trainers.WordPieceTrainer(
        vocab_size=VOCABULARY,
        min_frequency=2,
        special_tokens=SPECIAL + sorted(f"##{letter}" for letter in letters),
        show_progress=False,
    )
    trained.train_from_iterator(texts, trainer)
    tokenizer = _tokenizer(models.WordPiece(trained.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.add_special_tokens(SPECIAL)
    ids = {token: position for position, token in enumerate(SPECIAL)}
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return bytes(tokenizer.to_str(pretty=False), "utf-8")


def _tokenizer(model: models.WordPiece) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def build_tokenizer(path: Path) -> Any:
    """Return the tokenizer of a file that `train_wordpiece` made, as transformers uses it.

    Raises:
        WeightsError: the file is damaged.
    """
    try:
        read_object(path)
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise WeightsError(
            f"{path}: not the tokenizer that was built",
            expected="a tokenizer.json that `itin extract` built from the data set's texts",
            found=error.found if isinstance(error, UnsoundFile) else cause_of(error),
            next_step="copy the file again from where it was made, or remove it and extract and train again",
        ) from error
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        mask_token="[MASK]",
    )
