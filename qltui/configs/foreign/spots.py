"""Which keys of a file say what a rule would have said, for values that no single key of it holds yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qltui.configs.foreign.axolotl import ATTENTION_FLAGS, LIGER
from qltui.configs.foreign.launching import IN_FILE
from qltui.configs.foreign.openrlhf import FOUR_BITS as OPENRLHF_FOUR_BITS
from qltui.configs.foreign.openrlhf import MICRO_BATCH as OPENRLHF_MICRO_BATCH
from qltui.configs.foreign.openrlhf import OFFLOAD, PACKING
from qltui.configs.foreign.reading import Format
from qltui.configs.foreign.training import EIGHT_BITS, FLASH_SWITCHES, FOUR_BITS, LORA_SWITCHES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Keys = Mapping[str, Any]
    """Keys of a file with their values, as far as it has them."""
    Changes = dict[str, Any]
    """New values by key, as the file writes them; :data:`REMOVE` takes a key away with what stands under it."""

REMOVE = object()
FSDP_KEYS = ("fsdp", "fsdp_config", "fsdp_version", "fsdp_transformer_layer_cls_to_wrap")
VERSIONS = {"fsdp1": 1, "fsdp2": 2}
STATE_DICTS = {"full": "FULL_STATE_DICT", "sharded": "SHARDED_STATE_DICT"}
ARGUMENTS: dict[str, tuple[str, Mapping[Any, Any] | None]] = {
    "find_unused": ("ddp_find_unused_parameters", None),
    "save_only_model": ("save_only_model", None),
    "auto_find_batch_size": ("auto_find_batch_size", None),
    "dataloader_workers": ("dataloader_num_workers", None),
    "save_total": ("save_total_limit", None),
    "ddp_timeout": ("ddp_timeout", None),
    "resume": ("resume_from_checkpoint", None),
    "gradient_accumulation_steps": ("gradient_accumulation_steps", None),
}
"""Arguments of Trainer that every program built on it takes: the key and, where they differ, its word for a value."""
PLAIN: dict[Format, dict[str, tuple[str, Mapping[Any, Any] | None]]] = {
    Format.TRAINER: {
        **ARGUMENTS,
        "micro_batch_size": ("per_device_train_batch_size", None),
        "optim": ("optim", None),
        "packing": ("packing", None),
        "liger": ("use_liger_kernel", None),
        "dora": ("use_dora", None),
        "quant_storage": ("bnb_4bit_quant_storage", None),
        "quant_type": ("bnb_4bit_quant_type", None),
        "lora_dropout": ("lora_dropout", None),
        "lora_targets": ("lora_target_modules", None),
    },
    Format.LLAMA_FACTORY: {
        **ARGUMENTS,
        "micro_batch_size": ("per_device_train_batch_size", None),
        "optim": ("optim", None),
        "liger": ("enable_liger_kernel", None),
        "dora": ("use_dora", None),
        "use_reentrant": ("use_reentrant_gc", None),
        "gc": ("disable_gradient_checkpointing", {"hf": False, "none": True}),
        "has_adapter": ("finetuning_type", {True: "lora"}),
        "attn": ("flash_attn", {"sdpa": "sdpa", "fa2": "fa2", "eager": "disabled"}),
        "lora_dropout": ("lora_dropout", None),
    },
    Format.AXOLOTL: {
        **ARGUMENTS,
        "micro_batch_size": ("micro_batch_size", None),
        "optim": ("optimizer", None),
        "packing": ("sample_packing", None),
        "dora": ("peft_use_dora", None),
        "use_reentrant": ("gradient_checkpointing_kwargs.use_reentrant", None),
        "quant_storage": ("bnb_config_kwargs.bnb_4bit_quant_storage", None),
        "quant_type": ("bnb_config_kwargs.bnb_4bit_quant_type", None),
        "has_adapter": ("adapter", {True: "lora"}),
        "lora_dropout": ("lora_dropout", None),
        "lora_targets": ("lora_target_modules", None),
    },
    Format.ACCELERATE: {
        "precision": ("mixed_precision", {"bf16": "bf16", "fp16": "fp16", "fp32": "no"}),
        "world_size": ("num_processes", None),
    },
    Format.DEEPSPEED: {"gather_16bit_on_save": ("zero_optimization.stage3_gather_16bit_weights_on_model_save", None)},
}
OF_FSDP: dict[str, tuple[str, Mapping[Any, Any] | None]] = {
    "strategy": ("version", VERSIONS),
    "state_dict_type": ("state_dict_type", STATE_DICTS),
    "cpu_ram_efficient_loading": ("cpu_ram_efficient_loading", None),
    "use_orig_params": ("use_orig_params", None),
    "sync_module_states": ("sync_module_states", None),
}
"""What FSDP's own settings hold, without the prefix that some files write before them."""
AS_TRAINER = (
    "train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping",
    "bf16.enabled", "fp16.enabled",
)  # fmt: skip
"""What Trainer compares with its own arguments, and fills in where DeepSpeed's file says auto."""
AFTER: dict[str, tuple[str, ...]] = {
    "gradient_accumulation_steps": ("per_device_train_batch_size", "micro_batch_size"),
    "per_device_train_batch_size": ("gradient_accumulation_steps", "num_train_epochs"),
    "micro_batch_size": ("gradient_accumulation_steps", "num_epochs"),
    "gradient_checkpointing_kwargs": ("gradient_checkpointing", "activation_checkpointing"),
    "bnb_4bit_quant_storage": ("bnb_4bit_quant_type", "load_in_4bit"),
    "bnb_config_kwargs": ("load_in_4bit", "adapter"),
    "fsdp_version": ("fsdp", "fsdp_config"),
    "fsdp_config": ("fsdp", "distributed_type"),
    "attn_implementation": tuple(ATTENTION_FLAGS),
    "use_peft": ("load_in_4bit", "load_in_8bit"),
    "ddp_find_unused_parameters": ("gradient_checkpointing_kwargs", "use_reentrant_gc", "gradient_checkpointing"),
    "gradient_checkpointing": ("bf16", "fp16"),
    "fp16": ("bf16",),
    "bf16": ("fp16",),
    "disable_gradient_checkpointing": ("use_reentrant_gc",),
}
"""Keys that a new one of the top level stands behind, the first there is."""


