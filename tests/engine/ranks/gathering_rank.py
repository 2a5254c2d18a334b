"""One rank that looks at what FSDP2 has gathered when: ``python gathering_rank.py FOLDER``.

Writes ``FOLDER/NAME-RANK.json`` for a model with a head of its own and one that shares its embeddings'.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from engine import quiet  # isort: skip - before the libraries it quiets

import torch
from cells.ranks import leave
from transformers import LlamaConfig, LlamaForCausalLM

from engine.collective import world
from engine.config.reading import read
from engine.events import write_json
from engine.parameters import is_sharded
from engine.strategy import make_strategy

LAYERS = 3
GATHER = "all_gather_single" if hasattr(torch.distributed, "all_gather_single") else "all_gather_into_tensor"
"""By what FSDP2 gathers, newer and older torch."""


def main() -> None:
    quiet.quiet_transformers()
    folder = Path(sys.argv[1])
    for name in ("own-head", "tied"):
        moments = seen(folder, tied=name == "tied")
        write_json(folder / f"{name}-{world()[0]}.json", moments)
    leave(0)


def seen(folder: Path, *, tied: bool) -> dict[str, Any]:
    """Which of the weights are whole at each moment of a step, and how many numbers were gathered until then."""
    values = {"model": str(folder), "data": "none.jsonl", "device": "cpu", "strategy": "fsdp2", "method": "lora"}
    strategy = make_strategy(read(values, where="test", base=folder), tracking_folder="")
    torch.manual_seed(0)
    shape = {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=96, hidden_size=16, intermediate_size=32, tie_word_embeddings=tied, **shape)
    model = LlamaForCausalLM(config).requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.q_proj.weight.requires_grad_(True)
    strategy.place(model, lambda part: None)
    gathered, moments = [0], {}
    gather = getattr(torch.distributed, GATHER)

    def counted(output: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        gathered[0] += output.numel()
        return gather(output, *arguments, **options)

    def look(moment: str) -> None:
        weights = {"embeddings": model.model.embed_tokens.weight, "head": model.lm_head.weight}
        whole = [name for name, weight in weights.items() if not is_sharded(weight)]
        moments[moment] = {"whole": whole, "gathered": gathered[0]}

    layer = model.model.layers[1]
    layer.register_forward_pre_hook(lambda *_: look("in a layer, forward"))
    layer.register_full_backward_pre_hook(lambda *_: look("in a layer, backward"))
    with patch.object(torch.distributed, GATHER, counted):
        logits = model(torch.arange(24).reshape(2, 12), use_cache=False).logits
        look("at the loss")
        logits.float().logsumexp(-1).sum().backward()
        look("after backward")
    moments["gradients"] = all(layer.self_attn.q_proj.weight.grad is not None for layer in model.model.layers)
    return moments


if __name__ == "__main__":
    main()
