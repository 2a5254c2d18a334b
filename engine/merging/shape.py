"""A run's model with its adapter, without any numbers: which modules there are, and what training changed of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from peft import PeftConfig, get_peft_model

from engine.audit.adapter import saved_name
from engine.errors import BadInput, cause_of_not_loaded, first_line, why_not_loaded
from engine.merging.steps import is_adapter
from engine.model import classifier_head, kind_of, without_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from peft import LoraConfig

    from engine.config import RunConfig


def base_shape(config: RunConfig, labels: list[str] | None, tokens: int) -> Any:
    """The run's base as it was trained on, without numbers. ``tokens``: size of the run's tokenizer.

    Raises:
        BadInput: it cannot be made.
    """
    path = config.model.path
    source = {"revision": config.model.revision, "trust_remote_code": config.model.trust_remote_code}
    kind, classes = kind_of(labels)
    try:
        model = without_numbers(kind, path, source, classes)
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise BadInput(
            f"model.path: {path} cannot be loaded: {why_not_loaded(path, error)}", cause_of_not_loaded(path, error)
        ) from error
    if tokens > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(tokens, mean_resizing=False)
    return model


def not_quantized(model: Any, labels: list[str] | None) -> list[str] | None:
    """Modules of a classifier that are left out of its quantisation; None where Transformers decide."""
    return None if labels is None else classifier_head(model)


def read_adapter_config(folder: Path) -> LoraConfig:
    """An adapter's configuration.

    Raises:
        BadInput: it cannot be read, or is of another method than LoRA.
    """
    try:
        adapter = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{folder}: adapter_config.json cannot be read: {first_line(error)}.") from error
    if adapter.peft_type != "LORA":
        raise BadInput(f"{folder}: is an adapter of {adapter.peft_type}, and those of LoRA are merged.")
    return adapter


def with_adapter(base: Any, adapter: LoraConfig) -> Any:
    """``base`` with the modules of an adapter, its own and the base's without numbers."""
    adapter = type(adapter)(**{**adapter.to_dict(), "init_lora_weights": True, "inference_mode": False})
    with torch.device("meta"):
        return get_peft_model(base, adapter)


def check_fits(model: Any, keys: Iterable[str], folder: Path) -> None:
    """See that an adapter's file has what ``model`` wants of it, and nothing else.

    Raises:
        BadInput: it has not.
    """
    wanted = {saved_name(name) for name, one in model.named_parameters() if is_adapter(name) or one.requires_grad}
    missing, foreign = sorted(wanted - set(keys)), sorted(set(keys) - wanted)
    if missing or foreign:
        which = f"lacks {missing[0]}" if missing else f"has {foreign[0]}, which no module takes"
        raise BadInput(
            f"{folder}: does not fit its base: it {which} ({len(missing)} missing, {len(foreign)} too many)."
        )
