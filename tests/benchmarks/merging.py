"""What merging takes: host memory beside the page cache, and time, against the size of the model.

``python tests/benchmarks/merging.py FOLDER [--layers 16]`` makes a Llama of random weights (0.89 B parameters with 16
layers, in files of 500 MB) and an adapter on all its linear layers, merges it as LoRA and as QLoRA, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from engine.audit.adapter import saved_name

ROOT = Path(__file__).parents[2]
POLL_SECONDS = 0.02
MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=16)
    options = parser.parse_args()
    base = options.folder / f"base-{options.layers}"
    if not base.exists():
        make_base(base, options.layers)
    size = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    largest = max(value.nbytes for value in LlamaForCausalLM(shape(0)).to(torch.bfloat16).state_dict().values())
    print(f"model {size / MIB:,.0f} MiB, largest tensor {largest / MIB:,.0f} MiB, {torch.get_num_threads()} threads")
    print("| method | host memory before | highest while merging | beyond | seconds |\n|---|---|---|---|---|")
    for method in ("lora", "qlora"):
        run = make_run(options.folder / method, base, method, options.layers)
        before, highest, seconds = merged(run, options.folder / "out")
        shutil.rmtree(options.folder / "out")
        print(
            f"| {method} | {before:,.0f} MiB | {highest:,.0f} MiB | {highest - before:,.0f} MiB | {seconds:.0f} |",
            flush=True,
        )


def shape(layers: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=32000, hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=8, dtype="bfloat16",
    )  # fmt: skip


def make_base(folder: Path, layers: int) -> None:
    torch.manual_seed(0)
    LlamaForCausalLM(shape(layers)).to(torch.bfloat16).save_pretrained(folder, max_shard_size="500MB")
    AutoTokenizer.from_pretrained(ROOT / "presets" / "demo" / "model").save_pretrained(folder)


def make_run(folder: Path, base: Path, method: str, layers: int) -> Path:
    """A run as far as merging looks at it, its adapter of random numbers."""
    with torch.device("meta"):
        model = get_peft_model(LlamaForCausalLM(shape(layers)), LoraConfig(r=16, target_modules="all-linear"))
    model.peft_config["default"].save_pretrained(folder / "adapter")
    adapter = {
        saved_name(name): torch.randn(one.shape) * 0.02 for name, one in model.named_parameters() if one.requires_grad
    }
    save_file(adapter, folder / "adapter" / "adapter_model.safetensors", metadata={"format": "pt"})
    values = {"model": str(base), "data": "none.jsonl", "method": method, "precision": "bf16"}
    (folder / "run.yaml").write_text(json.dumps(values))
    return folder


def merged(run: Path, out: Path) -> tuple[float, float, float]:
    """(MiB of anonymous memory when all is imported and known, highest since, seconds)."""
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.merge", str(run), "--out", str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    before = highest = anonymous(process.pid)
    while process.poll() is None:
        highest = max(highest, anonymous(process.pid))
        time.sleep(POLL_SECONDS)
    assert process.returncode == 0
    return before, highest, time.monotonic() - begun


def anonymous(pid: int) -> float:
    """MiB a process holds that are no pages of files."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


if __name__ == "__main__":
    main()
