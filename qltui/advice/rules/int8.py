"""8-bit weights, which carry their scales beside the parameter."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import BITSANDBYTES, GITHUB, MEASURED, REPRODUCED, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "fsdp-int8",
        Severity.BLOCK,
        "method",
        lambda s: s.method == "int8" and s.fsdp and not (s.engine == "axolotl" and s.strategy == "fsdp2"),
        "int8 weights under FSDP1 or FSDP2, but for Axolotl's own FSDP2",
        "{value} does not survive {strategy}: it flattens or replaces the int8 parameters and loses their scales.",
        "Use DDP or ZeRO-2 with int8, or DeepSpeed ZeRO-3 with 4-bit weights.",
        "FSDP1 says Cannot flatten integer dtype tensors, FSDP2 says only Tensors of floating point dtype can require"
        " gradients or 'Parameter' object has no attribute 'CB'.",
        f"{MEASURED}; {GITHUB}/huggingface/peft/issues/2505",
        {"strategy": "ddp"},
    ),
    Rule(
        "zero3-int8-keeps-copies",
        Severity.WARN,
        "method",
        lambda s: s.method == "int8" and s.strategy == "zero3",
        "int8 weights under ZeRO-3",
        "{value} under ZeRO-3 runs, but saves no memory: every GPU keeps a whole int8 copy.",
        "Use ZeRO-2, or 4-bit weights with ZeRO-3.",
        "Each layer holds a second reference (CB) to its whole weight, which partitioning does not release.",
        f"{BITSANDBYTES} nn/modules.py Int8Params; {REPRODUCED}; {MEASURED}: peak 2,499 MiB where nf4 takes 1,374",
        {"strategy": "zero2"},
    ),
    Rule(
        "int8-cannot-move",
        Severity.WARN,
        "method",
        lambda s: s.method == "int8" and s.zero,
        "int8 weights under DeepSpeed with an older bitsandbytes",
        "{value} fails under DeepSpeed with this bitsandbytes: .to is not supported for 8-bit models.",
        "Update bitsandbytes to 0.48 or newer.",
        "DeepSpeed moves the model to its device; moving int8 parameters was learnt in 0.48.",
        f"{TRANSFORMERS} modeling_utils.py PreTrainedModel.to",
        versions=(Bound("bitsandbytes", before="0.48.0"),),
    ),
    Rule(
        "int8-old-gpu",
        Severity.INFO,
        "method",
        lambda s: s.method == "int8" and s.nvidia and 6.0 <= s.gpu_cc < 7.5,
        "int8 weights on GPUs of compute capability below 7.5",
        "{value} takes a slow path on compute capability {gpu_cc}, which has no int8 tensor cores.",
        "Prefer 4-bit or 16-bit weights there.",
        "int8 matrix products on tensor cores need 7.5.",
        f"{BITSANDBYTES} cuda_specs.py has_imma, diagnostics/cuda.py",
        concerns=Concerns.ALL,
    ),
)