def changes(kind: Format, name: str, value: Any, keys: Keys, *, is_command: bool = False) -> Changes:
    """What makes ``name`` that ``value`` in a file of one format; nothing where the file has no say in it."""
    special = SPECIAL.get((kind, name))
    if special is not None:
        return special(value, keys)
    if name in OF_FSDP and kind in FSDP_SECTION:
        return _fsdp(kind, name, value, keys, is_command=is_command)
    key, spelling = PLAIN.get(kind, {}).get(name, (None, None))
    if key is None or (spelling is not None and value not in spelling):
        return {}
    return {key: spelling[value] if spelling is not None else value}


def _has(keys: Keys, name: str) -> bool:
    return name in keys or any(key.startswith(f"{name}.") for key in keys)


def _without(keys: Keys, *names: str) -> Changes:
    return {name: REMOVE for name in names if _has(keys, name)}


def _first(keys: Keys, *names: str) -> str:
    """The name that is there; the first if none is."""
    return next((name for name in names if _has(keys, name)), names[0])


FSDP_SECTION = {
    Format.TRAINER: "fsdp_config.", Format.LLAMA_FACTORY: "fsdp_config.", Format.AXOLOTL: "fsdp_config.",
    Format.ACCELERATE: "fsdp_config.", Format.FSDP: "",
}  # fmt: skip


def _fsdp(kind: Format, name: str, value: Any, keys: Keys, *, is_command: bool) -> Changes:
    """One of FSDP's settings, where the file turns FSDP on; spelt as its neighbours are."""
    if name == "strategy" and value not in VERSIONS:
        return _no_sharding(kind, value, keys)
    is_on = str(keys.get("distributed_type", "")).upper() == "FSDP" or bool(keys.get("use_fsdp"))
    if kind is Format.ACCELERATE and not is_on:
        return {}
    if kind in (Format.TRAINER, Format.LLAMA_FACTORY) and (
        not _has(keys, "fsdp") or isinstance(keys.get("fsdp_config"), str)
    ):
        return {}
    if kind is Format.AXOLOTL and not (_has(keys, "fsdp") or _has(keys, "fsdp_config")):
        return {}
    key, spelling = OF_FSDP[name]
    written = spelling.get(value) if spelling is not None else value
    section = "" if kind is Format.ACCELERATE and is_command else FSDP_SECTION[kind]
    prefixed = kind is Format.ACCELERATE or any(one.startswith(f"{section}fsdp_") for one in keys)
    if kind is Format.AXOLOTL and name == "strategy":
        return {"fsdp_version": written}
    plain, full = f"{section}{key}", f"{section}fsdp_{key}"
    there = next((one for one in (full, plain) if one in keys), full if prefixed else plain)
    return {there: written} if written is not None else {}


def _no_sharding(kind: Format, value: str, keys: Keys) -> Changes:
    """Data parallelism in the place of FSDP or DeepSpeed."""
    if value not in ("ddp", "single"):
        return {}
    if kind is Format.ACCELERATE:
        if "distributed_type" in keys:
            return {"distributed_type": "MULTI_GPU"}
        switches = [name for name in ("use_fsdp", "use_deepspeed") if name in keys]
        return {**dict.fromkeys(switches, REMOVE), "multi_gpu": True} if switches else {}
    if kind is Format.FSDP:
        return {}
    return _without(keys, *FSDP_KEYS, "deepspeed")


