"""Where a user's own choices lie."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """The program's folder among the user's XDG configuration; it need not be there."""
    config = os.environ.get("XDG_CONFIG_HOME") or ""  # a relative one does not count, says the XDG specification
    return Path(config if os.path.isabs(config) else os.path.expanduser("~/.config"), "qltui")
