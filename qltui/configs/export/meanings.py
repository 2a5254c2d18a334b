"""What several programs mean alike: precision, sharding, optimizers, and what none of them carries over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config.choices import (
    Checkpointing,
    Compute,
    DataFormat,
    Device,
    Loss,
    LossOn,
    Method,
    Optimizer,
    StrategyName,
    Task,
)
from engine.config.deepspeed import STAGES, deepspeed_config
from qltui.configs.export.tables import LEFT_OUT, Given, Lost, Refusal
from qltui.configs.model_files import hidden_size

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
OPTIMIZERS = {Optimizer.ADAMW_8BIT: "adamw_bnb_8bit", Optimizer.PAGED_ADAMW_8BIT: "paged_adamw_8bit"}
WIDTH_UNKNOWN = 0
"""Stands for the model's width where its config.json lies not here; what depends on it is left to the program."""

INSTEAD = {
    (Method.QLORA, StrategyName.FSDP2): (
        StrategyName.ZERO3,
        "there FSDP2 shards 4-bit weights only if they are stored in 16 bit, which CUDA damages; ZeRO-3 shards them"
        " byte for byte",
    ),
    (Method.INT8, StrategyName.FSDP2): (
        StrategyName.ZERO2,
        "there int8 weights lose their scales under FSDP2, or are not proven to keep them, and ZeRO-3 keeps a whole"
        " copy on every GPU; ZeRO-2 does as much with less traffic",
    ),
    (Method.INT8, StrategyName.ZERO3): (
        StrategyName.ZERO2,
        "there ZeRO-3 keeps a whole copy of int8 weights on every GPU, or refuses them; ZeRO-2 does as much with less"
        " traffic",
    ),
}
"""Strategies under which our engine trains a method and other programs do not: what comes nearest, and why."""

OURS_ALONE = (
    Lost(
        ("schema_version", "name", "description", "parent", "strategy.allow_replicated", "hardware.planned_for"),
        "parent: {value}: adapters of an earlier run are not taken up here; start from its adapter by hand.",
        lambda given: given.config.parent is not None,
    ),
    Lost(
        ("training.generate_answers", "training.answer_max_tokens"),
        "training.generate_answers: answers are not compared before and after training.",
        lambda given: given.config.training.generate_answers > 0,
    ),
    Lost(
        ("training.sample_prompts",),
        "training.sample_prompts: prompts are not answered in training.",
        lambda given: bool(given.config.training.sample_prompts),
    ),
    Lost(
        ("training.loss",),
        "training.loss: {value}: the loss is taken of all logits at once, which takes more memory.",
        lambda given: given.config.training.loss not in (Loss.AUTO, Loss.FULL),
    ),
    Lost(("training.offload_activations",), "training.offload_activations: they stay on the GPU."),
    Lost(("recovery.stop_grace_seconds", "recovery.auto"), "recovery: no restarts by itself, no grace on a stop."),
    Lost(("hardware.gpus",), "hardware.gpus: choose them with CUDA_VISIBLE_DEVICES: {value}."),
    Lost(("hardware.threads_per_rank",), "hardware.threads_per_rank: set OMP_NUM_THREADS={value}."),
    Lost(("hardware.nodes",), "hardware.nodes: give the launcher {value} nodes."),
    Lost(("hardware.hosts",), "hardware.hosts: start the launcher on each of {value}."),
)
"""Of no program."""

REFUSALS = (
    Refusal(
        "model.task",
        lambda given: given.config.model.task is Task.SEQUENCE_CLASSIFICATION,
        "is a sequence classification, and the export is of text models alone.",
        "Use Transformers' Trainer with AutoModelForSequenceClassification.",
    ),
)


def types_differ(given: Given) -> bool:
    """Whether PEFT would leave modules trained whole in 16 bit beside float32 adapters, which ZeRO-3 refuses."""
    config = given.config
    in_16_bit = config.method.name is Method.LORA and given.compute is not Compute.FP32
    return config.strategy.name is StrategyName.ZERO3 and in_16_bit and bool(config.method.lora.modules_to_save)


TYPES_DIFFER = Refusal(
    "method.lora.modules_to_save",
    types_differ,
    "they are 16-bit there beside float32 adapters, and ZeRO-3 wants all that is trained of one type.",
    "Use --set strategy.name=zero2, or fsdp2.",
)


