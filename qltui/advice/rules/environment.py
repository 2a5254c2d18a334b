"""Installed versions, tokens, disks and ports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.findings import Severity
from qltui.advice.rule import GITHUB, TORCH, TRANSFORMERS, Concerns, Rule
from qltui.advice.versions import Bound

if TYPE_CHECKING:
    from qltui.advice.setup import Setup

ROOM = 1.5
"""Room to plan for each checkpoint, in multiples of its estimated size."""


def _as_many_as_fit(setup: Setup) -> dict[str, int]:
    """How many checkpoints may be kept beside the one being written; nothing where not even one may."""
    fit = int(setup.disk_free_gb / (ROOM * setup.ckpt_gb)) - 1
    return {"save_total": fit} if fit >= 1 else {}


RULES = (
    Rule(
        "gated-model-without-token",
        Severity.WARN,
        "hf_token",
        lambda s: s.gated and not s.hf_token,
        "a gated model without a token",
        "The model is gated and there is no token.",
        "Accept its licence on the hub, and run hf auth login.",
        "The hub refuses the download, unless the model was fetched before.",
        f"{TRANSFORMERS} utils/hub.py",
    ),
    Rule(
        "no-padding-token",
        Severity.BLOCK,
        "pad_token",
        lambda s: s.task == "seq_cls" and s.batch_size > 1 and not s.pad_token,
        "sequence classification of several rows at once without a padding token",
        "There is no padding token, and {batch_size} rows are classified at once.",
        "Set tokenizer.pad_token and model.config.pad_token_id.",
        "The model raises: Cannot handle batch sizes > 1 if no padding token is defined.",
        f"{TRANSFORMERS} modeling_layers.py GenericForSequenceClassification",
        {"pad_token": True},
    ),
    Rule(
        "port-in-use",
        Severity.WARN,
        "port_in_use",
        lambda s: s.port_in_use and s.world_size > 1,
        "a rendezvous port that is taken",
        "The port the ranks meet at is taken.",
        "Choose another with main_process_port, or start with --standalone.",
        "Another job listens there.",
        f"{TORCH} distributed/rendezvous.py",
    ),
    Rule(
        "disk-too-small",
        Severity.WARN,
        "save_total",
        lambda s: s.disk_free_gb < ROOM * s.ckpt_gb * (s.save_total + 1),
        "too little free disk for the checkpoints kept and the one being written",
        "{value} checkpoints of {ckpt_gb:.1f} GiB and one being written may not fit the {disk_free_gb:.1f} GiB"
        " free on disk.",
        "Keep fewer, or write elsewhere.",
        "A checkpoint is written whole before an older one goes; a full disk ends the run at a save.",
        f"{GITHUB}/bghira/SimpleTuner/issues/2353",
        _as_many_as_fit,
        concerns=Concerns.ALL,
    ),
    Rule(
        "transformers5-old-bitsandbytes",
        Severity.BLOCK,
        "method",
        lambda s: s.quantised,
        "quantised weights with Transformers 5 and a bitsandbytes before 0.46.1",
        "{value} with Transformers 5 needs bitsandbytes 0.46.1 or newer.",
        "Update bitsandbytes.",
        "Transformers checks it before loading.",
        f"{TRANSFORMERS} utils/import_utils.py BITSANDBYTES_MIN_VERSION",
        versions=(Bound("bitsandbytes", before="0.46.1"), Bound("transformers", since="5.0.0")),
        concerns=Concerns.ALL,
    ),
    Rule(
        "transformers-old-peft",
        Severity.WARN,
        "method",
        lambda s: s.adapters,
        "adapters with Transformers 5.23 or newer and a PEFT before 0.20",
        "{value} with this Transformers wants peft 0.20 or newer.",
        "Update peft.",
        "Transformers names 0.20.0 as the oldest it works with.",
        f"{TRANSFORMERS} dependency_versions_table.py",
        versions=(Bound("peft", before="0.20.0"), Bound("transformers", since="5.23.0")),
        concerns=Concerns.ALL,
    ),
)
