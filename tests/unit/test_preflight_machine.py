"""What is refused before a launch because of the machine: its GPUs, its memory, its packages, the runs kept on it."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.samples import make_config, only, write_model, write_rows

from engine.config import Method, StrategyName, Task
from qltui.configs import preflight
from qltui.configs.host_memory import check_host_memory
from qltui.facts import gpus, host
from qltui.facts.gpus import Gpu


@pytest.mark.parametrize(
    ("values", "field", "message"),
    [
        ({"strategy.name": "pipeline"}, "strategy.name", "the ranks compute on CPU"),
        ({"strategy.name": "fsdp2", "method.name": "int8"}, "strategy.name", "do not survive fsdp2's sharding"),
        (
            {"strategy.name": "zero2", "strategy.offload_optimizer": True},
            "strategy.offload_optimizer",
            "no GPU memory to offload from",
        ),
        (
            {"strategy.name": "fsdp2", "strategy.offload_parameters": True},
            "strategy.offload_parameters",
            "no GPU memory to offload from",
        ),
        ({"parent": "no-such-run"}, "parent", "There are no runs"),
        ({"hardware.nodes": 2}, "hardware.nodes", "2 is not built yet; use 1."),
        ({"hardware.ranks_per_node": 2}, "strategy.name", "single runs one rank, not 2; choose ddp."),
        ({"precision.compute": "fp16"}, "precision.compute", "fp16 needs a GPU"),
        ({"training.optimizer": "paged_adamw_8bit"}, "training.optimizer", "paged_adamw_8bit needs a GPU"),
        ({"method.name": "int8", "method.lora.use_dora": True}, "method.lora.use_dora", "needs a GPU"),
        ({"hardware.gpus": ["0"]}, "hardware.gpus", "there is no GPU 0"),
        ({"tracking.report_to": ["wandb"]}, "tracking.report_to", "needs the package wandb"),
        ({"data.chat_template": "no.jinja"}, "data.chat_template", "there is no such file"),
    ],
)
def test_what_cannot_run_is_refused_by_its_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], field: str, message: str
) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    problem = only(preflight.check(make_config(tmp_path, **values)))
    assert problem.field == field
    assert message in problem.message


def test_flash_attention_needs_its_package_and_a_gpu(tmp_path: Path) -> None:
    found = preflight.check(make_config(tmp_path, **{"model.attention": "flash_attention_2"}))
    assert {problem.field for problem in found} == {"model.attention"}
    assert any("pip install flash-attn" in problem.remedy for problem in found)


def test_ranks_and_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one thing replaced is the list of GPUs: the machine that runs the tests need not have any."""
    there = [Gpu(number, f"GPU-{number}", "H100", 80 * 2**30) for number in range(2)]
    monkeypatch.setattr(gpus, "visible_gpus", lambda: there)
    ddp = {"hardware.device": "auto", "strategy.name": "ddp"}
    assert preflight.check(make_config(tmp_path, **ddp)) == []
    assert preflight.check(make_config(tmp_path, **ddp, **{"hardware.gpus": ["1"]})) == []
    found = only(preflight.check(make_config(tmp_path, **ddp, **{"hardware.ranks_per_node": 3})))
    assert found.message == "3 ranks want a GPU each, and there are 2."
    assert only(preflight.check(make_config(tmp_path, **ddp, **{"hardware.gpus": ["GPU-7"]}))).field == "hardware.gpus"
    pipeline = {"hardware.device": "auto", "strategy.name": "pipeline"}
    assert preflight.check(make_config(tmp_path, **pipeline)) == []
    one_of_them = make_config(tmp_path, **pipeline, **{"hardware.gpus": ["1"]})
    assert "spreads layers over GPUs, and there is 1" in only(preflight.check(one_of_them)).message
    found = only(preflight.check(make_config(tmp_path, **pipeline, **{"hardware.ranks_per_node": 2})))
    assert found.message == "pipeline runs one rank, not 2; choose ddp."
    there.clear()
    assert preflight.check(make_config(tmp_path, **ddp, **{"hardware.ranks_per_node": 3})) == []
    found = only(preflight.check(make_config(tmp_path, **{"hardware.device": "cuda"})))
    assert (found.field, "shows no NVIDIA GPU" in found.message) == ("hardware.device", True)


def test_bf16_is_refused_on_gpus_that_only_emulate_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(0, "GPU-0", "Tesla T4", 15 * 2**30, (7, 5)), Gpu(1, "GPU-1", "A10", 22 * 2**30, (8, 6))]
    monkeypatch.setattr(gpus, "visible_gpus", lambda: there)
    wanted = {"hardware.device": "auto", "precision.compute": "bf16"}
    found = only(preflight.check(make_config(tmp_path, **wanted)))
    assert (found.field, found.message) == ("precision.compute", "GPU 0 (Tesla T4) computes no bf16.")
    assert preflight.check(make_config(tmp_path, **wanted, **{"hardware.gpus": ["1"]})) == []
    assert preflight.check(make_config(tmp_path, **{**wanted, "precision.compute": "auto"})) == []


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(number, f"GPU-{number}", "H100", 80 * 2**30) for number in range(2)]
    monkeypatch.setattr(gpus, "visible_gpus", lambda: there)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("task", Task)
