"""Signs that a run goes on: figures, bars, an end as it should be."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_LOSS = re.compile(
    r"(?<![\w-])['\"]?(?:train[_/ ]|training[_/ ])?(?:lm[_ ])?[Ll]oss['\"]?\s*[:=]\s*['\"]?"
    r"(?P<loss>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+)|[-+]?(?:nan|NaN|NAN|inf|Infinity|Inf))\b"
)
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
        if self.loss is None:
            return False
        if not math.isfinite(self.loss):
            return True
        return self.loss == 0 and (self.grad_norm is None or self.grad_norm == 0 or not math.isfinite(self.grad_norm))


def progress_of(text: str) -> Progress | None:
    """What a line tells; None for most."""
    loss = norm = bar = None
    if "oss" in text and (found := _LOSS.search(text)):
        loss = _number(found["loss"])
        if norms := _NORM.search(text):
            norm = _number(norms["norm"])
    if "%|" in text and (found := _BAR.search(text)):
        bar = int(found["done"]), int(found["total"])
    well = bool(_WELL.search(text)) if ("rain" in text or "aved" in text or "Run finished" in text) else False
    if loss is None and bar is None and not well:
        return None
    return Progress(loss, norm, bar, well)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
