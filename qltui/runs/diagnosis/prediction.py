"""What a run would take if it were changed: its memory plan, corrected by what it measured, and its time.

A plan errs in one of two ways, and is corrected accordingly:

- In forward, backward and evaluation by a **factor** on what grows with the tokens computed at once (activations,
  inputs of checkpointed layers, logits): kernels keep more for each token than was thought, so half the tokens take
  half of it.
- In loading and in the optimizer's step, where nothing depends on the tokens, by an **offset** that every phase bears.

A plan is never corrected downwards: what was allocated and asked for at the death is the least that was needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from qltui.advice import planner
from qltui.advice.memory import Part, Phase, total
from qltui.advice.memory.fit import fit, unusable
from qltui.advice.our_runs import used_cards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config import RunConfig
    from qltui.advice.lengths import Lengths
    from qltui.advice.memory import MemoryPlan
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

GROWING = (Part.ACTIVATIONS, Part.BOUNDARIES, Part.LOGITS)
"""Parts that grow with the tokens of a micro batch."""
OUTSIDE = (Part.CONTEXT, Part.FRAGMENTATION)
"""Parts that torch's allocator does not count."""
OF_TOKENS = (Phase.FORWARD, Phase.BACKWARD, Phase.EVALUATION)


class Correction(NamedTuple):
    """What turns a plan's figures into those that a run had."""

    factor: float = 1.0
    """On the growing parts."""
    offset: int = 0
    """Bytes more in every phase."""

    def allocated(self, plan: MemoryPlan) -> int:
        """Bytes of the highest phase, as torch's allocator counts them."""
        return max(map(self._of_phase, plan.phases.values()))

    def _of_phase(self, parts: Mapping[Part, int]) -> int:
        growing = sum(parts.get(part, 0) for part in GROWING)
        return int(sum(parts.values()) + self.offset + (self.factor - 1) * growing)

    def __str__(self) -> str:
        said = []
        if self.factor > 1:
            said.append(f"what grows with the tokens took {self.factor:.2f} times what was planned")
        if self.offset:
            said.append(f"{self.offset / 2**30:.2f} GiB were taken that the plan did not know of")
        return " and ".join(said)


AS_PLANNED = Correction()


def correct(plan: MemoryPlan, measured: Mapping[str, int]) -> Correction:
    """The correction by the highest bytes ``measured`` by phase: a peak, or the need at the death."""
    known = {phase: measured[phase.value] for phase in plan.phases if phase.value in measured}
    offset = max((known[phase] - total(plan.phases[phase]) for phase in known if phase not in OF_TOKENS), default=0)
    offset = max(0, offset)
    factors = [1.0]
    for phase in known.keys() & set(OF_TOKENS):
        growing = sum(plan.phases[phase].get(part, 0) for part in GROWING)
        if growing:
            factors.append(1 + (known[phase] - offset - total(plan.phases[phase])) / growing)
    return Correction(max(factors), offset)


class Prediction(NamedTuple):
    """A way to run."""

    total: int
    """Bytes on the fullest GPU."""
    capacity: int
    """Bytes there are for it: without what other programs hold."""
    error: int
    seconds: float
    """For each row of a step."""

    @property
    def order(self) -> int:
        """0: it fits though the plan be wrong by its error, 1: it may fit, 2: it does not."""
        return 0 if self.total + self.error <= self.capacity else 1 if self.total <= self.capacity else 2


class Predictor:
    """Predictions of one run on one machine, whose model is known."""

    def __init__(
        self, architecture: Architecture, machine: Machine, lengths: Lengths | None,
        correction: Correction = AS_PLANNED, others: int = 0,
    ) -> None:  # fmt: skip
        """``others``: bytes that other programs hold on the GPU."""
        self.architecture, self.machine, self.lengths = architecture, machine, lengths
        self.correction, self.others = correction, others

    def corrected(self, correction: Correction) -> Predictor:
        """The same, with this correction."""
        return Predictor(self.architecture, self.machine, self.lengths, correction, self.others)

    def plan(self, config: RunConfig) -> MemoryPlan:
        """The memory plan as it is without correction."""
        used = self._used(config)
        return fit(planner.job_of(config, self.architecture, used, self.lengths), used).plan

    def predict(self, config: RunConfig) -> Prediction:
        """What ``config``, which takes GPUs of this machine, would take."""
        used = self._used(config)
        job = planner.job_of(config, self.architecture, used, self.lengths)
        fitted = fit(job, used)
        allocated = self.correction.allocated(fitted.plan)
        outside = fitted.parts[Part.CONTEXT] + unusable(allocated)
        rows = planner.rows_of_a_step(config, self.architecture, used)
        seconds = planner.time_of(job, used, self.lengths).total / rows
        return Prediction(allocated + outside, (fitted.capacity or 0) - self.others, fitted.error, seconds)

    def _used(self, config: RunConfig) -> Machine:
        return self.machine._replace(cards=used_cards(config, self.machine))
