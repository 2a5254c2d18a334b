"""Whatever the run and the machine: fixes of blocks end in a run without one, and nothing said is half a sentence."""

from __future__ import annotations

import enum
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_rules_fire import NOW

from engine.config import Method, RunConfig, StrategyName
from engine.config.cells import refused
from engine.config.run_config import FIELDS, build, get
from qltui.advice.evaluation import evaluate
from qltui.advice.findings import Finding, Severity
from qltui.advice.setup import Setup
from qltui.facts.architecture import find
from qltui.facts.machine import parse

GIB = 2**30
MODELS = [None, *map(find, ("Qwen/Qwen3-8B", "mistralai/Mixtral-8x7B-v0.1", "HuggingFaceTB/SmolLM2-135M"))]
MACHINES = list(map(parse, ("cpu", "1xA40", "4xA40", "2xT4", "1xV100", "8xH100-80", "1xA40+1xT4", "2n8xH100-80")))
CHOICES = (
    "method.name", "strategy.name", "precision.compute", "hardware.device", "training.optimizer", "method.lora.init",
    "method.quantization.storage", "method.quantization.type", "model.attention", "model.task",
)  # fmt: skip
FLAGS = ("strategy.offload_optimizer", "strategy.offload_parameters", "method.lora.use_dora")

values = st.fixed_dictionaries(
    {
        "model.path": st.just("org/model"),
        "data.path": st.just("org/data"),
        **{path: st.sampled_from(FIELDS[path].choices) for path in CHOICES},
        **{path: st.booleans() for path in FLAGS},
        "hardware.ranks_per_node": st.sampled_from([None, 1, 2, 3, 8]),
        "hardware.nodes": st.sampled_from([1, 1, 2]),
        "hardware.gpus": st.sampled_from([[], ["0"], ["1"], ["0", "1"], ["7", "9"], ["GPU-1234"]]),
        "method.lora.dropout": st.sampled_from([0.0, 0.1]),
        "method.lora.target_modules": st.sampled_from(["all-linear", ["q_proj", "v_proj"]]),
        "method.lora.modules_to_save": st.sampled_from([[], ["lm_head"]]),
        "model.new_tokens": st.sampled_from([[], ["<a>"]]),
        "training.generate_answers": st.sampled_from([0, 8]),
        "training.gradient_checkpointing": st.sampled_from(["none", "all", 4]),
        "data.max_length": st.sampled_from([128, 2048, 10**6]),
        "data.num_workers": st.sampled_from([0, 4]),
    }
)
machines = st.builds(
    lambda machine, host, shm, peer, mig, disk: machine._replace(
        host_memory=host, host_available=host, shm=shm, peer_access=peer, mig=mig, disk_free=disk
    ),
    st.sampled_from(MACHINES),
    st.sampled_from([None, 4 * GIB, 64 * GIB, 2048 * GIB]),
    st.sampled_from([None, 64 * 2**20, 8 * GIB]),
    st.sampled_from([None, True, False]),
    st.booleans(),
    st.sampled_from([None, GIB, 1024 * GIB]),
)


def findings(config: RunConfig, machine: Any, architecture: Any) -> list[Finding]:
    return evaluate(Setup.of_run(config, machine, architecture, NOW))


def patched(config: RunConfig, patch: dict[str, Any]) -> RunConfig:
    def plain(value: Any) -> Any:
        return value.value if isinstance(value, enum.Enum) else value

    return build({path: plain(get(config, path)) for path in FIELDS} | patch)


@settings(max_examples=400, deadline=None)
@given(values, st.one_of(st.none(), machines), st.sampled_from(MODELS))
def test_fixes_of_blocks_end_in_a_run_without_one(given_values, machine, architecture) -> None:
    config = build(given_values)
    applied: list[str] = []
    while blocks := [one for one in findings(config, machine, architecture) if one.severity is Severity.BLOCK]:
        worst = blocks[0]
        assert worst.fix, f"{worst.rule} blocks and offers no fix"
        applied.append(worst.rule)
        assert len(applied) <= 20, f"fixes go round in circles: {applied}"
        config = patched(config, dict(worst.fix))
    assert refused(config) == []


@settings(max_examples=200, deadline=None)
@given(values, machines, st.sampled_from(MODELS))
def test_every_fix_is_a_run_and_everything_said_is_whole(given_values, machine, architecture) -> None:
    config = build(given_values)
    for finding in findings(config, machine, architecture):
        patched(config, dict(finding.fix))
        assert finding.message.endswith(".")
        assert "{" not in finding.message
        assert finding.field is None or finding.field in FIELDS


@settings(max_examples=200, deadline=None)
@given(values, machines)
def test_what_the_engine_refuses_is_blocked_and_no_fix_stores_weights_in_16_bit(given_values, machine) -> None:
    config = build(given_values)
    said = findings(config, machine, None)
    blocked = {finding.field for finding in said if finding.severity is Severity.BLOCK}
    assert {problem.field for problem in refused(config)} <= blocked
    for finding in said:
        mended = patched(config, dict(finding.fix))
        if mended.strategy.name is StrategyName.FSDP2 and mended.method.name is Method.QLORA and finding.fix:
            storage = mended.method.quantization.storage
            assert storage.value not in ("bfloat16", "float16") or storage is config.method.quantization.storage


names = st.sampled_from(["single", "ddp", "pipeline", "fsdp1", "fsdp2", "zero1", "zero2", "zero3"])
types = st.sampled_from(["bfloat16", "float16", "float32"])
others = st.fixed_dictionaries(
    {},
    optional={
        "method": st.sampled_from(["full", "lora", "qlora4", "int8"]),
        "strategy": names,
        "quant_storage": st.one_of(types, st.just("uint8")),
        "precision": st.sampled_from(["bf16", "fp16", "fp32", "fp8"]),
        "model_dtype": types,
        "gc": st.sampled_from(["none", "hf", "fsdp"]),
        "use_reentrant": st.booleans(),
        "find_unused": st.booleans(),
        "state_dict_type": st.sampled_from(["full", "sharded"]),
        "cpu_ram_efficient_loading": st.booleans(),
        "optim": st.sampled_from(["adamw_torch", "adamw_8bit", "paged_adamw_32bit", "adamw_torch_8bit"]),
        "init": st.sampled_from(["default", "pissa", "olora", "loftq"]),
        "device_map": st.sampled_from([None, "auto", "cuda"]),
        "trainer": st.sampled_from(["hf", "trl", "trl_dpo", "trl_grpo", "openrlhf_ppo_vllm"]),
        "task": st.sampled_from(["causal", "seq_cls"]),
        "modules_to_save": st.booleans(),
        "tied": st.booleans(),
        "resume": st.booleans(),
        "max_length": st.sampled_from([128, 10**6, "auto"]),
    },
)


@settings(max_examples=300, deadline=None)
@given(others, st.sampled_from(["hf", "trl", "axolotl", "llamafactory"]), st.one_of(st.none(), machines))
def test_no_fix_of_other_files_stores_4bit_weights_in_16_bit_under_fsdp2(said, engine, machine) -> None:
    setup = Setup.of_values(said, engine, machine, MODELS[1], NOW)
    for finding in evaluate(setup):
        mended = setup._replace(**finding.fix)
        under_fsdp2 = mended.strategy == "fsdp2" and mended.method == "qlora4"
        if finding.fix and under_fsdp2 and mended.quant_storage in ("bfloat16", "float16"):
            assert setup.strategy == "fsdp2"
            assert mended.quant_storage == setup.quant_storage
        assert finding.message.endswith(".")
