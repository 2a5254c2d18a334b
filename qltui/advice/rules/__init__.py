"""Every rule, by subject."""

from __future__ import annotations

from qltui.advice.rules import (
    adapters,
    checkpointing,
    environment,
    experts,
    fsdp,
    hardware,
    int8,
    offload,
    optimizers,
    others,
    ours,
    placement,
    saving,
    sequences,
    serving,
    storage,
    zero,
)

SUBJECTS = {
    "Storage of 4-bit weights": storage.RULES,
    "8-bit weights": int8.RULES,
    "ZeRO": zero.RULES,
    "Offload": offload.RULES,
    "FSDP": fsdp.RULES,
    "Placement and DDP": placement.RULES,
    "Activation checkpointing": checkpointing.RULES,
    "Saving and resuming": saving.RULES,
    "Adapters": adapters.RULES,
    "Mixtures of experts": experts.RULES,
    "Optimizers": optimizers.RULES,
    "Hardware": hardware.RULES,
    "Sequences": sequences.RULES,
    "Environment": environment.RULES,
    "Merging and serving": serving.RULES,
    "What other programs do by themselves": others.RULES,
    "Our own runs": ours.RULES,
}
"""Rules by subject, as ``docs/rules.md`` lists them."""

RULES = tuple(rule for rules in SUBJECTS.values() for rule in rules)
