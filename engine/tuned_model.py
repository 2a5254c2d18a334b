"""The model a run made, ready to write: its base as it was trained on, with the adapter on it; or the whole model.

Loaded by Transformers and PEFT alone, as anybody else would load it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from engine.config import Method, Task
from engine.config.ranks import compute_type
from engine.errors import BadInput, cause_of_not_loaded, why_not_loaded
from engine.model import quantization_of
from engine.strategy.base import DTYPES
from engine.tokenizer import load_tokenizer
from engine.trained_state import checkpoints

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import RunConfig
    from engine.events import RunDirectory


class Tuned(NamedTuple):
    """A model and what belongs to it."""

    model: Any
    """In evaluation mode; a PeftModel where an adapter was trained."""
    tokenizer: Any
    learnt: Path
    """What was loaded of the run: a folder with an adapter or a whole model."""
    dtype: torch.dtype
    """Computed in."""
    has_base: bool
    """The adapter can be switched off."""


def find_learnt(run: RunDirectory, config: RunConfig, step: int | None = None) -> Path:
    """The result of a run; without one, or where a step is given, what its newest checkpoint or that one has.

    Raises:
        BadInput: there is none.
    """
    is_adapter = config.method.name is not Method.FULL
    result = run.adapter if is_adapter else run.model
    if step is None and result.is_dir():
        return result
    if not is_adapter:
        raise BadInput(
            f"{run.id}: has no whole model in {result.name}/ yet; its checkpoints keep what a resume needs. "
            f"Let it end (qltui resume {run.id}), then try again."
        )
    saved = [folder / "adapter" for folder in checkpoints(run.checkpoints) if (folder / "adapter").is_dir()]
    if not saved:
        raise BadInput(f"{run.id}: has saved no adapter yet; wait for its first checkpoint, or ask for one.")
    if step is None:
        return saved[0]
    steps = {int(folder.parent.name.removeprefix("step-")): folder for folder in saved}
    if step not in steps:
        there = ", ".join(map(str, sorted(steps)))
        raise BadInput(f"{run.id}: has no checkpoint of step {step}; there are those of {there}.")
    return steps[step]


def load_tuned(run: RunDirectory, config: RunConfig, step: int | None = None) -> Tuned:
    """The model on the GPUs this process sees, spread over them as they have room, or on CPU.

    Raises:
        BadInput: it writes no text, nothing was saved, or its base cannot be loaded.
    """
    if config.model.task is not Task.CAUSAL_LM:
        raise BadInput(f"{run.id}: its model chooses a class and writes no text (model.task).")
    learnt = find_learnt(run, config, step)
    tokenizer = load_tokenizer(config)
    tokenizer.add_tokens(config.model.new_tokens)
    capabilities = [torch.cuda.get_device_capability(gpu)[0] for gpu in range(torch.cuda.device_count())]
    compute = compute_type(config, capabilities)
    dtype = DTYPES[compute]
    if config.method.name is Method.FULL:
        return Tuned(_load(str(learnt), config, dtype, None).eval(), tokenizer, learnt, dtype, has_base=False)
    # Quantised as it was trained on: an adapter makes up for what quantising lost, too.
    quantization = quantization_of(config.method, compute, torch.uint8)
    base = _load(config.model.path, config, dtype, quantization)
    if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(len(tokenizer))
    return Tuned(PeftModel.from_pretrained(base, learnt).eval(), tokenizer, learnt, dtype, has_base=True)


def _load(path: str, config: RunConfig, dtype: torch.dtype, quantization: Any) -> Any:
    is_base = path == config.model.path
    try:
        return AutoModelForCausalLM.from_pretrained(
            path,
            revision=config.model.revision if is_base else None,
            trust_remote_code=config.model.trust_remote_code,
            dtype=dtype,
            quantization_config=quantization,
            device_map="auto" if torch.cuda.is_available() else "cpu",
        )
    except (OSError, ValueError, ImportError, KeyError) as error:
        where = "model.path: " if is_base else ""
        raise BadInput(
            f"{where}{path} cannot be loaded: {why_not_loaded(path, error)}", cause_of_not_loaded(path, error)
        ) from error
