"""What a run leaves behind, and whether it can be taken up again."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, DEEPSPEED, GITHUB, MEASURED, PEFT, REPRODUCED, TRANSFORMERS, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "fsdp1-adapter-saved-empty",
        Severity.BLOCK,
        "strategy",
        lambda s: s.adapters and s.strategy == "fsdp1",
        "adapters under FSDP1 with PEFT 0.21.0 to 0.21.2",
        "The adapter saved under {value} is empty, with exit code 0.",
        "Install peft 0.20, or use FSDP2 or DeepSpeed.",
        "PEFT takes adapter names from module paths and strips FSDP's wrapper at their beginning only, so nothing"
        " matches.",
        f"{MEASURED}: 0 tensors saved; {PEFT} tuners/tuners_utils.py _get_tuner_state_dict_key_prefixes",
        lambda s: {"strategy": "fsdp2"} if s.method == "lora" else {},
        versions=(Bound("peft", since="0.21.0", before="0.21.3"),),
    ),
    Rule(
        "fsdp2-adapter-saved-empty",
        Severity.BLOCK,
        "gc",
        lambda s: s.method in ("lora", "qlora4") and s.strategy == "fsdp2" and s.gc == "fsdp",
        "adapters under FSDP2 with FSDP's own activation checkpointing and PEFT 0.21.0 to 0.21.2",
        "With activation checkpointing by {value} itself, the saved adapter is empty, with exit code 0.",
        "Use the trainer's activation checkpointing, or install peft 0.20.",
        "The checkpoint wrapper stands in module paths but not in the state dict, so no name matches.",
        f"{PEFT} tuners/tuners_utils.py; {ACCELERATE} utils/fsdp_utils.py fsdp2_apply_ac; {REPRODUCED}: 0 of 28",
        {"gc": "hf"},
        versions=(Bound("peft", since="0.21.0", before="0.21.3"),),
    ),
    Rule(
        "fsdp2-resume-loses-adapter",
        Severity.BLOCK,
        "state_dict_type",
        lambda s: s.method in ("lora", "qlora4") and s.strategy == "fsdp2" and s.state_dict_type == "full" and s.resume,
        "resuming adapters from a full state dict under FSDP2, with an older Accelerate",
        "A {value} state dict holds only the first rank's slice of the adapter; the rest is lost on resume.",
        "Update accelerate to 1.15 or newer, or use SHARDED_STATE_DICT.",
        "It was written from local shards, and the other ranks start again from the initial values.",
        f"{GITHUB}/huggingface/accelerate/pull/4206; {ACCELERATE} utils/fsdp_utils.py _get_model_state_dict",
        {"state_dict_type": "sharded"},
        versions=(Bound("accelerate", before="1.15.0"),),
    ),
    Rule(
        "fsdp-sharded-saves-no-adapter",
        Severity.WARN,
        "state_dict_type",
        lambda s: (
            s.method in ("lora", "qlora4")
            and s.fsdp
            and s.state_dict_type == "sharded"
            and not s.save_only_model
            and s.engine != "axolotl"
        ),
        "adapters under FSDP with sharded state dicts",
        "With {value} state dicts Trainer writes no adapter_model.safetensors.",
        "Use FULL_STATE_DICT, or switch to it right before the last save.",
        "Trainer.save_model exports full state dicts alone; sharded ones are for resuming.",
        f"{TRANSFORMERS} trainer.py save_model",
        {"state_dict_type": "full"},
    ),
    Rule(
        "save-only-model-sharded",
        Severity.BLOCK,
        "save_only_model",
        lambda s: s.save_only_model and s.fsdp and s.state_dict_type == "sharded",
        "save_only_model under FSDP with sharded state dicts",
        "Trainer refuses save_only_model ({value}) with sharded state dicts.",
        "Use FULL_STATE_DICT, or turn save_only_model off.",
        "There would be no whole weights to write.",
        f"{TRANSFORMERS} trainer.py",
        {"state_dict_type": "full"},
    ),
    Rule(
        "save-only-model-and-load-best",
        Severity.BLOCK,
        "save_only_model",
        lambda s: s.save_only_model and s.load_best and (s.fsdp or s.zero),
        "save_only_model and load_best_model_at_end under FSDP or DeepSpeed",
        "Trainer refuses save_only_model ({value}) together with load_best_model_at_end under {strategy}.",
        "Turn one of them off.",
        "Loading the best model needs the engine's own checkpoint.",
        f"{TRANSFORMERS} trainer.py",
        {"save_only_model": False},
    ),
    Rule(
        "zero3-full-saves-shards",
        Severity.INFO,
        "gather_16bit_on_save",
        lambda s: s.method == "full" and s.strategy == "zero3" and not s.gather_16bit_on_save,
        "full fine-tuning under ZeRO-3 without gathering on save",
        "With stage3_gather_16bit_weights_on_model_save {value} only DeepSpeed's shards are saved.",
        "Set it to true, or run zero_to_fp32.py afterwards.",
        "Trainer falls back to engine checkpoints, which from_pretrained cannot load.",
        f"{TRANSFORMERS} trainer.py save_model",
        {"gather_16bit_on_save": True},
    ),
    Rule(
        "zero3-adapter-saved-empty",
        Severity.BLOCK,
        "gather_16bit_on_save",
        lambda s: s.adapters and s.strategy == "zero3" and not s.gather_16bit_on_save,
        "adapters under ZeRO-3 without gathering on save, with Transformers 4",
        "With stage3_gather_16bit_weights_on_model_save {value} the saved adapter is empty (40 bytes).",
        "Set it to true, or update transformers to 5.",
        "Trainer saves an empty state dict when the engine does not gather.",
        f"{GITHUB}/huggingface/trl/issues/4416, mended by huggingface/transformers pull 41416 in 5.0.0",
        {"gather_16bit_on_save": True},
        versions=(Bound("transformers", before="5.0.0"),),
    ),
    Rule(
        "fsdp2-uint8-checkpoints-larger",
        Severity.INFO,
        "state_dict_type",
        lambda s: (
            s.method == "qlora4"
            and s.strategy == "fsdp2"
            and s.quant_storage == "uint8"
            and s.state_dict_type == "full"
        ),
        "QLoRA under FSDP2 with uint8 storage and full state dicts",
        "Checkpoints with {value} state dicts also carry all quantisation statistics.",
        "Nothing is wrong; use sharded state dicts for checkpoints if they grow too large.",
        "Statistics are no parameters, so the filter for frozen parameters keeps them.",
        f"{REPRODUCED}: 98 entries instead of 28",
        {"state_dict_type": "sharded"},
    ),
    Rule(
        "zero-resume-other-gpus",
        Severity.BLOCK,
        "resume_world_size",
        lambda s: s.zero and s.resume and s.resume_world_size not in (None, s.world_size),
        "resuming a DeepSpeed checkpoint on another number of GPUs",
        "The checkpoint was written on {value} GPUs and would be resumed on {world_size}, which DeepSpeed refuses.",
        "Resume on as many GPUs, convert it to a universal checkpoint, or start again from the adapter.",
        "Optimizer states were partitioned for that number.",
        f"{DEEPSPEED} runtime/engine.py _load_zero_checkpoint",
        {"resume": False},
    ),
)
