"""Presets on other machines than they were planned for: run as they are, adapted, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.nvml import Nvml, h200
from support.samples import write_rows

from engine.config.reading import read_file
from engine.config.schema import as_text
from qltui.advice.adapting import Adaptation, Standing
from qltui.cli.main import main
from qltui.configs import loading, presets
from qltui.facts import gpus
from qltui.facts import machine as machines
from qltui.runs.adaptation import adapted_to, as_assignments
from qltui.runs.assessment import assess

GPU_PRESETS = [name for name in presets.bundled() if name != "demo-cpu"]
A40 = {"name": "NVIDIA A40", "total": 46068, "reserved": 450, "capability": (8, 6)}


def on(name: str, machine: str, *assignments: str) -> Adaptation:
    return adapted_to(loading.load(name, assignments), machines.parse(machine))


def changed(found: Adaptation) -> dict[str, tuple[str, str]]:
    return {one.field: (one.before, one.after) for one in found.changes}


@pytest.mark.parametrize("name", presets.bundled())
def test_a_preset_runs_as_it_is_where_it_was_planned_for(name: str) -> None:
    config = loading.load(name)
    found = on(name, config.hardware.planned_for)
    assert (found.standing, found.config, found.changes) == (Standing.FITS, config, [])


@pytest.mark.parametrize("machine", ["1x24G", "2xA40", "8x80G", "2x12G", "2n4x24G"])
@pytest.mark.parametrize("name", GPU_PRESETS)
def test_what_is_adapted_can_be_launched_and_all_of_it_is_told(name: str, machine: str) -> None:
    config = loading.load(name)
    found = adapted_to(config, machines.parse(machine))
    if found.standing is Standing.NOTHING:
        assert found.reason and found.changes == []
        return
    assessed = assess(found.config, machines.parse(machine))
    assert assessed.blocks == []
    assert loading.load(name, as_assignments(found)) == found.config
    assert (found.config.model, found.config.data, found.config.method) == (config.model, config.data, config.method)
    assert bool(found.changes) == (found.standing is Standing.ADAPTED)
    assert all(one.why and one.before != one.after for one in found.changes)


def test_fewer_gpus_keep_the_rows_of_a_step_and_the_strategy() -> None:
    found = on("llama3-8b-qlora-fsdp2-4xa40", "2xA40")
    assert found.standing is Standing.ADAPTED
    assert changed(found) == {
        "hardware.ranks_per_node": ("4", "2"), "training.gradient_accumulation_steps": ("4", "8"),
    }  # fmt: skip
    assert [str(one) for one in found.changes] == [
        "hardware.ranks_per_node: 4 -> 2: there are 2 GPUs here",
        "training.gradient_accumulation_steps: 4 -> 8: a step takes 16 rows as it did",
    ]


def test_more_gpus_change_nothing() -> None:
    assert on("llama3-8b-qlora-fsdp2-4xa40", "8xA40").standing is Standing.FITS


def test_one_smaller_gpu_takes_another_strategy_and_computes_layers_twice() -> None:
    found = on("llama3-8b-qlora-fsdp2-4xa40", "1x24G")
    after = {field: new for field, (_, new) in changed(found).items()}
    assert after["strategy.name"] == "single"
    assert after["training.gradient_accumulation_steps"] == "16"
    assert int(after["training.gradient_checkpointing"]) > 0
    whys = {one.field: one.why for one in found.changes}
    assert whys["strategy.name"] == "it fits on one GPU, and that is all it needs"
    assert whys["training.gradient_checkpointing"].endswith(
        "of 32 layers computed twice are the fewest that make it fit"
    )


def test_rows_that_cannot_be_split_evenly_are_told() -> None:
    found = on("llama3-8b-qlora-fsdp2-4xa40", "3xA40")
    (why,) = {one.why for one in found.changes if one.field == "training.gradient_accumulation_steps"}
    assert why == "a step takes 15 rows instead of 16, as near as 3 GPUs come"


def test_what_surely_fits_goes_before_the_strategy_it_was_planned_with() -> None:
    found = on("glm4-9b-lora-long8k-zero2", "2x40G", "training.loss=full")
    assert changed(found)["strategy.name"] == ("zero2", "fsdp2")
    assert found.advice.fit is not None and found.advice.fit.is_safe


def test_what_may_just_fit_says_so_and_stays() -> None:
    found = on("llama3-8b-qlora-1x24g", "1x24G", "data.max_length=2240", "training.loss=full")
    assert (found.standing, found.changes) == (Standing.TIGHT, [])


def test_nodes_that_are_not_there_are_left_out() -> None:
    found = on("llama3-8b-int8-fsdp2", "1x24G", "hardware.nodes=2")
    assert changed(found)["hardware.nodes"] == ("2", "1")
    assert {one.field: one.why for one in found.changes}["hardware.nodes"] == "there is 1 machine"


def test_where_nothing_fits_the_smallest_machine_is_named() -> None:
    found = on("llama3-70b-qlora-fsdp2-2x80g", "1x24G")
    assert found.standing is Standing.NOTHING
    assert found.reason.startswith("Nothing fits 1 x 23.7 GiB")
    assert "The smallest machine that would run it: 2 x 32 GiB" in found.reason


def test_without_gpus_a_large_model_cannot_run() -> None:
    found = on("llama3-8b-qlora-1x24g", "cpu")
    assert found.standing is Standing.NOTHING
    assert "8.0 B parameters are too many for CPU ranks" in found.reason


SMALL_ON_GPUS = ("hardware.device=cuda", "strategy=fsdp2", "micro_batch_size=4")
"""The demo as one would plan it for GPUs."""


def test_without_gpus_a_small_model_is_one_process() -> None:
    found = on("demo-cpu", "cpu", *SMALL_ON_GPUS, "hardware.ranks_per_node=4", 'hardware.gpus=["0"]')
    assert found.standing is Standing.ADAPTED
    assert changed(found) == {
        "hardware.device": ("cuda", "cpu"), "hardware.gpus": ("[0]", "[]"),
        "hardware.ranks_per_node": ("4", "null"),
        "strategy.name": ("fsdp2", "single"), "training.gradient_accumulation_steps": ("1", "4"),
    }  # fmt: skip


def test_as_many_ranks_as_gpus_are_one_where_there_is_none() -> None:
    found = on("demo-cpu", "cpu", *SMALL_ON_GPUS, "hardware.ranks_per_node=null")
    assert found.config.training.gradient_accumulation_steps == 1
    assert loading.load("demo-cpu", [*SMALL_ON_GPUS, *as_assignments(found)]).training == found.config.training


def test_a_run_on_cpu_ranks_is_not_adapted() -> None:
    found = on("demo-cpu", "2xA40", "strategy=pipeline")
    assert (found.standing, found.changes) == (Standing.NOTHING, [])
    assert "runs one rank" in found.reason


def test_a_model_that_is_not_known_is_not_judged(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", {"prompt": "a", "completion": "b"})
    (tmp_path / "run.yaml").write_text("model: nobody/knows\ndata: rows.jsonl\nmethod: lora\n")
    found = adapted_to(read_file(tmp_path / "run.yaml"), machines.parse("1x24G"))
    assert found.standing is Standing.UNKNOWN


# The command


@pytest.fixture
def two_a40(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpus, "load_nvml", lambda: Nvml(h200(0, **A40), h200(1, **A40)))
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))


@pytest.mark.usefixtures("two_a40")
def test_launch_refuses_with_the_command_that_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "llama3-8b-qlora-fsdp2-4xa40", "--set", "training.seed=3", "--dry-run"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "4 ranks want a GPU each, and there are 2" in told.err
    assert "hardware.ranks_per_node: 4 -> 2: there are 2 GPUs here" in told.err
    command = "qltui launch llama3-8b-qlora-fsdp2-4xa40 --set training.seed=3"
    assert f"{command} --adapt" in told.err
    by_hand = "--set hardware.ranks_per_node=2 --set training.gradient_accumulation_steps=8"
    assert f"{command} {by_hand}" in told.err


@pytest.mark.usefixtures("two_a40")
def test_the_command_that_is_offered_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a run.yaml"
    file.write_bytes(presets.path("llama3-8b-qlora-fsdp2-4xa40").read_bytes())
    assert main(["launch", str(file), "--name", "other", "--force", "port-in-use", "--dry-run"]) == 1
    assert f"qltui launch '{file}' --name other --force port-in-use --adapt\n" in capsys.readouterr().err


@pytest.mark.usefixtures("two_a40")
def test_launch_adapts_where_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "llama3-8b-qlora-fsdp2-4xa40", "--adapt", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "  ranks_per_node: 2\n" in told.out
    assert "hardware.ranks_per_node: 4 -> 2" in told.err


@pytest.mark.usefixtures("two_a40")
def test_a_rule_that_is_forced_adapts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    longer = ["--set", "data.max_length=8192", "--set", "training.loss=full"]
    too_long = ["launch", "llama3-8b-int8-fsdp2", *longer, "--adapt", "--dry-run"]
    assert main(too_long) == 0
    assert "Adapted to this machine" in capsys.readouterr().err
    assert main([*too_long, "--force", "does-not-fit"]) == 0
    assert "Adapted" not in capsys.readouterr().err


@pytest.mark.usefixtures("two_a40")
def test_launch_leaves_what_fits_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "llama3-8b-int8-fsdp2", "--adapt", "--dry-run"]) == 0
    told = capsys.readouterr()
    assert "Adapted" not in told.err
    config = loading.load("llama3-8b-int8-fsdp2")
    assert f"gradient_checkpointing: {as_text(config.training.gradient_checkpointing)}" in told.out


@pytest.mark.usefixtures("two_a40")
def test_launch_says_where_no_other_way_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    longer = ["--set", "data.max_length=32768", "--set", "training.loss=full"]
    refused = ["launch", "glm4-9b-lora-long8k-zero3", *longer, "--adapt", "--dry-run"]
    assert main(refused) == 1
    told = capsys.readouterr()
    assert "No other way either: Nothing fits 2 x" in told.err
    assert "Adapted" not in told.err


@pytest.mark.usefixtures("two_a40")
def test_a_rule_that_no_machine_mends_is_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["launch", "llama3-8b-qlora-1x24g", "--set", "strategy.offload_parameters=true", "--dry-run"]
    assert main(wrong) == 1
    assert "strategy.offload_parameters" in capsys.readouterr().err
