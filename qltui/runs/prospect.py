"""What a launch would write and start, told before it does: headless, and nothing is written or taken."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, NamedTuple

from engine.config.ranks import gpus_per_node, ranks_per_node, uses_gpu
from qltui.advice.our_runs import anywhere
from qltui.configs.files import file_texts
from qltui.facts import machine as machines
from qltui.facts.gpus import Gpu
from qltui.runs import launching, leases, plan_file, store
from qltui.runs.assessment import assess

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.facts.machine import Machine
    from qltui.runs.assessment import Assessment

MOMENT = "DATE-TIME"
"""Stands for the time of the launch in the name of its folder."""


class Prospect(NamedTuple):
    """A launch that has not happened."""

    folder: str
    """Where the run will lie."""
    files: dict[str, str]
    """The text of each file in it, by name."""
    argv: list[str]
    """What starts its ranks, as ``launch.json`` will say."""
    refusal: str
    """Why another run, or a missing one, stands in the way now; empty where none does."""
    may_wait: bool = False
    """Whether that is GPUs that others have, so that it can be queued."""


class Foresight(NamedTuple):
    """All that is known of a launch before it."""

    planned: Assessment
    """On the machine it is planned for."""
    here: Assessment
    """On this machine; the same where no other was described."""
    prospect: Prospect


def foresee(config: RunConfig, described: str = "") -> Foresight:
    """What is known of a launch that is planned for GPUs as ``described``, or for those of this machine.

    Raises:
        UnknownMachine: the description is none.
    """
    here = assess(config)
    planned = assess(anywhere(config), machines.parse(described)) if described else here
    return Foresight(planned, here, prospect(planned))


def prospect(assessed: Assessment) -> Prospect:
    """The launch of a run on the machine it was assessed for."""
    config, machine, refusal, may_wait = assessed.config, assessed.machine, "", False
    try:
        config = launching.with_parent_found(config)
        gpus = launching.claim(config) if machine.devices or not machine.cards else _of(machine, config)
    except leases.GpusTaken as taken:
        gpus, refusal, may_wait = _of(machine, config), f"{taken.reason}.", True
    except launching.LaunchRefused as error:
        gpus, refusal = _of(machine, config), str(error)
    folder = str(store.runs_home() / f"{config.name}-{MOMENT}")
    files = file_texts(config, ranks_per_node(config, len(gpus)), gpus)
    files["plan.json"] = json.dumps(plan_file.document(assessed), ensure_ascii=False, indent=1) + "\n"
    argv = [sys.executable, "-P", "-m", "engine.launch", folder]
    argv += ["--gpus", ",".join(gpu.uuid for gpu in gpus)] if gpus else []
    return Prospect(folder, files, argv, refusal, may_wait)


def _of(machine: Machine, config: RunConfig) -> list[Gpu]:
    """The first of its GPUs, as many as the run takes; of a machine that was described, numbers stand for UUIDs."""
    if not uses_gpu(config, len(machine.cards)):
        return []
    gpus = list(machine.devices) or [
        Gpu(number, str(number), card.name, card.memory_bytes, card.capability)
        for number, card in enumerate(machine.cards)
    ]
    return gpus[: gpus_per_node(config, len(gpus))]
