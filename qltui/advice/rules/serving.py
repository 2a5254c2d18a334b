"""Merging adapters, and serving them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config import LoraInit, Method
from qltui.advice.findings import Severity
from qltui.advice.rule import BITSANDBYTES, GITHUB, PEFT, REPRODUCED, Concerns, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import RunConfig


def _refused_by_vllm(name: str, field: str, holds: Callable[[RunConfig], bool], what: str, why: str) -> Rule:
    """What a run of ours should know whose adapter is meant for vLLM; nothing has to be mended for it."""
    return Rule(
        f"vllm-{name}-ours",
        Severity.INFO,
        field,
        lambda s: s.config is not None and s.config.method.name is not Method.FULL and holds(s.config),
        f"a run of ours whose adapter vLLM refuses: it has {what}",
        f"vLLM refuses an adapter with {what}.",
        "Merge it for serving: qltui merge RUN --out DIR makes one model of adapter and base, which vLLM takes.",
        why,
        "vLLM 0.33.0 vllm/lora/peft_helper.py, vllm/lora/utils.py",
        concerns=Concerns.OURS,
    )


RULES = (
    _refused_by_vllm(
        "dora",
        "method.lora.use_dora",
        lambda run: run.method.lora.use_dora,
        "DoRA's magnitudes",
        "It does not implement them.",
    ),
    _refused_by_vllm(
        "whole-modules",
        "method.lora.modules_to_save",
        lambda run: bool(run.method.lora.modules_to_save),
        "modules trained whole",
        "It loads LoRA weights alone, and whole modules only of classifiers.",
    ),
    _refused_by_vllm(
        "new-tokens",
        "model.new_tokens",
        lambda run: bool(run.model.new_tokens),
        "rows of new tokens",
        "It loads LoRA weights alone.",
    ),
    _refused_by_vllm(
        "initialisation",
        "method.lora.init",
        lambda run: run.method.lora.init in (LoraInit.PISSA, LoraInit.OLORA),
        "pissa or olora",
        "They take a part out of the base's weights as they begin, and it serves the whole ones.",
    ),
    Rule(
        "merge-into-4bit",
        Severity.WARN,
        "export",
        lambda s: s.export == "merge4",
        "merging an adapter into 4-bit weights",
        "{value} merges the adapter into 4-bit weights, which rounds a part of it away.",
        "Merge into the base in 16 bit; qltui merge does so with runs of ours.",
        "The merged weights are quantised again: the error was a third of the update.",
        f"{PEFT} tuners/lora/bnb.py warns; {REPRODUCED}",
        {"export": "merge16"},
    ),
    Rule(
        "merge-while-sharded",
        Severity.BLOCK,
        "merge_in_training_process",
        lambda s: s.export in ("merge4", "merge16") and s.shards_weights and s.merge_in_training_process,
        "merging in the training processes while weights are sharded",
        "Merging in the training process ({value}) needs whole weights, and {strategy} has sharded them.",
        "Merge afterwards in one process.",
        "Each rank holds a part of every weight.",
        f"{GITHUB}/huggingface/peft/blob/main/docs/source/accelerate/fsdp.md",
        {"merge_in_training_process": False},
    ),
    Rule(
        "merge-4bit-on-cpu",
        Severity.WARN,
        "merge_device",
        lambda s: s.export == "merge4" and s.merge_device == "cpu",
        "merging into 4-bit weights on CPU",
        "Merging into 4-bit weights on {value} gives wrong results once the model has evaluated.",
        "Merge before any evaluation, or on a GPU.",
        "The CPU backend repacks weights in eval mode where the processor knows AVX512-BF16, and merging reads that.",
        f"{BITSANDBYTES} nn/modules.py Linear4bit.forward; {REPRODUCED}: logits off by 1.1",
        {"merge_device": "cuda"},
    ),
    Rule(
        "vllm-adapter-trains-more",
        Severity.WARN,
        "export",
        lambda s: s.export == "vllm_adapter" and (s.modules_to_save or s.task == "seq_cls" or s.resize_vocab),
        "an adapter for vLLM that holds more than LoRA weights",
        "vLLM refuses {value} files that hold whole modules beside LoRA weights.",
        "Merge into 16-bit weights for serving: qltui merge RUN --out DIR.",
        "It loads LoRA weights alone, and whole modules only of classifiers (classifier, score).",
        f"vLLM 0.33.0 vllm/lora/peft_helper.py; {GITHUB}/hiyouga/LlamaFactory/issues/9545",
        {"export": "merge16"},
    ),
    Rule(
        "vllm-dora",
        Severity.WARN,
        "export",
        lambda s: s.export == "vllm_adapter" and s.dora,
        "a DoRA adapter for vLLM",
        "vLLM refuses DoRA adapters ({value}).",
        "Merge into 16-bit weights for serving: qltui merge RUN --out DIR.",
        "It does not implement their magnitudes.",
        "vLLM 0.33.0 vllm/lora/peft_helper.py",
        {"export": "merge16"},
    ),
    Rule(
        "openrlhf-adapters",
        Severity.WARN,
        "method",
        lambda s: s.trainer == "openrlhf_ppo_vllm" and s.method in ("lora", "qlora4"),
        "OpenRLHF with adapters and weights sent to vLLM",
        "OpenRLHF cannot send weights of {value} to vLLM: types differ, then names such as lm_head.weight lack.",
        "Merge before the weights are sent (engine.checkpoint.iter_merged gives them one by one; of a finished run, "
        "qltui merge RUN --out DIR), or train without adapters; QLoRA there goes with ZeRO-2 alone.",
        "Adapters are float32, and the server expects merged weights under the base model's names.",
        f"openrlhf 0.11.2 trainer/ray/ppo_actor.py broadcast_to_vllm; {GITHUB}/OpenRLHF/OpenRLHF/issues/1349, /403",
    ),
)
