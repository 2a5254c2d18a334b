"""A report of how a run died, to attach to an issue: one archive without secrets and without rows of data."""

from __future__ import annotations

import getpass
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.events import KINDS, EventReader, read_json
from engine.events.event_log import COMMON
from qltui.runs import status
from qltui.runs.masking import MASK, ROW, Masker, is_secret_name
from qltui.words import size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.events import Attempt, RunDirectory
    from qltui.runs.diagnosis.diagnosis import Diagnosis

LOG_LINES = 2000
LOG_BYTES = 4 * 1024 * 1024
"""Bytes of a log's end that these lines are looked for in."""
STEPS = 2000
"""Newest events of the kinds that come with every step; of the others all."""
EVENTS_BYTES = 64 * 1024 * 1024
"""Bytes of an events file's end that are read."""
TELEMETRY_SECONDS = 600
OF_ROWS = ("sample",)
"""Kinds of events that hold rows of data."""
EACH_STEP = ("step", "memory", "phase")
CONTENTS = "CONTENTS.txt"
HEAD = f"""What QLTUI gathered about the end of {{of}}.

Taken out: rows of data (events with samples; texts of rows that QLTUI knows of, as {ROW}), and what looks like a
secret ({MASK}): tokens and keys by their look or their name, URLs with credentials, headers that authorise. The home
folder reads ~, the user's name reads user. Masked {{masked}} times.

Lines of logs are as the program printed them. An error message can quote a row of the data, which cannot be told from
other text: read logs/ and events/ before you publish them.
"""


class Bundle(NamedTuple):
    """An archive that was written."""

    path: Path
    files: list[tuple[str, int]]
    """Names in it with their bytes."""
    masked: int
    """How often something was taken out."""


def default_path(run: RunDirectory) -> Path:
    """Where a run's archive is written if nobody says where: in its folder."""
    return run.path / f"{run.id}-report.tar.gz"


def bundle_run(run: RunDirectory, diagnosis: Diagnosis, file: Path | None = None) -> Bundle:
    """Write the archive of a run of ours: a .zip where ``file`` ends so, else a .tar.gz.

    Raises:
        OSError: it cannot be written.
    """
    masker = _masker(_known_rows(run))
    texts = {"diagnosis.json": _json(diagnosis.as_json()), **dict(_texts_of(run)), **_machine()}
    return _write(file or default_path(run), f"the run {run.id}", texts, masker)


def bundle_log(log: Path, diagnosis: Diagnosis, file: Path | None = None) -> Bundle:
    """The same of a log of another program, which is all there is; without a ``file`` into the present folder.

    Raises:
        OSError: it cannot be written.
    """
    texts = {"diagnosis.json": _json(diagnosis.as_json()), f"logs/{log.name}": last_lines(log), **_machine()}
    return _write(file or Path.cwd() / f"{log.stem or 'log'}-report.tar.gz", f"the log {log}", texts, _masker([]))


def _masker(rows: list[str]) -> Masker:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # of a container that gives its user no name
        user = ""
    return Masker(str(Path.home()), user, os.environ, rows)


# What is in it


def _texts_of(run: RunDirectory) -> Iterator[tuple[str, str]]:
    """(name, text) of what there is."""
    for path in (run.run_yaml, run.plan_json, run.accelerate_yaml, run.deepspeed_json):
        if path.is_file():
            yield path.name, path.read_text("utf-8", "replace")
    if (written := read_json(run.status_json)) is not None:
        yield "status.json", _json({**written, "sample": None})
    if run.supervisor_log.is_file():
        yield run.supervisor_log.name, last_lines(run.supervisor_log)
    attempt = run.last_attempt()
    if attempt is not None:
        yield from _texts_of_attempt(attempt)
    for samples in sorted(_listed(run.telemetry, ".jsonl")):
        yield f"telemetry/{samples.name}", _newest_samples(samples)


