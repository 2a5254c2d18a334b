"""How long a step takes: arithmetic, memory traffic, launching kernels, and the links between GPUs.

Its constants were set on runs of 0.1 to 8 B on an H100 and two H200 (``tests/points/timed.json``). In most of them
launching kernels took longer than computing, and how long that takes is the host's: the same run took a third longer on
one than on another. The constants lie between them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import Method, Optimizer, StrategyName, Task
from qltui.advice.memory import activations, held

if TYPE_CHECKING:
    from qltui.advice.memory import Job
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Card, Machine

ARITHMETIC = 0.5
"""Share of a card's dense flop/s that products of a training step reach."""
TRAFFIC = 0.8
"""Share of its memory's bandwidth that kernels in between reach."""
TIMES_MOVED = 8
"""How often what forward keeps is written or read, over forward and backward, steps in between included."""
LOGITS_MOVED = 60
"""Bytes moved for each logit in loss and gradient."""
DEQUANTISED = 4.5
"""Bytes moved for each 4-bit weight made a 16-bit one: half a byte read, two written and read again."""
STEP_TRAFFIC = 28
"""Bytes moved by AdamW for each trained weight."""
LAUNCHING = 4e-3
"""Seconds the host takes to launch a layer's forward and backward."""
LAUNCHING_ADAPTERS = {Method.LORA: 0.5e-3, Method.QLORA: 1.1e-3, Method.INT8: 1.35e-3}
"""What each linear with adapters adds to it."""
LAUNCHING_MORE = {
    StrategyName.FSDP2: 3e-3,
    StrategyName.ZERO3: 7e-3,
    StrategyName.ZERO1: 1e-3,
    StrategyName.ZERO2: 1e-3,
}
"""What the strategy's hooks add to it."""
LAUNCHED_AGAIN = 0.7
"""Share of a layer's launching that recomputing it takes once more; what it saves goes through hooks of Python."""
STEPPING_8BIT = 0.25e-3
"""Seconds the host takes for each trained tensor under the 8-bit optimizers, which step them one by one."""
EXPOSED = 0.5
"""Share of the traffic between GPUs that computing does not hide."""
TENSORS_A_LAYER = 9
"""That are trained in full: seven linears and two norms."""
HOST_LINK = 20e9
"""Bytes/s between a GPU and host memory over PCIe, pinned."""
ERROR_COMPUTING, ERROR_LAUNCHING = 0.25, 0.5
"""Share by which a prediction was wrong at worst: where the GPU's work decides, and where the host's does."""


class StepTime(NamedTuple):
    """Seconds of one optimizer step."""

    computing: float
    """Arithmetic and memory traffic of all micro batches."""
    launching: float
    """The host's part; what exceeds computing is waited for."""
    communicating: float
    """Between GPUs and with the host, what is not hidden."""
    stepping: float
    waits: bool = False
    """Whether the host waits for the GPU at every layer, so that neither hides the other."""

    @property
    def total(self) -> float:
        together = self.computing + self.launching if self.waits else max(self.computing, self.launching)
        return together + self.communicating + self.stepping

    @property
    def error(self) -> float:
        """Share by which the total may be wrong."""
        return ERROR_COMPUTING if self.computing > self.launching else ERROR_LAUNCHING


def step_time(job: Job, machine: Machine) -> StepTime:
    """Of the run on ``machine``, which has GPUs."""
    card = min(machine.cards, key=lambda card: card.flops)
    micro_batches = job.config.training.gradient_accumulation_steps
    again = job.checkpointed / max(job.architecture.depth, 1)
    return StepTime(
        computing=micro_batches * (_arithmetic(job, again) / (card.flops * ARITHMETIC) + _traffic(job, again, card)),
        launching=micro_batches * _launching(job) * (1 + LAUNCHED_AGAIN * again),
        communicating=_communication(job, machine, micro_batches),
        stepping=max(job.trained / job.world_size * STEP_TRAFFIC / (card.bandwidth * TRAFFIC), _stepping_8bit(job)),
        waits=job.method is Method.INT8,  # bitsandbytes looks for outliers before it multiplies
    )


