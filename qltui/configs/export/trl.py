"""TRL: the YAML of ``trl sft``, whose keys are those of SFTConfig, ModelConfig, its scripts and accelerate launch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.choices import DataFormat, Method, StrategyName
from qltui.configs.export import meanings
from qltui.configs.export.data_source import is_local, table_reader
from qltui.configs.export.meanings import is_method, is_strategy
from qltui.configs.export.tables import LEFT_OUT, Given, Lost, Program, Row, field, fixed, unless_default
from qltui.configs.export.trainer import evaluation, trainer

if TYPE_CHECKING:
    from collections.abc import Callable

QLORA = is_method(Method.QLORA)
FSDP2 = is_strategy(StrategyName.FSDP2)
CHAT = (DataFormat.MESSAGES, None)


def _adapted(given: Given) -> bool:
    return given.has_adapter


def _targets(given: Given) -> Any:
    """TRL takes a list of one name for a pattern, which PEFT matches against whole names."""
    if not given.has_adapter:
        return LEFT_OUT
    wanted = given.config.method.lora.target_modules
    if isinstance(wanted, str):
        return [wanted]
    return [rf".*\.{wanted[0]}"] if len(wanted) == 1 else wanted


def _evaluates(given: Given) -> bool:
    """Whether TRL's script can evaluate on what the run evaluates on: a second file it takes none."""
    data = given.config.data
    return not data.eval_path and bool(data.eval_split or data.eval_fraction)


def _has_two_splits(given: Given) -> bool:
    return bool(given.config.data.eval_split) and not is_local(given)


def _held_out_share(given: Given) -> Any:
    share = _evaluates(given) and not _has_two_splits(given)
    return given.value("data.eval_fraction") if share else LEFT_OUT


def _datasets(given: Given) -> Any:
    data = given.config.data
    if _has_two_splits(given):
        return LEFT_OUT
    if is_local(given):
        return [{"path": table_reader(given), "data_files": data.path}]
    return [{"path": data.path, **({"name": data.name} if data.name else {}), "split": data.split}]


def _data_note(given: Given) -> str | None:
    notes = {
        None: "data.format: not known here; TRL takes rows of messages, of prompt and completion, or of text.",
        DataFormat.ALPACA: (
            "data.format: alpaca: TRL knows no instruction and output; rename them to prompt and completion."
        ),
        DataFormat.SHAREGPT: (
            "data.format: sharegpt: TRL converts such rows, but then learns every token, prompts included; turn them"
            " into messages and set assistant_only_loss."
        ),
    }
    return notes.get(given.rows)


def _of(rows: tuple[DataFormat | None, ...]) -> Callable[[Given], bool]:
    return lambda given: given.rows in rows


