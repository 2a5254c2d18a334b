"""The queue: whose turn it is, and real supervisors that wait for it, are taken out, killed and put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import OPTIONS, begin, config, environment, make_run, wait_for_steps, wait_until

from engine.config.reading import read_file
from engine.events import RunDirectory, identity, is_alive, read_json, write_json
from qltui.facts.gpus import Gpu
from qltui.runs import launching, leases, queueing, status
from qltui.runs.follow import Follower
from qltui.runs.leases import GpusTaken, LaunchRefused

TWO = [Gpu(number, f"GPU-{number}", "A40", 48 << 30) for number in range(2)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qltui.facts.gpus.visible_gpus", lambda: TWO)  # the one part this machine lacks


def on_gpus(name: str, *named: str, ranks: int = 1, **options: Any) -> RunDirectory:
    """A run that was launched, and whose supervisor lives: this process."""
    values = {"hardware.gpus": list(named)} if named else {}
    run = launching.create(config(name, ranks=ranks, device="cuda", **values), **options)
    write_json(run.status_json, {**status.read_written(run), "supervisor": identity()})
    return run


def end(run: RunDirectory) -> None:
    write_json(run.status_json, {**status.read_written(run), "state": "finished"})


def whose_turn(run: RunDirectory) -> list[str] | dict[str, str]:
    """The GPUs it would start on now, or ids of the runs in its way with their states."""
    place = leases.read_place(run)
    assert place is not None
    found = queueing.turn(read_file(run.run_yaml), place, leases.live_runs())
    return found.holders if isinstance(found, queueing.Wait) else [gpu.uuid for gpu in found]


@pytest.mark.usefixtures("two_gpus")
def test_a_refusal_names_the_run_and_what_to_do() -> None:
    first = on_gpus("first", "0")
    advice = r"wait for it with --queue, stop it, or choose other GPUs with --set hardware.gpus=\[...\]\."
    with pytest.raises(GpusTaken, match=rf"^GPU 0 is in use by the live run {first.id}: {advice}$"):
        on_gpus("second", "0")
    wanted = f"GPUs wanted: 2, free: 1; the others are in use by the live run {first.id}: wait for them with --queue"
    with pytest.raises(GpusTaken, match=wanted):
        on_gpus("second", ranks=2)
    with pytest.raises(LaunchRefused, match=r"^GPUs wanted: 3, there: 2\.$"):
        on_gpus("third", ranks=3, queue=True)


@pytest.mark.usefixtures("two_gpus")
def test_first_in_is_first_out_and_other_gpus_need_not_wait() -> None:
    first = on_gpus("first", "0")
    second, third = on_gpus("second", "0", queue=True), on_gpus("third", "0", queue=True)
    assert [status.read(run)["state"] for run in (first, second, third)] == ["starting", "queued", "queued"]
    assert status.read(second)["waiting_for"] == {
        "id": first.id, "name": "first", "reason": f"GPU 0 is in use by the live run {first.id}.",
    }  # fmt: skip
    other = on_gpus("other", "1", queue=True)
    assert (status.read(other)["state"], status.read(other)["gpus"]) == ("starting", ["GPU-1"])
    assert whose_turn(second) == {first.id: "starting"}
    end(first)
    assert whose_turn(second) == ["GPU-0"]
    assert whose_turn(third) == {second.id: "queued"}
    with pytest.raises(GpusTaken, match=f"GPU 0 is waited for by the queued run {second.id}"):
        on_gpus("jumps-the-queue", "0")
    end(second)
    assert whose_turn(third) == ["GPU-0"]


@pytest.mark.usefixtures("two_gpus")
def test_one_that_wants_all_gpus_is_not_passed_by_ever_smaller_ones() -> None:
    first, second = on_gpus("first"), on_gpus("second")
    both = on_gpus("both", ranks=2, queue=True)
    small = on_gpus("small", queue=True)
    assert whose_turn(both) == {first.id: "starting", second.id: "starting"}
    end(first)
    assert whose_turn(both) == {second.id: "starting"}
    assert set(whose_turn(small)) == {both.id, second.id}
    end(second)
    assert whose_turn(both) == ["GPU-0", "GPU-1"]


@pytest.mark.usefixtures("two_gpus")
def test_one_that_waits_for_the_end_of_another_keeps_nobody_from_its_gpus() -> None:
    first = on_gpus("first", "0")
    later = on_gpus("later", "1", after=first)
    assert whose_turn(later) == {first.id: "starting"}
    between = on_gpus("between", "1")
    end(first)
    assert whose_turn(later) == {between.id: "starting"}
    with pytest.raises(GpusTaken, match=between.id):
        on_gpus("more", "1")
    end(between)
    assert whose_turn(later) == ["GPU-1"]


@pytest.mark.usefixtures("two_gpus")
def test_gpus_whose_number_is_left_open_are_all_waited_for_as_planned() -> None:
    """A launch takes those that are free, a queued one as many as it was planned for."""
    first = on_gpus("first", "1")
    spread = {"strategy": "pipeline", "device": "cuda"}
    queued = launching.create(config("spread", ranks=1, **spread), queue=True)
    assert status.read_written(queued)["state"] == "queued"
    assert 'gpu_ids: "GPU-0,GPU-1"' in queued.accelerate_yaml.read_text()
    end(first)
    assert whose_turn(queued) == ["GPU-0", "GPU-1"]


@pytest.mark.usefixtures("two_gpus")
def test_files_are_those_of_the_gpus_it_gets() -> None:
    first = on_gpus("first", "0")
    on_gpus("second", "1")
    queued = on_gpus("queued", queue=True)
    assert 'gpu_ids: "GPU-0"' in queued.accelerate_yaml.read_text()
    before = queued.run_yaml.stat().st_mtime_ns
    queueing.rewrite_files(queued, read_file(queued.run_yaml), TWO[1:])
    assert 'gpu_ids: "GPU-1"' in queued.accelerate_yaml.read_text()
    assert queued.run_yaml.stat().st_mtime_ns == before
    assert first.path.exists()


@pytest.mark.usefixtures("two_gpus")
def test_a_lease_ends_with_the_run_that_has_it() -> None:
    gone = {**identity(), "start_time": 1}
    first = on_gpus("first", "0")
    write_json(first.status_json, {**status.read_written(first), "state": "training", "supervisor": gone})
    attempt = first.new_attempt()
    launch = {"world_size": 1, "launcher": identity(), "ranks": [identity()], "gpus": ["GPU-0"]}
    write_json(attempt.launch_json, launch)
    with pytest.raises(GpusTaken):  # its supervisor alone is lost
        on_gpus("second", "0")
    write_json(attempt.launch_json, {**launch, "launcher": gone, "ranks": [gone]})
    assert status.read(on_gpus("second", "0"))["gpus"] == ["GPU-0"]


@pytest.mark.usefixtures("two_gpus")
def test_a_lease_of_a_host_that_cannot_be_seen_holds_until_that_is_silent() -> None:
    away = {"pid": 1, "start_time": 1, "host": "elsewhere"}
    first = on_gpus("first", "0")
    write_json(first.status_json, {**status.read_written(first), "state": "training", "supervisor": away})
    with pytest.raises(GpusTaken, match=f"{first.id}: .* Its processes are on elsewhere: from "):
        on_gpus("second", "0")
    long_ago = time.time() - leases.SILENT_SECONDS - 60
    for path in (first.path, *first.path.rglob("*")):
        os.utime(path, (long_ago, long_ago))
    assert status.read(on_gpus("second", "0"))["gpus"] == ["GPU-0"]


AT_ONCE = """
import sys, time
from support.small_runs import config
from qltui.facts import gpus
from qltui.runs import launching
gpus.visible_gpus = lambda: [gpus.Gpu(0, "GPU-0", "A40", 48 << 30)]
one = config(sys.argv[1], ranks=1, device="cuda")
while time.time() < float(sys.argv[2]):
    pass
