"""Optimizers of bitsandbytes, and what takes them."""

from __future__ import annotations

from qltui.advice.findings import Severity
from qltui.advice.rule import BITSANDBYTES, GITHUB, REPRODUCED, Concerns, Rule
from qltui.advice.versions import Bound

RULES = (
    Rule(
        "fsdp2-bitsandbytes-optimizer",
        Severity.BLOCK,
        "optim",
        lambda s: s.strategy == "fsdp2" and s.bitsandbytes_optimizer,
        "an 8-bit or paged optimizer of bitsandbytes under FSDP2",
        "{value} has no kernels for FSDP2's sharded parameters, and the first step fails.",
        "Use adamw_torch_fused, or torchao's adamw_torch_8bit.",
        "bitsandbytes' operators know no sharding strategy for DTensors.",
        f"{REPRODUCED} with {BITSANDBYTES}; {GITHUB}/bitsandbytes-foundation/bitsandbytes/issues/1633;"
        " axolotl 0.19.0 refuses it too",
        {"optim": "adamw_torch_fused"},
    ),
    Rule(
        "fsdp1-8bit-optimizer-not-saved",
        Severity.WARN,
        "optim",
        lambda s: s.strategy == "fsdp1" and s.bitsandbytes_optimizer,
        "an 8-bit or paged optimizer of bitsandbytes under FSDP1, with an older bitsandbytes",
        "The states of {value} cannot be saved under FSDP1 with this bitsandbytes.",
        "Update bitsandbytes to 0.49.2 or newer, or use adamw_torch.",
        "Its quantisation tables could not be gathered.",
        f"{GITHUB}/bitsandbytes-foundation/bitsandbytes/pull/1840; PEFT's guide to FSDP says the same of"
        " paged_adamw_8bit",
        {"optim": "adamw_torch"},
        versions=(Bound("bitsandbytes", before="0.49.2"),),
    ),
    Rule(
        "8bit-optimizer-of-adapters",
        Severity.INFO,
        "optim",
        lambda s: s.bitsandbytes_optimizer and s.adapters and s.strategy != "fsdp2" and not s.modules_to_save,
        "an 8-bit or paged optimizer for adapters",
        "{value} saves little with adapters, whose states are megabytes; {plain_optimizer} is simpler and exact.",
        "Use that one.",
        "Tensors below 4,096 numbers keep 32-bit states anyway.",
        f"{BITSANDBYTES} optim/optimizer.py min_8bit_size; {REPRODUCED}",
        lambda s: {"optim": s.plain_optimizer},
        concerns=Concerns.ALL,
    ),
)
