"""Whether models load and train whose quantised weights no GPU could hold: ``python -m points.loading --work FOLDER``.

On two GPUs. Each run has torch's allocator held to what the plan says it takes, which must be less than the whole
quantised model: ``--layers`` makes that large enough. The preset for two cards of 24 GB is held to what such a card
leaves the allocator. Runs with a result are left out. The model is written into ``FOLDER``, 1.6 GiB a layer.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from engine.config import RunConfig, get
from engine.config.reading import read_file
from engine.versions import versions
from points.capped import run_alone
from points.models import DEMO, write_rows
from points.points import Point, job, model_folder
from points.run import gpu_names
from qltui.advice.memory import Phase, fit, job_on, plan_memory, total
from qltui.advice.memory.fit import unusable
from qltui.advice.memory.held import scale_bytes
from qltui.advice.memory.parts import Part
from qltui.facts import machine as machines
from qltui.facts.architecture import Architecture, of_config
from qltui.facts.models.known import config_of

MODEL = "meta-llama/Meta-Llama-3-70B"
PRESET = Path(__file__).parents[2] / "presets" / "llama3-70b-qlora-fsdp2-2x24g.yaml"
RESULTS = Path(__file__).with_name("loading.json")
RANKS = 2
WAYS = ("fsdp2-qlora", "zero3-qlora", "fsdp2-int8", "zero3-int8")
SHORT: dict[str, Any] = {
    "data.max_length": 512, "training.micro_batch_size": 1, "training.gradient_accumulation_steps": 1,
    "training.gradient_checkpointing": "all",
}  # fmt: skip
"""Rows that take little beside the weights."""
OF_THE_PRESET = (
    "method.name", "method.lora.rank", "method.lora.alpha", "strategy.name", "strategy.offload_parameters",
    "strategy.offload_optimizer", "data.max_length", "training.micro_batch_size",
    "training.gradient_accumulation_steps", "training.gradient_checkpointing", "training.learning_rate",
)  # fmt: skip


class Load(NamedTuple):
    """A run to prove."""

    point: Point
    planned: dict[str, int]
    """Bytes by phase."""
    whole: int
    """Bytes of the quantised model, with what is not quantised in it."""
    cap: int
    """Bytes torch's allocator may reserve."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="points.loading", description="Load models that no GPU could hold whole.")
    parser.add_argument("--work", type=Path, required=True, help="folder for model, rows and runs")
    parser.add_argument("--out", type=Path, default=RESULTS, help="results; merged if it exists")
    parser.add_argument("--layers", type=int, default=40, help="of the model")
    parser.add_argument("--model", default=MODEL, help=f"its other numbers, from the bundled table (default {MODEL})")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="cpu: a try, capped at nothing")
    parser.add_argument("--seconds", type=float, default=500, help="time a run has before its ranks are ended")
    options = parser.parse_args()
    options.work, options.ranks, options.lane = options.work.absolute(), RANKS, "0"
    options.work.mkdir(parents=True, exist_ok=True)
    found = json.loads(options.out.read_text("utf-8")) if options.out.exists() else []
    done = {(entry["name"], entry["layers"]) for entry in found if not entry["reason"]}
    capped = options.device == "cuda"
    for load in all_loads(options.model, options.layers)[0 if capped else 1 :]:
        if (load.point.name, options.layers) in done:
            continue
        if capped and load.cap >= load.whole and load.point.name != "preset":
            sys.exit(f"error: {load.point.name} has room for the whole model in {load.cap:,} bytes; use more --layers.")
        write_model(options.work, options.model, options.layers)
        found = [one for one in found if (one["name"], one["layers"]) != (load.point.name, options.layers)]
        found.append(proven(load, options))
        lines = ",\n".join(map(json.dumps, found))
        options.out.write_text(f"[\n{lines}\n]\n", "utf-8")
        print(told(found[-1]), flush=True)
    return int(any(entry["reason"] for entry in found))


def all_loads(model: str, layers: int) -> list[Load]:
    """The preset with its own rows, and every way to shard and quantise with short ones."""
    architecture = of_config(shallow(model, layers))
    preset = read_file(PRESET)
    of_preset = Point("preset", model, RANKS, {path: value_of(preset, path) for path in OF_THE_PRESET})
    loads = [planned(of_preset, architecture, machines.parse(preset.hardware.planned_for))]
    for way in WAYS:
        strategy, _, method = way.partition("-")
        values = {"strategy.name": strategy, "method.name": method, **SHORT}
        loads.append(planned(Point(way, model, RANKS, values), architecture))
    return loads


