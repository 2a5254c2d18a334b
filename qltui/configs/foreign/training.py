"""What says how is trained: arguments of Trainer and TRL, LLaMA-Factory, Axolotl."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qltui.configs.foreign.keys import flag, integer, number, positive, text, words
from qltui.configs.foreign.launching import deepspeed
from qltui.configs.foreign.shared import (
    ATTENTION,
    DTYPES,
    OTHER,
    TRAINER,
    checkpointing,
    device_map,
    fsdp,
    initialisation,
    is_listed,
    micro_batch,
    precision,
    resumes,
    targets,
)

if TYPE_CHECKING:
    from qltui.configs.foreign.keys import Keys

LORA_SWITCHES = ("use_peft", "use_peft_lora", "use_lora", "lora_enable", "lora")
FLASH_SWITCHES = ("use_flash_attention_2", "use_flash_attn")
FOUR_BITS = ("load_in_4bit", "q_lora", "use_4bit_quantization")
EIGHT_BITS = ("load_in_8bit", "use_8bit_quantization")
"""Switches of TRL, FastChat, LLaVA, and PEFT's examples."""
ONLY_OF = {
    "trl_grpo": ("num_generations", "reward_funcs", "max_completion_length"),
    "trl_dpo": ("max_prompt_length", "precompute_ref_log_probs", "rpo_alpha"),
    "trl_sft": ("packing", "max_seq_length", "dataset_text_field", "assistant_only_loss", "completion_only_loss"),
}
"""Arguments that only one of TRL's trainers has."""
SCRIPT = re.compile(r"(?:^|[_/])(sft|dpo|kto|grpo|orpo|cpo|reward|rloo|ppo|gkd)(?:_\w*)?(?:\.py)?$")
OF_TRL = re.compile(r"(?:^|/)trl/scripts/\w+\.py$")
"""A script that TRL brings, which takes its ModelConfig."""
TRL_DROPOUT = 0.05
"""Of adapters, where TRL's ModelConfig is told none (1.16, trl/trainer/model_config.py)."""


def trainer(keys: Keys, program: str = "") -> None:
    """Arguments of Transformers' Trainer and of TRL's scripts; ``program`` is the script, or TRL's subcommand."""
    _arguments(keys)
    keys.take("max_length", "max_length", "max_seq_length", "model_max_length", convert=positive)
    checkpointing(keys, "gradient_checkpointing", is_argument=True)
    checkpointing(keys, "activation_checkpointing", is_argument=False)  # Transformers 5.23's name, which wins
    kinds = ("activation_checkpointing_kwargs.", "gradient_checkpointing_kwargs.", "")
    keys.take("use_reentrant", *(f"{kind}use_reentrant" for kind in kinds), convert=flag)
    keys.choose("model_dtype", "dtype", "torch_dtype", spelt=DTYPES)
    device_map(keys, "device_map", replaced=False)
    device_map(keys, "model_init_kwargs.device_map", replaced=True)  # trl 1.16 trainer/sft_trainer.py, and the others
    keys.choose("attn", "attn_implementation", spelt=ATTENTION)
    for key in FLASH_SWITCHES:
        if keys.get(key, flag, quiet=True):
            keys.say("attn", "fa2", key, {})
    keys.take("packing", "packing", convert=flag)
    keys.take("liger", "use_liger", "use_liger_loss", convert=flag)
    _trainer_method(keys, is_trl=program in SCRIPT_NAMES or bool(OF_TRL.search(program)))
    _trainer_class(keys, program)
    for key in list(keys.names("env.")):
        value = keys.get(key, text, quiet=True)
        if value is not None:
            keys.reading.values.setdefault("env", {})[key.removeprefix("env.")] = value


def _arguments(keys: Keys) -> None:
    """TrainingArguments, as every tool built on Trainer takes them."""
    keys.take("model", "model_name_or_path", convert=text)
    keys.take("model_revision", "model_revision", convert=text)
    micro_batch(keys, "per_device_train_batch_size")
    keys.table(TRAINER)
    keys.take("epochs", "num_train_epochs", convert=number)
    keys.take("optim", "optim", convert=text)
    precision(keys, "bf16", "fp16")
    resumes(keys, "resume_from_checkpoint")
    if keys.get("use_cpu", flag, quiet=True) or keys.get("no_cuda", flag, quiet=True):
        keys.say("gpu_vendor", "cpu", "use_cpu" if keys.has("use_cpu") else "no_cuda", {})
    _sharding(keys)


