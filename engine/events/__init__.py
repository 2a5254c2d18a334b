"""What a run says and where: the other half of the contract with ``engine.config``. Standard library alone.

``event_log`` is the events and their reader and writer, ``run_directory`` the files, ``processes`` who is alive.
"""

from engine.events.event_log import KINDS, PHASES, SCHEMA_VERSION, EventReader, EventWriter, number, parse
from engine.events.processes import identity, is_alive, send_signal, start_time
from engine.events.run_directory import Attempt, RunDirectory, read_json, write_json

__all__ = [
    "KINDS", "PHASES", "SCHEMA_VERSION", "Attempt", "EventReader", "EventWriter", "RunDirectory", "identity",
    "is_alive", "number", "parse", "read_json", "send_signal", "start_time", "write_json",
]  # fmt: skip
