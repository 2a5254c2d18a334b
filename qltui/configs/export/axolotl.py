"""Axolotl's YAML."""

from __future__ import annotations

from typing import Any

from engine.config.choices import Compute, DataFormat, Device, Method, StrategyName, Tracker
from qltui.configs.export import meanings
from qltui.configs.export.data_source import is_local, table_reader
from qltui.configs.export.meanings import computes_in, is_method, is_strategy
from qltui.configs.export.tables import LEFT_OUT, Given, Lost, Program, Refusal, Row, field, fixed, unless_default

QLORA, INT8 = is_method(Method.QLORA), is_method(Method.INT8)
FSDP2, ZERO3 = is_strategy(StrategyName.FSDP2), is_strategy(StrategyName.ZERO3)


def _adapted(given: Given) -> bool:
    return given.has_adapter


def _adapts_all(given: Given) -> bool:
    return given.has_adapter and given.config.method.lora.target_modules == "all-linear"


def _dataset(given: Given, path: str, split: str) -> dict[str, Any]:
    data = given.config.data
    local = {"ds_type": table_reader(given)} if is_local(given) else {}
    named = {"name": data.name} if data.name and not local else {}
    return {"path": path, **local, **named, "split": "train" if local else split, **_layout(given)}


def _layout(given: Given) -> dict[str, Any]:
    """Axolotl's words for how rows are laid out."""
    match given.rows:
        case DataFormat.SHAREGPT:
            properties = {"message_property_mappings": {"role": "from", "content": "value"}}
            return {"type": "chat_template", "field_messages": meanings.column(given, "conversations"), **properties}
        case DataFormat.TEXT:
            return {"type": "completion", "field": meanings.column(given, "text")}
        case DataFormat.PROMPT_COMPLETION:
            ours = {"field_instruction": "prompt", "field_output": "completion"}
            named = {key: meanings.column(given, name) for key, name in ours.items()}
            return {"type": {**named, "format": "{instruction}", "no_input_format": "{instruction}"}}
        case DataFormat.ALPACA:
            return {"type": "alpaca"}
        case _:
            return {"type": "chat_template", "field_messages": meanings.column(given, "messages")}


def _data_note(given: Given) -> str | None:
    if given.rows is None:
        return "data.format: not known here; taken as rows of messages. Say type and columns."
    if given.rows is DataFormat.ALPACA:
        note = "data.format: alpaca: Axolotl writes its own prompt around rows, not the model's chat template."
        return note + " Rename the columns to its own." * bool(given.config.data.columns)
    return None


def _held_out(given: Given) -> Any:
    data = given.config.data
    if data.eval_path:
        return [_dataset(given, data.eval_path, "train")]
    return [_dataset(given, data.path, data.eval_split)] if data.eval_split else LEFT_OUT


