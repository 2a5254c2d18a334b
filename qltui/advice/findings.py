"""What advice comes to: a finding, how grave it is, and the patch that mends it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Severity(StrEnum):
    """How grave a finding is."""

    BLOCK = "block"
    """It surely fails, or silently damages what is trained."""
    WARN = "warn"
    """It may fail, or does not do what it says."""
    INFO = "info"
    """It works; something else would be simpler, faster or smaller."""

    @property
    def order(self) -> int:
        """0 for the gravest."""
        return _ORDER[self]


_ORDER = {Severity.BLOCK: 0, Severity.WARN: 1, Severity.INFO: 2}


class Finding(NamedTuple):
    """One thing to know about a configuration."""

    rule: str
    """Stable id of the rule."""
    severity: Severity
    field: str | None
    """Dotted path of our RunConfig, or for other programs' files the name in :class:`qltui.advice.setup.Setup`;
    None where no single field is at fault."""
    message: str
    """What is wrong with which value, and what to do about it."""
    why: str
    source: str
    """The measurement, source file or report this is known from."""
    fix: Mapping[str, Any]
    """New values by dotted path (ours) or by name in Setup (other programs); empty where no value mends it."""
