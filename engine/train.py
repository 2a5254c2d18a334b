"""One rank's life: ``python -m engine.train RUN_DIR``, started once a rank by ``engine.launch``, torchrun,
``accelerate launch`` or srun, with the rendezvous in the standard environment (RANK, WORLD_SIZE, MASTER_ADDR ...).

Exit codes: 0 finished or stopped as asked, 3 the user's input cannot be used, 1 anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
from pathlib import Path
from typing import NoReturn

import engine.allocator  # noqa: F401  # isort: skip - before torch, which it sets up
from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from accelerate.utils import set_seed

from engine import checkpoint
from engine.audit import LoadedWeights, WeightWatch, begun_checksums
from engine.base_files import record_base
from engine.batches import BatchPlan, Packing
from engine.chunked_loss import choose_loss
from engine.collective import from_rank_0, gathered, world
from engine.config import ConfigError, RunConfig, Tracker
from engine.config.reading import read_file
from engine.data import prepare_rows
from engine.errors import EXIT_BAD_INPUT, BadInput
from engine.evaluate import report_evaluation
from engine.events import EventWriter, RunDirectory
from engine.isolation import check_isolation
from engine.loop import check_sharding, train
from engine.model import adapted_modules, load_model
from engine.optimizer import make_optimizer, make_schedule
from engine.parameters import trainable
from engine.reporter import Reporter
from engine.requests import Requests
from engine.samples import report_samples
from engine.session import Session
from engine.strategy import Strategy, join_ranks, make_strategy
from engine.tokenizer import load_tokenizer
from engine.trained_state import checkpoints, choose
from engine.versions import versions
from engine.waiting_linear import waiting


def main(arguments: list[str] | None = None) -> NoReturn:
    parser = argparse.ArgumentParser(prog="engine.train", description="One rank of a run.")
    parser.add_argument("run_dir", type=Path, help="directory with run.yaml")
    parser.add_argument("--attempt", type=int, help="attempt to write to; a new one if the launcher made none")
    options = parser.parse_args(arguments)
    quiet.quiet_transformers()
    Rank(RunDirectory(options.run_dir), options.attempt).live()


class Rank:
    """One rank, from its first event to its last."""

    def __init__(self, run: RunDirectory, attempt: int | None) -> None:
        self.run = run
        self.rank = int(os.environ.get("RANK", "0"))
        self.attempt = attempt
        self.reporter: Reporter | None = None
        self.session: Session | None = None

    def once(self) -> None:
        """Run and let go of everything, for a process that goes on to another run; raises what went wrong."""
        with contextlib.ExitStack() as held:
            try:
                self._open_attempt(held)
                self._run(read_config(self.run))
            except Exception as error:
                if self.reporter is not None:
                    self.reporter.failed(error)
                raise
            finally:
                if self.session is not None:
                    self.session.strategy.release()
                    self.session = None

    def live(self) -> NoReturn:
        """Run; whatever happens, say it in an event before the process ends. Does not return."""
        with contextlib.ExitStack() as held:
            try:
                self._open_attempt(held)
                self._run(read_config(self.run))
                leave(0)
            except (Exception, KeyboardInterrupt) as error:
                problem = BadInput(str(error)) if isinstance(error, ConfigError) else error
                if self.reporter is None:  # no attempt to write to: say it where the caller looks
                    print(f"error: {problem}", file=sys.stderr)
                else:
                    self.reporter.failed(problem)
                leave(EXIT_BAD_INPUT if isinstance(problem, BadInput) else 1)

    def _open_attempt(self, held: contextlib.ExitStack) -> None:
        """Events from here on. Started without our launcher, rank 0 makes the attempt and tells the others."""
        if self.attempt is None:
            if self.rank == 0:
                held.enter_context(self.run.claim())
            if int(os.environ.get("WORLD_SIZE", "1")) > 1:
                join_ranks(read_config(self.run))  # ranks that cannot meet make no attempt
            if self.rank == 0:
                self.attempt = self.run.new_attempt().number
            self.attempt = int(from_rank_0(self.attempt))
        events = EventWriter(
            self.run.attempts_dir / str(self.attempt) / "events" / f"rank{self.rank}.jsonl",
            attempt=self.attempt,
            node=int(os.environ.get("GROUP_RANK", os.environ.get("NODE_RANK", "0"))),
            rank=self.rank,
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )
        self.reporter = Reporter(events, self.rank, torch.device("cpu"))

    def _run(self, config: RunConfig) -> None:
        reporter = self.reporter
        assert reporter is not None
        with reporter.phase("prepare", "process group"):
            strategy = make_strategy(config, tracking_folder=str(self.run.path / "tracking"))
            reporter.device = strategy.device
        reporter.emit(
            "started", world_size=world()[1], device=str(strategy.device), pid=os.getpid(), versions=versions()
        )
        check_same_config(config)
        reporter.state("loading")
        make_deterministic(config)
        parent = parent_checkpoints(config, self.run)
        chosen = choose(self.run.checkpoints, parent, config.strategy.name.value, reporter)
        session, plan = self._prepare(config, strategy)
        self.session = session  # kept until the process ends, see leave()
        check_sharding(session, stepped=False)
        reached = True
        restored = checkpoint.restore(session, chosen)  # before the model answers: fsdp2 then has its weights whole
        check_isolation(session)
        session.loss = choose_loss(config, strategy, session.rows.train[0], reporter.warn)
        if not restored:
            # Same adapters on every rank, then each rank's own dropout.
            set_seed(config.training.seed + world()[0])
            reached = report_evaluation(session, "before") and report_samples(session, "before")
        reached = train(session, plan) and reached
        if reached:
            reached = report_evaluation(session, "after") and report_samples(session, "after")
        if reached:
            reporter.state("saving")
            result = checkpoint.save_result(session)
        else:
            result = checkpoints(self.run.checkpoints)[0] / "adapter"
        for tracker in strategy.accelerator.trackers:
            tracker.finish()
        relative = str(result.relative_to(self.run.path)) if result.exists() else None
        reporter.emit("finished", outcome="finished" if reached else "stopped", adapter=relative)

    def _prepare(self, config: RunConfig, strategy: Strategy) -> tuple[Session, BatchPlan]:
        """Load tokenizer, rows and model, and hand them to the strategy."""
        reporter = self.reporter
        assert reporter is not None
        assert self.attempt is not None
        with reporter.phase("data", "tokenising"):
            tokenizer = load_tokenizer(config)
            tokenizer.add_tokens(config.model.new_tokens)
            rows = prepare_rows(
                config, tokenizer, self.run.data, is_main=self.rank == 0, progress=reporter.progress
            )  # fmt: skip
        training = config.training
        plan = BatchPlan(
            seed=training.seed, rows=len(rows.train), micro_batch_size=training.micro_batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps, world_size=world()[1], rank=world()[0],
            shuffle=config.data.shuffle,
            packing=Packing(rows.lengths, config.data.max_length) if config.data.packing else None,
        )  # fmt: skip
        total_steps = training.max_steps or plan.steps(training.epochs)
        packed = {"sequences": plan.samples(0)} if plan.packs else {}
        reporter.emit("data", total_steps=total_steps, **rows.summary, **packed)
        with reporter.phase("load", "model"):
            set_seed(training.seed)
            model = load_model(config, strategy, tokenizer, rows.labels)
            if self.rank == 0:
                record_base(self.run, config, strategy.compute, rows.labels)
            described, begun = describe(model, strategy.casts_to), begun_checksums(model)
            weights = LoadedWeights(model, strategy.device, strategy.frozen_dtype)
            strategy.place(model, weights.see)
            loaded = weights.agreed()
        reporter.emit("model", **described)
        with reporter.phase("prepare", "optimizer and strategy"):
            strategy.prepare(model, lambda parameters: make_optimizer(config, parameters))
            schedule = make_schedule(config, strategy.optimizer, total_steps)
            start_trackers(config, self.run, strategy)
        if not loaded:
            reporter.emit("audit", audit="weights", result="not_applicable", detail="every weight is trained")
        session = Session(
            config=config, run=self.run, reporter=reporter,
            requests=Requests(self.run, self.attempt, strategy.device), strategy=strategy, tokenizer=tokenizer,
            rows=rows, schedule=schedule, watch=WeightWatch(strategy.unwrapped, loaded), begun=begun,
            total_steps=total_steps, global_batch_size=plan.global_batch_size,
        )  # fmt: skip
        return session, plan


def read_config(run: RunDirectory) -> RunConfig:
    """The run's configuration.

    Raises:
        ConfigError: ``run.yaml`` is missing or wrong.
    """
    return read_file(run.run_yaml)


def parent_checkpoints(config: RunConfig, run: RunDirectory) -> Path | None:
    """Where the run this one continues keeps its checkpoints: ``parent`` is a path, or an id beside this run."""
    return None if config.parent is None else RunDirectory(run.path.parent / config.parent).checkpoints


def check_same_config(config: RunConfig) -> None:
    """See that every rank was given the same run: on other machines ``run.yaml`` may be another file.

    Raises:
        BadInput: naming the fields that differ.
    """
    mine = flat(config)
    for rank, theirs in enumerate(everyone := gathered(mine)):
        different = [path for path in mine if theirs.get(path) != everyone[0].get(path)]
        if different:
            path = different[0]
            raise BadInput(
                f"{path}: rank {rank} was given {theirs.get(path)}, rank 0 {everyone[0].get(path)}"
                f" ({len(different)} fields differ); start all ranks with the same run.yaml."
            )


def make_deterministic(config: RunConfig) -> None:
    """On GPU exact repeatability costs speed, so it is asked for; CPU kernels used here repeat anyway."""
    if config.precision.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def describe(model: torch.nn.Module, casts_to: torch.dtype | None = None) -> dict[str, int]:
    """The fields of the `model` event. Packed 4-bit parameters count the numbers they stand for.

    Weights that wait to be quantised, or to be cast to ``casts_to``, count as if they were.
    """
    to_come = waiting(model)
    parameters = sum(layer.plain.numel() for layer in to_come)
    size = sum(layer.quantized_bytes for layer in to_come)
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        parameters += math.prod(state.shape) if state is not None else parameter.numel()
        size += parameter.numel() * (casts_to or parameter.dtype).itemsize
    return {
        "parameters": parameters,
        "trainable": sum(parameter.numel() for parameter in trainable(model).values()),
        "bytes": size,
        "modules": adapted_modules(model),
    }


def start_trackers(config: RunConfig, run: RunDirectory, strategy: Strategy) -> None:
    """Begin the run with the trackers it reports to, under its id; their files stay in the run directory."""
    folder = run.path / "tracking"
    if Tracker.WANDB in config.tracking.report_to:
        folder.mkdir(exist_ok=True)
        os.environ.setdefault("WANDB_DIR", str(folder))
    named = {tracker.value: {"name": run.id} for tracker in (Tracker.WANDB, Tracker.TRACKIO)}
    strategy.accelerator.init_trackers(config.tracking.project, config=flat(config), init_kwargs=named)


def flat(config: RunConfig) -> dict[str, str | int | float]:
    """The configuration as trackers take it: one level, plain values."""
    from engine.config import FIELDS, get
    from engine.config.schema import as_text

    values = {path: get(config, path) for path in FIELDS}
    return {path: value if isinstance(value, (int, float)) else as_text(value) for path, value in values.items()}


def leave(code: int) -> NoReturn:
    """End the process now that all is saved and said, without taking anything apart.

    Freeing process groups, data loaders and their threads while other ranks are leaving too was seen to hang after a
    finished run; it would also take seconds.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
