"""What there is to follow at a path: files by their names, and logs by what is in them."""

from __future__ import annotations

import os
import time

from qltui.runs.foreign.llamafactory import NAME as LLAMAFACTORY
from qltui.runs.foreign.llamafactory import LlamaFactoryLog
from qltui.runs.foreign.printed import PrintedLog, bar_of, figures_of
from qltui.runs.foreign.trainer_state import NAME as STATE
from qltui.runs.foreign.trainer_state import TrainerState, states

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from qltui.runs.foreign.files import Figures

LOG_ENDINGS = (".log", ".txt", ".out", ".err")
LOOKED_AT = 1024 * 1024
"""Bytes at the beginning and at the end of a log that are searched for figures."""
LOGS_TRIED = 50
"""Logs of a folder that are looked into."""
NEW_SECONDS = 300
"""A log without figures is taken all the same if it grew in this time: its training may be about to begin."""
LOOKED_FOR = (
    f"{STATE} (there or in checkpoint-*), {LLAMAFACTORY}, and logs ({', '.join('*' + end for end in LOG_ENDINGS)}) "
    "with lines like {'loss': 1.2, ...}"
)


class NoRun(LookupError):
    """There is nothing to follow; the message says what was looked for."""


def find(path: Path) -> list[Figures]:
    """The files to follow at a path: a folder that a Trainer writes into, or a file of one.

    Raises:
        NoRun: there is none, or it cannot be read.
    """
    try:
        found = _in_folder(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise NoRun(f"{path} cannot be read: {error.strerror}.") from None
    if not found and path.is_dir():
        raise NoRun(
            f"{path} holds no run: looked for {LOOKED_FOR}. Before its first checkpoint a Trainer leaves nothing "
            "there; watch the file that its output goes to instead."
        )
    if not found:
        raise NoRun(f"{path} is no log of a run: it has no line like {{'loss': 1.2, ...}} and no progress bar.")
    return found


def _in_folder(folder: Path) -> list[Figures]:
    names = os.listdir(folder)
    found: list[Figures] = []
    if LLAMAFACTORY in names:
        found.append(LlamaFactoryLog(str(folder / LLAMAFACTORY)))
    if states(str(folder)):
        found.append(TrainerState(str(folder)))
    logs = [folder / name for name in names if name.endswith(LOG_ENDINGS) and (folder / name).is_file()]
    logs = sorted(logs, key=lambda log: log.stat().st_mtime, reverse=True)[:LOGS_TRIED]
    log = next((log for log in logs if has_figures(log)), None)
    return [*found, PrintedLog(str(log))] if log else found


def _of_file(path: Path) -> list[Figures]:
    if path.name == STATE:
        return [TrainerState(str(path))]
    if path.name == LLAMAFACTORY or path.suffix == ".jsonl":
        log = LlamaFactoryLog(str(path))
        log.poll()
        return [log] if log.series or path.name == LLAMAFACTORY else []
    is_new = time.time() - path.stat().st_mtime < NEW_SECONDS
    return [PrintedLog(str(path))] if has_figures(path, if_text=is_new) else []


def has_figures(path: Path, if_text: bool = False) -> bool:
    """Whether a log has figures or a bar at its beginning or end; with ``if_text`` any text will do."""
    with open(path, "rb") as file:
        begin = file.read(LOOKED_AT)
        file.seek(max(0, os.fstat(file.fileno()).st_size - LOOKED_AT))
        both = begin if len(begin) < LOOKED_AT else begin + b"\n" + file.read(LOOKED_AT)
    if if_text and b"\0" not in both:
        return True
    parts = both.decode("utf-8", "replace").replace("\r", "\n").split("\n")
    return any(figures_of(part) or bar_of(part) for part in parts)
