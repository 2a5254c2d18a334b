"""Whose file it is, told by its keys alone: names of files say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.run_config import ALIASES, FIELDS
from qltui.configs.foreign.reading import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

STRONG = 3
SIGNS: dict[Format, tuple[frozenset[str], frozenset[str]]] = {
    Format.QLTUI: (
        frozenset({"schema_version", "method.name", "strategy.name", "method.lora.rank", "training.max_steps",
                   "training.micro_batch_size", "precision.compute"}),
        frozenset({"model", "data", "method", "strategy", "max_length", "training", "hardware", "model.path",
                   "data.path"}),
    ),
    Format.ACCELERATE: (
        frozenset({"distributed_type", "compute_environment", "main_training_function", "downcast_bf16",
                   "deepspeed_config.zero_stage", "deepspeed_config.deepspeed_config_file"}),
        frozenset({"num_processes", "num_machines", "mixed_precision", "machine_rank", "use_cpu", "fsdp_config",
                   "rdzv_backend", "same_network", "gpu_ids", "dynamo_config", "parallelism_config"}),
    ),
    Format.DEEPSPEED: (
        frozenset({"zero_optimization", "train_micro_batch_size_per_gpu", "zero_allow_untested_optimizer",
                   "zero_force_ds_cpu_optimizer", "compression_training"}),
        frozenset({"train_batch_size", "gradient_clipping", "fp16.enabled", "bf16.enabled", "steps_per_print",
                   "optimizer.type", "scheduler.type", "wall_clock_breakdown", "prescale_gradients",
                   "gradient_accumulation_steps", "optimizer.params.lr"}),
    ),
    Format.AXOLOTL: (
        frozenset({"base_model", "sequence_len", "sample_packing", "val_set_size", "lora_target_linear",
                   "dataset_prepared_path", "saves_per_epoch", "evals_per_epoch"}),
        frozenset({"micro_batch_size", "datasets", "adapter", "num_epochs", "special_tokens", "lora_r", "strict",
                   "gradient_checkpointing", "output_dir", "load_in_4bit", "load_in_8bit"}),
    ),
    Format.LLAMA_FACTORY: (
        frozenset({"finetuning_type", "cutoff_len", "lora_rank", "lora_target", "quantization_bit", "dataset_dir",
                   "infer_backend", "export_dir", "flash_attn", "tokenized_path", "pissa_init"}),
        frozenset({"stage", "template", "do_train", "model_name_or_path", "preprocessing_num_workers", "plot_loss",
                   "overwrite_cache", "max_samples", "dataset", "per_device_train_batch_size"}),
    ),
    Format.LLAMA_FACTORY_V1: (
        frozenset({"dist_config", "dist_config.name", "kernel_config.name", "quant_config.name", "model_class",
                   "peft_config.name", "sample_backend"}),
        frozenset({"model", "train_dataset", "micro_batch_size", "cutoff_len", "template", "batching_strategy"}),
    ),
    Format.TRAINER: (
        frozenset({"model_name_or_path", "per_device_train_batch_size", "num_train_epochs", "lr_scheduler_type",
                   "use_peft", "gradient_checkpointing_kwargs.use_reentrant", "dataset_mixer", "dataset_mixture"}),
        frozenset({"dataset_name", "output_dir", "learning_rate", "bf16", "fp16", "gradient_accumulation_steps",
                   "optim", "gradient_checkpointing", "logging_steps", "report_to", "seed", "warmup_ratio", "lora_r",
                   "lora_alpha", "attn_implementation", "torch_dtype", "dtype", "max_steps", "max_length", "packing",
                   "deepspeed", "save_strategy", "eval_strategy", "per_device_eval_batch_size", "push_to_hub",
                   "load_in_4bit"}),
    ),
    Format.FSDP: (
        frozenset({"fsdp_transformer_layer_cls_to_wrap", "transformer_layer_cls_to_wrap", "fsdp_state_dict_type",
                   "fsdp_auto_wrap_policy", "auto_wrap_policy", "reshard_after_forward", "fsdp_reshard_after_forward"}),
        frozenset({"version", "fsdp_version", "backward_prefetch", "fsdp_backward_prefetch", "use_orig_params", "xla",
                   "cpu_ram_efficient_loading", "activation_checkpointing", "offload_params", "fsdp_offload_params",
                   "limit_all_gathers", "sync_module_states", "state_dict_type", "fsdp_cpu_ram_efficient_loading"}),
    ),
}  # fmt: skip
"""Of each format, keys that hardly any other file has, and keys that speak for it."""

BUILT_ON_TRAINER = (Format.AXOLOTL, Format.LLAMA_FACTORY)
"""Formats that take Trainer's arguments too: where their own keys are, Trainer's speak for them as well."""

REQUIRED = frozenset({"model", "data"})
OURS = frozenset({path.split(".")[0] for path in FIELDS} | ALIASES.keys())
"""What a run file of ours has at the top, and what it may have."""


def detect(keys: Iterable[str]) -> tuple[Format | None, str]:
    """The format that most keys speak for, and which they are; None where too few do."""
    present: set[str] = set()
    for key in keys:
        parts = key.split(".")
        present.update(".".join(parts[: end + 1]) for end in range(len(parts)))
    if present >= REQUIRED and all(key.split(".")[0] in OURS for key in present):
        return Format.QLTUI, "it has model, data, and nothing that is not of a run file"
    best: Format | None = None
    most, evidence = 0, ""
    strong_of_trainer, weak_of_trainer = SIGNS[Format.TRAINER]
    for kind, (strong, weak) in SIGNS.items():
        telling, speaking = sorted(strong & present), sorted(weak & present)
        score = STRONG * len(telling) + len(speaking)
        if kind in BUILT_ON_TRAINER and telling:
            score += STRONG * len(strong_of_trainer & present) + len((weak_of_trainer & present) - weak)
        if score > most:
            best, most, evidence = kind, score, ", ".join((telling + speaking)[:3])
    return (best, f"it has {evidence}") if most >= STRONG else (None, "")
