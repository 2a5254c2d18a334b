"""What does not fit its GPUs: said when it is so, with what makes it fit, or the smallest machine that would run it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.test_rules_fire import NOW
from unit.test_rules_properties import MODELS, machines, patched, values

from engine.config import RunConfig, StrategyName
from engine.config.run_config import build
from qltui import words
from qltui.advice import fitting, planner
from qltui.advice.evaluation import Advice, advise, evaluate
from qltui.advice.findings import Finding, Severity
from qltui.advice.memory import fit, job_on
from qltui.advice.setup import Setup
from qltui.facts.architecture import find
from qltui.facts.machine import Machine, parse
from qltui.runs.assessment import assess

LLAMA, QWEN, MIXTURE = "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen3-8B", "mistralai/Mixtral-8x7B-v0.1"
VERDICTS = ("does-not-fit", "nothing-fits")


def run(model: str, method: str = "qlora", length: int = 2048, **values: Any) -> RunConfig:
    known = {"model.path": model, "data.path": "org/data", "method.name": method, "data.max_length": length}
    return build(known | values)


def advice(config: RunConfig, machine: str | Machine, *forced: str) -> Advice:
    there = parse(machine) if isinstance(machine, str) else machine
    return advise(config, there, find(config.model.path), NOW, forced)


def verdicts(config: RunConfig, machine: str | Machine) -> list[Finding]:
    return [finding for finding in advice(config, machine).findings if finding.rule in VERDICTS]


def test_of_what_surely_fits_nothing_is_said() -> None:
    found = advice(run(QWEN), "1xA40")
    assert found.fit is not None and found.fit.is_safe
    assert not [one for one in found.findings if one.rule in VERDICTS]


@pytest.mark.parametrize(
    ("config", "machine"),
    [
        (run(QWEN, "lora"), "1x24G"),
        (run(QWEN, "qlora", 8192, **{"training.micro_batch_size": 4, "strategy.name": "ddp"}), "2x24G"),
        (run(QWEN, "full", 2048, **{"strategy.name": "ddp"}), "8xH100"),
        (run(MIXTURE, "lora", 1024, **{"strategy.name": "ddp", "hardware.ranks_per_node": 2}), "4xA40"),
    ],
)
def test_a_run_that_does_not_fit_as_it_is_gets_what_makes_it_fit(config: RunConfig, machine: str) -> None:
    (finding,) = verdicts(config, machine)
    assert (finding.rule, finding.severity) == ("does-not-fit", Severity.BLOCK)
    assert finding.field in finding.fix
    mended = patched(config, dict(finding.fix))
    assert mended != config
    assert verdicts(mended, machine) == []
    fitted = advice(mended, machine).fit
    assert fitted is not None and fitted.is_safe
    training, before = mended.training, config.training
    ranks = {name: 1 if name in ("single", "pipeline") else parse(machine).gpus for name in StrategyName}
    rows = training.micro_batch_size * training.gradient_accumulation_steps * ranks[mended.strategy.name]
    wanted = before.micro_batch_size * before.gradient_accumulation_steps
    wanted *= config.hardware.ranks_per_node or ranks[config.strategy.name]
    assert rows >= wanted


def card_of(memory: int) -> Machine:
    machine = parse("1x24G")
    return machine._replace(cards=(machine.cards[0]._replace(memory_bytes=memory),))


def test_it_blocks_where_it_surely_does_not_fit_and_warns_where_it_may_not() -> None:
    config = run(QWEN)
    fitted = fit(job_on(config, find(QWEN), parse("1x24G")), parse("1x24G"))
    edge, error = fitted.total, fitted.error
    severities = [
        [finding.severity for finding in verdicts(config, card_of(memory))]
        for memory in (edge + error, edge + error - 1, edge, edge - error, edge - error - 1)
    ]
    assert severities == [[], [Severity.WARN], [Severity.WARN], [Severity.WARN], [Severity.BLOCK]]
    (warning,) = verdicts(config, card_of(edge))
    assert warning.message.startswith("It may not fit: ")
    assert "training.gradient_checkpointing" in warning.fix
    assert verdicts(patched(config, dict(warning.fix)), card_of(edge)) == []


@pytest.mark.parametrize(
    ("config", "machine"),
    [(run("Qwen/Qwen3-32B"), "1x16G"), (run(QWEN, "full"), "1xA40"), (run(LLAMA, "qlora", 65536), "2x16G")],
)
def test_where_nothing_fits_the_smallest_machine_that_would_is_named(config: RunConfig, machine: str) -> None:
    (finding,) = verdicts(config, machine)
    assert (finding.rule, finding.severity, finding.fix) == ("nothing-fits", Severity.BLOCK, {})
    named = re.search(r"would run it: (\d+) x (\d+) GiB \((.+?)\)\.", finding.message)
    assert named, finding.message
    place = next(i for i, one in enumerate(fitting.ladder()) if fitting.label(one) == named[0].split(": ")[1][:-1])
    larger, smaller = fitting.ladder()[place], fitting.ladder()[:place]

    def blocked(there: Machine) -> bool:
        """Whether even the fixes that are offered end in a block."""
        now = config
        for _ in range(5):
            blocks = [one for one in advice(now, there).findings if one.severity is Severity.BLOCK]
            if not blocks:
                fitted = advice(now, there).fit
                offload = now.strategy.offload_parameters or now.strategy.offload_optimizer
                return offload or fitted is None or not fitted.is_safe
            if blocks[0].rule == "nothing-fits":
                return True
            now = patched(now, dict(blocks[0].fix))
        raise AssertionError(blocks)

    assert not blocked(larger)
    assert all(blocked(one) for one in smaller)


def test_a_run_that_no_machine_of_the_table_takes() -> None:
    (finding,) = verdicts(run(LLAMA, "full", 2_000_000), "1x24G")
    assert f"Not even {fitting.label(fitting.ladder()[-1])} would run it." in finding.message


def test_machines_are_asked_from_the_smallest_on_and_of_equal_ones_that_with_fewer_gpus() -> None:
    labels = [fitting.label(one) for one in fitting.ladder()]
    numbers = [tuple(map(int, re.findall(r"^(\d+) x (\d+) GiB", label)[0])) for label in labels]
    order = [(count * size, count) for count, size in numbers]
    assert order == sorted(order)
    assert len({total for total, _ in order}) < len(order), "some are equal"
    assert len(set(labels)) == len(labels)
    assert {"1 x 24 GiB (RTX 4090)", "2 x 80 GiB (H100 SXM)"} <= set(labels)
    for one in fitting.ladder():
        assert 0.9 < one.cards[0].memory_bytes / 2**30 / int(fitting.label(one).split()[2]) <= 1


def test_whether_it_fits_is_asked_of_what_nothing_else_blocks_or_what_is_forced() -> None:
    config, rule = run(QWEN, **{"model.attention": "flash_attention_2"}), "flash-attention-gpu-too-old"

    def blocking(*forced: str) -> list[str]:
        return [one.rule for one in advice(config, "1xT4", *forced).findings if one.severity is Severity.BLOCK]

    assert blocking() == [rule]
    assert blocking(rule) == ["does-not-fit", rule], "what is forced rules out no way to make it fit"
    assert assess(config, parse("1xT4"), [rule, "does-not-fit"]).blocks == []


def test_all_gpus_are_offered_also_to_a_run_that_takes_one() -> None:
    (finding,) = verdicts(run(QWEN, "full"), "8xH100")
    assert (finding.rule, finding.fix) == ("does-not-fit", {"strategy.name": StrategyName.ZERO2})


def test_what_is_offered_in_host_memory_says_how_much_of_it() -> None:
    config = run("meta-llama/Llama-3.1-405B", "full")
    (finding,) = verdicts(config, "8xH100-80")
    host = advice(patched(config, dict(finding.fix)), "8xH100-80").host
    assert host > 6 << 40
    assert f"on each GPU and {words.size(host)} of each host's memory: set " in finding.message
    (finding,) = verdicts(run(QWEN, "lora"), "1x24G")
    assert "host" not in finding.message


def test_the_least_that_is_named_is_the_least_of_all_ways() -> None:
    config, machine, architecture = run(QWEN, "full", 32768), parse("2x16G"), find(QWEN)
    rejected = planner.choose(config, architecture, machine).rejected
    totals = {one.strategy: one.total for one in rejected if one.total is not None}
    (finding,) = verdicts(config, machine)
    assert len(set(totals.values())) > 2
    assert f"; the least takes {words.size(min(totals.values()))} on a GPU" in finding.message
    ways = [
        {"strategy.name": "zero1", "strategy.offload_optimizer": offload, "training.gradient_checkpointing": "all"}
        for offload in (False, True)
    ]
    plain, offloaded = (fit(job_on(patched(config, way), architecture, machine), machine).total for way in ways)
    assert totals[StrategyName.ZERO1] == offloaded < plain


@pytest.mark.parametrize(("method", "offered"), [("qlora", "or shorter rows."), ("lora", "or fewer bits (qlora).")])
def test_fewer_bits_are_offered_where_there_are(method: str, offered: str) -> None:
    (finding,) = verdicts(run(LLAMA, method, 8192), "2x16G")
    assert finding.message.endswith(offered)
    assert "Use such a one, a smaller model" in finding.message
    (finding,) = verdicts(run(LLAMA, method, 2_000_000), "1x24G")
    assert "Use a smaller model" in finding.message, "there is no such one"


def said_of(config: RunConfig, machine: str) -> tuple[set[str], set[str]]:
    """Ids of what is said with the memory planned, and of what the rules alone say."""
    alone = evaluate(Setup.of_run(config, parse(machine), find(config.model.path), NOW))
    return {one.rule for one in advice(config, machine).findings}, {one.rule for one in alone}


def test_the_plan_speaks_instead_of_the_rule_that_knows_the_weights_alone() -> None:
    planned, alone = said_of(run(MIXTURE, "lora", 1024, **{"strategy.name": "ddp"}), "4xA40")
    assert "replicated-does-not-fit" in alone
    assert planned & {"replicated-does-not-fit", *VERDICTS} == {"does-not-fit"}


def test_ddp_is_offered_only_where_it_fits() -> None:
    long, short = (run(QWEN, "qlora", length, **{"strategy.name": "fsdp2"}) for length in (8192, 512))
    planned, alone = said_of(long, "2x24G")
    assert "sharding-needless" in alone - planned
    planned, _ = said_of(short, "2x24G")
    assert "sharding-needless" in planned


def test_zero3_is_offered_to_a_pipeline_only_where_it_fits() -> None:
    pipeline = {"strategy.name": "pipeline"}
    assert "pipeline-one-gpu-at-a-time" in {one.rule for one in advice(run(QWEN, **pipeline), "4xA40").findings}
    large = run("meta-llama/Llama-3.1-405B", **pipeline)
    found = advice(large, "8xA100-80")
    assert found.fit is not None and found.fit.is_safe
    assert "pipeline-one-gpu-at-a-time" not in {one.rule for one in found.findings}


def test_of_weights_that_are_whole_while_they_load_it_is_said() -> None:
    whole = run("meta-llama/Llama-3.1-405B", **{"strategy.name": "zero3", "method.lora.init": "olora"})
    (finding,) = verdicts(whole, "8xA100-80")
    assert "while the model loads" in finding.message
    assert "OLoRA takes its adapters out of quantised weights" in finding.message
    (finding,) = verdicts(run(LLAMA, "lora", **{"strategy.name": "zero3"}), "8x48G")
    assert "while the model loads" not in finding.message, "16-bit weights wait on the host"


def test_only_the_gpus_that_a_run_takes_count() -> None:
    config = run(QWEN)
    mixed = parse("1xRTX 3070+1xA40")
    assert verdicts(config, mixed) != [], "the first GPU is taken"
    assert verdicts(patched(config, {"hardware.gpus": ["1"]}), mixed) == []


def test_on_cpu_ranks_and_of_unknown_models_nothing_is_planned() -> None:
    assert advise(run(QWEN), parse("cpu"), find(QWEN), NOW)[1:] == (None, 0, None)
    assert advise(run(QWEN, **{"hardware.device": "cpu"}), parse("1xA40"), find(QWEN), NOW).fit is None
    assert advise(run(QWEN), parse("1xA40"), None, NOW).fit is None


@settings(max_examples=150, deadline=None)
@given(
    values, st.sampled_from([1, 2, 16]), machines, st.sampled_from(["meta-llama/Llama-3.3-70B-Instruct", None]),
    st.sampled_from(MODELS[1:]),
)  # fmt: skip
def test_offered_fixes_end_in_no_block_or_in_nothing_fits(given_values, rows, machine, large, model) -> None:
    config = build({**given_values, "training.micro_batch_size": rows})
    architecture = find(large) if large else model
    applied: list[str] = []
    while blocks := [
        one for one in advise(config, machine, architecture, NOW).findings if one.severity is Severity.BLOCK
    ]:
        worst = blocks[0]
        if worst.rule == "nothing-fits":
            assert "would run it" in worst.message
            return
        assert worst.fix, f"{worst.rule} blocks and offers no fix"
        applied.append(worst.rule)
        assert len(applied) <= 20, f"fixes go round in circles: {applied}"
        config = patched(config, dict(worst.fix))
