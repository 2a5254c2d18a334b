"""Whole rehearsals through the real command, launcher, ranks and audits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import small_encoders
from support.models import put_into_hub_cache, with_code_of_its_own
from support.runs import DEMO, Cli, events

PRESET = Path(__file__).parents[2] / "presets" / "demo-cpu.yaml"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan for two GPUs on the demo's data, with a model folder that holds no weights."""
    shutil.copytree(DEMO / "model", tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    data = {"path": str(DEMO / "data" / "train.jsonl"), "eval_path": str(DEMO / "data" / "heldout.jsonl")}
    values = {
        "name": "plan", "model": "model", "data": {**data, "max_length": 512}, "strategy": "ddp",
        "method": {"name": "qlora", "lora": {"rank": 8}}, "precision": "fp16",
        "hardware": {"device": "cuda", "ranks_per_node": 2},
        "training": {"gradient_accumulation_steps": 8, "generate_answers": 4},
    }  # fmt: skip
    file = tmp_path / "plan.yaml"
    file.write_text(json.dumps(values))
    return file


def test_a_plan_for_gpus_is_trained_saved_stopped_resumed_and_audited(cli: Cli, plan: Path) -> None:
    done = cli("rehearse", str(plan), "--ranks", "2", "--json")
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert report["failure"] is None
    assert report["ranks"] == 2
    assert report["audits"] == {"sharding": "not_applicable", "weights": "passed", "adapter": "passed"}
    changed = {one["field"]: (one["from"], one["to"]) for one in report["changed"]}
    assert changed["hardware.device"] == ("cuda", "cpu")
    assert changed["precision.compute"] == ("fp16", "fp32")
    proven = {one["what"]: one["detail"] for one in report["proven"]}
    assert {"architecture", "data", "training", "evaluation", "resuming", "adapter audit", "result"} <= set(proven)
    assert "6 steps on 2 ranks, ddp, qlora" in proven["training"]
    assert "num_hidden_layers 4 to 2" in proven["architecture"]
    assert any("NCCL" in point for point in report["unproven"])
    assert not any("could be stopped" in point for point in report["unproven"])

    blocks = [one["rule"] for one in report["plan"]["findings"] if one["severity"] == "block"]
    assert (report["plan"]["memory"], blocks) == (None, ["cuda-without-gpu"]), "of the run itself, where no GPU is"

    run = cli.directory(report["run"])
    own = json.loads(run.plan_json.read_text())
    assert (own["memory"], [one for one in own["findings"] if one["severity"] == "block"]) == (None, [])
    assert len(run.attempts()) == 2
    assert events(run, "finished", attempt=1)[0]["outcome"] == "stopped"
    assert events(run, "finished", attempt=2)[0]["outcome"] == "finished"
    assert 0 < events(run, "step", attempt=1)[-1]["step"] < 6
    assert (run.adapter / "adapter_model.safetensors").is_file()
    assert [one["id"] for one in json.loads(cli("runs", "--json").stdout)] == [report["run"]]
    assert [path.name for path in (cli.home / "runs").iterdir()] == [report["run"]], "the small model was left"
    assert "resuming" in done.stderr


def test_a_rehearsal_that_fails_says_why(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "rehearse", str(PRESET), "--set", "method.lora.target_modules=[no_such_module]", "--set", "strategy=single",
        "--set", "hardware.ranks_per_node=null", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Failed: method.lora.target_modules" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert cli.status()["state"] == "failed"
    assert len(list((cli.home / "runs").iterdir())) == 1


def test_what_cannot_be_rehearsed(cli: Cli, plan: Path) -> None:
    config = json.loads((plan.parent / "model" / "config.json").read_text())
    (plan.parent / "model" / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    done = cli("rehearse", str(plan), "--json", check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["ok"], report["run"]) == (False, None)
    assert "a t5 model cannot be shrunk" in report["failure"]["message"]
    assert list((cli.home / "runs").iterdir()) == []

    for ranks in ("0", "1"):
        done = cli("rehearse", str(plan), "--ranks", ranks, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert "ddp is rehearsed on two ranks or more" in done.stderr
    done = cli("rehearse", str(plan), "--set", "data=nothing.jsonl", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no such file" in done.stderr


REVISION = "--set", "model.revision=v2"
TRUSTED = "--set", "model.trust_remote_code=true"


@pytest.mark.thorough
def test_a_model_of_the_hub_is_rehearsed_from_the_cache(cli: Cli, plan: Path, tmp_path: Path) -> None:
    put_into_hub_cache(tmp_path / "hf", "org/tiny", plan.parent / "model")
    cli.environment["HF_HOME"] = str(tmp_path / "hf")
    report = json.loads(cli("rehearse", str(plan), "--set", "model=org/tiny", "--ranks", "2", "--json").stdout)
    assert report["ok"] is True
    assert "the weights of org/tiny" in report["unproven"][0]

    for assignments, message in (
        (("--set", "model=org/other"), "org/other: model.path: is neither a local path nor in the hub's cache"),
        (("--set", "model=org/tiny", *REVISION), "the hub cannot be reached or has no such model or revision"),
    ):
        done = cli("rehearse", str(plan), *assignments, check=False)
        assert done.returncode == 1
        assert message in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.mark.thorough
def test_a_models_own_code_is_run_if_it_is_trusted_and_not_otherwise(cli: Cli, plan: Path, tmp_path: Path) -> None:
    own = "--set", f"model={with_code_of_its_own(tmp_path / 'own')}"
    for command in (("rehearse",), ("launch", "--watch", "--set", "device=cpu", "--set", "precision=fp32")):
        done = cli(*command, str(plan), *own, check=False)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "it comes with Python code of its own; set model.trust_remote_code=true if you trust it" in said
        assert "Traceback" not in done.stdout

    report = json.loads(cli("rehearse", str(plan), *own, *TRUSTED, "--ranks", "2", "--json").stdout)
    assert report["ok"] is True
    assert "OwnForCausalLM" in {one["what"]: one["detail"] for one in report["proven"]}["architecture"]


@pytest.mark.thorough
def test_a_classifier_is_rehearsed_whatever_its_base_was_trained_for(cli: Cli, tmp_path: Path) -> None:
    base = "distilbert"
    rows = small_encoders.pairs(40)
    for number, row in enumerate(rows):
        row["label"] = "abc"[number % 3]  # more classes than a configuration names by itself
    values = {
        "model": {"path": str(small_encoders.save(base, tmp_path / base)), "task": "sequence_classification"},
        "data": {"path": str(small_encoders.write(rows, tmp_path / "rows.jsonl")), "eval_fraction": 0.2},
        "method": "qlora", "strategy": "single", "device": "cpu",
    }  # fmt: skip
    (tmp_path / "plan.yaml").write_text(json.dumps(values))
    report = json.loads(cli("rehearse", str(tmp_path / "plan.yaml"), "--json").stdout)
    assert report["ok"] is True
    assert "ForSequenceClassification" in {one["what"]: one["detail"] for one in report["proven"]}["architecture"]
