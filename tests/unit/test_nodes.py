"""``engine.launch`` on several nodes with real processes: they meet, and whichever ends ends all within bounds."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from support.several_nodes import ADDRESS, start_node, wait_for_ranks
from support.small_runs import make_run, rank_pids, running, wait_until

from engine.events import RunDirectory, read_json, write_json
from engine.nodes import Nodes, Pace, interface_towards, misfit
from qltui.runs import launching, status
from qltui.runs.diagnosis.own_runs import diagnose_run
from qltui.runs.follow import heartbeats


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(*plan: str) -> RunDirectory:
    """A run of two nodes with two ranks each; ``plan`` says what each of the four does."""
    from support.small_runs import config

    run = launching.create(config(ranks=2, **{"hardware.nodes": 2}))
    (run.path / "plan.txt").write_text("\n".join(plan))
    return run


def exits(run: RunDirectory) -> dict[str, Any]:
    return read_json(run.attempts()[-1].exits_json) or {}


def ends(run: RunDirectory) -> list[tuple[int | None, int | None]]:
    return [(record["code"], record["signal"]) for record in exits(run)["ranks"].values()]


def test_two_nodes_meet_whichever_comes_first_and_each_attempt_is_one_for_both() -> None:
    run = make("finish")
    for number, order in enumerate(((1, 0), (0, 1)), 1):
        started = {node: start_node(run, node) for node in order}
        outputs = {node: process.communicate()[0] for node, process in started.items()}
        assert {node: process.returncode for node, process in started.items()} == {0: 0, 1: 0}, outputs
        assert ends(run) == [(0, None)] * 4
        assert [attempt.number for attempt in run.attempts()] == list(range(1, number + 1))
    attempt = run.attempts()[-1]
    assert sorted(path.name for path in attempt.logs_dir.iterdir()) == [f"rank{rank}.log" for rank in range(4)]
    launch = read_json(attempt.launch_json) or {}
    assert (launch["world_size"], [rank["rank"] for rank in launch["ranks"]]) == (4, [0, 1, 2, 3])
    assert heartbeats(run) == [], "nodes whose ranks have ended owe none"


def test_a_rank_that_dies_ends_the_ranks_of_both_nodes() -> None:
    run = make("hang", "hang", "hang", "die SIGKILL 2")
    launchers = [start_node(run, node) for node in (0, 1)]
    for launcher in launchers:
        launcher.communicate(timeout=60)
        assert launcher.returncode == 1
    assert exits(run)["first"] == 3
    assert [signal for _, signal in ends(run)] == [signal.SIGTERM] * 3 + [signal.SIGKILL]
    ended = status.read(run)
    assert (ended["state"], ended["failure"]["rank"], ended["failure"]["error"]) == ("failed", 3, "SIGKILL")


@pytest.mark.parametrize("told", [0, 1])
def test_a_signal_to_either_launcher_ends_both(told: int) -> None:
    run = make("hang")
    launchers = [start_node(run, node) for node in (0, 1)]
    wait_for_ranks(run, 4)
    launchers[told].terminate()
    for launcher in launchers:
        launcher.communicate(timeout=60)
        assert launcher.returncode == 1
    assert running(rank_pids(run)) == []
    assert (exits(run)["launcher_signal"], exits(run)["launcher_node"]) == ("SIGTERM", told)


def test_a_node_that_falls_silent_is_named_and_the_others_end() -> None:
    run = make("hang")
    launchers = [start_node(run, node, "--silent-seconds", "4") for node in (0, 1)]
    attempt = wait_for_ranks(run, 4)
    launchers[1].kill()
    launchers[0].communicate(timeout=60)
    assert launchers[0].returncode == 1
    wait_until(lambda: not running(rank_pids(run)), "the end of all ranks")
    (lost,) = exits(run)["lost_nodes"]
    assert (lost["node"], lost["host"]) == (1, os.uname().nodename)
    assert lost["silent_seconds"] >= 4
    assert [beat["node"] for beat in heartbeats(run)] == [1], "it never said that it had ended"
    ended = status.read(run)
    assert ended["state"] == "failed"
    assert ended["reason"].startswith(f"Node 1 ({os.uname().nodename}) fell silent")
    found = diagnose_run(run)
    assert found.cause == "nccl_timeout"
    assert f"Node 1 ({os.uname().nodename}) fell silent" in found.explanation
    assert found.evidence[0].file == os.path.relpath(attempt.exits_json, run.path)
    assert '"node": 1' in found.evidence[0].text


def test_without_node_0_the_others_end_too() -> None:
    run = make("hang")
    launchers = [start_node(run, node, "--silent-seconds", "4") for node in (0, 1)]
    wait_for_ranks(run, 4)
    launchers[0].kill()
    launchers[1].communicate(timeout=60)
    assert launchers[1].returncode == 1
    wait_until(lambda: not running(rank_pids(run)), "the end of all ranks")


def test_a_stop_that_ranks_agree_on_ends_both_nodes_well() -> None:
    run = make("hang")
    launchers = [start_node(run, node) for node in (0, 1)]
    wait_for_ranks(run, 4)
    write_json(run.request_json, {"action": "stop", "id": "1", "attempt": 1})
    for launcher in launchers:
        launcher.communicate(timeout=60)
        assert launcher.returncode == 0
    assert status.read(run)["state"] == "stopped"


def test_nodes_that_do_not_come_are_named() -> None:
    run = make("finish")
    alone = {node: start_node(run, node, "--join-seconds", "1") for node in (0,)}
    assert "node 1 did not join within 1 s" in alone[0].communicate()[0]
    assert alone[0].returncode == 1
    late = start_node(run, 1, "--join-seconds", "1")
    assert "waited 1 s for node 0 to make an attempt" in late.communicate()[0]
    assert late.returncode == 1
    wrong = start_node(run, 2)
    assert "--node-rank 2: hardware.nodes is 2" in wrong.communicate()[0]


def test_node_0_has_to_know_its_address() -> None:
    run = make("finish")
    from support.small_runs import begin

    assert "--master-addr is missing" in begin("engine.launch", run, "--node-rank", "0").communicate()[0]
    unknown = begin("engine.launch", run, "--master-addr", "no-such-host.invalid")
    assert "no-such-host.invalid leads nowhere" in unknown.communicate()[0]
    assert run.attempts() == []


def test_a_node_that_does_not_fit_is_refused_with_the_reason() -> None:
    ours = {"run_yaml": "a", "ranks_per_node": 2, "versions": {"torch": "2.13.0", "peft": "0.21.2"}}
    theirs = {**ours, "host": "b"}
    assert misfit(1, theirs, ours) is None
    assert "node 1 (b) reads another run.yaml" in str(misfit(1, {**theirs, "run_yaml": "c"}, ours))
    assert "node 1 (b) would start 4 ranks, node 0 2" in str(misfit(1, {**theirs, "ranks_per_node": 4}, ours))
    older = {**theirs, "versions": {"torch": "2.12.0"}}
    assert misfit(1, older, ours) == "node 1 (b) has torch 2.12.0, node 0 2.13.0: install the same on both."
    lacking = {**theirs, "versions": {"torch": "2.13.0"}}
    assert "node 1 (b) has peft not, node 0 0.21.2" in str(misfit(1, lacking, ours))


def test_what_holds_a_node_up_itself_is_no_silence_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make("finish")
    now = 0.0
    monkeypatch.setattr("engine.nodes.time.monotonic", lambda: now)
    nodes = Nodes(run.new_attempt(), 0, 2, Pace(silent=30))
    write_json(nodes.attempt.node_json(1), {"node": 1, "host": "b"})
    write_json(nodes.attempt.node_beat(1), {"beat": 1})
    nodes.beat()
    now = 1000.0  # stalled: a shared disk that stood still for all
    nodes.beat()
    assert nodes.lost == {}
    for _ in range(40):
        now += 1.0
        nodes.beat()
    assert list(nodes.lost) == [1]
    write_json(nodes.attempt.node_beat(1), {"beat": 2})
    nodes.beat()
    assert nodes.lost == {}, "it is there again"


def test_the_interface_of_a_loopback_address_is_the_loopback() -> None:
    assert interface_towards(ADDRESS) == interface_towards("127.0.0.2") == "lo"


def test_one_node_leaves_no_files_of_nodes() -> None:
    run = make_run(["finish"])
    from support.small_runs import begin

    begin("engine.launch", run).communicate()
    assert not run.attempts()[0].nodes_dir.exists()


def test_the_end_of_nodes_on_other_hosts_is_read_from_their_records() -> None:
    run = make("finish")
    for launcher in [start_node(run, node) for node in (0, 1)]:
        launcher.communicate(timeout=60)
    attempt = run.attempts()[0]
    launch = read_json(attempt.launch_json) or {}
    for process in (launch["launcher"], *launch["ranks"]):
        process["host"] = "another"
    write_json(attempt.launch_json, launch)
    assert status.read(run)["state"] == "finished"
    attempt.exits_json.unlink()
    assert status.read(run)["state"] == "training", "nobody here knows"
