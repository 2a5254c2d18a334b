"""Runs that really die, each in its own way: what is diagnosed, how soon, and by which evidence."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow
import pyarrow.parquet
import pytest
from support.runs import DEMO, wait_for, write_run
from support.warm_runs import WarmRanks, attempt_of, refusing_hub, wait_for_end

from engine.events import RunDirectory, read_json
from qltui.runs.diagnosis.causes import BY_ID
from qltui.runs.diagnosis.own_runs import diagnose_run

AT_ONCE = 3
"""Runs at the same time: much of a short run is waiting."""
SOON = 10.0
"""Seconds from the last rank's end to the diagnosis; on a quiet machine it takes less than one."""
ALONE = {"strategy.name": "single", "hardware.ranks_per_node": 1}
CLASSES = {"model.task": "sequence_classification", "data.format": "classification"}

pytestmark = pytest.mark.timeout(400)  # the first test lives all runs of the table


class Death(NamedTuple):
    """A way to die, and what is to be told of it."""

    name: str
    cause: str
    phase: str | None
    rank: int
    confidence: str
    shows: str
    """Is in the line that the first evidence names."""
    says: str
    """Is in the explanation."""
    fault: str = ""
    """Of warm_ranks."""
    values: dict[str, Any] = {}
    prepare: Callable[[RunDirectory], None] | None = None
    """What is done to the run's folder before."""


def checkpoints_are_a_file(run: RunDirectory) -> None:
    run.checkpoints.write_text("in its place")


KILLS, FAULTS_IN, FIRST = '"signal": 9', '"signal": 11', '"kind": "failed"'
DEATHS = [
    *[
        Death(f"killed-{phase}", "host_oom_sigkill", told, 1, "likely", KILLS, "Rank 1 was ended by SIGKILL",
              f"killed in {phase}")
        for phase, told in (("load", "load"), ("forward", None), ("save", "save"))
    ],
    *[
        Death(f"faulted-{phase}", "sigsegv", told, 1, "certain", FAULTS_IN, "Rank 1 was ended by SIGSEGV",
              f"faulted in {phase}")
        for phase, told in (("load", "load"), ("forward", None), ("save", "save"))
    ],
    Death("memory-load", "host_oom_sigkill", "load", 1, "certain", FIRST, "memory", "no memory in load"),
    Death("memory-forward", "host_oom_sigkill", "forward", 1, "certain", FIRST, "memory", "no memory in forward"),
    *[
        Death(f"hangs-{strategy}", "nccl_timeout", "backward", 1, "certain", KILLS, "Rank 1 hung at step 0", "hangs",
              {"strategy.name": strategy, "hardware.timeout_seconds": 6})
        for strategy in ("ddp", "zero2")
    ],
    Death("leaves", "nccl_timeout", "load", 1, "certain", '"code": 0', "Rank 1 ended with exit code 0", "leaves"),
    Death("port", "port_in_use", "prepare", 0, "certain", FIRST, "the port at which ranks meet", "port"),
    Death("disk-save", "disk_full", "save", 0, "certain", FIRST, "could not be written", "small files"),
    Death("disk-data", "disk_full", "data", 0, "certain", FIRST, "could not be written", "tiny files", ALONE),
    Death("disk-events", "disk_full", None, 1, "certain", "OSError: [Errno 27] File too large", "could not be written",
          "no events"),
    Death("no-folder", "save_dir_missing", "save", 0, "certain", FIRST, "save", "", ALONE, checkpoints_are_a_file),
    Death("broken-row", "dataset_column_error", "data", 0, "certain", "line 30 is not valid JSON", "line 30", "",
          {"data.path": "broken.jsonl"}),
    Death("damaged-rows", "dataset_column_error", "data", 0, "certain", "cannot be read", "Corrupt snappy", "",
          {**ALONE, "data.path": "damaged.parquet"}),
    Death("no-rows", "dataset_too_small", "data", 0, "certain", "is empty", "is empty", "",
          {**ALONE, "data.path": "empty.jsonl"}),
    Death("cut-rows", "dataset_too_small", "data", 0, "certain", "max_length", "data.max_length", "",
          {**ALONE, "data.max_length": 8}),
    Death("no-column", "dataset_column_error", "data", 0, "certain", "fit no format", "data.columns", "",
          {**ALONE, "data.path": "columns.jsonl"}),
    Death("no-data", "hub_not_found_or_offline", "data", 0, "certain", "no such file", "there is no such file", "",
          {**ALONE, "data.path": "gone.jsonl"}),
    Death("classes", "label_out_of_range", "data", 0, "certain", "has 2 classes", "model.num_labels", "",
          {**ALONE, **CLASSES, "data.path": "classes.jsonl", "model.num_labels": 3}),
    Death("new-class", "label_out_of_range", "data", 0, "certain", "row 1 has 'odd'", "'odd'", "",
          {**ALONE, **CLASSES, "data.path": "classes.jsonl", "data.eval_path": "odd.jsonl"}),
    Death("modules", "target_modules_not_found", "load", 0, "certain", "query_proj", "target_modules", "",
          {**ALONE, "method.lora.target_modules": ["query_proj"]}),
    Death("gated", "hub_auth_gated", "data", 0, "certain", "accept", "accepted its terms", "",
          {**ALONE, "model.path": "some-lab/gated"}),
    Death("missing", "hub_not_found_or_offline", "data", 0, "certain", "some-lab/missing", "no such model", "",
          {**ALONE, "model.path": "some-lab/missing"}),
    Death("own-code", "trust_remote_code_needed", "load", 0, "certain", "trust_remote_code", "code of its own", "",
          {**ALONE, "model.path": "model-with-code", "model.tokenizer": str(DEMO / "model")}),
    Death("flash", "flash_attn_missing", "load", 0, "certain", "lash", "cannot be loaded", "",
          {**ALONE, "model.attention": "flash_attention_2"}),
    Death("paged", "unknown", "prepare", 0, "likely", "needs a GPU", "paged_adamw_8bit needs a GPU", "",
          {**ALONE, "training.optimizer": "paged_adamw_8bit"}),
    Death("other-rank", "resume_mismatch", "load", 0, "certain", "weights are not those", "it was saved with", "",
          {**ALONE, "parent": "whole", "method.lora.rank": 4}),
    Death("torn", "resume_mismatch", "load", 0, "certain", "no checkpoint that can be read", "choose another run", "",
          {**ALONE, "parent": "torn-parent"}),
]  # fmt: skip


