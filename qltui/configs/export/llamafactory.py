"""LLaMA-Factory's YAML, and the ``dataset_info.json`` by which it finds its data."""

from __future__ import annotations

import json
from typing import Any

from engine.config.choices import DataFormat, LoraInit, Method, StrategyName
from qltui.configs.export import meanings
from qltui.configs.export.data_source import is_local
from qltui.configs.export.meanings import is_method, is_strategy
from qltui.configs.export.tables import LEFT_OUT, Given, Lost, Program, Refusal, Row, field, fixed, unless_default
from qltui.configs.export.trainer import evaluation, trainer

QLORA, INT8 = is_method(Method.QLORA), is_method(Method.INT8)
FSDP2, ZERO3 = is_strategy(StrategyName.FSDP2), is_strategy(StrategyName.ZERO3)
ATTENTION = {"auto": "auto", "sdpa": "sdpa", "eager": "disabled", "flash_attention_2": "fa2"}
DATASET_INFO = "dataset_info.json"


def _held_out(given: Given) -> str | None:
    """What the rows held out are called there; None where there are none."""
    data = given.config.data
    return f"{given.value('name')}-held-out" if data.eval_path or data.eval_split else None


def _adapted(given: Given) -> bool:
    return given.has_adapter


def _targets(given: Given) -> Any:
    wanted = given.config.method.lora.target_modules
    return "all" if wanted == "all-linear" else wanted if isinstance(wanted, str) else ",".join(wanted)


def _is_text(given: Given) -> bool:
    return given.rows is DataFormat.TEXT


def _info(given: Given, path: str, split: str) -> dict[str, Any]:
    """What LLaMA-Factory is told of one set of rows."""
    name = {"subset": given.config.data.name} if given.config.data.name else {}
    source = {"file_name": path} if is_local(given) else {"hf_hub_url": path, **name, "split": split}
    return {**source, **_layout(given)}


def _layout(given: Given) -> dict[str, Any]:
    def columns(**wanted: str) -> dict[str, str]:
        return {theirs: meanings.column(given, ours) for theirs, ours in wanted.items()}

    match given.rows:
        case DataFormat.ALPACA:
            return {"columns": columns(prompt="instruction", query="input", response="output")}
        case DataFormat.PROMPT_COMPLETION:
            return {"columns": columns(prompt="prompt", response="completion")}
        case DataFormat.TEXT:
            return {"columns": columns(prompt="text")}
        case DataFormat.SHAREGPT:
            return {"formatting": "sharegpt", "columns": columns(messages="conversations")}
        case _:
            tags = {
                "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
                "system_tag": "system",
            }  # fmt: skip
            return {"formatting": "sharegpt", "columns": columns(messages="messages"), "tags": tags}


def _dataset_info(given: Given) -> str:
    data = given.config.data
    described = {given.value("name"): _info(given, data.path, data.split)}
    if held_out := _held_out(given):
        described[held_out] = _info(given, data.eval_path or data.path, data.eval_split or "train")
    return json.dumps(described, indent=2) + "\n"


def _data_note(given: Given) -> str | None:
    notes = []
    if given.rows is None:
        notes.append("data.format: not known here; taken as rows of messages.")
    if given.rows is DataFormat.PROMPT_COMPLETION:
        notes.append("data.format: prompt_completion: put into a chat template here, and taken as it is by us.")
    if given.folder is None:
        notes.append(f"LLaMA-Factory finds its data by {DATASET_INFO} in dataset_dir, which is to be:")
        notes.append(_dataset_info(given))
    return "\n".join(notes) or None


