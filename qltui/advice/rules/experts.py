"""Mixtures of experts, whose experts Transformers 5 keeps as fused parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice import sizes
from qltui.advice.findings import Severity
from qltui.advice.rule import PEFT, REPRODUCED, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qltui.advice.setup import Setup

ALL_LINEAR = "all-linear"
NAMING_THEMSELVES = ("axolotl", "llamafactory")
"""Programs that list the linear layers they find, where PEFT's all-linear would name experts too."""
WRAPPER = f"{PEFT} tuners/lora/layer.py ParamWrapper, utils/transformers_weight_conversion.py; {REPRODUCED}"
CONVERTED = (Bound("peft", since="0.20.0"), Bound("transformers", since="5.0.0"))
"""Since when PEFT takes the former names of experts, all-linear among them, for the fused parameters."""


def _targets(setup: Setup) -> Iterable[str]:
    """Names that adapters are asked for, without the modules they are in."""
    if setup.config is None:
        return {name.rpartition(".")[2] for name in setup.lora_targets}
    named = setup.config.method.lora.target_modules
    return {named} if isinstance(named, str) else {name.rpartition(".")[2] for name in named}


def _fused(setup: Setup) -> set[frozenset[str]]:
    """For each fused parameter that PEFT knows, the names of the linear layers it was made of."""
    architecture = setup.architecture
    if architecture is None or not setup.adapters:
        return set()
    return {frozenset(linear.formerly) for _, linear in architecture.linears() if linear.formerly}


def _adapts_experts(setup: Setup) -> bool:
    """Whether adapters are put on fused parameters: by all-linear, or by the names they had."""
    targets = set(_targets(setup))
    if ALL_LINEAR in targets:
        return bool(_fused(setup)) and setup.engine not in NAMING_THEMSELVES
    return any(names <= targets for names in _fused(setup))


def _lacking(setup: Setup) -> list[str]:
    """Names that must be targets too, as what is named is fused with them."""
    targets = set(_targets(setup))
    return sorted({name for names in _fused(setup) if names & targets for name in names - targets})


def _has_experts(setup: Setup) -> bool:
    return setup.architecture is not None and sizes.in_experts(setup.architecture) > 0


def _with_lacking(setup: Setup) -> dict[str, list[str]]:
    if setup.config is None:
        return {"lora_targets": [*setup.lora_targets, *_lacking(setup)]}
    return {"method.lora.target_modules": [*setup.config.method.lora.target_modules, *_lacking(setup)]}


RULES = (
    Rule(
        "experts-not-quantised",
        Severity.WARN,
        "method",
        lambda s: (
            s.quantised
            and s.architecture is not None
            and s.versions.get("transformers", "").startswith("5.")
            and 2 * sizes.in_experts(s.architecture) > s.architecture.parameters
        ),
        "quantised weights of a mixture of experts with Transformers 5",
        "{value} leaves most of this model in 16 bit: its experts are no linear layers.",
        "Plan memory for 16-bit experts, or choose a model without experts.",
        "Transformers 5 keeps experts as fused parameters, which bitsandbytes passes by.",
        f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py replaces nn.Linear alone; the model's config.json",
        concerns=Concerns.OTHERS,
    ),
    Rule(
        "experts-get-no-adapters",
        Severity.INFO,
        "method",
        lambda s: s.ours and s.adapters and _has_experts(s) and not _adapts_experts(s),
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
        WRAPPER,
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
        WRAPPER,
        {"dora": False},
        concerns=Concerns.OURS,
    ),
    Rule(
        "experts-named-by-halves",
        Severity.BLOCK,
        "method.lora.target_modules",
        lambda s: bool(_lacking(s)) and ALL_LINEAR not in _targets(s),
        "adapters of ours on one of two matrices that are fused into one parameter",
        lambda s: f"PEFT cannot adapt fused experts by halves: {', '.join(_lacking(s))} must be targets too.",
        "Name them, or leave the experts out.",
        "Both stand in one parameter, gate_up_proj.",
        WRAPPER,
        _with_lacking,
        concerns=Concerns.OURS,
    ),
    Rule(
        "peft-experts-named-by-halves",
        Severity.BLOCK,
        "lora_targets",
        lambda s: bool(_lacking(s)) and ALL_LINEAR not in _targets(s),
        "adapters on one of two matrices that are fused into one parameter",
        lambda s: f"PEFT cannot adapt fused experts by halves: {', '.join(_lacking(s))} must be targets too.",
        "Name them, or leave the experts out.",
        "Both stand in one parameter, gate_up_proj: Cannot convert PEFT target(s) without also targeting the other.",
        WRAPPER,
        _with_lacking,
        versions=CONVERTED,
    ),
    Rule(
        "peft-experts-dropout",
        Severity.BLOCK,
        "lora_dropout",
        lambda s: s.adapters and s.lora_dropout > 0 and _adapts_experts(s),
        "adapters on fused experts, by all-linear or their former names, with dropout",
        "PEFT refuses lora_dropout {value} on fused experts, which these target modules reach.",
        "Set it to 0, or name target modules outside the experts.",
        "The adapter of a fused parameter is added to the weight, where its inputs are out of reach: lora.ParamWrapper"
        " does not work with lora_dropout != 0.",
        WRAPPER,
        {"lora_dropout": 0.0},
        versions=CONVERTED,
    ),
    Rule(
        "peft-experts-dora",
        Severity.BLOCK,
        "dora",
        lambda s: s.dora and _adapts_experts(s),
        "adapters on fused experts, by all-linear or their former names, with DoRA",
        "PEFT refuses DoRA ({value}) on fused experts, which these target modules reach.",
        "Turn it off, or name target modules outside the experts.",
        "Fused parameters have no layer that takes magnitudes.",
        WRAPPER,
        {"dora": False},
        versions=CONVERTED,
    ),
    Rule(
        "peft-experts-get-no-adapters",
        Severity.INFO,
        "lora_targets",
        lambda s: (
            s.adapters
            and bool(s.lora_targets)
            and _has_experts(s)
            and not s.target_parameters
            and not _adapts_experts(s)
        ),
        "adapters on a mixture of experts whose experts get none",
        "These target modules pass by the experts of this model, which are fused parameters.",
        "Nothing is wrong if attention shall be adapted; else name the parameters in target_parameters.",
        "PEFT finds fused experts in some families only, and only by all-linear or their former names.",
        f"{WRAPPER}: gpt_oss and qwen2_moe, by whatever names",
        versions=(Bound("transformers", since="5.0.0"),),
    ),
    Rule(
        "peft-parameters-dropout",
        Severity.BLOCK,
        "lora_dropout",
        lambda s: s.adapters and s.target_parameters and s.lora_dropout > 0,
        "adapters on parameters by their names, with dropout",
        "PEFT refuses lora_dropout {value} with lora_target_parameters.",
        "Set it to 0.",
        "The adapter of a parameter is added to it, where its inputs are out of reach; Axolotl checks it as well.",
        f"{WRAPPER}; axolotl 0.19.0 src/axolotl/utils/schemas/peft.py validate_lora_target_parameters_dropout",
        {"lora_dropout": 0.0},
    ),
)
