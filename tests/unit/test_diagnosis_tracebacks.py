"""Tracebacks in whatever a log puts around, before and between their lines."""

from __future__ import annotations

import io
import json

import pytest
from support.short_logs import STEPS, diagnosed, traceback

from qltui.runs.diagnosis.excerpt import read_lines
from qltui.runs.diagnosis.prefixes import strip_prefixes
from qltui.runs.diagnosis.tracebacks import Raised, read_tracebacks

FULL = "torch.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB."
CALL = ("/x/modeling_llama.py", "forward")
DEATH = traceback(*FULL, CALL)

OF_RANKS = {
    "torch since 2.4": "[rank{}]: ",
    "torchrun --tee": "[default{}]:",
    "torchrun --tee of a named role": "[trainer{}]:",
    "srun --label": "{}: ",
    "mpiexec -l": "[{}] ",
    "mpirun --tag-output": "[1,{}]<stderr>:",
    "SageMaker's mpirun": "[1,mpirank:{},algo-1]<stderr>:",
    "Determined": "[2023-05-01T10:00:00.000000Z] 4a5b6c7d || [rank={}] ",
    "DeepSpeed's pdsh": "10.3.0.41: [rank{}]: ",
    "Kubernetes and torch": "2024-05-01T10:00:00.123456789Z stderr F [rank{}]: ",
    "axolotl": "[2024-05-01 10:00:00,000] [ERROR] [axolotl.train:50] [PID:10{0}] [RANK:{0}] ",
}
"""How a line begins, by who put it there; the braces are the rank."""

OF_NOBODY = {
    "containerd": "2024-05-01T10:00:00.123456789Z stderr F ",
    "docker compose": "trainer-1  | ",
    "docker-compose of version 1": "trainer_1  | ",
    "kubectl --prefix": "[pod/train-0/main] ",
    "journald": "May  1 10:00:00 gpu12 python[4242]: ",
    "logging": "2024-05-01 10:00:00,000 - ERROR - stderr - ",
    "FastChat": "2023-05-01 10:00:00 | ERROR | stderr | ",
    "Ray": "\x1b[36m(RayTrainWorker pid=123, ip=10.0.0.1)\x1b[0m ",
    "Ray, of a task": "(main_task pid=123) ",
    "Metaflow": "2023-04-29 06:01:12.977 [177/train/578 (pid 28936)] ",
    "a program's own": "(gpu12:10234) ",
    "a quotation": "> ",
    "colours": "\x1b[31m",
}

