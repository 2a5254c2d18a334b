"""Finding runs, creating them whole or not at all, and who has which GPU."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.small_runs import config

from engine.config import Compute
from engine.config.deepspeed import deepspeed_config
from engine.config.reading import read_file
from engine.events import RunDirectory, identity, read_json, write_json
from qltui.facts.gpus import Gpu
from qltui.runs import launching, status, store
from qltui.runs.follow import Follower
from qltui.runs.launching import LaunchRefused
from qltui.runs.store import RunNotFound


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def end(run: RunDirectory, state: str = "finished") -> None:
    write_json(run.status_json, {**(read_json(run.status_json) or {}), "state": state})


def ended_run(name: str, age: float = 0) -> RunDirectory:
    run = launching.create(config(name))
    end(run)
    then = time.time() - age
    os.utime(run.run_yaml, (then, then))
    return run


def test_a_new_run_is_whole_and_private(home: Path) -> None:
    run = launching.create(config("tiny", ranks=3))
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert read_file(run.run_yaml) == config("tiny", ranks=3)
    assert os.listdir(home / "runs") == [run.id]
    current = status.read(run)
    assert (current["id"], current["name"], current["state"]) == (run.id, "tiny", "starting")
    assert (current["method"], current["strategy"], current["run_dir"]) == ("qlora", "ddp", str(run.path))


@pytest.mark.parametrize("ranks", [1, 3])
def test_accelerate_reads_its_file(ranks: int) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    values = {"precision": "bf16"} if ranks > 1 else {"strategy": "single"}
    run = launching.create(config("tiny", ranks=ranks, **values))
    read = load_config_from_file(str(run.accelerate_yaml))
    assert (read.num_processes, read.num_machines, read.use_cpu) == (ranks, 1, True)
    assert read.distributed_type.value == ("MULTI_GPU" if ranks > 1 else "NO"), "MULTI_CPU would start a single process"
    assert read.mixed_precision == ("bf16" if ranks > 1 else "no")


def write_config_json(folder: Path, **values: object) -> str:
    (folder / "model").mkdir()
    write_json(folder / "model" / "config.json", values)
    return str(folder / "model")


@pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
def test_deepspeed_json_is_what_the_engine_will_give_deepspeed(strategy: str, tmp_path: Path) -> None:
    model = write_config_json(tmp_path, hidden_size=96)
    run = launching.create(config(strategy=strategy, model=model, gradient_accumulation_steps=4))
    assert read_json(run.deepspeed_json) == deepspeed_config(read_file(run.run_yaml), Compute.FP32, 96)
    accelerate = run.accelerate_yaml.read_text()
    assert 'distributed_type: "MULTI_GPU"' in accelerate, "ranks shard by themselves; Accelerate only starts them"
    assert "deepspeed" not in accelerate and f"The strategy, {strategy}," in accelerate


def test_the_width_of_a_text_model_inside_another_is_found(tmp_path: Path) -> None:
    model = write_config_json(tmp_path, hidden_size=1, text_config={"hidden_size": 64})
    written = read_json(launching.create(config(strategy="zero3", model=model)).deepspeed_json)
    assert written is not None
    assert written["zero_optimization"]["stage3_param_persistence_threshold"] == 64


def test_deepspeed_json_is_left_out_where_it_would_be_a_guess(tmp_path: Path) -> None:
    without = write_config_json(tmp_path, n_embd=64)
    unknown: list[dict[str, object]] = [
        {"strategy": "zero3", "model": without},
        {"strategy": "zero3", "model": "org/not-here"},
        {"strategy": "fsdp2"},
    ]
    for number, values in enumerate(unknown):
        made = config(f"run-{number}", **values)
        assert not launching.create(made).deepspeed_json.exists()


@pytest.mark.parametrize(("capability", "precision"), [((9, 0), "bf16"), ((7, 5), "fp16"), (None, None)])
def test_files_name_the_precision_the_gpus_will_compute_in(
    capability: tuple[int, int] | None, precision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [Gpu(number, f"GPU-{number}", "A40", 48 << 30, capability) for number in range(2)]
    monkeypatch.setattr("qltui.facts.gpus.visible_gpus", lambda: two)  # the one part this machine lacks
    made = config(strategy="zero2", device="cuda", model=write_config_json(tmp_path, hidden_size=96), method="full")
    run = launching.create(made)
    accelerate = run.accelerate_yaml.read_text()
    assert (f'mixed_precision: "{precision}"' in accelerate) == (precision is not None)
    assert 'gpu_ids: "GPU-0,GPU-1"' in accelerate, "the GPUs of the launch, and no others"
    assert run.deepspeed_json.exists() == (precision is not None)
    if precision:
        assert (read_json(run.deepspeed_json) or {})[precision] == {"enabled": True}


def test_find_by_id_beginning_path_and_last() -> None:
    old, new = ended_run("alpha", age=60), ended_run("beta")
    assert store.find(old.id).path == old.path
    assert store.find("al").path == old.path
    assert store.find(f"{new.path}/").path == new.path
    assert store.find("last").path == new.path
    longer = old.path.with_name(old.id + "-2")
    longer.mkdir()
    (longer / "run.yaml").write_text("")
    assert store.find(old.id).path == old.path


@pytest.mark.parametrize(
    ("text", "said"), [("alhpa", "alpha-"), ("", "alpha-"), ("/no/such", "alpha-"), ("a", "2 runs")]
)
def test_what_is_not_found_says_what_there_is(text: str, said: str) -> None:
    ended_run("alpha")
    ended_run("alpine")
    with pytest.raises(RunNotFound, match=said):
        store.find(text)


def test_without_runs_it_says_how_to_start_one() -> None:
    with pytest.raises(RunNotFound, match="qltui launch"):
        store.find("last")
    assert store.list_runs() == []


def test_live_runs_come_first_then_the_newest(home: Path) -> None:
    oldest, newest = ended_run("oldest", age=60), ended_run("newest")
    live = launching.create(config("live"))
    os.utime(live.run_yaml, (0.5, 0.5))
    (home / "runs" / ".half-made").mkdir()
    (home / "runs" / "a-folder").mkdir()
    assert [one["id"] for one in store.list_runs()] == [live.id, newest.id, oldest.id]


def test_the_name_of_a_live_run_is_refused() -> None:
    live = launching.create(config("tiny"))
    with pytest.raises(LaunchRefused, match=live.id):
        launching.create(config("tiny"))
    end(live)
    assert launching.create(config("tiny")).id != live.id


CREATE = """
import os, resource, sys
from support.small_runs import config
from qltui.runs import launching
limit, user = map(int, sys.argv[1:])
if limit >= 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.seteuid(user)
try:
    launching.create(config("tiny"))
