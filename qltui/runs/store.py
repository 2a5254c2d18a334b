"""Where runs are kept and how one is found."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from engine.events import RunDirectory
from qltui.runs import notes, status
from qltui.runs.state import LIVE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class RunNotFound(LookupError):
    """No run, or more than one, fits what was typed; the message says which come near."""


def runs_home() -> Path:
    """The folder of all runs: ``$QLTUI_HOME/runs``, else under the XDG state folder. It may not exist yet."""
    home = os.environ.get("QLTUI_HOME")
    if home:
        return Path(home).expanduser().absolute() / "runs"
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state).absolute() / "qltui" / "runs"


def directories() -> list[RunDirectory]:
    """Every run kept here, the newest first. A folder still being made (its name begins with a dot) is none."""
    home = runs_home()
    return [RunDirectory(home / name) for name in newest_names()]


def newest_names() -> list[str]:
    """Names of the runs' folders, the newest first."""
    home = str(runs_home())
    created = {name: _created(f"{home}/{name}") for name in _names(Path(home)) if not name.startswith(".")}
    return sorted((name for name in created if created[name]), key=lambda name: (created[name], name), reverse=True)


def _created(folder: str) -> float:
    """When a run was made: ``run.yaml`` is written once; of a damaged run something else. 0 if it is no run."""
    for name in ("run.yaml", "status.json", "attempts"):
        with contextlib.suppress(OSError):
            return os.stat(f"{folder}/{name}").st_mtime
    return 0.0


def describe(run: RunDirectory) -> dict[str, Any]:
    """A run's status with what people noted about it: ``note`` and ``tags``. Never raises."""
    found = status.read(run)
    return {**found, "created": found["created"] or _created(str(run.path)) or None, **notes.read(run).fields()}


def list_runs() -> list[dict[str, Any]]:
    """Every run as :func:`describe` tells of it, live ones first, then the newest first."""
    return live_first([describe(run) for run in directories()])


def live_first(described: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same runs with the live ones before the others."""
    return sorted(described, key=lambda one: one["state"] not in LIVE)  # stable, so the newest stay first


def find(text: str) -> RunDirectory:
    """The run meant by an id, a unique beginning of one, a path, or ``last``.

    Raises:
        RunNotFound: none fits, or several do.
    """
    path = Path(text).expanduser()
    if (os.sep in text or text in (".", "..")) and (path / "run.yaml").is_file():
        return RunDirectory(path.resolve())
    runs = directories()
    if not runs:
        raise RunNotFound(f"There are no runs in {runs_home()} yet. Start one with: qltui launch PRESET")
    if text == "last":
        return runs[0]
    fitting = [run for run in runs if run.id.startswith(text)] if text else []
    exact = [run for run in fitting if run.id == text]
    if exact or len(fitting) == 1:
        return (exact or fitting)[0]
    if fitting:
        raise RunNotFound(f"{text!r} fits {len(fitting)} runs: {_some(fitting)}. Type more of the id.")
    import difflib

    close = difflib.get_close_matches(text, [run.id for run in runs], n=3, cutoff=0.4)
    near = f"Did you mean {' or '.join(close)}?" if close else f"There are: {_some(runs)}."
    raise RunNotFound(f"There is no run {text!r}. {near}")


def find_parent(text: str) -> RunDirectory:
    """The run that another is to continue, named as for :func:`find`; it holds a checkpoint to go on from.

    Raises:
        RunNotFound: none fits, several do, or it has no checkpoint.
    """
    run = find(text)
    if not checkpoints(run):
        raise RunNotFound(f"{run.path} holds no checkpoint to go on from (checkpoints/step-<n>). Name a run that does.")
    return run


def reference(run: RunDirectory) -> str:
    """A run as files of another one name it: the id of one kept here, else its path."""
    return run.id if run.path.parent.resolve() == runs_home().resolve() else str(run.path)


def step_folders(run: RunDirectory) -> list[Path]:
    """The folders ``checkpoints/step-<n>``, the newest first."""
    names = _names(run.checkpoints)
    numbered = [name for name in names if name.startswith("step-") and name.removeprefix("step-").isdigit()]
    return [run.checkpoints / name for name in sorted(numbered, key=lambda name: int(name[5:]), reverse=True)]


def checkpoints(run: RunDirectory) -> list[Path]:
    """The checkpoints a run can go on from, the newest first; one of which only the adapter was kept is none."""
    return [folder for folder in step_folders(run) if _names(folder) != ["adapter"]]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _some(runs: list[RunDirectory]) -> str:
    return ", ".join(run.id for run in runs[:5]) + (", ..." if len(runs) > 5 else "")
