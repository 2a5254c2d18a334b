"""DDP, one process with several GPUs, and layers spread over GPUs with a device map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.advice.findings import Severity
from qltui.advice.rule import ACCELERATE, GITHUB, REPRODUCED, TRANSFORMERS, Concerns, Rule

if TYPE_CHECKING:
    from qltui.advice.setup import Setup

SPREAD = ("auto", "balanced", "balanced_low_0", "sequential")
"""Device maps that place layers of one model on several GPUs."""


def _starts_ranks(setup: Setup) -> bool:
    """Whether there are several processes, ZeRO-3's aside; FSDP is for nothing else, also where no file counts them."""
    return setup.fsdp or (setup.strategy in ("ddp", "zero1", "zero2") and setup.world_size > 1)


RULES = (
    Rule(
        "device-map-in-ranks",
        Severity.BLOCK,
        "device_map",
        lambda s: _starts_ranks(s) and s.device_map in SPREAD and not s.device_map_replaced,
        "a device map that spreads layers, in a run of several processes",
        "device_map {value} spreads the model over all GPUs, and {strategy} starts a process for each of them.",
        "Leave the device map out; each process then loads onto its own GPU.",
        "It places the layers of one model for one process; Accelerate refuses it in any distributed mode.",
        f"{ACCELERATE} accelerator.py prepare_model; {GITHUB}/huggingface/peft/issues/2505",
        {"device_map": None},
    ),
    Rule(
        "device-map-replaced",
        Severity.INFO,
        "device_map",
        lambda s: (_starts_ranks(s) or s.strategy == "zero3") and s.device_map in SPREAD and s.device_map_replaced,
        "a device map that spreads layers, in several processes of a program that sets its own",
        "device_map {value} has no effect: with several processes each loads onto its own GPU, as it should.",
        "Leave the device map out.",
        "Axolotl and TRL's trainers take the map away or replace it before they load the model.",
        "axolotl 0.19.0 utils/config/__init__.py choose_device and normalize_config, loaders/model.py"
        " _set_device_map_config; trl 1.16.0 trainer/sft_trainer.py",
        {"device_map": None},
    ),
    Rule(
        "quantised-loads-onto-first-gpu",
        Severity.WARN,
        "model_loaded_before_args",
        lambda s: s.quantised and (s.zero or s.strategy == "ddp") and s.model_loaded_before_args,
        "a quantised model loaded before TrainingArguments are made",
        "Every rank loads onto GPU 0, as the model is loaded before the arguments are made ({value}).",
        'Make TrainingArguments or PartialState first, or pass device_map={"": local_rank}.',
        "The quantiser takes torch's current device, which is 0 until Accelerate binds the local rank.",
        f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py update_device_map",
        {"model_loaded_before_args": False},
    ),
    Rule(
        "ddp-marked-ready-twice",
        Severity.BLOCK,
        "find_unused",
        lambda s: (
            s.strategy == "ddp" and s.adapters and s.checkpoints and s.use_reentrant is True and s.find_unused is True
        ),
        "adapters under DDP with reentrant checkpointing and find_unused_parameters",
        "find_unused_parameters ({value}) with reentrant checkpointing fails: marked a variable ready only once.",
        "Set ddp_find_unused_parameters to false, or use_reentrant to false.",
        "A reentrant backward runs inside the backward that DDP watches.",
        f"{REPRODUCED}; {GITHUB}/huggingface/peft/issues/313, huggingface/trl/issues/4782",
        {"find_unused": False},
    ),
    Rule(
        "ddp-find-unused-left-open",
        Severity.WARN,
        "find_unused",
        lambda s: (
            s.strategy == "ddp"
            and s.adapters
            and s.checkpoints
            and s.use_reentrant is True
            and s.find_unused is None
            and s.engine != "llamafactory"
        ),
        "adapters under DDP with reentrant checkpointing, find_unused_parameters left open",
        "find_unused_parameters is left open ({value}), which Trainer takes as true for adapters, and reentrant"
        " checkpointing then fails.",
        "Set ddp_find_unused_parameters to false.",
        "Its automatic false is for plain models alone: Expected to mark a variable ready only once.",
        f"{TRANSFORMERS} trainer.py _build_accelerator_args; {REPRODUCED}",
        {"find_unused": False},
    ),
    Rule(
        "ddp-looks-for-unused",
        Severity.INFO,
        "find_unused",
        lambda s: s.strategy == "ddp" and s.adapters and s.find_unused is True and s.use_reentrant is not True,
        "adapters under DDP with find_unused_parameters",
        "find_unused_parameters ({value}) walks the graph in every step, and adapters leave none unused.",
        "Set ddp_find_unused_parameters to false.",
        "DDP needs it only where a forward leaves trained weights out.",
        f"{TRANSFORMERS} trainer.py _build_accelerator_args",
        {"find_unused": False},
    ),
    Rule(
        "data-parallel-by-accident",
        Severity.WARN,
        "n_gpus",
        lambda s: s.strategy == "single" and s.n_gpus > 1 and s.method in ("full", "lora") and s.launcher == "python",
        "one process that sees several GPUs",
        "One process sees {value} GPUs, and Trainer wraps the model in nn.DataParallel.",
        "Start it with torchrun or accelerate launch, or show it one GPU by CUDA_VISIBLE_DEVICES.",
        "DataParallel copies the model in every step and keeps all results on the first GPU.",
        f"{TRANSFORMERS} trainer.py _wrap_model",
        {"n_gpus": 1},
    ),
    Rule(
        "gpus-idle",
        Severity.INFO,
        "strategy",
        lambda s: s.strategy == "single" and s.machine is not None and len(s.machine.cards) > 1 and s.n_gpus == 1,
        "one process on a machine with several GPUs",
        "{value} uses one GPU, and this machine has more.",
        "Choose ddp to use them all.",
        "Each GPU of DDP trains on other rows, so that a step of as many rows takes a fraction of the time.",
        "docs/strategies.md",
        {"strategy": "ddp"},
        concerns=Concerns.OURS,
    ),
    Rule(
        "pipeline-several-processes",
        Severity.BLOCK,
        "world_size",
        lambda s: s.strategy == "pipeline" and s.world_size > 1,
        "layers spread over GPUs by a device map, in several processes",
        "{strategy} by a device map is one process over all GPUs, and {value} are started.",
        "Start one process.",
        "Accelerate refuses models spread over devices in any distributed mode.",
        f"{ACCELERATE} accelerator.py prepare_model",
        {"world_size": 1},
    ),
    Rule(
        "pipeline-quantised-on-cpu",
        Severity.BLOCK,
        "device_map_has_cpu_or_disk",
        lambda s: s.strategy == "pipeline" and s.quantised and s.device_map_has_cpu_or_disk,
        "a quantised model with layers placed on CPU or disk",
        "The device map puts quantised layers on CPU or disk, where they cannot be trained.",
        "Let the device map use GPUs alone, or use ZeRO-3, which offloads.",
        "Loading or preparing such a model raises; a tenth of each GPU is kept free besides.",
        f"{TRANSFORMERS} quantizers/quantizer_bnb_4bit.py; {ACCELERATE} accelerator.py prepare_model",
        {"device_map_has_cpu_or_disk": False},
    ),
    Rule(
        "pipeline-one-gpu-at-a-time",
        Severity.INFO,
        "strategy",
        lambda s: s.strategy == "pipeline" and s.n_gpus > 1,
        "layers spread over several GPUs",
        "In {value} one of {n_gpus} GPUs computes at a time.",
        "Prefer fsdp2 or zero3, which keep all of them busy.",
        "Layers run one after another, each on the GPU that holds it.",
        f"{GITHUB}/huggingface/peft/issues/2016",
        {"strategy": "zero3"},
        concerns=Concerns.ALL,
    ),
)
