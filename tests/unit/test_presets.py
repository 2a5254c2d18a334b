"""The presets that come with the program."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.preset_page import with_presets

from engine.config import ConfigError
from qltui.advice.findings import Severity
from qltui.configs import loading, preflight, presets
from qltui.facts import machine as machines
from qltui.facts.rehearsed import rehearsed
from qltui.runs.assessment import assess


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of the user's presets, which is not there yet."""
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


@pytest.mark.parametrize("name", presets.bundled())
def test_every_preset_surely_fits_the_machine_it_was_planned_for(name: str) -> None:
    config = loading.load(name)
    machine = machines.parse(config.hardware.planned_for)
    assessed = assess(config, machine)
    grave = [one.rule for one in assessed.advice.findings if one.severity is not Severity.INFO]
    assert grave == []
    assert assessed.advice.fit is None or assessed.advice.fit.is_safe
    assert (assessed.advice.fit is None) == (config.hardware.planned_for == "cpu")
    if assessed.advice.fit:
        assert config.hardware.ranks_per_node in (None, machine.gpus), "ranks it was planned for"


@pytest.mark.parametrize("file", map(presets.path, presets.bundled()), ids=lambda file: file.stem)
def test_every_preset_was_rehearsed_as_it_is(file: Path) -> None:
    found = rehearsed().get(file.stem)
    again = "run `PYTHONPATH=tests python tests/rehearse_presets.py`"
    assert found is not None, again
    assert found.content == presets.content(file), f"it was changed since: {again}"
    assert {"architecture", "data", "training", "checkpoints", "resuming", "result"} <= {
        one["what"] for one in found.proven
    }
    assert "failed" not in found.audits.values()
    assert found.summary.startswith(f"{found.ranks} CPU rank")


def test_what_was_rehearsed_is_a_preset() -> None:
    assert rehearsed().keys() == {*presets.bundled()}


def test_the_page_of_presets_is_up_to_date() -> None:
    page = (Path(__file__).parents[2] / "docs" / "presets.md").read_text("utf-8")
    assert with_presets(page) == page, "docs/presets.md is out of date: run `make docs`"


def test_the_content_of_a_preset_is_what_it_says(tmp_path: Path) -> None:
    text = presets.path("demo-cpu").read_text("utf-8")
    before = presets.content(presets.path("demo-cpu"))
    file = tmp_path / "changed.yaml"
    for old, new, same in (
        ("# A real", "# Another", True),
        ("description: QLoRA", "description: qlora", True),
        ("max_steps: 120", "max_steps: 121", False),
    ):
        file.write_text(text.replace(old, new), "utf-8")
        assert (presets.content(file) == before) is same, new


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
    config = loading.load("demo-cpu", ["max_steps=7", "hardware.gpus=['0']", "method.lora.rank=12", "parent=earlier"])
    file = presets.save("small", config, "  Seven steps:\n # with 'quotes' ", "cpu")
    assert file == own / "small.yaml"
    loaded = loading.load("small")
    assert loaded.description == "Seven steps: # with 'quotes'"
    assert (loaded.name, loaded.parent) == ("small", None)
    assert (loaded.hardware.planned_for, loaded.hardware.gpus) == ("cpu", [])
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
