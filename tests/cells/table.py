"""Tables of what works, from the committed results: ``python -m cells.table README.md docs/verified.md`` writes them.

README has strategies and methods, the other page what was tried beyond them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cells.pages import with_part
from engine.config import Method, StrategyName, Task
from engine.config.cells import refused
from engine.config.reading import read
from qltui.facts.verified import Session, sessions

BEGIN = "<!-- verified: written by `make docs` from qltui/facts/verified.json -->"
END = "<!-- /verified -->"
CLASSIFICATION = "sequence classification"
SHOWN_VERSIONS = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "deepspeed", "python")
MODELS = {"tiny": "the demo's model", "1b": "a model of 0.89 B parameters, sequences of 512 tokens"}


OPTIONS_PAGE = "docs/verified.md"


def main() -> None:
    for name, with_its_table in zip(sys.argv[1:], (with_table, with_options), strict=True):
        page = Path(name)
        page.write_text(with_its_table(page.read_text("utf-8")), "utf-8")


def with_table(page: str) -> str:
    """README with its table made anew."""
    return with_part(page, BEGIN, END, table(sessions()))


def with_options(page: str) -> str:
    """The page of options with its tables made anew."""
    return with_part(page, BEGIN, END, "\n".join(beyond(sessions())))


def table(found: list[Session]) -> str:
    """Strategies down, methods across; reasons, options and versions under it."""
    reasons: dict[str, int] = {}
    lines = [
        "| | " + " | ".join(method.value for method in Method) + " |",
        "|---|" + "---|" * len(Method),
    ]
    for strategy in StrategyName:
        marks = (mark(found, reasons, strategy, method) for method in Method)
        lines.append(f"| {strategy.value} | " + " | ".join(marks) + " |")
    lines.append("")
    lines += [f"- ({number}) Refused before launch: {reason}" for reason, number in reasons.items()]
    lines += [
        "",
        f"Sequence classification, DoRA, offload, other precisions and optimizers: [a table]({OPTIONS_PAGE}).",
        "",
    ]
    lines += [f"- {session.hardware}: {conditions(session)}" for session in found]
    return "\n".join(lines)


def conditions(session: Session) -> str:
    """Versions, size of the model, and date."""
    named = [(name, session.versions.get(name, "")) for name in SHOWN_VERSIONS]
    versions = ", ".join(f"{name} {version}" for name, version in named if version)
    return f"{versions}; {MODELS.get(session.model, session.model)}; {session.date}"


def mark(found: list[Session], reasons: dict[str, int], strategy: StrategyName, method: Method) -> str:
    """Where a cell passed: the most GPUs, else CPU ranks; a number of ``reasons`` where it is refused."""
    reason = why_refused(strategy, method)
    if reason is not None:
        return f"no ({reasons.setdefault(reason, len(reasons) + 1)})"
    cell = (strategy, method, Task.CAUSAL_LM, "", "passed")
    for session in found:
        if any((one.strategy, one.method, one.task, one.option, one.result) == cell for one in session.proofs):
            return session.used_by(strategy).replace("NVIDIA ", "")
    return "not verified yet"


def why_refused(strategy: StrategyName, method: Method) -> str | None:
    """Why a launch would refuse the combination; None if it would not."""
    fields = {"model": "any/model", "data": "any/data", "strategy": strategy.value, "method.name": method.value}
    problems = refused(read(fields, where="table", base=Path("/")))
    return " ".join(f"{one.message} {one.remedy}" for one in problems) or None


def beyond(found: list[Session]) -> list[str]:
    """A table for each hardware: classification and options that no table above has, with methods by strategy."""
    lines: list[str] = []
    told: set[tuple[str, ...]] = set()
    for session in found:
        listed: dict[str, dict[str, list[str]]] = {}
        for proof in session.proofs:
            what = " ".join(filter(None, [CLASSIFICATION * (proof.task != Task.CAUSAL_LM), words(proof.option)]))
            if what and proof.result == "passed" and (what, proof.method, proof.strategy) not in told:
                told.add((what, proof.method, proof.strategy))
                listed.setdefault(what, {}).setdefault(proof.strategy, []).append(proof.method)
        if listed:
            lines += ["", f"## {session.hardware.replace('NVIDIA ', '')}", "", *options_table(listed), ""]
            lines += [f"{conditions(session)}."]
    return [*lines[1:], ""] if lines else []


def options_table(listed: dict[str, dict[str, list[str]]]) -> list[str]:
    """Options down, strategies across, methods in the cells."""
    present = [one.value for one in StrategyName if any(one.value in methods for methods in listed.values())]
    order = [method.value for method in Method]
    rows = [
        f"| {what} | " + " | ".join(", ".join(sorted(methods.get(one, []), key=order.index)) for one in present) + " |"
        for what, methods in sorted(listed.items())
    ]
    return [f"| | {' | '.join(present)} |", "|---" * (len(present) + 1) + "|", *rows]


def words(option: str) -> str:
    return option.replace("-", " ")


if __name__ == "__main__":
    main()
