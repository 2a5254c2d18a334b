"""The ranks' process group: made once, with the backend that the run's strategy needs, whoever started the ranks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as distributed
from accelerate import Accelerator
from cells.ranks import forget

from engine.config import Method, RunConfig, StrategyName
from engine.config.cells import refused
from engine.config.ranks import ONE_RANK
from engine.config.reading import read
from engine.errors import BadInput
from engine.events import RunDirectory
from engine.launch import free_port
from engine.strategy import join_ranks
from engine.strategy.process_group import RENDEZVOUS, backend, set_timeout
from engine.train import Rank

OFFLOADS = ("strategy.offload_optimizer", "strategy.offload_parameters")


def config(**settings: object) -> RunConfig:
    values = {"model": "org/model", "data": "none.jsonl", "device": "cpu"}
    return read(values, where="test", base=Path("/"), assignments=settings)


def allowed() -> Iterator[RunConfig]:
    """Runs of several ranks that are not refused, with every offload."""
    for strategy in set(StrategyName) - set(ONE_RANK):
        for method in Method:
            for offload in ({}, *({name: True} for name in OFFLOADS), dict.fromkeys(OFFLOADS, True)):
                run = config(**{"strategy.name": strategy.value, "method.name": method.value, **offload})
                if not refused(run):
                    yield run


def test_only_offloaded_parameters_of_fsdp2_need_gloo_beside_nccl() -> None:
    """Clipping sums their gradients on the host; ZeRO reduces on the GPU what it offloads."""
    asked: dict[str, set[tuple[str, bool]]] = {}
    for run in allowed():
        with_what = (run.strategy.name.value, run.strategy.offload_parameters)
        asked.setdefault(backend(run, on_cpu=False), set()).add(with_what)
    assert asked.pop("cpu:gloo,cuda:nccl") == {("fsdp2", True)}
    assert list(asked) == ["nccl"]
    assert {backend(run, on_cpu=True) for run in allowed()} == {"gloo"}


@pytest.fixture
def rendezvous(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment of the only rank of a run; the group is taken apart afterwards."""
    for name, value in zip(RENDEZVOUS, ("1", "0", "0", "127.0.0.1", str(free_port())), strict=True):
        monkeypatch.setenv(name, value)
    yield monkeypatch
    if distributed.is_initialized():
        distributed.destroy_process_group()
    forget()


@pytest.mark.usefixtures("rendezvous")
def test_accelerate_takes_the_group_that_is_there() -> None:
    join_ranks(config(strategy="fsdp2"))
    group = distributed.group.WORLD
    assert distributed.get_backend() == "gloo"
    join_ranks(config(strategy="fsdp2"))
    assert Accelerator(cpu=True).num_processes == 1
    assert distributed.group.WORLD is group


@pytest.mark.usefixtures("rendezvous")
@pytest.mark.parametrize(("asked", "seconds"), [(77, 77), (None, 1800)])
def test_every_group_waits_as_long_as_is_asked(asked: int | None, seconds: int) -> None:
    run = config(**{"strategy.name": "zero2", "hardware.timeout_seconds": asked})
    join_ranks(run)
    assert distributed.group.WORLD is not None
    made_of_it = distributed.new_group([0])
    set_timeout(run)
    for group in (distributed.group.WORLD, made_of_it):
        options = group._get_backend(torch.device("cpu")).options
        assert options._timeout == timedelta(seconds=seconds)


@pytest.mark.usefixtures("rendezvous")
def test_a_run_of_one_rank_makes_no_group() -> None:
    join_ranks(config(strategy="single"))
    assert not distributed.is_initialized()


@pytest.mark.parametrize("lost", RENDEZVOUS[1:])
def test_ranks_that_cannot_meet_make_no_attempt(
    lost: str, rendezvous: pytest.MonkeyPatch, tmp_path: Path, small_run
) -> None:
    """Accelerate would let each train alone where LOCAL_RANK is not set."""
    small_run()
    rendezvous.setenv("WORLD_SIZE", "2")
    rendezvous.delenv(lost)
    run = RunDirectory(tmp_path)
    with pytest.raises(BadInput, match=rf"^{lost}: not set .* start the ranks with torchrun"):
        Rank(run, None).once()
    assert run.attempts() == []


@pytest.mark.parametrize(("strategy", "ranks"), [("single", None), ("ddp", 3)])
def test_ranks_that_do_not_fit_the_run_make_no_group(
    strategy: str, ranks: int | None, rendezvous: pytest.MonkeyPatch
) -> None:
    rendezvous.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadInput, match="2 were started"):
        join_ranks(config(**{"strategy.name": strategy, "hardware.ranks_per_node": ranks}))
    assert not distributed.is_initialized()
