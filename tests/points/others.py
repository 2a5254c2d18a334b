"""What tools that people use today say a run takes: the same points as our plan, by other means.

Each is asked as its user would: Accelerate and DeepSpeed through their own functions, Unsloth Studio and LLaMA-Factory
by what their pages say. A figure is for what torch allocates; what CUDA takes beside it is left out.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from engine.config import Checkpointing, Compute, Method, Optimizer, RunConfig, StrategyName
from engine.config.choices import Attention

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

ACCELERATE, DEEPSPEED, UNSLOTH, LLAMA_FACTORY = "accelerate", "DeepSpeed", "Unsloth Studio", "LLaMA-Factory"
TOOLS = (ACCELERATE, DEEPSPEED, UNSLOTH, LLAMA_FACTORY)
Said = tuple[int | None, str]
"""(bytes for each GPU, what the tool leaves out of the run; where there are no bytes, why)."""


class Estimate(NamedTuple):
    """What one tool says of a run."""

    tool: str
    bytes_per_gpu: int | None
    """None where the tool says nothing of such a run."""
    why_not: str
    """Why there is no figure; beside one, what of the run it knows nothing of. Empty if neither."""
    source: str
    """What was asked, and its version."""


def estimates(config: RunConfig, model_config: PretrainedConfig, world_size: int) -> list[Estimate]:
    """What each tool says of a causal language model trained on ``world_size`` GPUs."""
    asked = (
        (ACCELERATE, accelerate, f"accelerate {version('accelerate')}: commands/estimate.py, float16 or float32 row"),
        (DEEPSPEED, deepspeed, f"deepspeed {version('deepspeed')}: estimate_zero{{2,3}}_model_states_mem_needs"),
        (UNSLOTH, unsloth, "unslothai/unsloth at 04f95609: studio/backend/utils/hardware/VRAM_ESTIMATION.md"),
        (LLAMA_FACTORY, llama_factory, "hiyouga/LlamaFactory at 142e1ce4: README.md, Hardware Requirement"),
    )
    return [Estimate(tool, *ask(config, model_config, world_size), source) for tool, ask, source in asked]


def accelerate(config: RunConfig, model_config: PretrainedConfig, world_size: int) -> Said:
    """The column "Training using Adam" of ``accelerate estimate-memory``: of the model without its head."""
    import torch
    from accelerate import init_empty_weights
    from accelerate.commands.estimate import estimate_training_usage
    from accelerate.utils import calculate_maximum_sizes
    from transformers import AutoModel

    if config.method.name in (Method.QLORA, Method.INT8):
        return None, "prints N/A for training in int4 and int8"
    if why_not := _one_whole_copy(config, world_size):
        return None, why_not
    with init_empty_weights():
        model = AutoModel.from_config(model_config, dtype=torch.float32)
    row = "float32" if config.precision.compute is Compute.FP32 else "float16"
    size, _ = calculate_maximum_sizes(model)
    return int(max(estimate_training_usage(size, row).values())), _all_trained(config)


def deepspeed(config: RunConfig, model_config: PretrainedConfig, world_size: int) -> Said:
    """Parameters, gradients and optimizer states by DeepSpeed's estimators, which train every parameter."""
    strategy = config.strategy
    if strategy.name is StrategyName.ZERO2:
        from deepspeed.runtime.zero.stage_1_and_2 import estimate_zero2_model_states_mem_needs

        total, _ = _counted(_on_meta(model_config))
        _, on_gpu = estimate_zero2_model_states_mem_needs(total, world_size, cpu_offload=strategy.offload_optimizer)
        return on_gpu, _all_trained(config)
    if strategy.name is StrategyName.ZERO3:
        from deepspeed.runtime.zero.stage3 import estimate_zero3_model_states_mem_needs

        if strategy.offload_parameters and not strategy.offload_optimizer:
            return None, "has no estimate for parameters offloaded alone"
        _, on_gpu, _ = estimate_zero3_model_states_mem_needs(
            *_counted(_on_meta(model_config)), world_size,
            cpu_offload=strategy.offload_optimizer, cpu_offload_params=strategy.offload_parameters,
        )  # fmt: skip
        return on_gpu, _all_trained(config)
    return None, "has estimators for ZeRO-2 and ZeRO-3 alone"


