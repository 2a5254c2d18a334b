"""The memory of a run, per GPU and phase, before it is launched."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import Compute, Method, StrategyName, Task
from engine.config.deepspeed import ADAPTER_BUCKET, FULL_BUCKET
from qltui.advice.memory import activations, held
from qltui.advice.memory.held import FLOAT32
from qltui.advice.memory.parts import Part, Phase, total
from qltui.advice.memory.stages import stages

if TYPE_CHECKING:
    from qltui.advice.memory.held import Job
    from qltui.advice.memory.parts import Parts
    from qltui.facts.architecture import Architecture

PREFETCHED = FULL_BUCKET // 4
"""Weights DeepSpeed gathers ahead of their use (engine/config/deepspeed.py)."""
MOST_WHOLE = FULL_BUCKET
"""Weights DeepSpeed may keep whole at once (there, ``stage3_max_live_parameters``)."""


class MemoryPlan(NamedTuple):
    """Bytes on the fullest GPU, as torch's allocator will count them."""

    phases: dict[Phase, Parts]

    @property
    def highest(self) -> Phase:
        """The phase with the peak."""
        return max(self.phases, key=lambda phase: total(self.phases[phase]))

    @property
    def parts(self) -> Parts:
        """At the peak."""
        return self.phases[self.highest]

    @property
    def peak(self) -> int:
        """Highest bytes allocated."""
        return total(self.parts)


def plan_memory(job: Job) -> MemoryPlan:
    """Peak by phase of a run that trains, evaluates and saves."""
    if job.gpus > 1:
        plans = [plan_memory(stage) for stage in stages(job)]
        return MemoryPlan({phase: max((plan.phases[phase] for plan in plans), key=total) for phase in plans[0].phases})
    resting = held.held(job, held.Moment.RESTING)
    computing, stepping = held.held(job, held.Moment.COMPUTING), held.held(job, held.Moment.STEPPING)
    kept, boundaries, largest = _activations(job)
    forward_logits, backward_logits = activations.logits_bytes(job)
    casts = _cast_bytes(job)
    at_head = {
        Part.ACTIVATIONS: kept, Part.BOUNDARIES: boundaries, Part.TRANSIENT: casts,
        Part.GATHERED: _gathered_at_head(job),
    }  # fmt: skip
    in_layer = at_head | {
        Part.ACTIVATIONS: kept + largest, Part.GATHERED: _gathered_in_layer(job),
        Part.TRANSIENT: casts + _dequantised(job),
    }  # fmt: skip
    forward = [_sum(computing, at_head, {Part.LOGITS: forward_logits})]
    backward = [
        _sum(computing, at_head, {Part.LOGITS: backward_logits}),
        _sum(computing, in_layer),
        _sum(stepping, {Part.COMMUNICATION: _reduced_at_once(job), Part.GATHERED: _gathered_at_the_end(job)}),
    ]
    if job.strategy in held.SHARDS_WEIGHTS:
        in_head = at_head | {Part.GATHERED: _gathered_in_head(job), Part.LOGITS: _head_output_bytes(job)}
        in_head_again = in_head | {Part.COMMUNICATION: _reduced_of_head(job)}
        if job.strategy is StrategyName.FSDP2:  # whole since forward
            in_head_again[Part.GATHERED] = at_head[Part.GATHERED]
        forward += [_sum(computing, {Part.GATHERED: _gathered_in_embeddings(job)}), _sum(computing, in_head)]
        backward.append(_sum(computing, in_head_again))
    at_evaluation = {Part.GATHERED: _gathered_at_head(job), Part.TRANSIENT: casts, Part.LOGITS: forward_logits}
    return MemoryPlan({
        Phase.LOAD: _at_load(job),
        Phase.FORWARD: max(forward, key=total),
        Phase.BACKWARD: max(backward, key=total),
        Phase.OPTIMIZER: _sum(stepping, {Part.GRADIENTS: _laid_out_for_the_step(job)}),
        Phase.EVALUATION: _sum(resting, at_evaluation),
    })  # fmt: skip


def _at_load(job: Job) -> Parts:
    """Weights as they come from their files: whole, or a block at a time beside this rank's share of the others."""
    packed, others = job.weights
    adapters = 0 if job.full else job.trained * FLOAT32
    if not job.loads_by_block:
        # Under pipeline experts come in 16 bit; else they wait, and are quantised one by one.
        in_16_bit = job.quantized and job.strategy is StrategyName.PIPELINE
        return {
            Part.WEIGHTS: packed + others,
            Part.TRANSIENT: held.fused_numbers(job.architecture) * job.width if in_16_bit else _expert_quantised(job),
            Part.SCALES: held.scale_bytes(job),
            Part.ADAPTERS: adapters,
        }
    offloaded = job.config.strategy.offload_parameters
    # DoRA begins with norms of the weights, so its adapters are made where those are quantised.
    made_there = job.quantized and job.config.method.lora.use_dora
    return {
        Part.WEIGHTS: 0 if offloaded else (packed + others) // job.share,
        Part.SCALES: 0 if offloaded and job.shards_scales else held.scale_bytes(job) // job.share_of_scales,
        Part.ADAPTERS: adapters if made_there else 0 if offloaded else adapters // job.share,
        Part.GATHERED: _largest_block(job),
    }


