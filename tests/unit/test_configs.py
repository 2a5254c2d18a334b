"""Presets and run files found and loaded, and run.yaml written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.config import ConfigError, RunConfig
from engine.config.reading import parse_assignment, parse_yaml, read
from qltui.configs import loading, presets
from qltui.configs.writing import run_yaml, typed_text


def test_a_preset_by_its_name_and_a_file_by_its_path(tmp_path: Path) -> None:
    assert loading.load("demo-cpu") == loading.load(str(presets.path("demo-cpu")))
    file = tmp_path / "mine"
    file.write_text("model: org/m\ndata: org/d\n")
    assert loading.load(str(file), ["max_steps=7"]).training.max_steps == 7


def test_a_name_that_is_neither() -> None:
    with pytest.raises(ConfigError, match=r"demo-cpux: is neither a preset nor a file\. Did you mean demo-cpu\?"):
        loading.load("demo-cpux")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: there is no such file"):
        loading.load("nowhere.yaml")


def test_problems_of_assignments_and_file_come_together(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: org/m\n")
    with pytest.raises(ConfigError) as caught:
        loading.load(str(file), ["max_steps", "sed=3"])
    assert [problem.field for problem in caught.value.problems] == ["max_steps", "sed", "data.path"]


text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
values = st.fixed_dictionaries(
    {"model.path": text.map(lambda name: f"/{name}"), "data.path": st.just("org/data"), "description": text},
    optional={
        "data.columns": st.dictionaries(text, text, max_size=3),
        "method.lora.target_modules": st.lists(text, max_size=3) | text,
        "training.learning_rate": st.floats(1e-12, 10),
        "training.max_steps": st.none() | st.integers(1, 10**9),
        "training.gradient_checkpointing": st.sampled_from(["none", "all", 3]),
        "data.name": st.sampled_from([None, "null", "true", "1e5", "12", "~", "no", "", " a", "a ", "a #b", "a: b"]),
        "tracking.report_to": st.lists(st.sampled_from(["wandb", "trackio"]), max_size=2),
    },
)


@settings(max_examples=60, deadline=None)
@given(values)
def test_run_yaml_reads_back_as_the_same_configuration(tree: dict[str, Any]) -> None:
    config = read(tree, where="", base=Path("/"))
    again = parse_yaml(run_yaml(config), "run.yaml")
    assert read(again, where="", base=Path("/")) == config


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(text, text, max_size=3), st.lists(text, max_size=3))
def test_what_is_typed_reads_back_as_the_same_value(columns: dict[str, str], modules: list[str]) -> None:
    for path, value in {"data.columns": columns, "method.lora.modules_to_save": modules}.items():
        assert parse_assignment(f"{path}={typed_text(value)}") == (path, value)


def test_names_are_typed_bare_where_yaml_takes_them_so() -> None:
    assert typed_text({"prompt": "question", "completion": "a, b"}) == '{prompt: question, completion: "a, b"}'
    assert typed_text(["q_proj", "0"]) == '[q_proj, "0"]'


def test_gpus_are_named_by_numbers_as_they_are_typed() -> None:
    assert loading.load("demo-cpu", ["hardware.gpus=[0, GPU-1f]"]).hardware.gpus == ["0", "GPU-1f"]
    with pytest.raises(ConfigError, match=r"hardware\.gpus: Expected str, got float"):
        loading.load("demo-cpu", ["hardware.gpus=[0.5]"])


def test_run_yaml_names_every_field() -> None:
    config: RunConfig = loading.load("demo-cpu")
    assert parse_yaml(run_yaml(config), "run.yaml") == config.tree()


def test_an_installed_wheel_has_the_presets(tmp_path: Path) -> None:
    """Built with the project's own build backend and read from the unpacked wheel, not from the checkout."""
    import subprocess
    import zipfile

    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    script = "from qltui.configs import presets; print(presets.path('demo-cpu'), presets.presets()[0].name)"
    environment = {"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "installed" / "qltui" / "presets" / "demo-cpu.yaml"), "demo-cpu"]