AROUND = {
    "rich": """\
╭─────────────────────────────── Traceback (most recent call last) ────────────────────────────────╮
│ /home/u/train.py:10 in <module>                                                                  │
│                                                                                                  │
│ ❱ 10 main()                                                                                      │
│                                                                                                  │
│ /home/u/model.py:22 in forward                                                                   │
│                                                                                                  │
│ ❱ 22 y = f(x)                                                                                    │
╰──────────────────────────────────────────────────────────────────────────────────────────────────╯
OutOfMemoryError: CUDA out of
memory. Tried to allocate 2.00 GiB
""",
    "IPython 8": """\
---------------------------------------------------------------------------
OutOfMemoryError                          Traceback (most recent call last)
Cell In[12], line 1
----> 1 trainer.train()

File /usr/lib/python3.10/dist-packages/transformers/models/llama/modeling_llama.py:300, in LlamaMLP.forward(self, x)
--> 300 down_proj = self.down_proj(x)

OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
""",
    "Colab": """\
---------------------------------------------------------------------------
OutOfMemoryError                          Traceback (most recent call last)
<ipython-input-3-abc> in <module>
----> 1 trainer.train()

/usr/local/lib/python3.10/dist-packages/torch/nn/functional.py in forward(*args)
OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
""",
    "loguru": """\
2024-05-01 12:00:00.123 | ERROR    | __main__:<module>:12 - An error has been caught in function '<module>'
Traceback (most recent call last):

> File "train.py", line 12, in <module>
    main()
    └ <function main at 0x7f0>

  File "/x/model.py", line 5, in forward
    y = x @ w
        │   └ tensor
        └ tensor

torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
""",
    "an ExceptionGroup": """\
  + Exception Group Traceback (most recent call last):
  |   File "/x/train.py", line 3, in <module>
  |     main()
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/x/model.py", line 4, in forward
    |     x = f()
    | torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
    +------------------------------------
""",
    "Ray's error in a driver": """\
Traceback (most recent call last):
  File "/x/ray/_private/worker.py", line 2667, in get
    values = worker.get_objects(object_refs, timeout=timeout)
ray.exceptions.RayTaskError(OutOfMemoryError): ray::_RayTrainWorker__execute.get_next() (pid=2, ip=10.0.0.2)
  File "/x/model.py", line 3, in forward
    y = f(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
""",
    "a pool of processes": '''\
multiprocess.pool.RemoteTraceback:
"""
Traceback (most recent call last):
  File "/x/model.py", line 125, in forward
    result = func()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
"""

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/x/train.py", line 3, in <module>
    pool.map(f)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
''',
    "torch.multiprocessing": """\
torch.multiprocessing.spawn.ProcessRaisedException:

-- Process 1 terminated with the following error:
Traceback (most recent call last):
  File "/x/train.py", line 3, in forward
    y = f(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
""",
    "Composer": """\
ERROR:composer.cli.launcher:Rank 0 crashed with exit code 1.
----------Begin global rank 0 STDERR----------
Traceback (most recent call last):
  File "/x/model.py", line 1, in forward
    y = f(x)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB
----------End global rank 0 STDERR----------
""",
    "a bar before it": f"  1%|          | 24/1752 [01:08<1:22:56,  2.88s/it]{DEATH}",
    "another that was handled": DEATH
    + "\nDuring handling of the above exception, another exception occurred:\n\n"
    + traceback("AttributeError", "'NoneType' object has no attribute 'finish'"),
    "a warning's calls before it": """\
A module was compiled by others.
Traceback (most recent call last):  File "/x/train.py", line 5, in <module>
    from transformers import Trainer
  File "/x/torch/nested.py", line 20, in <module>
    device = torch.device(0)
/x/torch/nested.py:20: UserWarning: Failed to initialize it
  device = torch.device(0)
Map: 100%|██████████| 64/64 [00:00<00:00, 900.00 examples/s]
"""
    + STEPS
    + DEATH,
}


def raised(log: str) -> list[Raised]:
    lines = strip_prefixes(read_lines(io.BytesIO(log.encode())))
    return [part for part in read_tracebacks(lines) if isinstance(part, Raised)]


def assert_out_of_memory_while_forward(log: str, rank: int | None = None) -> None:
    found = diagnosed(log)
    assert (found.cause, found.phase, found.rank) == ("cuda_oom", "forward", rank)


@pytest.mark.parametrize("prefix", OF_RANKS.values(), ids=OF_RANKS)
def test_lines_of_ranks_that_interleave(prefix: str) -> None:
    """Each rank's calls stay together, whoever else writes between them."""
    others = [f"{prefix.format(rank)}step {step}" for step in range(12) for rank in (0, 1)]
    own = [f"{prefix.format(3)}{line}" for line in DEATH.splitlines()]
    between = [line for pair in zip(own, others, strict=False) for line in pair]
    assert_out_of_memory_while_forward("\n".join([*others, *between]), rank=3)


@pytest.mark.parametrize("prefix", OF_NOBODY.values(), ids=OF_NOBODY)
def test_lines_that_something_is_put_before(prefix: str) -> None:
    assert_out_of_memory_while_forward("".join(f"{prefix}{line}\n" for line in (STEPS + DEATH).splitlines()))


@pytest.mark.parametrize("prefix", ["0: ", "[rank0]: "])
def test_a_bar_whose_states_share_a_prefix(prefix: str) -> None:
    """Only the first state of a line has what something put before it."""
    bar = "\r".join(f" {step}%|█   | {step}/100 [00:20<00:09,  3.28it/s]" for step in range(70))
    assert_out_of_memory_while_forward("".join(f"{prefix}{line}\n" for line in f"{bar}{DEATH}".split("\n")), rank=0)


def test_lines_that_are_numbered() -> None:
    """By a collector, whose numbers are no ranks."""
    lines = enumerate((STEPS + DEATH).splitlines(), 80741)
    assert_out_of_memory_while_forward("".join(f"[{number}] {line}\n" for number, line in lines))


@pytest.mark.parametrize("log", AROUND.values(), ids=AROUND)
def test_what_is_around(log: str) -> None:
    assert_out_of_memory_while_forward(log)