def _largest_block(job: Job) -> int:
    """Of a layer as it is sharded, with a weight that is being quantised; or of what is in no layer."""
    architecture = job.architecture
    packed, others = _largest_layer(architecture)
    wide = job.kept_width
    if job.method is Method.QLORA:
        packed //= 2
    elif job.method is not Method.INT8:
        packed *= wide
    quantised = max(_largest_weight(architecture) * job.width, _expert_quantised(job)) if job.quantized else 0
    layer = packed + others * wide + quantised
    end = max(architecture.embeddings, architecture.head) * wide
    # Under fsdp2, what goes to the host is on the GPU beside the whole weight while it is cut.
    cut_there = job.strategy is StrategyName.FSDP2 and job.config.strategy.offload_parameters
    return max(layer, end + (end // job.share if cut_there else 0))


def _activations(job: Job) -> tuple[int, int, int]:
    """(kept by layers that do not recompute, inputs of those that do, the largest of these recomputed)."""
    tokens, recomputed = job.micro_batch_tokens, job.checkpointed
    kept = boundaries = largest = 0
    for count, of_a_token, weights in activations.layers_bytes(job):
        saved = of_a_token * tokens + weights
        again = min(count, recomputed)
        recomputed -= again
        kept += (count - again) * saved
        if again:
            boundaries += again * activations.boundary_bytes(job) * tokens
            largest = max(largest, saved)
    if job.config.training.offload_activations:
        boundaries = min(boundaries, 2 * activations.boundary_bytes(job) * tokens)  # one leaves while one is computed
    return kept + activations.final_norm_bytes(job) * tokens, boundaries, largest


def _cast_bytes(job: Job) -> int:
    """16-bit copies of float32 weights that autocast keeps from a weight's first use to its last.

    Under ZeRO it keeps none (engine/strategy/zero.py), but layers that do not recompute do.
    """
    if job.compute is Compute.FP32 or job.strategy is StrategyName.ZERO3:
        return 0
    if not job.full:
        # New rows are put into a copy of all embeddings.
        rows = job.architecture.embeddings * job.width if job.config.model.new_tokens else 0
        kept = 1 - job.checkpointed / max(job.architecture.depth, 1) if job.strategy in held.ZERO else 1
        return int(job.trained * job.width * kept) + rows
    if job.strategy in held.SHARDS_WEIGHTS or job.strategy in held.ZERO:
        return 0
    architecture = job.architecture
    linear = held.linear_numbers(architecture) + (architecture.head or architecture.embeddings)
    return linear * job.width


def _ends(job: Job) -> tuple[int, int]:
    """Bytes of embeddings and head as they are computed with; a head that shares its weight has none of its own."""
    return job.architecture.embeddings * job.width, job.architecture.head * job.width


def _stays_whole(job: Job) -> int:
    """Under fsdp2, what is whole from forward to backward: embeddings that the head shares."""
    shared = job.architecture.tied and job.config.model.task is not Task.SEQUENCE_CLASSIFICATION
    return _ends(job)[0] if shared else 0


def _kept_gathered(job: Job) -> bool:
    """Whether DeepSpeed keeps embeddings and head: it was seen to, where none is above what may be whole."""
    return (job.architecture.head or job.architecture.embeddings) <= MOST_WHOLE


def _gathered_in_embeddings(job: Job) -> int:
    """Whole weights where forward begins; torch copies weights out of the buffer they were gathered in."""
    embeddings, _ = _ends(job)
    return 2 * embeddings if job.strategy is StrategyName.FSDP2 else embeddings


def _gathered_in_head(job: Job) -> int:
    """Whole weights while the head computes."""
    embeddings, head = _ends(job)
    if job.strategy is StrategyName.FSDP2:
        return _stays_whole(job) + 2 * head
    return _gathered_at_head(job) if _kept_gathered(job) else head or embeddings


def _gathered_at_head(job: Job) -> int:
    """Whole weights while the loss is computed."""
    embeddings, head = _ends(job)
    if job.strategy is StrategyName.FSDP2:
        return _stays_whole(job) + head
    if job.strategy is StrategyName.ZERO3 and _kept_gathered(job):
        # Without a head more layers were gathered ahead, about as much.
        ends = 2 * embeddings if job.config.model.task is Task.SEQUENCE_CLASSIFICATION else embeddings + head
        return ends + min(PREFETCHED * (1 if job.quantized else job.width), ends)
    if job.strategy is StrategyName.ZERO3 and activations.takes_loss_in_head(job):
        return head or embeddings
    return 0


def _head_output_bytes(job: Job) -> int:
    """Of what the head gives, before the loss is taken."""
    if job.config.model.task is Task.SEQUENCE_CLASSIFICATION:
        return 0
    return job.architecture.vocabulary * job.width * activations.loss_tokens(job)


def _reduced_of_head(job: Job) -> int:
    """Gradients of a head that is trained in full, and the float32 ones they are reduced in."""
    in_full = job.full and job.strategy is StrategyName.FSDP2
    return job.architecture.head * (job.width + FLOAT32) if in_full else 0


def _gathered_in_layer(job: Job) -> int:
    """Whole weights while a layer computes backward: its own and those of the next."""
    if job.strategy is StrategyName.FSDP2:
        return _stays_whole(job) + 2 * _layer_bytes_gathered(job)
    if job.strategy is StrategyName.ZERO3:
        return _layer_bytes_gathered(job) + _prefetched(job)
    return 0


def _layer_bytes_gathered(job: Job) -> int:
    """Of the largest layer, as it travels."""
    packed, others = _largest_layer(job.architecture)
    if job.method is Method.QLORA:
        packed //= 2
    elif job.method is not Method.INT8:
        packed *= job.width
    return packed + others * job.width


@lru_cache(maxsize=64)
def _largest_layer(architecture: Architecture) -> tuple[int, int]:
    """(weights that can be quantised, others) of the layer with most of them."""
    sizes = []
    for _, layer in architecture.layers:
        quantizable = sum(one.inputs * one.outputs * one.matrices for one in layer.linears if one.quantized)
        quantizable += layer.fused
        sizes.append((quantizable, sum(one.parameters for one in layer.linears) - quantizable + layer.other))
    return max(sizes, key=sum, default=(0, 0))


@lru_cache(maxsize=64)
def _largest_weight(architecture: Architecture) -> int:
    """Numbers of the largest weight that can be quantised."""
    return max((one.inputs * one.outputs for _, one in architecture.linears() if one.quantized), default=0)


def _prefetched(job: Job) -> int:
    wide = {Method.QLORA: 1, Method.INT8: 1}.get(job.method, job.width)
    return min(PREFETCHED * wide, 2 * _layer_bytes_gathered(job))


def _dequantised(job: Job) -> int:
    """What is made of quantised weights for the gradients of inputs: the largest of them, or all experts of a layer."""
    if not job.quantized:
        return 0
    experts = max((layer.fused for _, layer in job.architecture.layers), default=0)
    return job.width * max(_largest_weight(job.architecture), experts)


def _expert_quantised(job: Job) -> int:
    """What quantising the largest expert takes: it as it came, and the float32 copies that int8 makes."""
    if not job.quantized:
        return 0
    fused = (one for _, one in job.architecture.linears() if one.experts > 1)
    copies = 2 * FLOAT32 if job.method is Method.INT8 else 0
    return max((one.inputs * one.outputs for one in fused), default=0) * (job.width + copies)


def _reduced_at_once(job: Job) -> int:
    """Buffers that come and go while gradients are reduced: under ZeRO a bucket as it comes, and again in float32.

    Stage 2 makes two such copies; stage 3 one, and one of this rank's part where it goes to the host.
    """
    bucket = min(FULL_BUCKET if job.full else ADAPTER_BUCKET, job.trained)
    wide = job.width if job.full else FLOAT32
    if job.strategy is StrategyName.ZERO2 or held.reduces_as_stage_2(job):
        return bucket * (wide + 2 * FLOAT32)
    if job.strategy is StrategyName.ZERO3 and job.full:
        to_host = FLOAT32 // job.world_size if job.config.strategy.offload_optimizer else 0
        return bucket * (wide + FLOAT32 + to_host)
    return 0


def _gathered_at_the_end(job: Job) -> int:
    """Whole weights, and 16-bit gradients of them, when backward has come to the first layer."""
    if not job.full:
        return 0
    if job.strategy is StrategyName.FSDP2:
        return 2 * _ends(job)[0] + _layer_bytes_gathered(job)
    return _gathered_at_head(job)


def _laid_out_for_the_step(job: Job) -> int:
    """A second copy of this rank's gradients, end to end, which DeepSpeed's optimizers step with."""
    on_gpu = job.strategy in held.ZERO and not job.config.strategy.offload_optimizer
    return job.trained * FLOAT32 // job.world_size if on_gpu else 0


def _sum(first: Parts, *others: Parts) -> Parts:
    """Parts added up."""
    summed = dict(first)
    for parts in others:
        for part, size in parts.items():
            summed[part] = summed.get(part, 0) + size
    return summed
