"""What generating an answer needs to know of a model and its tokenizer."""

from __future__ import annotations

from typing import Any

from engine.templates import stop_token_ids


def answer_ends(model: Any, tokenizer: Any) -> list[int]:
    """Tokens an answer ends with: as the tokenizer and its chat template say, and the model's generation config."""
    configured: Any = model.generation_config.eos_token_id
    more = configured if isinstance(configured, list) else [configured]
    return sorted({*stop_token_ids(tokenizer), *(token for token in more if token is not None)})
