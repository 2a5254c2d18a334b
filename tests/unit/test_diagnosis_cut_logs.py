"""Logs that are cut in the middle of a traceback, quoted, indented, or no more than a sentence about an error."""

from __future__ import annotations

import pytest
from support.short_logs import STEPS, diagnosed, traceback

CALLS = [
    ("/x/transformers/trainer.py", "_inner_training_loop"),
    ("/x/accelerate/accelerator.py", "unscale_gradients"),
]
_OPEN = traceback("ValueError", "x", *CALLS).rsplit("\n", 2)[0]


def test_a_log_that_ends_within_a_traceback_did_not_end_well() -> None:
    cut = diagnosed(f"{STEPS}{_OPEN}\n")
    assert cut.cause == "unknown"
    assert cut.explanation == "The log ends within a traceback, before it tells what was raised."
    assert "unscale_gradients" in cut.evidence[1].text


def test_a_notebook_tells_before_the_calls_what_was_raised() -> None:
    # IPython and Colab
    log = diagnosed(
        f"{STEPS}----------------------------------------\n"
        "OutOfMemoryError                          Traceback (most recent call last)\n"
        "[<ipython-input-1-c6ea84cff8f6>](https://localhost:8080/#) in <cell line: 29>()\n"
        "---> 29 trainer.train()\n\n"
        "[/usr/local/lib/python3.10/dist-packages/torch/nn/functional.py](https://localhost:8080/#) in linear(input)\n"
        "   3929         return torch._C._nn.linear(inp"
    )
    assert (log.cause, log.phase) == ("cuda_oom", None)
    assert log.evidence[1].text == "raised in linear, /usr/local/lib/python3.10/dist-packages/torch/nn/functional.py"


def test_a_traceback_that_lost_its_line_ends() -> None:
    log = diagnosed(
        'Traceback (most recent call last): File "/x/train.py", line 14, in main trainer.train() File '
        '"/x/transformers/trainer.py", line 9, in train error in compute() KeyboardInterrupt'
    )
    assert log.cause == "user_interrupt"
    assert log.evidence[1].text == "raised in train, /x/transformers/trainer.py line 9"
    flat = " ".join(traceback("ValueError", "Attempting to unscale FP16 gradients in step", *CALLS).split())
    assert diagnosed(f"{STEPS}{flat}\n").cause == "fp16_unscale"


def test_what_is_cut_off_is_no_evidence_for_another_cause() -> None:
    log = diagnosed(f"{STEPS}{traceback('RuntimeError', 'CUDA out of memory. Tried to allocate 2.00 GiB')}\n{_OPEN}\n")
    assert log.cause == "cuda_oom"
    assert len(log.evidence) == 2


@pytest.mark.parametrize(
    "file", ['File "/x/torch/utils/data/_utils/collate.py', "a/_utils/collate.py", r"s\collate.py"]
)
def test_of_calls_without_header_and_indentation(file: str) -> None:
    # torch: utils/data/_utils/collate.py
    call = f'{file}", line 141, in collate_tensor_fn\n    return torch.stack(batch, 0, out=out)\n'
    log = diagnosed(f"{call}RuntimeError: stack expects each tensor to be equal size, but got [12] at entry 0\n")
    assert log.cause == "dataset_column_error"
    assert "raised in collate_tensor_fn" in log.evidence[1].text


def test_a_cut_traceback_whose_source_is_an_assertion() -> None:
    # deepspeed: runtime/state_dict_factory.py
    call = '  File "/x/deepspeed/runtime/state_dict_factory.py", line 162, in check_ckpt_list\n'
    log = diagnosed(f"{_OPEN}\n{call}    assert len(self.ckpt_list) > 0\n")
    assert log.cause == "resume_mismatch"


def test_of_what_an_editors_debugger_shows() -> None:
    # VS Code: the message on a line of its own, then the calls, the newest first
    log = diagnosed(
        "Exception has occurred: KeyError       (note: full exception trace is shown but execution is paused at: x)\n"
        "'weight_x'\n"
        '  File "D:\\x\\datasets\\arrow_dataset.py", line 519, in _map_single\n'
        "    prompts = rows[0]\n"
        '  File "D:\\x\\train.py", line 12, in <module>\n'
        "    main()\n"
        "KeyError: 'weight_x'\n"
    )
    assert (log.cause, log.evidence[0].line, log.evidence[0].text) == (
        "dataset_column_error",
        1,
        "KeyError: 'weight_x'",
    )
    assert "raised in _map_single" in log.evidence[1].text