def unsloth(config: RunConfig, model_config: PretrainedConfig, world_size: int) -> Said:
    """Unsloth Studio's formula, by its page; without the 1.4 GB it adds for CUDA."""
    shares = world_size if config.strategy.name in (StrategyName.FSDP2, StrategyName.ZERO3) else 1
    if config.method.name is Method.INT8:
        return None, "knows no int8 weights"
    if config.strategy.offload_optimizer or config.strategy.offload_parameters:
        return None, "knows no offload"
    if config.strategy.name in (StrategyName.ZERO1, StrategyName.ZERO2) and world_size > 1:
        return None, "shares out weights and optimizer states together, not the latter alone"
    layers = _layers_kept(config, model_config)
    if layers is None:
        return None, "recomputes all layers or none"
    model = UnslothModel.of(model_config)
    full = config.method.name is Method.FULL
    weights = model.weight_bytes(config)
    adapters = 0 if full else model.adapters(config)
    trained = model.parameters if full else adapters
    optimizer = trained * UNSLOTH_OPTIMIZER[config.training.optimizer]
    activations = model.activation_bytes(config, layers)
    floor = 0.15 * weights if full else min(0.15 * weights, max(activations, optimizer))
    gradients = max(2 * trained, floor)
    return int((weights + 2 * adapters + optimizer + gradients) / shares + activations), ""


UNSLOTH_OPTIMIZER = {Optimizer.ADAMW: 6, Optimizer.ADAMW_8BIT: 4, Optimizer.PAGED_ADAMW_8BIT: 4}
"""Bytes for each trained number."""


class UnslothModel(NamedTuple):
    """Of a model what Unsloth Studio's formula asks for."""

    hidden: int
    layers: int
    heads: int
    query: int
    key: int
    inner: int
    vocabulary: int
    tied: bool
    experts: int
    active: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> UnslothModel:
        heads, hidden = config.num_attention_heads, config.hidden_size
        width = getattr(config, "head_dim", None) or hidden // heads
        experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None) or 1
        inner = experts > 1 and getattr(config, "moe_intermediate_size", None)
        return cls(
            hidden=hidden, layers=config.num_hidden_layers, heads=heads,
            query=heads * width, key=(getattr(config, "num_key_value_heads", None) or heads) * width,
            inner=inner or getattr(config, "intermediate_size", None) or 4 * hidden,
            vocabulary=config.vocab_size, tied=config.tie_word_embeddings,
            experts=experts, active=config.num_experts_per_tok if experts > 1 else 1,
        )  # fmt: skip

    @property
    def linear(self) -> int:
        """Numbers in the linear layers."""
        attention = 2 * self.hidden * (self.query + self.key)
        router = self.experts * self.hidden if self.experts > 1 else 0
        return self.layers * (attention + 3 * self.hidden * self.inner * self.experts + router)

    @property
    def others(self) -> int:
        """Numbers in norms, embeddings and head."""
        return 2 * self.hidden * self.layers + self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        return self.linear + self.others

    def weight_bytes(self, config: RunConfig) -> float:
        """4-bit weights come to 5 bits with their scales, to 4.4 with double quantisation."""
        if config.method.name is not Method.QLORA:
            return 2 * self.parameters
        smaller = 3.6 if config.method.quantization.double_quantization else 3.2
        return 2 * self.linear / smaller + 2 * self.others

    def adapters(self, config: RunConfig) -> int:
        """Numbers in the adapters of the linear layers it knows."""
        of_query, of_key = self.hidden + self.query, self.hidden + self.key
        attention = {"q_proj": of_query, "k_proj": of_key, "v_proj": of_key, "o_proj": of_query}
        feed_forward = dict.fromkeys(("gate_proj", "up_proj", "down_proj"), self.experts * (self.hidden + self.inner))
        sides = attention | feed_forward
        wanted = config.method.lora.target_modules
        if wanted == "all-linear":  # which fused experts are not
            wanted = list(sides if self.experts == 1 else attention)
        chosen = [wanted] if isinstance(wanted, str) else wanted
        return self.layers * config.method.lora.rank * sum(sides.get(name, 0) for name in chosen)

    def activation_bytes(self, config: RunConfig, layers: float) -> float:
        """Of so many layers; eager attention may take more with its scores alone."""
        rows, sequence = config.training.micro_batch_size, config.data.max_length
        kept = rows * sequence * (self.query + 2 * self.key + 2 + 2 * self.inner * self.active) * 2 * 1.25 * layers
        if config.model.attention is not Attention.EAGER:
            return kept
        return max(kept, rows * self.heads * sequence**2 * 2 * 12 * layers)


