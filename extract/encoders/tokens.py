"""Tokens: one vector a token, the paper's x_i (768 a WordPiece from BERT-Base, frozen), from any model of texts."""

from __future__ import annotations

import math
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from ...device import matmul_precision, to_host, wait_for
from ...errors import WeightsError
from ...weights_file import cause_of
from ..config import EncoderConfig
from ..weights.requirement import WeightsRequirement
from .contract import Arrays, EncoderSpec, state_sha256
from .own import is_own
from .pretrained import load_model, load_part, loading_error, locate, model_needs
from .tokenizer import Reader, has_tokenizer, load_tokenizer, sentence_ends, tokenizer_sha256

BERT_BASE = "bert-base-uncased"


SIGLIP = ("siglip_text_model", "siglip2_text_model")
"""Model types that were trained on texts padded to the full length, and that read the padding like any token."""


class BertTokens:
    """The encoder whose tokens are the last hidden state of a model of texts, special tokens (word id -1) included.

    The model may be one of texts alone (BERT and its relatives, DeBERTa, ModernBERT ...), or one whose part reads
    texts: the text tower of CLIP or SigLIP, the encoder of T5.

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
        tokenizer = load_tokenizer(name, None if seed is None else tokenizer_file)
        if architecture is None:
            model, weights = _trained(name)
        else:
            words = max(len(tokenizer), _last_id(tokenizer) + 1)
            model, weights = _untrained(architecture, seed, words)
        _check_fit(name, tokenizer, model)
        digest = tokenizer_sha256(tokenizer)  # before its first use, which sets its truncation
        self.sentence_ends = sentence_ends(tokenizer)
        self._device = device
        self._autocast = config.compute_dtype == "bfloat16"
        self._model = model.to(device).requires_grad_(self._autocast)  # autocast keeps what it casts of such weights
        self._padding_id = tokenizer.pad_token_id or 0
        self.batch_size = batch_size or 32
        special = tokenizer.num_special_tokens_to_add(pair=False)
        most, usable = _lengths(model, tokenizer)
        limit = min(config.max_tokens + special, most)
        self._full_length = usable if model.config.model_type in SIGLIP else None
        self._read = Reader(tokenizer, min(limit, usable), config.text_normalize)
        try:
            probe, _ = self.encode(["☃ it's", "a " * min(limit, usable)])
        except Exception as error:  # the library and its parts raise any exception
            raise loading_error(name, "model", f"it cannot encode a text: {cause_of(error)}") from error
        own: dict[str, Any] = {"text_normalize": config.text_normalize} if config.text_normalize else {}
        if self._full_length is not None:
            own["padded_to"] = self._full_length
        self.spec = EncoderSpec(
            kind="tokens",
            name=Path(name).name if Path(name).is_dir() else name,
            weights=weights,
            preprocessing={
                "tokenizer_sha256": digest,
                "max_tokens": limit - special,  # without regard to what is usable, so that older fingerprints stay
                "layer": "last",
                "compute_dtype": config.compute_dtype,
                **own,
            },
            dims={"feature": probe["tokens"].shape[1]},
        )

    @staticmethod
    def needs(config: EncoderConfig) -> WeightsRequirement:
        """Return the weights that it needs."""
        return model_needs(config.text_encoder, "text model")

    def encode(self, texts: list[str]) -> list[Arrays]:
        """Return `tokens (n, D)`, `token_ids (n,)`, `word_ids (n,)` of each text, special tokens included."""
        encoded = self._read.encode(texts)
        ids = encoded["input_ids"]
        by_length = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        batches = self._forward([ids[i] for i in by_length])
        word_ids = self._read.word_ids(encoded, texts)  # while the device works
        wait_for(self._device)
        vectors = dict(zip(by_length, chain.from_iterable(batch.numpy() for batch in batches), strict=True))
        return [
            {
                "tokens": vectors[i][: len(ids[i])],
                "token_ids": np.array(ids[i], np.int32),
                "word_ids": np.array(word_ids[i], np.int32),
            }
            for i in range(len(ids))
        ]

    def words(self, text: str) -> list[str]:
        """Return the words of a text, which `word_ids` index: pieces of the text as written."""
        return self._read.words(text)

    def _forward(self, ids: list[list[int]]) -> list[torch.Tensor]:
        """Return the vectors (B, longest, D) of each batch on their way to the host: see `to_host`.

        Nothing here waits for the device; transformers does once a batch where it checks whether a mask is all ones.

        Args:
            ids: the token ids of each text, by ascending length.
        """
        if not ids:
            return []
        lengths = np.array([len(sequence) for sequence in ids])
        widths = np.full_like(lengths, self._full_length) if self._full_length else lengths.clip(1)
        inside = np.arange(widths[-1]) < lengths[:, None]
        padded = np.full(inside.shape, self._padding_id)
        padded[inside] = list(chain.from_iterable(ids))
        given = {"input_ids": padded} if self._full_length else {"input_ids": padded, "attention_mask": inside}
        inputs = {name: torch.from_numpy(array).long().to(self._device) for name, array in given.items()}
        found = []
        mode = torch.no_grad() if self._autocast else torch.inference_mode()  # in inference mode it keeps nothing
        with mode, matmul_precision(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            for start in range(0, len(ids), self.batch_size):
                stop = min(start + self.batch_size, len(ids))
                batch = {name: one[start:stop, : widths[stop - 1]].contiguous() for name, one in inputs.items()}
                found.append(to_host(self._model(**batch)[0].float()))
        return found


def needs_built_tokenizer(config: EncoderConfig) -> bool:
    """Return whether untrained text features of a model are asked for and it has no local tokenizer."""
    name = config.text_encoder
    return config.seed_of("tokens") is not None and not is_own(name) and not has_tokenizer(name)


def _untrained(config: Any, seed: int | None, vocabulary: int) -> tuple[Any, dict[str, Any]]:
    (getattr(config, "text_config", None) or config).vocab_size = vocabulary
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        model = _tower(transformers.AutoModel.from_config(config))
    model.eval().requires_grad_(False)
    return model, {"random_init": seed, "sha256": _sha256(model)}


def _trained(name: str) -> tuple[Any, dict[str, Any]]:
    model = _tower(load_model(name, spare=("pooler.",)))
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


def _tower(model: Any) -> Any:
    """Return the part of a model that reads texts: the text tower of CLIP, the encoder of T5, else the model."""
    model = getattr(model, "text_model", model)
    return model.get_encoder() if getattr(model.config, "is_encoder_decoder", False) else model


def _check_fit(name: str, tokenizer: Any, model: Any) -> None:
    """Check that the model reads texts and has an embedding for every id of the tokenizer."""
    reads = getattr(model, "main_input_name", "input_ids")  # a tower is a plain module in transformers 4
    if reads != "input_ids":
        raise WeightsError(
            f"{name} is not a model of texts",
            expected="a model whose main input is input_ids, or one with a text tower",
            found=f"{type(model).__name__}, model_type {model.config.model_type}, which reads {reads}",
            next_step="choose another --text-encoder",
        )
    embeddings = getattr(getattr(model, "get_input_embeddings", lambda: None)(), "weight", None)
    rows = embeddings.shape[0] if embeddings is not None else math.inf  # inf: unknown, or its ids are hashed
    last = _last_id(tokenizer)
    if last >= rows:
        raise WeightsError(
            f"the tokenizer of {name} has more words than its model",
            expected=f"ids below {rows}, the number of the model's word embeddings",
            found=f"{len(tokenizer)} words, with ids up to {last}",
            next_step="take the tokenizer's files and the weights from the same model",
        )


def _lengths(model: Any, tokenizer: Any) -> tuple[int, int]:
    """Return how many tokens a text may have, special ones included: by the configuration, and what is usable of it.

    RoBERTa and its relatives count positions from the one after the padding's: their table of positions has a row for
    the padding, and no token takes that one or those before it. A model without a limit (T5) has its tokenizer's.
    """
    most = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(most, int) or most < 1:
        most = int(tokenizer.model_max_length)
    tables = [module for name, module in model.named_modules() if name.endswith("position_embeddings")]
    padding = [table.padding_idx for table in tables if getattr(table, "padding_idx", None) is not None]
    return most, most - max((row + 1 for row in padding), default=0)


def _sha256(model: Any) -> str:
    if getattr(model, "pooler", None) is not None:  # unused, and random where the file has none
        model.pooler = None
    return state_sha256(model)
