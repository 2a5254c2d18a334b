"""Axolotl's YAML."""

from __future__ import annotations

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

ATTENTION_FLAGS = {
    "flash_attention": "fa2", "sdp_attention": "sdpa", "xformers_attention": "xformers", "flex_attention": "flex",
    "eager_attention": "eager",
}  # fmt: skip
LIGER = ("liger_rope", "liger_rms_norm", "liger_glu_activation", "liger_layer_norm", "liger_cross_entropy",
         "liger_fused_linear_cross_entropy")  # fmt: skip
TRAINERS = {name: f"trl_{name}" for name in ("dpo", "ipo", "kto", "orpo", "simpo", "grpo", "gdpo")}


def axolotl(keys: Keys) -> None:
    """Everything of it that the rules have a word for."""
    keys.take("model", "base_model", convert=text)
    keys.take("model_revision", "revision_of_model", convert=text)
    micro_batch(keys, "micro_batch_size")
    keys.table(TRAINER)
    keys.take("epochs", "num_epochs", convert=number)
    keys.take("max_length", "sequence_len", convert=positive)
    keys.take("optim", "optimizer", convert=text)
    keys.take("packing", "sample_packing", convert=flag)
    keys.choose("model_dtype", "torch_dtype", spelt=DTYPES)
    device_map(keys, "device_map", replaced=True)
    resumes(keys, "resume_from_checkpoint")
    _precision(keys)
    checkpointing(keys, "gradient_checkpointing", is_argument=False)
    keys.take("use_reentrant", "gradient_checkpointing_kwargs.use_reentrant", convert=flag)
    _attention(keys)
    _liger(keys)
    _method(keys)
    _sharding(keys)
    rl = keys.get("rl", text)
    if not keys.is_unclear("rl"):
        keys.say("trainer", TRAINERS.get(rl, OTHER) if rl else "hf", "rl", {})
    if keys.get("reward_model", flag) or keys.get("process_reward_model", flag) or keys.get("num_labels", integer):
        telling = next(key for key in ("reward_model", "process_reward_model", "num_labels") if keys.has(key))
        keys.say("task", "seq_cls", telling, {})


def _precision(keys: Keys) -> None:
    """Mixed precision, or, by other flags, the whole model in 16 bit."""
    for key in ("bfloat16", "float16"):
        if keys.get(key, flag):
            keys.say("model_dtype", key, key, {})
            return
    precision(keys, "bf16", "fp16")


def _attention(keys: Keys) -> None:
    if keys.choose("attn", "attn_implementation", spelt=ATTENTION) is not None:
        return
    for key, name in ATTENTION_FLAGS.items():
        if keys.get(key, flag):
            keys.say("attn", name, key, {})


def _liger(keys: Keys) -> None:
    plugins = keys.get("plugins", words) or []
    switched = [key for key in LIGER if keys.get(key, flag)]
    if switched and any("liger" in plugin.lower() for plugin in plugins):
        keys.say("liger", True, switched[0], {})


def _method(keys: Keys) -> None:
    adapter = keys.get("adapter", text)
    four, eight = keys.get("load_in_4bit", flag), keys.get("load_in_8bit", flag)
    if keys.is_unclear("adapter", "load_in_4bit", "load_in_8bit"):
        return
    if adapter == "qlora" and (eight or not four):
        keys.say("bits_contradict", True, "load_in_8bit" if eight else "adapter", {})
    if adapter not in (None, "lora", "qlora") or keys.get("gptq", flag) or keys.has("relora"):
        telling = next((key for key in ("relora", "gptq") if keys.has(key)), "adapter")
        keys.say("method", OTHER, telling, {})
    elif adapter == "qlora" or (adapter == "lora" and four):
        keys.say("method", "qlora4", "adapter", {"lora": "lora", "qlora4": "qlora"})
        _storage(keys, by_axolotl=adapter == "qlora" and four is True)
    elif adapter == "lora" and eight:
        keys.say("method", "int8", "load_in_8bit", {})
    elif adapter is None and (four or eight):
        keys.say("method", "qlora4" if four else "int8", "load_in_4bit" if four else "load_in_8bit", {})
    else:
        keys.say("method", adapter or "full", "adapter", {"lora": "lora", "qlora4": "qlora"})
    keys.say("has_adapter", adapter is not None, "adapter", {})
    keys.take("lora_rank", "lora_r", convert=positive)
    if keys.get("lora_target_linear", flag):
        keys.say("lora_targets", ["all-linear"], "lora_target_linear", {})
    targets(keys, "lora_target_modules")
    is_listed(keys, "modules_to_save", "lora_modules_to_save")
    is_listed(keys, "target_parameters", "lora_target_parameters")
    keys.take("dora", "peft_use_dora", convert=flag)
    keys.take("rslora", "peft_use_rslora", convert=flag)
    initialisation(keys, "peft_init_lora_weights")
    if keys.has("peft.loftq_config"):
        keys.use("peft.loftq_config.")
        keys.say("init", "loftq")


def _storage(keys: Keys, *, by_axolotl: bool) -> None:
    """Axolotl packs 4-bit weights of its qlora into bfloat16, but for a few architectures, unless it is told."""
    if by_axolotl:
        keys.say("quant_storage", "bfloat16", "adapter", {})
        keys.say("quant_type", "nf4", "adapter", {})
    keys.choose("quant_storage", "bnb_config_kwargs.bnb_4bit_quant_storage", spelt=DTYPES)
    keys.take("quant_type", "bnb_config_kwargs.bnb_4bit_quant_type", convert=text)
    keys.take("double_quantization", "bnb_config_kwargs.bnb_4bit_use_double_quant", convert=flag)


def _sharding(keys: Keys) -> None:
    if keys.has("deepspeed"):
        if any(keys.names("deepspeed.")):
            deepspeed(keys, "deepspeed.")
        elif keys.refer("deepspeed"):
            keys.say("use_deepspeed", True, "deepspeed", {})
    options = [word.lower() for word in keys.get("fsdp", words, quiet=True) or []]
    if (options and options[0] != "false") or keys.has("fsdp_config"):
        fsdp(keys, ("fsdp_config.",), "fsdp1", "fsdp" if options else "fsdp_config")
        version = keys.get("fsdp_version", integer)
        if version:
            keys.say("strategy", f"fsdp{version}", "fsdp_version", {"fsdp1": 1, "fsdp2": 2})
        if "offload" in options:
            keys.say("cpu_offload_params", True, "fsdp", {})
