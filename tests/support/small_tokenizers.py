"""Real tokenizers small enough to make in a test, and chat templates of the kinds that models come with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<pad>"]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""Knows no generation prompt, writes BOS itself."""
QWEN_3 = (
    "{% set last = namespace(user=0) %}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{% set last.user = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% set said = m['content'].split('</think>')[-1] %}"
    "{% set thought = m['content'].split('</think>')[0].split('<think>')[-1] if '</think>' in m['content'] else '' %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > last.user %}{{ '<think>' + thought + '</think>' }}{% endif %}{{ said + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Drops the reasoning of earlier turns, so that no prefix of a conversation is a prefix of its text."""
THINKING_PROMPT = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: <think>' }}{% endif %}"
)
"""The prompt for generating has more than the turns of a conversation begin with."""
NO_TERMINATOR = (
    "{% for m in messages %}{{ '\n' + m['role'] + ': ' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\nassistant: ' }}{% endif %}{{ '\n' }}"
)
WITH_GENERATION = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
    "{{ eos_token }}{% endfor %}"
)
"""Marks answers, the end of the turn left out as many do."""
TOOLS = (
    "{% if tools %}{{ '[' + tools[0]['function']['name'] + ']' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['tool_calls'] %}{% for call in m['tool_calls'] %}{{ '<call>' + call['function']['name'] }}"
    "{{ call['function']['arguments'] | tojson }}{% endfor %}{% else %}{{ m['content'] }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
REWRITES_THE_PROMPT = (
    "{{ (messages[-1]['content'] | length) ~ ' characters. ' }}"
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + eos_token }}{% endfor %}"
)
"""What precedes an answer depends on it: nothing can tell them apart."""

TEXTS = ("the sky is blue the answer is the sky of the sea and the capital of France is Paris yes no",) * 20


def byte_level(
    *,
    chat_template: str | None = None,
    vocabulary: int = 0,
    add_bos: bool = False,
    add_eos: bool = False,
    trim_offsets: bool = True,
    texts: Sequence[str] = TEXTS,
    **special: str | None,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, as of GPT-2 and Llama 3; with ``vocabulary`` 0 every byte is a token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary or len(alphabet) + len(SPECIAL),
        special_tokens=SPECIAL,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    frame = ("<s> " if add_bos else "") + "$A" + (" </s>" if add_eos else "")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=trim_offsets),
            processors.TemplateProcessing(single=frame, special_tokens=[("<s>", 1), ("</s>", 2)]),
        ]
    )
    return _fast(tokenizer, chat_template, special)


def sentence_piece_like(*, chat_template: str | None = None, **special: str | None) -> PreTrainedTokenizerFast:
    """A tokenizer with '▁' for blanks and BOS in front, as of Llama 2 and Mistral."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, "[INST] [/INST] abcdefghijklmnopqrstuvwxyz.?:"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return _fast(tokenizer, chat_template, special)


def _fast(tokenizer: Tokenizer, chat_template: str | None, special: dict[str, str | None]) -> PreTrainedTokenizerFast:
    names: dict[str, Any] = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", **special}
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **{name: token for name, token in names.items() if token}
    )
    fast.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    fast.chat_template = chat_template
    return fast


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> Path:
    """As a model folder would hold it."""
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def marked(tokenizer: Any, row: dict[str, Any]) -> str:
    """A row's text with «what is learnt» between marks, token by token."""
    parts: list[str] = []
    learning = False
    run: list[int] = []
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        assert label in (token, -100)
        if (label != -100) != learning:
            parts += [tokenizer.decode(run), "»" if learning else "«"]
            learning, run = not learning, []
        run.append(token)
    parts += [tokenizer.decode(run), "»" if learning else ""]
    return "".join(parts)
