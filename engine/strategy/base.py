"""What every strategy does: place the model, step the optimizer, give and take the trained state."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from accelerate import Accelerator

from engine.config import Compute, Device, LoraInit, Method, Optimizer, RunConfig, Storage
from engine.config.ranks import BF16_CAPABILITY, compute_type
from engine.errors import BadInput
from engine.parameters import cast, trainable
from engine.quantized_experts import packing_of, quantize_experts
from engine.waiting_experts import fused_experts, names_of_fused, settle_experts
from engine.waiting_linear import settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    See = Callable[[nn.Module], None]

STORAGE = {
    Storage.UINT8: torch.uint8,
    Storage.FLOAT32: torch.float32,
    Storage.BFLOAT16: torch.bfloat16,
    Storage.FLOAT16: torch.float16,
}
DTYPES = {Compute.BF16: torch.bfloat16, Compute.FP16: torch.float16, Compute.FP32: torch.float32}
ADAM_BYTES = 8
"""Of AdamW's two float32 moments, per trained weight."""
MIXED_PRECISION = {Compute.BF16: "bf16", Compute.FP16: "fp16", Compute.FP32: "no"}


class Update(NamedTuple):
    """What an optimizer step did."""

    grad_norm: float
    """Before clipping."""
    applied: bool
    """False where fp16 skipped the step because gradients overflowed."""


