"""How adapters begin, what they stand beside, and what PEFT does with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice import sizes
from qltui.advice.findings import Severity
from qltui.advice.rule import GITHUB, PEFT, REPRODUCED, TRANSFORMERS, Concerns, Rule

if TYPE_CHECKING:
    from qltui.advice.setup import Setup

DECOMPOSING = ("corda", "mica")


def _adapts_experts(setup: Setup) -> bool:
    """Whether a run of ours puts adapters on fused experts: on all linear layers, in the families PEFT knows."""
    config, architecture = setup.config, setup.architecture
    if config is None or architecture is None or not setup.adapters or not architecture.adapted_experts:
        return False
    return config.method.lora.target_modules == "all-linear"


RULES = (
    Rule(
        "quantised-decomposing-init",
        Severity.BLOCK,
        "init",
        lambda s: s.quantised and (s.init.startswith("pissa") or s.init in DECOMPOSING),
        "an initialisation that decomposes weights (pissa, corda, mica) on quantised ones",
        "{value} decomposes 16-bit weights, and those of {method} are quantised.",
        "Use the default initialisation or olora, or initialise on the 16-bit base and quantise what is left of it.",
        "PEFT raises a TypeError; where packed bytes are stored as a floating type it decomposes the bytes.",
        f"{PEFT} tuners/lora/layer.py pissa_init, corda_init, mica_init; {REPRODUCED}",
        {"init": "default"},
    ),
    Rule(
        "quantised-loftq",
        Severity.BLOCK,
        "init",
        lambda s: s.quantised and s.init == "loftq",
        "LoftQ on weights that are quantised already",
        "{value} quantises by itself and must see 16-bit weights, and those of {method} are quantised.",
        "Load the base in 16 bit for it, or call replace_lora_weights_loftq on a usual adapter.",
        "It takes packed bytes for numbers otherwise.",
        f"{PEFT} tuners/lora/layer.py loftq_init;"
        f" {GITHUB}/huggingface/peft/blob/main/docs/source/developer_guides/quantization.md",
        {"init": "default"},
    ),
    Rule(
        "quantised-lora-ga",
        Severity.BLOCK,
        "init",
        lambda s: s.quantised and s.init == "lora_ga",
        "LoRA-GA on quantised weights",
        "{value} begins from gradients of the weights, and those of {method} are quantised and have none.",
        "Use the default initialisation.",
        "PEFT supports it on weights in full precision alone.",
        f"{PEFT} tuners/lora/layer.py lora_ga_init;"
        f" {GITHUB}/huggingface/peft/blob/main/docs/source/package_reference/lora.md",
        {"init": "default"},
    ),
    Rule(
        "init-changes-base",
        Severity.INFO,
        "init",
        lambda s: s.has_adapter and (s.init.startswith("pissa") or s.init in ("olora", "corda")),
        "an initialisation that moves a part of the base into the adapter",
        "{value} moves a part of each weight into the adapter, so that the adapter fits the original base"
        " through PEFT alone.",
        "Merge it with PEFT before other programs load it, or convert it with"
        " path_initial_model_for_weight_conversion.",
        "PEFT repeats the move when it loads the adapter; servers and converters do not know of it.",
        f"{PEFT} tuners/lora/layer.py; docs/strategies.md",
        concerns=Concerns.ALL,
    ),
    Rule(
        "dora-int8",
        Severity.INFO,
        "dora",
        lambda s: s.dora and s.method == "int8",
        "DoRA on int8 weights",
        "DoRA ({value}) on int8 weights works, but is not advised.",
        "Prefer 4-bit or 16-bit weights for it.",
        "PEFT names problems with copying int8 parameters.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/accelerate/fsdp.md; {PEFT} tuners/lora/dora.py",
        {"dora": False},
        concerns=Concerns.ALL,
    ),
    Rule(
        "dora-4bit-zero",
        Severity.INFO,
        "dora",
        lambda s: s.dora and s.method == "qlora4" and s.strategy == "zero2",
        "DoRA on 4-bit weights under ZeRO-2",
        "PEFT's documentation names problems of DoRA ({value}) on 4-bit weights under ZeRO-2, without a cause.",
        "Try some steps first, or use DDP.",
        "A run on CPU ranks passes.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/package_reference/lora_variant_dora.md; {REPRODUCED}",
        {"strategy": "ddp"},
    ),
    Rule(
        "peft-applied-twice",
        Severity.BLOCK,
        "peft_applied_twice",
        lambda s: s.adapters and s.peft_applied_twice and s.trainer.startswith("trl"),
        "TRL with both a PeftModel and a peft_config",
        "TRL is given both a model with adapters and a peft_config (peft_applied_twice is {value}).",
        "Pass one of the two.",
        "TRL raises a ValueError, since two adapters would be stacked.",
        f"trl 1.16.0 trl/trainer/sft_trainer.py; {PEFT} mapping_func.py warns",
        {"peft_applied_twice": False},
    ),
    Rule(
        "quantised-without-adapter",
        Severity.BLOCK,
        "has_adapter",
        lambda s: s.quantised and not s.has_adapter,
        "quantised weights without adapters",
        "Quantised weights cannot be trained, and there is no adapter (has_adapter is {value}).",
        "Add a LoRA adapter, or load the model unquantised.",
        "Trainer refuses to fine-tune purely quantised models.",
        f"{TRANSFORMERS} trainer_utils.py validate_quantization_for_training",
        {"has_adapter": True},
    ),
    Rule(
        "quantised-compiled-first",
        Severity.BLOCK,
        "compiled_before_trainer",
        lambda s: s.quantised and s.compiled_before_trainer,
        "a quantised model that is compiled before the trainer gets it",
        "Trainer refuses a quantised model that was compiled before (compiled_before_trainer is {value}).",
        "Use the training argument torch_compile instead.",
        "Adapters must be attached before compiling.",
        f"{TRANSFORMERS} trainer_utils.py validate_quantization_for_training",
        {"compiled_before_trainer": False},
    ),
    Rule(
        "new-tokens-not-trained",
        Severity.WARN,
        "resize_vocab",
        lambda s: s.resize_vocab and s.adapters and not s.modules_to_save and not s.trainable_tokens,
        "a vocabulary that grows while embeddings stay frozen",
        "The vocabulary grows ({value}), but embeddings are frozen, so that new rows keep their initial values.",
        "Name the new tokens in trainable_token_indices, or embed_tokens and lm_head in modules_to_save.",
        "PEFT saves resized embeddings whole by itself, yet trains none of them.",
        f"{PEFT} utils/save_and_load.py; {REPRODUCED}",
        {"trainable_tokens": True},
    ),
    Rule(
        "new-tokens-resize-first",
        Severity.INFO,
        "resize_vocab",
        lambda s: s.resize_vocab and s.adapters and s.export in ("adapter", "vllm_adapter", "merge16"),
        "an adapter for a vocabulary that grew",
        "The adapter fits a base with the grown vocabulary only ({value}).",
        "Save the tokenizer beside it, and resize the base before loading the adapter.",
        "Loading on the original base fails with a size mismatch.",
        f"{REPRODUCED}",
    ),
    Rule(
        "modules-to-save-large",
        Severity.INFO,
        "modules_to_save",
        lambda s: s.modules_to_save and s.adapters and s.task != "seq_cls" and s.strategy in ("ddp", "zero1", "zero2"),
        "modules trained whole beside adapters, where every GPU keeps them",
        "Modules trained whole (modules_to_save) keep copies with gradients and optimizer states on every GPU.",
        "For new tokens prefer trainable_token_indices; for embeddings a LoRA adapter.",
        "An embedding and a head of 128,000 x 4,096 take 16 GiB so, with float32 moments.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/developer_guides/memory_efficient_training.md",
        concerns=Concerns.ALL,
    ),
    Rule(
        "experts-not-quantised",
        Severity.WARN,
        "method",
        lambda s: (
            s.quantised
            and s.architecture is not None
            and (s.ours or s.versions.get("transformers", "").startswith("5."))
            and 2 * sizes.in_experts(s.architecture) > s.architecture.parameters
        ),
        "quantised weights of a mixture of experts with Transformers 5",
        "{value} leaves most of this model in 16 bit: its experts are no linear layers.",
        "Plan memory for 16-bit experts, or choose a model without experts.",
        "Transformers 5 keeps experts as fused parameters, which bitsandbytes passes by.",
        f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py replaces nn.Linear alone; the model's config.json",
        concerns=Concerns.ALL,
    ),
    Rule(
        "experts-get-no-adapters",
        Severity.INFO,
        "method",
        lambda s: (
            s.ours
            and s.adapters
            and s.architecture is not None
            and sizes.in_experts(s.architecture) > 0
            and not _adapts_experts(s)
        ),
        "adapters of ours on a mixture of experts whose experts get none",
        "The adapters of {value} pass by the experts of this model, which are fused parameters.",
        "Nothing is wrong; attention and shared layers are adapted.",
        "PEFT finds fused experts in some families only, and only by all-linear or their former names.",
        f"{PEFT} tuners/lora/layer.py ParamWrapper; the model's config.json",
        concerns=Concerns.OURS,
    ),
    Rule(
        "experts-dropout",
        Severity.BLOCK,
        "method.lora.dropout",
        lambda s: _adapts_experts(s) and s.config is not None and s.config.method.lora.dropout > 0,
        "adapters of ours on fused experts, with dropout",
        lambda s: f"PEFT refuses dropout {s.config.method.lora.dropout if s.config else ''} on fused experts.",
        "Set it to 0, or name target modules outside the experts.",
        "The adapter of a fused parameter is added to the weight, where its inputs are out of reach.",
        f"{PEFT} tuners/lora/layer.py ParamWrapper",
        {"method.lora.dropout": 0.0},
        concerns=Concerns.OURS,
    ),
    Rule(
        "experts-dora",
        Severity.BLOCK,
        "dora",
        lambda s: _adapts_experts(s) and s.dora,
        "adapters of ours on fused experts, with DoRA",
        "PEFT refuses DoRA ({value}) on fused experts.",
        "Turn it off, or name target modules outside the experts.",
        "Fused parameters have no layer that takes magnitudes.",
        f"{PEFT} tuners/lora/layer.py ParamWrapper",
        {"dora": False},
        concerns=Concerns.OURS,
    ),
)
