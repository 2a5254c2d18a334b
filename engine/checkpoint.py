"""Checkpoints and results: written aside, checked, renamed whole; read back so that a run goes on exactly."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import time
from typing import TYPE_CHECKING, Any

import torch

from engine.audit import AuditFailure, audit_adapter
from engine.collective import barrier, from_rank_0, world
from engine.config import Method
from engine.errors import BadInput
from engine.model import trainable

if TYPE_CHECKING:
    from pathlib import Path

    from engine.session import Session

STEP_FOLDER = re.compile(r"step-(\d+)$")


class SaveFailed(RuntimeError):
    """Nothing was saved this time; what was saved before is untouched."""


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints in ``folder``, newest first."""
    found = [path for path in folder.glob("step-*") if STEP_FOLDER.match(path.name)] if folder.is_dir() else []
    return sorted(found, key=_step_of, reverse=True)


def _step_of(path: Path) -> int:
    match = STEP_FOLDER.match(path.name)
    return int(match.group(1)) if match else -1


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
                torch.save(_random_state(session.device), partial / f"rank{world()[0]}.pt")
                if world()[0] == 0:
                    _write_state(session, partial)
                    if session.config.method.name is not Method.FULL:
                        _save_adapter(session, partial / "adapter", folder / "adapter")
                barrier()
                if world()[0] == 0:
                    _publish(partial, folder)
                    _prune(session.run.checkpoints, session.config.training.keep_checkpoints)
            if world()[0] == 0:
                relative = str(folder.relative_to(session.run.path))
                session.reporter.emit("checkpoint", path=relative, seconds=time.monotonic() - started, resumed=False)
        barrier()
    return folder


def save_result(session: Session) -> Path:
    """Write what the run was for: ``adapter/``, or ``model/`` after full fine-tuning, with the tokenizer beside it."""
    full = session.config.method.name is Method.FULL
    folder = session.run.model if full else session.run.adapter
    with session.reporter.phase("save", f"result in {folder.name}/"):
        if world()[0] == 0:
            partial = folder.with_name(f".{folder.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            with _nothing_half_written(partial, folder):
                if full:
                    session.unwrapped.to(session.weights_dtype).save_pretrained(partial)
                    session.reporter.emit(
                        "audit", audit="adapter", result="not_applicable", detail="a whole model was saved"
                    )
                else:
                    _save_adapter(session, partial, folder)
                session.tokenizer.save_pretrained(partial)
                shutil.rmtree(folder, ignore_errors=True)
                _publish(partial, folder)
        barrier()
    return folder


def restore(session: Session) -> bool:
    """Go on from the newest checkpoint that can be read; false if there is none.

    A checkpoint that cannot be read is said and skipped; all ranks take the same one, rank 0's choice.
    """
    chosen = from_rank_0(_newest_readable(session) if world()[0] == 0 else None)
    if chosen is None:
        return False
    started = time.monotonic()
    folder = session.run.checkpoints / chosen
    state = torch.load(folder / "state.pt", map_location=session.device, weights_only=True)
    parameters = trainable(session.unwrapped)
    if set(parameters) != set(state["trainable"]):
        raise AuditFailure(f"{folder}: holds other trainable parameters than this run has")
    with torch.no_grad():
        for name, value in state["trainable"].items():
            parameters[name].copy_(value)
    session.optimizer.load_state_dict(state["optimizer"])
    session.schedule.load_state_dict(state["schedule"])
    if session.accelerator.scaler is not None:
        session.accelerator.scaler.load_state_dict(state["scaler"])
    session.reporter.step, session.updates, session.sample_row = state["step"], state["updates"], state["sample_row"]
    if world()[0] == 0:
        relative = str(folder.relative_to(session.run.path))
        session.reporter.emit("checkpoint", path=relative, seconds=time.monotonic() - started, resumed=True)
    session.random_state = torch.load(folder / f"rank{world()[0]}.pt", weights_only=True)
    return True


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set this rank's generators as they were saved; last thing before the first step."""
    torch.set_rng_state(state["torch"].cpu())
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)


def _random_state(device: torch.device) -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def _write_state(session: Session, folder: Path) -> None:
    scaler = session.accelerator.scaler
    state = {
        "step": session.reporter.step,
        "trainable": {name: parameter.detach() for name, parameter in trainable(session.unwrapped).items()},
        "optimizer": session.optimizer.state_dict(),
        "schedule": session.schedule.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "updates": session.updates,
        "sample_row": session.sample_row,
    }
    torch.save(state, folder / "state.pt")


def _save_adapter(session: Session, aside: Path, folder: Path) -> None:
    """Save the adapter ``aside`` and audit the file before it may become ``folder``; a failed audit ends the run."""
    session.unwrapped.save_pretrained(aside)
    path = str(folder.relative_to(session.run.path))
    try:
        detail = audit_adapter(aside, session.unwrapped, session.updates)
    except AuditFailure as error:
        session.reporter.emit("audit", audit="adapter", result="failed", detail=str(error), path=path)
        raise
    session.reporter.emit("audit", audit="adapter", result="passed", detail=detail, path=path)


def _newest_readable(session: Session) -> str | None:
    for begun in session.run.checkpoints.glob(".*.partial"):  # of an attempt that was killed while saving
        shutil.rmtree(begun, ignore_errors=True)
    for folder in checkpoints(session.run.checkpoints):
        try:
            torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            saved_by = len(list(folder.glob("rank*.pt")))
        except Exception as error:  # whatever torch finds wrong with the file, an older checkpoint may be good
            aside = folder.with_name(f"unreadable-{folder.name}")  # its place is needed when this step comes again
            shutil.rmtree(aside, ignore_errors=True)
            folder.rename(aside)
            why = f"{folder.name} cannot be read ({type(error).__name__})"
            session.reporter.warn(f"{why}; it is now {aside.name}, and an older checkpoint is tried")
            continue
        if saved_by != world()[1]:
            raise BadInput(f"{folder} was saved by {saved_by} ranks, this run has {world()[1]}; resume with as many.")
        return folder.name
    return None


def _fresh_aside(folder: Path) -> Path:
    """An empty folder beside the one to be, made by rank 0 and there for all."""
    partial = folder.with_name(f".{folder.name}.partial")
    if world()[0] == 0:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    barrier()
    return partial


def _publish(partial: Path, folder: Path) -> None:
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