def test_calls_that_a_program_prints_on_its_way_are_no_end() -> None:
    assert diagnosed(f"{_OPEN.split(chr(10), 1)[1]}\n{STEPS}").cause == "none"
    assert diagnosed(f"{_OPEN}\n{STEPS}").cause == "none"


@pytest.mark.parametrize("end", ["", "ValueError: Attemptin", "ValueError"])
def test_the_source_tells_what_the_cut_message_does_not(end: str) -> None:
    # torch: amp/grad_scaler.py
    raising = (
        '  File "/x/torch/amp/grad_scaler.py", line 260, in _unscale_grads_\n'
        '    raise ValueError("Attempting to unscale FP16 gradients.")\n'
    )
    assert diagnosed(f"{STEPS}{_OPEN}\n{raising}{end}").cause == "fp16_unscale"


@pytest.mark.parametrize("marks", ["", "           ^^^^^^^^^^^^^^^^^^^^^^\n"])
def test_the_source_of_an_assertion_without_a_message_tells_it(marks: str) -> None:
    # deepspeed: runtime/zero/partitioned_param_coordinator.py
    raising = (
        'File "/x/zero/partitioned_param_coordinator.py", line 310, in fetch_sub_module\n'
        f"    assert param.ds_status == ZeroParamStatus.AVAILABLE\n{marks}AssertionError\n"
    )
    found = diagnosed(raising)
    assert found.cause == "zero3_weight_1d"
    assert found.evidence[0].text == "AssertionError: assert param.ds_status == ZeroParamStatus.AVAILABLE"


def test_another_message_is_not_replaced_by_the_source() -> None:
    raising = (
        '  File "/x/torch/amp/grad_scaler.py", line 260, in f\n    raise ValueError("Attempting to unscale FP16")\n'
    )
    assert diagnosed(f"{_OPEN}\n{raising}ValueError: something else").cause == "unknown"


@pytest.mark.parametrize("before", ["    ", "  ", "> "])
def test_of_a_quoted_traceback_whose_header_is_cut_off(before: str) -> None:
    told = traceback("RuntimeError", "expected scalar type Float but found Half", *CALLS).split("\n")[1:]
    log = diagnosed("".join(f"{before}{line}\n" for line in told))
    assert log.cause == "dtype_mismatch_matmul"


@pytest.mark.parametrize("before", ["704.7s\t1290\t[rank3]: ", "nemo.llm.pretrain/0 [default0]:[rank3]: "])
def test_of_what_notebook_services_and_job_runners_pass_on(before: str) -> None:
    # Kaggle: the log of a version; torchx: schedulers/local_scheduler.py, as nemo_run starts torchrun
    told = traceback("RuntimeError", "expected scalar type Float but found Half", *CALLS).split("\n")[1:]
    log = diagnosed("".join(f"{before}{line}\n" for line in told))
    assert (log.cause, log.rank) == ("dtype_mismatch_matmul", 3)
    assert log.evidence[0].text == "RuntimeError: expected scalar type Float but found Half"


def test_hydra_is_no_part_of_what_was_raised() -> None:
    # hydra: _internal/utils.py
    told = traceback("ZeroDivisionError", "integer division or modulo by zero", *CALLS)
    log = diagnosed(f"{told}\nSet the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.\n")
    assert log.evidence[0].text == "ZeroDivisionError: integer division or modulo by zero"


@pytest.mark.parametrize("before", ["    ", "> ", "I0724 18:03:43.553156      83 main.go:143] "])
def test_of_a_traceback_that_is_indented_quoted_or_passed_on(before: str) -> None:
    # katib: cmd/metricscollector/v1beta1/file-metricscollector/main.go
    told = traceback("RuntimeError", "expected scalar type Float but found Half", *CALLS).split("\n")
    log = diagnosed("".join(f"{before}{line}\n" for line in [*STEPS.splitlines(), *told]))
    assert (log.cause, log.phase) == ("dtype_mismatch_matmul", "optimizer")