MODEL = (
    field("base_model", "model.path"),
    unless_default("revision_of_model", "model.revision"),
    unless_default("tokenizer_config", "model.tokenizer"),
    unless_default("trust_remote_code", "model.trust_remote_code"),
    Lost(("model.task", "model.num_labels"), "", lambda _: False),
    Row(
        "tokens",
        lambda given: given.config.model.new_tokens or LEFT_OUT,
        ("model.new_tokens",),
        lambda given: (
            "model.new_tokens: their embeddings are trained by us; here name embed_tokens and lm_head in"
            " lora_modules_to_save."
            if given.config.model.new_tokens and given.has_adapter
            else None
        ),
    ),
    unless_default("attn_implementation", "model.attention"),
    fixed("device_map", "auto", is_strategy(StrategyName.PIPELINE)),
)
METHOD = (
    Row(
        "adapter",
        lambda given: ("qlora" if QLORA(given) else "lora") if given.has_adapter else LEFT_OUT,
        ("method.name",),
        lambda given: (
            "Trained in full in 16 bit, Axolotl keeps no float32 weights, which we do: small updates may vanish."
            if not given.has_adapter and given.compute is not Compute.FP32
            else None
        ),
    ),
    fixed("load_in_4bit", True, QLORA),
    fixed("load_in_8bit", True, INT8),
    Row(
        "bnb_config_kwargs",
        lambda given: (
            {
                "bnb_4bit_quant_type": given.value("method.quantization.type"),
                "bnb_4bit_use_double_quant": given.value("method.quantization.double_quantization"),
                "bnb_4bit_quant_storage": meanings.storage(given),
            }
            if QLORA(given)
            else LEFT_OUT
        ),
        ("method.quantization.type", "method.quantization.double_quantization", "method.quantization.storage"),
        lambda given: "Stored as bytes, which nothing casts; Axolotl's own default is bfloat16."
        if QLORA(given) and meanings.storage(given) == "uint8"
        else None,
    ),
    Lost(
        ("method.quantization.int8_threshold",),
        "method.quantization.int8_threshold: {value}: Axolotl keeps 6.0.",
        lambda given: INT8(given) and not given.is_default("method.quantization.int8_threshold"),
    ),
    field("lora_r", "method.lora.rank", when=_adapted),
    field("lora_alpha", "method.lora.alpha", when=_adapted),
    field("lora_dropout", "method.lora.dropout", when=_adapted),
    Row(
        "lora_target_linear",
        lambda given: True if _adapts_all(given) else LEFT_OUT,
        ("method.lora.target_modules",),
    ),
    field(
        "lora_target_modules", "method.lora.target_modules",
        when=lambda given: given.has_adapter and not _adapts_all(given),
    ),
    Row(
        "lora_modules_to_save",
        lambda given: given.config.method.lora.modules_to_save or LEFT_OUT if given.has_adapter else LEFT_OUT,
        ("method.lora.modules_to_save",),
    ),
    fixed("peft_autocast_adapter_dtype", False, meanings.types_differ),
    field("peft_use_rslora", "method.lora.use_rslora", when=_adapted),
    field("peft_use_dora", "method.lora.use_dora", when=_adapted),
    field(
        "peft_init_lora_weights", "method.lora.init",
        when=lambda given: given.has_adapter and not given.is_default("method.lora.init"),
    ),
)  # fmt: skip
DATA = (
    Row(
        "datasets",
        lambda given: [_dataset(given, given.config.data.path, given.config.data.split)],
        ("data.path", "data.name", "data.split", "data.format", "data.columns"),
        _data_note,
    ),
    Row("test_datasets", _held_out, ("data.eval_path", "data.eval_split")),
    Row(
        "val_set_size",
        lambda given: LEFT_OUT if given.config.data.eval_path or given.config.data.eval_split else
        given.value("data.eval_fraction"),
        ("data.eval_fraction",),
    ),
    Row("chat_template", lambda given: "jinja" if given.value("data.chat_template") else "tokenizer_default"),
    unless_default("chat_template_jinja", "data.chat_template"),
    Row("train_on_inputs", lambda given: not meanings.answers_alone(given), ("data.loss_on",)),
    field("sequence_len", "data.max_length"),
    Row(
        "excess_length_strategy",
        lambda _: "truncate",
        (),
        lambda given: "Rows of text are cut into several rows here, not at their end."
        if given.rows is DataFormat.TEXT
        else None,
    ),
    field("sample_packing", "data.packing"),
    fixed("eval_sample_packing", False),
    fixed("pad_to_sequence_len", False),
    Row("shuffle_merged_datasets", lambda given: given.value("data.shuffle"), ("data.shuffle",)),
    Row("curriculum_sampling", lambda given: LEFT_OUT if given.value("data.shuffle") else True, ("data.shuffle",)),
    field("dataloader_num_workers", "data.num_workers"),
)  # fmt: skip


def _reports_to(tracker: Tracker) -> Any:
    return lambda given: tracker in given.config.tracking.report_to