SCRIPT_NAMES = ("sft", "dpo", "kto", "grpo", "reward", "rloo", "orpo", "cpo", "ppo", "gkd", "bco", "online_dpo")


def _trainer_method(keys: Keys, *, is_trl: bool) -> None:
    switch = next((key for key in LORA_SWITCHES if keys.get(key, flag, quiet=True) is not None), None)
    wants = keys.get(switch, flag) if switch else (False if is_trl else None)
    bits = keys.get("bits", integer, quiet=True)
    four = [key for key in FOUR_BITS if keys.get(key, flag, quiet=True)] or ["bits"] * (bits == 4)
    eight = [key for key in EIGHT_BITS if keys.get(key, flag, quiet=True)] or ["bits"] * (bits == 8)
    if keys.is_unclear(*LORA_SWITCHES, *FOUR_BITS, *EIGHT_BITS, "bits"):
        wants = None
    elif four or eight:
        keys.say("method", "qlora4" if four else "int8", (four or eight)[0], {})
    elif wants is not None:
        keys.say("method", "lora" if wants else "full", switch, {"lora": True, "full": False})
    if wants is not None:
        keys.say("has_adapter", wants, switch)
    keys.take("quant_type", "bnb_4bit_quant_type", convert=text)
    nested = ("use_bnb_nested_quant", "use_nested_quant", "bnb_4bit_use_double_quant")
    keys.take("double_quantization", *nested, convert=flag)
    if is_trl and four:  # TRL leaves it to Transformers
        keys.say("quant_storage", "uint8")
    keys.choose("quant_storage", "bnb_4bit_quant_storage", "bnb_4bit_quant_storage_dtype", spelt=DTYPES)
    keys.choose("compute_dtype", "bnb_4bit_compute_dtype", spelt=DTYPES)
    keys.take("lora_rank", "lora_r", convert=positive)
    targets(keys, "lora_target_modules")
    is_listed(keys, "modules_to_save", "lora_modules_to_save")
    is_listed(keys, "target_parameters", "lora_target_parameters")
    if four and eight:
        keys.say("bits_contradict", True, eight[0], {})
    if is_trl and not keys.has("lora_dropout"):
        keys.say("lora_dropout", TRL_DROPOUT)
    keys.take("dora", "use_dora", convert=flag)
    keys.take("rslora", "use_rslora", convert=flag)
    initialisation(keys, "init_lora_weights")
    if (keys.get("lora_task_type", text) or "").upper() == "SEQ_CLS":
        keys.say("task", "seq_cls", "lora_task_type", {})


def _sharding(keys: Keys) -> None:
    if keys.has("deepspeed"):
        if any(keys.names("deepspeed.")):
            deepspeed(keys, "deepspeed.")
        elif keys.refer("deepspeed"):
            keys.say("use_deepspeed", True, "deepspeed", {})
    if not keys.has("fsdp"):
        return
    options = [word.lower() for word in keys.get("fsdp", words, quiet=True) or []]
    if not options or options[0] in ("false", "no"):
        return
    fsdp(keys, ("fsdp_config.",), None, "fsdp")
    keys.take("wrap_classes", "fsdp_transformer_layer_cls_to_wrap", convert=words)
    if not any(keys.names("fsdp_config.")) and keys.refer("fsdp_config") is None and keys.is_unclear("fsdp_config"):
        keys.reading.references["fsdp_config"] = "${}"  # a file, whose name is filled in elsewhere
    for word, sharding in (("full_shard", "full"), ("shard_grad_op", "grad_op"), ("hybrid_shard", "hybrid")):
        if word in options:
            keys.say("fsdp_sharding", sharding, "fsdp", {})
    if "offload" in options:
        keys.say("cpu_offload_params", True, "fsdp", {})


def _trainer_class(keys: Keys, program: str) -> None:
    found = SCRIPT.search(program)
    if program in SCRIPT_NAMES or found:
        keys.say("trainer", f"trl_{program if program in SCRIPT_NAMES else found[1]}")  # type: ignore[index]
        return
    for name, arguments in ONLY_OF.items():
        if any(keys.has(argument) for argument in arguments):
            keys.say("trainer", name)
            return