MODEL = (
    field("model_name_or_path", "model.path"),
    unless_default("model_revision", "model.revision"),
    unless_default("trust_remote_code", "model.trust_remote_code"),
    Lost(("model.task", "model.num_labels"), "", lambda _: False),
    Lost(("model.tokenizer",), "model.tokenizer: {value}: LLaMA-Factory takes the model's own."),
    Row("add_tokens", lambda given: ",".join(given.config.model.new_tokens) or LEFT_OUT, ("model.new_tokens",)),
    fixed("resize_vocab", True, lambda given: bool(given.config.model.new_tokens)),
    field("flash_attn", "model.attention", words=ATTENTION),
)
METHOD = (
    Row("stage", lambda given: "pt" if _is_text(given) else "sft"),
    fixed("do_train", True),
    Row("finetuning_type", lambda given: "lora" if given.has_adapter else "full", ("method.name",)),
    field("lora_rank", "method.lora.rank", when=_adapted),
    field("lora_alpha", "method.lora.alpha", when=_adapted),
    field("lora_dropout", "method.lora.dropout", when=_adapted),
    Row(
        "lora_target",
        lambda given: _targets(given) if given.has_adapter else LEFT_OUT,
        ("method.lora.target_modules",),
    ),
    Row(
        "additional_target",
        lambda given: ",".join(given.config.method.lora.modules_to_save) or LEFT_OUT if given.has_adapter else LEFT_OUT,
        ("method.lora.modules_to_save",),
    ),
    field("use_rslora", "method.lora.use_rslora", when=_adapted),
    field("use_dora", "method.lora.use_dora", when=_adapted),
    Row(
        "pissa_init",
        lambda given: True if given.has_adapter and given.config.method.lora.init is LoraInit.PISSA else LEFT_OUT,
        ("method.lora.init",),
    ),
    fixed("pissa_iter", -1, lambda given: given.has_adapter and given.config.method.lora.init is LoraInit.PISSA),
    Lost(
        ("method.lora.init",),
        "method.lora.init: {value}: LLaMA-Factory begins adapters with PEFT's default, or with pissa.",
        lambda given: given.has_adapter and given.config.method.lora.init in (LoraInit.OLORA, LoraInit.GAUSSIAN),
    ),
    Row("quantization_bit", lambda given: 4 if QLORA(given) else 8 if INT8(given) else LEFT_OUT, ("method.name",)),
    fixed("quantization_method", "bnb", is_method(Method.QLORA, Method.INT8)),
    field("quantization_type", "method.quantization.type", when=QLORA),
    field("double_quantization", "method.quantization.double_quantization", when=QLORA),
    Lost(
        ("method.quantization.storage",),
        "method.quantization.storage: LLaMA-Factory stores 4-bit weights in the type it computes in.",
        QLORA,
    ),
    Lost(
        ("method.quantization.int8_threshold",),
        "method.quantization.int8_threshold: {value}: LLaMA-Factory keeps 6.0.",
        lambda given: INT8(given) and not given.is_default("method.quantization.int8_threshold"),
    ),
)
DATA = (
    field("dataset", "name"),
    Row(
        "dataset_dir",
        lambda given: given.folder or ".",
        ("data.path", "data.name", "data.split", "data.format", "data.columns"),
        _data_note,
    ),
    Row(
        "eval_dataset",
        lambda given: _held_out(given) or LEFT_OUT,
        ("data.eval_path", "data.eval_split"),
    ),
    Row(
        "val_size",
        lambda given: LEFT_OUT if _held_out(given) else given.value("data.eval_fraction") or LEFT_OUT,
        ("data.eval_fraction",),
    ),
    Lost(
        (),
        "template: left out, so that the tokenizer's own chat template is taken, as by us.",
        lambda given: not given.config.data.chat_template,
    ),
    Lost(("data.chat_template",), "data.chat_template: {value}: LLaMA-Factory takes a template by name: template."),
    field("cutoff_len", "data.max_length"),
    field("packing", "data.packing"),
    fixed("neat_packing", True, lambda given: bool(given.value("data.packing"))),  # rows see themselves alone
    Row("train_on_prompt", lambda given: not (meanings.answers_alone(given) or _is_text(given)), ("data.loss_on",)),
    Row("disable_shuffling", lambda given: LEFT_OUT if given.value("data.shuffle") else True, ("data.shuffle",)),
    field("dataloader_num_workers", "data.num_workers"),
)  # fmt: skip
STRATEGY = (
    Row(
        "disable_gradient_checkpointing",
        lambda given: not meanings.checkpoints(given),
        ("training.gradient_checkpointing",),
        meanings.checkpointing_note,
    ),
    Row(
        "use_reentrant_gc",
        lambda given: ZERO3(given) and given.has_adapter if meanings.checkpoints(given) else LEFT_OUT,
        (),
        lambda given: (
            "Reentrant, as LLaMA-Factory takes a DeepSpeed older than 0.19.3, under whose ZeRO-3 the other kind fails."
            if meanings.checkpoints(given) and ZERO3(given) and given.has_adapter
            else None
        ),
    ),
    Row(
        "fsdp",
        lambda given: (
            "full_shard auto_wrap" + " offload" * given.config.strategy.offload_parameters if FSDP2(given) else LEFT_OUT
        ),
        ("strategy.name", "strategy.offload_parameters", "strategy.offload_optimizer"),
    ),
    Row(
        "fsdp_config",
        lambda given: {"version": 2, **meanings.fsdp_config(given, "offload_params")} if FSDP2(given) else LEFT_OUT,
        ("strategy.name",),
    ),
    Lost(
        ("hardware.ranks_per_node",),
        "hardware.ranks_per_node: it is the launcher's: see the command above.",
        lambda _: False,
    ),
)
REFUSALS = (
    Refusal(
        "strategy.name",
        is_strategy(StrategyName.PIPELINE),
        "pipeline: LLaMA-Factory puts the whole model on each process's GPU.",
        "Use --set strategy.name=zero3, which shards it.",
    ),
    Refusal(
        "model.new_tokens",
        lambda given: bool(given.config.model.new_tokens) and is_method(Method.QLORA, Method.INT8)(given),
        "LLaMA-Factory adds no tokens to quantised models.",
        "Use --set method.name=lora.",
    ),
    Refusal(
        "method.lora.init",
        lambda given: given.config.method.lora.init is LoraInit.PISSA and ZERO3(given) and given.has_adapter,
        "pissa: LLaMA-Factory refuses it under ZeRO-3.",
        "Use --set method.lora.init=default.",
    ),
    Refusal(
        "method.lora.alpha",
        lambda given: given.has_adapter and not given.config.method.lora.alpha.is_integer(),
        "is not a whole number, and LLaMA-Factory takes no other.",
        "Choose a whole one.",
    ),
)


def _start(given: Given, file: str) -> str:
    ranks = meanings.ranks(given)
    return f"FORCE_TORCHRUN=1 {f'NPROC_PER_NODE={ranks} ' if ranks else ''}llamafactory-cli train {file}"


LLAMA_FACTORY = Program(
    "llamafactory",
    "LLaMA-Factory 0.9.5",
    (
        *MODEL, *METHOD, *DATA, *trainer("warmup_ratio"), *evaluation(meanings.evaluates), *STRATEGY,
        *meanings.OURS_ALONE,
    ),
    (*meanings.REFUSALS, meanings.TYPES_DIFFER, *REFUSALS),
    _start,
    lambda given: {DATASET_INFO: _dataset_info(given)},
)  # fmt: skip
