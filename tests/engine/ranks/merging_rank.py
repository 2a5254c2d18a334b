"""One rank that asks for merged weights in the middle of training: ``python merging_rank.py JOB.json``.

Lives the runs of the job one after another; after each checkpoint the merged weights are compared with what is merged
from that checkpoint's files, and all that training holds with what it held before.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any
from unittest.mock import patch

import engine.allocator  # noqa: F401  # isort: skip - before torch, which it sets up
from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from cells.ranks import forget, leave
from safetensors.torch import load_file

from engine import checkpoint
from engine.audit.weights import checksum
from engine.collective import barrier, world
from engine.events import RunDirectory, write_json
from engine.merging.run import merge
from engine.session import Session
from engine.train import Rank


def main() -> None:
    quiet.quiet_transformers()
    save = checkpoint.save
    for folder in json.loads(Path(sys.argv[1]).read_text()):
        run = RunDirectory(folder)

        def save_and_look(session: Session) -> Path:
            at = save(session)
            if session.reporter.step == 1:
                write_json(session.run.path / f"told-{world()[0]}.json", looked(session, at))
            return at

        try:
            with patch.object(checkpoint, "save", save_and_look):
                Rank(run, None).once()
        except BaseException:
            traceback.print_exc()
            leave(1)
        forget()
        barrier()
    leave(0)


def looked(session: Session, at: Path) -> dict[str, Any]:
    """What this rank was given, against what the files come to."""
    before = held(session)
    live = {name: value.cpu().clone() for name, value in checkpoint.iter_merged(session.strategy.model)}
    after = held(session)
    changed = [name for name in before if before[name] != after.get(name)]
    out = session.run.path / "merged"
    if world()[0] == 0:
        merge(
            session.run, session.config, at / "adapter", out, original=False, dtype=torch.bfloat16,
            tell=lambda done, total: None,
        )  # fmt: skip
    barrier()
    written = {name: value for file in out.glob("*.safetensors") for name, value in load_file(file).items()}
    return {
        "count": len(written), "too_many": sorted(live.keys() - written.keys()),
        "differ": [name for name in written if name not in live or not torch.equal(live[name], written[name])],
        "changed": [*changed, *(after.keys() - before.keys())],
    }  # fmt: skip


def held(session: Session) -> dict[str, Any]:
    """Checksums of all that this rank holds: parameters with their types and classes, buffers, optimizer states."""
    model, strategy = session.strategy.unwrapped, session.strategy
    found: dict[str, Any] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        local = tensor.ds_tensor if hasattr(tensor, "ds_tensor") else tensor
        local = local.to_local() if hasattr(local, "to_local") else local
        found[name] = (type(tensor).__name__, str(tensor.shape), tensor.requires_grad, int(checksum(local.detach())))
    states: Any = strategy.optimizer.state.values()
    for number, state in enumerate(states):
        tensors = {key: value for key, value in state.items() if torch.is_tensor(value)}
        found[f"optimizer {number}"] = {
            key: int(checksum((value.to_local() if hasattr(value, "to_local") else value).detach()))
            for key, value in tensors.items()
        }
    found["modules"] = [type(module).__name__ for module in model.modules()]
    return found


if __name__ == "__main__":
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    main()
