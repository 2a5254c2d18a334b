"""YAML text to keys with places, by its node tree: nothing is constructed that the file could choose."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from engine.config.any_yaml import MAX_BRACKETS, MAX_DEPTH, MAX_NODES, TOO_DEEP, TOO_MUCH, nesting
from engine.config.schema import Problem
from qltui.configs.foreign.keys import Entry, Tree, Unreadable

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode, Node, ScalarNode


def read_yaml(text: str, where: str) -> Tree:
    """The keys of a YAML file.

    Raises:
        Unreadable: it is no YAML, no mapping, or unfolds to more than any configuration holds; with the line.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if nesting(text) > MAX_BRACKETS:
        raise Unreadable(1, TOO_DEEP)
    template = "Fill in its template first." if "{{" in text or "{%" in text else ""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise Unreadable(line, f"is not valid YAML: {error.problem or error.context}.", template) from None
    except RecursionError:
        raise Unreadable(1, TOO_DEEP) from None
    except (YAMLError, ValueError) as error:
        raise Unreadable(1, f"is not valid YAML: {' '.join(str(error).split())}.", template) from None
    if node is None:
        raise Unreadable(1, "is empty.")
    if node.id != "mapping":
        kind = "a list" if node.id == "sequence" else "text"
        raise Unreadable(node.start_mark.line + 1, f"holds {kind} where a mapping of keys to values should stand.")
    return _Walk(where).tree(node)


class _Walk:
    """Goes through a node tree once, counting, so that aliases can't make it endless."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.left = MAX_NODES
        self.result = Tree([], [], [])

    def tree(self, node: MappingNode) -> Tree:
        self._mapping(node, "", 0)
        return self.result

    def _count(self, node: Node, depth: int) -> None:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            line = node.start_mark.line + 1
            raise Unreadable(line, TOO_MUCH)

    def _mapping(self, node: MappingNode, prefix: str, depth: int) -> None:
        seen: dict[str, tuple[int, str]] = {}
        for key_node, value_node in self._merged(node, depth):
            self._count(value_node, depth)
            line = key_node.start_mark.line + 1
            if key_node.id != "scalar":
                raise Unreadable(line, "has a key that is no text.", "Fill in its template first.")
            key = f"{prefix}{key_node.value}"
            if key in seen and seen[key][1] != _fingerprint(value_node):
                message = f"is given twice, first in line {seen[key][0]}; the last one was read."
                self.result.problems.append(Problem(f"{self.where}:{line}", key, message, "Keep one."))
            seen[key] = (line, _fingerprint(value_node))
            if value_node.id == "mapping" and value_node.value and not _is_template(value_node):
                self._mapping(value_node, f"{key}.", depth + 1)
            else:
                value = "{{ }}" if _is_template(value_node) else self._value(value_node, depth + 1)
                start, end = value_node.start_mark.index, value_node.end_mark.index
                if value is None or (value_node.id == "sequence" and not value_node.flow_style):
                    start = end = -1
                self.result.entries.append(Entry(key, value, line, start, end))

    def _merged(self, node: MappingNode, depth: int) -> list[tuple[Any, Any]]:
        """Pairs of a mapping, those of ``<<`` first so that its own come to stand over them."""
        own: list[tuple[Any, Any]] = []
        merged: list[tuple[Any, Any]] = []
        for key_node, value_node in node.value:
            self._count(value_node, depth)
            if key_node.tag == "tag:yaml.org,2002:merge" or (key_node.id == "scalar" and key_node.value == "<<"):
                sources = value_node.value if value_node.id == "sequence" else [value_node]
                for source in reversed([item for item in sources if item.id == "mapping"]):
                    merged += self._merged(source, depth + 1)
            else:
                own.append((key_node, value_node))
        named = {key_node.value for key_node, _ in own if key_node.id == "scalar"}
        return [pair for pair in merged if pair[0].value not in named] + own

    def _value(self, node: Any, depth: int) -> Any:
        """Plain values of a node; of a mapping in a list no reader asks more than that it is there."""
        self._count(node, depth)
        if node.id == "scalar":
            return scalar(node)
        if node.id == "sequence":
            return [self._value(item, depth + 1) for item in node.value]
        return {}


def _is_template(node: Any) -> bool:
    """Whether it is ``{{ name }}`` without quotes, which YAML takes for a mapping in a mapping."""
    return node.id == "mapping" and any(key.id == "mapping" for key, _ in node.value)


def _fingerprint(node: Any) -> str:
    return f"{node.tag} {node.value}" if node.id == "scalar" else f"{node.id} {node.start_mark.index}"


def scalar(node: ScalarNode) -> Any:
    """A scalar by the type YAML 1.2 gives it."""
    kind, text = str(node.tag).rpartition(":")[2], str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind in ("int", "float"):
        digits = text.replace("_", "")
        with suppress(ValueError):
            return int(digits) if kind == "int" else float(digits.replace(".inf", "inf").replace(".nan", "nan"))
        with suppress(ValueError):
            return int(digits, 0)
    return text