try:
    print(launching.create(one).id)
except launching.LaunchRefused as error:
    print(error)
    sys.exit(1)
"""


def test_of_launches_at_once_one_gets_the_gpu() -> None:
    start = str(time.time() + 1)
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", AT_ONCE, f"run-{number}", start], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        ) for number in range(4)
    ]  # fmt: skip
    said = {process.communicate()[0].strip(): process.returncode for process in racing}
    winner = [text for text, code in said.items() if code == 0]
    assert len(winner) == 1, said
    assert all(winner[0] in text for text in said)


# With real processes


def queued_supervisor(run: RunDirectory) -> subprocess.Popen[str]:
    """The supervisor of a queued run, waiting."""
    supervisor = begin("qltui.runs.supervisor", run, "--queued")
    wait_until(lambda: is_alive(status.read_written(run)["supervisor"]), "the supervisor in status.json")
    return supervisor


def after(first: RunDirectory, name: str = "second") -> RunDirectory:
    run = launching.create(config(name, ranks=1), after=first)
    (run.path / "plan.txt").write_text("finish")
    return run


def test_a_run_starts_by_itself_when_the_one_before_has_ended() -> None:
    first = make_run(["hang"])
    trains = begin("qltui.runs.supervisor", first)
    wait_for_steps(first, 1)
    second = after(first)
    third = after(second, "third")
    waiting = [queued_supervisor(run) for run in (second, third)]
    reason = f"It starts when {first.id} has ended."
    for current in (status.read(second), Follower(second.path).poll().status):
        assert (current["state"], current["gpus"]) == ("queued", [])
        assert current["waiting_for"] == {"id": first.id, "name": "tiny", "reason": reason}
    assert status.read(third)["waiting_for"]["id"] == second.id
    with pytest.raises(LaunchRefused, match="is queued; there is nothing to save yet"):
        launching.request_checkpoint(second)
    with pytest.raises(LaunchRefused, match="is live"):
        launching.resume(second)
    assert second.attempts() == []
    launching.request_stop(first)
    for process in (trains, *waiting):
        assert process.wait(60) == 0
    for run in (second, third):
        final = status.read(run)
        assert (final["state"], final["attempt"], final["waiting_for"]) == ("finished", 1, None)
        assert not (run.path / "queue.json").exists()
    launched = [run.attempts()[0].launch_json.stat().st_mtime for run in (second, third)]
    assert status.read(first)["updated"] < launched[0] < launched[1]


ON_GPUS = """
import sys
from qltui.facts import gpus
from qltui.runs.supervisor import main
gpus.visible_gpus = lambda: [gpus.Gpu(number, f"GPU-{number}", "A40", 48 << 30) for number in range(2)]
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.usefixtures("two_gpus")
def test_a_run_starts_on_gpus_that_become_free() -> None:
    first, other = on_gpus("first", "0"), on_gpus("other", "1")
    queued = on_gpus("queued", queue=True)
    (queued.path / "plan.txt").write_text("finish")
    command = [sys.executable, "-P", "-c", ON_GPUS, str(queued.path), "--queued", *OPTIONS]
    supervisor = subprocess.Popen(command, env=environment(), start_new_session=True)
    wait_until(lambda: status.read_written(queued)["supervisor"] != identity(), "the supervisor")
    assert status.read(queued)["state"] == "queued"
    end(other)
    assert supervisor.wait(60) == 0
    launch = read_json(queued.attempts()[0].launch_json)
    assert launch is not None
    assert (launch["gpus"], launch["environment"]["CUDA_VISIBLE_DEVICES"]) == (["GPU-1"], "GPU-1")
    assert 'gpu_ids: "GPU-1"' in queued.accelerate_yaml.read_text()
    assert status.read(queued)["gpus"] == ["GPU-1"]
    assert status.read(first)["state"] == "starting"


