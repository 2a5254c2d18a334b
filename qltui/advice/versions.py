"""Between which versions of a library a rule holds."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_RELEASE = re.compile(r"\d+(?:\.\d+)*")


class Bound(NamedTuple):
    """Versions of one package: from ``since`` on, and older than ``before``; either may be left open."""

    package: str
    since: str = ""
    before: str = ""

    def holds(self, versions: Mapping[str, str]) -> bool:
        """Whether the version there is lies within; no, where there is none that can be read."""
        there = release(versions.get(self.package, ""))
        if there is None:
            return False
        since, before = release(self.since), release(self.before)
        return (since is None or there >= since) and (before is None or there < before)

    def __str__(self) -> str:
        if not self.before:
            return f"{self.package} {self.since} or newer"
        return f"{self.package} before {self.before}" if not self.since else (
            f"{self.package} from {self.since} to before {self.before}"
        )  # fmt: skip


@lru_cache(maxsize=256)
def release(version: str) -> tuple[int, ...] | None:
    """The numbers of a version without what follows them (``2.11.0rc1+cu130`` is 2.11), or None if it has none.

    Trailing zeros say nothing, so that 1.14 and 1.14.0 are the same. A pre-release counts as its release.
    """
    match = _RELEASE.match(version.removeprefix("v"))
    if match is None:
        return None
    numbers = [int(part) for part in match[0].split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
