"""DeepSpeed's ZeRO: optimizer states (1), gradients too (2), weights too (3) split over the ranks."""

from __future__ import annotations

import contextlib
import logging
import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from engine.collective import world
from engine.config import Compute, Method, StrategyName
from engine.config.deepspeed import deepspeed_config
from engine.parameters import is_sharded, trainable
from engine.quantized_linear import look_4bit_up_again
from engine.strategy.base import Strategy, Update, blocks, sharding_units, use_cpu
from engine.strategy.cpu_ranks import choose_deepspeed_accelerator
from engine.strategy.process_group import backend, set_timeout
from engine.strategy.saved_weights import without_gathered_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from engine.config import RunConfig
    from engine.strategy.base import MakeOptimizer, See

MOMENTS = ("exp_avg", "exp_avg_sq")
ALIGNMENT = 4
"""Numbers, for each rank, by which the end of a flat partition may be padded."""


class Zero(Strategy, ABC):
    """The model in a DeepSpeed engine, which reduces, clips and steps by itself."""

    shards_optimizer = True
    stage: ClassVar[int]

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        on_cpu = use_cpu(config)
        if on_cpu:
            choose_deepspeed_accelerator()
        super().__init__(config, tracking_folder=tracking_folder)
        import deepspeed

        deepspeed.utils.logger.setLevel(logging.ERROR)
        deepspeed.init_distributed(dist_backend=backend(config, on_cpu=on_cpu), auto_mpi_discovery=False)
        self._last = True

    @property
    def load_dtype(self) -> torch.dtype:
        """Trained in full in 16 bit, DeepSpeed keeps float32 masters of its own."""
        if self.config.method.name is Method.FULL and self.compute is not Compute.FP32:
            return torch.bfloat16 if self.compute is Compute.BF16 else torch.float16
        return super().load_dtype

    @property
    def frozen_dtype(self) -> torch.dtype | None:
        return torch.float16 if self.compute is Compute.FP16 else None

    def prepare(self, model: nn.Module, make_optimizer: MakeOptimizer) -> None:
        import deepspeed

        self.optimizer = make_optimizer(list(trainable(model).values()))
        config = self._deepspeed_config(model)
        self.model, *_ = deepspeed.initialize(model=model, optimizer=self.optimizer, config=config)
        self.unwrapped = self.model.module
        set_timeout(self.config)

    def _deepspeed_config(self, model: Any) -> dict[str, Any]:
        return deepspeed_config(self.config, self.compute, model.config.get_text_config().hidden_size)

    @contextlib.contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        self._last = last
        yield

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The engine has its own; outside of it, in evaluations, Accelerate's is the same."""
        # Asked of the model: the engine's own flag stays as it was in evaluations.
        with contextlib.nullcontext() if self.unwrapped.training else self.accelerator.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        self.model.set_gradient_accumulation_boundary(self._last)
        self.model.backward(loss, scale_wrt_gas=False)

    def update(self, max_grad_norm: float) -> Update:
        self.model.step()
        norm = self.model.get_global_grad_norm()
        return Update(float(norm) if norm is not None else 0.0, bool(self.model.was_step_applied()))

    # The trained state

    @property
    def _keeps_adam_states(self) -> bool:
        """Whether the optimizer's states are numbers per weight; 8-bit ones are blocks of the partition instead."""
        return isinstance(self.optimizer, torch.optim.AdamW)

    def full(self, parameter: nn.Parameter) -> Tensor:
        from deepspeed.utils import safe_get_full_fp32_param

        return _shaped(safe_get_full_fp32_param(parameter), parameter).detach()

    def trained_state(self) -> Iterator[tuple[str, dict[str, Any]]]:
        from deepspeed.utils import safe_get_full_optimizer_state

        steps = [state["step"] for state in self.optimizer.state.values() if "step" in state]
        for name, parameter in trainable(self.unwrapped).items():
            values: dict[str, Any] = {"weight": self.full(parameter)}
            if self._keeps_adam_states and steps:
                values["step"] = torch.as_tensor(float(steps[0]))
                for key in MOMENTS:
                    values[key] = _shaped(safe_get_full_optimizer_state(parameter, key), parameter)
            yield name, values

    def load_trained_state(self, state: dict[str, dict[str, Any]]) -> None:
        steps = [float(values["step"]) for values in state.values() if "step" in values]
        if steps and self._keeps_adam_states:
            self._make_adam_states(steps[0])
        for name, parameter in trainable(self.unwrapped).items():
            saved = {key: value for key, value in state[name].items() if torch.is_tensor(value)}
            self._load(parameter, {key: value.to(self.device) for key, value in saved.items()})

    def _make_adam_states(self, step: float) -> None:
        """States as the optimizer makes them at its first step, for a saved run's to be put into."""
        for flat in self._flat_partitions:
            zeros = {key: torch.zeros_like(flat) for key in MOMENTS}
            where = flat.device if self.optimizer.defaults["fused"] else "cpu"
            self.optimizer.state[flat] = {"step": torch.tensor(step, dtype=torch.float32, device=where), **zeros}

    @property
    @abstractmethod
    def _flat_partitions(self) -> list[Tensor]:
        """This rank's float32 masters, a flat tensor a group: what the optimizer really steps."""

    @abstractmethod
    def _load(self, parameter: nn.Parameter, values: dict[str, Any]) -> None:
        """Put a saved weight, and its moments where there are some, in their places; a collective in stage 3."""

    def rank_state(self) -> Any:
        return None if self._keeps_adam_states else [self.optimizer.state[flat] for flat in self._flat_partitions]

    def load_rank_state(self, state: Any) -> None:
        if state is None:
            return
        (group,) = self.optimizer.param_groups
        shown, group["params"] = group["params"], self._flat_partitions  # stage 3 fills them for its own step alone
        for number, (flat, saved) in enumerate(zip(self._flat_partitions, state, strict=True)):
            # Made by the optimizer itself, so that paged states are paged again.
            self.optimizer.init_state(group, flat, 0, number)
            for key, value in saved.items():
                if torch.is_tensor(value):
                    self.optimizer.state[flat][key].copy_(value)
                else:
                    self.optimizer.state[flat][key] = value
        group["params"] = shown

    def scaler_state(self) -> dict[str, Any] | None:
        if self.compute is not Compute.FP16:
            return None
        kept = vars(self.model.optimizer.loss_scaler).items()
        return {name: value for name, value in kept if isinstance(value, (bool, int, float))}

    def load_scaler_state(self, state: dict[str, Any] | None) -> None:
        if self.compute is Compute.FP16 and state:
            vars(self.model.optimizer.loss_scaler).update(state)

    def release(self) -> None:
        if self.model is not None:
            self.model.destroy()
        super().release()


