"""The points at which predicted memory is compared with what a GPU took: which models, and what is varied.

Points are drawn by chance, so nobody picked them for how well they are met; the plan decides only which of them fit a
card, and what was drawn stays drawn (``points.json``). Half of them are held out: constants of the plan may be set on
the others alone.
"""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from engine.config import RunConfig
from engine.config.cells import refused
from engine.config.ranks import ONE_RANK
from engine.config.reading import read
from qltui.advice.memory import Job, MemoryPlan, plan_memory
from qltui.facts.architecture import Architecture, find

DRAWN = Path(__file__).with_name("points.json")
MODELS = (
    "HuggingFaceTB/SmolLM2-135M", "Qwen/Qwen3-0.6B", "TinyLlama/TinyLlama_v1.1", "meta-llama/Llama-3.2-1B",
    "Qwen/Qwen2.5-1.5B", "meta-llama/Llama-3.2-3B", "microsoft/Phi-3.5-mini-instruct", "Qwen/Qwen3-4B",
    "mistralai/Mistral-7B-v0.3", "meta-llama/Llama-3.1-8B",
)  # fmt: skip
OTHER_FAMILIES = (
    "google/gemma-3-1b-pt", "EleutherAI/pythia-1.4b", "openai-community/gpt2-large",
    "allenai/OLMo-2-0425-1B", "allenai/OLMoE-1B-7B-0924",
)  # fmt: skip
"""One point each: their layers are built otherwise."""
DRAWS = ((4, 5), (1, 2))
"""Points of each model on one GPU, and on two. The second draw was made when the plan was done: all held out."""
SHARING = ("fsdp2", "zero3", "ddp", "zero2", "zero1")
SEQUENCES = (512, 1024, 2048, 4096, 8192, 16384)
MICRO_BATCHES = (1, 2, 4, 8)
MOST_TOKENS, MOST_TOKENS_OF_LARGE = 32768, 16384
"""Of a micro batch; more take longer, and show nothing else."""
LARGE = 3e9
SMALL_ENOUGH_FOR_FULL = 2e9
MOST_BYTES = 72 << 30
"""Of a plan: two such runs share a GPU of 141 GB."""
STEPS = 2
"""The second finds optimizer states in place."""


class Point(NamedTuple):
    """One run to measure."""

    name: str
    model: str
    """Name in qltui/facts/models/known.json; its weights are random."""
    ranks: int
    values: dict[str, Any]
    """Fields of the run, by dotted path, that differ from the defaults."""
    draw: int = 0

    @property
    def held_out(self) -> bool:
        """Whether no constant of the plan may be set on it."""
        return self.draw > 0 or bool(zlib.crc32(self.name.encode()) & 1)

    @property
    def sequence(self) -> int:
        """Tokens of every row."""
        length: int = self.values["data.max_length"]
        return length

    def rows(self, steps: int = STEPS) -> int:
        """Rows that ``steps`` read."""
        training = self.values
        batch: int = training["training.micro_batch_size"] * training["training.gradient_accumulation_steps"]
        return steps * batch * self.ranks

    def config(self, folder: Path, device: str = "cuda") -> RunConfig:
        """The run; model and rows lie in ``folder``."""
        return read(self.document(folder, device), where=self.name, base=folder)

    def document(self, folder: Path, device: str = "cuda", steps: int = STEPS) -> dict[str, Any]:
        """Fields of run.yaml by dotted path."""
        return {
            "name": "point", "model.path": str(model_folder(folder, self.model)),
            "data.path": str(folder / "rows" / f"{self.name}.jsonl"), "training.max_steps": steps,
            "training.save_every": 0, "hardware.device": device,
            "hardware.ranks_per_node": 1 if self.values["strategy.name"] in ONE_RANK else self.ranks,
            "hardware.threads_per_rank": 1 if device == "cpu" else None,
            "training.loss": "full",  # as all that is measured was run
            **self.values,
        }  # fmt: skip


def model_folder(folder: Path, model: str) -> Path:
    """Where a model's files lie."""
    return folder / "models" / model.replace("/", "--")


def predicted(point: Point) -> MemoryPlan:
    """The plan of a point."""
    return plan_memory(job(point, find(point.model)))


def job(point: Point, architecture: Architecture) -> Job:
    """What is planned of a point on GPUs that know bf16."""
    config = point.config(Path("/"))
    compute = config.precision.compute
    return Job(
        config=config, architecture=architecture, world_size=point.ranks, same_lengths=True,
        compute=type(compute).BF16 if compute.value == "auto" else compute,
    )  # fmt: skip


