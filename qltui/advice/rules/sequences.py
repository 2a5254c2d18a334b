"""Long sequences, packing, and fused losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, GITHUB, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound
from qltui.facts.models.isolation import mixes_rows

if TYPE_CHECKING:
    from qltui.advice.setup import Setup

FUSED_HEAD = 256
"""Widest head for which Transformers hands grouped keys to torch as they are."""
WORTH_SAYING = 2**30
"""Bytes of attention scores from which on they are worth a warning."""


def _score_bytes(setup: Setup) -> int:
    """Bytes of the scores that float32 attention with grouped keys keeps, of one layer, or of all that keep theirs.

    Rows are the micro batch, all of them as long as the longest; a layer that recomputes keeps none for long.
    """
    architecture, length = setup.architecture, setup.max_length
    if architecture is None or not length:
        return 0
    layers = 1 if setup.checkpoints else architecture.depth
    return 4 * setup.batch_size * architecture.heads * length**2 * layers


def _computes_grouped_in_float32(setup: Setup) -> bool:
    architecture = setup.architecture
    return (
        setup.precision == "fp32"
        and setup.model_dtype == "float32"
        and setup.nvidia
        and setup.attn in ("", "sdpa")
        and architecture is not None
        and architecture.kv_heads < architecture.heads
        and architecture.head_dim <= FUSED_HEAD
    )


RULES = (
    Rule(
        "float32-keeps-attention-scores",
        Severity.WARN,
        "precision",
        lambda s: _computes_grouped_in_float32(s) and _score_bytes(s) >= WORTH_SAYING,
        "float32 attention of a model with grouped keys (GQA) on CUDA, long rows",
        lambda s: (
            f"In float32 no fused kernel takes grouped keys, so that all attention scores are kept: "
            f"{_score_bytes(s) / 2**30:.0f} GiB for rows of {s.max_length} tokens"
            f"{' in each layer that recomputes' if s.checkpoints else ' over all layers'}."
        ),
        "Use bf16, or fp16 on GPUs before compute capability 8.0.",
        "Transformers passes grouped keys to torch where no mask is needed; of its CUDA kernels FlashAttention takes"
        " them, in 16 bit alone, and what is left computes and keeps every score.",
        f"{TRANSFORMERS} integrations/sdpa_attention.py use_gqa_in_sdpa; torch 2.13.0 nn/functional.py"
        " scaled_dot_product_attention; qltui/advice/memory/activations.py",
        lambda s: {"precision": "bf16" if s.gpu_cc >= 8.0 else "fp16"},
        concerns=Concerns.ALL,
    ),
    Rule(
        "beyond-context-length",
        Severity.WARN,
        "max_length",
        lambda s: (
            s.architecture is not None and s.max_length is not None and 0 < s.architecture.context_length < s.max_length
        ),
        "sequences longer than the model was made for",
        "Sequences of up to {value} tokens are longer than the {architecture.context_length} this model was made for.",
        "Set it to the model's context length or less, unless its positions are meant to be stretched.",
        "Learned positions fail beyond it; rotary ones lose quality.",
        "max_position_embeddings in the model's config.json",
        lambda s: {"max_length": s.architecture.context_length if s.architecture else s.max_length},
        concerns=Concerns.ALL,
    ),
    Rule(
        "packing-mixes-examples",
        Severity.WARN,
        "attn",
        lambda s: s.packing and s.attn in ("sdpa", "eager"),
        "packing with an attention that cannot tell examples apart",
        "Packed examples may attend to each other with {value} attention.",
        "Use a FlashAttention variant, or turn packing off.",
        "These releases keep packed examples apart by variable-length attention alone; a loss 0.03 to 0.15 higher was"
        " reported. Newer ones mask by the positions that begin anew.",
        f"{GITHUB}/huggingface/trl/issues/3910; {TRANSFORMERS} masking_utils.py find_packed_sequence_indices",
        {"packing": False},
        versions=(Bound("transformers", before="4.53.0"),),
    ),
    Rule(
        "packing-mixes-rows",
        Severity.BLOCK,
        "packing",
        lambda s: s.packing and s.architecture is not None and mixes_rows(s.architecture),
        "packing with a model that cannot keep rows apart",
        "Rows of a packed sequence would see each other: {architecture.model_type} models do not keep them apart.",
        "Turn packing off.",
        "Rows are told apart by positions that begin anew. Some families do not hand them to the mask of attention, and"
        " linear attention or a state space keeps a state that goes on from row to row.",
        f"tests/engine/test_packed_rows.py; {TRANSFORMERS} masking_utils.py find_packed_sequence_indices",
        {"packing": False},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "ulysses-old-deepspeed",
        Severity.BLOCK,
        "sequence_parallel",
        lambda s: s.sequence_parallel == "ulysses",
        "Ulysses sequence parallelism with an older DeepSpeed",
        "{value} needs DeepSpeed 0.18.2 or newer.",
        "Update deepspeed.",
        "It is part of DeepSpeed; Accelerate raises an ImportError.",
        f"{ACCELERATE} accelerator.py _prepare_deepspeed",
        versions=(Bound("deepspeed", before="0.18.2"),),
    ),
    Rule(
        "ulysses-without-deepspeed",
        Severity.WARN,
        "sequence_parallel",
        lambda s: s.sequence_parallel == "ulysses" and (s.fsdp or s.strategy in ("single", "ddp", "pipeline")),
        "Ulysses sequence parallelism without DeepSpeed",
        "{value} is part of DeepSpeed, and the strategy is {strategy}.",
        "Use a ZeRO stage, or context parallelism under FSDP2.",
        "Accelerate sets it up in its DeepSpeed path alone.",
        f"{ACCELERATE} accelerator.py _prepare_deepspeed, parallelism_config.py",
        {"strategy": "zero3"},
    ),
    Rule(
        "context-parallel-without-fsdp2",
        Severity.BLOCK,
        "sequence_parallel",
        lambda s: (
            s.sequence_parallel == "cp"
            and s.engine != "axolotl"
            and (s.strategy in ("single", "ddp", "pipeline", "fsdp1") or s.zero)
        ),
        "context parallelism without FSDP2",
        "Context parallelism ({value}) needs FSDP2, and the strategy is {strategy}.",
        "Use FSDP2.",
        "Accelerate raises: cp_size above 1 needs an FSDP2 plugin.",
        f"{ACCELERATE} state.py",
        {"sequence_parallel": None},
    ),
    Rule(
        "context-parallel-attention",
        Severity.BLOCK,
        "attn",
        lambda s: (
            s.sequence_parallel == "cp" and s.engine in ("hf", "trl") and s.attn in ("fa2", "fa3", "fa4", "eager")
        ),
        "context parallelism in Trainer with another attention than sdpa",
        "Trainer's context parallelism works with sdpa alone, and the attention is {value}.",
        "Use sdpa.",
        "It raises a ValueError at the first step.",
        f"{TRANSFORMERS} trainer.py _prepare_context_parallel_inputs",
        {"attn": "sdpa"},
    ),
    Rule(
        "liger-loss-zero3",
        Severity.WARN,
        "liger",
        lambda s: s.liger and s.strategy == "zero3" and s.trainer in ("trl_dpo", "trl_kto", "trl_grpo"),
        "Liger's fused preference losses under ZeRO-3",
        "Liger's fused loss ({value}) sees an empty lm_head under ZeRO-3 in this trainer.",
        "Update TRL to a release after July 2026, or turn Liger off.",
        "The weight was read past the hook that gathers it.",
        f"{GITHUB}/huggingface/trl/pull/5891, /6372",
        {"liger": False},
    ),
    Rule(
        "liger-loss-trained-head",
        Severity.INFO,
        "liger",
        lambda s: s.liger and s.shards_weights and s.modules_to_save,
        "Liger with modules trained whole under sharding",
        "If lm_head is among the modules trained whole, Liger's fused cross-entropy ({value}) reads the frozen one.",
        "Turn fused_linear_cross_entropy off in liger_kernel_config.",
        "It takes the weight of lm_head without calling the module that PEFT wrapped.",
        f"{GITHUB}/linkedin/Liger-Kernel/issues/631, /48; {GITHUB}/hiyouga/LlamaFactory/issues/5879",
        {"liger": False},
    ),
)
