"""What launchers, schedulers and loggers put before a line: taken off, and the rank it names remembered."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qltui.runs.diagnosis.excerpt import RawLine

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_TIME = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_PREFIX = re.compile(
    r"\s?(?:"
    r"\[rank(?P<rank>\d+)\]:? ?"  # torch since 2.4
    r"|\[[a-z_]*-?(?P<tee>\d+)\]: ?"  # torchrun --tee
    r"|\[\d+,(?:mpirank:)?(?P<mpi>\d+)(?:,[\w.-]+)?\]<std(?:err|out)>: ?"  # mpirun --tag-output, SageMaker
    r"|\([^()=]*\bpid=(?P<ray>\d+)(?:, ip=[\d.]+)?\) "  # Ray
    rf"|{_TIME} std(?:err|out) [FP] "  # containerd, as kubectl keeps it
    r"|\[?\d\d:\d\d:\d\d[.,]\d{2,6}\]? "
    rf"|\[?{_TIME}\]?(?:\s+-\s+|:?[ \t]|:?$)"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?!\d{4})\S+ [\w./@-]+(?:\[\d+\])?: "  # syslog, journald
    r"|[\w.-]+[-_]\d+ +\| "  # docker compose
    r"|[IWEF]\d{4} [\d:.]+ +\d+ \w+\.go:\d+\] "  # klog, as Kubeflow and Katib pass on what a container prints
    r"|\[pod/[^\]]+\] "
    r"|\d+(?:\.\d+)?s\t\d+\t"  # Kaggle
    r"|[A-Za-z][\w.-]*/\d+ (?=\[[a-z_]*-?\d+\]:)"  # TorchX, as NeMo-Run starts torchrun with
    r"|\[(?:INFO|ERROR|WARNING|CRITICAL)\] \[[\w.:]+\] \[PID:\d+\](?: \[RANK:(?P<axolotl>\d+)\])? "
    r")"
)
_NUMBERED = re.compile(r" {0,3}(?P<rank>\d{1,4}):(?: |$)|\[(?P<bracketed>\d+)\] ")
"""``srun --label``, ``mpiexec -l`` and collectors that number lines; believed where most lines have it."""
_HOST = re.compile(r"(?P<host>[A-Za-z][\w.-]*\d[\w.-]*|\d+\.\d+\.\d+\.\d+): (?=.)")
"""DeepSpeed's launcher over pdsh; believed likewise."""
_RANK = re.compile(r"rank\W{0,2}(\d+)", re.IGNORECASE)
HEADER = "Traceback (most recent call last)"
_FRAME = '  File "'
NEAR = 60
"""Lines after a traceback's first within which its first call is printed, whoever else writes."""
LONGEST = 160
"""Characters that a prefix can have."""
LEARNED = 8
"""Prefixes that are learned from one log."""
_RECORDS = ("log", "message", "msg", "textPayload")
"""Where collectors that write a JSON object a line keep the line itself."""
MOST = 5
"""Prefixes a line can have."""
SAMPLE = 400
SHARE = 0.6


class Line(NamedTuple):
    """A line without its prefixes."""

    number: int
    text: str
    rank: int | None
    """As its prefix told; None where it told none."""
    writer: str
    """What tells the writers of interleaved lines apart: rank, process or host, as far as prefixes tell."""
    is_of_message: bool = False
    """Whether it belongs, as far as can be seen, to the message of the exception before, which holds it as well."""


class _Labels(NamedTuple):
    """What most lines begin with."""

    are_numbered: bool
    are_ranks: bool
    """Whether those numbers are few, as ranks are, and no count of lines."""
    hosts: frozenset[str]
    are_quoted: bool
    """Whether they begin with ``> ``, as quoted text does."""


class _Prefix(NamedTuple):
    """A prefix that a log was seen to use."""

    pattern: re.Pattern[str]
    tells_writers: bool
    """Whether it stays the same from line to line of one writer."""


def strip_prefixes(lines: Iterable[RawLine]) -> Iterator[Line]:
    """Lines of the log without escape sequences and prefixes."""
    raw = list(lines)
    labels = _labels([line.text for before, line in zip([None, *raw], raw, strict=False) if _begins(before, line)])
    stripped: list[Line] = []
    for number, text in raw:
        stripped.extend(_strip(number, text, labels, stripped[-1] if stripped else None))
    del raw
    learned = _learn(stripped)
    for line in stripped:
        yield _without(line, learned) if learned else line


