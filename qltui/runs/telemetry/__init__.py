"""What GPUs, host and ranks use, sampled once a second by the supervisor. Memory in bytes, power in watts.

The newest samples lie in ``telemetry/<host>.jsonl``, those before in ``<host>.jsonl.old``; all of them are folded into
levels (:mod:`qltui.runs.levels`). Whatever nobody tells is None: not every GPU and no container tells everything.
"""

from qltui.runs.telemetry.history import History, newest_sample
from qltui.runs.telemetry.host import out_of_memory_kills, resident
from qltui.runs.telemetry.sampler import Sampler

__all__ = ["History", "Sampler", "newest_sample", "out_of_memory_kills", "resident"]
