"""The run a command is about."""

from __future__ import annotations

from qltui.cli import exits
from qltui.runs import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from engine.events import RunDirectory


def find_run(text: str) -> RunDirectory:
    """The run meant by an id, a unique beginning of one, a path, or ``last``.

    Raises:
        Refused: there is none, or more than one.
    """
    try:
        return store.find(text)
    except store.RunNotFound as error:
        raise exits.Refused(str(error)) from None
