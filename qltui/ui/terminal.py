"""What a terminal does to an app over SSH, and how the app stands it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.driver import Driver

FRAMES_PER_SECOND = "120"
"""At most, and only what has changed: what one key changes in two frames is seen that much sooner than with 60."""


ESCAPE_MILLISECONDS = "10"
"""After which escape is a key of its own and not the beginning of another, whose bytes a terminal sends together.
Textual's 100 can be seen."""

SWITCH_SECONDS = 0.0005
"""After which a thread that computes gives way to the event loop. Python's 5 ms, waited for again and again between a
key and its paint, can be seen."""

GARBAGE_WHILE_TYPING = 10_000
"""Objects that may come up before they are looked through though keys are pressed: a few milliseconds."""

WORTH_COLLECTING = 5_000
LONG_SECONDS = 60
"""Without a key, as if nobody was there."""


def before_import() -> None:
    """Choose what Textual reads from the environment at its import, unless the user chose; import and start quickly."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_SECOND)
    os.environ.setdefault("ESCDELAY", ESCAPE_MILLISECONDS)
    # Collections among objects that are all there to stay take an eighth of the time to the first paint.
    gc.disable()


def ready() -> None:
    """The first paint is done."""
    gc.freeze()  # what is there by now stays; collections need not go through it again and again
    gc.set_threshold(GARBAGE_WHILE_TYPING, 50, 1000)
    gc.enable()


def calm(seconds: float) -> None:
    """Nobody has pressed a key for so long: a moment to collect what is new, or everything, which takes a while."""
    if seconds > LONG_SECONDS and gc.get_count()[2]:
        gc.collect()
    elif gc.get_count()[0] > WORTH_COLLECTING:
        gc.collect(1)


def prepare() -> None:
    """Set up the process for a full-screen app."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # A lost terminal ends the app at once, even when the event loop hangs in a write to it; runs are not our children.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _survive_foreign_bytes()
    _look_at_keys_often()


def _look_at_keys_often() -> None:
    """Have Textual end its wait for the rest of an escape sequence on time: it looks every 100 ms alone.

    Only when something has just come; to look as often all the time took more than all log lines do.
    """
    import selectors
    from types import SimpleNamespace

    from textual import constants
    from textual.drivers import linux_driver

    escape_is_over = constants.ESCAPE_DELAY + 0.001

    class Often(selectors.SelectSelector):
        has_come = False

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            found = super().select(escape_is_over if self.has_come else timeout)
            self.has_come = bool(found)
            return found

    often = SimpleNamespace(SelectSelector=Often, EVENT_READ=selectors.EVENT_READ)
    setattr(linux_driver, "selectors", often)  # noqa: B010 (it is an import of theirs)


def thrifty(driver: type[Driver]) -> type[Driver]:
    """The driver, but what it writes is thinned first."""
    from qltui.ui.frames import thinned

    def write(self: Driver, data: str) -> None:
        driver.write(self, thinned(data))

    return type(f"Thrifty{driver.__name__}", (driver,), {"write": write})


def _survive_foreign_bytes() -> None:
    """Let Textual read bytes that are no UTF-8, such as X10 mouse reports after a tmux re-attach.

    Its strict decoder ends the app there: https://github.com/Textualize/textual/issues/6668.
    """
    from codecs import IncrementalDecoder, getincrementaldecoder
    from functools import partial

    from textual.drivers import linux_driver

    def lenient(encoding: str) -> partial[IncrementalDecoder]:
        return partial(getincrementaldecoder(encoding), errors="replace")

    setattr(linux_driver, "getincrementaldecoder", lenient)  # noqa: B010 (it is an import of theirs)