def all_points() -> list[Point]:
    """Every point, as it was drawn."""
    return [Point(**values) for values in json.loads(DRAWN.read_text("utf-8"))]


def drawn_anew() -> list[Point]:
    """Points as they would be drawn with the plan of today, which decides what fits a card."""
    points = [
        one
        for number, counts in enumerate(DRAWS) for model in MODELS for ranks, count in enumerate(counts, 1)
        for one in draw(model, ranks, count, number)
    ]  # fmt: skip
    return points + [one for model in OTHER_FAMILIES for one in draw(model, 1, 1)]


def draw(model: str, ranks: int, count: int, number: int = 0) -> list[Point]:
    """Points of a model; each has another sequence, and on two GPUs another strategy."""
    chance = random.Random(f"{model} on {ranks}" + (f", draw {number}" if number else ""))
    sequences = chance.sample(SEQUENCES, len(SEQUENCES))
    strategies = chance.sample(SHARING, len(SHARING)) if ranks > 1 else ["single"] * count
    found = []
    for place in range(count):
        sequence, strategy = sequences[place % len(sequences)], strategies[place % len(strategies)]
        while (point := guess(chance, model, ranks, strategy, sequence)) is None:
            pass
        found.append(point._replace(draw=number))
    return found


def guess(chance: random.Random, model: str, ranks: int, strategy: str, sequence: int) -> Point | None:
    """One draw; None if the engine would refuse it, or it would not fit."""
    architecture = find(model)
    method = chance.choice(("qlora", "qlora", "lora", "int8", "full"))
    depth = architecture.depth
    values: dict[str, Any] = {
        "strategy.name": strategy, "method.name": method, "data.max_length": sequence,
        "training.micro_batch_size": chance.choice(MICRO_BATCHES),
        "training.gradient_accumulation_steps": chance.choice((1, 2)),
        "training.gradient_checkpointing": chance.choice(("none", "none", "all", depth // 2)),
        "training.optimizer": chance.choice(("adamw", "adamw", "adamw_8bit")),
    }  # fmt: skip
    if method != "full":
        values["method.lora.rank"] = chance.choice((8, 16, 64))
        dropout = chance.choice((0.0, 0.05))
        values["method.lora.dropout"] = (
            0.0 if any(linear.experts for _, linear in architecture.linears()) else dropout
        )  # PEFT's for experts knows none
    if strategy in ("zero1", "zero2", "zero3") and values["training.optimizer"] == "adamw":
        values["strategy.offload_optimizer"] = chance.choice((False, False, False, True))
    tokens = values["training.micro_batch_size"] * sequence
    large = architecture.parameters > LARGE
    if tokens > (MOST_TOKENS_OF_LARGE if large else MOST_TOKENS):
        return None
    if method == "full" and architecture.parameters > SMALL_ENOUGH_FOR_FULL:
        return None
    point = Point(name_of(model, ranks, values), model, ranks, values)
    if refused(point.config(Path("/"))) or plan_memory(job(point, architecture)).peak > MOST_BYTES:
        return None
    return point


def name_of(model: str, ranks: int, values: dict[str, Any]) -> str:
    """A point's name, from what tells it from others."""
    layers = values["training.gradient_checkpointing"]
    words = [
        model.rpartition("/")[2], f"x{ranks}", values["strategy.name"], values["method.name"],
        f"{values['training.micro_batch_size']}x{values['data.max_length']}",
        {"none": "", "all": "ckpt"}.get(layers, f"ckpt{layers}"),
        f"ga{values['training.gradient_accumulation_steps']}" * (values["training.gradient_accumulation_steps"] > 1),
        values["training.optimizer"].removeprefix("adamw").strip("_"),
        f"r{values['method.lora.rank']}" if "method.lora.rank" in values else "",
        "drop" * bool(values.get("method.lora.dropout")), "offload" * bool(values.get("strategy.offload_optimizer")),
    ]  # fmt: skip
    return "-".join(filter(None, words))


def main() -> None:
    """Write down points that were not drawn yet, and list all with what is planned for each."""
    points = {point.name: point for point in (*drawn_anew(), *all_points())}
    lines = ",\n".join(json.dumps(point._asdict()) for point in points.values())
    DRAWN.write_text(f"[\n{lines}\n]\n", "utf-8")
    for point in points.values():
        print(json.dumps({"name": point.name, "held_out": point.held_out, "planned": predicted(point).peak}))


if __name__ == "__main__":
    main()
