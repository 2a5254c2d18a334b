"""Vision towers that are loaded with a text model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qltui.facts.models.shape import Linear

if TYPE_CHECKING:
    from qltui.facts.models.config_json import ConfigJson


def siglip_tower(config: ConfigJson, text_width: int) -> tuple[int, tuple[Linear, ...]]:
    """Parameters of SigLIP's tower with gemma3's projector to ``text_width``, and the linears among them."""
    hidden, inner = config.number("hidden_size", 768), config.number("intermediate_size", 3072)
    depth, patch = config.number("num_hidden_layers", 12), config.number("patch_size", 16)
    places = (config.number("image_size", 224) // patch) ** 2
    linears = (
        Linear("q_proj", hidden, hidden, True, depth),
        Linear("k_proj", hidden, hidden, True, depth),
        Linear("v_proj", hidden, hidden, True, depth),
        Linear("out_proj", hidden, hidden, True, depth),
        Linear("fc1", hidden, inner, True, depth),
        Linear("fc2", inner, hidden, True, depth),
    )
    patches = hidden * (3 * patch * patch + 1) + places * hidden
    norms = (2 * depth + 1) * 2 * hidden
    projector = hidden * text_width + hidden
    pooling = 0
    if config.get("vision_use_head") is not False:  # one query that attends to all patches, then a feed-forward
        pooling = hidden + 4 * hidden * (hidden + 1) + 2 * hidden + hidden * inner * 2 + hidden + inner
    return patches + norms + projector + pooling + sum(linear.parameters for linear in linears), linears


def estimated_tower(config: ConfigJson) -> int:
    """Parameters of a tower never seen, from its width and depth; 0 where these are not told."""
    hidden, depth = config.optional("hidden_size"), config.optional("num_hidden_layers")
    if hidden is None or depth is None:
        return 0
    inner = config.optional("intermediate_size") or 4 * hidden
    return depth * (4 * hidden * hidden + 2 * hidden * inner)
