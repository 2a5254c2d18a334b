"""The steps of the wizard, and which fields each of them asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.config import FIELDS

if TYPE_CHECKING:
    from engine.config import Field

NOT_ASKED = ("schema_version", "parent", "hardware.planned_for")
"""Fields that the program fills in."""


class Step(NamedTuple):
    """One page of the wizard."""

    name: str
    title: str
    sections: tuple[str, ...]
    """Sections of RunConfig in the order they are asked; '' has the fields that stand in none."""
    first: tuple[str, ...] = ()
    """Paths of what is asked up front, of other steps' sections too; empty: all of its own that are not advanced."""

    @property
    def fields(self) -> list[Field]:
        """What this step alone asks for, in order."""
        return [field for section in self.sections for field in _fields(section)]

    @property
    def front(self) -> list[Field]:
        """What is asked up front."""
        return [FIELDS[path] for path in self.first] or [field for field in self.fields if not field.advanced]

    @property
    def more(self) -> list[Field]:
        """What is folded away."""
        front = {field.path for field in self.front}
        return [field for field in self.fields if field.path not in front]


FEW_OF_TRAINING = (
    "training.epochs", "training.max_steps", "training.learning_rate", "method.lora.rank", "method.lora.alpha",
    "data.max_length", "training.micro_batch_size", "training.gradient_accumulation_steps",
    "training.gradient_checkpointing", "name",
)  # fmt: skip
"""What matters most of how to train."""

STEPS = (
    Step("model", "Model", ("model",)),
    Step("data", "Data", ("data",)),
    Step("hardware", "Hardware", ("hardware",)),
    Step("method", "Method & strategy", ("method", "strategy")),
    Step("training", "Training", ("training", "", "precision", "recovery", "tracking"), FEW_OF_TRAINING),
)
"""Before the review."""


def step_of(path: str) -> Step:
    """The step that asks for a field."""
    section = path.partition(".")[0] if "." in path else ""
    return next(step for step in STEPS if section in step.sections)


def _fields(section: str) -> list[Field]:
    return [
        field for path, field in FIELDS.items()
        if path not in NOT_ASKED and (path.partition(".")[0] if "." in path else "") == section
    ]  # fmt: skip
