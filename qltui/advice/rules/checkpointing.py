"""Activation checkpointing: layers that recompute instead of keeping activations."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import GITHUB, MEASURED, PEFT, REPRODUCED, TORCH, TRANSFORMERS, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "kbit-prepare-chooses-reentrant",
        Severity.INFO,
        "use_reentrant",
        lambda s: s.gc == "hf" and s.kbit_prepare and s.use_reentrant is None,
        "prepare_model_for_kbit_training without saying which checkpointing",
        "use_reentrant is left open ({value}): prepare_model_for_kbit_training chooses reentrant checkpointing, Trainer"
        " the other.",
        "Set it explicitly in both places.",
        "Empty arguments reach torch, whose default is reentrant.",
        f"{PEFT} utils/other.py; {TORCH} utils/checkpoint.py",
        {"use_reentrant": False},
    ),
    Rule(
        "reentrant-without-input-gradients",
        Severity.BLOCK,
        "input_require_grads",
        lambda s: s.checkpoints and s.use_reentrant is True and s.adapters and not s.input_require_grads,
        "reentrant checkpointing of adapters without gradients on the inputs",
        "Reentrant checkpointing passes no gradient to adapters when inputs require none.",
        "Call enable_input_require_grads(), or use non-reentrant checkpointing.",
        "Embeddings are frozen, so nothing that enters the first layer requires a gradient.",
        f"{REPRODUCED}; {TORCH} utils/checkpoint.py",
        {"use_reentrant": False},
    ),
    Rule(
        "gradient-checkpointing-renamed",
        Severity.INFO,
        "uses_gradient_checkpointing_arg",
        lambda s: s.uses_gradient_checkpointing_arg and s.engine in ("hf", "trl"),
        "the argument gradient_checkpointing with Transformers 5.23 or newer",
        "gradient_checkpointing ({value}) is now called activation_checkpointing.",
        "Rename it before Transformers 6, which drops the old name.",
        "The naming follows torch.",
        f"{TRANSFORMERS} training_args.py",
        versions=(Bound("transformers", since="5.23.0"),),
    ),
    Rule(
        "checkpointed-router-trained",
        Severity.WARN,
        "lora_targets_router",
        lambda s: s.checkpoints and s.moe and s.method in ("lora", "qlora4") and s.lora_targets_router,
        "checkpointing of a mixture of experts whose router is trained",
        "Adapters on the router ({value}) may route tokens otherwise when a layer is recomputed, and the"
        " backward fails.",
        "Leave router and gate out of the target modules.",
        "Shapes of experts' inputs then differ between forward and recomputation.",
        f"{GITHUB}/pytorch/pytorch/issues/171355",
        {"lora_targets_router": False},
    ),
    Rule(
        "fsdp-reentrant-needless",
        Severity.INFO,
        "use_reentrant",
        lambda s: s.fsdp and s.use_reentrant is True and s.gc == "hf",
        "reentrant checkpointing under FSDP",
        "use_reentrant {value} is no longer needed under {strategy}.",
        "Prefer false, Trainer's default, unless memory measured says otherwise.",
        "The advice comes from a difference in memory seen in 2024; both variants train today, with the same peak.",
        f"{MEASURED}: 972 MiB with either; {REPRODUCED}",
        {"use_reentrant": False},
        versions=(Bound("transformers", since="5.0.0"),),
    ),
)
