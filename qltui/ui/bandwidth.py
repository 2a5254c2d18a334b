"""How often the monitor shows what is new: less often over a slow line. Keys are answered at once over any."""

from __future__ import annotations

import os
from typing import NamedTuple

from qltui.ui import preferences

ENVIRONMENT = "QLTUI_LOW_BANDWIDTH"
"""Variable that outranks what was chosen in the app; ``--low-bandwidth`` sets it."""


class Rates(NamedTuple):
    """What is sent without a key's being pressed."""

    poll_seconds: float
    """Between two looks at the run."""
    charts_seconds: float
    """Between two drawings of its charts."""
    log_rows: int | None
    """New rows of the log after a look; more are folded into one. None: all of them."""


FULL = Rates(0.5, 0.0, None)
LOW = Rates(3.0, 12.0, 4)


def is_low() -> bool:
    """Whether little is to be sent: as the command line or the environment says, else as was chosen in the app."""
    said = os.environ.get(ENVIRONMENT, "").strip().lower()
    return said not in ("0", "no", "off", "false") if said else preferences.low_bandwidth()


def rates() -> Rates:
    """Those of this session."""
    return LOW if is_low() else FULL
