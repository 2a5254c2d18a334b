"""Where a run that died goes on, as it is or with other settings: what is kept, and what begins anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config import get
from engine.config.choices import LoraInit, Method, Optimizer, StrategyName
from engine.config.run_config import FIELDS
from engine.events import EventReader
from qltui.runs import store
from qltui.runs.sense import finite, whole

if TYPE_CHECKING:
    from pathlib import Path

    from engine.config import RunConfig
    from engine.events import RunDirectory

OTHER_WEIGHTS = (
    "model.path", "model.revision", "model.task", "model.num_labels", "model.new_tokens", "method.lora.rank",
    "method.lora.target_modules", "method.lora.modules_to_save", "method.lora.use_dora", "method.lora.init",
)  # fmt: skip
"""Fields that make what is trained something else, which no checkpoint of the old fits."""
FROM_WEIGHTS = (LoraInit.PISSA, LoraInit.OLORA)
"""Adapters that are taken out of the base, so that they fit no base but the one with the same bits."""
RISEN = 2.0
"""Times its first value at which a loss has left the good path, before it becomes no number."""


class Start(NamedTuple):
    """Where it goes on."""

    checkpoint: Path | None
    """None: it begins anew, or where its own parent stands."""
    parent: str | None
    """For the new run's configuration."""
    is_newest: bool
    """Whether that is the checkpoint which the engine takes by itself from the parent."""
    where: str
    """In a few words."""
    kept: str = ""
    """What else goes on, and what is otherwise."""

    @property
    def sentence(self) -> str:
        """All of it."""
        return f"It {self.where}{self.kept}."


def start_of(run: RunDirectory, config: RunConfig, patched: RunConfig, cause: str) -> Start:
    """Where ``run`` goes on with ``patched`` in place of its ``config``; after a bad loss before that one."""
    there = store.checkpoints(run)
    anew = begins_anew(config, patched)
    if anew:
        return Start(None, None, False, f"begins anew: {anew}")
    good = before_bad_loss(run, there) if cause == "loss_nan_or_zero" else there
    if not good:
        if config.parent is not None and not there:
            return Start(None, config.parent, False, f"goes on from {config.parent}, as it did")
        return Start(None, None, False, f"begins anew: {'no good checkpoint' if there else 'nothing'} was saved")
    kept = " with weights, optimizer and schedule as they were"
    if but := _otherwise(config, patched):
        kept += f"; {but}"
    return Start(good[0], store.reference(run), good[0] == there[0], f"goes on from step {step_of(good[0])}", kept)


def begins_anew(config: RunConfig, patched: RunConfig) -> str:
    """Why the checkpoints of a run are of no use with other settings; empty where they are."""
    changed = {path for path in FIELDS if get(config, path) != get(patched, path)}
    if other := next((path for path in OTHER_WEIGHTS if path in changed), None):
        return f"with another {other} no checkpoint fits"
    if "method.name" in changed:
        if Method.FULL in (config.method.name, patched.method.name):
            return f"under {patched.method.name.value} other weights are trained"
        if config.method.lora.init in FROM_WEIGHTS:
            return f"adapters of init {config.method.lora.init.value} fit only the base they were taken from"
    if "training.optimizer" in changed:
        return "the optimizers keep other states"
    in_blocks = config.training.optimizer is not Optimizer.ADAMW and config.strategy.name in (
        StrategyName.ZERO1, StrategyName.ZERO2, StrategyName.ZERO3,
    )  # fmt: skip
    if in_blocks and changed & {"strategy.name", "hardware.ranks_per_node", "hardware.gpus"}:
        return "8-bit optimizer states under ZeRO fit no other strategy or number of ranks"
    return ""


def _otherwise(config: RunConfig, patched: RunConfig) -> str:
    """What is not as it was though it goes on."""
    said = {
        "training.learning_rate": "the rate is the new one",
        "training.warmup_ratio": "the schedule has the new warm-up",
        "data.packing": "steps have other rows",
        "data.max_length": "rows are tokenised anew, so their order changes if any is dropped",
        "method.name": "the base weights are kept in other bits",
        "strategy.name": "dropout draws anew",
        "training.micro_batch_size": "steps have the same rows, rounding and dropout differ",
    }
    return ", ".join(words for path, words in said.items() if get(config, path) != get(patched, path))


def step_of(checkpoint: Path) -> int:
    """The step of a folder ``step-<n>``."""
    return int(checkpoint.name.removeprefix("step-"))


def before_bad_loss(run: RunDirectory, there: list[Path]) -> list[Path]:
    """Those of the checkpoints, newest first, with whose weights the loss was good: that of the step after them."""
    bad = first_bad_step(run)
    return [one for one in there if bad is None or step_of(one) + 1 < bad]


def first_bad_step(run: RunDirectory) -> int | None:
    """From which step on to the end the loss or its gradient was no number, or the loss zero or far over the first."""
    first, bad = None, None
    for attempt in run.attempts():
        reader = EventReader(attempt.events(0))
        while events := reader.read():
            for event in events:
                step = whole(event.get("step")) if event.get("kind") == "step" else None
                if step is None:
                    continue
                loss = finite(event.get("loss"))
                first = loss if first is None else first
                no_number = loss is None or (event.get("grad_norm") is not None and finite(event["grad_norm"]) is None)
                is_bad = no_number or loss == 0 or (loss and first and loss > RISEN * first)
                bad = (step if bad is None else min(bad, step)) if is_bad else None
    return bad
