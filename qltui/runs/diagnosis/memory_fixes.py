"""Ways out of memory that was not enough: on a GPU by the corrected plan, on a host by what there is to leave out."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.config.choices import Checkpointing, Loss, Method, Optimizer, StrategyName
from qltui import words
from qltui.advice import planner
from qltui.advice.memory import Phase
from qltui.advice.our_runs import used_cards
from qltui.runs.diagnosis.causes.cause import Fix
from qltui.runs.diagnosis.prediction import Predictor, correct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from engine.config import RunConfig
    from qltui.advice.lengths import Lengths
    from qltui.facts.machine import Machine
    from qltui.runs.diagnosis.prediction import Prediction

    Allowed = Callable[[RunConfig], bool]
    Patch = dict[str, Any]

CHANGED = 0.5
"""What it costs to learn something else, beside the share by which a step takes longer."""
SHORTEST = 64
"""Tokens below which no row is cut for want of memory."""
MOST_WAYS = 6


class Way(NamedTuple):
    """One way to take less memory."""

    title: str
    patch: Patch
    changes_learning: bool = False


class _Judged(NamedTuple):
    way: Way
    predicted: Prediction
    cost: float


def gpu_fixes(
    config: RunConfig, plain: Predictor, measured: Mapping[str, int], died_in: str | None, allowed: Allowed
) -> tuple[list[Fix], str]:
    """(ways to take less of the GPUs, the best first; how the plan was corrected).

    Those that then fit come before those that may; what does not fit is left out unless nothing does.

    Args:
        plain: predicts without correction.
        measured: bytes by phase that torch's allocator had to hold, or would have had to.
        died_in: the phase in which there was no room.
        allowed: whether a configuration may be launched.
    """
    predictor = _corrected(config, plain, measured, died_in)
    before = predictor.predict(config)
    judged = []
    for way in _ways(config, predictor, allowed):
        predicted = predictor.predict(planner.with_values(config, way.patch))
        if predicted.total < before.total:
            slower = predicted.seconds / before.seconds - 1
            cost = CHANGED + max(0.0, slower) if way.changes_learning else slower
            judged.append(_Judged(way, predicted, cost))
    judged.sort(key=lambda one: (one.predicted.order, one.cost))
    fitting = [one for one in judged if one.predicted.order < 2]
    best = fitting or sorted(judged, key=lambda one: one.predicted.total)
    return [_fix(one, before, config, plain.lengths) for one in best[:MOST_WAYS]], str(predictor.correction)


def _corrected(
    config: RunConfig, plain: Predictor, measured: Mapping[str, int], died_in: str | None
) -> Predictor:  # fmt: skip
    """The predictor as corrected by what was measured; a run that died took at least all there was."""
    plan = plain.plan(config)
    predictor = plain.corrected(correct(plan, measured))
    before = predictor.predict(config)
    if before.order == 2:
        return predictor
    phase = died_in if died_in in plan.phases else Phase.LOAD.value
    least = predictor.correction.allocated(plan) + before.capacity - before.total + 1
    return plain.corrected(correct(plan, {**measured, phase: least}))


def _fix(one: _Judged, before: Prediction, config: RunConfig, lengths: Lengths | None) -> Fix:
    predicted = one.predicted
    effect = f"{before.total / 2**30:.1f} → {words.size(predicted.total)} per GPU"
    if predicted.order:
        verdict = "may just fit" if predicted.order == 1 else "does not fit"
        effect += f" of {words.size(predicted.capacity)} ({verdict})"
    effect += f", {pace(predicted.seconds / before.seconds)}"
    longest = one.way.patch.get("data.max_length")
    if longest and lengths is not None:
        effect += f"; {words.share(lengths.cut(longest))} of the rows are cut"
        effect += f" ({words.share(lengths.cut(config.data.max_length))} were)"
    return Fix(one.way.title, patch=tuple(one.way.patch.items()), effect=effect)


def pace(times: float) -> str:
    """How much longer or shorter a row takes, in words."""
    percent = round((times - 1) * 100)
    if percent >= 100:
        return f"~{times:.1f} times as long"
    return f"~{abs(percent)} % {'slower' if percent > 0 else 'faster'}" if percent else "same speed"


def _ways(config: RunConfig, predictor: Predictor, allowed: Allowed) -> Iterator[Way]:
    """Each that may be launched; of a kind that can be more or less of it, as little as fits, else the most."""
    kinds = (_loss_in_chunks, _smaller_batches, _recomputing, _inputs_on_host)
    found = [way for kind in kinds if (way := _least(config, kind, predictor, allowed))]
    yield from found
    if not any(_order(config, way, predictor) < 2 for way in found) and (both := _both(config, predictor, allowed)):
        yield both
    for base in _bases(config, predictor):
        based = planner.with_values(config, base.patch)
        if not allowed(based):
            continue
        if predictor.predict(based).order:
            further = [
                way
                for kind in (_smaller_batches, _recomputing)
                if (way := _least(based, kind, predictor, allowed)) and _order(based, way, predictor) < 2
            ]
            more = further[0] if further else _both(based, predictor, allowed)
            if more is not None:
                yield base._replace(title=f"{base.title}; {more.title}", patch={**base.patch, **more.patch})
                continue
        yield base
    yield from filter(None, [_least(config, _shorter_rows, predictor, allowed)])


def _order(config: RunConfig, way: Way, predictor: Predictor) -> int:
    return predictor.predict(planner.with_values(config, way.patch)).order


def _least(
    config: RunConfig, kind: Callable[[RunConfig, int], Iterator[Way]], predictor: Predictor, allowed: Allowed
) -> Way | None:
    """The first of a kind that surely fits, else that may, else the last; None where none is allowed."""
    ways = [
        way
        for way in kind(config, predictor.architecture.depth)
        if allowed(planner.with_values(config, way.patch))
    ]  # fmt: skip
    orders: dict[int, Way] = {}
    for way in ways:
        order = _order(config, way, predictor)
        orders.setdefault(order, way)
        if order == 0:
            break
    return orders.get(0) or orders.get(1) or (ways[-1] if ways else None)


def _both(config: RunConfig, predictor: Predictor, allowed: Allowed) -> Way | None:
    """Every layer recomputed, and as small batches as it takes then."""
    recomputing = {"training.gradient_checkpointing": Checkpointing.ALL}
    based = planner.with_values(config, recomputing)
    smaller = _least(based, _smaller_batches, predictor, allowed)
    if smaller is None or based == config:
        return None
    return Way(f"{smaller.title}; all layers recomputed", {**smaller.patch, **recomputing})


def _smaller_batches(config: RunConfig, depth: int) -> Iterator[Way]:
    """With as many rows in a step as before."""
    now, accumulation = config.training.micro_batch_size, config.training.gradient_accumulation_steps
    for parts in range(2, now + 1):
        if now % parts == 0:
            patch = {
                "training.micro_batch_size": now // parts,
                "training.gradient_accumulation_steps": accumulation * parts,
            }
            often = "twice" if parts == 2 else f"{parts} times"
            yield Way(f"{words.counted(now // parts, 'row')} at once, accumulated {often} as often", patch)


def _recomputing(config: RunConfig, depth: int) -> Iterator[Way]:
    """More layers computed twice, instead of keeping their activations; in eighths of the model."""
    told = config.training.gradient_checkpointing
    now = {Checkpointing.NONE: 0, Checkpointing.ALL: depth}.get(told, told) if isinstance(told, str) else told
    eighths = sorted({round(depth * part / 8) for part in range(1, 9)})
    for layers in eighths:
        if layers > int(now):
            value = Checkpointing.ALL if layers == depth else layers
            title = f"{'all' if layers == depth else layers} layers recomputed instead of kept"
            yield Way(title, {"training.gradient_checkpointing": value})


def _loss_in_chunks(config: RunConfig, depth: int) -> Iterator[Way]:
    """Instead of all logits at once; to a rounding error the same loss."""
    if config.training.loss is Loss.FULL:
        yield Way("the loss in chunks of tokens", {"training.loss": Loss.AUTO})


def _inputs_on_host(config: RunConfig, depth: int) -> Iterator[Way]:
    """Of layers, all of which recompute."""
    if not config.training.offload_activations:
        patch = {"training.gradient_checkpointing": Checkpointing.ALL, "training.offload_activations": True}
        where = "inputs of layers in host memory"
        all_already = config.training.gradient_checkpointing is Checkpointing.ALL
        yield Way(where if all_already else f"all layers recomputed, {where}", patch)


def _shorter_rows(config: RunConfig, depth: int) -> Iterator[Way]:
    for part in (0.75, 0.5, 0.25):
        tokens = int(config.data.max_length * part) // 8 * 8
        if tokens >= SHORTEST:
            yield Way(f"rows cut at {tokens} tokens", {"data.max_length": tokens}, changes_learning=True)


def _bases(config: RunConfig, predictor: Predictor) -> Iterator[Way]:
    """Other methods, strategies and places, on which batches and recomputing may still be changed."""
    method, strategy = config.method.name, config.strategy
    if method in (Method.LORA, Method.INT8):
        yield Way("base weights in 4 bits", {"method.name": Method.QLORA}, changes_learning=True)
    elif method is Method.FULL:
        yield Way("adapters instead of every weight (LoRA)", {"method.name": Method.LORA}, changes_learning=True)
        if config.training.optimizer is Optimizer.ADAMW:
            patch = {"training.optimizer": Optimizer.ADAMW_8BIT}
            yield Way("optimizer states in 8 bits", patch, changes_learning=True)
    yield from _sharded(config, predictor.machine)
    for places in planner.offloads(strategy.name, method):
        patch = {path: value for path, value in places.items() if value}
        if patch:
            what = "parameters and optimizer" if places["strategy.offload_parameters"] else "optimizer"
            yield Way(f"{what} in host memory", patch)


def _sharded(config: RunConfig, machine: Machine) -> Iterator[Way]:
    """Strategies that spread what each GPU holds whole now, with as many rows in a step as before."""
    if config.strategy.name in (StrategyName.FSDP2, StrategyName.ZERO3):
        return
    training = config.training
    ranks_now = 1 if config.strategy.name in (StrategyName.SINGLE, StrategyName.PIPELINE) else None
    ranks_then = len(used_cards(planner.with_values(config, {"strategy.name": StrategyName.FSDP2}), machine))
    patch: Patch = {"strategy.name": StrategyName.FSDP2}
    if ranks_now is not None:
        wider = planner.with_values(config, {**patch, "hardware.ranks_per_node": None})
        ranks_then = len(used_cards(wider, machine))
        rows = training.micro_batch_size * training.gradient_accumulation_steps
        if ranks_then < 2 or rows % ranks_then:
            return
        micro_batch = min(training.micro_batch_size, rows // ranks_then)
        if rows // ranks_then % micro_batch:
            return
        patch |= {
            "hardware.ranks_per_node": None, "training.micro_batch_size": micro_batch,
            "training.gradient_accumulation_steps": rows // ranks_then // micro_batch,
        }  # fmt: skip
    if ranks_then >= 2:
        yield Way(f"sharded over {ranks_then} GPUs (fsdp2)", patch)


def unplanned_fixes(config: RunConfig) -> list[Fix]:
    """The same kinds for a run whose memory nobody can plan, without figures."""
    ways = [*_loss_in_chunks(config, 0), *islice(_smaller_batches(config, 0), 1)]
    if config.training.gradient_checkpointing is not Checkpointing.ALL:
        all_layers = {"training.gradient_checkpointing": Checkpointing.ALL}
        ways.append(Way("all layers recomputed instead of kept", all_layers))
    if config.method.name in (Method.LORA, Method.INT8):
        ways.append(Way("base weights in 4 bits", {"method.name": Method.QLORA}))
    ways += list(_shorter_rows(config, 0))[1:2]
    told = {
        "training.micro_batch_size": "as many rows a step; a little slower",
        "training.loss": "the same results; about as fast",
        "training.gradient_checkpointing": "the same results; up to a third slower",
    }
    return [Fix(way.title, patch=tuple(way.patch.items()), effect=told.get(next(iter(way.patch)), "")) for way in ways]


def host_fixes(config: RunConfig, predictor: Predictor | None) -> list[Fix]:
    """What of a run takes host memory and can be left out; offload only where the GPUs have room without it.

    ``predictor``: None where nothing can be predicted, as on CPU ranks.
    """
    found = []
    places = {"strategy.offload_parameters": False, "strategy.offload_optimizer": False}
    without = predictor.predict(planner.with_values(config, places)) if predictor else None
    is_offloaded = config.strategy.offload_parameters or config.strategy.offload_optimizer
    if is_offloaded and (without is None or without.order < 2):
        effect = f"{words.size(without.total)} per GPU of {words.size(without.capacity)}" if without else ""
        found.append(Fix("nothing offloaded to host memory", patch=tuple(places.items()), effect=effect))
    if config.data.num_workers:
        effect = f"{config.data.num_workers} processes fewer on each rank"
        found.append(Fix("data loaded by the ranks themselves", patch=(("data.num_workers", 0),), effect=effect))
    return found
