"""Runs deleted: what would go with one is told first, and a run that is half gone is never listed.

Nothing outside the run's own folder is touched: a link is removed, what it points to stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from engine.events import RunDirectory, write_json
from engine.events.run_directory import RunIsLive
from qltui import words
from qltui.runs import state_folder, status, store
from qltui.runs.state import LIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

TRASH = ".deleted-"
"""Begins the name of a folder that is being deleted; names with a dot in front are no runs."""
WEIGHTS = "adapter_model.safetensors"
BLOCK = 512
"""Bytes in a unit of ``st_blocks``, whatever the file system's own are (stat(2))."""


class RemovalRefused(Exception):
    """Nothing was deleted; the message says why and what to do."""


class Removal(NamedTuple):
    """What deleting a run comes to."""

    run: RunDirectory
    keeps_adapters: bool
    frees: int
    """Bytes on disk."""
    kept: tuple[str, ...]
    """Folders of adapters that stay, as paths in the run's folder."""
    lost: tuple[str, ...]
    """Folders of adapters and models that go and whose files are nowhere else, as paths in the run's folder."""
    links: tuple[str, ...]
    """Links, as paths in the folder of all runs; what they point to stays."""
    children: tuple[str, ...]
    """Ids of the runs that were made to continue it."""

    @property
    def sentences(self) -> list[str]:
        """What people should know before they agree."""
        told = [f"It frees {words.size(self.frees)}."]
        if self.kept:
            told.append(f"It keeps run.yaml, how it ended, and {_some(self.kept)}; it can't be resumed then.")
        if self.lost:
            told.append(f"Lost with it, as nowhere else: {_some(self.lost)}.")
        if self.links:
            told.append(f"Only the link goes, what it points to stays: {_some(self.links)}.")
        if self.children:
            told.append(f"Made to continue it: {_some(self.children)}; they keep what they have learnt since.")
        return told


def preview(run: RunDirectory, *, keep_adapters: bool = False) -> Removal:
    """What :func:`remove` would delete; nothing is changed.

    Raises:
        RemovalRefused: as there.
    """
    children = _checked(run)
    results = [folder for folder in _results(run) if not _is_elsewhere(run.path / folder)]
    kept: tuple[str, ...] = ()
    if keep_adapters:
        kept = _kept(run)
        if not kept:
            raise RemovalRefused(f"{run.id} has no adapter to keep. Without --keep-adapters it is deleted whole.")
    frees = sum(map(_bytes, _goes(run, kept))) if keep_adapters else _bytes(run.path)
    links = tuple(str(path.relative_to(run.path.parent)) for path in _walk(run.path) if path.is_symlink())
    lost = tuple(folder for folder in results if folder not in kept)
    return Removal(run, keep_adapters, frees, kept, lost, links, children)


def remove(run: RunDirectory, *, keep_adapters: bool = False) -> int:
    """Delete a run, or all of it but its adapters, ``run.yaml`` and how it ended; returns the bytes freed.

    Of the adapters the result's and that of the newest checkpoint are kept.

    Raises:
        RemovalRefused: it is live, a live run is still to begin from its checkpoint, it is kept elsewhere, it has no
            adapter to keep, or the system says no.
    """
    try:
        with state_folder.locked(), run.claim():
            plan = preview(run, keep_adapters=keep_adapters)
            trash = store.runs_home() / f"{TRASH}{run.id}-{os.urandom(4).hex()}"
            if keep_adapters:
                _strip(run, plan.kept, trash)
            else:
                run.path.rename(trash)  # at once, so that nobody lists half of it
    except RunIsLive:
        raise RemovalRefused(f"{run.id} is being launched; stop it first: qltui stop {run.id}") from None
    except OSError as error:
        raise RemovalRefused(f"{run.id} can't be deleted: {error.strerror or error} ({error.filename}).") from None
    _empty_trash()
    left = _trash(trash.name)
    if left:
        places = " ".join(map(str, left))
        raise RemovalRefused(f"{words.size(sum(map(_bytes, left)))} of {run.id} can't be deleted; remove: {places}")
    return plan.frees


