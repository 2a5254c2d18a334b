"""A model of the same architecture, small enough for CPU ranks: ``python -P -m engine.shrink MODEL OUT``.

Reads configuration and tokenizer of ``MODEL``, never its weights, and writes a model folder: fewer and narrower layers
of the same kinds, random weights. One JSON object on stdout says what became of it.
Exit codes: 0 written, 3 it cannot be used or shrunk and the last line on stderr says why, 1 anything else.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import cached_file

from engine.config import Task
from engine.errors import EXIT_BAD_INPUT, BadInput, first_line, why_not_loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

MULTIPLE = 64
"""Hidden sizes and vocabularies are multiples of it: 4-bit blocks are 64 numbers long, and every rank count that fits a
machine for rehearsals divides it."""
LEAST_LAYERS = 2
MOST_KEY_VALUE_HEADS = 2
EXPERTS, EXPERTS_PER_TOKEN = 4, 2

MLA_HEAD = 16
LARGEST = {
    "intermediate_size": 2 * MULTIPLE, "intermediate_size_mlp": 2 * MULTIPLE, "ffn_dim": 2 * MULTIPLE,
    "ffn_hidden_size": 2 * MULTIPLE, "n_inner": 2 * MULTIPLE, "hidden_dim": 2 * MULTIPLE,
    "moe_intermediate_size": MULTIPLE,
    "shared_expert_intermediate_size": MULTIPLE, "q_lora_rank": 32, "kv_lora_rank": 32,
    "qk_nope_head_dim": MLA_HEAD, "qk_rope_head_dim": MLA_HEAD, "v_head_dim": MLA_HEAD,
    "qk_head_dim": 2 * MLA_HEAD,  # the sum of the rotated and the other part
    "num_local_experts": EXPERTS, "num_experts": EXPERTS, "n_routed_experts": EXPERTS,
    "num_experts_per_tok": EXPERTS_PER_TOKEN, "n_group": 2, "topk_group": 1, "hidden_size_per_layer_input": MULTIPLE,
}  # fmt: skip
"""Sizes by the names Transformers' configurations give them; smaller ones stay as they are."""


class Source(NamedTuple):
    """The model to shrink."""

    name: str
    """Local folder or hub id."""
    revision: str | None
    trust_remote_code: bool
    tokenizer: str | None
    """Folder or hub id of the tokenizer, if it isn't the model's."""
    task: Task = Task.CAUSAL_LM


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engine.shrink", description="Write a small model of the same architecture.")
    parser.add_argument("model", help="local model folder, or id of a model on the hub")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--revision", help="branch, tag or commit of a hub model")
    parser.add_argument("--tokenizer", help="folder or hub id of the tokenizer, if it isn't the model's")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the model")
    parser.add_argument("--task", type=Task, default=Task.CAUSAL_LM, help="what it is to learn")
    options = parser.parse_args(arguments)
    quiet.quiet_transformers()
    try:
        source = Source(options.model, options.revision, options.trust_remote_code, options.tokenizer, options.task)
        print(json.dumps(shrink(source, options.out)))
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def shrink(source: Source, out: Path) -> dict[str, Any]:
    """Write the small model to ``out``.

    Returns its ``architecture``, ``parameters``, ``bytes`` on disk, and ``changed``: [before, after] by config field.

    Raises:
        BadInput: there is no such model, no tokenizer, or its architecture is none that can be shrunk.
    """
    config, classifies = _config_of(source), source.task is Task.SEQUENCE_CLASSIFICATION
    tokenizer = _tokenizer_of(source)
    config.__dict__.pop("quantization_config", None)  # there are no quantised weights to load
    small = copy.deepcopy(config)
    try:
        full = build(config, torch.device("meta"), source.trust_remote_code, classifies)
        shrink_config(small, full, len(tokenizer))
        torch.manual_seed(0)
        model = build(small, torch.device("cpu"), source.trust_remote_code, classifies)
        _prove(model, full)
    # Whatever a model's code makes of sizes it was not written for; the user can only be told that it did.
    except Exception as error:
        reason = str(error) if isinstance(error, BadInput) else f"{type(error).__name__}: {first_line(error)}"
        raise BadInput(
            f"model.path: {source.name}: a {config.model_type} model cannot be shrunk ({reason})."
        ) from error
    (model.base_model if classifies else model).save_pretrained(out)  # a classifier's head is as wide as the data wants
    if source.tokenizer is None:
        tokenizer.save_pretrained(out)
    _copy_files(source, out)
    return {
        "architecture": type(model).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "bytes": sum(file.stat().st_size for file in out.glob("*.safetensors")),
        "changed": differences(config, small),
    }


