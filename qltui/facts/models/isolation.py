"""Which models cannot be given packed rows, each row seeing itself alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qltui.facts.models.shape import Architecture

POSITIONS_LOST = frozenset({"bloom", "falcon", "gpt_oss", "opt"})
"""Families that do not hand positions to the mask, as ``tests/engine/test_packed_rows.py`` finds."""
KEEP_STATE = frozenset(
    {
        "bamba", "falcon_h1", "falcon_mamba", "granitemoehybrid", "jamba", "kimi_linear", "lfm2", "lfm2_moe", "mamba",
        "mamba2", "minimax", "nemotron_h", "recurrent_gemma", "rwkv", "xlstm", "zamba", "zamba2",
    }
)  # fmt: skip
"""State space models and the like among those whose layers are estimated; not tried."""


def mixes_rows(architecture: Architecture) -> bool:
    """Whether rows in one sequence are known to see each other."""
    return (
        architecture.model_type in POSITIONS_LOST | KEEP_STATE
        or any(not layer.attention for _, layer in architecture.layers)
    )  # fmt: skip