FACTORY_ATTENTION = {**ATTENTION, "disabled": "eager"}
FACTORY_STAGES = {"sft": "hf", "pt": "hf", "rm": "hf", "dpo": "trl_dpo", "kto": "trl_kto", "ppo": "trl_ppo"}


def llama_factory(keys: Keys) -> None:
    """LLaMA-Factory's training YAML."""
    _arguments(keys)
    keys.take("max_length", "cutoff_len", convert=positive)
    keys.choose("trainer", "stage", spelt=FACTORY_STAGES)
    keys.choose("attn", "flash_attn", spelt=FACTORY_ATTENTION)
    keys.take("liger", "enable_liger_kernel", convert=flag)
    keys.take("dora", "use_dora", convert=flag)
    keys.take("rslora", "use_rslora", convert=flag)
    device_map(keys, "device_map", replaced=False)
    keys.take("packing", "neat_packing", "packing", convert=flag)
    keys.take("lora_rank", "lora_rank", convert=positive)
    keys.take("resize_vocab", "resize_vocab", convert=flag)
    is_listed(keys, "modules_to_save", "additional_target")
    targets(keys, "lora_target")
    if keys.get("pissa_init", flag):
        keys.say("init", "pissa" if keys.get("pissa_iter", integer) == -1 else "pissa_niter", "pissa_init", {})
    _factory_method(keys)
    if keys.get("do_train", flag) is not False and not keys.has("export_dir"):
        off = keys.get("disable_gradient_checkpointing", flag)
        keys.say("gc", "none" if off else "hf", "disable_gradient_checkpointing", {"none": True, "hf": False})
        keys.take("use_reentrant", "use_reentrant_gc", convert=flag)


def _factory_method(keys: Keys) -> None:
    kind = keys.get("finetuning_type", text) or "lora"
    bits = keys.get("quantization_bit", integer)
    by_bitsandbytes = (keys.get("quantization_method", text) or "bnb") in ("bnb", "bitsandbytes")
    keys.take("quant_type", "quantization_type", convert=text)
    keys.take("double_quantization", "double_quantization", convert=flag)
    if keys.is_unclear("finetuning_type", "quantization_bit", "quantization_method"):
        return
    if kind not in ("lora", "full") or (bits and not by_bitsandbytes):
        keys.say("method", OTHER, "finetuning_type" if kind not in ("lora", "full") else "quantization_bit", {})
    elif bits == 4:
        keys.say("method", "qlora4", "quantization_bit", {"qlora4": 4, "int8": 8})
        if keys.reading.values.get("precision") == "bf16":  # LLaMA-Factory packs into the type it computes in
            keys.say("quant_storage", "bfloat16", "quantization_bit", {})
            keys.say("compute_dtype", "bfloat16", "quantization_bit", {})
    elif bits == 8:
        keys.say("method", "int8", "quantization_bit", {"qlora4": 4, "int8": 8})
    elif not bits:
        keys.say("method", kind, "finetuning_type")
    keys.say("has_adapter", kind == "lora", "finetuning_type", {})


def llama_factory_v1(keys: Keys) -> None:
    """The YAML of LLaMA-Factory's new trainer (``USE_V1``)."""
    keys.take("model", "model", convert=text)
    micro_batch(keys, "micro_batch_size")
    keys.take("global_batch_size", "global_batch_size", convert=positive)
    keys.table(TRAINER)
    keys.take("max_length", "cutoff_len", convert=positive)
    precision(keys, "bf16", "fp16")
    kind = keys.get("peft_config.name", text)
    four = keys.get("quant_config.quantization_bit", integer, quiet=True) == 4
    if not keys.is_unclear("peft_config.name", "quant_config.quantization_bit"):
        method = OTHER if kind not in (None, "lora") else "qlora4" if four and kind else kind or "full"
        keys.say("method", method, "peft_config.name", {})
    keys.take("lora_rank", "peft_config.r", convert=positive)
    keys.take("lora_alpha", "peft_config.lora_alpha", convert=number)
    keys.take("lora_dropout", "peft_config.lora_dropout", convert=number)
    name = keys.get("dist_config.name", text)
    if name == "fsdp2":
        keys.say("use_fsdp", True, "dist_config.name", {})
        keys.say("strategy", "fsdp2", "dist_config.name", {})
    elif name == "deepspeed":
        keys.say("use_deepspeed", True, "dist_config.name", {})
        keys.refer("dist_config.config_file")
