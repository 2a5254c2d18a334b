"""Parts of pages that are made from declarations and results, between two markers."""

from __future__ import annotations

import sys


def with_part(page: str, begin: str, end: str, part: str) -> str:
    """A page with what stands between the markers made anew."""
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        sys.exit(f"error: the page lacks {begin} or {end}")
    return f"{before}{begin}\n{part}\n{end}{after}"
