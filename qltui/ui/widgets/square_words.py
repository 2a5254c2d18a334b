"""What is to be said of a square of the matrix: why not, and what is known by having run it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from qltui.facts import measured, verified
from qltui.ui import words
from qltui.ui.widgets.fit_panel import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qltui.advice.matrix import Square
    from qltui.facts.measured import Measurement
    from qltui.facts.verified import Proof, Session

BAR = 30
"""Columns of a bar as long as the card's memory."""
PAGES = "docs/verified.md has every option, docs/memory.md how the plan compares with what was measured"
SHOWN = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "deepspeed")
"""Packages whose versions are told."""


def name(square: Square) -> str:
    """A square in words: row and column."""
    return " · ".join(square.place)


def why_lines(square: Square) -> list[Content]:
    """All that blocks it, and what it takes of a GPU by part."""
    return [*_blocks(square), *_plan(square)] or [Content(square.why)]


def _blocks(square: Square) -> Iterator[Content]:
    for finding in square.blocks:
        yield Content.assemble(("✗ ", "bold $error"), (finding.rule, "bold"))
        yield Content(words.plain(finding.message))
        yield Content.styled(f"why     {words.plain(finding.why)}", "$muted")
        yield Content.styled(f"source  {words.plain(finding.source)}", "$muted")
        yield Content("")
    if square.blocks:
        yield Content.styled("Its memory is not planned: it would not run.", "$muted")


def _plan(square: Square) -> Iterator[Content]:
    fitted = square.fit
    if fitted is None or not fitted.capacity:
        return
    yield verdict(fitted)
    yield Content("")
    most = max(fitted.capacity, fitted.total)
    parts = sorted(((size, part.value) for part, size in fitted.parts.items() if size), reverse=True)
    for size, part in parts:
        bar = "█" * max(1, round(size / most * BAR))
        yield Content.assemble(f"{part:<26}", f"{words.size(size):>10}  ", (bar, "$primary"))
    yield Content.styled(f"{'together':<26}{words.size(fitted.total):>10}", "bold")
    yield Content.styled(f"{'the card has':<26}{words.size(fitted.capacity):>10}", "$muted")
    yield Content("")
    if not fitted.is_safe:
        yield Content("Fewer tokens (data.max_length), a smaller micro batch or more checkpointed layers take less;")
        yield Content("the square with ★ is the planner's way, which sets them.")


def evidence_lines(square: Square) -> list[Content]:
    """Where it was run, and runs like it that were measured."""
    sessions = [line for session in verified.sessions() for line in _session(session, square)]
    near = measured.near(square.strategy.value, square.method.value, square.fit.total if square.fit else None)
    return [
        Content.styled("Trained, audited, saved, resumed, and loaded by plain PEFT or Transformers", "bold"),
        *(sessions or [Content.styled("not run yet", "$muted")]),
        Content(""),
        Content.styled("Most memory that torch had allocated on a GPU, in runs like it", "bold"),
        *([_point(one) for one in near] or [Content.styled("not measured yet", "$muted")]),
        Content(""),
        Content.styled(PAGES, "$muted"),
    ]


def _session(session: Session, square: Square) -> Iterator[Content]:
    """What was run of a square on one kind of machine: the machine, then what passed and what did not."""
    proofs = [proof for proof in session.proofs if _is_of(proof, square)]
    if not proofs:
        return
    there = ((name, session.versions[name].partition("+")[0]) for name in SHOWN if name in session.versions)
    versions = ", ".join(map(" ".join, there))
    yield Content.assemble(
        (session.used_by(square.strategy.value), "bold"), (f"  {versions}, {session.date}", "$muted")
    )
    if passed := [_what(proof) for proof in proofs if proof.result == "passed"]:
        yield Content.assemble(("  ✓ passed: ", "$success"), ", ".join(passed))
    for proof in proofs:
        if proof.result != "passed":
            yield Content.assemble((f"  × {proof.result}: ", "$error"), f"{_what(proof)}: {words.plain(proof.reason)}")


def _what(proof: Proof) -> str:
    task = "" if proof.task == "causal_lm" else proof.task.replace("_", " ")
    return " with ".join(filter(None, [task, proof.option.replace("-", " ")])) or "as it is"


def _is_of(proof: Proof, square: Square) -> bool:
    """Whether it is a run of this square; without offload any option counts but that."""
    if (proof.strategy, proof.method) != (square.strategy.value, square.method.value):
        return False
    return (proof.option == "offload") if square.offload else proof.option != "offload"


def _point(one: Measurement) -> Content:
    model = one.model.rpartition("/")[2]
    layers = {"none": "", "all": ", all layers recomputed"}.get(one.checkpointed, f", {one.checkpointed} recomputed")
    about = f"{one.rows} × {one.tokens:,} tokens{layers}"
    return Content.assemble(
        f"{words.size(one.allocated):>10}  ", f"{model:<22}", (f"{about} · {one.hardware}", "$muted")
    )


def proven(square: Square) -> str:
    """Where it was proven by running it, in a line; nothing of a square that would not run as it stands."""
    if square.blocks:
        return ""
    option = "offload" if square.offload else ""
    for session in verified.sessions():
        for proof in session.proofs:
            same = (proof.strategy, proof.method) == (square.strategy.value, square.method.value)
            if same and proof.option == option and proof.result == "passed" and proof.task == "causal_lm":
                version = session.versions.get("torch", "").partition("+")[0]
                return f"verified on {session.used_by(proof.strategy)}, torch {version}, {session.date}"
    return "not verified by a run yet"
