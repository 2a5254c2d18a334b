"""How 4-bit weights are stored, which decides whether they survive being moved and cast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.findings import Severity
from qltui.advice.rule import (
    ACCELERATE,
    BITSANDBYTES,
    DEEPSPEED,
    GITHUB,
    MEASURED,
    PEFT,
    REPRODUCED,
    TORCH,
    TRANSFORMERS,
    Concerns,
    Rule,
)
from qltui.advice.versions import Bound

if TYPE_CHECKING:
    from qltui.advice.setup import Setup


def _stored_as_computed(s: Setup) -> bool:
    """Whether FSDP2 gathers 4-bit weights on CUDA as a 16-bit type, in a group that is all of that type."""
    gathered = s.method == "qlora4" and s.strategy == "fsdp2" and s.nvidia
    return gathered and s.computes_16bit and s.storage_is_precision


def _as_bytes(s: Setup) -> dict[str, str]:
    """Weights stored as bytes, which nothing casts; LLaMA-Factory has no key to say it."""
    return {} if s.engine == "llamafactory" else {"quant_storage": "uint8"}


RULES = (
    Rule(
        "fsdp2-4bit-storage-damaged",
        Severity.BLOCK,
        "quant_storage",
        _stored_as_computed,
        "QLoRA under FSDP2 on CUDA, 4-bit weights stored in the 16-bit type that is computed in",
        "FSDP2 damages 4-bit weights stored as {value} while it gathers them on CUDA.",
        "Store them as uint8 where the 4-bit model fits every GPU (they are not sharded then), or use DeepSpeed"
        " ZeRO-3.",
        "Its copy into the gather buffer rewrites NaN patterns of 16-bit types, which packed 4-bit bytes contain; the"
        " loss stays plausible and nothing is said.",
        f"{MEASURED}: 0.25 % of the weights changed, forward off by 0.12; torch._foreach_copy_ in {TORCH}"
        " distributed/fsdp/_fully_shard/_fsdp_collectives.py;"
        f" {GITHUB}/bitsandbytes-foundation/bitsandbytes/issues/1945",
        _as_bytes,
        versions=(Bound("torch", since="2.11.0"),),
    ),
    Rule(
        "fsdp2-4bit-storage-cast",
        Severity.BLOCK,
        "quant_storage",
        lambda s: (
            s.method == "qlora4"
            and s.strategy == "fsdp2"
            and s.computes_16bit
            and s.storage_is_float
            and not s.storage_is_precision
        ),
        "QLoRA under FSDP2 in mixed precision, 4-bit weights stored as another floating type than is computed in",
        "FSDP2 casts 4-bit weights stored as {value} to {precision} by value, which rewrites the packed bytes.",
        "Store them as uint8, or use DeepSpeed ZeRO-3.",
        "MixedPrecisionPolicy casts every floating parameter it gathers; 16-bit types become garbage silently, float32"
        " crashes in the first forward.",
        f"{TORCH} distributed/fsdp/_fully_shard/_fsdp_param.py init_dtype_attrs; {REPRODUCED}",
        _as_bytes,
    ),
    Rule(
        "fsdp2-4bit-storage-unproven",
        Severity.WARN,
        "quant_storage",
        _stored_as_computed,
        "QLoRA under FSDP2 on CUDA, 4-bit weights stored in the 16-bit type that is computed in, with an older torch",
        "FSDP2 may damage 4-bit weights stored as {value} while it gathers them on CUDA.",
        "Compare the first losses with a run on one GPU, or use DeepSpeed ZeRO-3.",
        "The copy that rewrites NaN patterns of 16-bit types was measured with torch 2.11, not with this one.",
        f"{GITHUB}/bitsandbytes-foundation/bitsandbytes/issues/1945, open",
        versions=(Bound("torch", before="2.11.0"),),
    ),
    Rule(
        "fsdp2-uint8-replicated",
        Severity.WARN,
        "quant_storage",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp2" and s.quant_storage == "uint8",
        "QLoRA under FSDP2, 4-bit weights stored as uint8",
        "4-bit weights stored as {value} are not sharded by FSDP2: every GPU keeps all of them.",
        "Keep it if the 4-bit model fits every GPU, else use DeepSpeed ZeRO-3, which shards them; a 16-bit type would"
        " damage them on CUDA.",
        "Accelerate leaves parameters that are not floating out of fully_shard and warns once.",
        f"{MEASURED}: 79 % held by each of 2 ranks; {ACCELERATE} utils/fsdp_utils.py fsdp2_prepare_model",
        versions=(Bound("accelerate", since="1.14.0"),),
    ),
    Rule(
        "fsdp2-uint8-old-accelerate",
        Severity.BLOCK,
        "quant_storage",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp2" and s.quant_storage == "uint8",
        "QLoRA under FSDP2, 4-bit weights stored as uint8, with an older Accelerate",
        "This Accelerate shards 4-bit weights stored as {value}, which crashes or trains with loss 0.",
        "Update accelerate to 1.14 or newer.",
        "Integer weights lose their quantisation state when they become DTensors.",
        f"{GITHUB}/huggingface/accelerate/issues/3983, mended by pull 3987",
        versions=(Bound("accelerate", before="1.14.0"),),
    ),
    Rule(
        "fsdp2-uint8-old-torch",
        Severity.BLOCK,
        "quant_storage",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp2" and s.quant_storage == "uint8",
        "QLoRA under FSDP2, 4-bit weights stored as uint8, with an older torch",
        "This torch cannot leave 4-bit weights stored as {value} out of FSDP2, and sharding them fails.",
        "Update torch to 2.7 or newer.",
        "The parameters to leave out are passed as ignored_params, which torch has since 2.7.",
        f"{ACCELERATE} utils/fsdp_utils.py fsdp2_prepare_model",
        versions=(Bound("torch", before="2.7.0"),),
    ),
    Rule(
        "fsdp1-4bit-uint8",
        Severity.BLOCK,
        "quant_storage",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp1" and s.quant_storage == "uint8",
        "QLoRA under FSDP1, 4-bit weights stored as uint8",
        "FSDP1 cannot flatten 4-bit weights stored as {value}.",
        "Store them as the model's own type, such as bfloat16.",
        "A flat parameter is one floating type: Cannot flatten integer dtype tensors.",
        f"{MEASURED}; {TORCH} distributed/fsdp/_flat_param.py",
        lambda s: {"quant_storage": s.model_dtype if s.model_dtype in ("bfloat16", "float16") else "bfloat16"},
    ),
    Rule(
        "fsdp1-4bit-storage-not-model-type",
        Severity.BLOCK,
        "quant_storage",
        lambda s: (
            s.method == "qlora4"
            and s.strategy == "fsdp1"
            and s.storage_is_float
            and s.model_dtype in ("bfloat16", "float16", "float32")
            and s.model_dtype != s.quant_storage
        ),
        "QLoRA under FSDP1, 4-bit weights stored as another type than the model's",
        "FSDP1 refuses 4-bit weights stored as {value} beside norms and embeddings in {model_dtype}.",
        "Store them as the type the model is loaded in.",
        "Parameters flattened together must be of one type: Must flatten tensors with uniform dtype.",
        f"{REPRODUCED}; {GITHUB}/huggingface/peft/blob/main/docs/source/accelerate/fsdp.md",
        lambda s: {"quant_storage": s.model_dtype},
    ),
    Rule(
        "fsdp1-4bit-prepared-for-kbit",
        Severity.BLOCK,
        "kbit_prepare",
        lambda s: s.method == "qlora4" and s.strategy == "fsdp1" and s.kbit_prepare,
        "QLoRA under FSDP1 after prepare_model_for_kbit_training",
        "prepare_model_for_kbit_training ({value}) makes norms float32, and FSDP1 refuses two types in one unit.",
        "Leave it out, and enable checkpointing and input gradients alone.",
        "It casts every 16-bit parameter that is not 4-bit to float32.",
        f"{PEFT} utils/other.py prepare_model_for_kbit_training; {REPRODUCED}",
        {"kbit_prepare": False},
    ),
    Rule(
        "fsdp-4bit-old-bitsandbytes",
        Severity.BLOCK,
        "method",
        lambda s: s.method == "qlora4" and s.fsdp,
        "QLoRA under FSDP with a bitsandbytes that cannot store 4-bit weights as another type",
        "{method} under {strategy} needs a newer bitsandbytes.",
        "Update bitsandbytes to 0.43.3 or newer.",
        "Without quant_storage sharding fails: 'Parameter' object has no attribute 'compress_statistics'.",
        "PEFT's guide to FSDP with QLoRA names 0.43.3 as the oldest that works",
        versions=(Bound("bitsandbytes", before="0.43.3"),),
    ),
    Rule(
        "zero-4bit-storage-cast",
        Severity.BLOCK,
        "quant_storage",
        lambda s: (
            s.method == "qlora4" and s.zero and s.computes_16bit and s.storage_is_float and not s.storage_is_precision
        ),
        "QLoRA under DeepSpeed, 4-bit weights stored as another floating type than is computed in",
        "DeepSpeed casts 4-bit weights stored as {value} to {precision} by value, which rewrites the packed bytes.",
        "Store them as uint8, which is never cast.",
        "The engine casts every floating parameter at each ZeRO stage; 16-bit types become garbage silently, float32"
        " crashes in the first forward.",
        f"{DEEPSPEED} runtime/engine.py _cast_module_mixed_precision; {REPRODUCED}: output off by 1.1",
        _as_bytes,
    ),
    Rule(
        "4bit-fp4",
        Severity.INFO,
        "quant_type",
        lambda s: s.method == "qlora4" and s.quant_type == "fp4",
        "QLoRA with fp4, the default of bitsandbytes",
        "The 4-bit type is {value}.",
        "Choose nf4, which QLoRA is described with and which fits normally distributed weights better.",
        "BitsAndBytesConfig falls back to fp4 where bnb_4bit_quant_type is left out.",
        f"{TRANSFORMERS} utils/quantization_config.py BitsAndBytesConfig",
        {"quant_type": "nf4"},
        concerns=Concerns.ALL,
    ),
    Rule(
        "4bit-computed-in-float32",
        Severity.INFO,
        "compute_dtype",
        lambda s: s.method == "qlora4" and s.compute_dtype == "float32" and s.computes_16bit,
        "QLoRA in mixed precision whose 4-bit layers compute in float32",
        "4-bit layers compute in {value} although the run is in {precision}, which is several times slower.",
        "Set bnb_4bit_compute_dtype to the type of the run.",
        "float32 is the default where bnb_4bit_compute_dtype is left out.",
        f"{TRANSFORMERS} utils/quantization_config.py; {BITSANDBYTES} nn/modules.py set_compute_type",
        lambda s: {"compute_dtype": "bfloat16" if s.precision == "bf16" else "float16"},
    ),
    Rule(
        "quantised-cast-after-load",
        Severity.BLOCK,
        "cast_after_load",
        lambda s: s.quantised and s.cast_after_load,
        "a quantised model that is cast after it was loaded",
        "A quantised model cannot be cast after it was loaded, as by half().",
        "Choose the type in from_pretrained; moving it to a device is fine.",
        "Transformers raises a ValueError, as the cast would destroy packed weights.",
        f"{TRANSFORMERS} modeling_utils.py PreTrainedModel.to, half, float; {REPRODUCED}",
        {"cast_after_load": False},
    ),
)
