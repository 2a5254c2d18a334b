"""What a run says while it runs: one JSON object a line, one file a rank.

The other half of the contract with ``engine.config``. Plain dictionaries and the standard library alone, because
``qltui status`` reads them and must start fast. Every event bears the keys of :data:`COMMON`; :data:`KINDS` declares
what else each kind carries.
"""

from __future__ import annotations

import json
import os
import time

from engine.events.processes import host_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA_VERSION = 1

PHASES = ("load", "prepare", "data", "forward", "backward", "optimizer", "eval", "save")
"""Where a rank's time and memory go; a failure names the one it happened in."""

COMMON = {
    "schema_version": "version of this schema; readers accept newer ones and ignore what they do not know",
    "kind": "which of KINDS",
    "attempt": "attempt of the run, from 1",
    "host": "host name",
    "node": "node index, from 0",
    "rank": "global rank, from 0",
    "local_rank": "rank within the node, from 0",
    "step": "optimizer steps done so far",
    "wall": "seconds since 1970, may jump",
    "monotonic": "seconds of this host's monotonic clock, never jumps",
}

MEMORY = {
    "memory_allocated": "bytes of the CUDA allocator, or the resident set on CPU",
    "memory_reserved": "bytes the allocator holds, or the resident set on CPU",
    "memory_peak": "bytes, highest allocated so far: of the phase in `memory`, else of the rank; VmHWM on CPU",
    "host_rss": "bytes, resident set of the process",
    "gpus": "the first three by GPU, where a rank computes on several (pipeline)",
}

KINDS: dict[str, dict[str, str]] = {
    "started": {
        "world_size": "ranks in the run",
        "device": "cpu or cuda:<index>",
        "pid": "process id of the rank",
        "total_steps": "optimizer steps the run will do, once known",
        "versions": "installed library versions",
    },
    "state": {"state": "starting, loading, training, evaluating or saving: what the whole run does now (rank 0)"},
    "phase": {"phase": "one of PHASES that begins", "detail": "what of it, for people"},
    "model": {
        "parameters": "parameters of the model", "trainable": "trainable parameters",
        "bytes": "bytes this rank holds for them", "modules": "modules with adapters",
    },
    "data": {
        "format": "row format detected", "rows": "training rows kept", "eval_rows": "evaluation rows kept",
        "dropped": "rows dropped because nothing of the answer was left", "truncated": "rows cut at max_length",
        "tokens": "tokens in the training rows", "target_tokens": "tokens the loss is taken over",
        "total_steps": "optimizer steps the run will do", "template": "how a row becomes text",
        "sequences": "sequences that the rows are packed into, of the first epoch (data.packing)",
        "labels": "names of the classes, in the order of the model's outputs (sequence classification)",
    },
    "step": {
        "loss": "mean loss per target token over all ranks, float32", "learning_rate": "rate used in this step",
        "grad_norm": "gradient norm before clipping", "epoch": "passes over the data so far",
        "tokens": "tokens seen by all ranks in this step", "target_tokens": "tokens with loss, all ranks",
        "step_time": "seconds", "data_time": "seconds of it waiting for data",
        "forward_time": "seconds of it, over all micro batches, as the device computes (rank 0)",
        "backward_time": "the same", "optimizer_time": "the same",
        "own_time": "seconds in decoder layers' forward passes, where a rank waits for no other; of one step of some",
        "own_positions": "positions those layers computed in that time, padding included, summed over layers",
        **MEMORY,
    },
    "evaluation": {
        "loss": "mean loss per target token over the evaluation rows", "rows": "evaluation rows",
        "accuracy": "share of the rows whose class was found, 0 to 1 (classification)",
        "exact_match": "share of generated answers equal to the wanted ones, 0 to 1",
        "answers": "answers generated", "seconds": "duration",
        "when": "before, during or after training",
    },
    "sample": {
        "prompt": "text given to the model", "wanted": "the answer in the data", "answer": "what the model wrote",
        "when": "before or after training",
    },
    "prompted": {
        "number": "which of training.sample_prompts, from 1", "prompt": "it", "answer": "what the model wrote",
        "when": "before, during or after training",
    },
    "checkpoint": {"path": "folder, relative to the run directory", "seconds": "duration", "resumed": "was it read"},
    "audit": {
        "audit": "sharding, weights or adapter", "result": "passed, failed, pending or not_applicable",
        "detail": "what was measured", "path": "what was audited",
    },
    "memory": {"phase": "one of PHASES that ended", **MEMORY},
    "warning": {"message": "something the user should know"},
    "failed": {
        "phase": "one of PHASES", "error": "exception class", "message": "one line for people",
        "traceback": "full text, empty for bad input", "bad_input": "true when the user's input is the reason",
        "cause": "id of the cause in the catalogue of diagnoses, where bad input is a known one; else null",
        **MEMORY,
    },
    "finished": {"outcome": "finished or stopped", "adapter": "folder of the result, relative to the run directory"},
}  # fmt: skip


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


