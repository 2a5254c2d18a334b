"""The training loop, readable from top to bottom."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from engine import checkpoint
from engine.audit import AuditFailure, audit_sharding, report_audit
from engine.batches import BatchPlan, micro_batches
from engine.collective import sum_over_ranks, world
from engine.evaluate import report_evaluation
from engine.isolation import reads_in_one_line
from engine.loss import count_targets
from engine.packed_rows import count_tokens
from engine.samples import report_samples
from engine.strategy.base import sharding_units

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
        session.config.data.num_workers, in_one_line=reads_in_one_line(session.strategy.unwrapped),
    )  # fmt: skip
    if session.random_state is not None:
        checkpoint.restore_random_state(session.random_state, session.strategy.devices)
    session.strategy.model.train()
    if world()[1] > 1:
        reporter.time_layers(sharding_units(session.strategy.unwrapped))
    reporter.state("training")
    with contextlib.closing(stream):
        _steps(session, plan, stream)
    _save(session)
    return reporter.step >= session.total_steps and not session.requests.stop


def _steps(session: Session, plan: BatchPlan, stream: Generator[list[dict[str, torch.Tensor]]]) -> None:
    """Optimizer steps until the last, or until a stop."""
    reporter, training = session.reporter, session.config.training
    first = reporter.step
    while reporter.step < session.total_steps:
        started = time.monotonic()
        with reporter.phase("data", quiet=True):
            batches = next(stream)
        data_time = time.monotonic() - started
        target_tokens, tokens, *flags = sum_over_ranks(
            [sum(map(count_targets, batches)), sum(map(count_tokens, batches)), *session.requests.poll()],
            session.device,
        )
        checkpoint_wanted = session.requests.agree(flags)
        if session.requests.stop:
            break
        audited = reporter.step in (first, session.total_steps - 1)
        if audited:
            session.watch.arm()
        loss = _accumulate_gradients(session, batches, target_tokens)
        if audited:
            with reporter.phase("forward", quiet=True):  # what was computed with there
                report_audit(reporter, "weights", session.watch.verify)
        learning_rate = session.schedule.get_last_lr()[0]
        with reporter.phase("optimizer", quiet=True):
            grad_norm, applied = session.strategy.update(training.max_grad_norm)
            if applied:  # fp16 skips steps whose gradients overflow
                session.schedule.step()
                session.updates += learning_rate > 0
        if reporter.step == first:
            check_sharding(session, stepped=True)
        loss = sum_over_ranks([loss], session.device)[0] / max(target_tokens, 1.0)
        reporter.step += 1
        step_time = time.monotonic() - started
        epoch = plan.epochs(reporter.step)
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
            if not (report_evaluation(session, "during") and report_samples(session, "during")):
                break
            reporter.state("training")


def _accumulate_gradients(session: Session, batches: list[dict[str, torch.Tensor]], target_tokens: float) -> float:
    """Forward and backward over the micro batches; this rank's summed loss.

    Every strategy averages gradients over ranks, so each rank's loss is scaled by their number: the sum over ranks and
    micro batches is then the mean over all target tokens of the step.
    """
    reporter, strategy = session.reporter, session.strategy
    scale = world()[1] / max(target_tokens, 1.0)
    total = 0.0
    for number, batch in enumerate(batches, 1):
        with strategy.micro_batch(last=number == len(batches)):
            with reporter.phase("forward", quiet=True), strategy.autocast():
                batch = {name: tensor.to(session.device, non_blocking=True) for name, tensor in batch.items()}
                loss = session.loss(strategy.model, batch)
            with reporter.phase("backward", quiet=True):
                strategy.backward(loss * scale)
            total += float(loss.detach())
            del loss  # its graph keeps the inputs of bitsandbytes' int8 layers, through the whole next forward
    return total


def check_sharding(session: Session, *, stepped: bool) -> None:
    """Prove that this rank holds its share only; a run that holds more ends, unless full copies were allowed."""
    strategy, reporter = session.strategy, session.reporter
    if not (strategy.shards_parameters or strategy.shards_optimizer):
        detail = f"{session.config.strategy.name.value} keeps every weight whole"
        reporter.emit("audit", audit="sharding", result="not_applicable", detail=detail)
        return
    if not (strategy.shards_parameters or stepped):
        detail = "optimizer states come with the first step"
        reporter.emit("audit", audit="sharding", result="pending", detail=detail)
        return
    try:
        with reporter.phase("optimizer" if stepped else "prepare", quiet=True):
            report_audit(reporter, "sharding", lambda: audit_sharding(strategy, stepped=stepped))
    except AuditFailure as failure:
        if not session.config.strategy.allow_replicated:
            raise
        reporter.warn(f"{failure} (allowed by strategy.allow_replicated)")


def _save(session: Session) -> None:
    session.reporter.state("saving")
    checkpoint.save(session)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


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
    session.strategy.accelerator.log(values, step=reporter.step)