def write_data(folder: Path) -> None:
    """The files that runs name, good and bad."""
    rows = (DEMO / "data" / "train.jsonl").read_text("utf-8").splitlines()[:40]
    classes = [json.dumps({"text": f"row {number}", "label": "ab"[number % 2]}) for number in range(8)]
    files = {
        "train": rows, "broken": [*rows[:29], '{"messages": [', *rows[30:]], "empty": [],
        "columns": ['{"foo": "bar"}'] * 8, "classes": classes, "odd": ['{"text": "row", "label": "odd"}'],
    }  # fmt: skip
    for name, lines in files.items():
        (folder / f"{name}.jsonl").write_text("\n".join(lines), "utf-8")
    table = pyarrow.table({"text": [f"row {number} of many" for number in range(9000)]})
    pyarrow.parquet.write_table(table, folder / "damaged.parquet")
    written = bytearray((folder / "damaged.parquet").read_bytes())
    written[len(written) // 3 : len(written) // 3 + 400] = bytes(400)
    (folder / "damaged.parquet").write_bytes(written)
    own_code = folder / "model-with-code"
    own_code.mkdir()
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (own_code / "config.json").write_text(json.dumps(config))
    (own_code / "own.py").write_text("")


class Folder(NamedTuple):
    """Where all runs are, and who runs them."""

    path: Path
    ranks: WarmRanks

    def run(self, name: str, **values: Any) -> RunDirectory:
        """A run that is to be started; paths of data and models among ``values`` are of this folder."""
        run = RunDirectory(self.path / name)
        run.path.mkdir()
        values = {"data.path": "train.jsonl", "data.eval_path": None, "training.max_steps": 3, **values}
        for key, value in values.items():
            if (key.endswith("path") and value and (self.path / value).exists()) or str(value).endswith(".jsonl"):
                values[key] = str(self.path / value)
        write_run(run.path, **values)
        return run

    def live(self, name: str, fault: str = "", **values: Any) -> RunDirectory:
        run = self.run(name, **values)
        self.ranks.launch(run, fault)
        wait_for_end(run)
        return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    path = tmp_path_factory.mktemp("deaths")
    write_data(path)
    with refusing_hub() as hub:
        environment = {"HF_ENDPOINT": hub, "HF_HUB_OFFLINE": "0", "HF_HOME": str(path / "hub")}
        if group := cgroup():
            environment["DEATHS_CGROUP"] = str(group / "cgroup.procs")
        ranks = WarmRanks(**environment)
        yield Folder(path, ranks)
        ranks.close()
        if group:
            group.rmdir()


def cgroup() -> Path | None:
    """A control group of little memory; None where none can be made."""
    for top, limit in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        group = Path("/sys/fs/cgroup") / top / f"qltui-deaths-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(64 << 20))
            for swap, most in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", 64 << 20)):
                if (group / swap).exists():
                    (group / swap).write_text(str(most))
        except OSError:
            group.rmdir()
            continue
        return group
    return None


@pytest.fixture(scope="module")
def died(folder: Folder) -> dict[str, RunDirectory]:
    """All runs of the table, dead."""
    folder.live("whole")
    shutil.copytree(folder.path / "whole", folder.path / "torn-parent")
    for file in (folder.path / "torn-parent" / "checkpoints").glob("*/trained-*.pt"):
        os.truncate(file, file.stat().st_size // 2)

    def die(death: Death) -> RunDirectory:
        run = folder.run(death.name, **death.values)
        if death.prepare:
            death.prepare(run)
        folder.ranks.launch(run, death.fault)
        wait_for_end(run)
        return run

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip([death.name for death in DEATHS], pool.map(die, DEATHS), strict=True))


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: death.name)
def test_a_death_is_diagnosed(died: dict[str, RunDirectory], death: Death) -> None:
    run = died[death.name]
    found = told(run)
    shown = json.dumps(found, indent=1)
    assert (found["cause"], found["rank"], found["phase"]) == (death.cause, death.rank, death.phase), shown
    assert found["confidence"] == death.confidence, shown
    assert death.shows in line(run, found["evidence"][0]), shown
    assert death.says in found["explanation"], shown
    assert_readable(run, found)