def build(config: Any, device: torch.device, trust_remote_code: bool = False, classifies: bool = False) -> Any:
    """The model that a configuration describes, in its checkpoint's type, with new weights.

    ``classifies`` asks for a classifier of sequences, which a checkpoint of one is anyway.
    """
    classifies |= any("SequenceClassification" in name for name in config.architectures or [])
    auto_class = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    dtype = config.dtype or config.get_text_config().dtype or torch.float32
    with device:
        return auto_class.from_config(
            copy.deepcopy(config), dtype=dtype, attn_implementation="eager", trust_remote_code=trust_remote_code
        ).eval()


def shrink_config(config: Any, full: nn.Module, tokens: int) -> None:
    """Change ``config`` to a small model's, in place.

    ``full`` is the model it describes (on the meta device will do), ``tokens`` the size of the tokenizer's vocabulary.
    """
    text = config.get_text_config()
    parts = [config, *(getattr(config, name) for name in getattr(config, "sub_configs", {}))]
    for part in [part for part in parts if part is not None]:
        if _has(part, "num_hidden_layers"):
            _keep_layers(part, depth_needed(part, full))
        if _has(part, "hidden_size"):
            _narrow(part)
    highest = max([tokens - 1, *_token_ids(config), *_token_ids(text)])
    for name in ("vocab_size", "vocab_size_per_layer_input"):
        if _has(text, name):
            setattr(text, name, min(getattr(text, name), _rounded_up(highest + 1)))


def depth_needed(config: Any, full: nn.Module) -> int:
    """How many layers, from the first on, hold one of each kind; at least 2.

    A beginning, and no selection: where configurations say the kind of a layer by a formula (``decoder_sparse_step``,
    ``first_k_dense_replace``), it goes on to mean the same.
    """
    layers: int = config.num_hidden_layers
    lists = [list(map(repr, values)) for values in _by_layer(config).values()]
    telling = [values for values in lists if len(set(values)) < layers]  # others name the layers themselves
    kinds: list[tuple[Any, ...]] = [tuple(values[index] for values in telling) for index in range(layers)]
    for stack in full.modules():
        if isinstance(stack, nn.ModuleList) and len(stack) == layers:
            kinds = [(*kind, _structure(layer)) for kind, layer in zip(kinds, stack, strict=True)]
    first = {kind: index for index, kind in reversed(list(enumerate(kinds)))}
    needed: int = max(first.values()) + 1
    return min(layers, max(LEAST_LAYERS, needed))


def class_names(model: nn.Module) -> set[str]:
    """Names of the classes that a model's modules are of."""
    return {type(module).__name__ for module in model.modules()}