def planned(point: Point, architecture: Architecture, machine: machines.Machine | None = None) -> Load:
    """A run with its plan; held to what a card of ``machine`` leaves the allocator, or else to its plan."""
    work = job(point, architecture)
    plan = plan_memory(work)
    cap = plan.peak + unusable(plan.peak)
    if machine is not None:
        fitted = fit(job_on(work.config, architecture, machine), machine)
        assert fitted.capacity is not None
        cap = fitted.capacity - fitted.parts[Part.CONTEXT]
    phases = {phase.value: total(parts) for phase, parts in plan.phases.items()}
    return Load(point, phases, sum(work.weights) + scale_bytes(work), cap)


def proven(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """What a run took on the GPU that took most, and why it failed where it did."""
    write_rows(load.point, options.work)
    limit = {"POINT_MEMORY_LIMIT": str(load.cap)} if options.device == "cuda" else {}
    measured, reason = run_alone(load.point, options, limit, "loading")
    return {
        "name": load.point.name, "model": load.point.model, "layers": options.layers, "whole": load.whole,
        "cap": load.cap, "planned": load.planned, "measured": measured.get("phases"), "host": measured.get("host"),
        "losses": measured.get("losses"), "reason": reason.partition(". GPU")[0], "versions": versions(),
        "devices": gpu_names()[:RANKS] if options.device == "cuda" else ["cpu"] * RANKS,
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def told(entry: dict[str, Any]) -> str:
    """A line for one result."""
    if entry["reason"]:
        return f"failed   {entry['name']}: {entry['reason']}"
    taken, gib = entry["measured"], 1 << 30
    return (
        f"passed   {entry['name']:12} whole {entry['whole'] / gib:.2f} GiB, held to {entry['cap'] / gib:.2f};"
        f" load {taken[Phase.LOAD] / gib:.2f} (planned {entry['planned'][Phase.LOAD] / gib:.2f}),"
        f" most {max(taken.values()) / gib:.2f} (planned {max(entry['planned'].values()) / gib:.2f})"
    )


def value_of(config: RunConfig, path: str) -> Any:
    """A field of the preset as a run file has it."""
    value = get(config, path)
    return getattr(value, "value", value)


def shallow(model: str, layers: int) -> dict[str, Any]:
    """The numbers of a model with as many layers."""
    values = config_of(model)
    if values is None:
        sys.exit(f"error: --model: {model} is not in the bundled table.")
    return {**values, "num_hidden_layers": layers}


def write_model(folder: Path, model: str, layers: int) -> None:
    """Weights of one noise in bf16, a file a layer, as large models are stored; with the demo's tokenizer."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place = model_folder(folder, model)
    tokenizer = AutoTokenizer.from_pretrained(DEMO / "model")
    config = AutoConfig.for_model(**shallow(model, layers))
    for token in ("bos", "eos", "pad"):
        setattr(config, f"{token}_token_id", getattr(tokenizer, f"{token}_token_id"))
    with torch.device("meta"):
        weights = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).state_dict()
    files: dict[str, dict[str, torch.Size]] = {}
    for name, weight in weights.items():
        number = name.partition(".layers.")[2].partition(".")[0] or "ends"
        files.setdefault(f"model-{number}.safetensors", {})[name] = weight.shape
    index = {name: file for file, shapes in files.items() for name in shapes}
    whole = {"metadata": {}, "weight_map": index}
    if (place / "model.safetensors.index.json").is_file() and json.loads(
        (place / "model.safetensors.index.json").read_text()
    ) == whole:
        return
    shutil.rmtree(place, ignore_errors=True)
    config.save_pretrained(place)
    tokenizer.save_pretrained(place)
    noise = torch.randn(max(weight.numel() for weight in weights.values()), dtype=torch.bfloat16).mul_(0.02)
    for file, shapes in files.items():
        stored = {name: noise[: shape.numel()].view(shape).clone() for name, shape in shapes.items()}
        save_file(stored, place / file, metadata={"format": "pt"})
    (place / "model.safetensors.index.json").write_text(json.dumps(whole))


if __name__ == "__main__":
    sys.exit(main())
