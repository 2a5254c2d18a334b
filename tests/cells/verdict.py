"""Whether what was measured of a cell will do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from cells.cells import SAVE_EVERY, STEPS, Cell
from engine.config import Method, StrategyName, Task

SHARDING = {StrategyName.FSDP2, StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3}
RELOAD_TOLERANCE = {"cpu": 1e-4, "cuda": 1e-2}
"""Relative, of the loss of the reloaded result; on GPUs both are computed in 16 bit, in batches of other shapes."""
CLASSIFIER_TOLERANCE = 3e-2
"""Both, for classifiers on GPUs: their loss is over a few rows, not over thousands of tokens."""
INT8_TOLERANCE = 5e-3
"""On CPU: other shapes of a batch round other activations to 8 bit."""
RESUMED_TOLERANCE = 1e-2
"""Relative, of the losses after a resume, where a GPU's sums come in another order every time."""
CLASSIFIER_DIFFERENCE = 1e-2
"""Of a classifier's tensors after a resume, there, to the largest of them: its loss alone would say little."""


def complaints(cell: Cell, device: str, measured: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a cell that went through its life; nothing if it passed. ``device``: cpu or cuda."""
    yield from _audits(cell, measured["audits"])
    losses, again = ([float(loss) for loss in measured[name]] for name in ("losses", "resumed_losses"))
    if len(losses) != STEPS or not all(map(math.isfinite, losses)):
        yield f"{len(losses)} losses of {STEPS} steps, or not all are numbers: {losses}"
    elif len(set(losses)) == 1:
        yield f"the loss does not move: {losses}"
    if [path.rpartition("-")[2] for path in measured["resumed_from"]] != [f"{SAVE_EVERY:08d}"]:
        yield f"resumed from {measured['resumed_from'] or 'nothing'}, not from the checkpoint at step {SAVE_EVERY}"
    exact = device == "cpu" or cell.overrides.get("precision.deterministic", False)
    if exact and not measured["resumed_equal"]:
        yield f"the resumed result has other bits (largest difference {measured['resumed_difference']:.1e})"
    classifier = device == "cuda" and cell.task is Task.SEQUENCE_CLASSIFICATION
    if classifier and measured["resumed_difference"] > CLASSIFIER_DIFFERENCE:
        yield f"the resumed result is another one (largest difference {measured['resumed_difference']:.1e})"
    tolerance = CLASSIFIER_TOLERANCE if classifier else RESUMED_TOLERANCE
    pairs = zip(losses[SAVE_EVERY:], again, strict=False)
    far = [pair for pair in pairs if not math.isclose(*pair, rel_tol=tolerance)]
    if far or len(again) != STEPS - SAVE_EVERY:
        yield f"losses after the resume: {again}, undisturbed: {losses[SAVE_EVERY:]}"
    tolerance = CLASSIFIER_TOLERANCE if classifier else RELOAD_TOLERANCE[device]
    if cell.method is Method.INT8:
        tolerance = max(tolerance, INT8_TOLERANCE)
    if not math.isclose(measured["eval_loss"], measured["reload_eval_loss"], rel_tol=tolerance):
        yield f"plain PEFT's loss is {measured['reload_eval_loss']:.5f}, the run's own {measured['eval_loss']:.5f}"


def _audits(cell: Cell, audits: dict[str, dict[str, str]]) -> Iterator[str]:
    full = cell.method is Method.FULL
    wanted = {
        "sharding": "passed" if cell.strategy in SHARDING else "not_applicable",
        "weights": "not_applicable" if full else "passed",
        "adapter": "not_applicable" if full else "passed",
    }
    if cell.overrides.get("training.optimizer") and cell.strategy in (StrategyName.ZERO1, StrategyName.ZERO2):
        wanted.pop("sharding")  # 8-bit states are counted by no formula yet
    for audit, result in wanted.items():
        there = audits.get(audit, {"result": "missing", "detail": ""})
        if there["result"] != result:
            yield f"audit {audit}: {there['result']}, not {result} ({there['detail']})"
