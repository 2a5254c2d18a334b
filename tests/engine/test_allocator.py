"""How torch is told to take GPU memory, unless the user tells it."""

from __future__ import annotations

import os
import runpy

import pytest

from engine import allocator


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in allocator.NAMES:
        monkeypatch.setenv(name, "")  # so that what the module sets is taken back, too
        monkeypatch.delenv(name)


def test_segments_grow() -> None:
    runpy.run_path(allocator.__file__)
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


@pytest.mark.parametrize("name", allocator.NAMES)
def test_what_the_user_says_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "max_split_size_mb:64")
    runpy.run_path(allocator.__file__)
    assert {one: os.environ[one] for one in allocator.NAMES if one in os.environ} == {name: "max_split_size_mb:64"}
