"""What is refused before a launch: by the machine, the combination, or what is missing; and what can be forced."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.samples import make_config, only, write_model, write_rows
from tokenizers import Tokenizer, models, pre_tokenizers

from engine.config import Method, Problem, RunConfig, StrategyName, Task
from qltui.advice.rules.ours import RANK_BYTES
from qltui.facts.gpus import Gpu
from qltui.facts.machine import Machine, parse
from qltui.runs.assessment import assess, find_architecture

NUMBERS: dict[str, Any] = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "tie_word_embeddings": False,
}  # fmt: skip
"""A Llama of 1.1 B parameters."""
CPU = parse("cpu")
TWO_GPUS = parse("2xH100")
AUTO = {"hardware.device": "auto"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def refusals(config: RunConfig, machine: Machine = CPU, *forced: str) -> list[Problem]:
    return assess(config, machine, forced).refusals


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"strategy.name": "pipeline"}, "strategy.name", "the ranks compute on CPU"),
        (
            {"strategy.name": "fsdp2", "training.optimizer": "adamw_8bit"},
            "",
            "no kernels for fsdp2's sharded parameters",
        ),
        (
            {"strategy.name": "zero2", "strategy.offload_optimizer": True},
            "strategy.offload_optimizer",
            "no GPU memory to offload from",
        ),
        (
            {"strategy.name": "fsdp2", "strategy.offload_parameters": True},
            "strategy.offload_parameters",
            "no GPU memory to offload from",
        ),
        ({"parent": "no-such-run"}, "parent", "There are no runs"),
        ({"hardware.nodes": 2}, "", "hardware.nodes=2: single is one process on one machine."),
        ({"hardware.ranks_per_node": 2}, "hardware.ranks_per_node", "single runs one rank, not 2."),
        ({"precision.compute": "fp16"}, "precision.compute", "fp16 needs a GPU"),
        ({"training.optimizer": "paged_adamw_8bit"}, "training.optimizer", "paged_adamw_8bit needs a GPU"),
        ({"hardware.gpus": ["0"]}, "hardware.gpus", "There is no GPU 0; the ranks compute on CPU."),
        ({"tracking.report_to": ["wandb"]}, "tracking.report_to", "needs the package wandb"),
        ({"data.chat_template": "no.jinja"}, "data.chat_template", "there is no such file"),
    ],
)
def test_what_cannot_run_is_refused_by_its_field(
    tmp_path: Path, values: dict[str, Any], field: str, message: str
) -> None:
    problem = only(refusals(make_config(tmp_path, **values)))
    assert problem.field == field
    assert message in problem.message


def test_a_refusal_names_its_rule_and_what_to_do(tmp_path: Path) -> None:
    config = make_config(tmp_path, **{"strategy.name": "fsdp2", "training.optimizer": "adamw_8bit"})
    line = str(only(refusals(config)))
    assert line.startswith("training.optimizer=adamw_8bit: ")
    assert line.endswith("Use adamw, or zero1, zero2 or zero3. [engine-adamw-8bit-fsdp2]")


def test_flash_attention_needs_its_package_and_a_gpu(tmp_path: Path) -> None:
    found = refusals(make_config(tmp_path, **{"model.attention": "flash_attention_2"}))
    assert {problem.field for problem in found} == {"model.attention"}
    assert any("pip install flash-attn" in problem.remedy for problem in found)


def test_ranks_and_gpus(tmp_path: Path) -> None:
    def found(machine: Machine = TWO_GPUS, **values: Any) -> list[Problem]:
        return refusals(make_config(tmp_path, **{**AUTO, **values}), machine)

    ddp: dict[str, Any] = {"strategy.name": "ddp"}
    assert found(**ddp) == []
    assert found(**ddp, **{"hardware.gpus": ["1"]}) == []
    assert "3 ranks want a GPU each, and there are 2." in only(found(**ddp, **{"hardware.ranks_per_node": 3})).message
    pipeline: dict[str, Any] = {"strategy.name": "pipeline"}
    assert found(**pipeline) == []
    one_of_them = only(found(**pipeline, **{"hardware.gpus": ["1"]}))
    assert "spreads layers over GPUs, and there is one" in one_of_them.message
    assert "pipeline runs one rank, not 2." in only(found(**pipeline, **{"hardware.ranks_per_node": 2})).message
    assert found(CPU, **ddp, **{"hardware.ranks_per_node": 3}) == []
    problem = only(found(CPU, **{"hardware.device": "cuda", "hardware.gpus": ["0"]}))
    assert (problem.field, "shows no NVIDIA GPU" in problem.message) == ("hardware.device", True)


@pytest.mark.parametrize(
    ("named", "lacking"),
    [(["2", "3"], ""), (["GPU-3a"], ""), (["0"], "no GPU 0"), (["GPU-7"], "no GPU GPU-7"), (["2", "1"], "no GPU 1")],
)
def test_gpus_are_named_as_the_driver_numbers_those_that_are_visible(
    tmp_path: Path, named: list[str], lacking: str
) -> None:
    shown = TWO_GPUS._replace(devices=tuple(Gpu(n, f"GPU-{n}a", "H100", 80 * 2**30) for n in (2, 3)))
    found = refusals(make_config(tmp_path, **AUTO, **{"strategy.name": "ddp", "hardware.gpus": named}), shown)
    if not lacking:
        assert found == []
    else:
        assert f"There is {lacking}; the machine shows 2, 3." in only(found).message


def test_bf16_is_refused_on_gpus_that_only_emulate_it(tmp_path: Path) -> None:
    there = parse("1xT4+1xA10")
    wanted = {**AUTO, "precision.compute": "bf16"}
    found = only(refusals(make_config(tmp_path, **wanted), there))
    assert found.field == "precision.compute"
    assert "bf16 is only emulated on compute capability 7.5" in found.message
    assert refusals(make_config(tmp_path, **wanted, **{"hardware.gpus": ["1"]}), there) == []
    assert refusals(make_config(tmp_path, **{**wanted, "precision.compute": "auto"}), there) == []


@pytest.mark.parametrize("task", Task)
def test_on_gpus_every_method_runs_on_every_strategy_but_for_one_cell(tmp_path: Path, task: Task) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", {"text": "a boat", "label": "sails"})
    values = {"model.task": task.value, "data.path": str(rows), **AUTO}
    refused = {
        (method, strategy)
        for method, strategy in product(Method, StrategyName)
        if refusals(make_config(tmp_path, **values, **{"method.name": method, "strategy.name": strategy}), TWO_GPUS)
    }
    assert refused == {(Method.FULL, StrategyName.PIPELINE)}


@pytest.mark.parametrize(
    ("strategy", "method", "offload", "needed"),
    [
        ("fsdp2", "lora", "parameters", 2.0),
        ("fsdp2", "qlora", "parameters", 0.5),
        ("fsdp2", "int8", "parameters", 1.0),
        ("zero3", "int8", "parameters", 1.0),
        ("fsdp2", "full", "parameters", 16.0),
        ("zero3", "full", "parameters", 2.0),
        ("zero2", "full", "optimizer", 16.0),
        ("zero2", "lora", "optimizer", 0.0),
    ],
)
def test_offload_needs_room_in_host_memory(
    tmp_path: Path, strategy: str, method: str, offload: str, needed: float
) -> None:
    """``needed`` is bytes a weight; what stays in 16 bit, all that adapters take, both ranks, and what pinning weights
    in powers of two adds come on top."""
    field = f"strategy.offload_{offload}"
    values = {**AUTO, "strategy.name": strategy, "method.name": method, field: True}
    config = make_config(tmp_path, **values)
    (tmp_path / "model" / "config.json").write_text(json.dumps(NUMBERS))
    weights = 1_100_048_384
    ranks, extra = 2 * RANK_BYTES, 0.45 * 2**30
    roomy = TWO_GPUS._replace(host_memory=2**40, host_available=int(1.5 * needed * weights + extra + ranks))
    assert refusals(config, roomy) == []
    if needed:
        tight = roomy._replace(host_available=int(needed * weights * 0.99 + ranks))
        problem = only(refusals(config, tight))
        assert problem.field == field
        assert f"{(tight.host_available or 0) / 2**30:.1f} GiB are free" in problem.message
        assert assess(config, TWO_GPUS).refusals == [], "of a host nobody described nothing is claimed"


def test_what_a_model_in_the_hubs_cache_is_made_of_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    offload = {**AUTO, "strategy.name": "fsdp2", "strategy.offload_parameters": True, "method.name": "lora"}
    config = make_config(tmp_path, **offload, **{"model.path": "org/model"})
    little = TWO_GPUS._replace(host_memory=2**40, host_available=7)
    assert refusals(config, little) == []
    folder = tmp_path / "hub" / "models--org--model"
    write_model(folder / "snapshots" / "abc")
    (folder / "snapshots" / "abc" / "config.json").write_text(json.dumps(NUMBERS))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc\n")
    assert only(refusals(config, little)).field == "strategy.offload_parameters"
    assert find_architecture("org/model") is not None
    assert find_architecture("org/model", "other") is None


def test_a_rule_is_forced_by_name(tmp_path: Path) -> None:
    config = make_config(tmp_path, **{"hardware.ranks_per_node": 2})
    assessed = assess(config, CPU, ["one-rank-strategies"])
    assert assessed.refusals == []
    assert [finding.rule for finding in assessed.overridden] == ["one-rank-strategies"]
    assert assessed.idle_forces == []


@pytest.mark.parametrize(
    ("forced", "said"),
    [
        ("cpu-pipelin", "there is no such rule. Did you mean cpu-pipeline"),
        ("preflight", "there is no such rule."),
        ("engine-adamw-8bit-fsdp2", "the engine itself refuses such a run, so it cannot be forced."),
    ],
)
def test_what_cannot_be_forced_is_said(tmp_path: Path, forced: str, said: str) -> None:
    config = make_config(tmp_path, **{"strategy.name": "fsdp2", "training.optimizer": "adamw_8bit"})
    first, second = refusals(config, CPU, forced)
    assert str(first).startswith(f"--force {forced}: {said}")
    assert str(second).endswith("[engine-adamw-8bit-fsdp2]")


def test_forcing_what_does_not_block_is_no_harm_and_told(tmp_path: Path) -> None:
    assessed = assess(make_config(tmp_path), CPU, ["one-rank-strategies", "gpus-idle"])
    assert assessed.refusals == []
    assert assessed.overridden == []
    assert assessed.idle_forces == ["gpus-idle", "one-rank-strategies"]


@pytest.mark.parametrize(
    ("rule", "machine", "values"),
    [
        ("cpu-fp16", "cpu", {"precision.compute": "fp16"}),
        ("cpu-pipeline", "cpu", {"strategy.name": "pipeline"}),
        ("cpu-offload", "cpu", {"strategy.name": "fsdp2", "strategy.offload_parameters": True,
                                "strategy.offload_optimizer": True}),
        ("cpu-optimizer-offload", "cpu", {"strategy.name": "zero3", "strategy.offload_optimizer": True}),
        ("cpu-flash-attention", "cpu", {"model.attention": "flash_attention_2"}),
        ("cpu-paged-optimizer", "cpu", {"training.optimizer": "paged_adamw_8bit"}),
        ("more-ranks-than-gpus", "2xA40", {"strategy.name": "ddp", "hardware.ranks_per_node": 3}),
        ("pipeline-one-gpu", "1xA40", {"strategy.name": "pipeline"}),
        ("gpus-not-there", "1xA40", {"hardware.gpus": ["7"]}),
        ("bf16-not-there", "1xT4", {"precision.compute": "bf16"}),
        ("cuda-without-gpu", "cpu", {"hardware.device": "cuda"}),
    ],
)  # fmt: skip
def test_what_the_engine_refuses_cannot_be_forced(
    rule: str, machine: str, values: dict[str, Any], tmp_path: Path
) -> None:
    config = make_config(tmp_path, **{"hardware.device": "auto", "hardware.ranks_per_node": None, **values})
    first, *_, last = refusals(config, parse(machine), rule)
    assert str(first) == f"--force {rule}: the engine itself refuses such a run, so it cannot be forced."
    assert str(last).endswith(f"[{rule}]")


def test_rows_are_estimated_and_counted_only_where_it_might_not_fit(tmp_path: Path) -> None:
    """Bytes say 2,900 tokens at most, which an 8 GB card has no room for; words say 1,001, which it has."""
    rows = write_rows(tmp_path / "rows.jsonl", {"text": "lights " * 1000})
    values = {**AUTO, "data.path": str(rows), "data.max_length": 16384, "training.micro_batch_size": 2}
    config = make_config(tmp_path, **values)
    (tmp_path / "model" / "config.json").write_text(json.dumps(NUMBERS))
    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "model" / "tokenizer.json"))
    assessed = assess(config, parse("1xH100"))
    assert assessed.lengths is not None and not assessed.lengths.measured
    tight = assess(config, parse("1xRTX 3070"))
    assert tight.lengths is not None and tight.lengths.measured
    assert (tight.lengths.longest, tight.refusals) == (1001, [])
    thorough = assess(config, parse("1xH100"), thorough=True)
    assert thorough.lengths == tight.lengths
    assert thorough.again(config) == thorough.advice.findings
    write_rows(rows, {"text": "lights " * 9000})
    refused = assess(config, parse("1xRTX 3070"))
    assert [finding.rule for finding in refused.blocks] == ["does-not-fit"]
