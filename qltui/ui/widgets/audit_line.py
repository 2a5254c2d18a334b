"""What the running job's checks of itself have shown, with the figures they measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from textual.content import Content

from qltui.ui import words

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {"sharding": "sharded", "weights": "weights", "adapter": "adapter"}


WIDE = 100
"""Columns of the screen from which there is room for more than the audits themselves."""


def audit_line(status: Mapping[str, Any], width: int) -> Content:
    """Each audit with its result, those that passed with what they measured, in one line."""
    parts = [Content.styled("audits", "$muted")] if width >= WIDE else []
    for audit, name in NAMES.items():
        result = status["audits"].get(audit, "")
        text, colour = words.AUDITS.get(result, ("· pending", "$muted"))
        figure = _figure(audit, (status.get("audit_details") or {}).get(audit) or {}) if result == "passed" else ""
        figure = figure if width >= WIDE else figure.removesuffix(" each").removesuffix(" exact")
        parts.append(Content.assemble(f"{name} ", (f"✓ {figure}" if figure else text, colour)))
    return Content("   " if width >= WIDE else "  ").join(parts)


def _figure(audit: str, told: Mapping[str, Any]) -> str:
    """The figure that says most of what an audit measured; empty where it has none."""
    detail = str(told.get("detail") or "")
    if audit == "sharding":
        shares = [float(share) for share in re.findall(r"\((\d+(?:\.\d+)?)%\)", detail)]
        return f"{max(shares):.0f} % each" if shares else ""
    if audit == "weights":
        count = re.match(r"(\d+) frozen tensors computed with as loaded", detail)
        return f"{int(count[1]):,} exact" if count else ""
    return f"step {told['step']:,}" if told.get("step") is not None else ""


def audits_in_full(status: Mapping[str, Any]) -> list[Content]:
    """A line for each audit with all that it said."""
    lines = []
    for audit, name in NAMES.items():
        text, colour = words.AUDITS.get(status["audits"].get(audit, ""), ("· pending", "$muted"))
        detail = ((status.get("audit_details") or {}).get(audit) or {}).get("detail")
        lines.append(Content.assemble(f"{name:<9}", (text, colour), f"  {words.plain(detail)}" if detail else ""))
    return lines
