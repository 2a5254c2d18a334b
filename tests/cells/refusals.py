"""The table of refusals in docs/strategies.md, from their declarations: ``python -m cells.refusals PAGE``.

Each is tried on every strategy and method, so that the table says where it holds and not only why.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from cells.pages import with_part
from engine.config import FIELDS, Method, RunConfig, StrategyName, Task
from engine.config.cells import REFUSALS, Refusal
from engine.config.run_config import build, get
from engine.config.schema import as_text

BEGIN = "<!-- refusals: written by `make docs` from engine/config/cells.py -->"
END = "<!-- /refusals -->"


def main() -> None:
    page = Path(sys.argv[1])
    page.write_text(with_refusals(page.read_text("utf-8")), "utf-8")


SOME: dict[str, Any] = {"flag": True, "list": ["word"]}
"""A value of a field without choices, by its kind, where that is no number."""
SHOWN = {"list": "any"}


def with_refusals(page: str) -> str:
    """The page with its table made anew."""
    return with_part(page, BEGIN, END, table())


def table() -> str:
    """A row a refusal, in the order they are declared."""
    return "\n".join(
        ["| Choice | Strategies | Methods | Why, and what to do |", "|---|---|---|---|", *map(_row, REFUSALS)]
    )


def _row(refusal: Refusal) -> str:
    met = [config for config in _tried(refusal.field) if refusal.when(config)]
    values = _names(met, refusal.field)
    strategies, methods = _names(met, "strategy.name"), _names(met, "method.name")
    words = {"value": " or ".join(values), "strategy": "the strategy", "method": " or ".join(methods)}
    message = refusal.message.format(**words)
    field = FIELDS[refusal.field]
    shown = (
        ", ".join(values)
        if field.choices or field.kind == "flag"
        else SHOWN.get(field.kind, "above 0" if "1" in values else "above 1")
    )
    choice = "" if refusal.field == "strategy.name" else f"`{refusal.field}`: {shown}"
    return f"| {choice} | {_some(strategies, StrategyName)} | {_some(methods, Method)} | {message} {refusal.remedy} |"


def _tried(path: str) -> Iterator[RunConfig]:
    """Configurations over every strategy, method and task, with every value of a field, with offload and without, and
    with a head trained beside adapters."""
    field = FIELDS[path]
    values = field.choices or ((SOME[field.kind],) if field.kind in SOME else (1, 2))
    heads: tuple[list[str], ...] = ([], ["lm_head"])
    for strategy, method, task, offload, head, value in product(
        StrategyName, Method, Task, (False, True), heads, values
    ):  # fmt: skip
        fields: dict[str, Any] = {
            "model.path": "org/model", "data.path": "org/data", "strategy.name": strategy, "method.name": method,
            "model.task": task, "strategy.offload_optimizer": offload, "method.lora.modules_to_save": head,
        }  # fmt: skip
        yield build(fields if path == "strategy.name" else {**fields, path: value})


def _names(configs: list[RunConfig], path: str) -> list[str]:
    return list(dict.fromkeys(as_text(get(config, path)) for config in configs))


def _some(names: list[str], of: type[StrategyName] | type[Method]) -> str:
    return "all" if len(names) == len(of) else ", ".join(names)


if __name__ == "__main__":
    main()
