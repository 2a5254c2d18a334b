"""Errors that are told to people in one line."""

from __future__ import annotations

import errno
from pathlib import Path


class BadInput(Exception):
    """The user's input is the reason; the message says which file, what and what to do, in one line."""

    def __init__(self, message: str, cause: str | None = None) -> None:
        """``cause`` is the id of the fitting cause in the catalogue of diagnoses, where there is one."""
        super().__init__(message)
        self.cause = cause


GATED = (
    "the hub has it, and lets only those have it who accepted its terms; accept them on its page, then sign in with "
    "hf auth login"
)

_PACKAGES = {"flash": "flash_attn_missing", "bitsandbytes": "bnb_missing_or_old"}
"""Causes of packages that a model or its options need, by a word of their names."""

EXIT_BAD_INPUT = 3
"""Exit code of a rank and its launcher when the user's input is the reason."""


def why_not_loaded(path: str, error: BaseException) -> str:
    """Why what belongs to the model ``path`` could not be loaded, in a clause that says what to do where that is known.

    ``path`` is a folder or a hub id, ``error`` what Transformers raised: there are many, of its own and of parsers.
    """
    if "trust_remote_code" in str(error):
        return "it comes with Python code of its own; set model.trust_remote_code=true if you trust it"
    if _is_gated(error):
        return GATED
    if isinstance(error, OSError) and not Path(path).exists():
        return (
            "it is no local folder, and the hub cannot be reached or has no such model or revision; check the path or "
            "the id, or fetch it where there is network"
        )
    return first_line(error)


def cause_of_not_loaded(path: str, error: BaseException) -> str | None:
    """The cause, as :class:`BadInput` takes it, of what :func:`why_not_loaded` tells; None where none is known."""
    if "trust_remote_code" in str(error):
        return "trust_remote_code_needed"
    if _is_gated(error):
        return "hub_auth_gated"
    if isinstance(error, ImportError):
        return next((cause for package, cause in _PACKAGES.items() if package in str(error).lower()), None)
    return "hub_not_found_or_offline" if isinstance(error, OSError) and not Path(path).exists() else None


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a write failed for want of room, which is no fault of what was read meanwhile."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _is_gated(error: BaseException | None) -> bool:
    """Whether the hub has it, and does not let this user have it; libraries wrap what it says."""
    while error is not None:
        if type(error).__name__ == "GatedRepoError":
            return True
        error = error.__cause__ or error.__context__
    return False


def first_line(error: BaseException) -> str:
    """What an error says first, or its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")
