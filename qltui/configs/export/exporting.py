"""A run as the text of another program's file, every key from the program's table."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from engine.config.cells import refused
from engine.config.choices import Device, StrategyName
from engine.config.quick_msgspec import msgspec
from engine.config.ranks import compute_type
from engine.config.schema import ConfigError, Problem, as_text
from qltui.configs.export.axolotl import AXOLOTL
from qltui.configs.export.data_source import layout
from qltui.configs.export.llamafactory import LLAMA_FACTORY
from qltui.configs.export.meanings import INSTEAD
from qltui.configs.export.tables import LEFT_OUT, Given, Row
from qltui.configs.export.trl import TRL
from qltui.configs.export.yaml_text import comment, entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.config import RunConfig
    from qltui.configs.export.tables import Lost, Program

PROGRAMS = {program.name: program for program in (TRL, AXOLOTL, LLAMA_FACTORY)}
CAPABILITY = 9
"""Of the GPUs that an open precision is resolved for: those of today, which compute bf16."""


class Exported(NamedTuple):
    """A run for another program."""

    text: str
    """Its main file."""
    file: str
    """What that is called."""
    companions: Mapping[str, str]
    """Other files it needs, by name."""
    notes: list[str]
    """What is another there, and why."""


def export(config: RunConfig, name: str, folder: str | None = None, file: str = "") -> Exported:
    """A run as a file of the program ``name``, one of :data:`PROGRAMS`.

    Args:
        folder: where companions will lie, if it is known.
        file: what the main file will be called; after the program where it is empty.

    Raises:
        ConfigError: the run, or something in it, is nothing that the program can do.
    """
    program = PROGRAMS[name]
    problems = refused(config)
    if problems:
        raise ConfigError(problems)
    carried, notes = _carried(config, program)
    capabilities = () if config.hardware.device is Device.CPU else (CAPABILITY,)
    given = Given(carried, compute_type(config, capabilities), layout(config), folder)
    problems = [
        Problem(f"--to {name}", one.field, one.message, one.remedy) for one in program.refusals if one.when(given)
    ]
    if problems:
        raise ConfigError(problems)
    file = file or f"{name}.yaml"
    text = "\n".join(_lines(program, given, file, notes)) + "\n"
    return Exported(text, file, program.companions(given), notes)


def _carried(config: RunConfig, program: Program) -> tuple[RunConfig, list[str]]:
    """The run with a strategy that the program has for its method, and what was changed."""
    strategy, why = INSTEAD.get((config.method.name, config.strategy.name), (None, ""))
    if strategy is None:
        return config, []
    wanted = config.strategy
    notes = [f"strategy.name: {wanted.name.value} becomes {strategy.value}: {why}."]
    keeps = strategy is StrategyName.ZERO3
    if wanted.offload_parameters and not keeps:
        notes.append(f"strategy.offload_parameters: {strategy.value} keeps parameters on the GPU.")
    other = msgspec.structs.replace(
        wanted, name=strategy, offload_parameters=wanted.offload_parameters and keeps
    )  # fmt: skip
    return msgspec.structs.replace(config, strategy=other), notes


def _lines(program: Program, given: Given, file: str, notes: list[str]) -> Iterator[str]:
    yield from comment(f"The run {given.value('name')} for {program.title}, written by qltui export.")
    yield from comment(f"Start it: {program.start(given, shlex.quote(file))}")
    yield from comment("Not there: our audits, exact resume, and checkpoints that every strategy reads.")
    for note in notes:
        yield from comment(note)
    yield ""
    for one in program.entries:
        yield from _of_row(one, given) if isinstance(one, Row) else _of_lost(one, given)


def _of_row(row: Row, given: Given) -> Iterator[str]:
    note = row.note(given)
    if note:
        yield from comment(note)
    value = row.value(given)
    if value is not LEFT_OUT:
        yield from entry(row.key, value)


def _of_lost(lost: Lost, given: Given) -> Iterator[str]:
    if lost.matters(given):
        value = as_text(given.value(lost.fields[0])) if lost.fields else ""
        yield from comment(lost.why.replace("{value}", value))
