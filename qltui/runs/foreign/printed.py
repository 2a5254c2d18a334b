"""What Hugging Face's Trainer prints, and with it TRL, Axolotl and LLaMA-Factory: figures in braces, tqdm's bar beside.

``{'loss': '2.36', 'grad_norm': '2.203', 'learning_rate': '0.000375', 'epoch': '1'}`` tells no step. The bar does, but
may lag behind where steps are quick; the epoch tells it too, as finely as it was rounded. Both together tell it.
"""

from __future__ import annotations

import re

from qltui.runs.foreign.files import GrowingFile, as_count, as_number, seconds
from qltui.runs.state import SERIES_LIMIT

FIGURES = re.compile(r"\{(\s*['\"][^{}]*)\}")
PAIR = re.compile(
    r"['\"]([\w/. -]{1,80})['\"]\s*:\s*['\"]?([-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d+)?|\.\d+|nan|inf|NaN|Infinity))\b"
)
BAR = re.compile(
    r"^\s*(?P<what>[^|{}]*?)\s*\d+%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s*"
    r"\[(?P<elapsed>[\d:]+)<(?P<left>[\d:?]+)(?P<speed>[^\]]*)"
)
TOLD = ("loss", "eval_loss", "train_loss", "train_runtime")
"""Of these at least one is in a line of figures."""


def figures_of(text: str) -> dict[str, str] | None:
    """Names and values of printed figures; None if the text has none."""
    for found in FIGURES.finditer(text) if "{" in text else ():
        figures = dict(PAIR.findall(found[1]))
        if any(name in figures for name in TOLD):
            return figures
    return None


class Bar:
    """A state of the bar that counts optimizer steps."""

    def __init__(self, match: re.Match[str]) -> None:
        self.done, self.total = int(match["done"]), int(match["total"])
        self.elapsed, self.left = seconds(match["elapsed"]), seconds(match["left"])


def bar_of(text: str) -> Bar | None:
    """The bar of steps in a text: without a description, and counting nothing else than iterations."""
    match = BAR.match(text) if "%|" in text else None
    if match is None or match["what"] or not ("it/s" in match["speed"] or "s/it" in match["speed"]):
        return None
    return Bar(match)


class Line:
    """A line of figures, and what was known of its step."""

    __slots__ = ("bar", "epoch", "figures", "finest")

    def __init__(self, figures: dict[str, str], bar: int | None) -> None:
        self.figures, self.bar = figures, bar
        told = figures.get("epoch", "")
        self.epoch = as_number(told)
        mantissa, _, exponent = told.lower().partition("e")
        decimals = len(mantissa.partition(".")[2]) - int(exponent or 0)
        if len(mantissa.replace(".", "").lstrip("0")) < 4:
            decimals = max(decimals, 2)  # rounded to four digits or two decimals, zeros left out
        self.finest = 0.5 * 10.0**-decimals
        """Half of what the epoch was rounded to."""


class PrintedLog(GrowingFile):
    """A log with such lines; without a bar in it the lines themselves are counted."""

    kind = "printed figures"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._bar: Bar | None = None
        self._newest_bar: Bar | None = None
        self._others = 0
        """Losses in a row with another bar before them."""
        self._total: int | None = None
        self._lines: list[Line] = []
        self._settled = 0
        self._steps_per_epoch = 0.0
        """The most that is proven; in the end all there are."""
        self._tokens: tuple[float, float] | None = None

    def take_line(self, line: str) -> None:
        self.take_begun(line, is_whole=True)

    def take_begun(self, line: str, is_whole: bool = False) -> None:
        """Take bars, and of a whole line the figures."""
        for part in line.replace("\x1b[A", "\r").split("\r"):
            if bar := bar_of(part):
                self._newest_bar = bar
                # Evaluations have a bar of their own; that of the steps is the first, and stands before every loss.
                if self._total is None or bar.total == self._total:
                    self._bar, self._total = bar, bar.total
            elif is_whole and (figures := figures_of(part)):
                self._see_other_bar(figures)
                self._lines.append(Line(figures, self._bar.done if self._bar else None))
                self._measure_speed(figures)

    def _see_other_bar(self, figures: dict[str, str]) -> None:
        """Where two losses have another bar before them, another run has begun in the same log."""
        bar = self._newest_bar
        if "loss" not in figures or bar is None:
            return
        self._others = self._others + 1 if bar.total != self._total else 0
        if self._others == 2:
            self._others, self._steps_per_epoch, self._tokens = 0, 0.0, None
            self._bar, self._total, self._lines, self._settled, self.series = bar, bar.total, [], 0, {}

    def _measure_speed(self, figures: dict[str, str]) -> None:
        """Tokens a second, where the tokens so far are told and a bar tells the time."""
        tokens, elapsed = as_number(figures.get("num_tokens")), self._bar.elapsed if self._bar else None
        if tokens is None or elapsed is None:
            return
        before = self._tokens or (tokens, elapsed)
        if elapsed - before[1] >= 1 and tokens > before[0]:
            figures["tokens_per_second"] = str((tokens - before[0]) / (elapsed - before[1]))
            before = (tokens, elapsed)
        self._tokens = before

    def settle(self) -> None:
        """Give every line its step."""
        proven = self._steps_per_epoch
        for line in self._lines[self._settled :]:
            if line.bar and line.epoch:
                proven = max(proven, line.bar / (line.epoch + line.finest))
        if proven > self._steps_per_epoch:  # steps told before were told too low
            self._steps_per_epoch, self._settled = proven, 0
            self.series = {}
        for number, line in enumerate(self._lines[self._settled :], self._settled + 1):
            if line.epoch is not None:
                self.epoch = line.epoch
            self.take(self._step_of(line, number), line.figures)
        self._settled = len(self._lines)
        self._keep_few()
        last = self._step_of(self._lines[-1], self._settled) if self._lines else 0
        self.step = max(int(last), self._bar.done if self._bar else 0)
        self.total_steps = self._total
        if self._bar:
            self.eta_seconds, self.elapsed_seconds = self._bar.left, self._bar.elapsed
        self.is_finished = bool(self._lines) and "train_runtime" in self._lines[-1].figures

    def _step_of(self, line: Line, number: int) -> int:
        told = as_count(line.figures.get("step"))
        if told is not None:
            return told
        if line.bar is None or self._total is None:
            return number
        if not line.epoch or not self._steps_per_epoch:
            return line.bar
        guessed = line.epoch * self._steps_per_epoch
        doubt = line.finest * self._steps_per_epoch + 0.5
        return min(self._total, round(guessed)) if line.bar < guessed - doubt else line.bar

    def _keep_few(self) -> None:
        """Of very many lines every second one of the older half goes, as in all series."""
        if len(self._lines) > SERIES_LIMIT and self._total is not None:
            del self._lines[: SERIES_LIMIT // 2 : 2]
            self._settled = len(self._lines)
