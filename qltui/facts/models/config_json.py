"""A ``config.json`` read with care: numbers under any of their names, errors that name the key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LARGEST = 2**28
"""No number of a model comes near it (context lengths reach ten million)."""
DEEPEST = 4096
"""Layers, of the deepest model that is believed."""

OTHER_NAMES = {
    "hidden_size": ("n_embd", "d_model", "dim"),
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "num_attention_heads": ("n_head", "num_heads", "n_heads"),
    "num_key_value_heads": ("num_kv_heads",),
    "intermediate_size": ("n_inner", "ffn_dim", "ffn_hidden_size", "hidden_dim"),
    "max_position_embeddings": ("n_positions", "max_seq_len", "seq_length"),
    "sliding_window": ("local_attention",),
    "num_experts": ("num_local_experts", "n_routed_experts"),
}
"""What older configurations call the same number."""


class BadConfig(ValueError):
    """A ``config.json`` that cannot be that of a model; the message names the key."""


class ConfigJson:
    """The content of a ``config.json``, with what the model's class assumes where it is silent."""

    def __init__(
        self,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any],
        kv_heads: Callable[[ConfigJson], int] | None = None,
    ) -> None:
        """``values`` as the file has them, ``defaults`` by the usual name of each key.

        ``kv_heads`` is the family's own way to count the heads of keys and values.
        """
        self._values = values
        self._defaults = defaults
        self._kv_heads = kv_heads

    def get(self, key: str) -> Any:
        """The value under any of the key's names, or the class's default where there is none; None for null."""
        names = [name for name in (key, *OTHER_NAMES.get(key, ())) if name in self._values]
        if not names:
            return self._defaults.get(key)
        return next((self._values[name] for name in names if self._values[name] is not None), None)

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number above 0.

        Raises:
            BadConfig: it is missing and has no default, or it is no such number.
        """
        value = self.get(key)
        if value is None:
            value = default
        if value is None:
            raise BadConfig(f"{key} is missing")
        return _checked(key, value, 1)

    def count(self, key: str) -> int:
        """A whole number that may be 0, which it is where it is missing."""
        return _checked(key, self.get(key) or 0, 0)

    def optional(self, key: str) -> int | None:
        """A whole number above 0; None where it is missing, null or 0."""
        return self.count(key) or None

    def flag(self, key: str) -> bool:
        """Whether ``key`` is true; False where it is missing."""
        value = self.get(key)
        if value is not None and not isinstance(value, bool):
            raise BadConfig(f"{key} must be true or false, not {value!r:.40}")
        return bool(value)

    def words(self, key: str, length: int) -> list[str] | None:
        """A list of ``length`` words; None where it is missing."""
        value = self.get(key)
        if value is None:
            return None
        if not (isinstance(value, list) and all(isinstance(word, str) for word in value)):
            raise BadConfig(f"{key} must be a list of words, not {value!r:.40}")
        if len(value) != length:
            raise BadConfig(f"{key} has {len(value)} entries, but there are {length} layers")
        return value

    def numbers(self, key: str) -> list[int] | None:
        """A list of whole numbers; None where it is missing."""
        value = self.get(key)
        if value is not None and not (isinstance(value, list) and all(isinstance(one, int) for one in value)):
            raise BadConfig(f"{key} must be a list of whole numbers, not {value!r:.40}")
        return value

    @property
    def hidden(self) -> int:
        """Width of the hidden states."""
        return self.number("hidden_size")

    @property
    def depth(self) -> int:
        """Number of layers."""
        depth = self.number("num_hidden_layers")
        if depth > DEEPEST:
            raise BadConfig(f"num_hidden_layers is above {DEEPEST}, which no model has")
        return depth

    @property
    def heads(self) -> int:
        """Heads of attention."""
        return self.number("num_attention_heads")

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self._kv_heads(self) if self._kv_heads else self.grouped_heads

    @property
    def grouped_heads(self) -> int:
        """What the file calls heads of keys and values: as many as of queries, where it is silent."""
        return self.number("num_key_value_heads", self.heads)

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        derived = self.hidden // self.heads
        if not derived and self.get("head_dim") is None:
            raise BadConfig(f"num_attention_heads is {self.heads}, more than hidden_size ({self.hidden})")
        return self.number("head_dim", derived)


def _checked(key: str, value: Any, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadConfig(f"{key} must be a whole number, not {value!r:.40}")
    if value < lowest:
        raise BadConfig(f"{key} must be {lowest} or more")
    if value > LARGEST:
        raise BadConfig(f"{key} is above {LARGEST}, which no model has")
    return value
