"""The command line as a user meets it: real processes, their streams and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import Cli
from support.samples import GOOD_ROW, make_config, write_rows
from support.small_runs import heed_signals

import qltui
from engine.config import FIELDS
from engine.config.reading import parse_yaml
from engine.events import EventWriter, RunDirectory, identity, write_json
from qltui.cli.table import COMMANDS
from qltui.configs.writing import run_yaml


def make_run(cli: Cli, name: str, **status: object) -> RunDirectory:
    """A run directory as a supervisor leaves it, with a log of two ranks."""
    run = RunDirectory(cli.home / "runs" / name)
    run.path.mkdir(parents=True)
    run.run_yaml.write_text("model: org/m\ndata: org/d\n")
    attempt = run.new_attempt()
    for rank in (0, 1):
        attempt.log(rank).write_text("".join(f"line {number} of rank {rank}\n" for number in range(1, 6)))
    base = {"id": name, "name": name, "run_dir": str(run.path), "attempt": 1, "state": "finished", "exit_code": 0}
    write_json(run.status_json, {**base, **status})
    return run


# Usage


def test_help_names_every_command_and_version_the_version(cli: Cli) -> None:
    shown = cli("--help").stdout
    for command in COMMANDS:
        assert f"    {command.name} " in shown
        assert command.help[1:] in " ".join(cli(command.name, "--help").stdout.split())
    assert cli("--version").stdout == f"qltui {qltui.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lanch", "demo-cpu"], "there is no command 'lanch'. Did you mean launch"),
        (["launch"], "PRESET|FILE"),
        (["status"], "RUN"),
        (["runs", "--jsn"], "unrecognized arguments: --jsn"),
        (["logs", "last", "-n", "-3"], "-n"),
        (["logs", "last", "--rank", "zero"], "--rank"),
        (["presets", "show"], "which one?"),
    ],
)
def test_wrong_usage_is_2(cli: Cli, arguments: list[str], message: str) -> None:
    done = cli(*arguments, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_the_app_needs_a_terminal(cli: Cli) -> None:
    done = cli(check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


# Runs


def test_no_runs(cli: Cli) -> None:
    assert json.loads(cli("runs", "--json").stdout) == []
    assert "No runs yet" in cli("runs").stdout
    for command in ("status", "logs", "watch", "stop", "resume"):
        done = cli(command, "last", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no runs" in done.stderr
        assert "Traceback" not in done.stderr


def test_status_of_a_run_by_the_beginning_of_its_id(cli: Cli) -> None:
    match = {"before": 0.25, "after": 1.0}
    sample = {"prompt": "Which\nboat?", "wanted": "Ada", "before": "\x1b[2Jno", "after": "Ada"}
    make_run(cli, "alpha-1", step=3, total_steps=4, loss=float("nan"), exact_match=match, sample=sample)
    make_run(cli, "beta-1", state="failed", exit_code=1, reason="rank 1 died in backward.")
    status = json.loads(cli("status", "al", "--json").stdout, parse_constant=pytest.fail)
    assert (status["id"], status["step"], status["loss"]) == ("alpha-1", 3, None)
    shown = cli("status", "al").stdout
    for words in ("step 3/4", "25 % before, 100 % after", "Which boat?", "finished", str(cli.home)):
        assert words in shown
    assert "\x1b" not in shown
    assert "rank 1 died in backward." in cli("status", "beta").stdout
    assert {run["id"] for run in json.loads(cli("runs", "--json").stdout)} == {"alpha-1", "beta-1"}
    done = cli("status", "alpa-1", check=False)
    assert done.returncode == 1
    assert "Did you mean alpha-1" in done.stderr


def test_logs(cli: Cli) -> None:
    run = make_run(cli, "one")
    shown = cli("logs", "one").stdout.splitlines()
    assert shown[0] == "[0] line 1 of rank 0"
    assert len(shown) == 10
    assert cli("logs", "one", "--rank", "1", "-n", "2").stdout == "line 4 of rank 1\nline 5 of rank 1\n"
    assert cli("logs", "one", "-n", "0").stdout == ""
    log = run.attempts()[0].log(0)
    log.write_text("\x1b]0;title\x07\x1b[31mred\x1b[0m\rshown\nunfinished")
    assert cli("logs", "one", "--rank", "0", "-f").stdout == "shown\nunfinished\n"
    done = cli("logs", "one", "--rank", "7", check=False)
    assert (done.returncode, done.stderr) == (1, "qltui: one has no log of rank 7. Ranks with a log: 0, 1.\n")


def test_logs_follow_a_live_run_to_its_end(cli: Cli) -> None:
    run = make_run(cli, "live", state="training", exit_code=None, supervisor=identity())
    (attempt,) = run.attempts()
    attempt.log(1).unlink()
    followed = subprocess.Popen(
        [sys.executable, "-m", "qltui", "logs", "live", "-f", "-n", "1"],
        env=cli.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert followed.stdout
    assert followed.stdout.readline() == "line 5 of rank 0\n"
    with attempt.log(0).open("a") as log:
        log.write("line 6 of rank 0\n")
    assert followed.stdout.readline() == "line 6 of rank 0\n"
    run.new_attempt().log(0).write_text("resumed\n")
    assert followed.stdout.readline() == "resumed\n"
    write_json(run.status_json, {"state": "stopped", "attempt": 2, "exit_code": 0})
    assert followed.wait(60) == 0


def test_a_reader_that_goes_away_is_no_error(cli: Cli) -> None:
    run = make_run(cli, "big")
    run.attempts()[0].log(0).write_text("a long line of a log\n" * 100_000)
    shell = f"{sys.executable} -m qltui logs big | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], env=cli.environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0] a long line of a log\n", "")


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("stopped", 0), ("failed", 1)])
def test_watch_without_a_terminal_ends_with_the_runs_own_result(cli: Cli, state: str, code: int) -> None:
    run = make_run(cli, "done", state=state, exit_code=code, reason="because")
    writer = EventWriter(run.attempts()[0].events(0), attempt=1, node=0, rank=0, local_rank=0)
    writer.emit("warning", message="mind \x1b[2Jthis")
    done = cli("watch", "done", check=False)
    assert done.returncode == code
    assert "warning: mind this" in done.stdout
    assert f"state        {state}" in done.stdout


def test_ctrl_c_while_watching_leaves_the_run_alone(cli: Cli) -> None:
    make_run(cli, "live", state="training", exit_code=None, step=2, total_steps=9, supervisor=identity())
    watching = subprocess.Popen(
        [sys.executable, "-m", "qltui", "watch", "live"],
        env=cli.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_signals,
    )  # fmt: skip
    assert watching.stdout
    assert watching.stdout.readline().split() == ["training", "step", "2/9"]
    watching.send_signal(signal.SIGINT)
    _, told = watching.communicate(timeout=60)
    assert watching.returncode == 130
    assert "The run goes on" in told
    assert "qltui stop live" in told
    assert cli.status("live")["state"] == "training"


def test_stop_of_a_run_that_has_ended(cli: Cli) -> None:
    run = make_run(cli, "done")
    done = cli("stop", "done", check=False)
    assert done.returncode == 1
    assert "finished" in done.stderr
    assert not run.request_json.exists()


def test_stop_writes_a_request(cli: Cli) -> None:
    run = make_run(cli, "live", state="training", exit_code=None, supervisor=identity())
    assert cli("stop", "live").stdout == ""
    request = json.loads(run.request_json.read_text())
    assert (request["action"], request["attempt"]) == ("stop", 1)


# Launch and check


def test_dry_run_prints_the_whole_configuration_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    config = make_config(tmp_path)
    file = tmp_path / "run.yaml"
    file.write_text(run_yaml(config))
    done = cli("launch", str(file), "--set", "max_steps=5", "--name", "mine", "--dry-run")
    written = parse_yaml(done.stdout, "stdout")
    assert (written["name"], written["training"]["max_steps"]) == ("mine", 5)
    assert written["model"] == config.tree()["model"]
    assert not cli.home.exists()


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        (["--set", "training.max_stepz=3"], "training.max_stepz", "Did you mean training.max_steps"),
        (["--set", "max_steps=soon"], "training.max_steps", "'soon'"),
        (["--set", "max_steps"], "max_steps", "key=value"),
        (["--name", "../escape"], "name", "letters, digits"),
        (["--name", "a/b"], "name", "letters, digits"),
        (["--set", "data=no.jsonl"], "data.path", "there is no such file"),
        (["--set", "data=empty.jsonl"], "data.path", "is empty"),
        (["--set", "data=flawed.jsonl"], "data.path", "row 2 has no 'completion'"),
        (["--set", "model=."], "model.path", "no config.json"),
        (["--set", "strategy=pipeline"], "strategy.name", "the ranks compute on CPU"),
        (["--set", "hardware.nodes=2"], "hardware.nodes", "one process on one machine"),
        (["--set", "parent=no-such-run"], "parent", "There are no runs"),
        (["--set", "strategy=fsdp9"], "strategy.name", "Did you mean fsdp2"),
    ],
)
def test_a_launch_that_is_refused_says_why_and_leaves_nothing(
    cli: Cli, tmp_path: Path, arguments: list[str], field: str, message: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(run_yaml(make_config(tmp_path)))
    (tmp_path / "empty.jsonl").touch()
    write_rows(tmp_path / "flawed.jsonl", GOOD_ROW, {"prompt": "a"})
    done = cli("launch", str(file), *arguments, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("qltui: ")
    assert field in line
    assert message in line
    assert not cli.home.exists()


def test_a_broken_file_is_named_with_line_and_column(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: x\ntraining: {max_steps: 3\ndata: y\n")
    for command in ("launch", "check"):
        done = cli(command, str(file), check=False)
        assert done.returncode == 1
        assert f"{file}:3:" in done.stdout + done.stderr
        assert "not valid YAML" in done.stdout + done.stderr


def test_an_unknown_preset_names_the_nearest(cli: Cli) -> None:
    done = cli("launch", "demo-gpu", check=False)
    assert done.returncode == 1
    assert "Did you mean demo-cpu?" in done.stderr


def test_a_full_disk_and_a_state_folder_that_is_a_file(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(run_yaml(make_config(tmp_path)))
    blocked = tmp_path / "blocked"
    blocked.touch()
    cli.environment["QLTUI_HOME"] = str(blocked / "home")
    done = cli("launch", str(file), check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "QLTUI_HOME" in done.stderr
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "qltui", "presets"],
            env=cli.environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_check_of_files_of_every_kind(cli: Cli, tmp_path: Path) -> None:
    good = tmp_path / "run.yaml"
    good.write_text(run_yaml(make_config(tmp_path)))
    found = json.loads(cli("check", str(good), "--json").stdout)
    own = {"path": str(good), "format": "qltui", "ignored": []}
    assert found == {"blocked": False, "files": [own], "findings": [], "diff": None, "plan": None, "plans": {}}
    flawed = tmp_path / "flawed.yaml"
    write_rows(tmp_path / "flawed.jsonl", GOOD_ROW, {"prompt": "a"})
    flawed.write_text("model: ./no\ndata: flawed.jsonl\nstrategy: pipeline\nmethod: full\n")
    foreign = tmp_path / "accelerate.yaml"
    foreign.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: FSDP\nuse_cpu: true\n")
    done = cli("check", str(good), str(flawed), str(foreign), "--json", check=False)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [file["format"] for file in found["files"]] == ["qltui", "qltui", "accelerate"]
    by_field = {finding["field"]: finding for finding in found["findings"] if finding["file"] != str(foreign)}
    assert set(by_field) == {"strategy.name", "model.path", "data.path"}
    assert by_field["strategy.name"]["file"] == str(flawed)
    assert (by_field["data.path"]["file"], by_field["data.path"]["line"]) == (str(tmp_path / "flawed.jsonl"), 2)
    keys = {"rule", "severity", "field", "message", "why", "source", "file", "line", "fix"}
    assert all(set(finding) == keys for finding in found["findings"])
    assert "block" in cli("check", str(flawed), check=False).stdout


# The rest


def test_presets(cli: Cli) -> None:
    (first, *_) = json.loads(cli("presets", "--json").stdout)
    assert first["name"] == "demo-cpu"
    assert "demo-cpu" in cli("presets").stdout
    assert parse_yaml(cli("presets", "show", "demo-cpu").stdout, "")["name"] == "demo-cpu"
    done = cli("presets", "show", "demo", check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_config_documents_every_field(cli: Cli) -> None:
    table = cli("config", "--markdown").stdout
    assert all(f"`{path}`" in table for path in FIELDS)
    assert "default 16" in cli("config", "method.lora.rank").stdout
    assert "training.max_steps" in cli("config", "max_steps").stdout
    done = cli("config", "lora", check=False)
    assert done.returncode == 1
    assert "method.lora" in done.stderr


def test_doctor_is_about_this_machine(cli: Cli) -> None:
    found = json.loads(cli("doctor", "--json", check=False).stdout)
    facts = {fact["name"]: fact for fact in found["facts"]}
    assert facts["torch"]["verdict"] in ("ok", "warn")
    assert 0 < float(facts["cpu"]["value"].split()[0]) <= len(os.sched_getaffinity(0))
    assert str(cli.home) in facts["runs"]["value"]
    assert all(fact["remedy"] for fact in found["facts"] if fact["verdict"] != "ok")
    assert not cli.home.exists()
