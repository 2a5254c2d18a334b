"""A model in a run on one CPU, without its files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState

from engine.config import RunConfig
from engine.config.reading import read
from engine.strategy import Strategy, make_strategy


@pytest.fixture
def fresh_process() -> Iterator[None]:
    """Lets a test of the same process have another precision."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def config_of(**values: Any) -> RunConfig:
    """A run whose files nobody opens; ``values`` by dotted path."""
    tree = {"model.path": "m", "data.path": "d", "strategy.name": "single", "hardware.device": "cpu", **values}
    return read(tree, where="test", base=Path("/"))


def prepared(model: Any, **values: Any) -> Strategy:
    """The run's strategy with ``model`` handed over."""
    strategy = make_strategy(config_of(**values), tracking_folder="")
    strategy.prepare(model, lambda parameters: torch.optim.SGD(parameters, lr=0.1))
    return strategy
