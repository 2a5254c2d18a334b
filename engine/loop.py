"""The training loop, readable from top to bottom."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from engine import checkpoint
from engine.batches import BatchPlan, micro_batches
from engine.collective import sum_over_ranks, world
from engine.evaluate import report_evaluation
from engine.loss import summed_loss
from engine.model import trainable
from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch

    from engine.session import Session


def train(session: Session, plan: BatchPlan) -> bool:
    """Train from the session's step to its last; true if it got there, false if a stop was asked for.

    Saves a checkpoint at the end and when stopped, so that a later attempt goes on from exactly here.
    """
    reporter = session.reporter
    stream = micro_batches(
        session.rows.train, plan, session.tokenizer.pad_token_id, reporter.step, session.total_steps,
        session.config.data.num_workers,
    )  # fmt: skip
    if session.random_state is not None:
        checkpoint.restore_random_state(session.random_state, session.device)
    parameters = list(trainable(session.unwrapped).values())
    session.model.train()
    reporter.state("training")
    with contextlib.closing(stream):
        _steps(session, plan, stream, parameters)
    _save(session)
    return reporter.step >= session.total_steps and not session.requests.stop


def _steps(
    session: Session,
    plan: BatchPlan,
    stream: Generator[list[dict[str, torch.Tensor]]],
    parameters: list[torch.nn.Parameter],
) -> None:
    """Optimizer steps until the last, or until a stop."""
    reporter, training = session.reporter, session.config.training
    while reporter.step < session.total_steps:
        started = time.monotonic()
        with reporter.phase("data", quiet=True):
            batches = next(stream)
        data_time = time.monotonic() - started
        target_tokens, tokens, *flags = sum_over_ranks(
            [_count_targets(batches), _count_tokens(batches), *session.requests.poll()], session.device
        )
        checkpoint_wanted = session.requests.agree(flags)
        if session.requests.stop:
            break
        loss = _accumulate_gradients(session, batches, target_tokens)
        learning_rate = session.schedule.get_last_lr()[0]
        with reporter.phase("optimizer", quiet=True):
            limit = training.max_grad_norm or float("inf")
            grad_norm = float(session.accelerator.clip_grad_norm_(parameters, limit))
            session.optimizer.step()
            if not session.accelerator.optimizer_step_was_skipped:  # fp16 skips steps whose gradients overflow
                session.schedule.step()
                session.updates += learning_rate > 0
            session.optimizer.zero_grad()
        loss = sum_over_ranks([loss], session.device)[0] / max(target_tokens, 1.0)
        reporter.step += 1
        step_time = time.monotonic() - started
        epoch = reporter.step / plan.steps_per_epoch
        reporter.step_done(
            loss=loss, learning_rate=learning_rate, grad_norm=grad_norm, epoch=epoch, tokens=int(tokens),
            target_tokens=int(target_tokens), step_time=step_time, data_time=data_time,
            last=reporter.step == session.total_steps,
        )  # fmt: skip
        _say(session, loss, learning_rate, grad_norm, tokens / step_time)
        if checkpoint_wanted or _due(reporter.step, training.save_every):
            _save(session)
            reporter.state("training")
        if _due(reporter.step, training.eval_every) and reporter.step < session.total_steps:
            if not report_evaluation(session, "during"):
                break
            reporter.state("training")


def _accumulate_gradients(session: Session, batches: list[dict[str, torch.Tensor]], target_tokens: float) -> float:
    """Forward and backward over the micro batches; this rank's summed loss.

    DDP averages gradients over ranks, so each rank's loss is scaled by their number: the sum over ranks and micro
    batches is then the mean over all target tokens of the step.
    """
    reporter, accelerator = session.reporter, session.accelerator
    scale = world()[1] / max(target_tokens, 1.0)
    total = 0.0
    for number, batch in enumerate(batches, 1):
        last = number == len(batches)
        with contextlib.nullcontext() if last else accelerator.no_sync(session.model):
            with reporter.phase("forward", quiet=True):
                batch = {name: tensor.to(session.device, non_blocking=True) for name, tensor in batch.items()}
                loss = summed_loss(session.model, batch)
            with reporter.phase("backward", quiet=True):
                accelerator.backward(loss * scale)
            total += float(loss.detach())
    return total


def _save(session: Session) -> None:
    session.reporter.state("saving")
    checkpoint.save(session)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _count_targets(batches: list[dict[str, torch.Tensor]]) -> float:
    return float(sum(int((batch["labels"][:, 1:] != IGNORED).sum()) for batch in batches))


def _count_tokens(batches: list[dict[str, torch.Tensor]]) -> float:
    return float(sum(int(batch["attention_mask"].sum()) for batch in batches))


def _say(session: Session, loss: float, learning_rate: float, grad_norm: float, tokens_per_second: float) -> None:
    """The step to the log and to the trackers; rank 0 speaks for all."""
    reporter = session.reporter
    if reporter.rank > 0:
        return
    print(
        f"step {reporter.step}/{session.total_steps} loss {loss:.4f} lr {learning_rate:.2e}"
        f" grad {grad_norm:.2f} {tokens_per_second:,.0f} tok/s",
        flush=True,
    )
    values = {
        "loss": loss,
        "learning_rate": learning_rate,
        "grad_norm": grad_norm,
        "tokens_per_second": tokens_per_second,
    }
    session.accelerator.log(values, step=reporter.step)