def test_of_calls_that_lost_their_indentation() -> None:
    told = traceback("KeyError", "'zu'", ("/x/datasets/arrow_dataset.py", "map")).split("\n")[1:]
    assert diagnosed("\n".join(line.lstrip() for line in told)).cause == "dataset_column_error"


@pytest.mark.parametrize(
    "line",
    [
        # torch: distributed/elastic/multiprocessing/api.py 1.9 and 2.4; deepspeed: launcher/launch.py
        "WARNING:torch.distributed.elastic.multiprocessing.api:Sending process 4321 closing signal SIGTERM",
        "W0822 16:10:35.525000 13962 torch/distributed/elastic/multiprocessing/api.py:851] Sending process 4321 "
        "closing signal SIGTERM",
        "[2024-11-29 07:06:02,208] [INFO] [launch.py:319:sigkill_handler] Killing subprocess 12477",
    ],
)
def test_a_launcher_that_ends_the_other_ranks_tells_of_a_failure(line: str) -> None:
    log = diagnosed(f"{STEPS}{line}\n")
    assert log.cause == "unknown"
    assert log.explanation.startswith("A launcher reports")
    assert diagnosed(f"{STEPS}^CKeyboardInterrupt\n{line}\n").cause == "user_interrupt"


_OWN = traceback("ValueError", "of the program's own", *CALLS)


def test_what_torchrun_kills_itself_did_not_die_of_memory() -> None:
    # torch: distributed/elastic/multiprocessing/api.py, errors/__init__.py
    kills = (
        "W0325 17:13:24.151000 1874 torch/distributed/elastic/multiprocessing/api.py:897] Sending process 1887 closing "
        "signal SIGTERM\n"
        "W0325 17:13:54.151000 1874 torch/distributed/elastic/multiprocessing/api.py:916] Unable to shutdown process "
        "1887 via Signals.SIGTERM, forcefully exiting via Signals.SIGKILL\n"
    )
    report = (
        "Failures:\n[1]:\n  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 1887)\n"
        "  traceback : Signal 9 (SIGKILL) received by PID 1887\n"
    )
    assert diagnosed(f"{STEPS}{_OWN}{kills}{report}").cause == "unknown"
    assert diagnosed(f"{STEPS}{kills}{report}").cause == "unknown"
    other = report.replace("1887", "1886")
    assert diagnosed(f"{STEPS}{_OWN}{kills}{other}").cause == "host_oom_sigkill"


def test_what_slurm_kills_itself_did_not_die_of_memory() -> None:
    # SLURM: src/srun, src/slurmd/slurmstepd
    over = "srun: Terminating job step 30399.0\nslurmstepd: error: *** STEP 30399.0 ON n1 CANCELLED AT 2024-04-03 ***\n"
    killed = "srun: error: n1: tasks 2,6-7: Killed\n"
    log = diagnosed(f"{STEPS}{_OWN}srun: error: n1: task 0: Exited with exit code 1\n{over}{killed}")
    assert (log.cause, log.evidence[0].text) == ("unknown", "ValueError: of the program's own")
    assert diagnosed(f"{STEPS}{killed}{over}{_OWN}").cause == "host_oom_sigkill"


def test_overflow_of_a_loss_that_is_not_scaled() -> None:
    # deepspeed: runtime/fp16/loss_scaler.py
    skipped = " [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: {}, reducing to {}\n"
    bars = [f" {done}%|#| {done}/99 [00:0{done}<01:13,  2.21it/s]\n" for done in range(1, 9)]
    assert diagnosed("".join(bar + skipped.format(1, 1) for bar in bars)).cause == "loss_nan_or_zero"
    assert diagnosed("".join(bar + skipped.format(16, 1) for bar in bars)).cause == "none"
    assert diagnosed(bars[0] + skipped.format(1, 1) + "".join(bars[1:])).cause == "none"


