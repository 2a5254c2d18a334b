"""What the first paint waits for."""

from __future__ import annotations

import subprocess
import sys


def test_the_home_screen_imports_nothing_it_does_not_show() -> None:
    code = "import sys, qltui.ui.app; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    modules = set(printed.split())
    heavy = {"msgspec", "ruamel.yaml", "psutil", "pynvml", "engine.config", "qltui.configs.preflight", "torch"}
    lazy = {"qltui.ui.screens.monitor", "qltui.ui.screens.new_run", "qltui.runs.launching"}
    assert not modules & (heavy | lazy)
