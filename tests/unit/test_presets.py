"""The presets that come with the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import ConfigError
from qltui.configs import loading, preflight, presets


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's presets, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "qltui" / "presets"


def listed() -> dict[str, presets.Preset]:
    return {one.name: one for one in presets.presets()}


@pytest.mark.parametrize("name", presets.bundled())
def test_every_preset_can_be_launched_and_says_what_it_is(name: str) -> None:
    config = loading.load(name)
    assert config.name == name
    assert config.description
    assert "\n" not in config.description
    assert preflight.check(config) == []


def test_presets_are_listed_with_their_description() -> None:
    assert listed()["demo-cpu"].description == loading.load("demo-cpu").description


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


def test_a_saved_preset_is_launched_by_its_name(own: Path) -> None:
    config = loading.load("demo-cpu", ["training.max_steps=7", "hardware.gpus=['0']", "method.lora.rank=12"])
    file = presets.save("small", config, "  Seven steps:\n # with 'quotes' ", "cpu")
    assert file == own / "small.yaml"
    loaded = loading.load("small")
    assert loaded.description == "Seven steps: # with 'quotes'"
    assert (loaded.name, loaded.hardware.planned_for, loaded.hardware.gpus) == ("small", "cpu", [])
    assert (loaded.model, loaded.data, loaded.method, loaded.training) == (
        config.model, config.data, config.method, config.training,
    )  # fmt: skip
    assert listed()["small"].is_mine and not listed()["demo-cpu"].is_mine
    assert "weight_decay" not in file.read_text("utf-8"), "what is the default need not be said"
    assert presets.path("my:small") == file


def test_a_preset_is_written_over_only_when_that_is_asked_for() -> None:
    config = loading.load("demo-cpu")
    file = presets.save("small", config, "first", "cpu")
    with pytest.raises(presets.PresetExists, match="is there already"):
        presets.save("small", config, "second", "cpu")
    assert loading.load("small").description == "first"
    assert presets.save("small", config, "second", "cpu", replace=True) == file
    assert loading.load("small").description == "second"


def test_the_users_preset_hides_none_of_the_programs() -> None:
    config = loading.load("demo-cpu", ["training.max_steps=7"])
    file = presets.save("demo-cpu", config, "mine", "cpu")
    assert presets.path("demo-cpu") == presets.folder() / "demo-cpu.yaml"
    assert presets.path("my:demo-cpu") == file
    assert listed()["my:demo-cpu"].is_mine
    assert loading.load("my:demo-cpu").training.max_steps == 7


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "x" * 65, "ä", "a\n"])
def test_a_preset_cannot_be_called_anything(name: str, own: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        presets.save(name, loading.load("demo-cpu"), "", "")
    assert not own.exists()


def test_a_folder_that_cannot_be_written_is_told(own: Path) -> None:
    own.parent.parent.mkdir()
    own.parent.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match=r"cannot be written \(Not a directory|cannot be written \(File exists"):
        presets.save("small", loading.load("demo-cpu"), "", "")


def test_a_broken_preset_is_told_in_a_line_and_hides_no_other(own: Path) -> None:
    presets.save("good", loading.load("demo-cpu"), "", "")
    (own / "no-yaml.yaml").write_text("a: [1,\n", "utf-8")
    (own / "wrong.yaml").write_text("model: m\ndata: d\nstrategi: ddp\n", "utf-8")
    (own / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (own / "folder.yaml").mkdir()
    found = listed()
    assert found["good"].config is not None
    for name in ("no-yaml", "wrong", "binary", "folder"):
        assert found[name].config is None
        assert str(own / f"{name}.yaml") in found[name].problem
        assert "\n" not in found[name].problem
    assert "Did you mean strategy" in found["wrong"].problem
