"""The five write-ups this program started from: what was true of their versions, and what is true of today's.

1. QLoRA under ZeRO-3 that kept whole copies. 2. FSDP with QLoRA, int8 and classification. 3. Long instructions on 24 GB
cards with DeepSpeed offload. 4. OpenRLHF with QLoRA under ZeRO-3, and adapters for vLLM. 5. Llama-3-8B under FSDP on
four A40s and a host with little memory.
"""

from __future__ import annotations

from typing import Any

import pytest
from unit.test_rules_fire import our_run, spoken

from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Severity

BLOCK, WARN, INFO = Severity

CASES: list[tuple[str, dict[str, Any], str, Severity | None]] = [
    # 1
    ("1: shards in the end", {"strategy": "zero3"}, "zero3-quantised-loads-whole", INFO),
    ("1: 70B on 24 GB", {"strategy": "zero3", "est_quant_model_gb": 37.0}, "zero3-quantised-load-spike", WARN),
    ("1: a device map", {"strategy": "zero3", "device_map": "auto"}, "zero3-device-map", BLOCK),
    # 2
    ("2: compress_statistics", {"strategy": "fsdp1", "versions": {"bitsandbytes": "0.42.0"}},
     "fsdp-4bit-old-bitsandbytes", BLOCK),
    ("2: compress_statistics today", {"strategy": "fsdp1"}, "fsdp-4bit-old-bitsandbytes", None),
    ("2: storage left at uint8", {"strategy": "fsdp1"}, "fsdp1-4bit-uint8", BLOCK),
    ("2: the usual advice under FSDP1", {"strategy": "fsdp1", "quant_storage": "bfloat16"},
     "fsdp1-4bit-storage-not-model-type", None),
    ("2: the usual advice under FSDP2", {"quant_storage": "bfloat16"}, "fsdp2-4bit-storage-damaged", BLOCK),
    ("2: float16 beside bf16", {"quant_storage": "float16"}, "fsdp2-4bit-storage-cast", BLOCK),
    ("2: device_map auto", {"device_map": "auto"}, "device-map-in-ranks", BLOCK),
    ("2: int8", {"method": "int8"}, "fsdp-int8", BLOCK),
    ("2: task_type", {"task": "seq_cls", "versions": {"peft": "0.15.2"}}, "fsdp-classification-old-peft", WARN),
    ("2: task_type today", {"task": "seq_cls"}, "fsdp-classification-old-peft", None),
    ("2: the trap of today", {"task": "seq_cls", "cpu_ram_efficient_loading": True}, "fsdp2-head-uninitialised", BLOCK),
    # 3
    ("3: tensors on two devices", {"strategy": "zero3", "cpu_offload_opt": True, "versions": {"deepspeed": "0.14.2"}},
     "zero-offload-device-mismatch", BLOCK),
    ("3: today", {"strategy": "zero3", "cpu_offload_opt": True}, "zero-offload-device-mismatch", None),
    ("3: still pointless", {"strategy": "zero3", "cpu_offload_opt": True}, "offload-optimizer-of-adapters", INFO),
    # 4
    ("4: .to of 4-bit", {"strategy": "zero3", "versions": {"bitsandbytes": "0.43.0"}}, "zero3-4bit-cannot-move", WARN),
    ("4: .to of 4-bit today", {"strategy": "zero3"}, "zero3-4bit-cannot-move", None),
    ("4: .to of 8-bit", {"method": "int8", "strategy": "zero3", "versions": {"bitsandbytes": "0.46.1"}},
     "int8-cannot-move", WARN),
    ("4: weights for vLLM", {"trainer": "openrlhf_ppo_vllm", "strategy": "zero3"}, "openrlhf-adapters", WARN),
    ("4: merging into 4 bits", {"export": "merge4"}, "merge-into-4bit", WARN),
    # 5
    ("5: SIGKILL", {"est_host_ram_per_rank_gb": 15.0, "host_ram_gb": 16.0, "versions": {"transformers": "4.57.1"}},
     "fsdp-every-rank-loads", WARN),
    ("5: SIGKILL today", {"est_host_ram_per_rank_gb": 15.0, "host_ram_gb": 16.0}, "fsdp-every-rank-loads", None),
    ("5: offload without need", {"cpu_offload_params": True}, "offload-needless", INFO),
    ("5: reentrant, no longer needed", {"use_reentrant": True}, "fsdp-reentrant-needless", INFO),
    ("5: find_unused",
     {"strategy": "ddp", "use_reentrant": True, "find_unused": True}, "ddp-marked-ready-twice", BLOCK),
    ("5: model and peft_config", {"trainer": "trl", "peft_applied_twice": True}, "peft-applied-twice", BLOCK),
    ("5: the adapter saved empty",
     {"strategy": "fsdp1", "quant_storage": "bfloat16"}, "fsdp1-adapter-saved-empty", BLOCK),
    ("5: before PEFT 0.21", {"strategy": "fsdp1", "versions": {"peft": "0.20.0"}}, "fsdp1-adapter-saved-empty", None),
]  # fmt: skip


@pytest.mark.parametrize(("values", "rule", "severity"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_failure_is_told_with_todays_truth(values: dict[str, Any], rule: str, severity: Severity | None) -> None:
    said = {finding.rule: finding.severity for finding in evaluate(spoken(values))}
    assert said.get(rule) is severity


@pytest.mark.parametrize(
    "values",
    [
        {"strategy.name": "zero3"},
        {"strategy.name": "fsdp2"},
        {"strategy.name": "fsdp2", "model.task": "sequence_classification"},
        {"strategy.name": "zero3", "method.name": "int8"},
        {"strategy.name": "zero3", "strategy.offload_optimizer": True},
        {"strategy.name": "ddp", "training.gradient_checkpointing": "all", "machine": "4xA40"},
    ],
)
def test_what_the_cases_wanted_runs_here_with_nothing_above_info(values: dict[str, Any]) -> None:
    assert [finding for finding in evaluate(our_run(values)) if finding.severity is not INFO] == []
