"""README's table of what works, from the committed results: ``python -m cells.table README.md`` puts it there."""

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


def main() -> None:
    page = Path(sys.argv[1])
    page.write_text(with_table(page.read_text("utf-8")), "utf-8")


def with_table(page: str) -> str:
    """The page with its table made anew."""
    return with_part(page, BEGIN, END, table(sessions()))


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
    lines += ["", *beyond(found)]
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
    """A line for each hardware: classification and options, with methods and strategies, that no line above has."""
    lines = []
    told: set[tuple[str, ...]] = set()
    for session in found:
        listed: dict[str, dict[str, list[str]]] = {}
        for proof in session.proofs:
            what = " ".join(filter(None, [CLASSIFICATION * (proof.task != Task.CAUSAL_LM), words(proof.option)]))
            if what and proof.result == "passed" and (what, proof.method, proof.strategy) not in told:
                told.add((what, proof.method, proof.strategy))
                listed.setdefault(what, {}).setdefault(proof.method, []).append(proof.strategy)
        if listed:
            said = [
                f"{what} ({'; '.join(f'{method}: ' + ', '.join(names) for method, names in methods.items())})"
                for what, methods in listed.items()
            ]
            lines += [f"Also verified on {session.hardware.replace('NVIDIA ', '')}: {', '.join(said)}.", ""]
    return lines


def words(option: str) -> str:
    return option.replace("-", " ")


if __name__ == "__main__":
    main()
