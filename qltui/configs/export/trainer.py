"""Arguments of Transformers' Trainer, for the programs that hand them on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.choices import Compute, Device, StrategyName
from qltui.configs.export import meanings
from qltui.configs.export.meanings import computes_in, is_strategy
from qltui.configs.export.tables import LEFT_OUT, Given, Row, field, fixed, unless_default

if TYPE_CHECKING:
    from collections.abc import Callable

    from qltui.configs.export.tables import Lost


def trainer(warmup: str) -> tuple[Row | Lost, ...]:
    """How is trained; ``warmup`` is the key for the share of steps in which the rate rises."""
    return (
        Row("output_dir", lambda given: f"outputs/{given.value('name')}", ("name",)),
        Row("max_steps", lambda given: given.value("training.max_steps") or LEFT_OUT, ("training.max_steps",)),
        field("num_train_epochs", "training.epochs", when=lambda given: given.config.training.max_steps is None),
        field("per_device_train_batch_size", "training.micro_batch_size"),
        field("per_device_eval_batch_size", "training.micro_batch_size"),
        field("gradient_accumulation_steps", "training.gradient_accumulation_steps"),
        field("learning_rate", "training.learning_rate"),
        field("lr_scheduler_type", "training.schedule", words=meanings.SCHEDULES),
        field(warmup, "training.warmup_ratio"),
        Row("optim", meanings.optimizer, ("training.optimizer",)),
        field("weight_decay", "training.weight_decay"),
        field("adam_beta1", "training.adam_beta1"),
        field("adam_beta2", "training.adam_beta2"),
        field("max_grad_norm", "training.max_grad_norm"),
        Row("bf16", computes_in(Compute.BF16), ("precision.compute",), meanings.precision_note),
        Row("fp16", computes_in(Compute.FP16), ("precision.compute",)),
        Row(
            "full_determinism",
            lambda given: given.value("precision.deterministic") or LEFT_OUT,
            ("precision.deterministic",),
        ),
        field("seed", "training.seed"),
        unless_default("ddp_timeout", "hardware.timeout_seconds"),
        fixed("logging_steps", 1),
        Row(
            "save_strategy",
            lambda given: "steps" if given.config.training.save_every else "no",
            ("training.save_every",),
        ),
        Row("save_steps", lambda given: given.value("training.save_every") or LEFT_OUT, ("training.save_every",)),
        field("save_total_limit", "training.keep_checkpoints"),
        Row(
            "use_cpu",
            lambda given: True if _on_cpu(given) and not _shards(given) else LEFT_OUT,
            ("hardware.device",),
            lambda given: (
                "hardware.device: cpu: without a GPU nothing is sharded here, so it is left to GPUs."
                if _on_cpu(given) and _shards(given)
                else None
            ),
        ),
        fixed("ddp_find_unused_parameters", False, is_strategy(StrategyName.DDP)),
        # As Accelerate has it where its own launcher knows of FSDP: clipping and whole states need the host's too.
        fixed("ddp_backend", "cpu:gloo,cuda:nccl", is_strategy(StrategyName.FSDP2)),
        Row("deepspeed", meanings.deepspeed, ("strategy.name",)),
        Row(
            "report_to",
            lambda given: [tracker.value for tracker in given.config.tracking.report_to] or "none",
            ("tracking.report_to",),
        ),
        Row(
            "project",
            lambda given: given.value("tracking.project") if given.config.tracking.report_to else LEFT_OUT,
            ("tracking.project",),
        ),
    )


def _on_cpu(given: Given) -> bool:
    return given.config.hardware.device is Device.CPU


def _shards(given: Given) -> bool:
    return not is_strategy(StrategyName.SINGLE, StrategyName.DDP, StrategyName.PIPELINE)(given)


def evaluation(evaluates: Callable[[Given], bool]) -> tuple[Row, ...]:
    """When Trainer evaluates."""
    return (
        Row(
            "eval_strategy",
            lambda given: ("steps" if given.value("training.eval_every") else "epoch") if evaluates(given) else "no",
            ("training.eval_every",),
            lambda given: meanings.eval_note(given) if evaluates(given) else None,
        ),
        Row(
            "eval_steps",
            lambda given: given.value("training.eval_every") or LEFT_OUT if evaluates(given) else LEFT_OUT,
            ("training.eval_every",),
        ),
    )