MODEL = (
    field("model_name_or_path", "model.path"),
    unless_default("model_revision", "model.revision"),
    unless_default("trust_remote_code", "model.trust_remote_code"),
    Lost(("model.task", "model.num_labels"), "", lambda _: False),
    Lost(("model.tokenizer",), "model.tokenizer: {value}: TRL takes the model's own."),
    Lost(("model.new_tokens",), "model.new_tokens: {value}: TRL adds none; add them to the model's folder first."),
    unless_default("attn_implementation", "model.attention"),
    Row("dtype", meanings.load_dtype, ("precision.compute",)),
    Row(
        "model_init_kwargs",
        lambda given: {"device_map": "auto"} if is_strategy(StrategyName.PIPELINE)(given) else LEFT_OUT,
        ("strategy.name",),
    ),
)
METHOD = (
    Row("use_peft", _adapted, ("method.name",)),
    field("lora_r", "method.lora.rank", when=_adapted),
    field("lora_alpha", "method.lora.alpha", when=_adapted),
    field("lora_dropout", "method.lora.dropout", when=_adapted),
    Row("lora_target_modules", _targets, ("method.lora.target_modules",)),
    Row(
        "lora_modules_to_save",
        lambda given: given.config.method.lora.modules_to_save or LEFT_OUT if given.has_adapter else LEFT_OUT,
        ("method.lora.modules_to_save",),
    ),
    field("use_rslora", "method.lora.use_rslora", when=_adapted),
    field("use_dora", "method.lora.use_dora", when=_adapted),
    Lost(
        ("method.lora.init",),
        "method.lora.init: {value}: TRL's script begins adapters with PEFT's default.",
        lambda given: given.has_adapter and not given.is_default("method.lora.init"),
    ),
    fixed("load_in_4bit", True, QLORA),
    field("bnb_4bit_quant_type", "method.quantization.type", when=QLORA),
    field("use_bnb_nested_quant", "method.quantization.double_quantization", when=QLORA),
    Row(
        "bnb_4bit_quant_storage",
        lambda given: meanings.storage(given) if QLORA(given) else LEFT_OUT,
        ("method.quantization.storage",),
    ),
    Row(
        "load_in_8bit",
        lambda given: True if is_method(Method.INT8)(given) else LEFT_OUT,
        ("method.name",),
    ),
    Lost(
        ("method.quantization.int8_threshold",),
        "method.quantization.int8_threshold: {value}: TRL keeps 6.0.",
        lambda given: is_method(Method.INT8)(given) and not given.is_default("method.quantization.int8_threshold"),
    ),
    Lost(
        (),
        "Adapters on quantised weights are float32 with us; TRL casts them to bfloat16.",
        is_method(Method.QLORA, Method.INT8),
    ),
)
DATA = (
    Row("datasets", _datasets, ("data.path", "data.format"), _data_note),
    field("dataset_name", "data.path", when=_has_two_splits),
    Row(
        "dataset_config",
        lambda given: given.value("data.name") if _has_two_splits(given) and given.value("data.name") else LEFT_OUT,
        ("data.name",),
    ),
    field("dataset_train_split", "data.split", when=_has_two_splits),
    field("dataset_test_split", "data.eval_split", when=_has_two_splits),
    Row("test_split_size", _held_out_share, ("data.eval_fraction",)),
    Lost(("data.eval_path",), "data.eval_path: {value}: TRL's script takes no second file; hold rows out instead."),
    Lost(
        ("data.columns",),
        "data.columns: {value}: rename them in the data; TRL takes columns by its own names.",
        lambda given: bool(given.config.data.columns) and given.rows is not DataFormat.TEXT,
    ),
    Row(
        "dataset_text_field",
        lambda given: meanings.column(given, "text") if given.rows is DataFormat.TEXT else LEFT_OUT,
        ("data.columns",),
    ),
    unless_default("chat_template_path", "data.chat_template"),
    field("max_length", "data.max_length"),
    field("packing", "data.packing"),
    fixed("eval_packing", False, lambda given: bool(given.value("data.packing"))),
    Row(
        "assistant_only_loss",
        lambda given: meanings.answers_alone(given) if given.rows in CHAT else LEFT_OUT,
        ("data.loss_on",),
    ),
    Row(
        "completion_only_loss",
        lambda given: (
            meanings.answers_alone(given)
            if given.rows in (DataFormat.PROMPT_COMPLETION, DataFormat.ALPACA)
            else LEFT_OUT
        ),
        ("data.loss_on",),
    ),
    Row(
        "train_sampling_strategy",
        lambda given: LEFT_OUT if given.value("data.shuffle") else "sequential",
        ("data.shuffle",),
    ),
    field("dataloader_num_workers", "data.num_workers"),
)


STRATEGY = (
    Row(
        "gradient_checkpointing",
        meanings.checkpoints,
        ("training.gradient_checkpointing",),
        meanings.checkpointing_note,
    ),
    fixed("gradient_checkpointing_kwargs", {"use_reentrant": False}, meanings.checkpoints),
    fixed("fsdp", True, FSDP2),
    Row(
        "fsdp_config",
        lambda given: {"version": 2, **meanings.fsdp_config(given, "cpu_offload")} if FSDP2(given) else LEFT_OUT,
        ("strategy.name", "strategy.offload_parameters", "strategy.offload_optimizer"),
    ),
    Row("num_processes", lambda given: meanings.ranks(given) or LEFT_OUT, ("hardware.ranks_per_node",)),
)


def _start(_: Given, file: str) -> str:
    return f"trl sft --config {file}"


TRL = Program(
    "trl",
    "TRL 1.16.0 with Transformers 5.23",
    (
        *MODEL, *METHOD, *DATA, *trainer("warmup_steps"), *evaluation(_evaluates), *STRATEGY, *meanings.OURS_ALONE,
    ),
    (*meanings.REFUSALS, meanings.TYPES_DIFFER),
    _start,
)  # fmt: skip
