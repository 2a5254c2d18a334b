"""Whether another program's training fits the GPUs, as far as its files tell, in the words of a Setup.

It is planned as our engine would run it, so a doubt speaks for the file: what takes another amount of memory than what
is planned here is passed by, and a finding blocks only where even the shortest rows would take far too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from qltui import words
from qltui.advice import sizes
from qltui.advice.findings import Finding, Severity
from qltui.advice.verdicts import DOES_NOT_FIT, NOTHING_FITS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from engine.config.run_config import RunConfig
    from qltui.advice.verdicts import Verdict
    from qltui.facts.architecture import Architecture
    from qltui.facts.machine import Machine

DEFAULTS: dict[str, dict[str, Any]] = {
    # transformers 5.23 training_args.py; a script of one's own may recompute whatever the file says
    "hf": {"micro_batch_size": 8, "gc": "hf"},
    # trl 1.16 trainer/sft_config.py and base_config.py
    "trl": {"micro_batch_size": 8, "max_length": 1024, "gc": "hf"},
    # llamafactory 0.9.5 hparams/data_args.py
    "llamafactory": {"micro_batch_size": 8, "max_length": 2048},
    # axolotl 0.19.0 utils/schemas/config.py and training.py
    "axolotl": {"micro_batch_size": 1, "max_length": 512, "gc": "none"},
    # openrlhf 0.11.2 cli/train_sft.py
    "openrlhf": {"micro_batch_size": 8, "max_length": 2048, "gc": "none"},
}
"""What a program takes where its file says nothing."""
SPELT = {
    "micro_batch_size": (
        "per_device_train_batch_size",
        "micro_batch_size",
        "train_micro_batch_size_per_gpu",
        "micro_train_batch_size",
        "train.micro_batch_size",
    ),
    "max_length": (
        "max_length",
        "max_seq_length",
        "model_max_length",
        "cutoff_len",
        "sequence_len",
        "max_len",
        "data.max_len",
    ),
    "gc": ("gradient_checkpointing", "activation_checkpointing", "disable_gradient_checkpointing"),
}
"""Keys by which a file does say it, if only something that is filled in elsewhere."""
TRAINERS = ("hf", "trl_sft", "openrlhf_sft")
"""Those that compute a row as ours does; the others compare answers, or write some."""
OWN_WAYS = (
    "nvme_params", "nvme_opt", "auto_find_batch_size", "sequence_parallel", "liger", "device_map",
    "uses_parallelism_config",
)  # fmt: skip
"""Settings that take another amount of memory than what is planned."""
UNPLANNED_KEYS = (
    "use_kt", "use_unsloth", "use_galore", "use_apollo", "use_badam", "cut_cross_entropy", "chunked_cross_entropy",
    "tiled_mlp", "activation_offloading", "layer_offloading", "unfrozen_parameters", "freeze_trainable_layers",
    "context_parallel_size", "sequence_parallel_degree", "tensor_parallel_size", "expert_parallel_size",
    "quantize_moe_experts", "max_memory", "plugins", "lisa_n_layers", "relora",
)  # fmt: skip
"""Keys of theirs that do so, which the rules have no word for."""
ERROR_IN_FULL = 0.5
"""Share by which the plan may be too high: trained in full, others may keep weights, gradients and states in 16 bit."""
FAR_TOO_MUCH = 1.5
SHORT = 128
"""Tokens of rows that are surely no longer than they come, where nothing packs them."""


def completed(values: Mapping[str, Any], engine: str, keys: Collection[str]) -> dict[str, Any] | None:
    """What a training is planned by, with the program's defaults; None where its files leave too much open.

    ``keys`` are all that stand in them.
    """
    program = "trl" if values.get("trainer") == "trl_sft" else engine  # a script that calls TRL takes its defaults
    defaults = {
        name: value for name, value in DEFAULTS.get(program, {}).items()
        if not any(key in keys for key in SPELT[name])
    }  # fmt: skip
    known = {**defaults, **values}
    needed = {"model", "method", "micro_batch_size", "max_length", "gc"}
    if not needed <= known.keys() or any(map(known.get, _ways(known))) or any(key in keys for key in UNPLANNED_KEYS):
        return None
    if known.get("trainer", "hf") not in TRAINERS or known.get("task", "causal") != "causal":
        return None
    if known["method"] == "full" and not str(known.get("optim", "adamw")).startswith(("adamw", "paged_adamw")):
        return None
    return known


def _ways(known: Mapping[str, Any]) -> Iterator[str]:
    """Settings that would take another amount of memory; a device map that is replaced changes nothing."""
    return (name for name in OWN_WAYS if name != "device_map" or not known.get("device_map_replaced"))


class Need(NamedTuple):
    """What a training takes of each GPU, in bytes."""

    total: int
    error: int
    capacity: int

    @property
    def is_safe(self) -> bool:
        """Whether it fits though the plan be wrong by its error."""
        return self.total + self.error <= self.capacity


class Gentler(NamedTuple):
    """Another way with the same rows to a step."""

    patch: dict[str, Any]
    """By name in Setup."""
    need: Need


def judge(
    config: RunConfig, values: Mapping[str, Any], keys: Mapping[str, str], architecture: Architecture, machine: Machine
) -> list[Finding]:
    """What is to be said of a training on all GPUs of ``machine``; nothing unless it surely doesn't fit.

    ``config`` is what ``values`` come to in our engine, ``keys`` are the files' own by name in Setup.
    """
    from qltui.advice import planner

    if values["method"] in ("qlora4", "int8") and sizes.in_experts(architecture):
        return []  # whether fused experts are quantised depends on the version of Transformers

    def as_is(one: RunConfig) -> Need:
        return _need(one, architecture, machine)

    def least(one: RunConfig) -> Need:
        return min((as_is(way) for way in _spread(one, machine)), default=as_is(one))

    is_open = machine.gpus > 1 and "strategy" not in values  # a launcher may shard what the files do not
    plan = least if is_open else as_is
    need = plan(config)
    if not _exceeds(config, need):
        return []
    short = _short(config, values)
    each, it_is = ("However it is sharded, each", "could be") if is_open else ("Each", "would be")
    message = (
        f"{each} GPU would take about {words.size(need.total)} with rows of {config.data.max_length} tokens"
        f"{_said_by(keys, 'max_length')}, and has {words.size(need.capacity)}."
    )
    gentler = next(_gentler(config, plan), None)
    if gentler is not None:
        message += f" With {_settings(gentler.patch, keys)} it {it_is} {words.size(gentler.need.total)}."
        patch = gentler.patch if all(name in keys or name == "gc" for name in gentler.patch) else {}
        return [_finding(DOES_NOT_FIT, Severity.WARN, keys, message, patch)]
    choice = planner.choose(config, architecture, machine)
    smallest = least(_smallest(config))
    if not choice.ranked and _exceeds(config, smallest):
        severity = Severity.BLOCK if _exceeds(short, least(_smallest(short)), FAR_TOO_MUCH) else Severity.WARN
        return [_nothing_fits(config, keys, architecture, machine, smallest, severity)]
    if choice.ranked:
        best = choice.ranked[0]
        message += f" What would fit is {best.summary}, with {words.size(best.fit.total)}."
    else:
        message += " Leave it more room: shorter rows, fewer of them at once, or all layers recomputed."
    severity = Severity.BLOCK if _exceeds(short, plan(short), FAR_TOO_MUCH) else Severity.WARN
    return [_finding(DOES_NOT_FIT, severity, keys, message, {})]


def _need(config: RunConfig, architecture: Architecture, machine: Machine) -> Need:
    """While it trains; where weights are sharded, programs differ in whether they load them whole before."""
    # Only here: most files that are checked come without GPUs to plan for.
    from qltui.advice.memory import Phase, fit, job_on, total
    from qltui.advice.memory.held import SHARDS_WEIGHTS

    job = job_on(config, architecture, machine)
    fitted = fit(job, machine)
    taken = fitted.total
    if job.strategy in SHARDS_WEIGHTS:
        phases = fitted.plan.phases.items()
        taken -= fitted.plan.peak - max(total(parts) for phase, parts in phases if phase is not Phase.LOAD)
    return Need(taken, fitted.error * taken // fitted.total, min(card.memory_bytes for card in machine.cards))


def _spread(config: RunConfig, machine: Machine) -> Iterator[RunConfig]:
    """The run with every strategy and offload that the engine doesn't refuse."""
    from engine.config.cells import REFUSALS
    from qltui.advice import planner

    for strategy in planner.SIMPLEST_FIRST if machine.gpus > 1 else planner.SIMPLEST_FIRST[:1]:
        for places in planner.offloads(strategy, config.method.name):
            one = planner.with_values(config, {"strategy.name": strategy, **places})
            if not any(refusal.when(one) for refusal in REFUSALS):
                yield one


