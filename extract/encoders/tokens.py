"""Tokens: one vector a WordPiece, the paper's x_i (768 from BERT-Base, frozen)."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ...errors import WeightsError
from ...precision import matmul_precision
from ...weights_file import cause_of
from ..config import EncoderConfig
from .contract import Arrays, EncoderSpec, state_sha256
from .own import is_own
from .pretrained import VOCABULARIES, load_part, loading_error, locate, model_needs
from .weights import WeightsRequirement
from .wordpiece import build_tokenizer

BERT_BASE = "bert-base-uncased"


class BertTokens:
    """The encoder whose tokens are the last hidden state of a BERT-like model, with [CLS] and [SEP] (word id -1).

    Args:
        config: its `text_encoder` is a model's name on the Hugging Face hub, or a folder that holds one.
        device: where it runs.
        batch_size: texts a batch; batches are made of texts of similar length.
        tokenizer_file: with `random_init`, where no tokenizer is found beside the model: a tokenizer built before.

    Raises:
        WeightsError: the model or its tokenizer cannot be loaded, a file is unsound, the weights are those of another
            architecture, or the tokenizer is that of another model.
    """

    def __init__(
        self,
        config: EncoderConfig,
        device: torch.device,
        *,
        batch_size: int | None = None,
        tokenizer_file: Path | None = None,
    ) -> None:
        name, seed = config.text_encoder, config.seed_of("tokens")
        architecture = None if seed is None else _architecture(name)
        self._tokenizer = load_tokenizer(name, None if seed is None else tokenizer_file)
        if architecture is None:
            model, weights = _trained(name)
        else:
            words = max(len(self._tokenizer), _last_id(self._tokenizer) + 1)
            model, weights = _untrained(architecture, seed, words)
        _check_fit(name, self._tokenizer, model)
        self._model = model.to(device)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self.batch_size = batch_size or 32
        special = self._tokenizer.num_special_tokens_to_add(pair=False)
        limit = min(config.max_tokens + special, int(model.config.max_position_embeddings))
        self._max_length = min(limit, _positions(model))
        self.spec = EncoderSpec(
            kind="tokens",
            name=Path(name).name if Path(name).is_dir() else name,
            weights=weights,
            preprocessing={
                "tokenizer_sha256": tokenizer_sha256(self._tokenizer),
                "max_tokens": limit - special,  # without regard to `_positions`, so that older fingerprints stay valid
                "layer": "last",
                "compute_dtype": config.compute_dtype,
            },
            dims={"feature": int(model.config.hidden_size)},
        )
        try:
            self.encode(["☃ it's"])
        except Exception as error:  # the library and its parts raise any exception
            raise loading_error(name, "model", f"it cannot encode a text: {cause_of(error)}") from error

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return model_needs(config.text_encoder, "text model")

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> list[Arrays]:
        """Return `tokens (n, D)`, `token_ids (n,)`, `word_ids (n,)` of each text, with [CLS] and [SEP]."""
        encoded = self._tokenizer(texts, truncation=True, max_length=self._max_length, return_attention_mask=False)
        ids: list[list[int]] = encoded["input_ids"]
        by_length = sorted(range(len(texts)), key=lambda i: len(ids[i]))
        vectors: dict[int, np.ndarray] = {}
        for start in range(0, len(texts), self.batch_size):
            members = by_length[start : start + self.batch_size]
            for i, hidden in zip(members, self._forward([ids[i] for i in members]), strict=True):
                vectors[i] = hidden
        return [
            {
                "tokens": vectors[i],
                "token_ids": np.array(ids[i], np.int32),
                "word_ids": np.array([-1 if word is None else word for word in encoded.word_ids(i)], np.int32),
            }
            for i in range(len(texts))
        ]

    def words(self, text: str) -> list[str]:
        """Return the words of a text, which `word_ids` index: pieces of the text as written."""
        return words_of(self._tokenizer, text, self._max_length)

    def _forward(self, ids: list[list[int]]) -> list[np.ndarray]:
        longest = max(map(len, ids))
        batch = torch.full((len(ids), longest), self._tokenizer.pad_token_id or 0)
        mask = torch.zeros((len(ids), longest), dtype=torch.long)
        for row, sequence in enumerate(ids):
            batch[row, : len(sequence)] = torch.tensor(sequence)
            mask[row, : len(sequence)] = 1
        with matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            hidden = self._model(input_ids=batch.to(self._device), attention_mask=mask.to(self._device))[0]
        hidden = hidden.float().cpu().numpy()
        return [hidden[row, : len(sequence)] for row, sequence in enumerate(ids)]


def needs_built_tokenizer(config: EncoderConfig) -> bool:
    """Return whether untrained text features of a model are asked for and it has no local tokenizer."""
    name = config.text_encoder
    return config.seed_of("tokens") is not None and not is_own(name) and not has_tokenizer(name)


def has_tokenizer(name: str) -> bool:
    """Return whether a tokenizer for this model is in its folder or in the hub's cache (nothing is downloaded)."""
    return any(locate(name, file) is not None for file in VOCABULARIES)


