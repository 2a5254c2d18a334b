"""The model's tokenizer, ready for the run's rows; imports no torch of its own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.errors import GATED, BadInput, cause_of_not_loaded
from engine.hub import require_hub

if TYPE_CHECKING:
    from engine.config import RunConfig


def load_tokenizer(config: RunConfig, *, prefer_cache: bool = False) -> PreTrainedTokenizerBase:
    """The model's tokenizer, or the one named instead, with a pad token and the configured chat template.

    ``prefer_cache`` takes one of the hub's cache without asking the hub whether there is a newer one, which may take
    minutes where there is no network.

    Raises:
        BadInput: there is none, or it cannot be used.
    """
    field = "model.tokenizer" if config.model.tokenizer else "model.path"
    path = config.model.tokenizer or config.model.path
    revision = None if config.model.tokenizer else config.model.revision
    try:
        tokenizer = _from_cache(path, revision, config) if prefer_cache else None
        if prefer_cache and tokenizer is None and not path.startswith(("/", ".", "~")) and not os.path.exists(path):
            require_hub(path, field)
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=config.model.trust_remote_code
        )
    except BadInput:
        raise
    # Broken files surface as whatever the parser of that file raises, tokenizers' own as a bare Exception.
    except Exception as error:
        raise BadInput(
            f"{path}: {_why_no_tokenizer(path, error)} ({field}).", cause_of_not_loaded(path, error)
        ) from error
    if not tokenizer.is_fast:
        raise BadInput(
            f"{path}: has no fast tokenizer (tokenizer.json), without which answers cannot be told from prompts "
            f"({field}). Convert it with Transformers' AutoTokenizer and save_pretrained."
        )
    set_chat_template(tokenizer, config)
    if tokenizer.pad_token_id is None:
        # Padding is masked by position, so any token does; nothing is added to the vocabulary.
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def set_chat_template(tokenizer: PreTrainedTokenizerBase, config: RunConfig) -> None:
    """Put the configured chat template, if there is one, in the place of the tokenizer's own.

    Raises:
        BadInput: its file cannot be read.
    """
    if config.data.chat_template:
        tokenizer.chat_template = _read_template(Path(config.data.chat_template))


def _from_cache(path: str, revision: str | None, config: RunConfig) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a folder or of the hub's cache; None if it is not there whole."""
    with contextlib.suppress(Exception):  # the same again, asked of the hub, says what it is
        return AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=config.model.trust_remote_code, local_files_only=True
        )
    return None


def _why_no_tokenizer(path: str, error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return "its tokenizer is Python code that comes with it; set model.trust_remote_code=true if you trust it"
    if cause_of_not_loaded(path, error) == "hub_auth_gated":
        return GATED
    if isinstance(error, OSError) and not Path(path).exists():
        return "is no local folder, and the hub cannot be reached or has no such model; check the path or the id"
    if "Couldn't instantiate the backend tokenizer" in str(error):
        return "holds no tokenizer; copy tokenizer.json and tokenizer_config.json there, or set model.tokenizer"
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"its tokenizer cannot be read: {reason.rstrip('.')}; fetch tokenizer.json again, or set model.tokenizer"


def _read_template(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: the chat template cannot be read ({error}). Set data.chat_template.") from None