def _arithmetic(job: Job, again: float) -> float:
    """Floating point operations of a micro batch; ``again`` is the share of layers computed twice."""
    architecture, tokens = job.architecture, job.micro_batch_tokens
    head = 0 if job.config.model.task is Task.SEQUENCE_CLASSIFICATION else architecture.vocabulary
    head_weights = head * architecture.hidden_size
    layers = _layer_weights(architecture)
    # Forward, the gradient of the input, and that of the weights where they are trained.
    passes = (3 if job.full else 2) + again
    products = 2 * tokens * (layers * passes + head_weights * (3 if job.full else 2))
    adapters = 0 if job.full else 6 * tokens * job.trained
    # Each token attends to those before it; under a mask of packed rows all scores are computed.
    seen = job.sequence if job.config.data.packing and job.padded else job.sequence / 2
    scores = 4 * architecture.heads * architecture.head_dim * seen * tokens * architecture.depth * (3.5 + again)
    return products + adapters + scores


@lru_cache(maxsize=64)
def _layer_weights(architecture: Architecture) -> int:
    """Weights of the layers that a token passes through."""
    return max(architecture.active_parameters - architecture.embeddings - architecture.head, 0)


def _traffic(job: Job, again: float, card: Card) -> float:
    """Seconds of memory traffic beside the products."""
    tokens = job.micro_batch_tokens
    kept = sum(one.layers * one.a_token for one in activations.layers_bytes(job))
    moved = kept * tokens * TIMES_MOVED * (1 + again / 3)
    if job.config.model.task is not Task.SEQUENCE_CLASSIFICATION:
        moved += job.architecture.vocabulary * tokens * LOGITS_MOVED
    if job.quantized:
        moved += job.quantized_numbers * DEQUANTISED * (2 + again)
    return moved / (card.bandwidth * TRAFFIC)


def _launching(job: Job) -> float:
    """Seconds the host takes for a micro batch's forward and backward through all layers."""
    layers = job.architecture.depth * (LAUNCHING + LAUNCHING_MORE.get(job.strategy, 0.0))
    return layers + (0.0 if job.full else _adapted(job) * LAUNCHING_ADAPTERS[job.method])


def _stepping_8bit(job: Job) -> float:
    """Seconds the host takes to step 8-bit states, which ZeRO keeps in one tensor."""
    if job.config.training.optimizer is Optimizer.ADAMW or job.strategy in held.ZERO:
        return 0.0
    return STEPPING_8BIT * (TENSORS_A_LAYER * job.architecture.depth if job.full else 2 * _adapted(job))


def _adapted(job: Job) -> int:
    """Linears that have adapters beside them."""
    return _adapted_linears(job.architecture, job.targets)


@lru_cache(maxsize=64)
def _adapted_linears(architecture: Architecture, targets: tuple[str, ...] | None) -> int:
    return sum(
        count * linear.count for count, linear in architecture.linears()
        if (linear.module and targets is None) or linear.name in (targets or ())
    )  # fmt: skip


def _communication(job: Job, machine: Machine, micro_batches: int) -> float:
    """Seconds on links that computing does not hide."""
    ranks = job.world_size
    strategy, offload = job.strategy, job.config.strategy
    weights = sum(job.weights)
    gradients = job.trained * held.FLOAT32
    seconds = 0.0
    if ranks > 1:
        link = min(card.link for card in machine.cards)
        if machine.nodes > 1:
            link = min(link, machine.network / machine.gpus_per_node)
        part = (ranks - 1) / ranks
        if strategy in held.SHARDS_WEIGHTS:  # gathered for forward and backward; gradients go with every micro batch
            moved = micro_batches * (2 * weights + gradients) * part
        elif strategy is StrategyName.ZERO2:
            moved = (micro_batches + 1) * gradients * part
        else:
            moved = 2 * gradients * part
        seconds += EXPOSED * moved / link
    if strategy is StrategyName.PIPELINE:
        link = min(card.link for card in machine.cards)
        boundary = job.micro_batch_tokens * job.architecture.hidden_size * job.width
        seconds += 2 * micro_batches * (job.gpus - 1) * boundary / link
    if offload.offload_parameters:
        seconds += 2 * micro_batches * weights / ranks / HOST_LINK
    if offload.offload_optimizer:
        seconds += 2 * gradients / ranks / HOST_LINK + job.trained / ranks * STEP_TRAFFIC / HOST_LINK
    if job.config.training.offload_activations:
        boundaries = job.checkpointed * activations.boundary_bytes(job) * job.micro_batch_tokens
        seconds += 2 * micro_batches * boundaries / HOST_LINK
    return seconds
