"""A run in one line."""

from __future__ import annotations

from typing import Any

from textual.content import Content

from qltui.ui import words


def run_line(status: dict[str, Any]) -> Content:
    """State, name and how far it is."""
    text, colour = words.state(status["state"])
    total = status["total_steps"]
    facts = [f"step {status['step']:,}" + (f" / {total:,}" if total else "")]
    if words.is_live(status):
        facts.append(f"ETA {words.duration(status['eta_seconds'])}")
    elif status["loss"] is not None:
        facts.append(f"loss {status['loss']:.3f}")
    return Content.assemble(
        (text.ljust(13), colour), (words.plain(status["name"])[:18].ljust(20), "bold"), (" · ".join(facts), "$muted")
    )
