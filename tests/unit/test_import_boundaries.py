"""Who imports whom, and what a command loads: fast start is a feature, and it is lost one import at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import Cli
from support.samples import make_config

from engine.events import RunDirectory, write_json
from qltui.configs.writing import run_yaml

ROOT = Path(__file__).parents[2]
HEAVY = {
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "numpy",
    "textual",
    "rich",
    "pydantic",
}
CONFIG = {"msgspec", "ruamel", "yaml", "typing_extensions"}
SLOW = {"typing", "inspect", "dataclasses", "subprocess", "logging", "asyncio", "psutil", "socket", "tempfile"}
"""Of the standard library mostly: each alone takes several per cent of what a quick command may."""
LLAMA = {
    "model_type": "llama", "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632,
    "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 2048,
}  # fmt: skip
TRACE = """\
import sys
from qltui.cli.main import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)
sys.exit(code)
"""


def loaded(cli: Cli, *arguments: str) -> set[str]:
    """Top-level modules a command has loaded when it ends; it must end well."""
    done = subprocess.run(
        [sys.executable, "-c", TRACE, *arguments], env=cli.environment, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture
def run(cli: Cli) -> RunDirectory:
    run = RunDirectory(cli.home / "runs" / "one")
    run.path.mkdir(parents=True)
    run.run_yaml.write_text("model: org/m\ndata: org/d\n")
    run.new_attempt().log(0).write_text("a line\n")
    write_json(run.status_json, {"id": "one", "state": "finished", "attempt": 1})
    return run


@pytest.mark.parametrize("arguments", ["--help", "--version", "runs", "runs --json", "status one --json", "logs one"])
def test_quick_commands_load_nothing_slow(cli: Cli, run: RunDirectory, arguments: str) -> None:
    assert not loaded(cli, *arguments.split()) & (HEAVY | CONFIG | SLOW)


def test_launch_check_and_plan_load_no_library_of_the_engine(cli: Cli, tmp_path: Path) -> None:
    file, on_gpus = tmp_path / "run.yaml", tmp_path / "on_gpus.yaml"
    file.write_text(run_yaml(make_config(tmp_path)))
    on_gpus.write_text(run_yaml(make_config(tmp_path, **{"hardware.device": "auto"})))
    (tmp_path / "model" / "config.json").write_text(json.dumps(LLAMA))
    for arguments in (
        ["launch", str(file), "--dry-run"], ["check", str(file)], ["presets"], ["config"],
        ["check", str(on_gpus), "--gpus", "2xA40"], ["plan", str(on_gpus), "--gpus", "2xA40"],
    ):  # fmt: skip
        modules = loaded(cli, *arguments)
        assert not modules & (HEAVY | {"inspect", "typing_extensions", "ruamel"})
        assert "msgspec" in modules


def test_only_the_screens_load_textual() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "qltui").rglob("*.py")
        if "ui" not in path.relative_to(ROOT / "qltui").parts and path.name not in ("__init__.py", "__main__.py")
    ]
    assert "qltui.runs.launching" in names
    script = f"import importlib, sys; [importlib.import_module(name) for name in {names}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {name.partition(".")[0] for name in done.stdout.split()} & HEAVY


def test_a_folder_called_engine_where_the_user_stands_is_not_imported(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "__init__.py").write_text("raise SystemExit('the wrong engine')")
    program = Path(sys.executable).with_name("qltui")
    done = subprocess.run(
        [program, "presets", "--json"], env=cli.environment, cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(done.stdout)


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