def differences(before: Any, after: Any) -> dict[str, list[Any]]:
    """[before, after] of the numbers that differ between two configurations, by field; parts' fields dotted."""

    def numbers(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from numbers(value, f"{prefix}{key}.")
            elif isinstance(value, int):
                yield f"{prefix}{key}", value

    old, new = dict(numbers(before.to_dict())), dict(numbers(after.to_dict()))
    return {key: [old[key], new[key]] for key in old if key in new and old[key] != new[key]}


def _keep_layers(config: Any, depth: int) -> None:
    for name, values in _by_layer(config).items():
        setattr(config, name, values[:depth])
    config.num_hidden_layers = depth


def _by_layer(config: Any) -> dict[str, list[Any]]:
    """The fields that say something of each layer."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if isinstance(value, list) and len(value) == config.num_hidden_layers and not name.endswith("_token_id")
    }


def _structure(layer: nn.Module) -> tuple[tuple[str, str], ...]:
    return tuple((name, type(module).__name__) for name, module in layer.named_modules())


def _narrow(config: Any) -> None:
    """Fewer heads in the same groups, the smallest even head that fits, few small experts."""
    rotated = getattr(config, "qk_rope_head_dim", None)
    for name, largest in LARGEST.items():
        value = getattr(config, name) if _has(config, name) else None
        if isinstance(value, int):
            setattr(config, name, min(value, largest))
        elif isinstance(value, list):  # one for each layer
            setattr(config, name, [min(one, largest) for one in value])
    if not _has(config, "num_attention_heads"):
        config.hidden_size = min(config.hidden_size, MULTIPLE)
        return
    heads, hidden = config.num_attention_heads, config.hidden_size
    named = next((name for name in ("num_key_value_heads", "num_kv_heads") if _has(config, name)), None)
    groups = (getattr(config, named) if named else None) or heads
    small_groups = min(groups, MOST_KEY_VALUE_HEADS)
    small_heads = small_groups * (heads // groups)
    head = next(size for size in (16, 32, 64) if small_heads * size % MULTIPLE == 0)
    config.num_attention_heads, config.hidden_size = small_heads, small_heads * head
    if named and getattr(config, named) is not None:
        setattr(config, named, small_groups)
    if _has(config, "head_dim") and config.head_dim:
        # Heads together may be wider or narrower than the hidden states; they stay so.
        if rotated is not None:
            head = config.qk_rope_head_dim
        elif config.head_dim * heads > hidden:
            head *= 2
        elif config.head_dim * heads < hidden:
            config.hidden_size *= 2
        config.head_dim = head
    if _has(config, "rotary_dim") and config.rotary_dim:
        config.rotary_dim = min(config.rotary_dim, head)
    _shorten_rope(getattr(config, "rope_parameters", None), head)


def _shorten_rope(parameters: dict[str, Any] | None, head: int) -> None:
    """Keep as many factors of the rotation as a narrow head has frequencies."""
    rotated = int(head * (parameters or {}).get("partial_rotary_factor", 1.0))
    for name, value in (parameters or {}).items():
        if isinstance(value, dict):  # by kind of layer
            _shorten_rope(value, head)
        elif name in ("short_factor", "long_factor") and parameters is not None:
            parameters[name] = value[: rotated // 2]


def _prove(model: Any, full: nn.Module) -> None:
    """Raise unless the small model consists of what the full one does, and computes."""
    lost = class_names(full) ^ class_names(model)
    if lost:
        raise BadInput(f"its modules would not be the same: {', '.join(sorted(lost))}")
    with torch.no_grad():
        logits = model(input_ids=torch.ones((1, 4), dtype=torch.long)).logits
    if not logits.isfinite().all():
        raise BadInput("what it computes would not be finite")


def _config_of(source: Source) -> Any:
    try:
        return AutoConfig.from_pretrained(
            source.name, revision=source.revision, trust_remote_code=source.trust_remote_code
        )
    # Broken files surface as whatever reads them raises: OSError, ValueError, KeyError, validation errors.
    except Exception as error:
        reason = why_not_loaded(source.name, error)
        raise BadInput(f"model.path: {source.name}: its config.json cannot be read: {reason}") from error


def _tokenizer_of(source: Source) -> Any:
    own = source.tokenizer is None
    field, name = ("model.path", source.name) if source.tokenizer is None else ("model.tokenizer", source.tokenizer)
    try:
        return AutoTokenizer.from_pretrained(
            name, revision=source.revision if own else None, trust_remote_code=source.trust_remote_code
        )
    except Exception as error:  # tokenizers raises bare ones
        raise BadInput(f"{field}: {name}: its tokenizer cannot be loaded: {why_not_loaded(name, error)}") from error


def _copy_files(source: Source, out: Path) -> None:
    """Files that are taken as they are: how it generates, and a local model's own code."""
    found = cached_file(
        source.name, "generation_config.json", revision=source.revision,
        _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False,
    )  # fmt: skip
    if found is not None:
        shutil.copy(found, out)
    if source.trust_remote_code and Path(source.name).is_dir():
        for file in Path(source.name).glob("*.py"):
            shutil.copy(file, out)


def _has(config: Any, name: str) -> bool:
    """Whether a configuration declares a field, under its own name for it or the common one."""
    return name in config.attribute_map or name in config.to_dict()


def _token_ids(config: Any) -> Iterator[int]:
    """Ids of tokens that a configuration refers to."""
    for name, value in config.to_dict().items():
        if name.endswith(("_token_id", "_token_index")):
            yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int))


def _rounded_up(number: int) -> int:
    return -(-number // MULTIPLE) * MULTIPLE


if __name__ == "__main__":
    sys.exit(main())