TRAINING = (
    Row("output_dir", lambda given: f"outputs/{given.value('name')}", ("name",)),
    Row("max_steps", lambda given: given.value("training.max_steps") or LEFT_OUT, ("training.max_steps",)),
    field("num_epochs", "training.epochs", when=lambda given: given.config.training.max_steps is None),
    field("micro_batch_size", "training.micro_batch_size"),
    field("eval_batch_size", "training.micro_batch_size"),
    field("gradient_accumulation_steps", "training.gradient_accumulation_steps"),
    field("learning_rate", "training.learning_rate"),
    field("lr_scheduler", "training.schedule", words=meanings.SCHEDULES),
    field("warmup_ratio", "training.warmup_ratio"),
    Row("optimizer", meanings.optimizer, ("training.optimizer",)),
    field("weight_decay", "training.weight_decay"),
    field("adam_beta1", "training.adam_beta1"),
    field("adam_beta2", "training.adam_beta2"),
    field("max_grad_norm", "training.max_grad_norm"),
    Row("bf16", computes_in(Compute.BF16), ("precision.compute",), meanings.precision_note),
    Row("fp16", computes_in(Compute.FP16), ("precision.compute",)),
    Lost(("precision.deterministic",), "precision.deterministic: Axolotl has no switch for it."),
    field("seed", "training.seed"),
    unless_default("ddp_timeout", "hardware.timeout_seconds"),
    fixed("logging_steps", 1),
    Row(
        "save_strategy",
        lambda given: LEFT_OUT if given.value("training.save_every") else "no",
        ("training.save_every",),
    ),
    Row("save_steps", lambda given: given.value("training.save_every") or LEFT_OUT, ("training.save_every",)),
    field("save_total_limit", "training.keep_checkpoints"),
    Row(
        "eval_strategy",
        lambda given: "epoch" if meanings.evaluates(given) and not given.value("training.eval_every") else LEFT_OUT,
        ("training.eval_every",),
        meanings.eval_note,
    ),
    Row(
        "eval_steps",
        lambda given: given.value("training.eval_every") or LEFT_OUT if meanings.evaluates(given) else LEFT_OUT,
        ("training.eval_every",),
    ),
)
STRATEGY = (
    Row(
        "gradient_checkpointing",
        meanings.checkpoints,
        ("training.gradient_checkpointing",),
        meanings.checkpointing_note,
    ),
    Row(
        "gradient_checkpointing_kwargs",
        lambda given: (
            {"use_reentrant": ZERO3(given) and given.has_adapter} if meanings.checkpoints(given) else LEFT_OUT
        ),
        (),
        lambda given: (
            "Reentrant, as Axolotl takes a DeepSpeed older than 0.19.3, under whose ZeRO-3 the other kind fails."
            if meanings.checkpoints(given) and ZERO3(given) and given.has_adapter
            else None
        ),
    ),
    fixed("ddp_find_unused_parameters", False, is_strategy(StrategyName.DDP)),
    fixed("fsdp_version", 2, FSDP2),
    Row(
        "fsdp_config",
        lambda given: meanings.fsdp_config(given, "offload_params"),
        ("strategy.name", "strategy.offload_parameters", "strategy.offload_optimizer"),
    ),
    Row("deepspeed", meanings.deepspeed, ("strategy.name",)),
    Lost(
        ("hardware.device",),
        "hardware.device: cpu: Axolotl has no key for it; it computes on the GPUs it sees.",
        lambda given: given.config.hardware.device is Device.CPU,
    ),
    Lost(
        ("hardware.ranks_per_node",),
        "hardware.ranks_per_node: it is the launcher's: see the command above.",
        lambda _: False,
    ),
)
TRACKING = (
    fixed("use_tensorboard", True, _reports_to(Tracker.TENSORBOARD)),
    Row(
        "use_wandb",
        lambda given: True if _reports_to(Tracker.WANDB)(given) else LEFT_OUT,
        ("tracking.report_to",),
    ),
    field("wandb_project", "tracking.project", when=_reports_to(Tracker.WANDB)),
    fixed("use_trackio", True, _reports_to(Tracker.TRACKIO)),
    field("trackio_project_name", "tracking.project", when=_reports_to(Tracker.TRACKIO)),
)
REFUSALS = (
    Refusal(
        "method.lora.alpha",
        lambda given: given.has_adapter and not given.config.method.lora.alpha.is_integer(),
        "is not a whole number, and Axolotl takes no other.",
        "Choose a whole one.",
    ),
)


def _start(given: Given, file: str) -> str:
    ranks = meanings.ranks(given)
    return f"axolotl train {file}" + (f" -- --num-processes {ranks}" if ranks else "")


AXOLOTL = Program(
    "axolotl",
    "Axolotl 0.19.0",
    (*MODEL, *METHOD, *DATA, *TRAINING, *STRATEGY, *TRACKING, *meanings.OURS_ALONE),
    (*meanings.REFUSALS, *REFUSALS),
    _start,
)