def is_strategy(*names: StrategyName) -> Callable[[Given], bool]:
    return lambda given: given.config.strategy.name in names


def is_method(*names: Method) -> Callable[[Given], bool]:
    return lambda given: given.config.method.name in names


def computes_in(compute: Compute) -> Callable[[Given], bool]:
    return lambda given: given.compute is compute


def precision_note(given: Given) -> str | None:
    if given.config.precision.compute is not Compute.AUTO or given.compute is Compute.FP32:
        return None
    return "precision.compute is auto: bf16 on GPUs of compute capability 8.0 and newer; on older ones use fp16."


def load_dtype(given: Given) -> str:
    """Type the base is loaded as: float32 trained in full, unless DeepSpeed keeps masters of its own."""
    in_full = given.config.method.name is Method.FULL and given.config.strategy.name not in STAGES
    names = {Compute.BF16: "bfloat16", Compute.FP16: "float16", Compute.FP32: "float32"}
    return "float32" if in_full else names[given.compute]


def storage(given: Given) -> str:
    """Type packed 4-bit bytes are stored as: what auto comes to under every strategy but fsdp2."""
    wanted: str = given.value("method.quantization.storage")
    return "uint8" if wanted == "auto" or given.config.strategy.name in STAGES else wanted


def optimizer(given: Given) -> str:
    """Trainer's name; the fused AdamW has no kernel for states in host memory."""
    on_gpu = given.config.hardware.device is not Device.CPU and not given.config.strategy.offload_optimizer
    return OPTIMIZERS.get(given.config.training.optimizer, "adamw_torch_fused" if on_gpu else "adamw_torch")


def checkpoints(given: Given) -> bool:
    return given.config.training.gradient_checkpointing is not Checkpointing.NONE


def checkpointing_note(given: Given) -> str | None:
    wanted = given.config.training.gradient_checkpointing
    if isinstance(wanted, Checkpointing):
        return None
    return f"training.gradient_checkpointing: {wanted}: there is no number of layers; all of them recompute."


def evaluates(given: Given) -> bool:
    data = given.config.data
    return bool(data.eval_path or data.eval_split or data.eval_fraction)


def eval_note(given: Given) -> str | None:
    if not evaluates(given) or given.config.training.eval_every:
        return None
    return "training.eval_every: 0: evaluated once at the end by us, after every epoch here."


def ranks(given: Given) -> int | None:
    """Processes to start; None where it is one a GPU."""
    if given.config.strategy.name in (StrategyName.SINGLE, StrategyName.PIPELINE):
        return 1
    return given.config.hardware.ranks_per_node or (len(given.config.hardware.gpus) or None)


def answers_alone(given: Given) -> bool:
    return given.config.data.loss_on is LossOn.ANSWERS and given.rows is not DataFormat.TEXT


def column(given: Given, name: str) -> str:
    """The user's name of one of a layout's columns."""
    return given.config.data.columns.get(name, name)


def deepspeed(given: Given) -> Any:
    """Settings for a program built on Trainer, which fills in its own numbers where they say auto."""
    config = given.config
    if config.strategy.name not in STAGES:
        return LEFT_OUT
    width = hidden_size(config.model.path, config.model.revision) or WIDTH_UNKNOWN
    ours = deepspeed_config(config, given.compute, width)
    zero = {name: value for name, value in ours["zero_optimization"].items() if name != "memory_efficient_linear"}
    if config.strategy.name is StrategyName.ZERO3:
        zero["stage3_gather_16bit_weights_on_model_save"] = True
        if width == WIDTH_UNKNOWN:
            zero["stage3_param_persistence_threshold"] = "auto"
    return {
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "fp16": {"enabled": "auto"},
        "zero_allow_untested_optimizer": ours["zero_allow_untested_optimizer"],
        "zero_force_ds_cpu_optimizer": ours["zero_force_ds_cpu_optimizer"],
        "zero_optimization": zero,
    }


def fsdp_config(given: Given, offload: str) -> Any:
    """Settings of FSDP2; ``offload`` is the program's key for it.

    Whole state dicts: of sharded ones Trainer writes no adapter. Weights are mapped from their file, which ranks share,
    so loading them on one rank alone would save nothing.
    """
    if given.config.strategy.name is not StrategyName.FSDP2:
        return LEFT_OUT
    return {
        "reshard_after_forward": True,
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
        "activation_checkpointing": False,
        offload: given.config.strategy.offload_parameters,
    }
