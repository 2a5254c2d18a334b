"""Runs deleted: what goes, what stays, what is refused, and that nothing else on the disk is touched."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.small_runs import config

from engine.events import RunDirectory, identity, read_json, write_json
from qltui.runs import launching, removal, status, store
from qltui.runs.removal import RemovalRefused


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "runs"


def write_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / removal.WEIGHTS).write_bytes(b"w" * 10_000)
    return folder


def ended_run(name: str = "tiny", state: str = "finished", *, result: bool = True, **values: object) -> RunDirectory:
    """A run with two checkpoints, and a result."""
    run = launching.create(config(name, **values))
    for step in (4, 8):
        folder = run.checkpoints / f"step-{step:08d}"
        write_adapter(folder / "adapter")
        (folder / "state.pt").write_bytes(b"s" * 100_000)
    if result:
        write_adapter(run.adapter)
    run.new_attempt().log(0).write_text("a line\n")
    current = read_json(run.status_json) or {}
    write_json(run.status_json, {**current, "state": state, "step": 8, "loss": 1.5, "exit_code": 0})
    return run


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_of_a_run_goes_and_nothing_of_others(home: Path) -> None:
    run, other = ended_run("one"), ended_run("other")
    before = files(other.path)
    found = removal.preview(run)
    assert found.lost == ("adapter", "checkpoints/step-00000008/adapter", "checkpoints/step-00000004/adapter")
    assert found.frees == sum(os.lstat(path).st_blocks * 512 for path in (run.path, *run.path.rglob("*")))
    assert "Lost with it, as nowhere else: adapter, " in " ".join(found.sentences)
    assert removal.remove(run) == found.frees
    assert os.listdir(home) == [other.id]
    assert files(other.path) == before


def test_adapters_stay_if_asked_and_the_run_is_told_as_it_ended(home: Path) -> None:
    run = ended_run(state="stopped")
    (run.path / "notes.json").write_text("{}")
    found = removal.preview(run, keep_adapters=True)
    assert found.kept == ("adapter", "checkpoints/step-00000008/adapter")
    assert found.lost == ("checkpoints/step-00000004/adapter",)
    freed = removal.remove(run, keep_adapters=True)
    assert freed == found.frees > 0
    weights = [f"{folder}/{removal.WEIGHTS}" for folder in found.kept]
    assert files(run.path) == sorted(["notes.json", "run.yaml", "status.json", *weights])
    assert os.listdir(home) == [run.id]
    current = status.read(run)
    assert (current["state"], current["step"], current["loss"]) == ("stopped", 8, 1.5)
    with pytest.raises(launching.LaunchRefused, match=r"Only adapters of .* were kept"):
        launching.resume(run)
    with pytest.raises(launching.LaunchRefused, match="holds no checkpoint"):
        launching.create(config("child", parent=run.id))


def test_a_run_that_was_lost_is_still_lost_when_its_adapters_alone_are_left() -> None:
    run = ended_run()
    gone = {**identity(), "start_time": 1}
    write_json(run.status_json, {**(read_json(run.status_json) or {}), "state": "training", "supervisor": gone})
    write_json(run.attempts()[-1].launch_json, {"world_size": 1, "launcher": gone, "ranks": [gone]})
    before = status.read(run)
    assert before["state"] == "lost"
    removal.remove(run, keep_adapters=True)
    assert status.read(run) == before


def test_without_a_result_the_newest_checkpoints_adapter_is_kept_and_without_any_nothing_is_done() -> None:
    run = ended_run("one", "failed", result=False)
    assert removal.preview(run, keep_adapters=True).kept == ("checkpoints/step-00000008/adapter",)
    bare = launching.create(config("bare"))
    write_json(bare.status_json, {**(read_json(bare.status_json) or {}), "state": "failed"})
    before = files(bare.path)
    with pytest.raises(RemovalRefused, match="no adapter to keep"):
        removal.remove(bare, keep_adapters=True)
    assert set(files(bare.path)) - {"launcher.lock"} == set(before)


def test_links_are_never_followed(home: Path, tmp_path: Path) -> None:
    run = ended_run(result=False)
    elsewhere = tmp_path / "scratch"
    run.checkpoints.rename(elsewhere)
    run.checkpoints.symlink_to(elsewhere)
    data = tmp_path / "data"
    data.mkdir()
    (data / "rows.jsonl").write_text("{}\n")
    (run.path / "data").symlink_to(data)
    before = files(elsewhere), files(data)
    found = removal.preview(run)
    assert found.lost == ()
    assert set(found.links) == {f"{run.id}/checkpoints", f"{run.id}/data"}
    assert found.frees < 100_000
    with pytest.raises(RemovalRefused, match="no adapter to keep"):
        removal.remove(run, keep_adapters=True)
    removal.remove(run)
    assert (files(elsewhere), files(data)) == before
    assert os.listdir(home) == []


def test_of_a_run_that_is_a_link_only_the_link_goes(home: Path, tmp_path: Path) -> None:
    run = ended_run()
    run.path.rename(tmp_path / "moved")
    run.path.symlink_to(tmp_path / "moved")
    before = files(tmp_path / "moved")
    assert removal.preview(run).links == (run.id,)
    removal.remove(run)
    assert os.listdir(home) == []
    assert set(files(tmp_path / "moved")) - {"launcher.lock"} == set(before)


def test_weights_with_another_name_on_the_disk_are_not_lost(tmp_path: Path) -> None:
    run = ended_run()
    os.link(run.adapter / removal.WEIGHTS, tmp_path / "mine.safetensors")
    assert "adapter" not in removal.preview(run).lost
    removal.remove(run)
    assert (tmp_path / "mine.safetensors").stat().st_size == 10_000


def test_live_runs_and_folders_kept_elsewhere_are_refused(tmp_path: Path) -> None:
    live = launching.create(config("live"))
    with pytest.raises(RemovalRefused, match=rf"{live.id} is live \(starting\); stop it first: qltui stop {live.id}"):
        removal.remove(live)
    away = {"pid": 1, "start_time": 1, "host": "elsewhere"}
    write_json(live.status_json, {**(read_json(live.status_json) or {}), "state": "training", "supervisor": away})
    with pytest.raises(RemovalRefused, match=r"on elsewhere.*if that host is gone remove"):
        removal.remove(live)
    mine = tmp_path / "project"
    mine.mkdir()
    (mine / "run.yaml").write_text("")
    with pytest.raises(RemovalRefused, match="isn't kept in"):
        removal.remove(store.find(f"{mine}/"))
    assert live.path.exists() and mine.exists()


def test_a_run_that_is_being_launched_by_hand_is_refused() -> None:
    run = ended_run()
    with run.claim(), pytest.raises(RemovalRefused, match="being launched"):
        removal.remove(run)
    assert run.adapter.exists()


def test_what_was_made_to_continue_it_is_told_and_a_live_one_without_a_checkpoint_keeps_it() -> None:
    run = ended_run("first")
    child = ended_run("child", parent=run.id)
    ended_run(f"about-{run.id}")  # has its id in run.yaml, and is none
    assert removal.preview(run).children == (child.id,)
    begun = launching.create(config("begun", parent=run.id))
    with pytest.raises(RemovalRefused, match=f"live run {begun.id} is still to go on from {run.id}"):
        removal.remove(run)
    (begun.checkpoints / "step-00000012").mkdir(parents=True)
    removal.remove(run)
    assert not run.path.exists()


KILLED = """
import os, shutil, signal, sys
from qltui.runs import removal, store
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
removal.remove(store.find(sys.argv[1]))
"""


def test_a_deletion_that_is_killed_lists_nothing_and_the_next_one_clears_it(home: Path) -> None:
    run, other = ended_run("one"), ended_run("other")
    done = subprocess.run([sys.executable, "-c", KILLED, run.id], check=False)
    assert done.returncode == -9
    assert [one["id"] for one in store.list_runs()] == [other.id]
    assert len(os.listdir(home)) == 2
    removal.remove(other)
    assert os.listdir(home) == []
