"""Settings that several formats have in common, and their words for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qltui.configs.foreign.keys import flag, integer, number, positive, text, words

if TYPE_CHECKING:
    from qltui.configs.foreign.keys import Keys

OTHER = "other"
"""A method, strategy or maker of GPUs that the rules have no word for: so that none takes it for the default."""
DTYPES = {
    "bfloat16": "bfloat16", "bf16": "bfloat16", "float16": "float16", "fp16": "float16", "half": "float16",
    "float32": "float32", "fp32": "float32", "uint8": "uint8",
    "torch.bfloat16": "bfloat16", "torch.float16": "float16", "torch.float32": "float32", "torch.uint8": "uint8",
}  # fmt: skip
ATTENTION = {
    "flash_attention_2": "fa2", "fa2": "fa2", "flash_attention2": "fa2", "flash_attention_3": "fa3", "fa3": "fa3",
    "flash_attention_4": "fa4", "sdpa": "sdpa", "eager": "eager", "flex_attention": "flex", "xformers": "xformers",
}  # fmt: skip
TRUE_FALSE = {"true": True, "false": False}
SHARDING = {
    "full_shard": "full", "shard_grad_op": "grad_op", "no_shard": "no", "hybrid_shard": "hybrid",
    "hybrid_shard_zero2": "hybrid", "1": "full", "2": "grad_op", "3": "no", "4": "hybrid", "5": "hybrid",
    "true": "full", "false": "grad_op",
}  # fmt: skip
STATE_DICTS = {"full_state_dict": "full", "sharded_state_dict": "sharded", "local_state_dict": "local"}
WRAPPING = {"transformer_based_wrap": "transformer", "size_based_wrap": "size", "no_wrap": "none"}
VERSIONS = {"1": "fsdp1", "2": "fsdp2", "1.0": "fsdp1", "2.0": "fsdp2"}
STAGES = {"0": "ddp", "1": "zero1", "2": "zero2", "3": "zero3"}
TRAINER = {
    "gradient_accumulation_steps": ("gradient_accumulation_steps", positive),
    "learning_rate": ("learning_rate", number),
    "max_steps": ("max_steps", positive),
    "max_grad_norm": ("max_grad_norm", number),
    "seed": ("seed", integer),
    "weight_decay": ("weight_decay", number),
    "warmup_ratio": ("warmup_ratio", number),
    "save_total_limit": ("save_total", positive),
    "dataloader_num_workers": ("dataloader_workers", integer),
    "ddp_timeout": ("ddp_timeout", integer),
    "ddp_backend": ("ddp_backend", text),
    "ddp_find_unused_parameters": ("find_unused", flag),
    "save_only_model": ("save_only_model", flag),
    "auto_find_batch_size": ("auto_find_batch_size", flag),
    "load_best_model_at_end": ("load_best", flag),
    "torch_compile": ("compile", flag),
    "use_liger_kernel": ("liger", flag),
    "lora_alpha": ("lora_alpha", number),
    "lora_dropout": ("lora_dropout", number),
}
"""Arguments of Trainer and PEFT that every tool built on them passes on under the same name."""


def fsdp(keys: Keys, sections: tuple[str, ...], default: str | None, switch: str | None = None) -> None:
    """What FSDP's plugin is told; ``sections`` are the prefixes its settings may stand under.

    ``default`` is the strategy where no version is given; None where that depends on the installed libraries.
    ``switch`` is the key that turns it on.
    """

    def spelt(name: str) -> list[str]:
        return [f"{section}{prefix}{name}" for section in sections for prefix in ("fsdp_", "")]

    keys.say("use_fsdp", True, switch, {})
    if keys.choose("strategy", *spelt("version"), spelt=VERSIONS) is None and default:
        keys.say("strategy", default, switch, {})
    keys.take("cpu_offload_params", *spelt("offload_params"), *spelt("cpu_offload"), convert=flag)
    keys.choose("state_dict_type", *spelt("state_dict_type"), spelt=STATE_DICTS)
    keys.take("cpu_ram_efficient_loading", *spelt("cpu_ram_efficient_loading"), convert=flag)
    keys.take("use_orig_params", *spelt("use_orig_params"), convert=flag)
    keys.take("sync_module_states", *spelt("sync_module_states"), convert=flag)
    keys.choose("fsdp_sharding", *spelt("reshard_after_forward"), *spelt("sharding_strategy"), spelt=SHARDING)
    keys.choose("wrap_policy", *spelt("auto_wrap_policy"), spelt=WRAPPING)
    keys.take("wrap_classes", *spelt("transformer_layer_cls_to_wrap"), convert=words)
    for key in spelt("activation_checkpointing"):
        if keys.get(key, flag):
            keys.say("hf_gc_also", keys.reading.values.get("gc") == "hf")
            keys.say("gc", "fsdp", key, {})
            keys.say("fsdp_activation_checkpointing", True, key)


def zero(keys: Keys, stage: str, devices: dict[str, str]) -> None:
    """What ZeRO is told: its stage, and where it offloads to: ``devices`` are the keys by ``opt`` and ``params``."""
    keys.say("use_deepspeed", True, stage, {})
    keys.choose("strategy", stage, spelt=STAGES)
    for what, key in devices.items():
        device = keys.get(key, text)
        if device is not None or keys.has(key):
            spelling = {True: device if device in ("cpu", "nvme") else "cpu", False: "none"}
            keys.say(f"cpu_offload_{what}", device == "cpu", key, {**spelling, True: "cpu"})
            keys.say(f"nvme_{what}", device == "nvme", key, {**spelling, True: "nvme"})


def precision(keys: Keys, bf16: str, fp16: str) -> None:
    """Mixed precision by two flags; one of them alone that is off says nothing of the other."""
    wants = {"bf16": keys.get(bf16, flag), "fp16": keys.get(fp16, flag)}
    for name, key in (("bf16", bf16), ("fp16", fp16)):
        if wants[name]:
            keys.say("precision", name, key, {name: True})
            return
    if wants == {"bf16": False, "fp16": False}:
        keys.say("precision", "fp32", bf16, {"bf16": True, "fp32": False})


ARGUMENTS = ("per_device_train_batch_size", "num_train_epochs", "gradient_checkpointing_kwargs")
"""By these a program is known to take TrainingArguments; one of its own may well be called gradient_checkpointing."""


def checkpointing(keys: Keys, key: str, *, is_argument: bool) -> None:
    """Gradient checkpointing of Transformers; other words than yes and no are kinds of it.

    ``is_argument`` where the key is TrainingArguments' own, which newer versions of Transformers take away.
    """

    def read(value: Any) -> bool:
        try:
            return flag(value)
        except ValueError:
            return bool(value)

    wanted = keys.get(key, read)
    if wanted is None:
        return
    keys.say("gc", "hf" if wanted else "none", key, {"hf": True, "none": False})
    if is_argument and any(map(keys.has, ARGUMENTS)):
        keys.say("uses_gradient_checkpointing_arg", True, key, {})


def device_map(keys: Keys, *names: str, replaced: bool) -> None:
    """Where layers are placed; ``auto`` is a word of its own here.

    ``replaced`` where the program puts each process's own GPU in its place as soon as there are several.
    """
    for key in names:
        value = keys.get(key, text, quiet=True, unsaid=("none", "null", ""))
        if value:
            keys.say("device_map", value, key, {})
            keys.say("device_map_replaced", replaced)
            return


def targets(keys: Keys, key: str) -> None:
    """Which modules get adapters."""
    listed = keys.take("lora_targets", key, convert=words)
    if listed:
        keys.say("lora_targets_router", any(name.split(".")[-1] in ("router", "gate") for name in listed), key, {})


def micro_batch(keys: Keys, *names: str) -> None:
    """Rows a rank computes at once, under both names that the rules have for it."""
    for name in ("micro_batch_size", "batch_size"):
        keys.take(name, *names, convert=positive)


def is_listed(keys: Keys, name: str, *spelt: str) -> None:
    """Enter whether a key lists anything at all."""
    for key in spelt:
        listed = keys.get(key, words)
        if listed is not None:
            keys.say(name, bool(listed), key, {})


def resumes(keys: Keys, *names: str) -> None:
    """Whether it goes on from a checkpoint: yes, no, or the checkpoint's path."""
    for key in names:
        value = keys.get(key, text, quiet=True)
        if value is not None:
            keys.say("resume", value.lower() not in ("false", "no"), key, {})


def initialisation(keys: Keys, key: str) -> None:
    """PEFT's ``init_lora_weights``: true is its default."""
    name = (keys.get(key, text) or "").lower()
    if name:
        name = "default" if name == "true" else "pissa_niter" if name.startswith("pissa_niter") else name
        keys.say("init", name, key, {"default": True})
