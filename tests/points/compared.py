"""Runs with what was measured, what our plan predicted and what other tools said: plot and table are made from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec

from engine.config import Method, StrategyName

Bytes = Annotated[int, msgspec.Meta(gt=0)]


class Compared(msgspec.Struct, frozen=True):
    """One run; bytes are of its fullest GPU."""

    name: str
    model: str
    method: Method
    strategy: StrategyName
    ranks: int
    held_out: bool
    """Whether no constant of the plan was set on it."""
    measured: Bytes
    predicted: Bytes
    others: dict[str, Bytes | None]
    """What other tools said, by tool; None where one says nothing of such a run."""

    def ratio(self, said: int | None = None) -> float:
        """Predicted to measured bytes; of ``said`` instead of our plan's."""
        return (self.predicted if said is None else said) / self.measured


class Comparison(msgspec.Struct, frozen=True):
    points: Annotated[list[Compared], msgspec.Meta(min_length=1)]

    @property
    def tools(self) -> list[str]:
        """Other tools, in the order the file has them."""
        return list(dict.fromkeys(tool for point in self.points for tool in point.others))

    def ratios(self, tool: str) -> list[tuple[Compared, float]]:
        """Points a tool says something of, with what it says by what was measured."""
        said = [(point, point.others.get(tool)) for point in self.points]
        return [(point, point.ratio(size)) for point, size in said if size is not None]


def read(path: Path) -> Comparison:
    """The file's points. Ends the program with a line that says what is wrong with it."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Comparison)
    except OSError as error:
        sys.exit(f"Cannot read {path}: {error.strerror}.")
    except msgspec.DecodeError as error:
        sys.exit(f"{path} does not hold points as measured: {error}.")
