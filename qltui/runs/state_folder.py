"""The folder all runs are kept in, held by one process at a time while it decides about them."""

from __future__ import annotations

import contextlib
import fcntl

from qltui.runs.store import runs_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Decide alone which names and GPUs are free and which runs are live; others wait the moment it takes.

    Raises:
        OSError: the folder can't be written.
    """
    home = runs_home()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(home.parent / "launch.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
