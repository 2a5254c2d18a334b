"""Names of weights in the files of a base and in memory.

Transformers 5 rename, fuse and split weights as they load a checkpoint, experts above all, and undo it when they save
(5.23 core_model_loading.py). A group here is what has to be converted together; mostly it is one tensor.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    PrefixChange,
    WeightConverter,
    WeightRenaming,
    apply_converters,
    dot_natural_key,
    rename_source_key,
    revert_weight_conversion,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor


class Group:
    """Tensors of the files that become tensors of the model together."""

    def __init__(self, first_name: str, converter: Any | None) -> None:
        self.keys: dict[str, str | None] = {}
        """In the files, each with the pattern of the converter that it fits."""
        self._first_name = first_name
        self._converter = converter

    @property
    def name(self) -> str | None:
        """The one name in memory of a tensor that is taken as it is."""
        return self._first_name if self._converter is None else None

    @property
    def names(self) -> list[str]:
        """In memory: one, or those that a tensor of the files is split into."""
        first, *others = self._converter.target_patterns if self._converter else ("",)
        return [self._first_name, *(self._first_name.replace(first, other) for other in others)]

    def in_memory(self, tensors: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
        """The group's ``tensors``, by key, as the model's, by name."""
        if self._converter is None:
            (key,) = self.keys
            return {self._first_name: tensors[key]}
        converter = copy.deepcopy(self._converter)
        for key in sorted(self.keys, key=dot_natural_key):
            converter.add_tensor(self._first_name, key, self.keys[key], tensors[key])
        made = converter.convert(self._first_name, model=model, config=model.config)
        return {name: value[0] if isinstance(value, list) else value for name, value in made.items()}


def groups_of_files(model: Any, keys: Iterable[str]) -> list[Group]:
    """The tensors of the base's files in groups, in the order given; a name the model lacks is in no group.

    ``model`` needs no numbers. It remembers which conversions were used, for :func:`as_in_files`.
    """
    conversions = get_model_conversion_mapping(model)
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    converters = [one for one in conversions if isinstance(one, WeightConverter)]
    by_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
    wanted, prefix = model.state_dict(), model.base_model_prefix
    groups: dict[str, Group] = {}
    for key in keys:
        name, pattern = rename_source_key(key, renamings, converters, prefix, wanted)
        if name not in wanted and key in wanted:
            name, pattern = rename_source_key(key, [], [], base_model_prefix=prefix, meta_state_dict=wanted)
        if name in wanted:
            group = groups.setdefault(name, Group(name, by_pattern[pattern] if pattern else None))
            group.keys[key] = pattern
    model._weight_conversions = [one for one in conversions if one.was_used()]
    return list(groups.values())


def as_in_files(model: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the model, by name, as its checkpoint has them: what :func:`groups_of_model` puts together."""
    converted: dict[str, Tensor] = revert_weight_conversion(model, tensors)
    return converted


def groups_of_model(model: Any, names: Iterable[str]) -> list[list[str]]:
    """Names of a loaded model's weights, those together that the checkpoint has as one tensor."""
    conversions = getattr(model, "_weight_conversions", None)
    if conversions is None:  # not loaded from files: as Transformers would save it
        found = get_model_conversion_mapping(model, add_legacy=False)
        conversions = [one for one in found if not isinstance(one, PrefixChange)]
    back = [one.reverse_transform() for one in conversions[::-1]]
    converters = [one for one in back if isinstance(one, WeightConverter)]
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(apply_converters(name, converters)[0], []).append(name)
    return list(groups.values())