def test_a_run_without_a_fault_is_well(died: dict[str, RunDirectory], folder: Folder) -> None:
    assert diagnose_run(RunDirectory(folder.path / "whole")).cause == "none"


def test_a_tokenizer_without_padding_is_no_fault(folder: Folder) -> None:
    model = folder.path / "without-padding"
    shutil.copytree(DEMO / "model", model)
    file = model / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    assert settings.pop("pad_token")
    file.write_text(json.dumps(settings))
    run = folder.live("not-padded", **{**ALONE, "model.path": "without-padding"})
    assert diagnose_run(run).cause == "none"


def told(run: RunDirectory) -> dict[str, Any]:
    """The diagnosis its supervisor wrote, soon after the last rank's end."""
    attempt = attempt_of(run)
    status, found = read_json(run.status_json), read_json(attempt.diagnosis_json)
    assert status is not None and status["state"] == "failed", status
    assert found is not None
    exits = read_json(attempt.exits_json)
    if exits is not None:
        ended = max(record["time"] for record in exits["ranks"].values())
        seconds = attempt.diagnosis_json.stat().st_mtime - ended
        print(f"{run.id}: diagnosed {seconds:.2f} s after the last rank's end")
        assert seconds < SOON
    assert diagnose_run(run).as_json() == found
    return found


def line(run: RunDirectory, evidence: dict[str, Any]) -> str:
    """The line that evidence names."""
    lines = (run.path / evidence["file"]).read_text("utf-8").split("\n")
    return lines[evidence["line"] - 1]


def assert_readable(run: RunDirectory, found: dict[str, Any]) -> None:
    """Evidence is where it is said to be, and the explanation fit for people."""
    for evidence in found["evidence"]:
        assert line(run, evidence).strip(), evidence
    assert found["title"] == BY_ID[found["cause"]].title or found["cause"] == "unknown"
    assert "Traceback" not in found["explanation"] and "\n" not in found["explanation"]
    explanation = found["explanation"].replace(str(run.path.parent), "").replace(str(DEMO), "")
    assert explanation[-1] in ".)" and len(explanation) < 300
    assert found["fixes"]


@pytest.fixture
def small_group(folder: Folder) -> str:
    """The file by which processes move to the control group of little memory."""
    told = Path(f"/proc/{folder.ranks.pid}/environ").read_text().split("\0")
    found = next((one.partition("=")[2] for one in told if one.startswith("DEATHS_CGROUP=")), None)
    return found or pytest.skip("needs a memory control group that can be made")


def test_a_cgroup_that_is_full(folder: Folder, small_group: str) -> None:
    run = folder.live("cgroup", "cgroup")
    found = told(run)
    assert (found["cause"], found["rank"], found["confidence"]) == ("host_oom_sigkill", 1, "certain"), found
    assert KILLS in line(run, found["evidence"][0])
    assert "own_out_of_memory_kills" in found["evidence"][1]["text"], found["evidence"]
    assert "own_out_of_memory_kills" in line(run, found["evidence"][1])
    assert "The kernel ended a process for want of memory" in found["explanation"]


