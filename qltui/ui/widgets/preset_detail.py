"""What a preset is, and what becomes of it on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from engine.config import FIELDS
from qltui.ui import words
from qltui.ui.widgets.fit_panel import plan_lines

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.advice.adapting import Adaptation
    from qltui.advice.changes import Change
    from qltui.configs.presets import Preset
    from qltui.facts.rehearsed import Rehearsed
    from qltui.runs.adaptation import Outcome

MARKS = {
    "fits": ("✓", "fits here", "$success"), "tight": ("▲", "may just fit", "$warning"),
    "adapted": ("◆", "adapted", "$secondary"), "nothing": ("✗", "nothing fits", "$error"),
    "unknown": ("?", "not known", "$muted"),
}  # fmt: skip
"""Mark, word and colour of each standing."""
NO_GPU = "cuda-without-gpu"
"""The rule that stops what needs a GPU where there is none."""
LABEL = 10


class PresetDetail(Static):
    """A preset in some lines."""

    DEFAULT_CSS = """
    PresetDetail { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("…", id=id, markup=False)
        self._shown: tuple[Preset, Outcome | None, Rehearsed | None] | None = None

    def show(self, preset: Preset, outcome: Outcome | None, rehearsed: Rehearsed | None) -> None:
        """Show a preset; ``outcome`` is None until it is known."""
        self._shown = (preset, outcome, rehearsed)
        self._draw()

    def on_resize(self) -> None:
        """The bar is as wide as there is room."""
        self._draw()

    def _draw(self) -> None:
        if self._shown is not None:
            self.update(Content("\n").join(detail(*self._shown, max(self.size.width, 20))))


def standing(preset: Preset, outcome: Outcome | None) -> Content:
    """How a preset stands here, as a mark and a word."""
    if preset.config is None:
        return Content.styled("✗ cannot be read", "$error")
    if outcome is None:
        return Content.styled("…", "$muted")
    mark, word, colour = MARKS[outcome.here.standing.value]
    if outcome.here.changes:
        count = len(outcome.here.changes)
        word = f"{word}: {count} change{'s' * (count > 1)}"
    if any(one.rule == NO_GPU for one in outcome.here.advice.findings):
        word = "needs a GPU"
    return Content.styled(f"{mark} {word}", colour)


def detail(preset: Preset, outcome: Outcome | None, rehearsed: Rehearsed | None, width: int) -> list[Content]:
    """All that is to be said of a preset, lines of ``width`` columns where they can be cut."""
    if preset.config is None:
        return [Content.styled("✗ This file cannot be used.", "$error"), Content(words.plain(preset.problem))]
    lines = [Content.styled(words.plain(preset.description) or "(no description)", "bold"), Content("")]
    if outcome is not None:
        lines += [*_here(outcome.here, width), *_there(preset, outcome, width), Content("")]
    lines += [_row(label, text) for label, text in _facts(preset, preset.config, rehearsed) if text]
    return lines


def _here(found: Adaptation, width: int) -> list[Content]:
    """What is changed for this machine, and how it stands there."""
    lines = [*_changed(found, width), Content("")] if found.changes else []
    if found.reason:
        lines.append(Content.assemble(("✗ ", "bold $error"), words.plain(found.reason)))
    elif found.advice.fit is not None and found.advice.fit.capacity:
        lines += plan_lines(found.advice.fit, width)
    elif found.standing == "unknown":
        lines.append(Content.styled("? Its memory is not known, as the model is not.", "$muted"))
    else:
        lines.append(Content.assemble(("✓ ", "bold $success"), "runs on CPU ranks"))
    return lines


def _changed(found: Adaptation, width: int) -> list[Content]:
    """Each change with its reason, which is said once where it is that of several."""
    lines = [Content.styled("Changed for this machine", "bold $secondary")]
    told = ""
    for one in found.changes:
        change = Content.assemble((FIELDS[one.field].label, "bold"), f"  {_values(one)}")
        why = "" if one.why == told else words.plain(one.why)
        told = one.why
        if why and len(change.plain) + 2 + len(why) <= width:
            lines.append(Content.assemble(change, (f"  {why}", "$muted")))
        else:
            lines += [change, *([Content.styled(f"  {why}", "$muted")] if why else [])]
    return lines


def _values(change: Change) -> str:
    return f"{words.plain(change.before)} → {words.plain(change.after)}"


def _there(preset: Preset, outcome: Outcome, width: int) -> list[Content]:
    """Its memory on the machine it was planned for, where it cannot run here."""
    if outcome.planned is None or not outcome.planned.capacity:
        return []
    title = Content.styled(f"On {words.plain(preset.hardware)}, each GPU", "$muted")
    return [Content(""), title, *plan_lines(outcome.planned, width)]


def _facts(preset: Preset, config: RunConfig, rehearsed: Rehearsed | None) -> list[tuple[str, str]]:
    training, strategy = config.training, config.strategy
    offload = " + offload" if strategy.offload_parameters or strategy.offload_optimizer else ""
    ranks = config.hardware.ranks_per_node
    batch = f"{training.micro_batch_size} × {training.gradient_accumulation_steps}"
    batch += f" × {ranks} ranks" if ranks else ""
    return [
        ("how", f"{config.method.name.value} × {strategy.name.value}{offload}"),
        ("model", words.path(config.model.path)),
        ("data", words.path(config.data.path)),
        ("rows", f"{batch}, up to {config.data.max_length:,} tokens{', packed' if config.data.packing else ''}"),
        ("planned", f"for {words.plain(preset.hardware)}" if preset.hardware else ""),
        ("rehearsed", f"on {rehearsed.summary}" if rehearsed else ""),
        ("yours", words.path(preset.path) if preset.is_mine else ""),
    ]


def _row(label: str, value: str) -> Content:
    return Content.assemble((label.ljust(LABEL), "$muted"), value)
