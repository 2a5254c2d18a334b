"""Checkpoints and results: written aside, checked, renamed whole; read back so that a run goes on exactly."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import set_seed

from engine.audit import AuditFailure, audit_adapter, report_audit
from engine.collective import barrier, from_rank_0, world
from engine.errors import BadInput
from engine.merging.live import iter_merged
from engine.strategy.base import DTYPES
from engine.trained_state import checkpoints, read_trained_state, seal, write_trained_state

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from engine.session import Session
    from engine.trained_state import Chosen


__all__ = ["SaveFailed", "iter_merged", "publish", "restore", "restore_random_state", "save", "save_result"]


class SaveFailed(RuntimeError):
    """Nothing was saved this time; what was saved before is untouched."""


def save(session: Session) -> Path:
    """Write ``checkpoints/step-<n>`` with all ranks; returns its path.

    An existing checkpoint of this step is left as it is: the state after a step is the same each time it is reached.
    """
    step = session.reporter.step
    folder = session.run.checkpoints / f"step-{step:08d}"
    with session.reporter.phase("save", f"checkpoint at step {step}"):
        if not from_rank_0(folder.exists()):
            started = time.monotonic()
            partial = _fresh_aside(folder)
            with _nothing_half_written(partial, folder):
                torch.save(_rank_state(session), partial / f"rank{world()[0]}.pt")
                weights = write_trained_state(session.strategy.trained_state(), partial, session.keeps_adapter)
                if world()[0] == 0:
                    torch.save(_run_state(session), partial / "state.pt")
                    if session.keeps_adapter:
                        _save_adapter(session, weights, partial / "adapter", folder / "adapter")
                barrier()
                if world()[0] == 0:
                    seal(partial)
                    publish(partial, folder)
                    _prune(session.run.checkpoints, session.config.training.keep_checkpoints)
            if world()[0] == 0:
                relative = str(folder.relative_to(session.run.path))
                session.reporter.emit("checkpoint", path=relative, seconds=time.monotonic() - started, resumed=False)
        barrier()
    return folder


def save_result(session: Session) -> Path:
    """Write what the run was for: ``adapter/``, or ``model/`` after full fine-tuning, with the tokenizer beside it."""
    folder = session.run.adapter if session.keeps_adapter else session.run.model
    with session.reporter.phase("save", f"result in {folder.name}/"):
        weights = _whole_weights(session)
        if world()[0] == 0:
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            with _nothing_half_written(partial, folder):
                if session.keeps_adapter:
                    _save_adapter(session, weights, partial, folder)
                else:
                    session.strategy.unwrapped.save_pretrained(partial, state_dict=weights)
                    session.reporter.emit(
                        "audit", audit="adapter", result="not_applicable", detail="a whole model was saved"
                    )
                session.tokenizer.save_pretrained(partial)
                shutil.rmtree(folder, ignore_errors=True)
                publish(partial, folder)
        barrier()
    return folder


def _whole_weights(session: Session) -> dict[str, torch.Tensor]:
    """Every trained weight whole, on rank 0's host; a collective. Of a whole model in the precision it computes in."""
    dtype = None if session.keeps_adapter else DTYPES[session.strategy.compute]
    weights: dict[str, torch.Tensor] = {}
    same: dict[int, str] = {}  # tied weights are one parameter under two names
    for name, parameter in session.strategy.unwrapped.named_parameters(remove_duplicate=False):
        if not parameter.requires_grad:
            continue
        first = same.setdefault(id(parameter), name)
        if first != name:
            if not session.keeps_adapter and world()[0] == 0:
                weights[name] = weights[first]
            continue
        value = session.strategy.full(parameter)
        if world()[0] == 0:
            weights[name] = value.to("cpu", dtype, copy=True).contiguous()
    if not session.keeps_adapter and world()[0] == 0:
        model = session.strategy.unwrapped
        kept = {name for name, _ in model.named_buffers()} & set(model.state_dict())
        weights |= {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return weights


def restore(session: Session, chosen: Chosen | None) -> bool:
    """Go on from a checkpoint; false if there is none. All ranks were given the same one."""
    if chosen is None:
        return False
    started = time.monotonic()
    state, trained = chosen.state, read_trained_state(chosen.folder)
    _check_same_parameters(session, chosen, trained)
    session.strategy.load_trained_state(trained)
    _restore_schedule(session, state["schedule"])
    session.strategy.load_scaler_state(state["scaler"])
    session.reporter.step, session.updates, session.sample_row = state["step"], state["updates"], state["sample_row"]
    if world()[0] == 0:
        session.reporter.emit(
            "checkpoint", path=_relative(chosen.folder, session.run.path), seconds=time.monotonic() - started,
            resumed=True,
        )  # fmt: skip
    mine = chosen.folder / f"rank{world()[0]}.pt"
    if state["world_size"] == world()[1] and mine.exists():
        own = torch.load(mine, weights_only=True)
        session.strategy.load_rank_state(own["optimizer"])
        session.random_state = own
    else:
        set_seed(session.config.training.seed + world()[0] + state["step"])
    return True


def _restore_schedule(session: Session, saved: Mapping[str, Any]) -> None:
    """Go on at the saved step of the schedule that the configuration asks for: a new run may have another rate."""
    schedule = session.schedule
    highest = list(schedule.base_lrs)
    schedule.load_state_dict(saved)
    rates = [rate * shape(schedule.last_epoch) for rate, shape in zip(highest, schedule.lr_lambdas, strict=True)]
    schedule.load_state_dict({**schedule.state_dict(), "base_lrs": highest, "_last_lr": rates})
    for group, rate in zip(session.strategy.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _check_same_parameters(session: Session, chosen: Chosen, trained: Mapping[str, Any]) -> None:
    shapes = {
        name: tuple(getattr(one, "ds_shape", one.shape))
        for name, one in session.strategy.unwrapped.named_parameters() if one.requires_grad
    }  # fmt: skip
    saved = {name: tuple(values["weight"].shape) for name, values in trained.items()}
    different = sorted(name for name in shapes.keys() | saved.keys() if shapes.get(name) != saved.get(name))
    if different:
        raise BadInput(
            f"{chosen.folder}: {len(different)} of its {len(saved)} trained weights are not those of this run"
            f" (first: {different[0]}); resume with the model, method and adapter settings it was saved with.",
            "resume_mismatch",
        )


def restore_random_state(state: dict[str, Any], devices: list[torch.device]) -> None:
    """Set this rank's generators as they were saved; last thing before the first step."""
    torch.set_rng_state(state["torch"].cpu())
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    for device, saved in zip((one for one in devices if one.type == "cuda"), state["cuda"], strict=False):
        torch.cuda.set_rng_state(saved.cpu(), device)


def _rank_state(session: Session) -> dict[str, Any]:
    """What each rank keeps for itself: its generators, and of its optimizer what no other rank could use."""
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "cuda": [torch.cuda.get_rng_state(one) for one in session.strategy.devices if one.type == "cuda"],
        "optimizer": session.strategy.rank_state(),
    }


def _run_state(session: Session) -> dict[str, Any]:
    return {
        "step": session.reporter.step,
        "schedule": session.schedule.state_dict(),
        "scaler": session.strategy.scaler_state(),
        "updates": session.updates,
        "sample_row": session.sample_row,
        "strategy": session.config.strategy.name.value,
        "world_size": world()[1],
        "global_batch_size": session.global_batch_size,
        "needs_same_ranks": session.strategy.rank_state() is not None,
    }


def _save_adapter(session: Session, weights: dict[str, torch.Tensor], aside: Path, folder: Path) -> None:
    """Save the adapter ``aside`` and audit the file before it may become ``folder``; a failed audit ends the run."""
    # Rows of new tokens travel as trained rows of the adapter, so whole embeddings need not.
    session.strategy.unwrapped.save_pretrained(aside, state_dict=dict(weights), save_embedding_layers=False)

    def audit() -> str:
        return audit_adapter(aside, weights, session.updates, session.begun)

    report_audit(session.reporter, "adapter", audit, _relative(folder, session.run.path))


def _relative(path: Path, to: Path) -> str:
    return str(path.relative_to(to)) if path.is_relative_to(to) else str(path)


def _fresh_aside(folder: Path) -> Path:
    """An empty folder beside the one to be, made by rank 0 and there for all."""
    partial = folder.with_name(f".{folder.name}.partial")
    if world()[0] == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    barrier()
    return partial


def publish(partial: Path, folder: Path) -> None:
    """Give a finished folder its name, once its bytes are on the disk."""
    for path in partial.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
    partial.rename(folder)


def _prune(folder: Path, keep: int) -> None:
    for old in checkpoints(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


class _nothing_half_written:  # noqa: N801 - reads as a clause where it is used
    """Remove what was begun if writing fails, and say why in words."""

    def __init__(self, partial: Path, folder: Path) -> None:
        self.partial, self.folder = partial, folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            return
        shutil.rmtree(self.partial, ignore_errors=True)
        if not isinstance(error, Exception) or isinstance(error, AuditFailure):
            return
        # torch and safetensors report a failed write as errors of their own, so the disk is asked too.
        full = getattr(error, "errno", None) == errno.ENOSPC or _disk_is_full(self.folder)
        reason = "no space is left on the disk" if full else str(error).strip().splitlines()[0]
        raise SaveFailed(
            f"{self.folder} could not be saved: {reason}. Earlier checkpoints are untouched:"
            " make room on the disk, then resume the run."
        ) from error


def _disk_is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder.parent).free < 1 << 20
    except OSError:
        return False
