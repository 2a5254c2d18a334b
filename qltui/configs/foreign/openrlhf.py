"""Arguments of OpenRLHF's programs: the flat names of versions before 0.10, and the dotted ones since."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qltui.configs.foreign.keys import flag, integer, number, positive, text
from qltui.configs.foreign.shared import ATTENTION, DTYPES, OTHER, STAGES, micro_batch, targets

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from qltui.configs.foreign.keys import Keys

PROGRAM = re.compile(r"(?:^|[./])train_([a-z]+)(?:_ray)?(?:\.py)?$")
ENGINES = ("vllm.num_engines", "vllm_num_engines")
MODEL = ("model.model_name_or_path", "actor.model_name_or_path", "pretrain")
MICRO_BATCH = ("train.micro_batch_size", "micro_train_batch_size")
CHECKPOINTING = ("model.gradient_checkpointing_enable", "actor.gradient_checkpointing_enable", "gradient_checkpointing")
FOUR_BITS = ("ds.load_in_4bit", "load_in_4bit")
OFFLOAD = ("ds.adam_offload", "adam_offload")
PACKING = ("ds.packing_samples", "packing_samples")
LIGER = ("ds.use_liger_kernel", "use_liger_kernel")
PRECISIONS = {"bf16": "bf16", "fp16": "fp16"}
NUMBERS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "global_batch_size": (("train.batch_size", "train_batch_size"), positive),
    "max_length": (("data.max_len", "max_len"), positive),
    "lora_rank": (("ds.lora.rank", "lora_rank"), positive),
    "lora_alpha": (("ds.lora.alpha", "lora_alpha"), number),
    "lora_dropout": (("ds.lora.dropout", "lora_dropout"), number),
    "learning_rate": (("adam.lr", "actor.adam.lr", "learning_rate", "actor_learning_rate"), number),
    "max_grad_norm": (("max_norm", "actor.max_norm"), number),
    "epochs": (("train.max_epochs", "max_epochs"), number),
    "seed": (("train.seed", "seed"), integer),
    "dataloader_workers": (("data.dataloader_num_workers", "dataloader_num_workers"), integer),
}
"""Values that are what they say: keys and how they are read, by name in Setup."""


def openrlhf(keys: Keys, program: str) -> None:
    """Arguments of ``openrlhf.cli.train_*``; what they leave out is its parsers' default (0.9.10 and 0.11.2 alike)."""
    found = PROGRAM.search(program)
    keys.say("trainer", f"openrlhf_{found[1] if found else 'sft'}")
    keys.take("model", *MODEL, convert=text)
    micro_batch(keys, *MICRO_BATCH)
    for name, (spelt, convert) in NUMBERS.items():
        keys.take(name, *spelt, convert=convert)
    targets(keys, "ds.lora.target_modules" if keys.has("ds.lora.target_modules") else "target_modules")
    _method(keys)
    _sharding(keys)
    _precision(keys)
    _computing(keys)
    _actors(keys)


def _switch(keys: Keys, *names: str) -> str | None:
    """The key of a flag that is there and on; a flag has no value that could be rewritten."""
    return next((name for name in names if keys.get(name, flag)), None)


def _method(keys: Keys) -> None:
    """LoRA where a rank is given, on 4-bit weights where it loads such."""
    four, rank = _switch(keys, *FOUR_BITS), keys.reading.values.get("lora_rank")
    if keys.is_unclear(*FOUR_BITS, *NUMBERS["lora_rank"][0]):
        return
    of_rank = next((key for key in NUMBERS["lora_rank"][0] if keys.has(key)), None)
    keys.say("has_adapter", bool(rank), of_rank or four, {})
    if four:
        keys.say("method", "qlora4", four, {})
        keys.say("quant_type", "nf4")
        keys.say("double_quantization", True)
        keys.say("quant_storage", "uint8")
        keys.say("compute_dtype", "bfloat16")
    else:
        keys.say("method", "lora" if rank else "full", of_rank, {})


def _sharding(keys: Keys) -> None:
    """ZeRO, of stage 2 unless another is named."""
    if (keys.get("backend", text) or "deepspeed") != "deepspeed":  # of its development version
        keys.say("strategy", "fsdp2" if keys.get("backend", text) == "fsdp2" else OTHER, "backend", {})
        return
    keys.say("use_deepspeed", True)
    stages = ("ds.zero_stage", "zero_stage")
    if keys.choose("strategy", *stages, spelt=STAGES) is None and not any(map(keys.has, stages)):
        keys.say("strategy", "zero2")
    keys.say("cpu_offload_opt", True if (offload := _switch(keys, *OFFLOAD)) else None, offload, {})
    for name in ("ds.tensor_parallel_size", "ds_tensor_parallel_size"):
        if (keys.get(name, integer) or 1) > 1:
            keys.say("strategy", OTHER, name, {})
    for name in ("ds.ring_attn_size", "ring_attn_size"):
        if (keys.get(name, integer) or 1) > 1:
            keys.say("sequence_parallel", OTHER, name, {})


def _precision(keys: Keys) -> None:
    """``--bf16`` was a switch once; without it those versions compute in what the checkpoint is stored in."""
    said = keys.choose("precision", "ds.param_dtype", "param_dtype", spelt=PRECISIONS)
    if said is None and (old := _switch(keys, "bf16")):
        keys.say("precision", "bf16", old, {})
    elif said is None and any(key.startswith(("ds.", "train.", "model.", "actor.")) for key in keys.names()):
        keys.say("precision", "bf16")
    precision = keys.reading.values.get("precision")
    keys.say("model_dtype", DTYPES[precision] if precision else None)


def _computing(keys: Keys) -> None:
    recomputes = _switch(keys, *CHECKPOINTING)
    if not keys.is_unclear(*CHECKPOINTING):
        keys.say("gc", "hf" if recomputes else "none", recomputes, {})
    reentrant = ("model.gradient_checkpointing_reentrant", "actor.gradient_checkpointing_reentrant",
                 "gradient_checkpointing_use_reentrant")  # fmt: skip
    if recomputes:
        keys.say("use_reentrant", bool(found := _switch(keys, *reentrant)), found, {})
    if keys.choose("attn", "ds.attn_implementation", "attn_implementation", spelt=ATTENTION) is None and (
        fused := _switch(keys, "flash_attn")
    ):
        keys.say("attn", "fa2", fused, {})
    for name, spelt in (("packing", PACKING), ("liger", LIGER)):
        if found := _switch(keys, *spelt):
            keys.say(name, True, found, {})
    keys.choose("optim", "optim", "actor.optim", spelt={"adam": "adamw", "muon": "muon"})


def _actors(keys: Keys) -> None:
    """The ranks that train, where others hold the reference, the rewards and the servers that write answers."""
    engines = next((key for key in ENGINES if keys.get(key, positive)), None)
    if engines:
        keys.say("trainer", "openrlhf_ppo_vllm", engines, {})
    nodes = keys.take("nodes", "actor.num_nodes", "actor_num_nodes", convert=positive)
    each = keys.take("n_gpus_per_node", "actor.num_gpus_per_node", "actor_num_gpus_per_node", convert=positive)
    if nodes and each:
        for name in ("world_size", "n_gpus"):
            keys.say(name, nodes * each)
