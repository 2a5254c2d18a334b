"""The order of these tests: what takes minutes begins first, so that no worker is left with it at the end."""

from __future__ import annotations

import pytest

LONGEST_FIRST = (
    "test_kill_and_resume", "test_cells", "test_rehearse", "test_recovery_runs", "test_run_bad_input", "test_deaths",
    "test_faults", "test_classifiers", "test_loading_memory", "test_chat", "test_runs",
)  # fmt: skip
"""Files, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first; the others stay in the order of their names."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