def _texts_of_attempt(attempt: Attempt) -> Iterator[tuple[str, str]]:
    launch = read_json(attempt.launch_json)
    if launch is not None:
        yield "versions.json", _json(launch.get("versions"))
        environment = launch.get("environment")
        if isinstance(environment, dict):
            launch["environment"] = {
                name: MASK if is_secret_name(str(name)) else value for name, value in environment.items()
            }
        yield "launch.json", _json(launch)
    if (exits := read_json(attempt.exits_json)) is not None:
        yield "exits.json", _json(exits)
    for rank in status.ranks_of(attempt.logs_dir):
        yield f"logs/rank{rank}.log", last_lines(attempt.log(rank))
    for rank in status.ranks_of(attempt.events_dir):
        yield f"events/rank{rank}.jsonl", _events(attempt.events(rank))


def _machine() -> dict[str, str]:
    from qltui.facts import doctor
    from qltui.runs.store import runs_home

    return {"doctor.json": _json([fact._asdict() for fact in doctor.examine(runs_home().parent)])}


def last_lines(path: Path, lines: int = LOG_LINES) -> str:
    """The last lines of a text; '' of one that cannot be read."""
    return b"".join(_end(path, LOG_BYTES)[-lines:]).decode("utf-8", "replace")


def _end(path: Path, most: int) -> list[bytes]:
    """Whole lines at the end of a file."""
    try:
        with open(path, "rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - most)
            file.seek(start)
            lines = file.read(most).splitlines(keepends=True)
    except OSError:
        return []
    return lines[1:] if start and len(lines) > 1 else lines


def _events(path: Path) -> str:
    """Events as they are declared, those of rows left out, and of those of every step the newest."""
    reader = EventReader(path)
    reader.offset = max(0, _size(path) - EVENTS_BYTES)
    kept: list[dict[str, Any]] = []
    while events := reader.read():
        for event in events:
            known = KINDS.get(event["kind"])
            if known is not None and event["kind"] not in OF_ROWS:
                kept.append({key: value for key, value in event.items() if key in COMMON or key in known})
    each_step = [place for place, event in enumerate(kept) if event["kind"] in EACH_STEP]
    old = set(each_step[:-STEPS])
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for place, event in enumerate(kept) if place not in old)


def _newest_samples(path: Path) -> str:
    reader = _end(path, LOG_BYTES)
    samples = [(line, _wall(line)) for line in reader]
    newest = max((wall for _, wall in samples if wall is not None), default=0.0)
    kept = [line for line, wall in samples if wall is not None and wall >= newest - TELEMETRY_SECONDS]
    return b"".join(kept).decode("utf-8", "replace")


def _wall(line: bytes) -> float | None:
    try:
        wall = json.loads(line)["wall"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return wall if isinstance(wall, (int, float)) else None


def _known_rows(run: RunDirectory) -> list[str]:
    """Texts of rows that the run told of, which may stand in its logs, too."""
    told = [(read_json(run.status_json) or {}).get("sample")]
    attempt = run.last_attempt()
    for rank in status.ranks_of(attempt.events_dir) if attempt else ():
        assert attempt is not None
        reader = EventReader(attempt.events(rank))
        reader.offset = max(0, _size(attempt.events(rank)) - EVENTS_BYTES)
        while events := reader.read():
            told += [event for event in events if event["kind"] in OF_ROWS]
    fields = (*KINDS["sample"], "before", "after")
    return [str(one[key]) for one in told if isinstance(one, dict) for key in fields if one.get(key) and key != "when"]


def _listed(folder: Path, ending: str) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if name.endswith(ending)]
    except OSError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


# The archive


def _write(file: Path, of: str, texts: Mapping[str, str], masker: Masker) -> Bundle:
    """Mask everything and write it at once: there is the whole archive, or the one before."""
    masked = {masker.text(name): masker.text(text).encode("utf-8", "replace") for name, text in texts.items()}
    listed = "".join(f"{size(len(data)):>9}  {name}\n" for name, data in masked.items())
    head = masker.text(HEAD.format(of=of, masked=masker.masked))
    masked = {CONTENTS: f"{head}\n{listed}".encode(), **masked}
    file = file.expanduser().absolute()
    temporary = file.with_name(f".{file.name}.{os.urandom(6).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            (_zip if file.suffix == ".zip" else _tar)(stream, masked)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    return Bundle(file, [(name, len(data)) for name, data in masked.items()], masker.masked)


def _tar(stream: Any, files: Mapping[str, bytes]) -> None:
    """Names alone: no owner, no time."""
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def _zip(stream: Any, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
