"""What people note about a run: a text and tags, in ``notes.json`` of its directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from engine.events import RunDirectory, read_json, write_json
from qltui.runs.sanitise import clean

TYPE_CHECKING = False  # `qltui runs` loads this
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import Any

NAME = "notes.json"
SCHEMA_VERSION = 1
TEXT_LIMIT = 4000
"""Characters of a note."""
TAG_LIMIT = 32
"""Characters of a tag."""
TAGS_LIMIT = 16


class BadNote(ValueError):
    """What was given cannot be noted; the message says why and what can."""


class Annotations:
    """A run's note and its tags, sorted; printable, whatever is in the file."""

    __slots__ = ("is_damaged", "tags", "text")

    def __init__(self, text: str = "", tags: Iterable[str] = (), is_damaged: bool = False) -> None:
        self.text, self.tags = text, sorted(set(tags), key=str.lower)
        self.is_damaged = is_damaged
        """Whether there is a file that makes no sense."""

    def fields(self) -> dict[str, Any]:
        """As they are told in the run's status."""
        return {"note": self.text, "tags": list(self.tags)}


def notes_file(run: RunDirectory) -> Path:
    """Where they are kept."""
    return run.path / NAME


def read(run: RunDirectory) -> Annotations:
    """What is noted about a run; of a damaged file what can be read. Never raises."""
    path = notes_file(run)
    document = read_json(path)
    if document is None:
        return Annotations(is_damaged=os.path.lexists(path))
    text, tags = document.get("text", ""), document.get("tags", [])
    is_whole = isinstance(text, str) and isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)
    known = [tag for tag in tags if isinstance(tag, str) and _flaw(tag) is None] if isinstance(tags, list) else []
    return Annotations(_printable(text) if isinstance(text, str) else "", known[:TAGS_LIMIT], not is_whole)


def annotate(
    run: RunDirectory, text: str | None = None, tag: Iterable[str] = (), untag: Iterable[str] = ()
) -> Annotations:
    """Write another ``text`` (None: the same), add and take away tags; who does it at the same time waits.

    A damaged file is kept beside the new one as ``notes.json.damaged``.

    Raises:
        BadNote: a tag is none, or there is too much of something.
        OSError: the directory is gone or cannot be written.
    """
    added, taken = list(tag), {one.lower() for one in untag}
    for one in added:
        if (flaw := _flaw(one)) is not None:
            raise BadNote(flaw)
    if text is not None and len(text) > TEXT_LIMIT:
        raise BadNote(f"a note has {TEXT_LIMIT:,} characters at most; this has {len(text):,}.")
    with _alone(run):
        before, path = read(run), notes_file(run)
        known = {one.lower(): one for one in (*before.tags, *added)}
        after = Annotations(
            before.text if text is None else _printable(text), [one for low, one in known.items() if low not in taken]
        )
        if len(after.tags) > TAGS_LIMIT:
            raise BadNote(f"a run has {TAGS_LIMIT} tags at most; take some away first (--untag).")
        if before.is_damaged:
            os.replace(path, path.with_name(f"{path.name}.damaged"))
        kept = read_json(path) or {}  # fields of newer versions stay
        written = {"schema_version": SCHEMA_VERSION, "text": after.text, "tags": after.tags, "updated": time.time()}
        write_json(path, {**kept, **written})
    return after


def tags_in(text: str) -> list[str]:
    """Tags as they are typed in one line: words, with commas or without."""
    return text.replace(",", " ").split()


@contextlib.contextmanager
def _alone(run: RunDirectory) -> Iterator[None]:
    """Hold the run's directory, so that no two writers lose each other's tags."""
    folder = os.open(run.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some shared file systems have no locks: then the last writer wins
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _printable(text: str) -> str:
    """Lines that hold nothing a terminal would obey."""
    return "\n".join(clean(line) for line in text[:TEXT_LIMIT].strip().splitlines())


def _flaw(tag: str) -> str | None:
    """What keeps a text from being a tag; None if nothing does."""
    if not tag or len(tag) > TAG_LIMIT or clean(tag) != tag or any(one.isspace() or one in ',:"' for one in tag):
        return (
            f"{clean(tag)[:TAG_LIMIT]!r} is no tag. A tag is one word of up to {TAG_LIMIT} characters, "
            "without spaces, commas, colons and quotes, such as baseline."
        )
    return '"-" begins words that are left out; begin a tag otherwise.' if tag.startswith("-") else None
