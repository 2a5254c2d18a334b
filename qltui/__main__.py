"""``python -m qltui``."""

import sys

from qltui.cli.main import main

sys.exit(main())
