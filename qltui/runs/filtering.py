"""Which runs are meant by words, as typed above the list of runs and after ``qltui runs --filter``."""

from __future__ import annotations

import re

from qltui.runs.state import LIVE

TYPE_CHECKING = False  # `qltui runs` loads this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

KEYS = ("name", "id", "model", "method", "strategy", "state", "tag", "data", "note")
"""What a word may be about, as in ``state:failed``."""
ANYWHERE = ("name", "id", "model", "method", "strategy", "state", "tag")
"""Where a word that is about nothing in particular is looked for."""
BEGINNINGS = ("state", "tag")
"""What is compared from its beginning; of the rest any part may be given."""
_WORD = re.compile(r'(-?)(?:(\w+):)?(?:"([^"]*)"?|(\S+))')


class Filter:
    """Words that must all fit; one with ``-`` before it must not. Upper and lower case are the same."""

    def __init__(self, text: str, tags: Sequence[str] = ()) -> None:
        """``tags`` are tags in full that a run must have as well."""
        self.tags = [tag.lower() for tag in tags]
        self._words = []
        for minus, key, quoted, bare in _WORD.findall(text.lower()):
            if not key and bare[-1:] == ":" and bare[:-1] in KEYS:
                continue  # what it is to be is still to be typed
            known = key in KEYS
            value = (quoted or bare) if known or not key else f"{key}:{quoted or bare}"
            self._words.append((bool(minus), key if known else "", value))

    def __bool__(self) -> bool:
        return bool(self._words or self.tags)

    def fits(self, status: dict[str, Any]) -> bool:
        """Whether a run, as the store tells of it, is meant."""
        if self.tags and not set(self.tags) <= {str(tag).lower() for tag in status.get("tags") or ()}:
            return False
        return all(_fits(status, key, value) != minus for minus, key, value in self._words)


def _fits(status: dict[str, Any], key: str, value: str) -> bool:
    if key == "state" and value == "live":
        return status["state"] in LIVE
    if key in BEGINNINGS:
        return any(text.startswith(value) for text in _texts(status, key))
    return any(value in text for one in ([key] if key else ANYWHERE) for text in _texts(status, one))


def _texts(status: dict[str, Any], key: str) -> list[str]:
    if key == "tag":
        return [str(tag).lower() for tag in status.get("tags") or ()]
    value = status.get(key)
    return [] if value is None else [str(value).lower()]
