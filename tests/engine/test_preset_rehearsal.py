"""One preset rehearsed as ``tests/rehearse_presets.py`` does; that all were is a matter of what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from rehearse_presets import rehearse

from qltui.configs import presets
from qltui.facts.rehearsed import rehearsed

NAME = "llama3-8b-qlora-1x24g"


def test_a_preset_is_rehearsed_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "QLTUI_HOME": str(tmp_path / "state")}
    for variable, value in {**hub, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(variable, value)
    found, kept = rehearse(presets.path(NAME), tmp_path), rehearsed()[NAME]
    assert [one["what"] for one in found["proven"]] == [one["what"] for one in kept.proven]
    assert (found["content"], found["audits"], found["ranks"]) == (kept.content, kept.audits, kept.ranks)
    architecture = found["proven"][0]["detail"]
    assert architecture.startswith("LlamaForCausalLM") and "hidden_size 4096 to" in architecture