except launching.LaunchRefused as refusal:
    print(refusal)
    sys.exit(1)
"""


def create_elsewhere(home: Path, limit: int = -1, user: int | None = None) -> subprocess.CompletedProcess[str]:
    """Create a run in a process whose files may not grow beyond ``limit`` bytes, or that is another user's."""
    user = os.geteuid() if user is None else user
    return subprocess.run(
        [sys.executable, "-c", CREATE, str(limit), str(user)],
        env={**os.environ, "QLTUI_HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("limit", [0, 1000])
def test_a_disk_that_is_full_leaves_nothing_behind(home: Path, limit: int) -> None:
    """By the system's own refusal to let a file grow: before its first byte, and in its midst."""
    done = create_elsewhere(home, limit)
    assert (done.returncode, done.stderr) == (1, "")
    assert str(home) in done.stdout
    assert "QLTUI_HOME" in done.stdout
    assert os.listdir(home / "runs") == []


def test_a_state_folder_that_is_read_only_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):  # another user must reach it
        folder.chmod(0o755)
    done = create_elsewhere(closed, user=65534 if os.geteuid() == 0 else None)
    assert (done.returncode, done.stderr) == (1, "")
    assert str(closed) in done.stdout
    assert os.listdir(closed) == []


def test_a_run_that_is_over_is_not_stopped_and_a_finished_one_not_resumed() -> None:
    run = ended_run("tiny")
    with pytest.raises(LaunchRefused, match="finished"):
        launching.request_stop(run)
    assert not run.request_json.exists()
    with pytest.raises(LaunchRefused, match="finished"):
        launching.resume(run)


def test_a_live_run_is_not_resumed() -> None:
    run = launching.create(config("tiny"))
    with pytest.raises(LaunchRefused, match="live"):
        launching.resume(run)


def test_gpus_of_a_live_run_are_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    two = [Gpu(number, f"GPU-{number}", "A40", 48 << 30) for number in range(2)]
    monkeypatch.setattr("qltui.facts.gpus.visible_gpus", lambda: two)  # the one part this machine lacks

    def on_gpu(name: str, **values: object) -> RunDirectory:
        return launching.create(config(name, ranks=1, device="cuda", **values))

    first = on_gpu("first")
    assert status.read(first)["gpus"] == ["GPU-0"]
    with pytest.raises(LaunchRefused, match=f"GPU 0 .*{first.id}"):
        on_gpu("named", **{"hardware.gpus": ["0"]})
    second = on_gpu("second")
    assert status.read(second)["gpus"] == ["GPU-1"]
    with pytest.raises(LaunchRefused, match=first.id):
        on_gpu("third")
    end(first)
    assert status.read(on_gpu("third"))["gpus"] == ["GPU-0"]
    assert status.read(launching.create(config("on-cpu")))["gpus"] == []


def test_pipeline_takes_every_free_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    three = [Gpu(number, f"GPU-{number}", "A40", 48 << 30) for number in range(3)]
    monkeypatch.setattr("qltui.facts.gpus.visible_gpus", lambda: three)
    first = launching.create(config("first", ranks=1, device="cuda", **{"hardware.gpus": ["1"]}))
    spread = launching.create(config("spread", ranks=1, device="cuda", strategy="pipeline"))
    assert status.read(spread)["gpus"] == ["GPU-0", "GPU-2"]
    end(spread)
    launching.create(config("second", ranks=1, device="cuda"))
    with pytest.raises(LaunchRefused, match="GPUs wanted: 2, free: 1"):
        launching.create(config("third", ranks=1, device="cuda", strategy="pipeline"))
    assert read_file(first.run_yaml).strategy.name.value == "ddp"


def test_a_parent_is_written_down_as_the_engine_finds_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ended_run("first")
    (first.checkpoints / "step-00000004").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere" / "moved"
    (elsewhere / "checkpoints" / "step-00000002").mkdir(parents=True)
    (elsewhere / "run.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for name, named, written in (
        ("a", "firs", first.id), ("b", str(first.path), first.id), ("c", "elsewhere/moved", str(elsewhere)),
    ):  # fmt: skip
        run = launching.create(config(name, parent=named))
        assert read_file(run.run_yaml).parent == written
    assert read_file(launching.create(config("d")).run_yaml).parent is None


def test_a_parent_that_cannot_be_continued_is_refused(home: Path) -> None:
    first = ended_run("first")
    with pytest.raises(LaunchRefused, match=r"parent: .* holds no checkpoint"):
        launching.create(config("second", parent="first"))
    with pytest.raises(LaunchRefused, match="parent: There is no run"):
        launching.create(config("second", parent="nobody"))
    assert os.listdir(home / "runs") == [first.id]


def test_a_run_whose_processes_are_gone_is_lost() -> None:
    run = launching.create(config("tiny"))
    gone = {**identity(), "start_time": 1}
    attempt = run.new_attempt()
    write_json(run.status_json, {**(read_json(run.status_json) or {}), "state": "training", "supervisor": gone})
    write_json(attempt.launch_json, {"world_size": 1, "launcher": gone, "ranks": [gone]})
    current = status.read(run)
    assert (current["state"], current["exit_code"]) == ("lost", 1)
    assert "gone" in current["reason"]
    write_json(attempt.launch_json, {"world_size": 1, "launcher": gone, "ranks": [identity()]})
    assert status.read(run)["state"] == "starting"


def test_a_run_that_was_never_started_is_lost_after_a_while() -> None:
    run = launching.create(config("tiny"))
    assert status.read(run)["state"] == "starting"
    long_ago = time.time() - 3600
    os.utime(run.status_json, (long_ago, long_ago))
    assert status.read(run)["state"] == "lost"


def test_what_another_host_says_is_taken() -> None:
    run = launching.create(config("tiny"))
    elsewhere = {"pid": 1, "start_time": 1, "host": "elsewhere"}
    write_json(run.status_json, {**(read_json(run.status_json) or {}), "state": "training", "supervisor": elsewhere})
    current = status.read(run)
    assert current["state"] == "training"
    assert current["unseen"].startswith("Its processes are on elsewhere: from ")
    assert Follower(run.path).poll().status["unseen"].endswith(" ago.")
    write_json(run.status_json, {**current, "supervisor": identity()})
    assert status.read(run)["unseen"] is None