def live_run() -> RunDirectory:
    """A run whose supervisor is this process."""
    run = launching.create(config())
    write_json(run.status_json, {**status.read_written(run), "supervisor": identity()})
    return run


@pytest.mark.parametrize("how", ["stop", "kill", "SIGTERM"])
def test_a_queued_run_is_taken_out(how: str) -> None:
    second = after(live_run())
    supervisor = queued_supervisor(second)
    if how == "SIGTERM":
        supervisor.send_signal(signal.SIGTERM)
    else:
        launching.request_stop(second, now=how == "kill")
    assert supervisor.wait(60) == 0
    final = status.read(second)
    assert (final["state"], final["exit_code"], final["waiting_for"]) == ("stopped", 0, None)
    assert "nothing was run" in final["reason"]
    assert second.attempts() == []
    assert leases.read_place(second) is None


def test_a_stop_that_came_before_its_turn_was_looked_for_runs_nothing() -> None:
    first = live_run()
    second = after(first)
    launching.request_stop(second)
    end(first)
    assert begin("qltui.runs.supervisor", second, "--queued").wait(60) == 0
    assert status.read(second)["state"] == "stopped"
    assert second.attempts() == []


def test_a_queued_run_whose_supervisor_is_killed_is_lost_and_takes_its_place_again() -> None:
    first = live_run()
    second = after(first)
    supervisor = queued_supervisor(second)
    place = leases.read_place(second)
    supervisor.kill()
    supervisor.wait()
    lost = status.read(second)
    assert (lost["state"], lost["exit_code"]) == ("lost", 1)
    assert "resume it and it takes its place again" in lost["reason"]
    with pytest.raises(LaunchRefused, match="isn't live"):
        launching.request_stop(second)
    launching.resume(second)
    wait_until(lambda: is_alive(status.read_written(second)["supervisor"]), "another supervisor")
    again = status.read(second)
    assert (again["state"], again["attempt"], again["waiting_for"]["id"]) == ("queued", 1, first.id)
    assert leases.read_place(second) == place
    launching.request_stop(second)
    wait_until(lambda: status.read_written(second)["state"] == "stopped", "the end")


