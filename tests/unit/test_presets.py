"""The presets that come with the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import ConfigError
from qltui.configs import loading, preflight, presets


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be_launched_and_says_what_it_is(name: str) -> None:
    config = loading.load(name)
    assert config.name == name
    assert config.description
    assert "\n" not in config.description
    assert preflight.check(config) == []


def test_presets_are_listed_with_their_description() -> None:
    assert dict(presets.describe())["demo-cpu"] == loading.load("demo-cpu").description


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean demo-cpu\?"):
        presets.path("demo-gpu")
    with pytest.raises(ConfigError):
        presets.path("../presets/demo-cpu")


def test_the_demo_needs_no_hub() -> None:
    config = loading.load("demo-cpu")
    assert Path(config.model.path).is_dir()
    assert Path(config.data.path).is_file()
    assert config.data.eval_path is not None and Path(config.data.eval_path).is_file()