def _trainer_adapter(value: bool, keys: Keys) -> Changes:
    return {_first(keys, *LORA_SWITCHES): value}


def _trainer_method(value: str, keys: Keys) -> Changes:
    if value == "lora":
        found = {name: False for name in (*FOUR_BITS, *EIGHT_BITS) if keys.get(name)}
        return found | _without(keys, "bits")
    return {"load_in_4bit": True} if value == "qlora4" else {}


def _axolotl_method(value: str, keys: Keys) -> Changes:
    if value == "lora":
        loaded = {name: False for name in ("load_in_4bit", "load_in_8bit") if keys.get(name)}
        return {"adapter": "lora"} | loaded
    return {"adapter": "qlora", "load_in_4bit": True} if value == "qlora4" else {}


def _factory_method(value: str, keys: Keys) -> Changes:
    if value == "lora":
        return _without(keys, "quantization_bit", "quantization_method", "double_quantization")
    return {"quantization_bit": 4} if value == "qlora4" else {}


def _precision(value: str, keys: Keys) -> Changes:
    other = {"bf16": "fp16", "fp16": "bf16"}.get(value)
    if other is None:
        return {name: False for name in ("bf16", "fp16") if name in keys} if value == "fp32" else {}
    return {value: True} | ({other: False} if keys.get(other) not in (None, False) else {})


def _checkpointing(value: str, keys: Keys) -> Changes:
    """By the model itself, where FSDP's settings asked for it or nothing did."""
    by_fsdp = [key for key in keys if key.endswith("activation_checkpointing") and key.startswith("fsdp")]
    key = _first(keys, "gradient_checkpointing", "activation_checkpointing")
    return {**dict.fromkeys(by_fsdp, False), key: value == "hf"} if value in ("hf", "none") else {}


def _fsdp_checkpointing(value: str, keys: Keys) -> Changes:
    wanted = [key for key in keys if key.endswith("activation_checkpointing")]
    return dict.fromkeys(wanted, False) if value in ("hf", "none") else {}