def test_on_gpus_every_method_runs_on_every_strategy_but_for_two_cells(tmp_path: Path, task: Task) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", {"text": "a boat", "label": "sails"})
    values = {"model.task": task.value, "data.path": str(rows), "hardware.device": "auto"}
    refused = {
        (method, strategy)
        for method, strategy in product(Method, StrategyName)
        if preflight.check(make_config(tmp_path, **values, **{"method.name": method, "strategy.name": strategy}))
    }
    assert refused == {(Method.FULL, StrategyName.PIPELINE), (Method.INT8, StrategyName.FSDP2)}


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("strategy", "method", "offload", "needed"),
    [
        ("fsdp2", "lora", "parameters", 2.0),
        ("fsdp2", "qlora", "parameters", 0.5),
        ("zero3", "int8", "parameters", 1.0),
        ("fsdp2", "full", "parameters", 12.0),
        ("zero3", "full", "parameters", 2.0),
        ("zero2", "full", "optimizer", 12.0),
        ("zero2", "lora", "optimizer", 0.0),
    ],
)
def test_offload_needs_room_in_host_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str, method: str, offload: str, needed: float
) -> None:
    """The one thing replaced is what the host says of its memory; ``needed`` is bytes a weight."""
    field = f"strategy.offload_{offload}"
    values = {"hardware.device": "auto", "strategy.name": strategy, "method.name": method, field: True}
    config = make_config(tmp_path, **values)
    weights = tmp_path / "model" / "model.safetensors"
    with weights.open("r+b") as file:  # 2**31 of them, of which the file system keeps none
        header = json.dumps({"w": {"dtype": "BF16", "shape": [2**15, 2**16], "data_offsets": [0, 2**32]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + 2**32)
    monkeypatch.setattr(host, "memory", lambda: (2**40, int(needed * 2**31)))
    assert preflight.check(config) == []
    if needed:
        monkeypatch.setattr(host, "memory", lambda: (2**40, 2**29))
        problem = only(preflight.check(config))
        assert problem.field == field
        assert f"at least {needed * 2:.1f} GiB" in problem.message
        assert "0.5 GiB are free" in problem.message


def test_what_a_container_keeps_of_files_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaced are the system's files: the machine that runs the tests need not be a container."""
    files = {
        "/proc/meminfo": "MemTotal: 1000 kB\nMemAvailable: 900 kB",
        "/sys/fs/cgroup/memory.max": "500000",
        "/sys/fs/cgroup/memory.current": "450000",
        "/sys/fs/cgroup/memory.stat": "anon 50000\nactive_file 100000\ninactive_file 250000\nslab 5",
    }
    monkeypatch.setattr(host, "_text", lambda path: files.get(path, ""))
    assert host.memory() == (500_000, 400_000)
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert host.memory() == (1_024_000, 921_600)


def test_weights_in_the_hubs_cache_are_judged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(host, "memory", lambda: (2**40, 7))
    offload = {"strategy.name": "fsdp2", "strategy.offload_parameters": True, "method.name": "lora"}
    config = make_config(tmp_path, **offload, **{"model.path": "org/model"})
    assert check_host_memory(config) == []
    folder = tmp_path / "hub" / "models--org--model"
    write_model(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc\n")
    assert only(check_host_memory(config)).field == "strategy.offload_parameters"
    config = make_config(tmp_path, **offload, **{"model.path": "org/model", "model.revision": "other"})
    assert check_host_memory(config) == []


def test_a_parent_must_hold_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLTUI_HOME", str(tmp_path / "home"))
    run = tmp_path / "home" / "runs" / "first-20260101"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.yaml").touch()
    for named in ("first", str(run)):
        problem = only(preflight.check(make_config(tmp_path, parent=named)))
        assert (problem.field, "holds no checkpoint" in problem.message) == ("parent", True)
    (run / "checkpoints" / ".step-00000002.partial").mkdir()
    assert preflight.check(make_config(tmp_path, parent="first")) != []
    (run / "checkpoints" / "step-00000002").mkdir()
    for named in ("first", "first-20260101", str(run)):
        assert preflight.check(make_config(tmp_path, parent=named)) == []
    assert "Did you mean first-20260101" in only(preflight.check(make_config(tmp_path, parent="frist"))).message


def test_visible_devices_are_those_cuda_would_see(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [Gpu(number, f"GPU-{number}a", "H100", 1) for number in range(4)]
    monkeypatch.setattr(gpus, "all_gpus", lambda: there)
    for named, seen in (("2,0", [2, 0]), ("", []), ("GPU-3", [3]), ("1,9,0", [1]), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert [gpu.number for gpu in gpus.visible_gpus()] == seen
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert gpus.visible_gpus() == there
