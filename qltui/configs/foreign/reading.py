"""What was understood of a foreign configuration file, and where it stands."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.config.schema import Problem


class Format(StrEnum):
    """Whose file it is."""

    QLTUI = "qltui"
    ACCELERATE = "accelerate"
    DEEPSPEED = "deepspeed"
    AXOLOTL = "axolotl"
    LLAMA_FACTORY = "llamafactory"
    LLAMA_FACTORY_V1 = "llamafactory-v1"
    TRAINER = "trainer"
    """Arguments of Transformers' Trainer or of TRL, as YAML or JSON."""
    FSDP = "fsdp"
    """What Transformers takes as ``--fsdp_config``: a JSON file with the plugin's settings alone."""
    OPENRLHF = "openrlhf"
    """Arguments of OpenRLHF's programs, which come in commands alone."""
    COMMAND = "command"
    """A command line that starts a training, or a script holding one."""


TITLES = {
    Format.QLTUI: "QLTUI run",
    Format.ACCELERATE: "Accelerate launch configuration",
    Format.DEEPSPEED: "DeepSpeed configuration",
    Format.AXOLOTL: "Axolotl configuration",
    Format.LLAMA_FACTORY: "LLaMA-Factory configuration",
    Format.LLAMA_FACTORY_V1: "LLaMA-Factory v1 configuration",
    Format.TRAINER: "TRL or Trainer arguments",
    Format.FSDP: "FSDP settings for Trainer",
    Format.OPENRLHF: "OpenRLHF arguments",
    Format.COMMAND: "training command",
}
"""What a person calls each format."""


class Place(NamedTuple):
    """Where a value stands."""

    file: str
    key: str
    """The file's own name of it, dotted where it is nested."""
    line: int
    """Counted from 1."""
    start: int
    """Characters before the value, in the file's text; negative where it can't be rewritten by itself."""
    end: int
    spelling: Mapping[Any, Any] | None = None
    """Our value to the file's, where they differ; an empty one where a new value can't be written in this one place."""


class Reading(Struct):
    """One file, or several that belong together, in the words of the rules."""

    path: str
    """The file; of several the one that says most of the training."""
    format: Format | None
    """None where the file is none that is known, or can't be read."""
    evidence: str = ""
    """Why it was taken for that format."""
    values: dict[str, Any] = field(default_factory=dict)
    """What the file says. What it leaves open is absent, and so is ``auto``; a few follow from the tool's default."""
    places: dict[str, Place] = field(default_factory=dict)
    """Where it says so. A value without a place follows from the tool's default, and anything said overrules it."""
    ignored: list[str] = field(default_factory=list)
    """Keys that say nothing about what is checked, or that are unknown."""
    lines: dict[str, int] = field(default_factory=dict)
    """The line of every key."""
    problems: list[Problem] = field(default_factory=list)
    """What is wrong with the file."""
    notes: list[Problem] = field(default_factory=list)
    """What one should know: values filled in elsewhere, files that contradict each other."""
    loose: list[Problem] = field(default_factory=list)
    """What is no JSON though it can be read as such: only DeepSpeed itself does."""
    references: dict[str, str] = field(default_factory=dict)
    """Files it names, by the key that does."""
    parts: list[Reading] = field(default_factory=list)
    """The files it was made of, if several."""
    arguments: Format | None = None
    """Of a command: whose arguments its program takes."""

    @property
    def files(self) -> list[Reading]:
        """The readings of its files, one by one."""
        return self.parts or [self]

    @property
    def engine(self) -> str:
        """The program that trains, or starts the training, in the rules' word for it."""
        kind = self.format
        if kind is Format.COMMAND:
            named = [part.engine for part in self.parts if part.format is not Format.COMMAND and part.trains]
            if named:
                return named[0]
            kind = next((file.arguments for file in self.files if file.format is Format.COMMAND), None)
        if kind is Format.TRAINER:
            return "trl" if str(self.values.get("trainer", "")).startswith("trl") else "hf"
        return ENGINES.get(kind, "hf") if kind else "hf"

    @property
    def trains(self) -> bool:
        """Whether it says how is trained, not only how ranks are started or sharded."""
        return self.format not in (None, Format.QLTUI, Format.ACCELERATE, Format.DEEPSPEED, Format.FSDP)

    @property
    def is_deepspeeds_alone(self) -> bool:
        """Whether nothing says that another program than DeepSpeed reads its files."""
        return all(file.format is Format.DEEPSPEED for file in self.files)


ENGINES = {
    Format.QLTUI: "qltui", Format.ACCELERATE: "accelerate", Format.DEEPSPEED: "deepspeed", Format.AXOLOTL: "axolotl",
    Format.LLAMA_FACTORY: "llamafactory", Format.LLAMA_FACTORY_V1: "llamafactory", Format.OPENRLHF: "openrlhf",
}  # fmt: skip
