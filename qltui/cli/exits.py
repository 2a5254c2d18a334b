"""Exit codes of every command, and how a command says no."""

from __future__ import annotations

FINE = 0
NO = 1
"""The answer is no: blocked, failed, not found."""
USAGE = 2
"""Wrong usage; argparse's own."""
INTERRUPTED = 130
"""Ctrl-C: 128 + SIGINT, as shells have it."""


class Refused(Exception):
    """The answer is no, and the message says why and what to do; ends the command with :data:`NO`."""