def test_that_another_program_had_no_memory_is_no_proof(folder: Folder, small_group: str) -> None:
    run = in_training(folder, "anothers")
    fill = "import sys; open(sys.argv[1], 'w').write('0'); bytearray(b'x') * (512 << 20)"
    other = subprocess.run([sys.executable, "-c", fill, small_group], timeout=60, check=False)
    os.kill(pid_of(run, "rank 1"), signal.SIGKILL)
    assert other.returncode == -signal.SIGKILL
    wait_for_end(run)
    found = told(run)
    assert (found["cause"], found["rank"], found["confidence"]) == ("host_oom_sigkill", 1, "likely"), found
    assert "none of the control groups that the ranks are in" in found["explanation"]
    assert '"out_of_memory_kills"' in line(run, found["evidence"][1])


LONG = {"training.max_steps": 2000, "training.save_every": 1000}


def in_training(folder: Folder, name: str) -> RunDirectory:
    """A long run that has made a step."""
    run = folder.run(name, **LONG)
    folder.ranks.launch(run)
    wait_for(lambda: (read_json(run.status_json) or {}).get("step"), 100, "a step")
    return run


def pid_of(run: RunDirectory, who: str) -> int:
    launch = read_json(attempt_of(run).launch_json) or {}
    status = read_json(run.status_json) or {}
    return int(
        {"launcher": launch["launcher"], "supervisor": status["supervisor"], "rank 1": launch["ranks"][1]}[who]["pid"]
    )


def test_a_launcher_that_is_killed(folder: Folder) -> None:
    run = in_training(folder, "launcher-killed")
    os.kill(pid_of(run, "launcher"), signal.SIGKILL)
    wait_for_end(run)
    found = told(run)
    assert (found["cause"], found["confidence"]) == ("host_oom_sigkill", "likely")
    assert "The launcher was ended by SIGKILL" in found["explanation"]
    assert "SIGKILL" in line(run, found["evidence"][0])


def test_a_launcher_that_is_interrupted(folder: Folder) -> None:
    run = in_training(folder, "launcher-interrupted")
    os.kill(pid_of(run, "launcher"), signal.SIGINT)
    wait_for_end(run)
    found = told(run)
    assert (found["cause"], found["rank"], found["confidence"]) == ("user_interrupt", None, "certain")
    assert '"launcher_signal": "SIGINT"' in line(run, found["evidence"][0])


def test_without_a_supervisor_whoever_asks_is_told_the_same(folder: Folder) -> None:
    run = in_training(folder, "unsupervised")
    os.kill(pid_of(run, "supervisor"), signal.SIGKILL)
    victim = pid_of(run, "rank 1")
    os.kill(victim, signal.SIGKILL)
    exits = wait_for(lambda: (told := read_json(attempt_of(run).exits_json)) and len(told["ranks"]) == 2 and told, 60)
    assert exits["first"] == 1
    found = wait_for(lambda: diagnosed(run), 60, "its end to be seen")
    assert not attempt_of(run).diagnosis_json.exists()
    assert (found["cause"], found["rank"], found["confidence"]) == ("host_oom_sigkill", 1, "likely")
    assert KILLS in line(run, found["evidence"][0])
    assert found["explanation"].startswith("Rank 1 was ended by SIGKILL at step ")


def diagnosed(run: RunDirectory) -> dict[str, Any] | None:
    from qltui.runs.diagnosis.own_runs import NotEnded

    try:
        return diagnose_run(run).as_json()
    except NotEnded:
        return None


def test_a_run_that_was_asked_to_stop(folder: Folder) -> None:
    run = in_training(folder, "asked")
    run.request_json.write_text(json.dumps({"action": "stop", "id": "1", "wall": 0, "attempt": 1}))
    assert wait_for_end(run)["state"] == "stopped"
    found = diagnose_run(run)
    assert (found.cause, found.confidence) == ("user_interrupt", "certain")
    assert "Stopped as asked, saved at step" in found.explanation
    assert "Stopped as asked" in line(run, found.evidence[0]._asdict())


def test_a_loss_that_is_no_number(folder: Folder) -> None:
    run = folder.live("nan", **{"training.learning_rate": 1e9, "training.max_steps": 8, "training.max_grad_norm": 0})
    found = diagnose_run(run)
    assert (found.cause, found.rank, found.phase) == ("loss_nan_or_zero", 0, "forward")
    assert '"loss": "nan"' in line(run, found.evidence[0]._asdict())
    assert "The loss was nan from step" in found.explanation
