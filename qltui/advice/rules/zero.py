"""DeepSpeed's ZeRO stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, DEEPSPEED, GITHUB, MEASURED, REPRODUCED, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound

if TYPE_CHECKING:
    from qltui.advice.setup import Setup


def _split_weights(setup: Setup) -> dict[str, str]:
    """A strategy that shards the weights where there are GPUs to share them, else 4 bits for 16."""
    if setup.n_gpus > 1:
        return {"strategy": "fsdp2" if setup.ours else "zero3"}
    return {"method": "qlora4"} if setup.method == "lora" else {}


RULES = (
    Rule(
        "zero3-quantised-load-spike",
        Severity.WARN,
        "strategy",
        lambda s: s.quantised and s.strategy == "zero3" and s.est_quant_model_gb > 0.9 * s.vram_gb,
        "a quantised model under ZeRO-3 that does not fit one GPU as a whole",
        "Before {value} shards it, every rank loads the whole quantised model of {est_quant_model_gb:.0f} GiB"
        " onto its GPU of"
        " {vram_gb:.0f} GiB.",
        "Use 16-bit LoRA, which is sharded while it loads, or GPUs that hold the quantised model once.",
        "zero.Init is skipped for quantised models on purpose; they are sharded in deepspeed.initialize only.",
        f"{TRANSFORMERS} modeling_utils.py get_init_context; {GITHUB}/huggingface/peft/issues/2016",
        {"method": "lora"},
    ),
    Rule(
        "zero3-quantised-loads-whole",
        Severity.INFO,
        "strategy",
        lambda s: s.quantised and s.strategy == "zero3" and s.est_quant_model_gb <= 0.9 * s.vram_gb,
        "a quantised model under ZeRO-3",
        "{value} shards {method} weights once training starts, but each rank first loads all of them onto its GPU.",
        "Plan GPU memory for the whole quantised model at the start.",
        "Older advice says ZeRO-3 keeps copies of quantised weights for good; that is true of loading alone.",
        f"{MEASURED}: each of 2 ranks held half of the nf4 weights",
    ),
    Rule(
        "zero3-device-map",
        Severity.BLOCK,
        "device_map",
        lambda s: s.strategy == "zero3" and s.device_map is not None and not s.device_map_replaced,
        "a device map under ZeRO-3",
        "ZeRO-3 places the weights itself, and Transformers refuses the device map {value} beside it.",
        "Leave the device map out.",
        "from_pretrained raises: DeepSpeed Zero-3 is not compatible with passing a device_map.",
        f"{TRANSFORMERS} integrations/accelerate.py check_and_set_device_map; {REPRODUCED}",
        {"device_map": None},
    ),
    Rule(
        "zero3-trainable-types-differ",
        Severity.BLOCK,
        "autocast_adapter",
        lambda s: (
            s.method == "lora"
            and s.strategy == "zero3"
            and s.autocast_adapter
            and s.computes_16bit
            and (s.modules_to_save or s.task == "seq_cls" or s.resize_vocab)
        ),
        "16-bit LoRA under ZeRO-3 with modules trained whole, adapters kept in float32",
        "ZeRO-3 wants all trained weights of one type, but adapters are made float32 (autocast_adapter_dtype is"
        " {value})"
        " beside 16-bit modules trained whole.",
        "Pass autocast_adapter_dtype=False to get_peft_model.",
        "deepspeed.initialize stops with an empty AssertionError.",
        f"{DEEPSPEED} runtime/zero/utils.py defragment; {REPRODUCED}; {GITHUB}/deepspeedai/DeepSpeed/issues/7669",
        {"autocast_adapter": False},
    ),
    Rule(
        "zero3-nonreentrant",
        Severity.BLOCK,
        "use_reentrant",
        lambda s: (
            s.method in ("lora", "qlora4")
            and s.strategy == "zero3"
            and s.checkpoints
            and s.use_reentrant is False
            and s.engine != "trl"
        ),
        "adapters under ZeRO-3 with non-reentrant checkpointing and an older DeepSpeed",
        "Non-reentrant checkpointing (use_reentrant: {value}) fails in the first backward under ZeRO-3.",
        "Update deepspeed to 0.19.3 or newer, or set use_reentrant to true.",
        "Frozen weights are partitioned again while a layer recomputes, and the check finds tensors of shape [0].",
        f"{GITHUB}/deepspeedai/DeepSpeed/pull/8148, in 0.19.3; both variants pass on {DEEPSPEED}",
        {"use_reentrant": True},
        versions=(Bound("deepspeed", before="0.19.3"),),
    ),
    Rule(
        "zero3-auto-batch-size",
        Severity.BLOCK,
        "auto_find_batch_size",
        lambda s: s.strategy == "zero3" and s.auto_find_batch_size,
        "auto_find_batch_size under ZeRO-3",
        "Trainer refuses auto_find_batch_size ({value}) under ZeRO-3.",
        "Turn it off and set the batch size.",
        "The engine cannot be built again in the middle of a run.",
        f"{TRANSFORMERS} trainer.py",
        {"auto_find_batch_size": False},
    ),
    Rule(
        "zero3-all-reduce-fetch",
        Severity.BLOCK,
        "ds_use_all_reduce_fetch",
        lambda s: (
            s.method == "qlora4" and s.strategy == "zero3" and s.ds_use_all_reduce_fetch and s.quant_storage == "uint8"
        ),
        "4-bit weights stored as uint8 under ZeRO-3 with use_all_reduce_for_fetch_params",
        "use_all_reduce_for_fetch_params ({value}) cannot fetch uint8 weights beside floating ones.",
        "Turn it off.",
        "That path fetches all parameters of a group as one type.",
        f"{DEEPSPEED} runtime/zero/partition_parameters.py; {REPRODUCED}",
        {"ds_use_all_reduce_fetch": False},
    ),
    Rule(
        "zero3-4bit-cannot-move",
        Severity.WARN,
        "method",
        lambda s: s.method == "qlora4" and s.zero,
        "QLoRA under DeepSpeed with an old bitsandbytes",
        "{value} fails under {strategy} with this bitsandbytes: .to is not supported for 4-bit models.",
        "Update bitsandbytes to 0.43.2 or newer, and transformers with it.",
        "DeepSpeed moves the model to its device, which older releases refused; current ones let it.",
        f"{TRANSFORMERS} modeling_utils.py PreTrainedModel.to refuses casts alone",
        versions=(Bound("bitsandbytes", before="0.43.2"),),
    ),
    Rule(
        "sharding-needless",
        Severity.INFO,
        "strategy",
        lambda s: (
            s.adapters
            and s.shards_weights
            and s.world_size > 1
            and s.gpu_vendor != "cpu"
            and 0 < s.est_quant_model_gb < 0.5 * s.vram_gb
        ),
        "adapters under a sharding strategy although the weights take less than half of one GPU",
        "The weights of {est_quant_model_gb:.1f} GiB fit each GPU of {vram_gb:.0f} GiB, and {value} gathers them over"
        " and over.",
        "Use ddp, unless long sequences need the room.",
        "A frozen base has no gradients or optimizer states to shard; gathering it is traffic without gain.",
        f"{GITHUB}/deepspeedai/DeepSpeed/issues/5109; DeepSpeed's own paper counts 1.5 times the traffic of DDP",
        {"strategy": "ddp"},
        concerns=Concerns.ALL,
    ),
    Rule(
        "zero12-with-adapters",
        Severity.INFO,
        "strategy",
        lambda s: s.adapters and s.strategy in ("zero1", "zero2") and not (s.cpu_offload_opt or s.nvme_opt),
        "adapters under ZeRO-1 or ZeRO-2",
        "{value} shards optimizer states and gradients, which are tiny with adapters.",
        "Use ddp, which is simpler and as small.",
        "Weights stay whole on every GPU at these stages.",
        f"{MEASURED}: zero2 and ddp each held all of the nf4 weights",
        {"strategy": "ddp"},
        concerns=Concerns.ALL,
    ),
    Rule(
        "replicated-does-not-fit",
        Severity.WARN,
        "strategy",
        lambda s: (
            s.strategy in ("single", "ddp", "zero1", "zero2")
            and s.gpu_vendor != "cpu"
            and not s.cpu_offload_params
            and s.est_quant_model_gb > 0.95 * s.vram_gb
        ),
        "a strategy that keeps all weights on every GPU, and weights that do not fit one",
        "{value} keeps all weights on each GPU: {est_quant_model_gb:.0f} GiB, where there are {vram_gb:.0f} GiB.",
        "Shard the weights (fsdp2 or zero3), quantise them, or use larger GPUs; more GPUs do not help.",
        "DDP, ZeRO-1 and ZeRO-2 split no weights.",
        "the number of parameters and the bytes the method keeps each in",
        _split_weights,
        concerns=Concerns.ALL,
    ),
    Rule(
        "deepspeed-values-differ",
        Severity.BLOCK,
        "ds_config_mismatch",
        lambda s: s.zero and s.ds_config_mismatch,
        "a DeepSpeed file whose numbers differ from the trainer's",
        "The DeepSpeed file gives another value than the trainer's arguments.",
        'Write "auto" in the DeepSpeed file for batch sizes, accumulation, rates, clipping and precision.',
        "Trainer refuses to start when they differ.",
        f"{TRANSFORMERS} integrations/deepspeed.py trainer_config_finalize",
        {"ds_config_mismatch": False},
    ),
    Rule(
        "deepspeed-file-and-more",
        Severity.BLOCK,
        "ds_file_and_more",
        lambda s: s.use_deepspeed and s.ds_file_and_more,
        "Accelerate's file with a DeepSpeed file and values that belong into that one",
        "Accelerate refuses values of its own beside deepspeed_config_file.",
        "Leave them to the DeepSpeed file.",
        "They would be ignored, and Accelerate raises instead.",
        f"{ACCELERATE} utils/dataclasses.py _deepspeed_config_checks",
        {"ds_file_and_more": False},
    ),
    Rule(
        "deepspeed-no-warmup-steps",
        Severity.BLOCK,
        "ds_warmup_num_steps",
        lambda s: s.zero and s.ds_warmup_num_steps == 0,
        "a DeepSpeed schedule with warmup_num_steps 0",
        "DeepSpeed rejects warmup_num_steps {value}.",
        "Set it to 1 or more, or to auto.",
        "Releases before 0.19.6 made 2 of it silently.",
        f"{DEEPSPEED} runtime/lr_schedules.py; {TRANSFORMERS} integrations/deepspeed.py",
        {"ds_warmup_num_steps": 1},
        versions=(Bound("deepspeed", since="0.19.6"),),
    ),
    Rule(
        "deepspeed-and-fsdp",
        Severity.BLOCK,
        "use_fsdp",
        lambda s: s.use_deepspeed and s.use_fsdp and not s.ours,
        "DeepSpeed and FSDP both asked for",
        "Both DeepSpeed and FSDP are asked for.",
        "Choose one of them.",
        "Each wants to shard the model; Trainer refuses the pair.",
        f"{TRANSFORMERS} trainer.py",
        {"use_fsdp": False},
    ),
)
