"""Loss over the held-out rows, and answers generated and compared with the wanted ones."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from engine.batches import collate
from engine.collective import gathered, sum_over_ranks, world
from engine.generation import write_answers
from engine.loss import count_targets, loss_and_hits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.session import Session


class Answer(NamedTuple):
    """One generated answer beside the one in the data."""

    row: int
    prompt: str
    wanted: str
    answer: str

    @property
    def exact(self) -> bool:
        return self.answer == self.wanted


class Score(NamedTuple):
    """What an evaluation found."""

    loss: float
    """Mean over all targets."""
    rows: int
    accuracy: float | None
    """Share of rows whose class was found; None where rows have no class."""


@torch.no_grad()
def evaluation_score(session: Session) -> Score | None:
    """The score over all evaluation rows; None if a stop was asked for meanwhile.

    Every rank takes part in every batch, with a row that does not count where the rows do not come out even: gathering
    sharded weights takes all ranks, and all agree on a stop at the same batch.
    """
    rows = session.rows.evaluation
    assert rows is not None
    rank, world_size = world()
    size = session.config.training.micro_batch_size
    strategy = session.strategy
    loss, targets, hits = 0.0, 0.0, 0.0
    with evaluating(session):
        for start in range(0, len(rows), size * world_size):
            if session.requests.stop_wanted():
                return None
            mine = range(start + rank * size, min(start + (rank + 1) * size, len(rows)))
            if not len(mine) and not strategy.shards_parameters:
                continue
            batch = collate([rows[index] for index in mine or [0]], session.tokenizer.pad_token_id)
            batch = {name: tensor.to(session.device) for name, tensor in batch.items()}
            with strategy.autocast():
                if session.classifies:
                    batch_loss, batch_hits = loss_and_hits(strategy.unwrapped, batch)
                else:
                    batch_loss, batch_hits = float(session.loss(strategy.unwrapped, batch)), 0.0
            if len(mine):
                loss, targets, hits = loss + batch_loss, targets + count_targets(batch), hits + batch_hits
    loss, targets, hits = sum_over_ranks([loss, targets, hits], session.device)
    return Score(loss / max(targets, 1.0), len(rows), hits / len(rows) if session.classifies else None)


@contextlib.contextmanager
def evaluating(session: Session) -> Iterator[None]:
    """The model in evaluation mode."""
    session.strategy.model.eval()
    try:
        yield
    finally:
        session.strategy.model.train()


@torch.no_grad()
def generate_answers(session: Session, count: int) -> list[Answer] | None:
    """Greedy answers to the first ``count`` evaluation rows that ask something, on every rank.

    None if a stop was asked for meanwhile.
    """
    rows = session.rows.evaluation
    assert rows is not None
    rank, world_size = world()
    answerable = [index for index, prompt in enumerate(rows["prompt_ids"]) if len(prompt)][:count]
    size = max(8, session.config.training.micro_batch_size)
    answers: list[Answer] = []
    with evaluating(session):
        for start in range(0, len(answerable), size * world_size):
            if session.requests.stop_wanted():
                return None
            mine = answerable[start + rank * size : start + (rank + 1) * size]
            if mine:
                answers += _answer(session, mine)
            elif session.strategy.shards_parameters:
                _answer(session, answerable[:1])  # gathering weights takes all ranks
    return sorted(answer for part in gathered(answers) for answer in part)


def _answer(session: Session, indices: list[int]) -> list[Answer]:
    rows = [session.rows.evaluation[index] for index in indices]  # type: ignore[index]
    texts = write_answers(session, [row["prompt_ids"] for row in rows])
    return [
        Answer(index, row["question"].strip(), row["answer"].strip(), text.strip())
        for index, row, text in zip(indices, rows, texts, strict=True)
    ]


def report_evaluation(session: Session, when: str) -> bool:
    """Evaluate as configured and say the result; false if a stop cut it short.

    ``when`` is before, during or after training; answers are generated before and after.
    """
    if session.rows.evaluation is None:
        return True
    count = session.config.training.generate_answers if when != "during" else 0
    if when == "before" and not count:
        return True
    session.reporter.state("evaluating")
    started = time.monotonic()
    with session.reporter.phase("eval", f"{when} training"):
        result = evaluation_score(session)
        answers = generate_answers(session, count) if result is not None and count else []
    if result is None or answers is None:
        return False
    if session.reporter.rank == 0:
        scores: dict[str, Any] = {} if result.accuracy is None else {"accuracy": result.accuracy}
        if answers:
            scores |= {"exact_match": sum(answer.exact for answer in answers) / len(answers), "answers": len(answers)}
        seconds = time.monotonic() - started
        session.reporter.emit("evaluation", loss=result.loss, rows=result.rows, when=when, seconds=seconds, **scores)
        session.strategy.accelerator.log({"eval_loss": result.loss, **scores}, step=session.reporter.step)
        print(f"evaluation {when} training: loss {result.loss:.4f}" + _share(result, answers), flush=True)
    if answers:
        _show_sample(session, answers, when)
    return True


def _share(score: Score, answers: list[Answer]) -> str:
    if score.accuracy is not None:
        return f", {score.accuracy:.1%} of {score.rows} rows right"
    right = sum(answer.exact for answer in answers)
    return f", {right} of {len(answers)} answers exact" if answers else ""


def _show_sample(session: Session, answers: list[Answer], when: str) -> None:
    """The first question the base got wrong, before and after; its row travels with the checkpoints."""
    if when == "before":
        session.sample_row = next((answer.row for answer in answers if not answer.exact), 0)
    answer = next((answer for answer in answers if answer.row == session.sample_row), answers[0])
    if session.reporter.rank == 0:
        session.reporter.emit("sample", prompt=answer.prompt, wanted=answer.wanted, answer=answer.answer, when=when)
