"""Causes faults and keeps their logs: ``python make.py --venv new=/path [--venv NAME=PATH[:PYTHONPATH]] [FAULT ...]``.

Every fault runs in a fresh copy of project/; see README.md for the stacks. What the log must show is looked for first,
so nothing is kept of a fault that did not happen.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import libraries
import machine
import many_ranks
import one_process
import own_runs
from fault import Fault
from hub import answering
from neutral import Machine

HERE = Path(__file__).parent
DEMO = HERE.parents[1] / "presets" / "demo"
LOGS = HERE.parent / "diagnosis_logs"
LABELS = LOGS / "labels.json"
LIBRARIES = ("torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "deepspeed", "datasets")
LARGEST = 200_000
"""Bytes of a log; the middle of a longer one is cut out, and says so."""
PARTS = (one_process, many_ranks, machine, libraries, own_runs)
FAULTS = {fault.name: fault for part in PARTS for fault in part.FAULTS}


class Stack:
    """A virtual environment, and folders that come before its packages."""

    def __init__(self, text: str) -> None:
        venv, *before = text.split(":")
        self.venv = Path(venv)
        self.before = [Path(folder) for folder in before]
        self.packages = [*self.before, *self.venv.glob("lib/python3*/site-packages")]
        for links in self.venv.glob("lib/python3*/site-packages/*.pth"):
            lines = links.read_text().splitlines()
            self.packages += [Path(line) for line in lines if line.startswith("/")]
        self.venvs = {self.venv, *(folder.parents[2] for folder in self.packages if folder.parents[1].name == "lib")}

    def environment(self) -> dict[str, str]:
        path = f"{self.venv}/bin:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": ":".join(map(str, self.before))}

    def versions(self) -> str:
        code = (
            "import importlib.metadata as m, sys\n"
            "for n in sys.argv[1:]:\n    try: print(n, m.version(n))\n    except m.PackageNotFoundError: pass"
        )
        done = subprocess.run(
            [self.venv / "bin" / "python", "-c", code, *LIBRARIES],
            env=self.environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return ", ".join(done.stdout.splitlines())


def project_in(work: Path, old: bool) -> Path:
    project = work / "project"
    shutil.copytree(HERE / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(DEMO / "model", project / "model")
    shutil.copytree(DEMO / "data", project / "data")
    if old:
        # Older libraries know neither the class nor the pairs of merges that newer ones write.
        tokenizer = project / "model" / "tokenizer.json"
        tokenizer.rename(tokenizer.with_suffix(".new.json"))
        written = json.loads(tokenizer.with_suffix(".new.json").read_text(encoding="utf-8"))
        written["model"]["merges"] = [" ".join(pair) for pair in written["model"]["merges"]]
        tokenizer.write_text(json.dumps(written), encoding="utf-8")
        file = project / "model" / "tokenizer_config.json"
        file.rename(file.with_suffix(".new.json"))
        config = json.loads(file.with_suffix(".new.json").read_text(encoding="utf-8"))
        del config["extra_special_tokens"]
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}
        file.write_text(json.dumps(config), encoding="utf-8")
    return project


def log_of(fault: Fault, stack: Stack) -> bytes:
    """Both outputs of the fault's command, as they came but for this machine's names."""
    work = Path(tempfile.mkdtemp(prefix="fault-"))
    project = project_in(work, fault.stack.startswith(("2024", "2025")))
    home = work / "home"
    home.mkdir()
    changed = {"HOME": str(home), "OMP_NUM_THREADS": "1", "QLTUI_HOME": str(home / ".qltui"), "PYTHONHASHSEED": "0"}
    with answering(fault.hub) as endpoint, (work / "out.log").open("wb") as out:
        environment = {**stack.environment(), **changed, **({"HF_ENDPOINT": endpoint} if endpoint else {})}
        process = subprocess.Popen(
            ["bash", "-c", fault.command], cwd=project, env=environment, stdin=subprocess.DEVNULL,
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            process.wait(fault.seconds)
        except subprocess.TimeoutExpired:
            print(f"{fault.name}: still ran after {fault.seconds} s", file=sys.stderr)
        finally:
            end_all(process.pid)
    built = os.environ.get("TORCH_EXTENSIONS_DIR")  # kept between faults, since each takes minutes to compile
    machine = Machine(work, project, home, stack.packages, stack.venvs, Path(built) if built else None)
    text = machine.neutral((work / "out.log").read_bytes().decode("utf-8", "surrogateescape"))
    shutil.rmtree(work, ignore_errors=True)
    return text.encode("utf-8", "surrogateescape")


def end_all(session: int) -> None:
    """Of the session this script started."""
    try:
        os.killpg(session, signal.SIGTERM)
        time.sleep(1)
        os.killpg(session, signal.SIGKILL)
    except ProcessLookupError:
        pass


def cut(log: bytes) -> bytes:
    if len(log) <= LARGEST:
        return log
    half = LARGEST // 2
    head, tail = log[:half].rsplit(b"\n", 1)[0], log[-half:].split(b"\n", 1)[1]
    return head + b"\n[... cut by tests/faults/make.py ...]\n" + tail


def label_of(fault: Fault, stack: str) -> dict[str, object]:
    label: dict[str, object] = {
        "cause": fault.cause, "phase": fault.phase, "rank": fault.rank, "how": fault.how, "shows": fault.shows,
        "stack": stack,
    }  # fmt: skip
    return label | ({"or_also": list(fault.or_also)} if fault.or_also else {})


def keep(fault: Fault, log: bytes, stack: str) -> None:
    (LOGS / f"{fault.name}.log").write_bytes(cut(log))
    with labels() as known:
        known[f"{fault.name}.log"] = label_of(fault, stack)


@contextlib.contextmanager
def labels() -> Iterator[dict[str, dict[str, object]]]:
    """The labels, written again at the end; several of this script may run side by side."""
    with LABELS.open("a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        yield known
        file.truncate(0)
        file.write(json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False) + "\n")


def label_again() -> None:
    """What the catalogue says now, for the logs that are there; no others."""
    with labels() as known:
        for file in list(known):
            fault = FAULTS.get(file.removesuffix(".log"))
            if fault and (LOGS / file).exists():
                known[file] = label_of(fault, str(known[file]["stack"]))
            else:
                del known[file]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venv", action="append", default=[], help="NAME=PATH[:FOLDER...], one for each stack")
    parser.add_argument("--show", action="store_true", help="print the logs, keep nothing")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="all of the stacks given, if none is named")
    parser.add_argument("--labels", action="store_true", help="cause nothing, write the labels of the logs again")
    arguments = parser.parse_args()
    if arguments.labels:
        label_again()
        return 0
    stacks = {name: Stack(path) for name, path in (venv.split("=", 1) for venv in arguments.venv)}
    failed = []
    for fault in FAULTS.values():
        if fault.stack not in stacks or (arguments.faults and fault.name not in arguments.faults):
            continue
        log = log_of(fault, stacks[fault.stack])
        if arguments.show:
            sys.stdout.buffer.write(log)
        elif fault.shows.encode() not in log:
            failed.append(fault.name)
            Path(tempfile.gettempdir(), f"failed-{fault.name}.log").write_bytes(log)
            print(f"{fault.name}: does not show {fault.shows!r}", file=sys.stderr)
        else:
            keep(fault, log, stacks[fault.stack].versions())
            print(f"{fault.name}: {len(log)} bytes")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
