"""Encoders and a causal model of a few thousand weights, to classify texts and pairs of texts with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    LlamaConfig,
    LlamaModel,
    RobertaConfig,
    RobertaModel,
)

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("the", "sea", "sky", "is", "was", "blue", "deep", "calm", "wild", "yes", "no", "not", "boat", "gull")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = {word: index for index, word in enumerate((*SPECIAL, *WORDS))}
SIZES = {"vocab_size": 64, "pad_token_id": 0, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 64,
         "intermediate_size": 64, "initializer_range": 0.2}  # fmt: skip

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

MODELS: dict[str, tuple[Any, Any]] = {
    "bert": (BertModel, BertConfig(**SIZES, **NO_DROPOUT)),
    "roberta": (RobertaModel, RobertaConfig(**SIZES, **NO_DROPOUT, type_vocab_size=1)),
    "distilbert": (DistilBertModel, DistilBertConfig(**SIZES, hidden_dim=64, dropout=0.0, attention_dropout=0.0)),
    "llama": (LlamaModel, LlamaConfig(**SIZES)),
}
"""Class and configuration by name; a folder of one holds no classifier, as those that people begin from."""


def tokenizer() -> BertTokenizer:
    """Words as BERT frames them: [CLS] text [SEP], and pairs [CLS] text [SEP] second [SEP] with types 0 and 1."""
    return BertTokenizer(vocab=VOCABULARY)


def save(name: str, folder: Path) -> Path:
    """A model folder with random weights from a fixed seed."""
    kind, config = MODELS[name]
    torch.manual_seed(0)
    model = kind(config)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def pairs(count: int) -> list[dict[str, str]]:
    """Rows of two classes that their last words tell: most are pairs of texts, some single texts."""
    rows = []
    for number in range(count):
        first = " ".join(WORDS[(number * 5 + step) % len(WORDS)] for step in range(2 + number % 4))
        last, label = (("yes calm blue sea", "agrees"), ("no wild deep gull", "denies"))[number % 2]
        texts = {"text": first, "text_pair": last} if number % 5 else {"text": f"{first} {last}"}
        rows.append({**texts, "label": label})
    return rows


def write(rows: list[dict[str, str]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
