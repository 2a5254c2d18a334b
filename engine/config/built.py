"""What the engine builds so far, declared once: the launch check and the engine both refuse the rest by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.run_config import StrategyName, Task, get
from engine.config.schema import Problem, as_text

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from engine.config.run_config import RunConfig

BUILT: dict[str, Collection[Any]] = {
    "model.task": (Task.CAUSAL_LM,),
    "strategy.name": (StrategyName.SINGLE, StrategyName.DDP),
    "strategy.offload_optimizer": (False,),
    "strategy.offload_parameters": (False,),
    "hardware.nodes": (1,),
}
"""Values that work, by dotted path; fields that are not named here work with every value they allow."""


def not_built(config: RunConfig) -> list[Problem]:
    """A problem for each field whose value is allowed but not built yet."""
    problems = []
    for path, built in BUILT.items():
        value = get(config, path)
        if value not in built:
            use = " or ".join(as_text(one) for one in built)
            problems.append(Problem("", path, f"{as_text(value)} is not built yet; use {use}."))
    return problems
