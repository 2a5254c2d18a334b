"""A saved run's adapter merged into its base, tensor by tensor, into a folder that Transformers and servers load."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from engine.audit.adapter import saved_name
from engine.base_files import INDEX, base_files, check_base, recorded_labels
from engine.checkpoint import publish
from engine.config import Compute
from engine.errors import BadInput
from engine.events import read_json
from engine.merging.as_trained import TAKES_OUT, AsTrained
from engine.merging.beside import merged_config, tokenizer_of, write_beside
from engine.merging.names import as_in_files, groups_of_files
from engine.merging.shape import base_shape, check_fits, not_quantized, read_adapter_config, with_adapter
from engine.merging.steps import lies_transposed, merged, steps
from engine.merging.tensor_file import NewTensorFile, TensorFile
from engine.strategy.base import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

    from engine.base_files import BaseFiles
    from engine.config import RunConfig
    from engine.events import RunDirectory
    from engine.merging.names import Group

    Tell = Callable[[int, int], None]
    """Is told the bytes written, and those there will be."""

ROOM_BESIDE = 1 << 26
"""Bytes left for tokenizer and configuration."""


class Merged(NamedTuple):
    """What was written."""

    bytes: int
    tensors: int
    changed: int
    """Tensors that the adapter changed."""
    dtype: str
    base_is_checked: bool
    """Whether the base is known to be the one that was trained on."""
    is_untied: bool
    """Whether embedding and head, one weight in the base, have become two."""


class Planned(NamedTuple):
    """A tensor to be written."""

    file: str
    dtype: torch.dtype
    shape: tuple[int, ...]


def merge(
    run: RunDirectory, config: RunConfig, adapter: Path, out: Path, *, original: bool, dtype: torch.dtype | None,
    tell: Tell,
) -> Merged:  # fmt: skip
    """Write the folder ``out``, whole or not at all.

    Args:
        adapter: folder with the adapter, of the run's end or of a checkpoint.
        original: merge into the weights as the base's files have them, not as the run computed with them.
        dtype: of the merged weights; None for a 16-bit one, the files' own if it is.
        tell: is called often.

    Raises:
        BadInput: base or adapter cannot be used, or the disk has too little room.
        OSError: it could not be written.
    """
    files = base_files(config)
    is_checked = check_base(run, config, files)
    with contextlib.ExitStack() as held:
        work = _Merge(run, config, adapter, files, original=original, dtype=dtype, held=held)
        work.check_room(out)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            work.write(partial, tell)
            publish(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    dtype_name = str(work.dtype).removeprefix("torch.")
    return Merged(work.bytes, len(work.planned), work.changed, dtype_name, is_checked, work.is_untied)


class _Merge:
    """What is known before the first byte is written, and the writing."""

    def __init__(
        self, run: RunDirectory, config: RunConfig, adapter: Path, files: BaseFiles, *, original: bool,
        dtype: torch.dtype | None, held: contextlib.ExitStack,
    ) -> None:  # fmt: skip
        labels = recorded_labels(run)
        self.files, self.config, self.labels = files, config, labels
        self.tokenizer = tokenizer_of(run, config)
        self.base = base_shape(config, labels, len(self.tokenizer))
        if getattr(self.base.config, "quantization_config", None) is not None:
            raise BadInput(
                f"model.path: {config.model.path} is quantised in its files, and only bases that are not can be merged "
                "into; train on its 16-bit original with method.name=qlora, or serve the adapter beside the base."
            )
        adapter_config = read_adapter_config(adapter)
        self.sources = {path.name: _opened(path, held) for path in files.weights}
        self.stored = _main_type(self.sources)
        compute = _compute(run, config, self.stored)
        self.dtype = dtype or _16_bit(self.stored, DTYPES[compute])
        self.as_trained: AsTrained | None = None
        if not original:
            self.as_trained = AsTrained(self.base, config, compute, adapter_config, not_quantized(self.base, labels))
        elif adapter_config.init_lora_weights in TAKES_OUT:
            raise BadInput(
                f"method.lora.init: {adapter_config.init_lora_weights} took a part out of the weights this run began "
                "with, so its adapter is of no use with the original ones; leave --base original out."
            )
        self.transposed = {f"{name}.weight" for name, one in self.base.named_modules() if lies_transposed(one)}
        self.shapes = {name: tuple(value.shape) for name, value in self.base.state_dict().items()}
        self.file_of = {key: name for name, source in self.sources.items() for key in source.tensors}
        """Of every tensor of the base."""
        keys = list(self.file_of)
        self.groups = groups_of_files(self.base, keys)
        adapted = with_adapter(self.base, adapter_config)
        self.adapter = _opened(adapter / "adapter_model.safetensors", held)
        check_fits(adapted, self.adapter.tensors, adapter)
        self.todo = steps(adapted)
        self.tied = self.base.all_tied_weights_keys if _is_tied(self.base) else {}
        grouped = {key for group in self.groups for key in group.keys}
        # A classifier has not the head of its base; what else the model does not know stays beside it.
        self.loose = [key for key in keys if key not in grouped and labels is None]
        self.changed_keys = {key for group in self.groups if self._is_changed(group) for key in group.keys}
        self.planned = self._plan(keys)
        self.bytes = sum(torch.Size(one.shape).numel() * one.dtype.itemsize for one in self.planned.values())
        self.changed = len(self.todo)

    @property
    def is_untied(self) -> bool:
        """Whether tied weights are changed in different ways."""
        return any(self.todo.get(name) != self.todo.get(of) for name, of in self.tied.items())

    def check_room(self, out: Path) -> None:
        """Raises:
        BadInput: the disk has too little.
        """
        there = next(parent for parent in out.absolute().parents if parent.exists())
        free, wanted = shutil.disk_usage(there).free, self.bytes + ROOM_BESIDE
        if free < wanted:
            raise BadInput(
                f"--out: {out} will take {wanted / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free in {there}; "
                "make room, or name a folder on another disk."
            )

    def write(self, folder: Path, tell: Tell) -> None:
        """All files, into an empty folder."""
        targets = self._targets(folder)
        done = 0
        tell(done, self.bytes)
        for key in filter(self._is_copied, self.planned):
            targets[self.planned[key].file].write_chunks(key, self._source(key).chunks(key))
            done += self._source(key).tensors[key].size
            tell(done, self.bytes)
        for made in self._made():
            for key, value in made.items():
                targets[self.planned[key].file].write(key, value)
                done += value.nbytes
            tell(done, self.bytes)
        for target in targets.values():
            target.close()
        if self.files.weight_map is not None:
            weight_map = {key: one.file for key, one in self.planned.items()}
            index = {"metadata": {"total_size": self.bytes}, "weight_map": weight_map}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
        config = merged_config(
            self.files.folder, self.base, self.tokenizer, self.dtype, self.labels, is_untied=self.is_untied
        )
        write_beside(folder, self.files.folder, config, self.tokenizer)

    def _targets(self, folder: Path) -> dict[str, NewTensorFile]:
        files: dict[str, dict[str, tuple[torch.dtype, tuple[int, ...]]]] = {}
        for key, one in self.planned.items():
            files.setdefault(one.file, {})[key] = (one.dtype, one.shape)
        return {name: NewTensorFile(folder / name, tensors, {}) for name, tensors in files.items()}

    def _plan(self, keys: list[str]) -> dict[str, Planned]:
        """Every tensor to be written: the base's, in its files, and those that only the adapter brings, in the last."""
        grouped = {key: group for group in self.groups for key in group.keys}
        planned = {}
        for key in keys:
            place = self._source(key).tensors[key]
            name = grouped[key].name if key in grouped else None
            if key in grouped or key in self.loose:
                shape = place.shape if name is None else self.shapes[name]
                planned[key] = Planned(self.file_of[key], self._written_as(place.dtype), shape)
        for name in self._extra():
            planned[name] = Planned(list(self.sources)[-1], self.dtype, self.shapes[name])
        return planned

    def _extra(self) -> list[str]:
        """Names of weights that no file of the base has: a new head, or one that is tied to the embedding no more."""
        there = {name for group in self.groups for name in group.names}
        return [name for name in self.shapes if name not in there and self._is_own(name)]

    def _is_own(self, name: str) -> bool:
        todo = self.todo.get(name)
        return todo != self.todo.get(self.tied[name]) if name in self.tied else todo is not None

    def _is_copied(self, key: str) -> bool:
        """Whether a tensor stays as it is in the base's file, byte for byte."""
        place = self._source(key).tensors.get(key)
        planned = self.planned[key]
        return place is not None and key not in self.changed_keys and place.dtype is planned.dtype

    def _made(self) -> Iterator[dict[str, Tensor]]:
        """All other tensors, by key, a few at a time."""
        for group in self.groups:
            if not all(map(self._is_copied, group.keys)):
                yield self._of_group(group)
        for key in self.loose:
            if not self._is_copied(key):
                yield {key: self._read(key).to(self.planned[key].dtype)}
        for name in self._extra():
            yield {name: self._of_extra(name)}

    def _of_group(self, group: Group) -> dict[str, Tensor]:
        read = {key: self._read(key) for key in group.keys}
        if self.changed_keys.isdisjoint(group.keys):
            return {key: value.to(self.planned[key].dtype) for key, value in read.items()}
        dtypes = {value.dtype for value in read.values()}
        numbers = group.in_memory(read, self.base)
        written = self._written_as(dtypes.pop()) if len(dtypes) == 1 else self.dtype
        del read
        made = {name: self._merged(name, value, written) for name, value in numbers.items()}
        if group.name is not None:
            return dict.fromkeys(group.keys, made[group.name])
        return as_in_files(self.base, made)

    def _is_changed(self, group: Group) -> bool:
        """Whether more is done to a group than to cast it."""
        if group.name is not None:
            (key,) = group.keys
            if self.shapes[group.name] != self._source(key).tensors[key].shape:
                return True
        todo = {name: self.todo.get(name, []) for name in group.names}
        return any(todo.values()) or (
            self.as_trained is not None and any(self.as_trained.changes(name, todo[name]) for name in todo)
        )

    def _merged(self, name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
        todo = self.todo.get(name, [])
        if self.as_trained is not None:
            weight = self.as_trained(name, weight, todo, is_transposed=name in self.transposed)
        missing = self.shapes[name][0] - weight.shape[0] if weight.dim() else 0
        if missing:  # rows of new tokens, all of which were trained
            weight = torch.cat([weight, weight.new_zeros(missing, *weight.shape[1:])])
        return merged(weight, todo, self._trained, dtype)

    def _of_extra(self, name: str) -> Tensor:
        todo = self.todo.get(name, [])
        if name not in self.tied:
            return merged(None, todo, self._trained, self.dtype)
        source = next(group for group in self.groups if group.name == self.tied[name])
        return self._merged(name, self._read(next(iter(source.keys))), self.dtype)

    def _read(self, key: str) -> Tensor:
        return self._source(key).read(key)

    def _source(self, key: str) -> TensorFile:
        """The base's file with a tensor; any of them for one that has none."""
        return self.sources[self.file_of.get(key, next(iter(self.sources)))]

    def _trained(self, name: str) -> Tensor:
        return self.adapter.read(saved_name(name))

    def _written_as(self, dtype: torch.dtype) -> torch.dtype:
        """What a model keeps in a type of its own, as some do with parts of their experts' routers, stays in it."""
        return self.dtype if dtype is self.stored else dtype


def _opened(path: Path, held: contextlib.ExitStack) -> TensorFile:
    try:
        file = TensorFile(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}. Fetch it again.") from error
    held.callback(file.close)
    return file


def _main_type(sources: Mapping[str, TensorFile]) -> torch.dtype:
    """The floating type that most bytes are of."""
    sizes: Counter[torch.dtype] = Counter()
    for source in sources.values():
        for place in source.tensors.values():
            sizes[place.dtype] += place.size if place.dtype.is_floating_point else 0
    return sizes.most_common(1)[0][0]


def _compute(run: RunDirectory, config: RunConfig, stored: torch.dtype) -> Compute:
    """What the run computed in; the type of its files where that was left open and nothing is recorded."""
    recorded = (read_json(run.base_json) or {}).get("compute")
    if recorded is not None:
        return Compute(recorded)
    if config.precision.compute is not Compute.AUTO:
        return config.precision.compute
    return next((compute for compute, dtype in DTYPES.items() if dtype is stored), Compute.FP32)


def _16_bit(*wanted: torch.dtype) -> torch.dtype:
    """The first of these types that has 16 bits."""
    return next((one for one in wanted if one.itemsize == 2), torch.bfloat16)


def _is_tied(base: Any) -> bool:
    return bool(base.config.get_text_config().tie_word_embeddings)
