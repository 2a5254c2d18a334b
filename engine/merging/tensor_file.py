"""Safetensors files, read and written tensor by tensor: memory holds one tensor, whatever the size of the file.

The library's own writer wants all tensors of a file at once, and its reader maps the file into memory. The format: 8
bytes with the length of a JSON header, the header with type, shape and place of each tensor, then their bytes
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in TYPES.items()}
LENGTH_BYTES = 8
CHUNK = 1 << 24


class Place(NamedTuple):
    """A tensor of a file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """First byte, from the beginning of the file."""

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorFile:
    """A safetensors file open for reading."""

    def __init__(self, path: Path) -> None:
        """Read its header.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no safetensors file, is cut short, or has a type torch lacks.
        """
        self._file = os.open(path, os.O_RDONLY)
        begin = LENGTH_BYTES + int.from_bytes(os.pread(self._file, LENGTH_BYTES, 0), "little")
        size = os.fstat(self._file).st_size
        if not LENGTH_BYTES < begin <= size:
            raise ValueError(f"{path} is no safetensors file, or was not fetched whole")
        header: dict[str, Any] = json.loads(os.pread(self._file, begin - LENGTH_BYTES, LENGTH_BYTES))
        self.metadata: dict[str, str] = header.pop("__metadata__", {})
        unknown = {one["dtype"] for one in header.values()} - set(TYPES)
        if unknown:
            raise ValueError(f"{path} has tensors of type {min(unknown)}, which torch cannot compute with")
        self.tensors = {
            name: Place(TYPES[one["dtype"]], tuple(one["shape"]), begin + one["data_offsets"][0])
            for name, one in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        }
        """By name, in the order they lie in."""
        if any(place.begin + place.size > size for place in self.tensors.values()):
            raise ValueError(f"{path} was not fetched whole")

    def read(self, name: str) -> Tensor:
        """A tensor, in memory of its own."""
        place = self.tensors[name]
        into = bytearray(place.size)
        view = memoryview(into)
        for begin, chunk in enumerate(self.chunks(name)):
            view[begin * CHUNK : begin * CHUNK + len(chunk)] = chunk
        if not into:
            return torch.empty(place.shape, dtype=place.dtype)
        return torch.frombuffer(into, dtype=place.dtype).view(place.shape)

    def chunks(self, name: str) -> Iterator[bytes]:
        """A tensor's bytes, in pieces of :data:`CHUNK`."""
        place = self.tensors[name]
        end = place.begin + place.size
        for begin in range(place.begin, end, CHUNK):
            wanted = min(CHUNK, end - begin)
            chunk = os.pread(self._file, wanted, begin)
            if len(chunk) != wanted:
                raise OSError(f"{name} ends early: the file was cut short while it was read")
            yield chunk

    def close(self) -> None:
        os.close(self._file)


class NewTensorFile:
    """A safetensors file of tensors whose types and shapes are known, to be written in any order."""

    def __init__(
        self, path: Path, tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], metadata: Mapping[str, str]
    ) -> None:
        """Write its header.

        Raises:
            OSError: it cannot be written.
        """
        end = 0
        header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
        for name, (dtype, shape) in tensors.items():
            begin, end = end, end + math.prod(shape) * dtype.itemsize
            header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the tensors are to begin at a multiple of 8
        self._begin = LENGTH_BYTES + len(text)
        self._header = header
        self._missing = set(tensors)
        self.size = self._begin + end
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._write_at(0, len(text).to_bytes(LENGTH_BYTES, "little") + text)

    def write(self, name: str, tensor: Tensor) -> None:
        """Write a tensor of the type and shape it was announced with."""
        announced = self._header[name]
        if (NAMES[tensor.dtype], list(tensor.shape)) != (announced["dtype"], announced["shape"]):
            raise ValueError(f"{name}: {tensor.dtype} {tuple(tensor.shape)} is not what was announced")
        flat = tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor.new_empty(0)
        self.write_chunks(name, (flat[begin : begin + CHUNK].numpy().data for begin in range(0, flat.numel(), CHUNK)))

    def write_chunks(self, name: str, chunks: Iterator[Any]) -> None:
        """Write a tensor given as its bytes."""
        at, end = (self._begin + offset for offset in self._header[name]["data_offsets"])
        for chunk in chunks:
            at = self._write_at(at, chunk)
        if at != end:
            raise ValueError(f"{name}: {end - at} bytes are missing")
        self._missing.remove(name)

    def _write_at(self, at: int, chunk: Any) -> int:
        view = memoryview(chunk)
        while view:
            written = os.pwrite(self._file, view, at)
            at, view = at + written, view[written:]
        return at

    def close(self) -> None:
        """See that every tensor was written.

        Raises:
            ValueError: one was not.
        """
        os.close(self._file)
        if self._missing:
            raise ValueError(f"{len(self._missing)} tensors were not written (first: {min(self._missing)})")
