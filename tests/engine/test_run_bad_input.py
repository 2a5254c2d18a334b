"""What only shows once a run is under way: it fails with the reason in its status, and leaves nothing half-written."""

from __future__ import annotations

import json
import resource
from pathlib import Path

from support.runs import Cli, events

SMALL_FILES = 300_000
"""Bytes: enough for events and logs of a short run, too little for its checkpoint."""


def test_every_answer_cut_off_fails_with_the_length_that_would_do(cli: Cli, small_run) -> None:
    done = cli("launch", str(small_run(**{"data.max_length": 8})), "--wait", check=False)
    status = cli.status()
    assert done.returncode == 1
    assert status["state"] == "failed"
    assert "data.max_length" in status["reason"]
    assert "Traceback" not in done.stdout + done.stderr
    run = cli.directory()
    assert events(run, "failed")[0]["bad_input"]
    assert not list(run.path.glob(".*"))


def test_a_disk_that_takes_no_checkpoint(cli: Cli, small_run) -> None:
    file = small_run(**{"training.max_steps": 2, "data.eval_path": None})
    done = cli(
        "launch", str(file), "--wait", check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILES, SMALL_FILES)),
    )  # fmt: skip
    status = cli.status()
    assert done.returncode == 1
    assert status["state"] == "failed"
    assert "could not be saved" in status["reason"]
    assert status["failure"]["phase"] == "save"
    run = cli.directory()
    assert list(run.checkpoints.iterdir()) == [], "a half-written checkpoint was left"
    assert not run.adapter.exists()

    cli("resume", status["id"], "--wait")
    assert cli.status()["state"] == "finished"


def test_a_disk_that_takes_nothing(cli: Cli, small_run) -> None:
    file = small_run()
    done = cli(
        "launch", str(file), check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    assert done.returncode == 1
    assert "can't be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((cli.home / "runs").iterdir()) == []


def test_a_checkpoint_now_and_metrics_in_a_tracker(cli: Cli, small_run) -> None:
    overrides = {"training.max_steps": 30, "tracking.report_to": ["tensorboard"]}
    run_id = cli("launch", str(small_run(**overrides))).stdout.strip()
    run = cli.directory(run_id)
    run.request_json.write_text(json.dumps({"action": "checkpoint", "id": "1", "wall": 0, "attempt": 1}))
    status = cli.wait(run_id)
    assert status["state"] == "finished"
    steps = [int(Path(event["path"]).name.removeprefix("step-")) for event in events(run, "checkpoint")]
    assert steps[-1] == 30
    assert len(steps) == 2, "the request made no checkpoint, or more than one"
    assert list((run.path / "tracking").rglob("events.out.tfevents.*"))
