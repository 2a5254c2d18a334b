"""Runs of other programs: recorded logs as they are, growing, torn, changed, and what is no run at all."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from pathlib import Path

import pytest
from support.nvml import Nvml, h200
from support.runs import Cli

from qltui.facts import gpus
from qltui.runs.follow import Snapshot
from qltui.runs.foreign.finding import NoRun
from qltui.runs.foreign.follow import QUIET_SECONDS, ForeignFollower

LOGS = Path(__file__).parent / "foreign_logs"
STEPS = list(range(2, 25, 2))
LAST_LOSS = 1.826195478439331


def caught_up(follower: ForeignFollower) -> Snapshot:
    while not (snapshot := follower.poll()).caught_up:
        pass
    return snapshot


def state_of(snapshot: Snapshot) -> tuple[str, int, int | None]:
    return snapshot.status["state"], snapshot.status["step"], snapshot.status["total_steps"]


@pytest.mark.parametrize("name", ["trainer.log", "trainer", "llamafactory", "llamafactory/trainer_log.jsonl"])
def test_every_kind_of_file_tells_the_same_run(name: str) -> None:
    """The log prints no step and its bar lags behind: what it comes to must be what the state says exactly."""
    snapshot = caught_up(ForeignFollower(LOGS / name))
    assert state_of(snapshot) == ("finished", 24, 24)
    assert snapshot.status["exit_code"] == 0
    assert snapshot.status["epoch"] == 1.5
    assert [step for step, _ in snapshot.series["loss"]] == STEPS
    assert snapshot.series["loss"][-1][1] == pytest.approx(LAST_LOSS, rel=1e-3)
    assert [step for step, _ in snapshot.series["eval_loss"]] == [8, 16, 24]
    assert len(snapshot.series["learning_rate"]) == 12
    assert len(snapshot.series["grad_norm"]) == (0 if "llama" in name else 12)


def test_the_gpus_of_this_machine_stand_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "load_nvml", lambda: Nvml(h200(0), h200(1)))
    snapshot = caught_up(ForeignFollower(LOGS / "trainer.log"))
    assert [gpu["uuid"] for gpu in snapshot.gpus] == ["GPU-0", "GPU-1"]
    assert snapshot.sample_age is not None
    assert snapshot.sample_age < 60
    assert not (LOGS / "telemetry").exists()


def test_trl_tells_tokens_beside() -> None:
    snapshot = caught_up(ForeignFollower(LOGS / "trl.log"))
    assert [step for step, _ in snapshot.series["loss"]] == STEPS
    assert snapshot.status["tokens_per_second"] == pytest.approx(1617)
    assert any("Tokenizing train dataset: 100%" in line.text for line in snapshot.log)


def test_a_folder_is_read_with_all_that_is_in_it(tmp_path: Path) -> None:
    shutil.copytree(LOGS / "trainer", tmp_path / "out")
    shutil.copy(LOGS / "llamafactory" / "trainer_log.jsonl", tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("no figures here\n")
    snapshot = caught_up(ForeignFollower(tmp_path / "out"))
    assert len(snapshot.series["grad_norm"]) == 12, "which LLaMA-Factory's log lacks"
    assert snapshot.log == []


def test_a_log_is_followed_as_it_is_written(tmp_path: Path) -> None:
    log, written = tmp_path / "train.log", (LOGS / "trainer.log").read_bytes()
    log.write_bytes(b"loading\n")
    follower = ForeignFollower(log)
    assert state_of(caught_up(follower)) == ("starting", 0, None)
    seen = []
    for end in range(0, len(written) - 400, 97):  # in the middle of lines and characters
        log.write_bytes(b"loading\n" + written[:end])
        snapshot = caught_up(follower)
        seen.append(snapshot.status["step"])
        assert snapshot.status["state"] in ("starting", "training")
    assert seen == sorted(seen)
    assert snapshot.status["eta_seconds"] is not None
    log.write_bytes(b"loading\n" + written)
    assert state_of(caught_up(follower)) == ("finished", 24, 24)
    log.write_bytes(written[: len(written) // 2])
    again = caught_up(follower)
    assert again.status["state"] == "training"
    assert again.status["step"] < 24, "a file that shrank is read anew"


def test_lines_without_a_bar_are_counted(tmp_path: Path) -> None:
    lines = [f"{{'loss': {loss}, 'grad_norm': 0.5, 'learning_rate': 1e-4, 'epoch': 0.1}}" for loss in (2.5, "nan", 1)]
    log = tmp_path / "old.log"
    log.write_text("\n".join(lines) + "\n")
    snapshot = caught_up(ForeignFollower(log))
    steps, losses = zip(*snapshot.series["loss"], strict=True)
    assert steps == (1, 2, 3)
    assert (losses[0], losses[2]) == (2.5, 1)
    assert math.isnan(losses[1])
    assert snapshot.status["total_steps"] is None


def test_another_run_in_the_same_log_begins_anew(tmp_path: Path) -> None:
    def run(total: int, loss: float) -> str:
        return "".join(
            f"\r {done * 100 // total}%|## | {done}/{total} [00:10<00:10,  1.00s/it]\r   \r"
            f"{{'loss': '{loss}', 'epoch': '{done / total:.4g}'}}\n"
            for done in range(10, total + 1, 10)
        )

    log = tmp_path / "both.log"
    log.write_text(run(100, 3) + run(50, 2))
    snapshot = caught_up(ForeignFollower(log))
    assert state_of(snapshot) == ("training", 50, 50)
    assert {loss for _, loss in snapshot.series["loss"]} == {2}


def test_a_quiet_run_is_told_with_what_cannot_be_known(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes((LOGS / "trainer.log").read_bytes()[:3000])
    then = time.time() - QUIET_SECONDS - 30
    os.utime(log, (then, then))
    follower = ForeignFollower(log)
    status = caught_up(follower).status
    assert status["state"] == "lost"
    assert status["reason"].startswith("Nothing new for 5 m")
    assert status["reason"].endswith("It may have ended, or wait: files tell no more.")
    with open(log, "ab") as file:
        file.write(b"and on it goes\n")
    assert caught_up(follower).status["state"] == "training"
    os.utime(log, (time.time() + 9999, time.time() + 9999))
    assert caught_up(follower).status["state"] == "training", "another host's clock"


def test_checkpoints_are_waited_for_as_long_as_they_are_apart(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(LOGS / "trainer", folder)
    states = [folder / f"checkpoint-{step}" / "trainer_state.json" for step in (12, 24)]
    whole = json.loads(states[1].read_text())
    states[1].write_text(json.dumps({**whole, "max_steps": 100}))
    for age, expected in ((500, "training"), (2500, "lost")):
        for state, seconds in zip(states, (age + 1000, age), strict=True):
            os.utime(state, (time.time() - seconds,) * 2)
        assert state_of(caught_up(ForeignFollower(folder))) == (expected, 24, 100)


def test_a_state_that_is_half_written_leaves_what_was_known(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(LOGS / "trainer", folder)
    shutil.rmtree(folder / "checkpoint-24")
    follower = ForeignFollower(folder)
    assert caught_up(follower).status["step"] == 12
    (folder / "checkpoint-24").mkdir()
    text = (LOGS / "trainer" / "checkpoint-24" / "trainer_state.json").read_text()
    newer = folder / "checkpoint-24" / "trainer_state.json"
    for broken in ("", text[:800], "[1]", "[" * 200_000):
        newer.write_text(broken)
        snapshot = caught_up(follower)
        assert snapshot.status["step"] == 12
        assert snapshot.warnings == [
            f"{newer} is not whole, or no state of a Trainer; it is tried again when it changes"
        ]
    newer.write_text(text.replace('"loss": 1.826195478439331', '"loss": NaN'))
    snapshot = caught_up(follower)
    assert (snapshot.status["step"], snapshot.warnings) == (24, [])
    assert math.isnan(snapshot.series["loss"][-1][1])


@pytest.mark.parametrize(
    "line",
    [
        '{"current_steps": 1e400, "loss": 1}', '{"current_steps": "x"}', "[]", "null",
        '{"current_steps": 3, "loss": {}}',
        '{"current_steps": -1, "loss": 1}', '{"curr', '{"current_steps": true, "loss": 1}', "\x00" * 99, "[" * 99_999,
    ],
)  # fmt: skip
def test_lines_that_are_no_figures_are_passed_over(tmp_path: Path, line: str) -> None:
    log = tmp_path / "trainer_log.jsonl"
    good = (
        '{"current_steps": 5, "total_steps": 10, "loss": NaN, "elapsed_time": "1 day, 0:00:05", "remaining_time": "?"}'
    )
    log.write_text(f"{line}\n{good}\n{line}")
    snapshot = caught_up(ForeignFollower(log))
    assert state_of(snapshot) == ("training", 5, 10)
    assert snapshot.elapsed_seconds == 86405


def test_a_file_that_goes_away_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    shutil.copy(LOGS / "trainer.log", log)
    follower = ForeignFollower(log)
    assert caught_up(follower).warnings == []
    log.unlink()
    snapshot = caught_up(follower)
    assert snapshot.warnings == [f"{log} cannot be read: No such file or directory"]
    assert snapshot.status["step"] == 24


def test_what_is_no_run_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoRun, match=r"holds no run: looked for trainer_state.json .*, trainer_log.jsonl, and logs"):
        ForeignFollower(tmp_path)
    text = tmp_path / "poem.log"
    text.write_text("{'roses': 'red'}\n")
    os.utime(text, (0, 0))
    with pytest.raises(NoRun, match="is no log of a run: it has no line like"):
        ForeignFollower(text)
    (tmp_path / "weights.bin").write_bytes(bytes(range(256)) * 100)
    with pytest.raises(NoRun, match="is no log of a run"):
        ForeignFollower(tmp_path / "weights.bin")
    with pytest.raises(NoRun, match="holds no run"):
        ForeignFollower(tmp_path)


def test_watch_prints_progress_and_ends_with_the_runs_own_result(cli: Cli, tmp_path: Path) -> None:
    done = cli("watch", str(LOGS / "trainer.log"))
    assert "progress     step 24/24" in done.stdout
    quiet = tmp_path / "quiet.log"
    quiet.write_bytes((LOGS / "trainer.log").read_bytes()[:3000])
    os.utime(quiet, (0, 0))
    done = cli("watch", str(quiet), check=False)
    assert done.returncode == 1
    assert "because      Nothing new for" in done.stdout
    done = cli("watch", str(tmp_path / "no"), check=False)
    assert (done.returncode, done.stderr) == (1, f"qltui: There is no such file or folder: {tmp_path / 'no'}.\n")
    empty = tmp_path / "emp\x1b[31mty"
    empty.mkdir()
    done = cli("watch", str(empty), check=False)
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1
