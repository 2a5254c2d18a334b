"""A run's adapter merged into its base: ``python -m engine.merge RUN_DIR --out DIR``.

Says how it goes in lines of JSON on stdout: ``{"done": bytes, "total": bytes}`` now and then, at the end
``{"merged": {...}}`` or ``{"refused": why}``. Exit codes: 0 merged, 3 it cannot be, 130 interrupted, 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import quiet
from engine.config import ConfigError, Method, RunConfig
from engine.config.reading import read_file
from engine.errors import EXIT_BAD_INPUT, BadInput
from engine.events import RunDirectory, read_json

if TYPE_CHECKING:
    from engine.merging.run import Merged

SECONDS_BETWEEN_REPORTS = 0.5
INTERRUPTED = 130
TYPES = ("bfloat16", "float16", "float32")
ENDED = ("finished", "stopped", "failed", "lost")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="engine.merge", description="Merge a run's adapter into its base.")
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--checkpoint", type=int, help="step of the checkpoint whose adapter is merged")
    parser.add_argument("--base", choices=("dequantized", "original"), default="dequantized")
    parser.add_argument("--dtype", choices=TYPES)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave nothing half written then either
    run = RunDirectory(options.run_dir)
    try:
        config = read_file(run.run_yaml)
        adapter = adapter_folder(run, config, options.checkpoint)
        if options.out.exists():
            raise BadInput(f"--out: {options.out} exists already; name a folder that is not there yet.")
        merged = _merge(run, config, adapter, options)
    except (BadInput, ConfigError) as error:
        _say(refused=str(error))
        return EXIT_BAD_INPUT
    except OSError as error:
        what = f"{error.filename or options.out}: {error.strerror or error}"
        _say(refused=f"{what}. Nothing was merged, and nothing was left of {options.out}.")
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    _say(merged={"out": str(options.out.absolute()), "adapter": str(adapter), "base": options.base, **merged._asdict()})
    return 0


def adapter_folder(run: RunDirectory, config: RunConfig, step: int | None) -> Path:
    """Where the adapter lies: of the checkpoint at a step, else of the run's end, else of its newest checkpoint.

    Raises:
        BadInput: there is none.
    """
    if config.method.name is Method.FULL:
        where = f": its model is {run.model}" if run.model.exists() else ", and has no model yet"
        raise BadInput(f"run {run.id} trained every weight and has no adapter to merge{where}.")
    found = run.saved_adapters()
    if step is not None and step not in found:
        steps = ", ".join(str(one) for one in found if one is not None) or "none"
        raise BadInput(f"--checkpoint: run {run.id} has no checkpoint at step {step}; it has: {steps}.")
    if found:
        return found[step] if step is not None else list(found.values())[-1]
    is_live = (read_json(run.status_json) or {}).get("state") not in ENDED
    then = "wait for one, or ask for one in its monitor" if is_live else "resume it, with training.save_every"
    raise BadInput(f"run {run.id} has saved no checkpoint{' yet' if is_live else ''}; {then}.")


def _merge(run: RunDirectory, config: RunConfig, adapter: Path, options: Any) -> Merged:
    import torch

    from engine.merging.run import merge

    quiet.quiet_transformers()
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_BETWEEN_REPORTS or done == total:
            told = time.monotonic()
            _say(done=done, total=total)

    with torch.no_grad():
        return merge(
            run, config, adapter, options.out.absolute(), original=options.base == "original",
            dtype=options.dtype and getattr(torch, options.dtype), tell=tell,
        )  # fmt: skip


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
