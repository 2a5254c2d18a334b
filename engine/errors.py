"""Errors that are told to people in one line."""

from __future__ import annotations

from pathlib import Path


class BadInput(Exception):
    """The user's input is the reason; the message says which file, what and what to do, in one line."""


EXIT_BAD_INPUT = 3
"""Exit code of a rank and its launcher when the user's input is the reason."""


def why_not_loaded(path: str, error: BaseException) -> str:
    """Why what belongs to the model ``path`` could not be loaded, in a clause that says what to do where that is known.

    ``path`` is a folder or a hub id, ``error`` what Transformers raised: there are many, of its own and of parsers.
    """
    if "trust_remote_code" in str(error):
        return "it comes with Python code of its own; set model.trust_remote_code=true if you trust it"
    if isinstance(error, OSError) and not Path(path).exists():
        return (
            "it is no local folder, and the hub cannot be reached or has no such model or revision; check the path or "
            "the id, or fetch it where there is network"
        )
    return first_line(error)


def first_line(error: BaseException) -> str:
    """What an error says first, or its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
