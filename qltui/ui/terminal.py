"""What a terminal does to an app over SSH, and how the app stands it."""

from __future__ import annotations

import gc
import os
import signal

FRAMES_PER_SECOND = "30"
"""Textual draws up to 60; a slow link is better served by half of it."""


def before_import() -> None:
    """Choose what Textual reads from the environment at its import, unless the user chose; import and start quickly."""
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_FPS", FRAMES_PER_SECOND)
    # Collections among objects that are all there to stay take an eighth of the time to the first paint.
    gc.disable()


def ready() -> None:
    """The first paint is done."""
    gc.enable()


def prepare() -> None:
    """Set up the process for a full-screen app."""
    # A lost terminal ends the app at once, even when the event loop hangs in a write to it; runs are not our children.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    _survive_foreign_bytes()


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
