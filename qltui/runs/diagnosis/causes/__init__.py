"""Every cause a diagnosis can name, by area. The order is that of preference where a text has signs of several."""

from __future__ import annotations

from qltui.runs.diagnosis.causes import (
    adapters,
    checkpoints,
    data,
    deepspeed,
    distributed,
    environment,
    hub,
    memory,
    process,
    quantization,
    training,
)
from qltui.runs.diagnosis.causes.cause import Cause, Fix

CAUSES: tuple[Cause, ...] = (
    *memory.CAUSES, *deepspeed.CAUSES, *quantization.CAUSES, *adapters.CAUSES, *training.CAUSES, *data.CAUSES,
    *hub.CAUSES, *checkpoints.CAUSES, *environment.CAUSES, *distributed.CAUSES, *process.CAUSES,
)  # fmt: skip

WRAPPERS = process.WRAPPERS

UNKNOWN = Cause(
    "unknown", "an error without a known cause", "It ended with an error for which no cause is known here.",
    (Fix("read the evidence: the newest frames of the traceback tell where"),), (),
)  # fmt: skip
NONE = Cause("none", "nothing is wrong", "The log tells of no error that ended the run.", (), ())
BY_ID = {cause.id: cause for cause in (*CAUSES, UNKNOWN, NONE)}