class Strategy:
    """How a model is placed, stepped and read back. A run has one; :meth:`prepare` gives it its model.

    Accelerate starts the process group and keeps precision and trackers; the base class steps through its optimizer
    wrapper. What differs between strategies is overridden by name.
    """

    shards_parameters: ClassVar[bool] = False
    """Each rank is to hold a part of the weights only."""
    shards_optimizer: ClassVar[bool] = False
    """Each rank is to hold a part of the optimizer's state only."""

    def __init__(self, config: RunConfig, *, tracking_folder: str) -> None:
        on_cpu = use_cpu(config)
        self.config = config
        self.compute = resolve_compute(config, on_cpu)
        self.accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision=MIXED_PRECISION[self.compute],
            log_with=[tracker.value for tracker in config.tracking.report_to] or None,
            project_dir=tracking_folder,
            kwargs_handlers=self.kwargs_handlers(),
        )
        self.model: Any = None
        """What is called: the model as wrapped by the strategy."""
        self.unwrapped: Any = None
        """The model inside: what is saved, audited and generated with."""
        self.optimizer: Any = None
        """The torch optimizer, whose rates a schedule sets."""

    def kwargs_handlers(self) -> list[Any]:
        return []

    @property
    def device(self) -> torch.device:
        """Where this rank computes, as torch names it everywhere: cuda:<index>, or cpu (Accelerate says cpu:0)."""
        if self.accelerator.device.type == "cuda":
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("cpu")

    # Loading

    @property
    def is_quantized(self) -> bool:
        return self.config.method.name in (Method.QLORA, Method.INT8)

    @property
    def load_dtype(self) -> torch.dtype:
        """Type the base's floating weights are loaded as.

        Trained in full they stay float32: small updates vanish when added to 16-bit weights.
        """
        return torch.float32 if self.config.method.name is Method.FULL else DTYPES[self.compute]

    @property
    def frozen_dtype(self) -> torch.dtype | None:
        """Type the strategy casts frozen floating weights to; None where it leaves them as they were loaded."""
        return None

    @property
    def packed_dtype(self) -> torch.dtype:
        """Type that quantised bytes are stored as where the user leaves it to us: one this strategy moves exactly."""
        return torch.uint8

    @property
    def quantizes_by_block(self) -> bool:
        """Whether weights wait on the host until :meth:`place` quantises and shards them, a block at a time.

        OLoRA takes its adapters out of the quantised weights and quantises what is left: they have to be there.
        """
        from_weights = self.config.method.lora.init is LoraInit.OLORA
        return self.shards_parameters and self.is_quantized and not from_weights

    @property
    def casts_to(self) -> torch.dtype | None:
        """Type that :meth:`place` casts weights to, block by block, which are read in that of their file.

        What is trained in full becomes float32, mostly from 16 bit: cast as it is read, a host would hold it all once a
        rank. None where weights are cast as they are read.
        """
        full = self.config.method.name is Method.FULL
        return self.load_dtype if self.casts_by_block and full and self.load_dtype is torch.float32 else None

    @property
    def casts_by_block(self) -> bool:
        """Whether plain weights are on the host until :meth:`place` casts and shards them, a block at a time."""
        return self.shards_parameters and not self.is_quantized

    def cast_later(self, model: nn.Module) -> list[str]:
        """Names of the weights of a model that are then cast: all, or fused experts, which are put together then."""
        return names_of_fused(model) if self.casts_to is None else [name for name, _ in model.named_parameters()]

    def device_map(self, shape: Callable[[], nn.Module]) -> dict[str, Any]:
        """Where Transformers is to load what. Weights to be sharded stay on the host, mapped from their files.

        ``shape`` gives the model without its numbers.
        """
        return {"": "cpu" if self.quantizes_by_block or self.casts_by_block else self.device}

    def settle(self, block: nn.Module) -> None:
        """Make the weights of a block what they are computed with: quantised, or cast, where they waited for it."""
        settle(block, self.device)
        self.pack_experts(block, self.device)
        settle_experts(block, self.device, self.load_dtype)
        if self.casts_to is not None:
            cast(block, self.casts_to)

    def pack_experts(self, part: nn.Module, device: torch.device | None) -> None:
        """Quantise fused experts, on ``device`` or else where they are, if the method does."""
        storage = STORAGE.get(self.config.method.quantization.storage, self.packed_dtype)
        packing = packing_of(self.config.method, self.load_dtype, storage)
        if packing is not None:
            quantize_experts(part, device, packing)

    def place(self, model: nn.Module, see: See) -> None:
        """Bring the loaded model to where it is computed with: whole, or block by block where weights are sharded.

        ``see`` is shown every part of the model as it will be computed with, before that is sharded.
        """
        if self.is_quantized and any(fused_experts(model)):
            for block in blocks(model):
                self.settle(block)
                block.to(self.device)
        see(model)

    # Training

    def prepare(self, model: nn.Module, make_optimizer: MakeOptimizer) -> None:
        """Take the placed model; ``make_optimizer`` makes the optimizer over a list of parameters."""
        self.unwrapped = model
        self.model, self.optimizer = self.accelerator.prepare(model, make_optimizer(list(trainable(model).values())))

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """The precision of forward passes."""
        with self.accelerator.autocast():
            yield

    @contextlib.contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward of a micro batch; gradients travel with the ``last`` of a step."""
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            yield

    def backward(self, loss: Tensor) -> None:
        self.accelerator.backward(loss)

    def update(self, max_grad_norm: float) -> Update:
        """Clip (0 clips nothing), step and clear the gradients."""
        self.accelerator.unscale_gradients()
        norm: Any = torch.nn.utils.clip_grad_norm_(trainable(self.unwrapped).values(), max_grad_norm or float("inf"))
        if hasattr(norm, "full_tensor"):
            norm = norm.full_tensor()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Update(float(norm), not self.accelerator.optimizer_step_was_skipped)

    # What a rank is to hold, for the sharding audit

    def expected_bytes(self, parameter: nn.Parameter) -> int:
        """This rank's share of a parameter."""
        return parameter.numel() * parameter.element_size()

    def optimizer_bytes(self) -> tuple[int, int] | None:
        """(this rank's share, all) of the optimizer's states; None where its states are no two numbers a weight."""
        if self.config.training.optimizer is not Optimizer.ADAMW:
            return None
        trained = list(trainable(self.unwrapped).values())
        count = sum(getattr(one, "ds_numel", one.numel()) for one in trained)
        return self._optimizer_share(trained) * ADAM_BYTES, count * ADAM_BYTES

    def _optimizer_share(self, trained: list[nn.Parameter]) -> int:
        """Weights whose optimizer states this rank is to hold."""
        return sum(parameter.numel() for parameter in trained)

    # The trained state: what a checkpoint keeps, the same under every strategy

    def full(self, parameter: nn.Parameter) -> Tensor:
        """A parameter's whole value; a collective where parameters are sharded."""
        return whole(parameter.detach())

    def trained_state(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name by name the trained weights and what the optimizer keeps of them, whole; a collective of all ranks.

        Each is ``{"weight": tensor, <state of the optimizer>: tensor or number}``.
        """
        for name, parameter in trainable(self.unwrapped).items():
            state = self._torch_optimizer.state.get(parameter, {})
            kept = {key: whole(value) if torch.is_tensor(value) else value for key, value in state.items()}
            yield name, {"weight": self.full(parameter), **kept}

    def load_trained_state(self, state: dict[str, dict[str, Any]]) -> None:
        """Take what :meth:`trained_state` gave, under this strategy or another, on any number of ranks."""
        moments = {}
        with torch.no_grad():
            for index, (name, parameter) in enumerate(trainable(self.unwrapped).items()):
                parameter.copy_(as_part_of(parameter, state[name]["weight"]))
                moments[index] = {
                    key: as_part_of(parameter, value) if torch.is_tensor(value) and value.dim() else value
                    for key, value in state[name].items() if key != "weight"
                }  # fmt: skip
        groups = self._torch_optimizer.state_dict()["param_groups"]
        known = {index: one for index, one in moments.items() if one}
        self._torch_optimizer.load_state_dict({"state": known, "param_groups": groups})

    @property
    def _torch_optimizer(self) -> torch.optim.Optimizer:
        inner = getattr(self.optimizer, "optimizer", self.optimizer)
        assert isinstance(inner, torch.optim.Optimizer)
        return inner

    def rank_state(self) -> Any:
        """What only this rank can keep, for a resume with as many ranks; None where the trained state is all."""
        return None

    def load_rank_state(self, state: Any) -> None:
        """Take :meth:`rank_state`."""

    def scaler_state(self) -> dict[str, Any] | None:
        """fp16's loss scale; None in other precisions."""
        scaler = self.accelerator.scaler
        return scaler.state_dict() if scaler is not None else None

    def load_scaler_state(self, state: dict[str, Any] | None) -> None:
        if self.accelerator.scaler is not None and state:
            self.accelerator.scaler.load_state_dict(state)

    @property
    def devices(self) -> list[torch.device]:
        """All devices this rank computes on."""
        return [self.device]

    def release(self) -> None:
        """Let go of model and optimizer, for a process that goes on to another run."""
        self.model = self.unwrapped = self.optimizer = None
        self.accelerator.free_memory()


def whole(tensor: Tensor) -> Tensor:
    """A tensor's whole value where it is sharded (a collective then)."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def as_part_of(parameter: Any, value: Tensor) -> Tensor:
    """A whole value as ``parameter`` is placed: on its device and, where that is sharded, this rank's part of it."""
    if hasattr(parameter, "device_mesh") and value.shape == parameter.shape:
        from torch.distributed.tensor import distribute_tensor

        mesh, placements = parameter.device_mesh, parameter.placements
        part = distribute_tensor(value.to(mesh.device_type), mesh, placements, src_data_rank=None)
        return part.to(parameter.to_local().device)
    return value.to(parameter.device)


def blocks(root: Any) -> list[nn.Module]:
    """The parts in which a model is placed: its sharding units one by one, and the rest as the model itself."""
    return [*sharding_units(root), root]


def sharding_units(root: Any) -> list[nn.Module]:
    """Modules gathered as one, inner ones first: the layers that Transformers says must not be split."""
    names = {
        prefix + name for name in root._no_split_modules or () for prefix in ("", "FSDP")
    }  # as fully_shard calls it
    units = [module for module in root.modules() if type(module).__name__ in names]
    inside = {inner for unit in units for inner in unit.modules() if inner is not unit}
    return [unit for unit in units if unit not in inside]


def use_cpu(config: RunConfig) -> bool:
    """Whether the ranks compute on CPU: asked for, or no GPU is there."""
    if config.hardware.device is Device.CUDA and not torch.cuda.is_available():
        raise BadInput(
            "hardware.device: cuda was asked for, but torch sees no GPU; check the driver, or use cpu.",
            "cuda_driver_mismatch",
        )
    return config.hardware.device is Device.CPU or not torch.cuda.is_available()


def resolve_compute(config: RunConfig, on_cpu: bool) -> Compute:
    """The precision to compute in, by the hardware where it was left open.

    Decided by compute capability: torch's own ``is_bf16_supported()`` says yes on GPUs that only emulate it.
    """
    compute = compute_type(config, [] if on_cpu else [torch.cuda.get_device_capability()[0]])
    if on_cpu and compute is Compute.FP16:
        raise BadInput("precision.compute: fp16 needs a GPU; use fp32 or bf16 on CPU ranks.")
    if not on_cpu and compute is Compute.BF16 and torch.cuda.get_device_capability()[0] < BF16_CAPABILITY:
        raise BadInput(f"precision.compute: {torch.cuda.get_device_name()} computes no bf16; use fp16.")
    return compute
