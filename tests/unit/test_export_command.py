"""``qltui export``: what is printed, what is written, and how it says no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.samples import make_config

from qltui.cli.main import main
from qltui.configs import presets
from qltui.configs.writing import run_yaml
from qltui.runs import launching


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def run_file(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text(run_yaml(make_config(tmp_path, **{"strategy.name": "fsdp2", "name": "mine"})))
    return file


def test_a_file_is_printed_and_what_is_another_there_is_said(
    run_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run_file), "--to", "axolotl"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("# The run mine for Axolotl 0.19.0")
    assert "stage: 3" in printed.out
    (note,) = printed.err.splitlines()
    assert note.startswith("qltui: strategy.name: fsdp2 becomes zero3: ")


@pytest.mark.parametrize("said", ["last", "mine", "path", "preset"])
def test_runs_and_presets_are_found_as_elsewhere(said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = launching.create(make_config(tmp_path, name="mine"))
    target = {"path": str(run.path), "preset": "demo-cpu"}.get(said, said)
    assert main(["export", target, "--to", "trl", "--set", "training.learning_rate=1e-5"]) == 0
    printed = capsys.readouterr().out
    assert f"# The run {'demo-cpu' if said == 'preset' else 'mine'} for TRL" in printed
    assert "learning_rate: 1.0e-05\n" in printed


def test_a_folder_gets_all_that_the_program_needs(
    run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder"
    assert main(["export", str(run_file), "--to", "llamafactory", "--out", f"{out}/"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["dataset_info.json", "llamafactory.yaml"]
    assert list(json.loads((out / "dataset_info.json").read_text())) == ["mine"]
    text = (out / "llamafactory.yaml").read_text()
    assert f"dataset_dir: {out}\n" in text
    assert "which is to be" not in text
    assert capsys.readouterr().out == ""
    assert main(["check", str(out / "llamafactory.yaml")]) == 0


def test_a_file_alone_says_what_else_is_needed(run_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "recipe.yaml"
    assert main(["export", str(run_file), "--to", "llamafactory", "--out", str(out)]) == 0
    lines = out.read_text().splitlines()
    start = next(at for at, line in enumerate(lines) if line.endswith("which is to be:"))
    end = lines.index('dataset_dir: "."')
    described = json.loads("\n".join(line.removeprefix("# ") for line in lines[start + 1 : end]))
    assert list(described) == ["mine"]


def test_the_runs_own_file_is_never_overwritten(run_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = run_file.read_text()
    assert main(["export", str(run_file), "--to", "trl", "--out", str(run_file)]) == 1
    assert run_file.read_text() == before
    assert "is the run's own file. Name another one." in capsys.readouterr().err


def test_a_preset_is_never_overwritten(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = presets.save("kept", make_config(tmp_path), "", "")
    before = file.read_text()
    assert main(["export", "kept", "--to", "trl", "--out", str(file)]) == 1
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("out", "start"),
    [("my recipe.yaml", "'my recipe.yaml'"), ("folder/", "trl.yaml"), ("some/where.yaml", "where.yaml")],
)
def test_the_command_that_starts_it_names_the_file(
    out: str, start: str, run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run_file), "--to", "trl", "--set", "strategy.name=single", "--out", out]) == 0
    written = tmp_path / out
    text = (written / "trl.yaml" if written.is_dir() else written).read_text()
    assert f"# Start it: trl sft --config {start}\n" in text


def test_an_export_can_be_made_again(run_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "trl.yaml"
    out.write_text("old")
    out.chmod(0o640)
    assert main(["export", str(run_file), "--to", "trl", "--out", str(out)]) == 0
    assert out.read_text().startswith("# The run mine")
    assert out.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere", "--to", "trl"], "qltui: nowhere is no preset and no file, and no run: "),
        (["{folder}", "--to", "trl"], "qltui: {folder} is no preset and no file, and no run: "),
        (["{file}", "--to", "llamafactory", "--set", "strategy.name=pipeline"], "--to llamafactory: strategy.name: "),
        (["{file}", "--to", "trl", "--set", "training.speed=2"], "training.speed"),
        (["{file}", "--to", "trl", "--out", "{file}/in/a/file"], "{file}"),
        (["{file}", "--to", "trl", "--out", f"{'long' * 99}.yaml"], "File name too long"),
    ],
)
def test_no_is_one_line_and_exit_code_1(
    words: list[str], said: str, run_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    names = {"file": str(run_file), "folder": str(tmp_path / "empty")}
    assert main(["export", *(word.format(**names) for word in words)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert said.format(**names) in line


def test_a_place_of_a_user_there_is_not_is_a_name_as_any_other(
    run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run_file), "--to", "trl", "--out", "~nobody-here/trl.yaml"]) == 0
    assert (tmp_path / "~nobody-here" / "trl.yaml").is_file()


@pytest.mark.parametrize("words", [["demo-cpu"], ["demo-cpu", "--to", "trainer"], ["--to", "trl"]])
def test_wrong_usage_is_exit_code_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *words])
    assert ended.value.code == 2