def _reentrant(value: bool, keys: Keys) -> Changes:
    if "use_reentrant" in keys:
        return {"use_reentrant": value}
    section = _first(keys, "gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
    if not _has(keys, section) and _has(keys, "activation_checkpointing"):
        section = "activation_checkpointing_kwargs"
    return {f"{section}.use_reentrant": value}


def _trainer_attention(value: str, keys: Keys) -> Changes:
    name = {"fa2": "flash_attention_2"}.get(value, value)
    return {"attn_implementation": name} | _without(keys, *FLASH_SWITCHES)


def _axolotl_attention(value: str, keys: Keys) -> Changes:
    flag = next((key for key, meaning in ATTENTION_FLAGS.items() if meaning == value), None)
    other = [key for key in ATTENTION_FLAGS if keys.get(key) and key != flag]
    if "attn_implementation" in keys or flag is None:
        return {"attn_implementation": value} | dict.fromkeys(other, REMOVE)
    return dict.fromkeys(other, REMOVE) | {flag: True}


def _axolotl_liger(value: bool, keys: Keys) -> Changes:
    return {} if value else {name: False for name in LIGER if keys.get(name)}


def _in_deepspeed(key: str) -> Callable[[int, Keys], Changes]:
    """A number of DeepSpeed's that is not left to the trainer."""
    return lambda value, keys: {key: value} if keys.get(key) not in (None, "auto") else {}


def _openrlhf_method(value: str, keys: Keys) -> Changes:
    return _without(keys, *OPENRLHF_FOUR_BITS) if value == "lora" else {}


def _openrlhf_adapter(value: bool, keys: Keys) -> Changes:
    return {_dotted(keys, "ds.lora.rank", "lora_rank"): 16} if value else {}


def _dotted(keys: Keys, new: str, old: str) -> str:
    """The name that stands there, else the one that versions have to which the others belong."""
    if new in keys or old in keys:
        return new if new in keys else old
    return new if any("." in key for key in keys) else old


def _default_init(*names: str) -> Callable[[str, Keys], Changes]:
    return lambda value, keys: _without(keys, *names) if value == "default" else {}


def _whole_sharding(value: str, keys: Keys) -> Changes:
    """``full_shard`` in the place of the other words for it in ``--fsdp``."""
    written = keys.get("fsdp")
    if value != "full" or not isinstance(written, (str, list)):
        return {}
    words = written.replace(",", " ").split() if isinstance(written, str) else written
    kept = ["full_shard" if word in ("hybrid_shard", "hybrid_shard_zero2") else word for word in words]
    return {"fsdp": " ".join(kept) if isinstance(written, str) else kept}


def _as_trainer(value: bool, keys: Keys) -> Changes:
    """DeepSpeed's numbers left to the trainer's."""
    there = [key for key in AS_TRAINER if keys.get(key) not in (None, "auto")]
    return {} if value else dict.fromkeys(there, "auto")


def _in_deepspeeds_file(value: bool, keys: Keys) -> Changes:
    return {} if value else _without(keys, *(f"deepspeed_config.{name}" for name in IN_FILE))


def _four_bits(value: bool, keys: Keys) -> Changes:
    if value:
        return {}
    return {_first(keys, *FOUR_BITS): True} | {name: False for name in EIGHT_BITS if keys.get(name)}


def _nothing_listed(name: str) -> Callable[[Any, Keys], Changes]:
    return lambda value, keys: {} if value else _without(keys, name)


def _no_device_map(value: str | None, keys: Keys) -> Changes:
    return {} if value else _without(keys, "device_map", "model_init_kwargs.device_map")


def _no_fsdp(value: bool, keys: Keys) -> Changes:
    return {} if value else _without(keys, *FSDP_KEYS)


SPECIAL: dict[tuple[Format, str], Callable[[Any, Keys], Changes]] = {
    (Format.TRAINER, "method"): _trainer_method,
    (Format.TRAINER, "has_adapter"): _trainer_adapter,
    (Format.AXOLOTL, "method"): _axolotl_method,
    (Format.LLAMA_FACTORY, "method"): _factory_method,
    **{(kind, "precision"): _precision for kind in (Format.TRAINER, Format.AXOLOTL, Format.LLAMA_FACTORY)},
    **{(kind, "gc"): _checkpointing for kind in (Format.TRAINER, Format.AXOLOTL)},
    **{(kind, "gc"): _fsdp_checkpointing for kind in (Format.ACCELERATE, Format.FSDP)},
    **{(kind, "use_fsdp"): _no_fsdp for kind in (Format.TRAINER, Format.AXOLOTL, Format.LLAMA_FACTORY)},
    **{(kind, "fsdp_sharding"): _whole_sharding for kind in (Format.TRAINER, Format.LLAMA_FACTORY)},
    (Format.DEEPSPEED, "ds_config_mismatch"): _as_trainer,
    (Format.ACCELERATE, "ds_file_and_more"): _in_deepspeeds_file,
    **{(kind, "bits_contradict"): _four_bits for kind in (Format.TRAINER, Format.AXOLOTL)},
    (Format.TRAINER, "use_reentrant"): _reentrant,
    (Format.TRAINER, "attn"): _trainer_attention,
    (Format.AXOLOTL, "attn"): _axolotl_attention,
    (Format.AXOLOTL, "liger"): _axolotl_liger,
    (Format.TRAINER, "modules_to_save"): _nothing_listed("lora_modules_to_save"),
    (Format.AXOLOTL, "modules_to_save"): _nothing_listed("lora_modules_to_save"),
    (Format.LLAMA_FACTORY, "modules_to_save"): _nothing_listed("additional_target"),
    (Format.TRAINER, "init"): _default_init("init_lora_weights"),
    (Format.AXOLOTL, "init"): _default_init("peft_init_lora_weights", "peft.loftq_config"),
    (Format.LLAMA_FACTORY, "init"): _default_init("pissa_init", "pissa_iter"),
    **{(kind, "device_map"): _nothing_listed("device_map") for kind in (Format.AXOLOTL, Format.LLAMA_FACTORY)},
    (Format.TRAINER, "device_map"): _no_device_map,
    (Format.DEEPSPEED, "micro_batch_size"): _in_deepspeed("train_micro_batch_size_per_gpu"),
    (Format.DEEPSPEED, "gradient_accumulation_steps"): _in_deepspeed("gradient_accumulation_steps"),
    (Format.ACCELERATE, "gradient_accumulation_steps"): _in_deepspeed("deepspeed_config.gradient_accumulation_steps"),
    (Format.OPENRLHF, "method"): _openrlhf_method,
    (Format.OPENRLHF, "has_adapter"): _openrlhf_adapter,
    (Format.OPENRLHF, "micro_batch_size"): lambda value, keys: {_dotted(keys, *OPENRLHF_MICRO_BATCH): value},
    (Format.OPENRLHF, "cpu_offload_opt"): lambda value, keys: {} if value else _without(keys, *OFFLOAD),
    (Format.OPENRLHF, "packing"): lambda value, keys: {} if value else _without(keys, *PACKING),
}
"""Names that more than one key says, or a key's absence."""