def words_of(tokenizer: Any, text: str, max_length: int) -> list[str]:
    """Return the words of a text, which `word_ids` index: pieces of the text as written.

    Args:
        tokenizer: a tokenizer from `load_tokenizer`.
        text: the text.
        max_length: WordPieces that are read, special ones included.
    """
    encoded = tokenizer(text, truncation=True, max_length=max_length)
    count = 1 + max((word for word in encoded.word_ids(0) if word is not None), default=-1)
    spans = [encoded.word_to_chars(0, word) for word in range(count)]
    return [text[span.start : span.end] if span is not None else "" for span in spans]


def tokenizer_sha256(tokenizer: Any) -> str:
    """Return the digest of a tokenizer for the identity of a store."""
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


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
    tokenizer = load_part(transformers.AutoTokenizer, name, "tokenizer", use_fast=True)
    if len(tokenizer) <= len(set(tokenizer.all_special_tokens)):  # made up from config.json alone
        raise loading_error(name, "tokenizer", f"no vocabulary among its files ({', '.join(VOCABULARIES)})")
    if not tokenizer.is_fast:
        raise WeightsError(
            f"the tokenizer of {name} cannot say which words its tokens belong to",
            expected="a fast tokenizer (tokenizer.json, or vocab.txt of a BERT)",
            next_step="choose another --text-encoder, or convert its tokenizer to tokenizer.json",
        )
    return tokenizer


def _untrained(config: Any, seed: int | None, vocabulary: int) -> tuple[Any, dict[str, Any]]:
    config.vocab_size = vocabulary
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        model = transformers.AutoModel.from_config(config)
    model.eval().requires_grad_(False)
    return model, {"random_init": seed, "sha256": _sha256(model)}


def _trained(name: str) -> tuple[Any, dict[str, Any]]:
    options = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # mismatches are refused below, by name
    model, loading = load_part(transformers.AutoModel, name, "model", **options)
    other = sorted(
        (key,) if isinstance(key, str) else key for key in loading["mismatched_keys"]
    )  # (name, file's, ours)
    if other:
        ours = model.state_dict()
        raise WeightsError(
            f"the weights of {name} differ from its config.json in the shape of {len(other)} tensors",
            expected=", ".join(f"{key} {tuple(ours[key].shape)}" for key, *_ in other[:3]),
            found=", ".join(
                f"{key} {tuple(shapes[0]) if shapes else 'of another shape'}" for key, *shapes in other[:3]
            ),
            next_step="take config.json and weights from the same model",
        )
    missing = sorted(key for key in loading["missing_keys"] if not key.startswith("pooler."))
    if missing:
        unknown = sorted(loading["unexpected_keys"])
        raise WeightsError(
            f"the weights of {name} lack {len(missing)} tensors of its architecture",
            expected=", ".join(missing[:3]),
            found=f"{len(unknown)} that it does not have: {', '.join(unknown[:3])}" if unknown else None,
            next_step="choose a model whose file holds the whole encoder",
        )
    model.float().eval().requires_grad_(False)
    return model, {"file": name, "sha256": _sha256(model)}


def _architecture(name: str) -> Any:
    """Return the named architecture; that of BERT-Base is known without any file."""
    if locate(name, "config.json") is None and not Path(name).exists():
        if name == BERT_BASE:
            return transformers.BertConfig()
        raise WeightsError(
            f"--random-init needs to know the architecture of {name}",
            expected="a folder with config.json, or the name bert-base-uncased",
            next_step=f"name a folder that holds the model's config.json, or use --text-encoder {BERT_BASE}",
        )
    return load_part(transformers.AutoConfig, name, "configuration", download=False)


def _last_id(tokenizer: Any) -> int:
    """Return the highest id that a tokenizer can give, added tokens included."""
    return max(tokenizer.get_vocab().values(), default=-1)


def _check_fit(name: str, tokenizer: Any, model: Any) -> None:
    """Check that the model reads texts and has an embedding for every id of the tokenizer."""
    sizes = (getattr(model.config, size, None) for size in ("max_position_embeddings", "hidden_size"))
    if not all(isinstance(size, int) for size in sizes):
        raise WeightsError(
            f"{name} is not a BERT-like text model",
            expected="a model whose config.json has max_position_embeddings and hidden_size",
            found=f"{type(model).__name__}, model_type {model.config.model_type}",
            next_step="choose another --text-encoder",
        )
    embeddings = getattr(model.get_input_embeddings(), "weight", None)
    rows = embeddings.shape[0] if embeddings is not None else math.inf  # inf: its ids are hashed
    last = _last_id(tokenizer)
    if last >= rows:
        raise WeightsError(
            f"the tokenizer of {name} has more words than its model",
            expected=f"ids below {rows}, the number of the model's word embeddings",
            found=f"{len(tokenizer)} words, with ids up to {last}",
            next_step="take the tokenizer's files and the weights from the same model",
        )


def _positions(model: Any) -> int:
    """Return how many tokens a text may have, special ones included.

    RoBERTa and its relatives count positions from the one after the padding's: their table of positions has a row for
    the padding, and no token takes that one or those before it.
    """
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    return int(model.config.max_position_embeddings) - max((row + 1 for row in padding), default=0)


def _sha256(model: Any) -> str:
    if getattr(model, "pooler", None) is not None:  # unused, and random where the file has none
        model.pooler = None
    return state_sha256(model)