def test_pictures_that_do_not_fit_are_told_of() -> None:
    # transformers: models/qwen2_vl/modeling_qwen2_vl.py
    log = diagnosed(
        traceback("ValueError", "Image features and image tokens do not match: tokens: 2117, features 2116")
    )
    assert log.cause == "unknown"
    assert "places for pictures" in log.explanation


def test_of_a_box_whose_header_is_cut_off() -> None:
    # rich: traceback.py
    box = (
        "│ /x/dist-packages/datasets/arrow_dataset.py:2095 in map              │\n"
        "│                                                                     │\n"
        "│ ❱ 2095 │   │   │   return self._map_single(                         │\n"
        "╰─────────────────────────────────────────────────────────────────────╯\n"
    )
    assert diagnosed(f"{box}KeyError: 'zu'\n").cause == "dataset_column_error"
    assert diagnosed("KeyError: 'zu'\n").cause == "unknown"


SENTENCES = [
    ("unknown", "Paged optimizer, from a checkpoint - attributeError: 'int' object has no attribute 'cpu'"),
    ("unknown", "I get `SomethingError: 12` when I train"),
    ("no_grad_inputs", "I get `RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn`"),
    ("dataset_too_small", "> TypeError: Unsupported types (<class 'NoneType'>) passed to `_gpu_broadcast_one`. Only "
     "nested list/tuple/dicts of objects that are valid for `is_torch_tensor` should be passed."),
    ("none", "UserWarning: caught ValueError: 12 in the logger"),
    ("none", "Retrying after ConnectionError: 12"),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "text"), SENTENCES)
def test_of_a_sentence(cause: str, text: str) -> None:
    assert diagnosed(text).cause == cause


@pytest.mark.parametrize(
    ("told", "cause"),
    [
        (
            "2024-05-01 10:00:00,123 - ERROR - failed: cannot import name 'x' from 'trl'",
            "version_incompatibility",
        ),
        ("E0501 10:00:00.000000 12 train.py:12] cannot import name 'x' from 'trl'", "version_incompatibility"),
        ("2024-05-01 10:00:00,123 - root - cannot import name 'x' from 'trl'", "none"),
    ],
)
def test_what_a_program_tells_as_an_error_at_its_end_ended_it(told: str, cause: str) -> None:
    assert diagnosed(f"{STEPS}{told}\n").cause == cause
    assert diagnosed(f"{told}\n{STEPS}").cause == "none"
    assert diagnosed(f"{told}\n" + "reads the data\n" * 12).cause == "none"


def test_a_sentence_in_a_whole_log_is_none() -> None:
    assert diagnosed(f"the rows are questions about a SomethingError: 12\n{STEPS}").cause == "none"


MEGATRON = " iteration {} / 250000 | learning rate: 2.999E-04 | loss scale: 1.0 | grad norm: {} | number of nan: 0 |\n"


@pytest.mark.parametrize(
    ("cause", "lines"),
    [
        # Megatron: training.py, which leaves out a loss that is no number
        ("loss_nan_or_zero", [MEGATRON.format(step, "nan") for step in range(4)]),
        ("none", [MEGATRON.format(step, "nan" if step < 3 else "2.1") for step in range(6)]),
        # a loop of one's own, that prints the loss as it is
        ("loss_nan_or_zero", ["tensor(3.2207, device='cuda:0')\n", *["tensor(nan, device='cuda:0')\n"] * 3]),
        ("none", ["tensor(3.2207)\n", *["tensor(0.)\n"] * 4]),
        ("none", ["tensor(3.2207)\n", "tensor(3.1, grad_fn=<NllLossBackward0>)\n"]),
    ],
)
def test_of_figures_without_the_word_loss(cause: str, lines: list[str]) -> None:
    assert diagnosed("".join(lines)).cause == cause


@pytest.mark.parametrize("bar", ["  0%|    | 0/2 [00:00<?, ?it/s]", " 10%|#   | 10/99 [00:10<01:29,  1.0s/it, loss=2]"])
def test_a_shell_tells_of_a_death_behind_the_bar(bar: str) -> None:
    assert diagnosed(f"Loading checkpoint shards:\n{bar}Killed\n").cause == "host_oom_sigkill"
