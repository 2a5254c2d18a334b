"""The table of presets in ``docs/presets.md``: ``PYTHONPATH=tests python -m support.preset_page docs/presets.md``."""

from __future__ import annotations

import sys
from pathlib import Path

from cells.pages import with_part

from qltui import words
from qltui.configs import presets
from qltui.facts import machine as machines
from qltui.facts.rehearsed import rehearsed
from qltui.runs.assessment import assess

BEGIN, END = "<!-- presets: written by `make docs` -->", "<!-- end of presets -->"


def table() -> str:
    """A row for each preset that comes with the program, with its plan and its rehearsal."""
    proven = rehearsed()
    head = ("preset", "what it is", "planned for", "takes of each GPU", "a step", "rehearsed on")
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name in presets.bundled():
        one = presets.preset(name)
        assert one.config is not None, one.problem
        advice = assess(one.config, machines.parse(one.hardware)).advice
        fit, found = advice.fit, proven.get(one.name)
        takes = f"{words.size(fit.total)} ± {words.size(fit.error)} of {words.size(fit.capacity)}" if fit else "–"
        step = words.duration(advice.seconds) if advice.seconds else "–"
        on = found.summary if found else "–"
        lines.append(f"| `{one.name}` | {one.description} | {one.hardware} | {takes} | {step} | {on} |")
    return "\n".join(lines)


def with_presets(page: str) -> str:
    """The page with its table made anew."""
    return with_part(page, BEGIN, END, table())


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_presets(file.read_text("utf-8")), "utf-8")