class _Flat(Zero):
    """Stages that keep weights whole and cut what the optimizer keeps, laid end to end."""

    @property
    def _flat_partitions(self) -> list[Tensor]:
        optimizer = self.model.optimizer
        # Stage 1 in bf16 with sums in float32 is another optimizer of DeepSpeed's, with names of its own.
        names = ("single_partition_of_fp32_groups", "fp32_groups_flat_partition")
        flat: list[Tensor] = next(getattr(optimizer, name) for name in names if hasattr(optimizer, name))
        return flat

    def _optimizer_share(self, trained: list[nn.Parameter]) -> int:
        return math.ceil(sum(one.numel() for one in trained) / world()[1]) + ALIGNMENT * world()[1]

    def _load(self, parameter: nn.Parameter, values: dict[str, Any]) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        with torch.no_grad():
            parameter.copy_(values["weight"])
        safe_set_full_fp32_param(parameter, values["weight"])
        for key in MOMENTS:
            if key in values:
                safe_set_full_optimizer_state(parameter, values[key], key)

    def _make_adam_states(self, step: float) -> None:
        super()._make_adam_states(step)
        # Normally at the first step: ties each weight to its place in the flat states.
        self.model.optimizer._lazy_init_hp_params_optimizer_state()


class Zero1(_Flat):
    """Optimizer states are split."""

    stage = 1


class Zero2(_Flat):
    """Optimizer states and gradients are split."""

    stage = 2