@pytest.mark.usefixtures("two_gpus")
def test_a_resume_waits_for_gpus_if_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # its supervisor, a real one, is to find none
    ended = on_gpus("ended", "0")
    end(ended)
    write_json(ended.status_json, {**status.read_written(ended), "state": "failed"})
    first = on_gpus("first", "0")
    with pytest.raises(GpusTaken, match=first.id):
        launching.resume(ended)
    assert status.read(ended)["state"] == "failed"
    launching.resume(ended, queue=True)
    written = status.read_written(ended)
    assert (written["state"], written["waiting_for"]["id"]) == ("queued", first.id)
    wait_until(lambda: status.read_written(ended)["state"] == "failed", "the end: its supervisor finds no GPU here")
    assert status.read(ended)["reason"] == "Of the GPUs 0 only 0 are there."


def test_a_state_folder_that_is_away_for_a_while_costs_no_place(home: Path) -> None:
    """A full disk, a file system that hangs: here the lock cannot be opened."""
    first = live_run()
    second = after(first)
    lock = home / "launch.lock"
    lock.unlink()
    lock.mkdir()
    end(first)
    supervisor = queued_supervisor(second)
    assert supervisor.stdout
    assert f"{lock}'; it is tried again" in supervisor.stdout.readline()
    assert status.read(second)["state"] == "queued"
    lock.rmdir()
    assert supervisor.wait(60) == 0
    assert status.read(second)["state"] == "finished"


def test_nothing_to_wait_for_starts_at_once() -> None:
    first = make_run(["finish"])
    end(first)
    second = launching.create(config("second"), after=first, queue=True)
    assert status.read_written(second)["state"] == "starting"
    assert leases.read_place(second) is None
    with pytest.raises(LaunchRefused, match="named second is live"):
        launching.create(config("second"), queue=True)
