"""What vLLM takes of an adapter, as read in the source of one release; the names of architectures are in ``vllm.json``.

To move to another release: its sdist's ``vllm/model_executor/models`` tells the classes that have ``SupportsLoRA``
(adapters), ``embedding_modules`` with ``embed_tokens`` and ``lm_head`` (ends), ``is_3d_moe_weight`` (fused_experts).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("vllm.json")

WHOLE_MODULES = ("classifier", "score")
"""Modules trained whole that it takes, of classifiers."""
INITIALISATIONS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Named ones that leave the base's weights as they are."""
ENDS = ("embed_tokens", "lm_head")

HELPER = "vllm/lora/peft_helper.py"
KEYS = "vllm/lora/utils.py parse_fine_tuned_lora_name"
MODULES = "vllm/lora/lora_model.py check_unexpected_modules"
RANK = "vllm/config/lora.py MaxLoRARanks"
HEAD = "vllm/lora/layers/logits_processor.py"
EXPERTS = "vllm/lora/model_manager.py _validate_moe_lora_format, docs/features/lora.md"
MODELS = "vllm/model_executor/models"
"""Where in its source each of it stands."""


class Vllm(NamedTuple):
    """A release."""

    version: str
    ranks: list[int]
    """What ``--max-lora-rank`` may be."""
    default_rank: int
    largest_head: int
    """Tokens of a vocabulary whose head may have an adapter."""
    adapters: frozenset[str]
    """Architectures that take adapters."""
    no_adapters: frozenset[str]
    """Architectures it has without."""
    ends: frozenset[str]
    """Those of which embedding and head take them too."""
    fused_experts: frozenset[str]
    """Those whose experts take adapters as PEFT has them."""


@cache
def known() -> Vllm:
    """The release that was read."""
    found = json.loads(FILE.read_text("utf-8"))
    names = {key: frozenset(found[key]) for key in ("adapters", "no_adapters", "ends", "fused_experts")}
    return Vllm(found["version"], found["ranks"], found["default_rank"], found["largest_head"], **names)