class Zero3(Zero):
    """Weights are split too; each module's are gathered when it is used."""

    stage = 3
    shards_parameters = True

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        super().__init__(config, tracking_folder=tracking_folder)
        # A cast kept from a weight's first use would take the second one's gradient after the weight is gone (DoRA).
        torch.set_autocast_cache_enabled(False)

    @property
    def _flat_partitions(self) -> list[Tensor]:
        flat: list[Tensor] = self.model.optimizer.fp32_partitioned_groups_flat
        return flat

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        with super().autocast(), without_gathered_weights() if self.unwrapped.training else contextlib.nullcontext():
            yield

    def place(self, model: nn.Module, see: See) -> None:
        """Split the weights, before DeepSpeed would move them to the device whole."""
        import deepspeed

        self._gather_as_one(model)
        config = self._deepspeed_config(model)
        self._persistence_threshold = config["zero_optimization"]["stage3_param_persistence_threshold"]
        if self.compute is Compute.FP16:
            _cast_to_fp16(model)
        for block in blocks(model):
            self.settle(block)
            look_4bit_up_again(block)
            see(block)
            if self.device.type == "cpu":
                _leave_the_file(block)
            deepspeed.zero.Init(
                module=block,
                config_dict_or_path=config,
                remote_device="cpu" if self.config.strategy.offload_parameters else None,
                pin_memory=self.config.strategy.offload_parameters,
            )
        for buffer in model.buffers():
            buffer.data = buffer.data.to(self.device)
        if self.device.type == "cpu":
            for parameter in model.parameters():
                _keep_in_place(parameter)

    def _gather_as_one(self, model: Any) -> None:
        """Have each unit gathered and let go of as one: hooks at every module inside take most of a step's time."""
        from deepspeed.utils import set_z3_leaf_module

        embeddings = model.get_input_embeddings()
        for unit in sharding_units(model):
            if any(module is embeddings for module in unit.modules()):
                continue  # BERT's is given ids of tokens, which no gradients pass through
            set_z3_leaf_module(unit, True)
            unit.register_forward_pre_hook(_check_that_gradients_pass)
        model.enable_input_require_grads()

    def expected_bytes(self, parameter: Any) -> int:
        kept_whole = parameter.ds_numel <= self._persistence_threshold
        share = parameter.ds_numel if kept_whole else math.ceil(parameter.ds_numel / world()[1])
        return int(share * parameter.element_size())

    def _optimizer_share(self, trained: list[Any]) -> int:
        """Each weight is cut by itself."""
        return sum(math.ceil(one.ds_numel / world()[1]) for one in trained)

    def release(self) -> None:
        torch.set_autocast_cache_enabled(True)
        for parameter in self.unwrapped.parameters() if self.unwrapped is not None else ():
            # Functions that DeepSpeed made for each module keep the model for as long as the process lives.
            parameter.data = parameter.ds_tensor.data = parameter.data.new_empty(0)
        super().release()

    def _load(self, parameter: nn.Parameter, values: dict[str, Any]) -> None:
        import deepspeed
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
            parameter.copy_(values["weight"])
        safe_set_local_fp32_param(parameter, _partition_of(parameter, values["weight"]))
        for key in MOMENTS:
            if key in values:
                safe_set_local_optimizer_state(parameter, _partition_of(parameter, values[key]), key)


ZERO_STAGES: dict[StrategyName, type[Zero]] = {
    StrategyName.ZERO1: Zero1,
    StrategyName.ZERO2: Zero2,
    StrategyName.ZERO3: Zero3,
}


def _check_that_gradients_pass(unit: nn.Module, inputs: tuple[Any, ...]) -> None:
    """DeepSpeed reduces a unit's gradients when its input's is there: without one, before they are computed."""
    if (
        unit.training
        and torch.is_grad_enabled()
        and not any(torch.is_tensor(one) and one.requires_grad for one in inputs)
    ):
        raise RuntimeError(
            f"{type(unit).__name__} gets no input that gradients pass through, so zero3 would lose its own; use fsdp2."
        )


def _cast_to_fp16(model: nn.Module) -> None:
    """What DeepSpeed does itself in stages 1 and 2: every parameter of numbers, whose masters stay float32.

    What it is to split it takes as it is, and with float32 adapters it would not scale the loss, in silence (0.19.8
    runtime/engine.py ``_cast_module_mixed_precision``, runtime/fp16/loss_scaler.py ``CreateLossScaler``).
    """
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.half()


def _leave_the_file(block: nn.Module) -> None:
    """Copy weights that may be mapped from a file, whose pages ranks share.

    DeepSpeed sends rank 0's weights into those of the others, and pages that were written to are a rank's own for as
    long as anything of the file is in use (0.19.8 runtime/zero/partition_parameters.py ``_zero_init_param``).
    """
    for parameter in block.parameters():
        if not is_sharded(parameter):
            parameter.data = parameter.data.clone()


def _keep_in_place(parameter: Any) -> None:
    """Make ``to`` its own device give the parameter itself.

    For DoRA PEFT sets ``weight = weight.to("cpu")`` on modules whose weight is there (peft 0.21.2 utils/integrations.py
    ``dequantize_module_weight``); a 4-bit weight gives a copy, which would take the place of DeepSpeed's parameter.
    """

    def to(*arguments: Any, **options: Any) -> Any:
        if arguments == (parameter.device,) and not options:
            return parameter
        return type(parameter).to(parameter, *arguments, **options)

    parameter.to = to


def _shaped(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """Without the padding of the partitions, in the parameter's own shape."""
    shape = getattr(parameter, "ds_shape", parameter.shape)
    return value.flatten()[: shape.numel()].view(shape)


def _partition_of(parameter: Any, value: Tensor) -> Tensor:
    """This rank's partition of a whole value, padded as DeepSpeed pads it."""
    size = parameter.ds_tensor.ds_numel
    flat = value.flatten()
    start = min(size * world()[0], flat.numel())
    mine = flat[start : start + size]
    return torch.nn.functional.pad(mine, (0, size - mine.numel()))
