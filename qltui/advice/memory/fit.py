"""Whether a run fits the GPUs of a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config.choices import StrategyName, Task
from engine.config.ranks import ONE_RANK, compute_type, ranks_per_node
from qltui.advice.memory.held import Job
from qltui.advice.memory.parts import Part, Parts, Phase, total
from qltui.advice.memory.plan import MemoryPlan, plan_memory

if TYPE_CHECKING:
    from engine.config.run_config import RunConfig
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

MIB = 1 << 20
CUDA_CONTEXT, NCCL_BUFFERS, MORE_OF_DEEPSPEED = 735 * MIB, 830 * MIB, 520 * MIB
"""Taken outside of torch's allocator, as measured on H200: kernels and their stacks; channels to the other ranks; what
stages 1 and 2 of DeepSpeed add (``tests/points/idle.json``)."""
UNUSABLE, UNUSABLE_AT_LEAST = 0.03, 170 * MIB
"""Share of what is allocated that lies in blocks too small for what is asked next, and its least, with segments that
grow (``engine/allocator.py``): runs held to less than that were seen to fail, and none held to more
(``tests/points/capped.json``). torch keeps more reserved while there is room, and gives it back when there is none."""
COMPARED = frozenset(
    {"llama", "qwen2", "qwen3", "mistral", "phi3", "gemma3_text", "gpt_neox", "olmo2"}
)  # fmt: skip
"""Families whose plans were compared with runs and met within ``ERROR`` (docs/memory.md)."""
ERROR, ERROR_ELSEWHERE, ERROR_OF_ESTIMATE = 0.05, 0.10, 0.15
"""Share of the peak by which a plan may be wrong: the worst of the compared families, of others that are described, and
of an architecture estimated from its numbers. ``tests/unit/test_memory_points.py`` holds the first two to what was
measured."""


class Fit(NamedTuple):
    """A plan beside the smallest GPU it is for."""

    plan: MemoryPlan
    parts: Parts
    """At the peak, with what lies outside of the allocator's count."""
    capacity: int | None
    """Bytes of that GPU; None on CPU ranks."""
    error: int
    """Bytes by which the total may be wrong."""
    sequence: int
    """Tokens of the longest row it is for."""

    @property
    def total(self) -> int:
        """Bytes the GPU must have."""
        return total(self.parts)

    @property
    def fits(self) -> bool:
        return self.capacity is None or self.total <= self.capacity

    @property
    def surely_exceeds(self) -> bool:
        """Whether it doesn't fit though the plan be wrong by its error."""
        return self.capacity is not None and self.total - self.error > self.capacity

    @property
    def verdict(self) -> str:
        """All that is said of it in words: ``fits``, ``may just fit``, ``may not fit``, ``does not fit``."""
        if self.fits:
            return "fits" if self.is_safe else "may just fit"
        return "does not fit" if self.surely_exceeds else "may not fit"

    @property
    def is_at_load(self) -> bool:
        """Whether the peak is while the model loads: of quantised weights that are sharded once they are all there."""
        return self.plan.highest is Phase.LOAD

    @property
    def is_safe(self) -> bool:
        """Whether it fits though the plan be wrong by its error."""
        return self.capacity is None or self.total + self.error <= self.capacity


def job_on(config: RunConfig, architecture: Architecture, machine: Machine, tokens: int | None = None) -> Job:
    """The run as it would be started on ``machine``; ``tokens`` are those of the longest row, where rows were read."""
    per_node = machine.gpus_per_node
    one_rank = config.strategy.name in ONE_RANK
    return Job(
        config=config,
        architecture=architecture.to_classify() if config.model.task is Task.SEQUENCE_CLASSIFICATION else architecture,
        compute=compute_type(config, [card.capability[0] for card in machine.cards]),
        world_size=1 if one_rank else ranks_per_node(config, per_node) * machine.nodes,
        gpus=max(1, per_node) if config.strategy.name is StrategyName.PIPELINE else 1,
        tokens=tokens,
    )


def fit(job: Job, machine: Machine) -> Fit:
    """The memory of ``job`` against the smallest card of ``machine``."""
    plan = plan_memory(job)
    allocated = plan.peak
    parts = dict(plan.parts)
    parts[Part.CONTEXT] = _outside(job)
    parts[Part.FRAGMENTATION] = unusable(allocated)
    capacity = min((card.memory_bytes for card in machine.cards), default=None)
    return Fit(plan, parts, capacity, int(allocated * error_share(job.architecture)), job.sequence)


def unusable(allocated: int) -> int:
    """Bytes torch's allocator needs beyond the ``allocated`` ones, since its free blocks do not fit what is asked."""
    return max(int(allocated * UNUSABLE), UNUSABLE_AT_LEAST)


def error_share(architecture: Architecture) -> float:
    """Share of the peak by which the plan of such a model may be wrong."""
    if not architecture.known:
        return ERROR_OF_ESTIMATE
    return ERROR if architecture.model_type in COMPARED else ERROR_ELSEWHERE


def _outside(job: Job) -> int:
    """Bytes that torch's allocator does not count."""
    if job.world_size == 1:
        return CUDA_CONTEXT
    more = MORE_OF_DEEPSPEED if job.strategy in (StrategyName.ZERO1, StrategyName.ZERO2) else 0
    return CUDA_CONTEXT + NCCL_BUFFERS + more
