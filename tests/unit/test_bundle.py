"""The archive for a bug report: what is in it, and what must not be."""

from __future__ import annotations

import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.written_runs import WrittenRun

from engine.events import write_json
from qltui.cli.main import main
from qltui.runs.bundle import CONTENTS, EACH_STEP, LOG_LINES, STEPS, bundle_log, bundle_run
from qltui.runs.diagnosis.diagnosis import diagnose_log
from qltui.runs.diagnosis.own_runs import diagnose_run

SECRETS = (
    "hf_PlantedPlantedPlanted1", "sk-planted-0123456789", "abcdef0123456789abcdef0123456789abcdef01",
    "planted-password", "PlantedBearer123", "only-in-the-environment",
)  # fmt: skip
ROWS = ("Which village lies on the moor?", "Only Ansel knows the village", "It is called Thornbury Low")


@pytest.fixture
def failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WrittenRun:
    """A failed run of somebody called mona, with secrets and rows in all its files."""
    for name in ("HOME", "QLTUI_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "mona"))
    monkeypatch.setenv("LOGNAME", "mona")
    monkeypatch.setenv("SOME_TOKEN", SECRETS[-1])
    run = WrittenRun(tmp_path / "mona")
    question, wanted, answer = ROWS
    run.emit("sample", prompt=question, wanted=wanted, answer=answer, when="before")
    for number in range(1, 9):
        run.step(number, 2.0)
    run.log(f"user mona in {tmp_path}/mona: https://mona:{SECRETS[3]}@git.example.org\n")
    run.log(f"wandb: {SECRETS[2]}\nAuthorization: Bearer {SECRETS[4]}\nasked {question!r}\n")
    run.log("".join(f"line {number}\n" for number in range(2 * LOG_LINES)), rank=1)
    run.log(f"token={SECRETS[0]} {SECRETS[1]} {SECRETS[5]}\n", rank=1)
    message = f"RuntimeError: it broke at {question} with {SECRETS[0]}"
    traceback = f'Traceback (most recent call last):\n  File "/home/mona/x.py", line 1, in <module>\n{message}\n'
    run.emit("failed", rank=1, phase="data", error="RuntimeError", message=message, traceback=traceback)
    launch = {"versions": {"torch": "2.13.0"}, "environment": {"HF_TOKEN": "short", "WORLD_SIZE": "2"}, "ranks": []}
    write_json(run.attempt.launch_json, {**launch, "launcher": {"pid": 1, "start_time": 1, "host": "gone"}})
    write_json(run.attempt.exits_json, {"ranks": {"0": {"code": 1}, "1": {"code": 1}}, "first": 1})
    run.sample()
    run.run.supervisor_log.write_text(f"password: {SECRETS[3]}\n")
    run.write_status(state="failed", reason="Rank 1 failed.", exit_code=1)
    return run


def unpacked(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as files:
        return {entry.name: (files.extractfile(entry) or pytest.fail(entry.name)).read() for entry in files}


def test_a_bundle_has_neither_secrets_nor_rows_nor_names(failed: WrittenRun) -> None:
    written = bundle_run(failed.run, diagnose_run(failed.run))
    files = unpacked(written.path)
    everything = b"\n".join([*(name.encode() for name in files), *files.values()])
    for planted in (*SECRETS, *ROWS, "mona", str(failed.run.path.parent), "short"):
        assert planted.encode() not in everything, planted
    assert written.masked > len(SECRETS)
    assert written.path.parent == failed.run.path
    assert written.path.stat().st_mode & 0o77 == 0


def test_a_bundle_has_what_explains_the_end(failed: WrittenRun) -> None:
    files = unpacked(bundle_run(failed.run, diagnose_run(failed.run)).path)
    assert set(files) == {
        CONTENTS, "diagnosis.json", "run.yaml", "status.json", "supervisor.log", "versions.json", "launch.json",
        "exits.json", "logs/rank0.log", "logs/rank1.log", "events/rank0.jsonl", "events/rank1.jsonl", "doctor.json",
        *(name for name in files if name.startswith("telemetry/")),
    }  # fmt: skip
    assert all(name.encode() in files[CONTENTS] for name in files if name != CONTENTS)
    assert json.loads(files["versions.json"]) == {"torch": "2.13.0"}
    assert json.loads(files["launch.json"])["environment"]["WORLD_SIZE"] == "2"
    assert json.loads(files["diagnosis.json"])["cause"] == "unknown"
    assert files["logs/rank1.log"].count(b"\n") == LOG_LINES
    events = [json.loads(line) for line in files["events/rank0.jsonl"].splitlines()]
    assert [event["kind"] for event in events] == ["started", "state", *["step"] * 8]
    assert json.loads(files["events/rank1.jsonl"].splitlines()[-1])["error"] == "RuntimeError"


def test_of_a_long_run_the_newest_steps_and_all_else(failed: WrittenRun) -> None:
    for number in range(9, STEPS + 100):
        failed.writers[0].step = number
        failed.writers[0].emit("step", loss=1.0)
    lines = unpacked(bundle_run(failed.run, diagnose_run(failed.run)).path)["events/rank0.jsonl"].splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[:2] == ["started", "state"]
    assert len([kind for kind in kinds if kind in EACH_STEP]) == STEPS
    assert json.loads(lines[-1])["step"] == STEPS + 99


def test_telemetry_of_the_last_minutes(failed: WrittenRun) -> None:
    path = next(failed.run.telemetry.iterdir())
    path.write_text("".join(json.dumps({"wall": 1000.0 + minute * 60}) + "\n" for minute in range(60)) + '{"wall"')
    files = unpacked(bundle_run(failed.run, diagnose_run(failed.run)).path)
    samples = [json.loads(line)["wall"] for line in files[f"telemetry/{path.name}"].splitlines()]
    assert samples == [1000.0 + minute * 60 for minute in range(49, 60)]


def test_the_command_writes_where_it_is_told(
    failed: WrittenRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "to-attach.zip"
    assert main(["diagnose", failed.run.id, "--bundle", str(file)]) == 1
    told = capsys.readouterr().out
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    assert "diagnosis.json" in names
    assert all(name in told for name in ("to-attach.zip", "diagnosis.json", "logs/rank1.log"))
    assert main(["diagnose", failed.run.id, "--bundle"]) == 1
    assert list(failed.run.path.glob("*.tar.gz"))


def test_the_command_says_why_it_cannot_write(failed: WrittenRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", failed.run.id, "--bundle", "/nowhere/at/all.tar.gz"]) == 1
    assert "/nowhere/at/all.tar.gz" in capsys.readouterr().err
    assert main(["diagnose", "-", "--bundle"]) == 1
    assert "--bundle" in capsys.readouterr().err


def test_a_log_of_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "train.log"
    log.write_text(f"HF_TOKEN={SECRETS[0]}\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n")
    with open(log, "rb") as file:
        found = diagnose_log(file, log.name)
    files = unpacked(bundle_log(log, found).path)
    assert set(files) == {CONTENTS, "diagnosis.json", "logs/train.log", "doctor.json"}
    assert SECRETS[0].encode() not in b"".join(files.values())


def test_a_damaged_run(failed: WrittenRun) -> None:
    failed.attempt.launch_json.write_text("{")
    failed.run.run_yaml.unlink()
    os.truncate(failed.attempt.events(0), 10)
    files = unpacked(bundle_run(failed.run, diagnose_run(failed.run)).path)
    assert "launch.json" not in files
    assert files["events/rank0.jsonl"] == b""
