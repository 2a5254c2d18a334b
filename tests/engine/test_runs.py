"""Runs through the real command, launcher and ranks, to the adapter that plain PEFT loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from support.runs import DEMO, Cli, events
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from engine.batches import collate
from engine.config.reading import read_file
from engine.data import prepare_rows
from engine.events import RunDirectory
from engine.launch import free_port
from engine.loss import summed_loss
from engine.tokenizer import load_tokenizer


def evaluation_loss_of(adapter: Path, run: RunDirectory) -> float:
    """Mean loss over the held-out rows of base + adapter, loaded with plain Transformers and PEFT."""
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    base = AutoModelForCausalLM.from_pretrained(
        DEMO / "model", quantization_config=quantization, dtype=torch.float32, device_map={"": "cpu"}
    )
    model = PeftModel.from_pretrained(base, adapter)
    for module in model.modules():  # bitsandbytes' packed CPU kernel computes in bf16; compare like with like
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    config = read_file(run.run_yaml)
    tokenizer = load_tokenizer(config)
    rows = prepare_rows(config, tokenizer, run.data, is_main=True, progress=lambda text: None).evaluation
    assert rows is not None
    loss = tokens = 0.0
    with torch.no_grad():
        for row in rows:
            batch = collate([row], tokenizer.pad_token_id)
            loss += float(summed_loss(model, batch))
            tokens += float((batch["labels"][:, 1:] != -100).sum())
    return loss / tokens


def test_two_cpu_ranks_to_an_adapter_plain_peft_loads(cli: Cli, small_run) -> None:
    cli.environment["HF_TOKEN"] = "hf_secretsecretsecret"
    cli.environment["WANDB_API_KEY"] = "wandbsecretsecret"
    asked = ["Where does Cora Storm travel?", "Who?"]
    more = {"training.sample_prompts": asked, "training.answer_max_tokens": 8, "training.eval_every": 3}
    done = cli("launch", str(small_run(**more)), "--wait")
    status = cli.status()
    run = cli.directory()
    assert status["state"] == "finished", done.stdout + done.stderr
    assert status["step"] == status["total_steps"] == 6
    assert [sample["prompt"] for sample in status["samples"]] == asked
    for sample in status["samples"]:
        told = [(answer["step"], answer["when"]) for answer in sample["answers"]]
        assert told == [(0, "before"), (3, "during"), (6, "after")]
        assert all(answer["answer"] for answer in sample["answers"])
    assert events(run, "prompted", rank=1) == []
    assert status["exit_code"] == 0
    assert status["audits"] == {"sharding": "not_applicable", "weights": "passed", "adapter": "passed"}
    assert [rank["rank"] for rank in status["ranks"]] == [0, 1]
    assert run.path.stat().st_mode & 0o777 == 0o700

    losses = [event["loss"] for event in events(run, "step")]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    measured = events(run, "evaluation")[-1]["loss"]
    assert evaluation_loss_of(Path(status["adapter_dir"]), run) == pytest.approx(measured, rel=1e-5)
    # The loss comes from the trained adapter: the untouched base is far off.
    assert events(run, "data")[0]["rows"] > 100
    assert AutoTokenizer.from_pretrained(status["adapter_dir"]).chat_template

    for path in run.path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"secretsecret" not in content, path
    assert [p.name for p in run.path.glob(".*")] == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(
            ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "engine.train"],
            id="torchrun",
        ),
        # Accelerate starts several processes without MPI only in this mode; the engine itself asks for CPU.
        pytest.param(
            ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--module", "engine.train"],
            id="accelerate-launch",
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_other_launchers_start_the_engine(command: list[str], small_run) -> None:
    file = small_run(**{"training.max_steps": 2, "data.eval_path": None})
    run = RunDirectory(file.parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command, str(run.path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (run.adapter / "adapter_model.safetensors").is_file()
    assert events(run, "started", rank=1)[0]["world_size"] == 2


@pytest.mark.thorough
def test_ranks_started_one_by_one_meet(small_run) -> None:
    """As srun starts them: each with the rendezvous in its environment, and nobody above them."""
    file = small_run(**{"training.max_steps": 2, "data.eval_path": None, "strategy.name": "fsdp2"})
    run = RunDirectory(file.parent)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "engine.train", str(run.path)],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        said = [rank.communicate(timeout=200)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], said
    assert len(run.attempts()) == 1
    assert [events(run, "started", rank=rank)[0]["world_size"] for rank in range(2)] == [2, 2]
    assert {events(run, "audit", rank=rank)[0]["result"] for rank in range(2)} == {"passed"}
    assert (run.adapter / "adapter_model.safetensors").is_file()
