"""The supervisor on a machine whose GPU driver does not return from any call: ``python -m silent_driver RUN_DIR``."""

import sys
import time
from pathlib import Path

from qltui.facts import gpus
from qltui.runs import supervisor
from qltui.runs.telemetry import Sampler, patience

gpus.load_nvml = lambda: time.sleep(600)
patience.WAIT_SECONDS, patience.SILENT_SECONDS = 0.2, 0.5


def sampler_of_a_gpu(folder: Path, _none: object) -> Sampler:
    """The ranks compute on CPU; their supervisor is to look after a GPU all the same."""
    return Sampler(folder, ["GPU-0"])


supervisor.Sampler = sampler_of_a_gpu  # type: ignore[assignment,misc]

if __name__ == "__main__":
    sys.exit(supervisor.main())
