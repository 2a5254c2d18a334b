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

from support.stand_ins import stand_in

from engine.config.reading import read_file
from engine.config.run_config import StrategyName
from engine.versions import versions
from qltui.configs import presets
from qltui.facts import rehearsed
from qltui.runs import rehearsal

RANKS = 2
MODEL = "config.json of the bundled table, shrunk; the demo's tokenizer"
DATA = "the demo's texts, in the columns and splits of the data set"


def main(wanted: list[str]) -> int:
    """Rehearse what is ``wanted``, else what was not yet rehearsed as it is."""
    files = {file.stem: file for file in presets.folder().glob("**/*.yaml")}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"HF_HOME": folder, "HF_HUB_OFFLINE": "1", "QLTUI_HOME": f"{folder}/state"}
        os.environ["OMP_NUM_THREADS"] = "1"
        for name in wanted or sorted(files):
            if wanted or not _is_settled(name, files[name]):
                problem = _rehearse(name, files[name], Path(folder))
                print(f"{name}: {problem or 'proven'}", flush=True)
                failed += [name] if problem else []
    return 1 if failed else 0


def _is_settled(name: str, file: Path) -> bool:
    one = rehearsed.rehearsed().get(name)
    return one is not None and one.content == presets.content(file) and one.versions == versions()


def _rehearse(name: str, file: Path, folder: Path) -> str:
    """Rehearse a preset and keep the result; why it failed, or nothing."""
    config = read_file(file)
    local = Path(config.model.path).is_dir()
    config = stand_in(config, folder)
    if problems := rehearsal.check(config):
        return "; ".join(map(str, problems))
    ranks = 1 if config.strategy.name in (StrategyName.SINGLE, StrategyName.PIPELINE) else RANKS
    outcome = rehearsal.rehearse(config, ranks, lambda line: print(f"  {name}: {line}", flush=True))
    if outcome.failure:
        return f"{outcome.failure['message']} (phase {outcome.failure['phase']})"
    _keep(name, {
        "content": presets.content(file), "date": time.strftime("%Y-%m-%d"), "ranks": outcome.ranks,
        "versions": versions(),
        "model": "its own" if local else MODEL, "data": "its own" if local else DATA,
        "proven": [{"what": one.what, "detail": one.detail} for one in outcome.proven],
        "unproven": outcome.unproven, "audits": outcome.audits,
    })  # fmt: skip
    return ""


def _keep(name: str, result: dict[str, object]) -> None:
    found = json.loads(rehearsed.FILE.read_bytes())["presets"] if rehearsed.FILE.is_file() else {}
    whole = {"schema_version": 1, "presets": dict(sorted({**found, name: result}.items()))}
    rehearsed.FILE.write_text(json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
