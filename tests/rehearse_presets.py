"""Rehearse the presets on CPU ranks, and keep what that proved: ``PYTHONPATH=tests python tests/rehearse_presets.py``.

Presets whose content was rehearsed already with the same versions are left out, unless they are named. What the presets
take from the hub is stood in for (tests/support/stand_ins.py). Exit code 1: a rehearsal failed, and says why.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from support.stand_ins import stand_in

from engine.config.ranks import ONE_RANK
from engine.config.reading import read_file
from engine.versions import versions
from qltui.configs import presets
from qltui.facts import rehearsed
from qltui.runs import rehearsal

RANKS = 2
MODEL = "config.json of the bundled table, shrunk; the demo's tokenizer"
DATA = "the demo's texts, in the columns and splits of the data set"


def main(wanted: list[str]) -> int:
    """Rehearse what is ``wanted``, else what was not yet rehearsed as it is."""
    files = {file.stem: file for file in presets.folder().glob("*.yaml")}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HOME": folder, "HF_HUB_OFFLINE": "1", "QLTUI_HOME": f"{folder}/state"}
        os.environ["OMP_NUM_THREADS"] = "1"
        for name in wanted or sorted(files):
            if not wanted and _is_settled(name, files[name]):
                continue
            try:
                _keep(name, rehearse(files[name], Path(folder)))
                print(f"{name}: proven", flush=True)
            except (Failed, rehearsal.RehearsalRefused) as error:
                print(f"{name}: {error}", flush=True)
                failed.append(name)
    return 1 if failed else 0


def _is_settled(name: str, file: Path) -> bool:
    one = rehearsed.rehearsed().get(name)
    return one is not None and one.content == presets.content(file) and one.versions == versions()


class Failed(Exception):
    """A preset could not be rehearsed to the end; the message says why."""


def rehearse(file: Path, folder: Path) -> dict[str, Any]:
    """What a preset's rehearsal proved, as it is kept; what it takes from the hub is made in ``folder``.

    Raises:
        Failed: it did not go well.
    """
    config = read_file(file)
    local = Path(config.model.path).is_dir()
    config = stand_in(config, folder)
    if problems := rehearsal.check(config):
        raise Failed("; ".join(map(str, problems)))
    ranks = 1 if config.strategy.name in ONE_RANK else RANKS
    outcome = rehearsal.rehearse(config, ranks, lambda line: print(f"  {file.stem}: {line}", flush=True))
    if outcome.failure:
        raise Failed(f"{outcome.failure['message']} (phase {outcome.failure['phase']})")
    return {
        "content": presets.content(file), "date": time.strftime("%Y-%m-%d"), "ranks": outcome.ranks,
        "versions": versions(),
        "model": "its own" if local else MODEL, "data": "its own" if local else DATA,
        "proven": [{"what": one.what, "detail": one.detail} for one in outcome.proven],
        "unproven": [one.replace(f"{presets.folder()}/", "") for one in outcome.unproven], "audits": outcome.audits,
    }  # fmt: skip


def _keep(name: str, result: dict[str, Any]) -> None:
    found = json.loads(rehearsed.FILE.read_bytes())["presets"] if rehearsed.FILE.is_file() else {}
    whole = {"schema_version": 1, "presets": dict(sorted({**found, name: result}.items()))}
    rehearsed.FILE.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
