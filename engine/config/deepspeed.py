"""The DeepSpeed configuration of a run: made here once, used by the engine and shown as ``deepspeed.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.choices import Compute, Method, StrategyName

if TYPE_CHECKING:
    from typing import Any

    from engine.config.run_config import RunConfig

STAGES = {StrategyName.ZERO1: 1, StrategyName.ZERO2: 2, StrategyName.ZERO3: 3}

ADAPTER_BUCKET = 1 << 23
FULL_BUCKET = 1 << 27
"""Numbers reduced at once. DeepSpeed's own 5e8 reserves gigabytes, which adapters never fill."""


def deepspeed_config(config: RunConfig, compute: Compute, hidden_size: int) -> dict[str, Any]:
    """What ``deepspeed.initialize`` gets. ``compute`` is the resolved precision, ``hidden_size`` the model's.

    Fields: https://www.deepspeed.ai/docs/config-json/
    """
    training, stage = config.training, STAGES[config.strategy.name]
    full = config.method.name is Method.FULL
    zero: dict[str, Any] = {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": False,
        "reduce_bucket_size": FULL_BUCKET if full else ADAPTER_BUCKET,
        "allgather_bucket_size": FULL_BUCKET if full else ADAPTER_BUCKET,
    }
    if stage == 3:
        zero |= {
            # It would replace torch's own linear function for the whole process; see engine/strategy/saved_weights.py.
            "memory_efficient_linear": False,
            # Norms and biases stay whole on every rank; everything wider is partitioned.
            "stage3_param_persistence_threshold": hidden_size,
            # Gathered weights go as soon as a layer is through: kept for reuse, models below 1e9 never get smaller.
            "stage3_max_live_parameters": FULL_BUCKET,
            "stage3_max_reuse_distance": 0,
            "stage3_prefetch_bucket_size": FULL_BUCKET // 4,
        }
    if config.strategy.offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if config.strategy.offload_parameters:
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": training.micro_batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "gradient_clipping": training.max_grad_norm,
        "zero_optimization": zero,
        # torch's AdamW is what was asked for; on the host DeepSpeed would put its own in its place.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        # Gradients are summed as exactly as under every other strategy.
        "communication_data_type": "fp32",
        "data_types": {"grad_accum_dtype": "fp32"},
        "steps_per_print": None,
        **_precision(compute, full=full),
    }


def _precision(compute: Compute, *, full: bool) -> dict[str, Any]:
    """Adapters stay float32 and are computed under autocast, as under every strategy; nothing frozen is cast then.

    Trained in full, 16-bit weights with float32 masters take a third less. fp16 needs DeepSpeed's own loss scaling,
    which it does for weights in fp16 alone: there it casts adapters too.
    """
    if compute is Compute.FP16:
        return {"fp16": {"enabled": True}}
    if compute is Compute.BF16 and full:
        return {"bf16": {"enabled": True}}
    if compute is Compute.BF16:
        return {"torch_autocast": {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}}
    return {}