def test_lines_of_json() -> None:
    """As Docker keeps them, a line each."""
    kept = [{"log": f"{line}\n", "stream": "stderr", "time": "2024-05-01T10:00:00Z"} for line in DEATH.splitlines()]
    assert_out_of_memory_while_forward("\n".join(map(json.dumps, kept)))


def test_a_record_that_holds_it_whole() -> None:
    """As loggers write it for collectors, with the rank beside it."""
    records = [{"message": "step 1", "rank": 2}, {"level": "error", "rank": 2, "message": f"failed\n{DEATH}"}]
    assert_out_of_memory_while_forward("\n".join(map(json.dumps, records)), rank=2)


def test_torchruns_error_file() -> None:
    extra = {"py_callstack": DEATH, "timestamp": "1714557600"}
    assert_out_of_memory_while_forward(json.dumps({"message": {"message": ": ".join(FULL), "extraInfo": extra}}))


@pytest.mark.parametrize("cut", range(1, DEATH.count("\n") - 2))
def test_the_beginning_is_cut_off(cut: int) -> None:
    """Amid the calls: those that are left tell the phase."""
    assert_out_of_memory_while_forward("\n".join(DEATH.splitlines()[cut:]))


def test_the_end_is_cut_off() -> None:
    assert_out_of_memory_while_forward(DEATH[: DEATH.index("2.00")])


def test_calls_without_an_exception_are_no_end() -> None:
    """Programs print them as a warning."""
    calls = DEATH.rsplit("\n", 2)[0]
    assert raised(f"{calls}\n{STEPS}") == []
    assert diagnosed(f"{calls}\n{STEPS}").cause == "none"


def test_a_bar_is_no_exception() -> None:
    log = DEATH.replace(
        "torch.OutOfMemoryError", "Map:  10%|█         | 6/64 [00:00<?, ? examples/s]\ntorch.OutOfMemoryError"
    )
    assert [one.kind for one in raised(log)] == ["torch.OutOfMemoryError"]


def test_the_order_of_a_chain() -> None:
    """What was raised first is what the chain goes back to."""
    first, second = traceback("KeyError", "'a'", CALL), traceback("ValueError", "b")
    log = f"{first}\nThe above exception was the direct cause of the following exception:\n\n{second}"
    newest = raised(log)[-1]
    assert [one.kind for one in newest.chain()] == ["ValueError", "KeyError"]
    assert [frame.function for frame in list(newest.chain())[1].frames] == ["main", "forward"]


def test_a_message_of_several_lines() -> None:
    log = traceback("ValueError", "Please correct:\n- ds a=1 vs hf a=2\nThe easiest method is auto.")
    assert raised(log)[0].text.endswith("- ds a=1 vs hf a=2\nThe easiest method is auto.")


def test_a_message_that_holds_a_traceback() -> None:
    """As the first DataLoaders passed on what a worker raised."""
    log = traceback("AssertionError", traceback("AssertionError", "\nThe NVIDIA driver on your system is too old"))
    assert diagnosed(log).cause == "cuda_driver_mismatch"


def test_two_ranks_without_prefixes_at_once() -> None:
    lines = [line for line in DEATH.splitlines() for _ in range(2)]
    assert_out_of_memory_while_forward("\n".join(lines))


def test_what_is_noticed_at_exit_is_told_last() -> None:
    noticed = "Exception ignored in: <function A.__del__ at 0x7f>\n" + traceback("AttributeError", "'A' has no b")
    assert_out_of_memory_while_forward(DEATH + noticed)
    assert diagnosed(STEPS + noticed).cause == "none"


@pytest.mark.parametrize(
    ("first", "then", "cause"),
    [
        ("KeyboardInterrupt", "RuntimeError: Connection closed by peer", "user_interrupt"),
        ("RuntimeError: Connection closed by peer", "KeyboardInterrupt", "nccl_timeout"),
        ("RuntimeError: Connection closed by peer", "ValueError: mine", "unknown"),
        ("KeyboardInterrupt", "ValueError: mine", "unknown"),
    ],
)
def test_which_rank_is_blamed(first: str, then: str, cause: str) -> None:
    """An error of its own tells more than a peer's absence; of an interrupt and that, what came first."""
    calls = "Traceback (most recent call last):\n" + '  File "/x/train.py", line 3, in main\n'
    log = "".join(f"[rank0]: {line}\n" for line in f"{calls}{first}".splitlines())
    log += "".join(f"[rank1]: {line}\n" for line in f"{calls}{then}".splitlines())
    assert diagnosed(log).cause == cause
