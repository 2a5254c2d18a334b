"""What came of a run, shown once it has ended."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets import Static

from qltui.ui import words

LABEL = 12


def verdict(status: dict[str, Any], elapsed_seconds: float | None, width: int) -> list[Content]:
    """The lines that sum up an ended run, the most important first, for ``width`` columns."""
    text, colour = words.state(status["state"])
    took = f" after {words.duration(elapsed_seconds)}" if elapsed_seconds is not None else ""
    facts = [f"{text}{took}", f"step {status['step']:,}"]
    facts += [
        f"{name} {status[key]:.4f}" for key, name in (("loss", "loss"), ("eval_loss", "eval loss")) if status[key]
    ]
    head, *rest = facts
    lines = [Content.assemble((head, f"bold {colour}"), ("  " + " · ".join(rest), "$muted"))]
    lines += _failure(status)
    if status["accuracy"] is not None:
        lines.append(_row("accuracy", Content.styled(words.share(status["accuracy"]), "bold")))
    match = status["exact_match"]
    if match["after"] is not None:
        before = f"{words.share(match['before'])} → " if match["before"] is not None else ""
        better = match["after"] > (match["before"] or 0)
        after = Content.styled(words.share(match["after"]), "bold $success" if better else "bold")
        lines.append(_row("exact match", Content(before) + after))
    lines += _sample(status["sample"], width) if status["sample"] else []
    if status["adapter_dir"]:
        lines.append(_row("result", Content(words.path(status["adapter_dir"]))))
    return lines


def _row(label: str, value: Content) -> Content:
    return Content.styled(label.ljust(LABEL), "$muted") + value


def _failure(status: dict[str, Any]) -> list[Content]:
    lines = []
    failure = status["failure"]
    if failure:
        where = f"rank {failure.get('rank')}, in {words.plain(failure.get('phase'))}"
        lines.append(_row("where", Content(where)))
    reason = status["reason"] or (failure or {}).get("message")
    if reason:
        lines.append(_row("why", Content(words.plain(reason))))
    return lines


def _sample(sample: dict[str, Any], width: int) -> list[Content]:
    """One held-out question with its answers; of a long prompt the end, where the question is."""
    room = max(20, width - LABEL - 2)
    prompt = words.plain(sample["prompt"])
    asked = prompt if len(prompt) <= room else "…" + prompt[-room + 1 :]
    right = sample["after"] is not None and str(sample["after"]).strip() == str(sample["wanted"]).strip()
    after = Content.assemble(words.plain(sample["after"]), ("  ✓ as wanted" if right else "", "$success"))
    return [
        _row("asked", Content(asked)),
        _row("wanted", Content(words.plain(sample["wanted"]))),
        _row("before", Content.styled(words.plain(sample["before"]), "$muted")),
        _row("after", after),
    ]


class Verdict(Static):
    """Hidden while the run goes on."""

    DEFAULT_CSS = """
    Verdict {
        display: none;
        height: auto;
        text-wrap: nowrap;
        text-overflow: ellipsis;
        &.-ended { display: block; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self._shown: object = None

    def show(self, status: dict[str, Any], elapsed_seconds: float | None) -> None:
        """Show what came of the run, or nothing while it goes on."""
        live = words.is_live(status)
        self.set_class(not live, "-ended")
        width = self.app.size.width - 4
        shown = (status, elapsed_seconds, width)
        if live or shown == self._shown:
            return
        self._shown = shown
        self.set_class(status["state"] in ("failed", "lost"), "-bad")
        self.update(Content("\n").join(verdict(status, elapsed_seconds, width)))
