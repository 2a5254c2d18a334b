"""What our own engine refuses, and what the machine at hand rules out for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import Device, get
from engine.config.cells import REFUSALS, Refusal
from engine.config.choices import Checkpointing, Compute
from engine.config.ranks import BF16_CAPABILITY, ONE_RANK, ranks_per_node, uses_gpu
from engine.config.run_config import FIELDS
from engine.config.schema import as_text
from qltui import words
from qltui.advice.findings import Severity
from qltui.advice.rule import Concerns, Rule

if TYPE_CHECKING:
    from engine.config import RunConfig
    from qltui.advice.setup import Setup

CELLS = "engine/config/cells.py, reproduced in tests/engine/test_upstream_limits.py"
GIB = 2**30
RANK_BYTES = 1.6 * GIB
"""The least that a rank on a GPU was seen to take of host memory, whatever its model: docs/memory.md."""
LARGE_ON_CPU = 3e9
NO_OFFLOAD = {"strategy.offload_parameters": False, "strategy.offload_optimizer": False}
DAMAGED = (
    "Guides for FSDP with QLoRA set the storage to the model's own 16-bit type. On CUDA fsdp2 rewrites some bytes of"
    " such weights as it gathers them, and the loss stays plausible. Stored as float32 they are only copied; each run"
    " checks that by a checksum of every layer."
)
WHYS = {"storage-fsdp2": DAMAGED}
"""What is to be said of a refusal beyond that the engine refuses it, by its id."""
INSTEAD: dict[str, Any] = {"strategy.name": "zero3", "precision.compute": "auto"}
"""What mends a field where its default would not be meant: every method runs under zero3."""


def _config(setup: Setup) -> RunConfig:
    assert setup.config is not None, "only runs of our own engine are asked"
    return setup.config


def _mended(field: str) -> dict[str, Any]:
    default = FIELDS[field].default
    return {field: INSTEAD.get(field, getattr(default, "value", default))}


def _refused(refusal: Refusal) -> Rule:
    """A refusal of the engine as a rule."""
    in_general = refusal.message.format(value="this value", strategy="this strategy", method="this method")

    def message(setup: Setup) -> str:
        config = _config(setup)
        chosen = {"strategy": config.strategy.name.value, "method": config.method.name.value}
        text = refusal.message.format(value=as_text(get(config, refusal.field)), **chosen)
        return f"{refusal.field}={as_text(get(config, refusal.field))}: {text}"

    return Rule(
        f"engine-{refusal.id}",
        Severity.BLOCK,
        refusal.field,
        lambda setup: refusal.when(_config(setup)),
        f"a run of ours that the engine refuses: {in_general.rstrip('.')}",
        message,
        refusal.remedy,
        WHYS.get(refusal.id, "The engine refuses to start such a run."),
        CELLS,
        _mended(refusal.field),
        concerns=Concerns.OURS,
        engine_refuses=True,
    )


def _cards(setup: Setup) -> int:
    """GPUs of a node; 0 where the machine is not known."""
    return len(setup.machine.cards) if setup.machine is not None else 0


def _on_gpu(setup: Setup) -> bool:
    return _cards(setup) > 0 and uses_gpu(_config(setup), _cards(setup))


def _on_cpu(setup: Setup) -> bool:
    """Whether the ranks surely compute on CPU; a machine that is not known may have GPUs."""
    device = _config(setup).hardware.device
    return device is Device.CPU or (device is Device.AUTO and setup.machine is not None and not setup.machine.cards)


def _usable(setup: Setup) -> int:
    """GPUs of a node that the run may take: those it names, else all."""
    return len(_config(setup).hardware.gpus) or _cards(setup)


def _ranks(setup: Setup) -> int:
    """Ranks each node would start."""
    return ranks_per_node(_config(setup), _cards(setup))


def _absent_gpus(setup: Setup) -> list[str]:
    """GPUs that the run names and the machine does not have; of one that was described, UUIDs are not known."""
    machine, hardware = setup.machine, _config(setup).hardware
    if machine is None or (hardware.device is Device.CUDA and not machine.cards):
        return []
    if not _on_gpu(setup):
        return hardware.gpus
    judged = [name for name in hardware.gpus if machine.devices or name.isdecimal()]
    return [name for name in judged if machine.card_named(name) is None]


def _gpus_shown(setup: Setup) -> str:
    """Those that can be named."""
    if setup.machine is None or not _on_gpu(setup):
        return "the ranks compute on CPU"
    numbers = [gpu.number for gpu in setup.machine.devices] or range(_cards(setup))
    return f"the machine shows {', '.join(map(str, numbers))}"


def _exceeds_host(setup: Setup) -> bool:
    """Whether offload and the ranks need more than the host has free, or has at all where that alone is known."""
    if setup.machine is None or not setup.est_host_ram_gb:
        return False
    room = setup.machine.host_available or setup.machine.host_memory
    return room is not None and setup.est_host_ram_gb * GIB + _ranks(setup) * RANK_BYTES > room


def _too_much_for_host(setup: Setup) -> str:
    assert setup.machine is not None, "it was compared with one"
    free = setup.machine.host_available
    room = f"{(free or setup.machine.host_memory or 0) / GIB:.1f} GiB are {'free' if free else 'there'}"
    ranks = words.counted(_ranks(setup), "rank")
    offloaded = f"Offload would put at least {setup.est_host_ram_gb:.1f} GiB into host memory"
    return f"{offloaded}, beside {_ranks(setup) * RANK_BYTES / GIB:.1f} GiB of {ranks}, and {room}."


RULES = (
    *map(_refused, REFUSALS),
    Rule(
        "one-rank-strategies",
        Severity.BLOCK,
        "hardware.ranks_per_node",
        lambda s: _config(s).strategy.name in ONE_RANK and (_config(s).hardware.ranks_per_node or 1) > 1,
        "single or pipeline with several ranks",
        lambda s: f"{_config(s).strategy.name.value} runs one rank, not {_config(s).hardware.ranks_per_node}.",
        "Leave the number of ranks empty, or choose ddp.",
        "These strategies are one process.",
        "engine/config/ranks.py",
        {"hardware.ranks_per_node": None},
        concerns=Concerns.OURS,
    ),
    Rule(
        "cuda-without-gpu",
        Severity.BLOCK,
        "hardware.device",
        lambda s: _config(s).hardware.device is Device.CUDA and s.machine is not None and not s.machine.cards,
        "cuda on a machine without GPUs",
        "cuda is asked for, but this machine shows no NVIDIA GPU.",
        "Set it to auto or cpu, or check the driver with `qltui doctor`.",
        "Ranks could not find a device.",
        "qltui/facts/machine.py",
        {"hardware.device": "auto"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "gpus-not-there",
        Severity.BLOCK,
        "hardware.gpus",
        lambda s: bool(_absent_gpus(s)),
        "GPUs named that the machine does not have",
        lambda s: f"There is no GPU {', '.join(_absent_gpus(s))}; {_gpus_shown(s)}.",
        "Name others, or leave it empty for the first free ones.",
        "Indices are those of the driver, of GPUs that CUDA_VISIBLE_DEVICES lets through.",
        "qltui/facts/machine.py",
        {"hardware.gpus": [], "hardware.ranks_per_node": None},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "more-ranks-than-gpus",
        Severity.BLOCK,
        "hardware.ranks_per_node",
        lambda s: _on_gpu(s) and _config(s).strategy.name not in ONE_RANK and _ranks(s) > _usable(s),
        "more ranks on a node than GPUs",
        lambda s: f"{_ranks(s)} ranks want a GPU each, and there are {_usable(s)}.",
        "Set it to that or less, or leave it empty; set hardware.device=cpu for CPU ranks.",
        "NCCL hangs or dies where two ranks share a GPU.",
        "engine/strategy/__init__.py",
        {"hardware.ranks_per_node": None},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "pipeline-one-gpu",
        Severity.BLOCK,
        "strategy.name",
        lambda s: _on_gpu(s) and s.strategy == "pipeline" and _usable(s) < 2,
        "pipeline with fewer than two GPUs",
        "pipeline spreads layers over GPUs, and there is one.",
        "Use single, or two GPUs or more.",
        "There is nothing to spread over.",
        "engine/strategy/pipeline.py",
        {"strategy.name": "single"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "bf16-not-there",
        Severity.BLOCK,
        "precision.compute",
        lambda s: _config(s).precision.compute is Compute.BF16 and s.nvidia and s.gpu_cc < BF16_CAPABILITY,
        "bf16 asked for on GPUs of compute capability below 8.0",
        "bf16 is only emulated on compute capability {gpu_cc}, and very slowly.",
        "Use fp16 or auto, or name other GPUs in hardware.gpus.",
        "torch says yes to bf16 where it is emulated, so capability decides.",
        "torch 2.13.0 cuda/__init__.py is_bf16_supported; engine/config/ranks.py",
        {"precision.compute": "auto"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "offload-exceeds-host",
        Severity.BLOCK,
        "strategy.offload_parameters",
        lambda s: s.cpu_offload_params and _exceeds_host(s),
        "offload of parameters that takes more than the host's memory",
        _too_much_for_host,
        "Turn it off and use more GPUs, choose qlora, or free some memory.",
        "The kernel would kill a rank.",
        "qltui/advice/memory/host.py",
        NO_OFFLOAD,
        concerns=Concerns.OURS,
    ),
    Rule(
        "optimizer-offload-exceeds-host",
        Severity.BLOCK,
        "strategy.offload_optimizer",
        lambda s: s.cpu_offload_opt and not s.cpu_offload_params and _exceeds_host(s),
        "offload of the optimizer that takes more than the host's memory",
        _too_much_for_host,
        "Turn it off and use more GPUs, train adapters, or free some memory.",
        "The kernel would kill a rank.",
        "qltui/advice/memory/host.py",
        NO_OFFLOAD,
        concerns=Concerns.OURS,
    ),
    Rule(
        "cpu-large-model",
        Severity.WARN,
        "model.path",
        lambda s: _on_cpu(s) and s.architecture is not None and s.architecture.parameters > LARGE_ON_CPU,
        "more than three billion parameters on CPU ranks",
        lambda s: (
            f"No GPU would be used: {s.architecture.parameters / 1e9 if s.architecture else 0:.1f} B parameters are"
            " trained on CPU ranks, which is far too slow to be of use."
        ),
        "Launch it where there are GPUs, rehearse it here, or take a smaller model.",
        "Each token of a row takes some six operations for every parameter, and CPUs do a thousandth of what GPUs do.",
        "qltui/advice/speed.py",
        {},
        concerns=Concerns.OURS,
    ),
    Rule(
        "cpu-pipeline",
        Severity.BLOCK,
        "strategy.name",
        lambda s: _on_cpu(s) and s.strategy == "pipeline",
        "pipeline on CPU ranks",
        "pipeline spreads layers over GPUs, and the ranks compute on CPU.",
        "Use single, or fsdp2 or zero3 to split the weights.",
        "There is no GPU to place layers on.",
        "engine/strategy/pipeline.py",
        {"strategy.name": "single"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "cpu-offload",
        Severity.BLOCK,
        "strategy.offload_parameters",
        lambda s: _on_cpu(s) and s.cpu_offload_params,
        "offload of parameters on CPU ranks",
        "Parameters are offloaded, and the ranks compute on CPU, where there is no GPU memory to offload from.",
        "Turn offload off.",
        "All is in host memory already.",
        "engine/strategy/fully_sharded.py, engine/strategy/zero.py",
        NO_OFFLOAD,
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "cpu-optimizer-offload",
        Severity.BLOCK,
        "strategy.offload_optimizer",
        lambda s: _on_cpu(s) and s.cpu_offload_opt and not s.cpu_offload_params,
        "offload of the optimizer on CPU ranks",
        "The optimizer is offloaded, and the ranks compute on CPU, where there is no GPU memory to offload from.",
        "Turn offload off.",
        "All is in host memory already.",
        "engine/strategy/zero.py",
        NO_OFFLOAD,
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "activations-offload-exceeds-host",
        Severity.BLOCK,
        "training.offload_activations",
        lambda s: (
            _config(s).training.offload_activations
            and not (s.cpu_offload_params or s.cpu_offload_opt)
            and _exceeds_host(s)
        ),
        "offload of activations that takes more than the host's memory",
        _too_much_for_host,
        "Turn it off, or cut rows shorter.",
        "The kernel would kill a rank.",
        "qltui/advice/memory/host.py",
        {"training.offload_activations": False},
        concerns=Concerns.OURS,
    ),
    Rule(
        "offload-activations-idle",
        Severity.WARN,
        "training.offload_activations",
        lambda s: (
            _config(s).training.offload_activations and _config(s).training.gradient_checkpointing is Checkpointing.NONE
        ),
        "offload of activations where no layer recomputes",
        "Inputs of checkpointed layers are to be offloaded, and no layer is checkpointed.",
        "Checkpoint all layers, or turn the offload off.",
        "What layers keep otherwise is too much for the way to the host; their inputs alone go there.",
        "engine/offloaded_inputs.py",
        {"training.gradient_checkpointing": "all"},
        concerns=Concerns.OURS,
    ),
    Rule(
        "cpu-fp16",
        Severity.BLOCK,
        "precision.compute",
        lambda s: _on_cpu(s) and _config(s).precision.compute is Compute.FP16,
        "fp16 on CPU ranks",
        "fp16 needs a GPU, and the ranks compute on CPU.",
        "Use fp32 or bf16 there.",
        "torch scales gradients for fp16 on accelerators alone.",
        "accelerate 1.15.0 accelerator.py",
        {"precision.compute": "auto"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "cpu-flash-attention",
        Severity.BLOCK,
        "model.attention",
        lambda s: _on_cpu(s) and s.attn == "fa2",
        "FlashAttention on CPU ranks",
        "flash_attention_2 needs a GPU, and the ranks compute on CPU.",
        "Use sdpa or auto.",
        "Its kernels are CUDA's.",
        "transformers 5.23.0 modeling_utils.py _flash_attn_import_error",
        {"model.attention": "auto"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
    Rule(
        "cpu-paged-optimizer",
        Severity.BLOCK,
        "training.optimizer",
        lambda s: _on_cpu(s) and s.optim == "paged_adamw_8bit",
        "a paged optimizer on CPU ranks",
        "{value} needs a GPU, and the ranks compute on CPU.",
        "Use adamw or adamw_8bit there.",
        "Paging is CUDA's unified memory.",
        "bitsandbytes 0.50.2 optim/optimizer.py",
        {"training.optimizer": "adamw"},
        concerns=Concerns.OURS,
        engine_refuses=True,
    ),
)
