"""Runs that go on by themselves, and fixes applied, with real supervisors and ranks that take no time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.small_runs import begin, config, make_run, wait_until

from engine.config import get
from engine.events import RunDirectory, read_json, write_json
from qltui.cli.main import main
from qltui.runs import launching, recovery, status
from qltui.runs.diagnosis.own_runs import diagnose_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def supervised(plans: dict[str, list[str]], **values: object) -> tuple[RunDirectory, dict[str, Any], str]:
    """(a run whose attempts do what their plans say, its final status, what its supervisor printed)."""
    run = make_run(plans["plan"], **values)
    for name, plan in plans.items():
        (run.path / f"{name}.txt").write_text("\n".join(plan))
    printed, _ = begin("qltui.runs.supervisor", run).communicate(timeout=60)
    final = read_json(run.status_json)
    assert final is not None
    assert status.read(run) == final
    return run, final, printed


def test_a_killed_rank_is_resumed_by_itself_and_recorded() -> None:
    plans = {"plan": ["hang", "die SIGKILL 3"], "plan-2": ["finish", "finish"]}
    run, final, printed = supervised(plans, **{"recovery.auto": 1})
    assert (final["state"], final["attempt"], final["exit_code"]) == ("finished", 2, 0)
    (record,) = final["recoveries"]
    assert record["by_itself"]
    assert (record["attempt"], record["cause"], record["fix"]) == (1, "host_oom_sigkill", "resume")
    died = f"attempt 1 died at step {record['step']} (host_oom_sigkill)"
    assert f"recovery 1 of 1: {died}. It begins anew: nothing was saved." in printed
    diagnosis = read_json(run.attempts()[0].diagnosis_json)
    assert diagnosis is not None
    assert diagnosis["cause"] == "host_oom_sigkill"


@pytest.mark.parametrize(
    ("auto", "plans", "attempts"),
    [
        pytest.param(0, {"plan": ["die SIGSEGV 1"]}, 1, id="not asked for"),
        pytest.param(3, {"plan": ["die SIGSEGV 1"]}, 2, id="the same cause at the same step"),
        pytest.param(3, {"plan": ["die SIGSEGV 1"], "plan-2": ["die SIGSEGV 5"]}, 2, id="a cause for once"),
        pytest.param(
            1, {"plan": ["die SIGSEGV 1"], "plan-2": ["die SIGKILL 5"]}, 2, id="no more often than asked for"
        ),
        pytest.param(
            3, {"plan": ["die SIGSEGV 1"], "plan-2": ["die SIGKILL 5"], "plan-3": ["finish"]}, 3, id="two causes"
        ),
        pytest.param(3, {"plan": ["fail"]}, 1, id="a cause that comes again"),
        pytest.param(3, {"plan": ["die SIGTERM 1"]}, 1, id="somebody wanted it"),
    ],
)  # fmt: skip
def test_how_often_it_is_resumed(auto: int, plans: dict[str, list[str]], attempts: int) -> None:
    run, final, _ = supervised(plans, **{"recovery.auto": auto})
    assert len(run.attempts()) == attempts == final["attempt"]
    assert len(final["recoveries"]) == attempts - 1
    assert final["state"] == ("finished" if "plan-3" in plans else "failed")


def test_a_stop_keeps_it_from_being_resumed() -> None:
    run = make_run(["hang", "hang"], **{"recovery.auto": 3})
    supervisor = begin("qltui.runs.supervisor", run)
    wait_until(lambda: (read_json(run.status_json) or {}).get("step") == 1, "a step")
    launching.request_stop(run)
    supervisor.communicate(timeout=60)
    assert status.read(run)["state"] == "stopped"
    assert len(run.attempts()) == 1


def test_a_stop_while_it_waits_for_its_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    run, final, _ = supervised({"plan": ["die SIGSEGV 1"]})
    entry = {"attempt": 1, "cause": "hub_not_found_or_offline", "fix": "resume", "step": 1, "by_itself": True}
    begun = launching.write_begun(
        run, {**final, "recoveries": [entry]}, {"state": "starting", "gpus": [], "waiting_for": None}
    )
    write_json(run.request_json, {"action": "stop", "attempt": begun["attempt"]})
    stopped = recovery.wait(run, begun)
    assert stopped is not None
    assert stopped["state"] == status.read(run)["state"] == "stopped"


def test_what_cannot_be_applied_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    run, _, _ = supervised({"plan": ["fail"]})
    assert main(["resume", run.id, "--apply", "99"]) != 0
    assert "has no fix 99" in capsys.readouterr().err
    by_hand = next(
        number for number, fix in enumerate(diagnose_run(run).fixes, 1) if not fix.patch and "resume" not in fix.command
    )
    assert main(["resume", run.id, "--apply", str(by_hand)]) != 0
    assert f"Fix {by_hand} of {run.id}" in capsys.readouterr().err


def test_a_configuration_keeps_what_a_patch_does_not_name() -> None:
    from qltui.runs.diagnosis.fixes import apply_patch

    before = config()
    after = apply_patch(before, [("training.micro_batch_size", 7)])
    assert get(after, "training.micro_batch_size") == 7
    assert apply_patch(after, [("training.micro_batch_size", before.training.micro_batch_size)]) == before