def _begins(before: RawLine | None, line: RawLine) -> bool:
    """Whether it is the first state of its line: only that has a prefix."""
    return before is None or before.number != line.number


def _labels(texts: list[str]) -> _Labels:
    """What lines are labelled with: by a sample of them, of which most must have a label."""
    apart = max(1, len(texts) // SAMPLE)
    sample = [text for text in texts[::apart] if text.strip()]
    if len(sample) <= 3:
        return _Labels(False, False, frozenset(), False)
    numbers = Counter(found[0] for text in sample if (found := _NUMBERED.match(text)))
    hosts = Counter(found["host"] for text in sample if (found := _HOST.match(text)))
    are_numbered = numbers.total() >= SHARE * len(sample)
    named = sum(count for count in hosts.values() if count > 2)
    are_named = named >= SHARE * len(sample)
    are_quoted = sum(text.startswith(">") for text in sample) >= SHARE * len(sample)
    are_ranks = 2 * len(numbers) <= numbers.total()
    return _Labels(are_numbered, are_ranks, frozenset(hosts) if are_named else frozenset(), are_quoted)


def _strip(number: int, text: str, labels: _Labels, before: Line | None) -> Iterator[Line]:
    """The line, or the lines of a record that holds several; ``before`` may be an earlier state of it."""
    if not text.isprintable():
        text = _ESCAPES.sub("", text).replace("\0", "").replace("\x08", "")
    rank: int | None = None
    writer = ""
    if labels.are_quoted:
        text = text.removeprefix(">").removeprefix(" ")
    if labels.are_numbered and (found := _NUMBERED.match(text)):
        text = text[found.end() :]
        if labels.are_ranks:
            writer = found["rank"] or found["bracketed"]
            rank = int(writer)
    elif labels.hosts and (found := _HOST.match(text)) and found["host"] in labels.hosts:
        writer, text = found["host"], text[found.end() :]
    for _ in range(MOST):
        found = _PREFIX.match(text)
        if found is None:
            break
        told = found["rank"] or found["tee"] or found["mpi"] or found["axolotl"]
        if told is not None:
            rank, writer = int(told), f"{writer}/{told}"
        elif found["ray"]:
            writer = f"{writer}/{found['ray']}"
        text = text[found.end() :]
    if not writer and before is not None and before.number == number:
        rank, writer = before.rank, before.writer
    line = Line(number, text.rstrip(), rank, writer)
    record = _record(text) if text.startswith("{") else None
    if record is None:
        yield line
        return
    told_rank = record.get("rank")
    if isinstance(told_rank, int):
        line = line._replace(rank=told_rank, writer=f"{writer}/{told_rank}")
    said = next(record[key] for key in _RECORDS if key in record)
    for part in said.rstrip("\n").split("\n"):
        yield line._replace(text=part.rstrip())


def _record(text: str) -> dict[str, Any] | None:
    """The record of a collector, if the line is one that holds text."""
    if not any(f'"{key}"' in text for key in _RECORDS):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    is_record = isinstance(record, dict) and isinstance(next((record[k] for k in _RECORDS if k in record), None), str)
    return record if is_record else None


def _learn(lines: list[Line]) -> list[_Prefix]:
    """What stands before a traceback's first line and, but for its numbers, before its first call as well."""
    learned: list[_Prefix] = []
    for place, line in enumerate(lines):
        length = line.text.find(HEADER)
        if not 0 < length <= LONGEST or len(learned) >= LEARNED:
            continue
        before = line.text[:length]
        if any(prefix.pattern.fullmatch(before) for prefix in learned):
            continue
        pattern = re.compile(re.sub(r"\d+", lambda _: r"\d+", re.escape(before)))
        for later in lines[place + 1 : place + NEAR]:
            found = pattern.match(later.text)
            if found and later.text.startswith(_FRAME, found.end()):
                learned.append(_Prefix(pattern, found[0] == before))
                break
    return learned


def _without(line: Line, learned: list[_Prefix]) -> Line:
    for prefix in learned:
        if found := prefix.pattern.match(line.text):
            rank = _RANK.search(found[0])
            writer = found[0] if prefix.tells_writers else rank[0] if rank else ""
            return line._replace(
                text=line.text[found.end() :],
                rank=int(rank[1]) if rank else line.rank,
                writer=f"{line.writer}/{writer}" if writer else line.writer,
            )
    return line
