"""Words that say which runs are meant."""

from __future__ import annotations

from typing import Any

import pytest

from qltui.runs.filtering import Filter

RUNS: dict[str, dict[str, Any]] = {
    "alpha": {"id": "alpha-1", "name": "Alpha", "model": "meta-llama/Llama-3.1-8B", "method": "qlora",
              "strategy": "fsdp2", "state": "failed", "tags": ["baseline"], "note": "out of memory", "data": "a.jsonl"},
    "beta": {"id": "beta-1", "name": "beta", "model": "Qwen/Qwen3-8B", "method": "lora", "strategy": "ddp",
             "state": "training", "tags": ["base", "Good"], "note": "", "data": "b.jsonl"},
    "gamma": {"id": "gamma-1", "name": "gamma", "model": None, "method": None, "strategy": None, "state": "lost"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "alpha beta gamma"),
        ("ALPHA", "alpha"),
        ("8b", "alpha beta"),
        ("llama qlora", "alpha"),
        ("llama ddp", ""),
        ("state:failed", "alpha"),
        ("state:fail", "alpha"),
        ("state:live", "beta"),
        ("-state:live", "alpha gamma"),
        ("tag:base", "alpha beta"),
        ("tag:line", ""),
        ("good", "beta"),
        ("model:qwen", "beta"),
        ("method:lora", "alpha beta"),
        ("strategy:fsdp2 -lost", "alpha"),
        ('note:"of memory"', "alpha"),
        ("memory", ""),
        ("state:", "alpha beta gamma"),
        ("data:b.jsonl", "beta"),
        ("unknown:word", ""),
        ("meta-llama", "alpha"),
        ("[", ""),
    ],
)
def test_words(text: str, found: str) -> None:
    assert [name for name, run in RUNS.items() if Filter(text).fits(run)] == found.split()


def test_tags_in_full() -> None:
    assert [name for name, run in RUNS.items() if Filter("", ["BASE"]).fits(run)] == ["beta"]
    assert [name for name, run in RUNS.items() if Filter("8b", ["base", "good"]).fits(run)] == ["beta"]
    assert not Filter("")
    assert Filter("", ["x"])