def _checked(run: RunDirectory) -> tuple[str, ...]:
    """Ids of the runs that continue it; raises RemovalRefused where it may not be deleted."""
    if run.path.parent.resolve() != store.runs_home().resolve():
        raise RemovalRefused(f"{run.path} isn't kept in {store.runs_home()}; remove such a folder yourself.")
    current = status.read(run)
    if current["state"] in LIVE:
        advice = f"stop it first: qltui stop {run.id}"
        if current["unseen"]:
            advice = f"{current['unseen']} Stop it there, or if that host is gone remove {run.path} yourself"
        raise RemovalRefused(f"{run.id} is live ({current['state']}); {advice}.")
    children = _children(run)
    for child in children:
        if not store.checkpoints(child) and status.is_live(child):
            advice = f"Wait, or stop that one: qltui stop {child.id}"
            raise RemovalRefused(f"The live run {child.id} is still to go on from {run.id}'s checkpoint. {advice}")
    return tuple(child.id for child in children)


def _children(run: RunDirectory) -> list[RunDirectory]:
    """The runs kept here whose ``parent`` this is. Only files that have its id in them are taken apart."""
    from engine.config import ConfigError
    from engine.config.reading import read_file

    found = []
    for other in store.directories():
        try:
            if run.id.encode() not in other.run_yaml.read_bytes():
                continue
            parent = read_file(other.run_yaml).parent
        except (OSError, ConfigError):
            continue
        if parent is not None and RunDirectory(run.path.parent / parent).path == run.path:
            found.append(other)
    return found


def _results(run: RunDirectory) -> Iterator[str]:
    """Folders of what was learnt that lie in the run's folder themselves, the result first, then the newest."""
    if run.path.is_symlink():
        return
    for folder in (run.adapter, run.model):
        if folder.is_dir() and not folder.is_symlink():
            yield folder.name
    for checkpoint in store.step_folders(run):
        adapter = checkpoint / "adapter"
        if not any(path.is_symlink() for path in (run.checkpoints, checkpoint, adapter)) and adapter.is_dir():
            yield str(adapter.relative_to(run.path))


def _kept(run: RunDirectory) -> tuple[str, ...]:
    """The result's adapter and the newest checkpoint's."""
    adapters = [folder for folder in _results(run) if (run.path / folder / WEIGHTS).is_file()]
    return tuple(adapters[: 2 if run.adapter.name in adapters else 1])


def _is_elsewhere(folder: Path) -> bool:
    """Whether its weights have another name on this disk (a hard link), under which they stay."""
    try:
        return os.stat(folder / WEIGHTS).st_nlink > 1
    except OSError:
        return False


def _strip(run: RunDirectory, kept: tuple[str, ...], trash: Path) -> None:
    """Move aside what goes, each file or folder whole."""
    write_json(run.status_json, status.read(run))  # what it is judged by goes
    for number, path in enumerate(_goes(run, kept)):
        path.rename(trash.with_name(f"{trash.name}-{number}"))


def _goes(run: RunDirectory, kept: tuple[str, ...]) -> list[Path]:
    """Everything but ``kept`` and the small files that say what the run was."""
    small = {run.run_yaml, run.status_json, run.base_json, run.path / "notes.json"}
    return _but(run.path, small | {run.path / folder for folder in kept})


def _but(folder: Path, stays: set[Path]) -> list[Path]:
    """The entries to take out of a folder so that only ``stays`` is left, and the folders they lie in."""
    out = []
    for path in sorted(folder.iterdir()):
        if path in stays:
            continue
        if any(path in one.parents for one in stays):
            out += _but(path, stays)
        else:
            out.append(path)
    return out


def _empty_trash() -> None:
    """Delete what was moved aside, by deletions that were cut off too. Links in it are not followed."""
    for trash in _trash(TRASH):
        if trash.is_dir() and not trash.is_symlink():
            shutil.rmtree(trash, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                trash.unlink()


def _trash(beginning: str) -> list[Path]:
    home = store.runs_home()
    return [home / name for name in os.listdir(home) if name.startswith(beginning)]


def _bytes(path: Path) -> int:
    """Bytes that deleting it frees on disk; a file that has another name elsewhere frees nothing."""
    total = 0
    for one in _walk(path):
        try:
            found = os.lstat(one)
        except OSError:
            continue
        if found.st_nlink == 1 or stat.S_ISDIR(found.st_mode):
            total += found.st_blocks * BLOCK
    return total


def _walk(path: Path) -> Iterator[Path]:
    """It and everything in it; links are not followed."""
    yield path
    if path.is_symlink():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield Path(folder, name)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
