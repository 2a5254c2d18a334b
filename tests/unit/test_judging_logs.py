"""What of a log counts: what was survived, what is a consequence, what came first; logs too large to be read whole."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from support.runs import Cli

from qltui.runs.diagnosis import excerpt
from qltui.runs.diagnosis.diagnosis import Diagnosis, diagnose_log, from_json

OUT_OF_MEMORY = """\
Traceback (most recent call last):
  File "/home/user/train.py", line 12, in <module>
    trainer.train()
  File "/usr/lib/python3/site-packages/torch/_tensor.py", line 522, in backward
    torch.autograd.backward(
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.68 GiB of \
which 0.94 GiB is free.
"""
UNKNOWN = """\
Traceback (most recent call last):
  File "/home/user/train.py", line 12, in <module>
    frobnicate()
RuntimeError: the frobnicator is out of tune
"""
PEER = (
    "[rank1]:[E ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)\n"
)


def diagnose(text: str) -> Diagnosis:
    return diagnose_log(io.BytesIO(text.encode()), "train.log")


def steps(first: int, last: int, loss: str = "1.5") -> str:
    return "".join(f"{{'loss': {loss}, 'grad_norm': 0.7, 'epoch': {step / 100}}}\n" for step in range(first, last))


def bars(first: int, last: int) -> str:
    return "".join(
        f"\r{step:3d}%|###       | {step}/100 [00:{step:02d}<01:00,  1.00it/s]" for step in range(first, last)
    )


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        pytest.param(steps(0, 50) + OUT_OF_MEMORY, "cuda_oom", id="at the end"),
        pytest.param(OUT_OF_MEMORY + steps(0, 30), "cuda_oom", id="figures that a buffer held back"),
        pytest.param(bars(0, 20) + "\n" + OUT_OF_MEMORY + bars(20, 60), "none", id="the bar moved on"),
        pytest.param(steps(0, 30) + OUT_OF_MEMORY + steps(30, 300), "none", id="more figures than a buffer holds"),
        pytest.param(
            steps(0, 9) + OUT_OF_MEMORY + "{'train_runtime': 12.1, 'train_loss': 1.5}\n", "none", id="it ended well"
        ),
        pytest.param(
            steps(0, 30) + OUT_OF_MEMORY + steps(30, 300) + UNKNOWN, "unknown", id="the second one was not survived"
        ),
        pytest.param("Exception ignored in: <function A.__del__>\n" + UNKNOWN, "none", id="at the interpreter's end"),
        pytest.param(steps(0, 40) + steps(40, 43, "nan"), "loss_nan_or_zero", id="a loss that is no number"),
        pytest.param(steps(0, 40) + steps(40, 41, "0.0"), "none", id="one loss of zero"),
        pytest.param(steps(0, 40, "nan") + steps(40, 80), "none", id="a loss that came back"),
        pytest.param(steps(0, 40, "nan") + OUT_OF_MEMORY, "cuda_oom", id="an error after a loss that is no number"),
        pytest.param(steps(0, 40, "nan") + "KeyboardInterrupt\n", "loss_nan_or_zero", id="stopped because of it"),
        pytest.param(steps(0, 40) + "KeyboardInterrupt\n", "user_interrupt", id="stopped for no reason told"),
    ],
)
def test_what_was_survived_does_not_count(log: str, cause: str) -> None:
    assert diagnose(log).cause == cause


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (PEER + OUT_OF_MEMORY, "cuda_oom"),
        (OUT_OF_MEMORY + PEER, "cuda_oom"),
        (PEER, "nccl_timeout"),
        (UNKNOWN + PEER, "unknown"),
        (PEER + "Failed to import an extra: No module named 'extra'\n", "nccl_timeout"),
        ("Failed to import an extra: No module named 'extra'\n" + steps(0, 20), "none"),
        ("UserWarning: CUDA out of memory happened in another life\n" + steps(0, 20), "none"),
        (OUT_OF_MEMORY + UNKNOWN, "cuda_oom"),
        (UNKNOWN + "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n", "unknown"),
    ],
)
def test_a_consequence_and_a_mere_mention_are_no_cause(log: str, cause: str) -> None:
    assert diagnose(log).cause == cause


def test_the_line_that_tells_it_is_the_first_evidence() -> None:
    found = diagnose(steps(0, 5) + OUT_OF_MEMORY + PEER)
    assert [(one.line, one.text.split(":")[0]) for one in found.evidence[:2]] == [
        (11, "torch.OutOfMemoryError"),
        (6, "raised in backward, /usr/lib/python3/site-packages/torch/_tensor.py line 522"),
    ]
    assert "Watchdog" in found.evidence[2].text and found.evidence[2].line == 12
    assert (found.phase, found.confidence) == ("backward", "certain")


def test_what_ranks_print_between_each_other_is_told_apart() -> None:
    lines = [
        [f"[rank{rank}]: {line}" for line in text.splitlines()] for rank, text in ((0, UNKNOWN), (1, OUT_OF_MEMORY))
    ]
    mixed = [line for pair in zip(*lines, strict=False) for line in pair] + lines[1][len(lines[0]) :]
    found = diagnose("\n".join(mixed))
    assert (found.cause, found.rank, found.phase) == ("cuda_oom", 1, "backward")


def test_a_report_of_the_first_failure_tells_which_rank_it_was() -> None:
    report = """\
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  rank      : 3 (local_rank: 3)
  exitcode  : -9 (pid: 4711)
  traceback : Signal 9 (SIGKILL) received by PID 4711
"""
    found = diagnose(steps(0, 20) + report)
    assert (found.cause, found.rank, found.confidence) == ("host_oom_sigkill", 3, "likely")


def texts(first: int, last: int) -> str:
    """Lines of which no two are alike, not even without their digits."""
    return "".join(
        f"{format(number, 'b').translate({48: 'a', 49: 'b'})} is what the model wrote\n"
        for number in range(first, last)
    )


@pytest.mark.parametrize("lines", [steps, texts])
def test_of_a_large_log_what_stands_out_and_the_end_are_read(
    monkeypatch: pytest.MonkeyPatch, lines: Callable[[int, int], str]
) -> None:
    for name, value in (("BLOCK", 10_000), ("WHOLE", 50_000), ("END", 20_000), ("KEPT", 50_000), ("MANY", 50)):
        monkeypatch.setattr(excerpt, name, value)
    log = lines(0, 5000) + OUT_OF_MEMORY + PEER * 5000
    found = diagnose(log)
    assert (found.cause, found.phase, found.evidence[0].line) == ("cuda_oom", "backward", 5006)
    kept = list(excerpt.read_lines(io.BytesIO(log.encode())))
    assert sum(len(line.text) for line in kept) < 100_000 < len(log)
    numbered = log.split("\n")
    assert all(numbered[line.number - 1] == line.text for line in kept)


def test_a_log_in_utf_16_is_read() -> None:
    assert diagnose_log(io.BytesIO(OUT_OF_MEMORY.encode("utf-16")), "x").cause == "cuda_oom"


def test_a_diagnosis_is_read_back_as_it_was_written() -> None:
    found = diagnose(OUT_OF_MEMORY)
    assert from_json(json.loads(json.dumps(found.as_json()))) == found
    assert from_json({"cause": "cuda_oom"}) is None


def test_the_command_reads_files_and_pipes(cli: Cli) -> None:
    log = cli.home.parent / "train.log"
    log.write_text(OUT_OF_MEMORY)
    done = cli("diagnose", str(log), "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["cause"]) == (1, "cuda_oom")
    log.write_text(steps(0, 9))
    done = cli("diagnose", str(log))
    assert (done.returncode, done.stdout) == (0, "The log tells of no error that ended the run.\n")


def test_the_command_refuses_what_is_no_text(cli: Cli) -> None:
    weights = cli.home.parent / "model.safetensors"
    weights.write_bytes(bytes(range(256)) * 400)
    done = cli("diagnose", str(weights), check=False)
    assert done.returncode == 1 and "is no log" in done.stderr
