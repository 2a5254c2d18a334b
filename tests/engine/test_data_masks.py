"""Which tokens are learnt, for every format, kind of template and kind of tokenizer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import small_tokenizers as small
from support.small_tokenizers import byte_level, marked, sentence_piece_like

from engine.config.reading import read
from engine.data import Rows, prepare_rows
from engine.errors import BadInput
from engine.templates import stop_token_ids
from engine.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Prepare = Callable[..., tuple[Any, Rows]] if TYPE_CHECKING else Any

TWO_TURNS = [
    {"role": "user", "content": "q1"},
    {"role": "assistant", "content": "a1"},
    {"role": "user", "content": "q2"},
    {"role": "assistant", "content": "a2"},
]


@pytest.fixture
def prepare(tmp_path: Path) -> Prepare:
    """Rows through files and folders, as a run does it."""

    def run(tokenizer: Any, *rows: dict[str, Any], **data: Any) -> tuple[Any, Rows]:
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        model = small.save(tokenizer, tmp_path / "model")
        tree = {"model": {"path": str(model)}, "data": {"path": str(file), **data}}
        config = read(tree, where="test", base=tmp_path)
        loaded = load_tokenizer(config)
        return loaded, prepare_rows(config, loaded, tmp_path / "data", is_main=True, progress=lambda line: None)

    return run


@pytest.mark.parametrize(
    ("chat_template", "expected"),
    [
        (
            small.CHATML,
            "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n«a1<|im_end|>»\n"
            "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n«a2<|im_end|>»\n",
        ),
        (small.LLAMA_2, "<s>[INST] q1 [/INST] «a1 </s>»<s>[INST] q2 [/INST] «a2 </s>»"),
        (
            small.QWEN_3,
            "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n«a1<|im_end|>»\n"
            "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n«<think></think>a2<|im_end|>»\n",
        ),
        (small.THINKING_PROMPT, "user: q1</s>assistant: «a1</s>»user: q2</s>assistant: «a2</s>»"),
        (small.NO_TERMINATOR, "\nuser: q1\nassistant: «a1»\nuser: q2\nassistant: «a2</s>»"),
        (small.WITH_GENERATION, "user: q1</s>assistant: «a1</s>»user: q2</s>assistant: «a2</s>»"),
        (
            None,
            "### User:\nq1\n\n### Assistant:\n«a1</s>»\n\n### User:\nq2\n\n### Assistant:\n«a2</s>»\n\n",
        ),
    ],
)
def test_every_answer_and_its_end_are_learnt(prepare: Prepare, chat_template: str | None, expected: str) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=chat_template), {"messages": TWO_TURNS})
    assert marked(tokenizer, rows.train[0]) == expected


def test_reasoning_that_the_template_keeps_is_learnt_and_that_it_drops_is_not_there(prepare: Prepare) -> None:
    turns = [
        {"role": "user", "content": "q1"},
        {"role": "assistant", "content": "<think>t1</think>a1"},
        {"role": "user", "content": "q2"},
        {"role": "assistant", "content": "<think>t2</think>a2"},
    ]
    tokenizer, rows = prepare(byte_level(chat_template=small.QWEN_3), {"messages": turns})
    assert marked(tokenizer, rows.train[0]) == (
        "<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\n«a1<|im_end|>»\n"
        "<|im_start|>user\nq2<|im_end|>\n<|im_start|>assistant\n«<think>t2</think>a2<|im_end|>»\n"
    )


def test_a_template_that_hides_where_answers_begin_is_refused(prepare: Prepare) -> None:
    tokenizer = byte_level(chat_template=small.REWRITES_THE_PROMPT)
    with pytest.raises(BadInput, match=r"rows\.jsonl: row 1 has an answer that cannot be told .*{% generation %}"):
        prepare(tokenizer, {"messages": TWO_TURNS})


def test_answers_equal_to_questions_are_told_apart(prepare: Prepare) -> None:
    turns = [{"role": role, "content": "user"} for role in ("system", "user", "assistant", "user", "assistant")]
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), {"messages": turns})
    asked = "<|im_start|>user\nuser<|im_end|>\n<|im_start|>assistant\n«user<|im_end|>»\n"
    assert marked(tokenizer, rows.train[0]) == f"<|im_start|>system\nuser<|im_end|>\n{asked}{asked}"


def test_tools_and_their_results_are_prompt_and_calls_are_answers(prepare: Prepare) -> None:
    function = {"name": "add", "arguments": {"x": 1}}
    row = {
        "tools": json.dumps([{"type": "function", "function": {"name": "add"}}]),
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": function}]},
            {"role": "tool", "content": "2"},
            {"role": "assistant", "content": "two"},
        ],
    }
    tokenizer, rows = prepare(byte_level(chat_template=small.TOOLS), row)
    assert marked(tokenizer, rows.train[0]) == (
        '[add]<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n«<call>add{"x": 1}<|im_end|>»\n'
        "<|im_start|>tool\n2<|im_end|>\n<|im_start|>assistant\n«two<|im_end|>»\n"
    )


def test_a_conversation_that_ends_with_a_question_gets_no_end(prepare: Prepare) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=small.NO_TERMINATOR), {"messages": TWO_TURNS[:3]})
    assert marked(tokenizer, rows.train[0]) == "\nuser: q1\nassistant: «a1»\nuser: q2\n"


def test_sharegpt(prepare: Prepare) -> None:
    turns = [("system", "s"), ("human", "q"), ("gpt", "a")]
    row = {"conversations": [{"from": who, "value": what} for who, what in turns]}
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), row)
    assert marked(tokenizer, rows.train[0]) == (
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n«a<|im_end|>»\n"
    )


def test_alpaca_is_a_question_and_its_answer_for_a_chat_model(prepare: Prepare) -> None:
    tokenizer, rows = prepare(
        byte_level(chat_template=small.CHATML),
        {"instruction": "Add", "input": "1 {2}", "output": "3"},
        {"instruction": "Add", "input": "", "output": "4"},
    )
    assert [marked(tokenizer, row) for row in rows.train] == [
        "<|im_start|>user\nAdd\n\n1 {2}<|im_end|>\n<|im_start|>assistant\n«3<|im_end|>»\n",
        "<|im_start|>user\nAdd<|im_end|>\n<|im_start|>assistant\n«4<|im_end|>»\n",
    ]


def test_alpaca_is_the_alpaca_prompt_without_a_chat_template(prepare: Prepare) -> None:
    tokenizer, rows = prepare(
        byte_level(),
        {"instruction": "Add {x}", "input": "1 {2}", "output": "3"},
        {"instruction": "Add", "output": "4"},
    )
    first, second = (marked(tokenizer, row) for row in rows.train)
    assert first.startswith("Below is an instruction that describes a task, paired with an input")
    assert first.endswith("### Instruction:\nAdd {x}\n\n### Input:\n1 {2}\n\n### Response:\n«3</s>»")
    assert second.startswith("Below is an instruction that describes a task. Write")
    assert second.endswith("### Instruction:\nAdd\n\n### Response:\n«4</s>»")


@pytest.mark.parametrize("chat_template", [None, small.CHATML])
def test_prompt_and_completion_are_joined_as_they_are(prepare: Prepare, chat_template: str | None) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=chat_template), {"prompt": "1+1=", "completion": "2"})
    assert marked(tokenizer, rows.train[0]) == "1+1=«2</s>»"


def test_text_is_learnt_whole(prepare: Prepare) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), {"text": "the sky"}, {"text": "2024-01-01"})
    assert [marked(tokenizer, row) for row in rows.train] == ["«the sky</s>»", "«2024-01-01</s>»"]
    assert (rows.summary["tokens"], rows.summary["target_tokens"]) == (8 + 11, 7 + 10)  # nothing predicts the first


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"messages": TWO_TURNS[:2]}, "«<|im_start|>user\nq1<|im_end|>\n<|im_start|>assistant\na1<|im_end|>\n»"),
        ({"prompt": "1+1=", "completion": "2"}, "«1+1=2</s>»"),
    ],
)
def test_loss_on_all_learns_prompts_too(prepare: Prepare, row: dict[str, Any], expected: str) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), row, loss_on="all")
    assert marked(tokenizer, rows.train[0]) == expected


@pytest.mark.parametrize("pad", ["</s>", None])
def test_eos_is_learnt_though_it_pads(prepare: Prepare, pad: str | None) -> None:
    tokenizer, rows = prepare(byte_level(pad_token=pad), {"prompt": "q", "completion": "a"})
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert rows.train[0]["labels"][-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_a_token_across_the_seam_is_learnt(prepare: Prepare, trim_offsets: bool) -> None:
    """'is blue' has the token ' blue' though the prompt ends after the blank; cutting there would change the tokens."""
    tokenizer = byte_level(vocabulary=400, trim_offsets=trim_offsets)
    whole = tokenizer("the sky is blue")["input_ids"]
    loaded, rows = prepare(tokenizer, {"prompt": "the sky is ", "completion": "blue"})
    assert rows.train[0]["input_ids"] == [*whole, tokenizer.eos_token_id]
    assert marked(loaded, rows.train[0]) == "the sky is« blue</s>»"


@pytest.mark.parametrize("trim_offsets", [True, False])
def test_white_space_inside_an_answer_is_learnt_and_before_it_is_not(prepare: Prepare, trim_offsets: bool) -> None:
    tokenizer, rows = prepare(byte_level(trim_offsets=trim_offsets), {"prompt": "q \n", "completion": " \n a  b \n"})
    assert marked(tokenizer, rows.train[0]) == "q \n« \n a  b \n</s>»"


def test_characters_of_several_tokens(prepare: Prepare) -> None:
    tokenizer, rows = prepare(byte_level(), {"prompt": "é日", "completion": "本🙂"})
    assert marked(tokenizer, rows.train[0]) == "é日«本🙂</s>»"


def test_bos_is_there_once_for_plain_text(prepare: Prepare) -> None:
    tokenizer, rows = prepare(
        byte_level(add_bos=True, add_eos=True),
        {"prompt": "q", "completion": "a"},
        {"prompt": "<s>q", "completion": "a"},
    )
    assert [marked(tokenizer, row) for row in rows.train] == ["<s>q«a</s>»"] * 2


def test_a_chat_has_the_bos_of_its_template_alone(prepare: Prepare) -> None:
    """As when the model is used: apply_chat_template lets the tokenizer add nothing."""
    tokenizer, rows = prepare(
        byte_level(chat_template=small.CHATML, add_bos=True, add_eos=True), {"messages": TWO_TURNS[:2]}
    )
    assert rows.train[0]["input_ids"] == tokenizer.apply_chat_template(TWO_TURNS[:2])["input_ids"]
    assert tokenizer.bos_token_id not in rows.train[0]["input_ids"]


def test_bos_is_there_once_when_template_and_tokenizer_both_write_it(prepare: Prepare) -> None:
    tokenizer, rows = prepare(
        sentence_piece_like(chat_template=small.LLAMA_2),
        {"messages": [{"role": "user", "content": "the sky"}, {"role": "assistant", "content": "is blue"}]},
    )
    ids, labels = rows.train[0]["input_ids"], rows.train[0]["labels"]
    assert ids.count(tokenizer.bos_token_id) == 1
    learnt = [label for label in labels if label != -100]
    assert tokenizer.convert_ids_to_tokens(learnt)[0].startswith("▁")
    assert tokenizer.decode(learnt).strip() == "is blue </s>"
    assert tokenizer.decode(ids[: -len(learnt)]).endswith("[/INST]")


def test_eos_is_not_added_after_the_end_of_a_turn_and_both_stop_answers(prepare: Prepare) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), {"messages": TWO_TURNS})
    assert tokenizer.eos_token_id not in rows.train[0]["input_ids"]
    assert stop_token_ids(tokenizer) == tokenizer.convert_tokens_to_ids(["</s>", "<|im_end|>"])
    assert stop_token_ids(byte_level()) == [tokenizer.eos_token_id]


def test_a_tokenizer_without_any_special_token(prepare: Prepare) -> None:
    bare = byte_level(bos_token=None, eos_token=None, unk_token=None)
    tokenizer, rows = prepare(bare, {"prompt": "q", "completion": "a"})
    assert tokenizer.pad_token_id is not None
    assert marked(tokenizer, rows.train[0]) == "q«a»"


def test_the_configured_template_goes_before_the_models(prepare: Prepare, tmp_path: Path) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(small.THINKING_PROMPT)
    tokenizer, rows = prepare(
        byte_level(chat_template=small.CHATML), {"messages": TWO_TURNS[:2]}, chat_template=str(file)
    )
    assert marked(tokenizer, rows.train[0]) == "user: q1</s>assistant: «a1</s>»"


def test_the_plain_template_becomes_the_tokenizers_on_every_rank(prepare: Prepare, tmp_path: Path) -> None:
    tokenizer, _ = prepare(byte_level(), {"messages": TWO_TURNS})
    asked = tokenizer.apply_chat_template(TWO_TURNS[:1], tokenize=False, add_generation_prompt=True)
    assert asked == "### User:\nq1\n\n### Assistant:\n"
    config = read({"model": {"path": str(tmp_path / "model")}, "data": {"path": "x"}}, where="test", base=tmp_path)
    other = load_tokenizer(config)
    prepare_rows(config, other, tmp_path / "data", is_main=False, progress=lambda line: None)
    assert other.chat_template == tokenizer.chat_template


def test_prompt_and_answer_for_generating_are_those_of_the_last_turn(prepare: Prepare) -> None:
    tokenizer, rows = prepare(byte_level(chat_template=small.CHATML), *[{"messages": TWO_TURNS}] * 2, eval_fraction=0.5)
    assert rows.evaluation is not None
    row = rows.evaluation[0]
    assert tokenizer.decode(row["prompt_ids"]) == tokenizer.apply_chat_template(
        TWO_TURNS[:3], tokenize=False, add_generation_prompt=True
    )
    assert row["answer"] == "a2"
    assert set(rows.train.column_names) == {"input_ids", "labels"}
