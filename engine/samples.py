"""What the model answers to prompts of the user's own, while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.collective import world
from engine.config import DataFormat
from engine.errors import BadInput
from engine.evaluate import evaluating
from engine.generation import write_answers
from engine.templates import TemplateProblem, question_text, row_template

if TYPE_CHECKING:
    from engine.session import Session


def report_samples(session: Session, when: str) -> bool:
    """Answer ``training.sample_prompts`` and say the answers; false if a stop was asked for.

    ``when`` is before, during or after training. Ranks that hold all weights leave it to rank 0.
    """
    prompts = session.config.training.sample_prompts
    if not prompts:
        return True
    if session.requests.stop_wanted():
        return False
    if world()[0] > 0 and not session.strategy.shards_parameters:
        return True
    session.reporter.state("evaluating")
    with session.reporter.phase("eval", f"samples {when} training"), evaluating(session):
        answers = write_answers(session, [_tokens(session, prompt) for prompt in prompts])
    if session.reporter.rank == 0:
        for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), 1):
            session.reporter.emit("prompted", number=number, prompt=prompt, answer=answer.strip(), when=when)
    return True


def _tokens(session: Session, prompt: str) -> list[int]:
    """A prompt put as the rows it learns from."""
    tokenizer = session.tokenizer
    template = row_template(DataFormat(session.rows.summary["format"]), tokenizer)
    try:
        text = question_text(template, tokenizer, [{"role": "user", "content": prompt}])
    except TemplateProblem as problem:
        raise BadInput(f"training.sample_prompts: {prompt[:40]!r} {problem}.") from None
    tokens: list[int] = tokenizer(text, add_special_tokens=not template.is_chat)["input_ids"]
    return tokens
