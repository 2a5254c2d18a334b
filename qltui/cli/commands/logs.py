"""``logs``: what the ranks printed, of the newest attempt."""

from __future__ import annotations

import sys
import time
from collections import deque

from qltui.cli import exits
from qltui.cli.selecting import find_run
from qltui.runs import status
from qltui.runs.logs import LogTail

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from engine.events import Attempt

POLL_SECONDS = 0.5


def run_logs(arguments: argparse.Namespace) -> int:
    """Print logs rank by rank; with ``-f`` go on until the run has ended, a resumed attempt included."""
    run = find_run(arguments.run)
    followed: Attempt | None = None
    tails: dict[int, LogTail] = {}
    while True:
        # Asked before the logs are read: what a rank writes last is read after it was known to have ended.
        is_last_round = not (arguments.follow and status.is_live(run))
        attempt = run.last_attempt()
        if attempt and (followed is None or attempt.number != followed.number):
            is_first, followed, tails = followed is None, attempt, {}
            _print_beginning(attempt, arguments, tails, arguments.lines if is_first else None)
        elif attempt:
            _print_new(attempt, arguments, tails)
        sys.stdout.flush()
        if is_last_round:
            break
        time.sleep(POLL_SECONDS)
    if not tails:
        which = "" if arguments.rank is None else f" of rank {arguments.rank}"
        there = ", ".join(map(str, status.ranks_of(followed.logs_dir))) if followed else ""
        hint = f"Ranks with a log: {there}." if there else f"See {run.supervisor_log}."
        raise exits.Refused(f"{run.id} has no log{which}. {hint}")
    for rank, tail in tails.items():
        _print(rank, tail.remainder(), tails)
    return exits.FINE


def _wanted(attempt: Attempt, arguments: argparse.Namespace) -> list[int]:
    ranks = status.ranks_of(attempt.logs_dir)
    return ranks if arguments.rank is None else [rank for rank in ranks if rank == arguments.rank]


def _print_beginning(
    attempt: Attempt, arguments: argparse.Namespace, tails: dict[int, LogTail], last: int | None
) -> None:
    """Print what is there already: all of it, or the ``last`` lines of each rank."""
    tails |= {rank: LogTail(attempt.log(rank), from_start=True) for rank in _wanted(attempt, arguments)}
    for rank, tail in tails.items():
        kept: deque[str] = deque(maxlen=last)
        while lines := tail.read():
            if last is None:
                _print(rank, lines, tails)
            kept.extend(lines if last is not None else ())
        _print(rank, kept, tails)


def _print_new(attempt: Attempt, arguments: argparse.Namespace, tails: dict[int, LogTail]) -> None:
    for rank in _wanted(attempt, arguments):
        tail = tails.setdefault(rank, LogTail(attempt.log(rank), from_start=True))
        while lines := tail.read():
            _print(rank, lines, tails)


def _print(rank: int, lines: list[str] | deque[str], tails: dict[int, LogTail]) -> None:
    """Lines as they are where one rank is shown, else each with its rank before it."""
    prefix = f"[{rank}] " if len(tails) > 1 else ""
    for line in lines:
        print(f"{prefix}{line}")
