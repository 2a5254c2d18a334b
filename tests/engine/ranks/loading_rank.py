"""One rank that loads models several times: ``python loading_rank.py FOLDER STRATEGY-METHOD[-whole|-experts]...``.

Writes what each load took to ``FOLDER/NAME-RANK.json``; started once a rank with the rendezvous in the environment.
``whole`` has Transformers quantise the whole model on every rank, as they do by themselves; ``experts`` takes the model
in ``FOLDER/experts``.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

from engine import quiet  # isort: skip - before the libraries it quiets

from accelerate.utils import set_seed
from cells.ranks import forget, leave
from transformers import AutoTokenizer

from engine.audit import LoadedWeights
from engine.audit.sharding import held_bytes, whole_bytes
from engine.collective import barrier, world
from engine.config.reading import read
from engine.events import write_json
from engine.model import load_model
from engine.strategy import Strategy, make_strategy

SECONDS = 0.002
"""Between two looks at the memory."""


def main() -> None:
    quiet.quiet_transformers()
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        measured = loaded(folder, *name.split("-"))
        write_json(folder / f"{name}-{world()[0]}.json", measured)
        forget()
        barrier()
    leave(0)


def loaded(folder: Path, strategy_name: str, method: str, how: str = "") -> dict[str, Any]:
    """Load and place a model; bytes of this process's own memory, beyond what it had before."""
    folder = folder / "experts" if how == "experts" else folder
    values = {"model": str(folder), "data": "none.jsonl", "device": "cpu", "precision": "bf16"}
    config = read(
        {**values, "strategy": strategy_name, "method": method, "method.lora.rank": 4}, where="test", base=folder
    )
    strategy = make_strategy(config, tracking_folder="")
    whole = patch.object(Strategy, "quantizes_by_block", PropertyMock(return_value=False))
    set_seed(0)
    ctypes.CDLL(None).malloc_trim(0)
    before = own_memory()
    with peak_memory() as peak, whole if how == "whole" else contextlib.nullcontext():
        model = load_model(config, strategy, AutoTokenizer.from_pretrained(folder), None)
        read_at = peak[0]
        weights = LoadedWeights(model)
        strategy.place(model, weights.see)
    measured = {
        "read": read_at - before, "peak": peak[0] - before,
        "share": sum(map(held_bytes, model.parameters())), "whole": sum(map(whole_bytes, model.parameters())),
        "checksums": sorted(weights.agreed().items()),
    }  # fmt: skip
    strategy.unwrapped = model
    strategy.release()
    return measured


@contextlib.contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The most memory of its own that this process was seen to have inside, in a list of one."""
    peak, over = [own_memory()], threading.Event()

    def look() -> None:
        while not over.wait(SECONDS):
            peak[0] = max(peak[0], own_memory())

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield peak
    finally:
        over.set()
        looking.join()


def own_memory() -> int:
    """Bytes of memory that is mapped from no file."""
    found = re.search(r"^RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) << 10


if __name__ == "__main__":
    main()
