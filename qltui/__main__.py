"""``python -m qltui``."""

from qltui.cli.main import run

run()
