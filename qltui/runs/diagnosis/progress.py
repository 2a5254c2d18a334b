"""Signs that a run goes on: figures, bars, an end as it should be."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+|[nN]a[nN]|NAN|[iI]nf(?:inity)?)"
_LOSS = re.compile(
    r"(?<![\w/-])(?:(?P<kind>[A-Za-z_]+)[_/ ])?['\"]?[Ll]oss['\"]?(?:\s*[:=]\s*|\s+)['\"]?(?:tensor\()?"
    rf"(?P<loss>{_NUMBER})\b"
)
_BARE = re.compile(rf"tensor\((?P<loss>{_NUMBER})(?:, \w+=[^,()]+)*\)")
_TRAINED = frozenset(
    ("train", "training", "lm", "avr", "avg", "average", "mean", "running", "total", "current", "step", "batch", "ce")
)
"""Words before a loss that is trained on; before others there may be anything, as ``eval``, ``aux`` or a sentence."""
_NORM = re.compile(
    r"['\"]?(?:grad_norm|grad norm|gradient norm|gnorm)['\"]?\s*[:=]\s*['\"]?"
    r"(?P<norm>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?)|nan|inf)",
    re.IGNORECASE,
)
_BAR = re.compile(r"(?P<percent>\d+)%\|[^|]*\|\s*(?P<done>\d+)/(?P<total>\d+) \[")
_WELL = re.compile(
    r"train_runtime|training (?:is )?(?:completed|complete|finished|done)|train metrics \*\*|run finished"
    r"|finished training|model (?:saved|successfully saved)|saving model.*done",
    re.IGNORECASE,
)


_CELL_END = re.compile(r"\s*[|│┃]\s*|\t+|\s{2,}")
_ROW = re.compile(r"[|│┃\s]*\d")
_STEPS = frozenset(("step", "steps", "epoch", "iter", "iteration"))


class Progress(NamedTuple):
    """What a line tells of how the run fares."""

    loss: float | None
    grad_norm: float | None
    bar: tuple[int, int] | None
    """(done, of all) of a bar."""
    ended_well: bool

    @property
    def is_bad(self) -> bool:
        """A loss that is no number, or exactly zero while the gradient's norm is none or no number."""
        return self.is_nan or (self.loss == 0 and not self.grad_norm)

    @property
    def is_nan(self) -> bool:
        """The loss is no number; or it is zero, as which some print that, or not told, and the norm is no number."""
        if self.loss:
            return not math.isfinite(self.loss)
        return self.grad_norm is not None and not math.isfinite(self.grad_norm)


class Figures:
    """Reads what lines tell, one after the other: of rows of a table only its header says what they are."""

    def __init__(self) -> None:
        self._columns = 0
        """Of the newest table with losses; 0 before one."""
        self._loss = 0
        """Its column of losses."""

    def read(self, text: str) -> Progress | None:
        """What a line tells; None for most."""
        progress = progress_of(text)
        if progress is None and (loss := self._of_row(text)) is not None:
            return Progress(loss, None, None, ended_well=False)
        return progress

    def _of_row(self, text: str) -> float | None:
        if "oss" not in text and not (self._columns and _ROW.match(text)):
            return None
        cells = _CELL_END.split(text.strip("|│┃ \t"))
        names = [cell.lower() for cell in cells]
        if "oss" in text:
            loss = next((name for name in ("training loss", "train loss", "train_loss", "loss") if name in names), None)
            if loss and any(name in _STEPS for name in names):
                self._columns, self._loss = len(cells), names.index(loss)
            return None
        return _number(cells[self._loss]) if len(cells) == self._columns else None


def progress_of(text: str) -> Progress | None:
    """What a line tells by itself; None for most."""
    loss = norm = bar = None
    if "oss" in text or "tensor(" in text:
        loss = _loss(text)
    if "norm" in text and (norms := _NORM.search(text)):
        norm = _number(norms["norm"])
    if "%|" in text and (found := _BAR.search(text)):
        bar = int(found["done"]), int(found["total"])
    well = bool(_WELL.search(text)) if ("rain" in text or "aved" in text or "Run finished" in text) else False
    if loss is None and norm is None and bar is None and not well:
        return None
    return Progress(loss, norm, bar, well)


def _loss(text: str) -> float | None:
    """The first loss that is trained on; also a line that is one tensor's number and nothing else, if not zero."""
    if bare := _BARE.fullmatch(text):
        return _number(bare["loss"]) or None
    for found in _LOSS.finditer(text):
        if found["kind"] is None or found["kind"].lower() in _TRAINED:
            loss = _number(found["loss"])
            # A policy's loss begins at zero; the summary in the end has a mean over all steps.
            is_told = loss is None or not math.isfinite(loss)
            return loss if is_told or not ("train_runtime" in text or (loss == 0 and "reward" in text)) else None
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
