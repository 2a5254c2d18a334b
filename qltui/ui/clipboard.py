"""Text that is taken out of the app: to the clipboard by the way there is, and into a file whatever becomes of that."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from qltui.configs.writing import write_text
from qltui.runs.store import runs_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from textual.app import App

PROGRAM_SECONDS = 2.0
"""A program that talks to a display which is gone is not waited for any longer."""
MOST_BYTES = 74_994
"""Terminals take no more of a clipboard's text: 100,000 characters of base64, its frame included."""


class Copied(NamedTuple):
    """What became of a text."""

    program: str | None
    """The one that took it for the clipboard; None where it has to go through the terminal."""
    sequence: str | None
    """What sends it through the terminal; None where a program took it, and where it is too long."""
    file: Path | None
    """None where none could be written."""
    problem: str = ""
    """Why no file could be written."""


def copied_folder() -> Path:
    """Where copies lie: in the state folder."""
    return runs_home().parent / "copied"


def copy(text: str, files: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Copied:
    """Hand ``text`` to a program for the clipboard, or say how it goes through the terminal; keep ``files``.

    Takes up to some seconds. ``files`` are texts by their place in :func:`copied_folder`; the first is the copy's.
    """
    program = _by_program(text, environment)
    sequence = None if program else osc52(text, in_tmux=bool(environment.get("TMUX")))
    try:
        return Copied(program, sequence, _keep(files))
    except OSError as error:
        return Copied(program, sequence, None, error.strerror or str(error))


def _keep(files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = copied_folder() / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_text(path, text)
    return copied_folder() / next(iter(files))


def _by_program(text: str, environment: Mapping[str, str]) -> str | None:
    """The first program that took the text."""
    for command in _programs(environment):
        try:
            # No pipes to read from: programs for X and Wayland stay behind, to answer whoever pastes.
            done = subprocess.run(
                command, input=text.encode(), env=dict(environment), timeout=PROGRAM_SECONDS,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command[0]
    return None


def _programs(environment: Mapping[str, str]) -> Iterator[list[str]]:
    """Those that can reach the clipboard of the screen that is looked at."""
    if environment.get("WAYLAND_DISPLAY"):
        yield ["wl-copy"]
    if environment.get("DISPLAY"):
        yield ["xclip", "-selection", "clipboard"]
        yield ["xsel", "--clipboard", "--input"]
    if sys.platform == "darwin" and not environment.get("SSH_CONNECTION"):
        yield ["pbcopy"]
    if environment.get("TMUX"):
        # tmux passes it on to its terminal as OSC 52, which programs in it may not send by default.
        yield ["tmux", "load-buffer", "-w", "-"]


def osc52(text: str, *, in_tmux: bool) -> str | None:
    """What makes a terminal put a text on the clipboard; None if the text is longer than terminals take.

    In tmux it is wrapped to pass through (``allow-passthrough on``).
    """
    content = text.encode()
    if len(content) > MOST_BYTES:
        return None
    sequence = f"\x1b]52;c;{base64.b64encode(content).decode('ascii')}\x07"
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\" if in_tmux else sequence


def send(app: App[None], sequence: str) -> None:
    """Write a sequence to the app's terminal, in order with all else that is drawn."""
    if app._driver is not None:  # Textual's own copy_to_clipboard knows nothing of tmux
        app._driver.write(sequence)
        app._driver.flush()
