"""``plan.json``: what stood when a run was launched, written with it, read by whoever compares later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.runs import Cli
from support.samples import make_config

from engine.events import RunDirectory, write_json
from qltui.configs import preflight
from qltui.facts.machine import parse
from qltui.runs import launching, plan_file, store
from qltui.runs.assessment import Assessment, assess
from qltui.runs.launching import LaunchRefused
from qltui.runs.plan_file import SCHEMA_VERSION, PlannedFinding, PlannedGpu


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return tmp_path / "home"


def on_gpus(folder: Path, machine: str, *forced: str) -> Assessment:
    config = make_config(folder, **{"model.path": "Qwen/Qwen3-8B", "hardware.device": "auto", "strategy.name": "ddp"})
    assert preflight.check(config) == [], "a model on the hub is not looked for"
    return assess(config, parse(machine), forced)


def written(folder: Path, assessed: Assessment) -> RunDirectory:
    run = RunDirectory(folder)
    write_json(run.plan_json, plan_file.document(assessed))
    return run


def test_on_gpus_it_has_memory_by_part_and_phase_with_its_error(tmp_path: Path) -> None:
    assessed = on_gpus(tmp_path, "4xA40")
    plan = plan_file.read(written(tmp_path, assessed))
    fitted = assessed.advice.fit
    assert plan is not None and plan.memory is not None and fitted is not None
    assert plan.schema_version == SCHEMA_VERSION
    assert plan.machine.gpus == [PlannedGpu("A40", fitted.capacity or 0, (8, 6))] * 4
    assert plan.memory.total_bytes == fitted.total == sum(plan.memory.parts.values())
    assert (plan.memory.capacity_bytes, plan.memory.error_bytes) == (fitted.capacity, fitted.error)
    assert {"load", "forward", "backward", "optimizer", "eval"} == plan.memory.phases.keys()
    assert max(sum(parts.values()) for parts in plan.memory.phases.values()) == fitted.plan.peak
    assert plan.seconds_per_step == assessed.advice.seconds is not None


def test_findings_stand_as_they_were_with_what_was_forced(tmp_path: Path) -> None:
    assessed = on_gpus(tmp_path, "2xRTX 3070", "nothing-fits", "does-not-fit")
    assert assessed.refusals == []
    plan = plan_file.read(written(tmp_path, assessed))
    assert plan is not None
    assert [(one.rule, one.severity, one.forced) for one in plan.findings] == [
        (one.rule, one.severity.value, one.severity.value == "block") for one in assessed.advice.findings
    ]
    (forced,) = (one for one in plan.findings if one.forced)
    (finding,) = assessed.overridden
    assert forced == PlannedFinding(
        finding.rule, "block", finding.field, finding.message, finding.why, finding.source, forced.fix, True
    )
    assert forced.fix.keys() == finding.fix.keys()


def test_what_was_forced_and_blocks_nothing_is_not_said_to_be_overridden(tmp_path: Path) -> None:
    config = make_config(tmp_path, **{"model.path": "Qwen/Qwen3-8B", "hardware.device": "auto",
                                      "hardware.ranks_per_node": None, "strategy.name": "single"})  # fmt: skip
    plan = plan_file.read(written(tmp_path, assess(config, parse("4xA40"), ["gpus-idle"])))
    assert plan is not None
    assert ("gpus-idle", False) in [(one.rule, one.forced) for one in plan.findings]


def test_a_newer_version_and_a_poorer_one_are_read_and_nonsense_is_none(tmp_path: Path) -> None:
    run = written(tmp_path, on_gpus(tmp_path, "4xA40"))
    content = json.loads(run.plan_json.read_text())
    newer = {
        **content,
        "schema_version": 9,
        "energy": {"joules": 1},
        "machine": {**content["machine"], "colour": "red"},
    }
    write_json(run.plan_json, newer)
    plan = plan_file.read(run)
    assert plan is not None and plan.schema_version == 9 and plan.memory is not None
    poorer = {"schema_version": 1, "written": 1.5, "machine": {"nodes": 1, "gpus": []}}
    write_json(run.plan_json, poorer)
    plan = plan_file.read(run)
    assert plan is not None and (plan.memory, plan.seconds_per_step, plan.findings) == (None, None, [])
    for text in ("[]", "{", '{"schema_version": 1}', '{"schema_version": "one", "written": 1, "machine": {}}'):
        run.plan_json.write_text(text)
        assert plan_file.read(run) is None
    run.plan_json.unlink()
    assert plan_file.read(run) is None


def test_a_refused_run_is_launched_by_nobody(tmp_path: Path) -> None:
    refused = assess(make_config(tmp_path, **{"strategy.name": "pipeline"}), parse("cpu"))
    with pytest.raises(LaunchRefused, match=r"the ranks compute on CPU.*\[cpu-pipeline\]"):
        launching.launch(refused)
    assert not store.runs_home().exists()


def test_gpus_that_went_away_since_are_not_replaced_by_others(tmp_path: Path) -> None:
    config = make_config(tmp_path, **{"hardware.device": "cuda", "hardware.gpus": ["1"]})
    with pytest.raises(LaunchRefused, match="Of the GPUs 1 only 0 are there"):
        launching.launch(assess(config, parse("2xA40")))


def test_a_launch_writes_it_before_it_starts_and_records_what_was_forced(
    cli: Cli, small_run: Callable[..., Path]
) -> None:
    file = str(small_run(**{"strategy.name": "single"}))
    refused = cli("launch", file, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert line.endswith("Leave the number of ranks empty, or choose ddp. [one-rank-strategies]")
    done = cli("launch", file, "--force", "one-rank-strategies", "--force", "offload-exceeds-host")
    assert "forced: hardware.ranks_per_node: single runs one rank, not 2." in done.stderr
    assert "--force offload-exceeds-host: this rule does not block the run" in done.stderr
    plan = plan_file.read(cli.directory())
    assert plan is not None
    assert (plan.memory, plan.seconds_per_step, plan.machine.gpus) == (None, None, [])
    assert [(one.rule, one.forced) for one in plan.findings if one.severity == "block"] == [
        ("one-rank-strategies", True)
    ]
    assert plan.findings[0].fix == {"hardware.ranks_per_node": None}


def test_a_dry_run_says_all_that_was_found(cli: Cli, small_run: Callable[..., Path]) -> None:
    file = str(small_run(**{"method.lora.init": "olora"}))
    dry = cli("launch", file, "--dry-run")
    assert any(line.startswith("info: ") and line.endswith("]") for line in dry.stderr.splitlines())
    assert not cli.home.exists()
    refused = cli("launch", file, "--dry-run", "--set", "strategy=fsdp2", "--set", "training.optimizer=adamw_8bit",
                  "--force", "engine-adamw-8bit-fsdp2", check=False)  # fmt: skip
    assert refused.returncode == 1
    assert "the engine itself refuses such a run, so it cannot be forced." in refused.stderr
    assert "[engine-adamw-8bit-fsdp2]" in refused.stderr


def test_the_rows_it_was_planned_for_are_kept(tmp_path: Path) -> None:
    assessed = on_gpus(tmp_path, "4xA40")
    lengths, epoch = assessed.lengths, assessed.epoch
    plan = plan_file.read(written(tmp_path, assessed))
    assert plan is not None and plan.rows is not None and lengths is not None and epoch is not None
    assert (plan.rows.rows, plan.rows.read, plan.rows.measured) == (1, 1, False)
    assert plan.rows.longest_tokens == lengths.longest < 2048
    assert (plan.rows.mean_tokens, plan.rows.cut, plan.rows.padding) == (lengths.mean(2048), 0, 0)
    assert plan.seconds_per_step is not None
    assert plan.rows.seconds_per_epoch == epoch.seconds == pytest.approx(plan.seconds_per_step / 4)
    assert plan.rows.error == epoch.error > 0.5
    on_cpu = assess(make_config(tmp_path), parse("4xA40"))
    plan = plan_file.read(written(tmp_path, on_cpu))
    assert plan is not None and plan.rows is None and on_cpu.lengths is None
