"""What other programs refuse or do by themselves, beyond the libraries they stand on."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import Rule

AXOLOTL = "axolotl 0.19.0 src/axolotl/utils/schemas/validation.py"
FACTORY = "llamafactory 0.9.5 src/llamafactory"
TRL = "trl 1.16.0 trl/trainer/sft_trainer.py"
REFUSES = "The program checks this before it loads anything."
PREFERENCES = ("trl_dpo", "trl_kto", "trl_orpo", "trl_ipo")

RULES = (
    Rule(
        "axolotl-fsdp2-quantised-preferences",
        Severity.BLOCK,
        "trainer",
        lambda s: s.engine == "axolotl" and s.strategy == "fsdp2" and s.quantised and s.trainer in PREFERENCES,
        "Axolotl with preference training of quantised weights under FSDP2",
        "Axolotl refuses {value} with quantised weights under FSDP2.",
        "Use DeepSpeed, or 16-bit LoRA.",
        REFUSES,
        f"{AXOLOTL} check_fsdp2_base_model_quant_rl",
        {"method": "lora"},
    ),
    Rule(
        "axolotl-packing-preferences",
        Severity.BLOCK,
        "packing",
        lambda s: s.engine == "axolotl" and s.packing and s.trainer.startswith("trl_"),
        "Axolotl with packing in preference or reinforcement training",
        "Axolotl refuses sample_packing ({value}) in preference and reinforcement training.",
        "Turn it off.",
        REFUSES,
        f"{AXOLOTL} check_sample_packing_w_rl",
        {"packing": False},
    ),
    Rule(
        "axolotl-reentrant-preferences",
        Severity.BLOCK,
        "use_reentrant",
        lambda s: (
            s.engine == "axolotl"
            and s.method == "qlora4"
            and s.trainer.startswith("trl_")
            and s.checkpoints
            and s.use_reentrant is True
            and s.n_gpus_per_node > 1
        ),
        "Axolotl with QLoRA in preference training on several GPUs, with reentrant checkpointing",
        "Axolotl refuses reentrant checkpointing (use_reentrant: {value}) for preferences with QLoRA on several GPUs.",
        "Set use_reentrant to false.",
        REFUSES,
        f"{AXOLOTL} check_rl_config_gradient_checkpointing",
        {"use_reentrant": False},
    ),
    Rule(
        "axolotl-fsdp2-4bit-efficient-loading",
        Severity.WARN,
        "cpu_ram_efficient_loading",
        lambda s: (
            s.engine == "axolotl"
            and s.strategy == "fsdp2"
            and s.method == "qlora4"
            and bool(s.cpu_ram_efficient_loading)
        ),
        "Axolotl with QLoRA under FSDP2 and RAM-efficient loading",
        "Axolotl refuses cpu_ram_efficient_loading ({value}) with 4-bit weights under FSDP2, as of 0.19.",
        "Set it to false.",
        "The first rank holds packed weights then and the others unpacked shapes, which do not fit.",
        f"{AXOLOTL} check_fsdp2_cpu_ram_efficient_loading_w_4bit",
        {"cpu_ram_efficient_loading": False},
    ),
    Rule(
        "bits-contradict",
        Severity.BLOCK,
        "bits_contradict",
        lambda s: s.bits_contradict,
        "4 and 8 bits at once, or Axolotl's qlora without load_in_4bit",
        "The file asks for 4-bit and 8-bit weights at once, or for qlora without load_in_4bit.",
        "Set load_in_4bit to true and load_in_8bit to false.",
        REFUSES,
        "axolotl 0.19.0 src/axolotl/utils/schemas/peft.py validate_qlora; trl 1.16.0 trl/trainer/model_config.py;"
        " transformers 5.23.0 utils/quantization_config.py",
        {"bits_contradict": False},
    ),
    Rule(
        "axolotl-fsdp1-offload-8bit-optimizer",
        Severity.BLOCK,
        "optim",
        lambda s: s.engine == "axolotl" and s.strategy == "fsdp1" and s.cpu_offload_params and "8bit" in s.optim,
        "Axolotl with an 8-bit optimizer and parameters offloaded under FSDP1",
        "Axolotl refuses {value} with offload_params under FSDP1.",
        "Use adamw_torch, or turn the offload off.",
        REFUSES,
        f"{AXOLOTL} check_fsdp_offload_w_8bit_optimizer",
        {"optim": "adamw_torch"},
    ),
    Rule(
        "llamafactory-quantised-resize",
        Severity.BLOCK,
        "resize_vocab",
        lambda s: s.engine == "llamafactory" and s.quantised and s.resize_vocab,
        "LLaMA-Factory with quantised weights and a vocabulary that grows",
        "LLaMA-Factory refuses resize_vocab ({value}) on quantised weights.",
        "Turn it off, or use 16-bit LoRA.",
        REFUSES,
        f"{FACTORY}/hparams/parser.py",
        {"resize_vocab": False},
    ),
    Rule(
        "llamafactory-int8-sharded",
        Severity.BLOCK,
        "method",
        lambda s: s.engine == "llamafactory" and s.method == "int8" and s.strategy == "zero3",
        "LLaMA-Factory with 8-bit weights under ZeRO-3",
        "LLaMA-Factory refuses {value} under ZeRO-3.",
        "Set quantization_bit to 4, or use ZeRO-2.",
        "It shards 4-bit weights alone.",
        f"{FACTORY}/model/model_utils/quantization.py",
        {"strategy": "zero2"},
    ),
    Rule(
        "llamafactory-pissa-zero3",
        Severity.BLOCK,
        "init",
        lambda s: s.engine == "llamafactory" and s.strategy == "zero3" and s.init.startswith("pissa"),
        "LLaMA-Factory with PiSSA under ZeRO-3",
        "LLaMA-Factory refuses {value} under ZeRO-3.",
        "Run its scripts/pissa_init.py first, or use ZeRO-2.",
        "The decomposition needs whole weights, which ZeRO-3 has partitioned by then.",
        f"{FACTORY}/hparams/parser.py",
        {"init": "default"},
    ),
    Rule(
        "llamafactory-device-map",
        Severity.BLOCK,
        "device_map",
        lambda s: s.engine == "llamafactory" and s.device_map is not None,
        "LLaMA-Factory with a device map in its file",
        "LLaMA-Factory refuses a file with device_map ({value}).",
        "Leave it out: it chooses the device itself.",
        "The argument is one that its own code sets, and its parser takes no keys that are left over.",
        f"{FACTORY}/hparams/model_args.py device_map, hparams/parser.py",
        {"device_map": None},
    ),
    Rule(
        "openrlhf-4bit-in-fp16",
        Severity.BLOCK,
        "precision",
        lambda s: s.engine == "openrlhf" and s.method == "qlora4" and s.precision == "fp16",
        "OpenRLHF with 4-bit weights in fp16",
        "OpenRLHF refuses 4-bit weights in {value}.",
        "Use bf16.",
        "It asserts bf16, the only type it computes 4-bit weights in.",
        "openrlhf 0.11.2 models/actor.py Actor",
        {"precision": "bf16"},
    ),
    Rule(
        "trl-quantised-adapters-in-bf16",
        Severity.WARN,
        "precision",
        lambda s: s.engine == "trl" and s.quantised and s.nvidia and s.gpu_cc < 8.0,
        "TRL with quantised weights on GPUs of compute capability below 8.0",
        "TRL casts adapters on quantised weights to bfloat16, which compute capability {gpu_cc} only emulates"
        " (the run is in {value}).",
        "Use GPUs of 8.0 or newer, or a loop that keeps adapters in float32.",
        "SFTTrainer casts every trained weight of a quantised model but DoRA's magnitudes.",
        TRL,
    ),
)