def _smallest(config: RunConfig) -> RunConfig:
    """With one row at once, and all layers recomputed."""
    from engine.config.choices import Checkpointing
    from qltui.advice import planner

    changes = {"training.micro_batch_size": 1, "training.gradient_checkpointing": Checkpointing.ALL}
    return planner.with_values(config, changes)


def _exceeds(config: RunConfig, need: Need, times: float = 1.0) -> bool:
    """Whether it takes more than ``times`` the capacity, though the plan be too high by what it may."""
    error = need.total * ERROR_IN_FULL if config.method.name.value == "full" else need.error
    return need.total - error > need.capacity * times


def _gentler(config: RunConfig, plan: Callable[[RunConfig], Need]) -> Iterator[Gentler]:
    """Ways that surely fit: all layers recomputed, then fewer rows at once, then both; what changes least first."""
    from engine.config.choices import Checkpointing
    from qltui.advice import planner

    training = config.training
    each = training.micro_batch_size * training.gradient_accumulation_steps
    sizes = [size for size in range(training.micro_batch_size, 0, -1) if each % size == 0]
    recomputes = training.gradient_checkpointing is not Checkpointing.NONE
    ways = [(size, again) for again in sorted({recomputes, True}) for size in sizes]
    ways.sort(key=lambda way: way[0] != training.micro_batch_size)
    for size, again in ways:
        one = planner.with_values(config, {
            "training.micro_batch_size": size, "training.gradient_accumulation_steps": each // size,
            "training.gradient_checkpointing": Checkpointing.ALL if again else Checkpointing.NONE,
        })  # fmt: skip
        need = plan(one)
        patch: dict[str, Any] = {"gc": "hf"} if again != recomputes else {}
        if size != training.micro_batch_size:
            patch |= {"micro_batch_size": size, "gradient_accumulation_steps": each // size}
        if patch and need.is_safe:
            yield Gentler(patch, need)


def _nothing_fits(
    config: RunConfig, keys: Mapping[str, str], architecture: Architecture, machine: Machine, least: Need,
    severity: Severity,
) -> Finding:  # fmt: skip
    from qltui.advice import fitting, planner

    rows = planner.rows_of_a_step(config, architecture, machine)
    larger = planner.smallest(config, architecture, fitting.ladder(), rows=rows, blocks_on=lambda one, there: [])
    message = (
        f"Nothing fits {machine.gpus} x {words.size(least.capacity)}, whatever the strategy, batch, recomputing and"
        f" offload; the least takes about {words.size(least.total)} on a GPU, with rows of {config.data.max_length}"
        f" tokens{_said_by(keys, 'max_length')}. {fitting.way_out(config, larger)}"
    )
    return _finding(NOTHING_FITS, severity, keys, message, {})


def _finding(
    verdict: Verdict, severity: Severity, keys: Mapping[str, str], message: str, patch: Mapping[str, Any]
) -> Finding:
    field = next((name for name in ("micro_batch_size", "max_length", "model") if name in keys), None)
    return Finding(verdict.id, severity, field, message, verdict.why, verdict.source, patch)


def _short(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """With rows as short as they may come: packed ones are always as long as they may be."""
    from qltui.advice import planner

    longest = config.data.max_length
    return config if values.get("packing") else planner.with_values(config, {"data.max_length": min(longest, SHORT)})


def _settings(patch: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    named = [f"{keys.get(name, name)}={value}" for name, value in patch.items() if name != "gc"]
    return " and ".join([*([", ".join(named)] if named else []), *(["all layers recomputed"] if "gc" in patch else [])])


def _said_by(keys: Mapping[str, str], name: str) -> str:
    return f" ({keys[name]})" if name in keys else ", the program's default"
