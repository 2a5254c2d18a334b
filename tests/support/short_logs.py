"""Short logs and what they come to."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from qltui.runs.diagnosis.diagnosis import diagnose_log

if TYPE_CHECKING:
    from qltui.runs.diagnosis.diagnosis import Diagnosis

STEPS = "".join(
    f"{{'loss': {2 - step / 10:.4f}, 'learning_rate': 1e-05, 'epoch': {step / 100}}}\n" for step in range(9)
)
"""A run that goes well so far."""


def diagnosed(log: str) -> Diagnosis:
    return diagnose_log(io.BytesIO(log.encode()), "log")


def traceback(kind: str, message: str, *calls: tuple[str, str]) -> str:
    """As Python prints it; ``calls`` are (file, function), the newest last."""
    lines = ["Traceback (most recent call last):"]
    for file, function in (("/x/train.py", "main"), *calls):
        lines += [f'  File "{file}", line 12, in {function}', "    run()"]
    return "\n".join([*lines, f"{kind}: {message}" if message else kind, ""])


def assert_raised(cause: str, kind: str, message: str) -> None:
    """It is told from its traceback at the end of a log, and alone, as people cut it out."""
    whole = diagnosed(f"{STEPS}{traceback(kind, message)}")
    assert whole.cause == cause
    assert whole.evidence[0].line > STEPS.count("\n")
    assert diagnosed(f"{kind}: {message}" if message else kind).cause == cause


def assert_printed(cause: str, text: str) -> None:
    """It is told from a line that is no exception, at the end of a log and alone."""
    assert diagnosed(f"{STEPS}{text}\n").cause == cause
    assert diagnosed(text).cause == cause