def _layers_kept(config: RunConfig, model_config: PretrainedConfig) -> float | None:
    """Layers whose activations Unsloth Studio counts; None where only some of them recompute."""
    recomputed, depth = config.training.gradient_checkpointing, model_config.num_hidden_layers
    if recomputed is Checkpointing.NONE:
        return depth
    if recomputed is not Checkpointing.ALL and int(recomputed) < depth:
        return None
    return 2.0 if config.method.name is Method.FULL else 1.0


LLAMA_FACTORY_SIZES = (7, 14, 30, 70)
LLAMA_FACTORY_ROWS = {
    Method.FULL: (18, (120, 240, 600, 1200)), Method.LORA: (2, (16, 32, 64, 160)),
    Method.INT8: (1, (10, 20, 40, 80)), Method.QLORA: (0.5, (6, 12, 24, 48)),
}  # fmt: skip
"""GB for each 10^9 parameters, and GB at the sizes it names."""
LIKE = 0.2
"""Share by which a model may differ from a named size and still be looked up there."""


def llama_factory(config: RunConfig, model_config: PretrainedConfig, world_size: int) -> Said:
    """LLaMA-Factory's table: the column of the model's size, else the one for any size."""
    if config.precision.compute is Compute.FP32:
        return None, "has no row for computing in float32"
    if why_not := _one_whole_copy(config, world_size):
        return None, why_not
    billions = _counted(_on_meta(model_config))[0] / 1e9
    each, named = LLAMA_FACTORY_ROWS[config.method.name]
    columns = dict(zip(LLAMA_FACTORY_SIZES, named, strict=True))
    nearest = min(columns, key=lambda size: abs(billions / size - 1))
    gigabytes = columns[nearest] if abs(billions / nearest - 1) <= LIKE else each * billions
    return int(gigabytes * 1e9), "knows neither sequence nor batch"


def _one_whole_copy(config: RunConfig, world_size: int) -> str:
    """Why a tool that knows one GPU with everything on it says nothing of a run; empty if the run is such."""
    if config.strategy.offload_optimizer or config.strategy.offload_parameters:
        return "knows no offload"
    if world_size > 1 and config.strategy.name is not StrategyName.DDP:
        return "knows no sharding"
    return ""


def _all_trained(config: RunConfig) -> str:
    """What a tool leaves out that trains every parameter in any case."""
    return {
        Method.FULL: "", Method.LORA: "trains every parameter: knows no adapters",
        Method.INT8: "trains every parameter, none quantised", Method.QLORA: "trains every parameter, none quantised",
    }[config.method.name]  # fmt: skip


def _on_meta(model_config: PretrainedConfig) -> torch.nn.Module:
    """The model without memory for its weights."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(model_config)
    return model


def _counted(model: torch.nn.Module) -> tuple[int, int]:
    """(all parameters, the most that one module holds itself), which DeepSpeed's estimators ask for.

    Its own count tells parameters apart by their address, which on the meta device is the same for all.
    """
    own = (sum(one.numel() for one in module.parameters(recurse=False)) for module in model.modules())
    return sum(one.numel() for one in model.parameters()), max(own)
