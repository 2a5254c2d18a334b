"""The parts that layers are made of, as rules: given a ``config.json``, the linears of the part and what else it has.

Each function returns a rule; its arguments say how one family's part differs from llama's. An argument that can be a
flag is a boolean, or the key of ``config.json`` that decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from qltui.facts.models.config_json import BadConfig, ConfigJson
from qltui.facts.models.shape import Linear

Flag = bool | str


class Part(NamedTuple):
    """Part of a layer."""

    linears: tuple[Linear, ...]
    other: int = 0
    """Parameters in no linear."""
    normed: int = 0
    """Numbers a token that go through norms of its own."""


Rule = Callable[[ConfigJson], Part]

QKVO = ("q_proj", "k_proj", "v_proj", "o_proj")
GATE_UP_DOWN = ("gate_proj", "up_proj", "down_proj")

QWEN_EXPERTS = (("gate_proj", "up_proj"), ("down_proj",), ("gate",))
MIXTRAL_EXPERTS = (("w1", "w3"), ("w2",), ("gate",))
"""The linears that fused experts were made of: gates and ups, downs, the router; as PEFT knows them."""


def holds(config: ConfigJson, flag: Flag) -> bool:
    """Whether a flag is set: by itself, or by the key it names."""
    return config.flag(flag) if isinstance(flag, str) else flag


def grouped_query(
    names: tuple[str, ...] = QKVO,
    bias: Flag = False,
    out_bias: Flag | None = None,
    *,
    norm: Literal["", "head", "all"] = "",
    norm_if: Flag = True,
    norm_width: int = 1,
    gated: bool = False,
    sinks: bool = False,
    subclassed: bool = False,
) -> Rule:
    """Attention with grouped queries.

    ``names`` are those of queries, keys, values, output; or of all three in one and the output. ``out_bias`` is
    ``bias`` unless given. Queries and keys are normalised by weights as wide as one head, or as all heads.
    ``gated`` queries come with a gate of the same width.
    """

    def rule(config: ConfigJson) -> Part:
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        projected = [queries * (2 if gated else 1), keys, keys]
        if len(names) == 2:
            projected = [sum(projected)]
        biased = holds(config, bias)
        linears = [
            Linear(name, config.hidden, outputs, biased, subclassed=subclassed)
            for name, outputs in zip(names, projected, strict=False)
        ]
        biased = biased if out_bias is None else holds(config, out_bias)
        linears.append(Linear(names[-1], queries, config.hidden, biased, subclassed=subclassed))
        other = config.heads if sinks else 0
        normed = queries + keys if norm and holds(config, norm_if) else 0
        if normed:
            other += norm_width * (2 * config.head_dim if norm == "head" else normed)
        return Part(tuple(linears), other, normed)

    return rule


def latent_attention(config: ConfigJson) -> Part:
    """DeepSeek's: queries, keys and values come from a narrow latent each."""
    hidden, heads = config.hidden, config.heads
    rotary, plain = config.number("qk_rope_head_dim"), config.number("qk_nope_head_dim")
    values, latent = config.number("v_head_dim"), config.number("kv_lora_rank")
    biased = config.flag("attention_bias")
    narrow = config.optional("q_lora_rank")
    if narrow is None:
        queries = [Linear("q_proj", hidden, heads * (plain + rotary))]
    else:
        queries = [
            Linear("q_a_proj", hidden, narrow, biased),
            Linear("q_b_proj", narrow, heads * (plain + rotary)),
        ]
    linears = (
        *queries,
        Linear("kv_a_proj_with_mqa", hidden, latent + rotary, biased),
        Linear("kv_b_proj", latent, heads * (plain + values)),
        Linear("o_proj", heads * values, hidden, biased),
    )
    return Part(linears, (narrow or 0) + latent, (narrow or 0) + latent)


def delta_net(split: bool) -> Rule:
    """Qwen's linear attention (gated delta net); ``split`` where its projections stand apart."""

    def rule(config: ConfigJson) -> Part:
        hidden, value_heads = config.hidden, config.number("linear_num_value_heads")
        keys = config.number("linear_num_key_heads") * config.number("linear_key_head_dim")
        values = value_heads * config.number("linear_value_head_dim")
        mixed = 2 * keys + values
        projections = (
            [("in_proj_qkv", mixed), ("in_proj_z", values), ("in_proj_b", value_heads), ("in_proj_a", value_heads)]
            if split
            else [("in_proj_qkvz", mixed + values), ("in_proj_ba", 2 * value_heads)]
        )
        linears = [Linear(name, hidden, outputs) for name, outputs in projections]
        convolution = mixed * config.number("linear_conv_kernel_dim")
        decays = 2 * value_heads  # dt_bias and A_log
        norm = config.number("linear_value_head_dim")
        return Part((*linears, Linear("out_proj", values, hidden)), convolution + decays + norm, values)

    return rule


def dense(
    names: tuple[str, ...] = GATE_UP_DOWN,
    bias: Flag = False,
    *,
    size: str = "intermediate_size",
    fused: bool = False,
    subclassed: bool = False,
) -> Rule:
    """A feed-forward of the linears called ``names``: gate, up, down; up, down; or, ``fused``, both ups in one."""

    def rule(config: ConfigJson) -> Part:
        inner, biased = width(config, size), holds(config, bias)
        ups = [
            Linear(name, config.hidden, inner * (2 if fused else 1), biased, subclassed=subclassed)
            for name in names[:-1]
        ]
        return Part((*ups, Linear(names[-1], inner, config.hidden, biased, subclassed=subclassed)))

    return rule


def mixture(
    size: str = "moe_intermediate_size",
    *,
    bias: bool = False,
    router: str = "gate",
    router_linear: bool = False,
    formerly: tuple[tuple[str, ...], ...] = ((), (), ()),
    shared_size: str = "",
    shared_count: str = "",
    shared_bias: Flag = False,
    shared_gate: str = "",
) -> Rule:
    """A router and fused experts, gated.

    ``router_linear`` where the router is a subclass of ``nn.Linear``. ``formerly`` is what PEFT knows the gates and
    ups, the downs, and the router by. Beside them stand shared experts: of the width ``shared_size``, or as many as
    ``shared_count`` says, of the experts' own width, in one.
    """

    def rule(config: ConfigJson) -> Part:
        hidden, inner = config.hidden, config.number(size)
        number, active = config.number("num_experts"), config.number("num_experts_per_tok")
        if active > number:
            raise BadConfig(f"num_experts_per_tok is {active}, but there are {number} experts")
        ups, down, gate = formerly
        linears = [
            Linear("gate_up_proj", hidden, 2 * inner, bias, experts=number, active=active, formerly=ups),
            Linear("down_proj", inner, hidden, bias, experts=number, active=active, formerly=down),
            Linear(router, hidden, number, subclassed=True)
            if router_linear
            else Linear(router, hidden, number, bias, experts=1, active=1, formerly=gate),
        ]
        shared = config.number(shared_size) if shared_size else 0
        if shared_count:
            shared = config.count(shared_count) * inner
        if shared:
            biased = holds(config, shared_bias)
            linears += [Linear(name, hidden, shared, biased) for name in GATE_UP_DOWN[:-1]]
            linears.append(Linear(GATE_UP_DOWN[-1], shared, hidden, biased))
        if shared_gate:
            linears.append(Linear(shared_gate, hidden, 1))
        return Part(tuple(linears))

    return rule


def width(config: ConfigJson, size: str = "intermediate_size") -> int:
    """Inner width of a feed-forward; those who may leave it out mean four times the hidden size."""
    return config.number(size, 4 * config.hidden if config.flag("wide_by_default") else None)
