"""One rank of a job: ``python -m faulty_rank JOB.json``, started once a rank with the rendezvous in the environment.

Lives the attempts of the job one after another in one process group, each with its fault made on the way. What an
attempt came to is in its events; a fault all ranks hear of ends an attempt on all of them, and the next one begins.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from bitsandbytes.nn import Params4bit
from cells.ranks import forget, leave
from peft import PeftModel
from torch import nn
from torch.distributed.fsdp import fully_shard
from transformers.models.llama.modeling_llama import LlamaMLP

from engine.collective import barrier, world
from engine.events import RunDirectory
from engine.model import load_model
from engine.parameters import trainable
from engine.strategy.fully_sharded import FullySharded
from engine.train import Rank
from engine.trained_state import checkpoints

DAMAGED_WEIGHT = "base_model.model.model.layers.1.mlp.up_proj.base_layer.weight"


def main() -> None:
    faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)
    quiet.quiet_transformers()
    rank = int(os.environ.get("RANK", "0"))
    for one in json.loads(Path(sys.argv[1]).read_text()):
        run = RunDirectory(one["run"])
        run.run_yaml = Path(one["configs"][rank])  # on other machines it may be another file
        fault = FAULTS[one["fault"]] if one["fault"] else contextlib.nullcontext
        try:
            with fault(run):
                Rank(run, None).once()
        except Exception:
            traceback.print_exc()  # it is in the events too
        forget()
        barrier()
    leave(0)


@contextlib.contextmanager
def one_flipped_byte(_run: RunDirectory) -> Iterator[None]:
    """In rank 1's part of one packed weight, once it is sharded."""
    prepare = FullySharded.prepare

    def prepare_and_flip(strategy: FullySharded, model: nn.Module, make_optimizer: Any) -> None:
        prepare(strategy, model, make_optimizer)
        if world()[0] == 1:
            shard: Any = model.get_parameter(DAMAGED_WEIGHT)
            shard.to_local().view(-1).view(torch.uint8)[7] ^= 1

    with patch.object(FullySharded, "prepare", prepare_and_flip):
        yield


@contextlib.contextmanager
def packed_weights_kept_whole(_run: RunDirectory) -> Iterator[None]:
    """Left out of sharding, as Accelerate does with integer 4-bit weights."""

    def shard_the_rest(module: nn.Module, **options: Any) -> nn.Module:
        packed = {parameter for parameter in module.parameters() if isinstance(parameter, Params4bit)}
        return fully_shard(module, ignored_params=packed, **options)

    with patch("engine.strategy.fully_sharded.fully_shard", shard_the_rest):
        yield


def int8_layers_as_they_are(_run: RunDirectory) -> AbstractContextManager[Any]:
    """bitsandbytes' own, which keep a copy of the weight in their state."""
    return patch("engine.waiting_linear.hold_int8_once", lambda _model: None)


@contextlib.contextmanager
def another_adapter_value(_run: RunDirectory) -> Iterator[None]:
    """On rank 1, as if its generator had been seeded otherwise."""

    def load_and_change(*arguments: Any) -> Any:
        model = load_model(*arguments)
        if world()[0] == 1:
            first = next(iter(trainable(model).values()))
            first.data.view(-1)[0] += 1
        return model

    with patch("engine.train.load_model", load_and_change):
        yield


@contextlib.contextmanager
def empty_second_adapter(_run: RunDirectory) -> Iterator[None]:
    """PEFT 0.21.0 to 0.21.2 select nothing where a wrapper's name stands in the middle of a module's path."""
    save, saves = PeftModel.save_pretrained, itertools.count(1)

    def save_nothing_the_second_time(model: PeftModel, folder: Path, *, state_dict: Any, **options: Any) -> None:
        save(model, folder, state_dict=state_dict if next(saves) == 1 else {}, **options)

    with patch.object(PeftModel, "save_pretrained", save_nothing_the_second_time):
        yield


@contextlib.contextmanager
def slow_second_rank(_run: RunDirectory) -> Iterator[None]:
    """A part of each decoder layer takes it thrice as long, computing: as on a card with a lower clock."""
    compute = LlamaMLP.forward

    def compute_slowly(layer: LlamaMLP, hidden: Any) -> Any:
        begun = time.perf_counter()
        result = compute(layer, hidden)
        until = begun + 3 * (time.perf_counter() - begun)
        while time.perf_counter() < until:
            pass
        return result

    with contextlib.ExitStack() as patches:
        for interval in ("engine.own_time.SAMPLE_SECONDS", "engine.reporter.OTHER_RANKS_INTERVAL"):
            patches.enter_context(patch(interval, 0.0))  # so that each of the few steps counts
        if world()[0] == 1:
            patches.enter_context(patch.object(LlamaMLP, "forward", compute_slowly))
        yield


Change = Callable[[RunDirectory], None]


def before(change: Change) -> Callable[[RunDirectory], AbstractContextManager[None]]:
    """A fault in the files of a run, there before the attempt begins."""

    @contextlib.contextmanager
    def changed(run: RunDirectory) -> Iterator[None]:
        if world()[0] == 0:
            change(run)
        barrier()
        yield

    return changed


def without_newest_checkpoint(run: RunDirectory) -> None:
    shutil.rmtree(checkpoints(run.checkpoints)[0])


def without_second_ranks_file(run: RunDirectory) -> None:
    without_newest_checkpoint(run)
    (checkpoints(run.checkpoints)[0] / "rank1.pt").unlink()


def parent_without_newest_checkpoint(run: RunDirectory) -> None:
    without_newest_checkpoint(RunDirectory(run.path.parent / "parent"))


def damaged_checkpoints(run: RunDirectory) -> None:
    """All but the oldest, each in another way; the result of the attempt before is kept aside."""
    flipped, truncated, lost, _ = checkpoints(run.checkpoints)
    with open(flipped / "trained-00000.pt", "r+b") as file:
        file.seek(file.seek(0, os.SEEK_END) // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))
    os.truncate(truncated / "state.pt", (truncated / "state.pt").stat().st_size // 2)
    (lost / "rank1.pt").unlink()
    run.adapter.rename(run.path / "undisturbed")


FAULTS: dict[str, Callable[[RunDirectory], AbstractContextManager[Any]]] = {
    "one flipped byte": one_flipped_byte,
    "packed weights kept whole": packed_weights_kept_whole,
    "int8 layers as they are": int8_layers_as_they_are,
    "another adapter value": another_adapter_value,
    "empty second adapter": empty_second_adapter,
    "slow second rank": slow_second_rank,
    "without newest checkpoint": before(without_newest_checkpoint),
    "without second rank's file": before(without_second_ranks_file),
    "parent without newest checkpoint": before(parent_without_newest_checkpoint),
    "damaged checkpoints": before(damaged_checkpoints),
}


if __name__ == "__main__":
    main()
