"""Small models of texts of every real architecture, seeded, each with a trained tokenizer of its family's kind."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "RT @bob_1: the happy dog runs home, isn't it great? #dogs http://t.co/aB3 \U0001f600",
    "A sad, sad cat! dogs and cats and dogs; the cat sat on a mat",
    "Sunshine on the beach: what a lovely, lovely day… café naïve \U0001f44d\U0001f3fd",
    "ruining everything again & again, so bad :( 日本語",
] * 5
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
ROBERTA = {"max_position_embeddings": 24, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1}
LENGTHS = {"max_position_embeddings": 24}


def wordpiece(folder: Path, special: Sequence[str] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")) -> None:
    """Write vocab.txt."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(special), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    (folder / "vocab.txt").write_text("\n".join(word for word, _ in words), encoding="utf-8")


def mpnet(folder: Path) -> None:
    wordpiece(folder, ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"))


def byte_level(folder: Path) -> None:
    """Write vocab.json and merges.txt."""
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"]
    tokenizer.train_from_iterator(TEXTS, vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.save_model(str(folder))


def modern(folder: Path) -> None:
    """Write tokenizer.json alone, which leaves the space before a word in it."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def clip(folder: Path) -> None:
    """Write vocab.json and merges.txt in CLIP's order: bytes, bytes that end a word, pieces, the two special tokens."""
    tokenizer = tokenizers.Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.ByteLevel(False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.model.save(str(folder))
    words = json.loads((folder / "vocab.json").read_text())
    for piece in [*(f"{byte}</w>" for byte in sorted(alphabet)), "<|startoftext|>", "<|endoftext|>"]:
        words.setdefault(piece, len(words))
    (folder / "vocab.json").write_text(json.dumps(words))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')


def gemma(folder: Path) -> None:
    """Write the tokenizer.json of SigLIP 2, which cuts no words: spaces are replaced before it would cut there."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = content["added_tokens"][:4]
    content["pre_tokenizer"]["pattern"] = {"String": " "}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    named = {"pad_token": "<pad>", "eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(folder)


def sentencepiece(file: str, **options: Any) -> Callable[[Path], None]:
    """Return a function that writes the model of SentencePiece under a name."""

    def write(folder: Path) -> None:
        library = pytest.importorskip("sentencepiece")
        pytest.importorskip("google.protobuf")
        written = io.BytesIO()
        library.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS),
            model_writer=written,
            **{"vocab_size": 150, "hard_vocab_limit": False, "minloglevel": 2, **options},
        )
        (folder / file).write_bytes(written.getvalue())

    return write


PIECES = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
DEBERTA = sentencepiece("spm.model", pad_id=0, bos_id=1, eos_id=2, unk_id=3, **PIECES)
ALBERT = sentencepiece(
    "spiece.model", pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece="<pad>", control_symbols=["[CLS]", "[SEP]"]
)
XLM_R = sentencepiece("sentencepiece.bpe.model")
T5 = sentencepiece("spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
XLNET = sentencepiece("spiece.model", control_symbols=["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"])
TOWERS = {"vision_config": {**SMALL, "image_size": 32, "patch_size": 16}, "projection_dim": 16}
BART = {"encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}

Family = tuple[str, dict[str, Any], Callable[[Path], None], int]
FAMILIES: dict[str, Family] = {
    "bert": ("bert", {**SMALL, **LENGTHS}, wordpiece, 24),
    "distilbert": ("distilbert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, **LENGTHS}, wordpiece, 24),
    "electra": ("electra", {**SMALL, **LENGTHS, "embedding_size": 16}, wordpiece, 24),
    "mpnet": ("mpnet", {**SMALL, **ROBERTA}, mpnet, 22),
    "roberta": ("roberta", {**SMALL, **ROBERTA}, byte_level, 22),
    "xlm-roberta": ("xlm-roberta", {**SMALL, **ROBERTA}, XLM_R, 22),
    "modernbert": ("modernbert", {**SMALL, **LENGTHS, "pad_token_id": 0, "cls_token_id": 2}, modern, 24),
    "deberta-v3": ("deberta-v2", {**SMALL, **LENGTHS, **DISENTANGLED, "position_buckets": 8}, DEBERTA, 24),
    "albert": ("albert", {**SMALL, **LENGTHS, "embedding_size": 16}, ALBERT, 24),
    "clip": ("clip", {"text_config": {**SMALL, **LENGTHS}, **TOWERS}, clip, 24),
    "clip_text_model": ("clip_text_model", {**SMALL, **LENGTHS}, clip, 24),
    "siglip2": ("siglip", {"text_config": {**SMALL, **LENGTHS, "projection_size": 32}, **TOWERS}, gemma, 24),
    "t5": ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4}, T5, 30),
    "xlnet": ("xlnet", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 37}, XLNET, 30),
    "bart": ("bart", {"d_model": 32, **BART, **LENGTHS}, byte_level, 24),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 24}, byte_level, 24),
}
"""Name -> model type, sizes, tokenizer, and how many tokens the model can read, special ones included."""


def text_model(folder: Path, family: str) -> Path:
    """Write a small model of a family into a folder, as its real one lies on the hub."""
    model_type, sizes, write_tokenizer, _ = FAMILIES[family]
    folder.mkdir(parents=True)
    write_tokenizer(folder)
    config = transformers.AutoConfig.for_model(model_type, **sizes)
    config.save_pretrained(folder)
    if family in ("t5", "xlnet"):
        (folder / "tokenizer_config.json").write_text('{"model_max_length": 30}')
    words = len(transformers.AutoTokenizer.from_pretrained(folder))
    text = getattr(config, "text_config", None) or config
    text.vocab_size = words
    if "clip" in family:
        text.bos_token_id, text.eos_token_id, text.pad_token_id = words - 2, words - 1, words - 1
    torch.manual_seed(3)
    transformers.AutoModel.from_config(config).eval().save_pretrained(folder)
    return folder


def tower_of(folder: Path, family: str) -> Any:
    """Return the library's own class that reads texts."""
    classes = {"clip": "CLIPTextModel", "siglip2": "SiglipTextModel", "t5": "T5EncoderModel"}
    loader = getattr(transformers, classes.get(family, "AutoModel"))
    model = loader.from_pretrained(folder).eval()
    return model.get_encoder() if family == "bart" else model
