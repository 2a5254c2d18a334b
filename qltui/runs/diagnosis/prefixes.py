"""What launchers, schedulers and loggers put before a line: taken off, and the rank it names remembered."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qltui.runs.diagnosis.excerpt import RawLine

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")
_TIME = r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?"
_PREFIX = re.compile(
    r"\s?(?:"
    r"\[rank(?P<rank>\d+)\]:? ?"  # torch since 2.4
    r"|\[(?:default|worker|stdout|stderr)?-?(?P<tee>\d+)\]: ?"  # torchrun --tee
    r"|\[\d+,(?P<mpi>\d+)\]<std(?:err|out)>: ?"  # mpirun --tag-output
    r"|\((?:\w+ )*pid=(?P<ray>\d+)(?:, ip=[\d.]+)?\) "  # Ray
    rf"|{_TIME} std(?:err|out) [FP] "  # containerd, as kubectl keeps it
    rf"|\[?{_TIME}\]?(?:\s+-\s+|:?[ \t]|:?$)"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?!\d{4})\S+ [\w./@-]+(?:\[\d+\])?: "  # syslog, journald
    r"|[\w.-]+-\d+ +\| "  # docker compose
    r"|\[pod/[^\]]+\] "
    r"|\[(?:INFO|ERROR|WARNING|CRITICAL)\] \[[\w.:]+\] \[PID:\d+\](?: \[RANK:(?P<axolotl>\d+)\])? "
    r")"
)
_NUMBERED = re.compile(r"(?P<rank>\d{1,4}): ?(?=\S|$| {2})")
"""``srun --label``; believed where most lines have it."""
_HOST = re.compile(r"(?P<host>[A-Za-z][\w.-]*\d[\w.-]*|\d+\.\d+\.\d+\.\d+): (?=\S| )")
"""DeepSpeed's launcher over pdsh; believed likewise."""
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


def strip_prefixes(lines: Iterable[RawLine]) -> Iterator[Line]:
    """Lines of the log without escape sequences and prefixes."""
    lines = list(lines)
    numbered, hosts = _labels([line.text for line in lines])
    for number, text in lines:
        if not text.isprintable():
            text = _ESCAPES.sub("", text).replace("\0", "").replace("\x08", "")
        yield _strip(number, text, numbered, hosts)


def _labels(texts: list[str]) -> tuple[bool, frozenset[str]]:
    """Whether lines are labelled with ranks, and hosts they are labelled with."""
    apart = max(1, len(texts) // SAMPLE)
    sample = [text for text in texts[::apart] if text.strip()]
    numbers = sum(_NUMBERED.match(text) is not None for text in sample)
    hosts = Counter(found["host"] for text in sample if (found := _HOST.match(text)))
    is_numbered = len(sample) > 3 and numbers >= SHARE * len(sample)
    named = sum(count for count in hosts.values() if count > 2)
    are_named = len(sample) > 3 and named >= SHARE * len(sample)
    return is_numbered, frozenset(hosts) if are_named else frozenset()


def _strip(number: int, text: str, numbered: bool, hosts: frozenset[str]) -> Line:
    rank: int | None = None
    writer = ""
    if numbered and (found := _NUMBERED.match(text)):
        rank, writer, text = int(found["rank"]), found["rank"], text[found.end() :]
    elif hosts and (found := _HOST.match(text)) and found["host"] in hosts:
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
    return Line(number, text.rstrip(), rank, writer)