class EventWriter:
    """Appends events of one rank to its file; every line is written whole and at once."""

    def __init__(self, path: str | os.PathLike[str], *, attempt: int, node: int, rank: int, local_rank: int) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._common = {
            "schema_version": SCHEMA_VERSION, "attempt": attempt, "host": host_name(),
            "node": node, "rank": rank, "local_rank": local_rank,
        }  # fmt: skip
        self.step = 0

    def emit(self, kind: str, **fields: Any) -> None:
        """Write one event.

        Raises:
            ValueError: ``kind`` or one of ``fields`` is not declared in :data:`KINDS`.
        """
        unknown = set(fields) - set(KINDS[kind]) if kind in KINDS else {kind}
        if unknown:
            raise ValueError(f"undeclared in an event of kind {kind!r}: {', '.join(sorted(unknown))}")
        event = {"kind": kind, **self._common, "step": self.step}
        event |= {"wall": time.time(), "monotonic": time.monotonic(), **fields}
        # JSON has no NaN; a loss that is not a number is worth knowing, so it travels as a string.
        line = _ENCODER.encode(_finite(event)) + "\n"
        os.write(self._file, line.encode("utf-8", "replace"))

    def close(self) -> None:
        os.close(self._file)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def number(value: Any) -> float | None:
    """A number from an event, 'nan' and 'inf' included; None where there is none."""
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def parse(data: bytes) -> dict[str, Any] | None:
    """The object that some JSON is; None if it is no JSON, or no object."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class EventReader:
    """Reads what was appended since the last call.

    Tolerates files that do not exist yet, half-written last lines, lines that are no JSON (``skipped`` counts them),
    newer schema versions, and a file that became shorter (read again from its start). Polls, so it works on NFS.
    """

    CHUNK = 4 * 1024 * 1024

    def __init__(self, path: str | os.PathLike[str], chunk: int = CHUNK) -> None:
        """Read from the start of ``path``, at most ``chunk`` bytes at once."""
        self.path = os.fspath(path)
        self.chunk = chunk
        self.offset = 0
        self.skipped = 0

    def read(self) -> list[dict[str, Any]]:
        """New whole events, oldest first; at most one chunk that has any, so call again while it returns some."""
        while True:
            offset, events = self.offset, self.read_chunk()
            if events or self.offset == offset:  # a chunk of nothing but holes and garbage is not the end
                return events

    def read_chunk(self) -> list[dict[str, Any]]:
        """The events of the next chunk: there may be none in it though more come after. ``offset`` tells."""
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self.offset:
                    self.offset = 0
                file.seek(self.offset)
                data = file.read(self.chunk)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == self.chunk:  # one endless line: step over it
            end = len(data)
        self.offset += end
        events = []
        for line in data[:end].splitlines():
            event = parse(line) if line.startswith(b"{") else None  # garbage is told sooner so
            if event is not None and isinstance(event.get("kind"), str):
                events.append(event)
            else:
                self.skipped += 1
        return events
