"""Takes this machine out of a log: its folders, its name; nothing else is changed."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

HOME = "/home/user"
PROJECT = f"{HOME}/project"
PACKAGES = f"{HOME}/.venv/lib/python3.11/site-packages"
HOST = "node-1"


class Machine:
    """The folders one fault was caused in, and what they become."""

    def __init__(
        self, work: Path, project: Path, home: Path, packages: list[Path], venvs: set[Path], built: Path | None
    ) -> None:
        places = {str(project): PROJECT, str(home): HOME}
        places |= {str(folder): PACKAGES for folder in packages}
        places |= {str(venv): f"{HOME}/.venv" for venv in venvs}
        places |= {str(built): f"{HOME}/.cache/torch_extensions"} if built else {}
        # The checkout itself, where a log names the engine's own files.
        places[str(Path(__file__).parents[2])] = f"{HOME}/qltui"
        places[str(work)] = "/scratch"
        self.places = sorted(places.items(), key=lambda place: -len(place[0]))

    def neutral(self, text: str) -> str:
        for here, there in self.places:
            text = text.replace(here, there)
        name = re.escape(socket.gethostname())
        # The short name may be part of other words, so only where programs put a host's name.
        text = re.sub(
            rf"(\bhost *: |\bhost=|\bhostname[=:] ?|\bon |\[|//|'){name}(?=[\s\]:'/._,]|$)", rf"\1{HOST}", text
        )
        return text if sys.base_prefix == "/usr" else text.replace(sys.base_prefix, "/usr")
