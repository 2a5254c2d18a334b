"""Whatever is wrong with the user's data, template or tokenizer: one line, that names the file and what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow
import pyarrow.parquet
import pytest
from support import small_tokenizers as small
from support.small_tokenizers import byte_level

from engine.config.reading import read
from engine.data import prepare_rows
from engine.errors import BadInput
from engine.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from engine.config import RunConfig

GOOD = {"prompt": "q", "completion": "a"}


def config(tmp_path: Path, path: Path | str, chat_template: str | None = None, **data: Any) -> RunConfig:
    model = small.save(byte_level(chat_template=chat_template), tmp_path / "model")
    return read({"model": {"path": str(model)}, "data": {"path": str(path), **data}}, where="test", base=tmp_path)


def refusal(tmp_path: Path, made: RunConfig) -> str:
    """What the user is told. Nothing half-written may stay."""
    with pytest.raises(BadInput) as caught:
        prepare_rows(made, load_tokenizer(made), tmp_path / "run" / "data", is_main=True, progress=lambda line: None)
    assert not list((tmp_path / "run").glob("*"))
    message = str(caught.value)
    assert "\n" not in message
    return message


def refused_rows(tmp_path: Path, *rows: Any, name: str = "rows.jsonl", **options: Any) -> str:
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refusal(tmp_path, config(tmp_path, file, **options))
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        (GOOD, {"prompt": "q"}, "has no 'completion'"),
        (GOOD, {"prompt": "q", "completion": None}, "has no 'completion'"),
        (GOOD, {"prompt": "q", "completion": " "}, "'completion' is empty"),
        (GOOD, {"prompt": "q", "completion": 7}, "'completion' is int, not text"),
        (GOOD, {"prompt": ["q"], "completion": "a"}, "'prompt' is list, not text"),
        (GOOD, {"text": "another format"}, "has no 'prompt'"),
        ({"instruction": "i", "output": "o"}, {"instruction": "i", "input": "x"}, "has no 'output'"),
        (
            {"instruction": "i", "output": "o"},
            {"instruction": "i", "input": 7, "output": "o"},
            "'input' is int, not text",
        ),
        ({"text": "t"}, {"text": ""}, "'text' is empty"),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "user", "content": "q"}]},
            "'messages' has no answer by the assistant",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant"}]},
            "turn 2 of 'messages' has no 'role' and 'content'",
        ),
        ({"messages": [{"role": "assistant", "content": "a"}]}, {"messages": []}, "'messages' is empty"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, {"messages": "a"}, "'messages' is not a list of turns"),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "robot", "content": "a"}]},
            "turn 1 of 'messages' is by 'robot'",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"messages": [{"role": "assistant", "content": [{"type": "text", "text": "a"}]}]},
            "'content' of turn 1 of 'messages' is list, not text",
        ),
        (
            {"conversations": [{"from": "gpt", "value": "a"}]},
            {"conversations": [{"from": "bing", "value": "a"}]},
            "turn 1 of 'conversations' is by 'bing'",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, good: Any, bad: Any, problem: str) -> None:
    message = refused_rows(tmp_path, *[good] * 300, bad, good)
    assert message.startswith(f"row 301 {problem}")
    assert "data.columns" in message


def test_a_row_that_lacks_what_other_rows_of_a_columnar_file_have(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([GOOD, {"prompt": "q"}]), file)
    assert refusal(tmp_path, config(tmp_path, file)).startswith(f"{file}: row 2 has no 'completion'.")


def test_row_numbers_are_the_files_own_when_a_share_is_held_out(tmp_path: Path) -> None:
    rows = [GOOD] * 6 + [{"prompt": "q"}] + [GOOD] * 3
    assert refused_rows(tmp_path, *rows, eval_fraction=0.5).startswith("row 7 has no 'completion'")
    file = tmp_path / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    assert "row 7 has no 'completion'" in refusal(tmp_path, config(tmp_path, file, eval_fraction=0.5))


def test_renamed_columns_are_named_as_the_user_has_them(tmp_path: Path) -> None:
    columns = {"prompt": "question", "completion": "reply"}
    message = refused_rows(tmp_path, {"question": "q", "reply": "a"}, {"question": "q"}, columns=columns)
    assert message.startswith("row 2 has no 'reply'")


def test_columns_of_no_known_format(tmp_path: Path) -> None:
    message = refused_rows(tmp_path, {"question": "q", "reply": "a"})
    assert message.startswith("the columns (question, reply) fit no format.")
    assert "prompt_completion: prompt + completion" in message
    assert "data.columns" in message


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", "", "is empty"),
        ("a.jsonl", "\n \n", "is empty"),
        ("a.json", "[]", "is empty"),
        ("a.csv", "prompt,completion\n", "is empty"),
        ("a.csv", "\n", "is empty"),
        ("a.parquet", "", "is empty"),
        ("a.jsonl", '{"text": "a"}\n{"text":\n', "line 2 is not valid JSON (Expecting value"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": "a"},\n', "line 3 is not valid JSON (Extra data"),
        ("a.jsonl", '{"text": "a"}\n"b"\n', "row 2 is not an object with named fields but str"),
        ("a.json", '[{"text": "a"},\n {"text": ]', "is not valid JSON (Expecting value: line 2 column 11"),
        ("a.json", '[{"text": "a"}, 7]', "row 2 is not an object with named fields but int"),
        ("a.json", '{\n "data": []\n}', "line 1 is not valid JSON"),
        ("a.csv", 'prompt,completion\nq,a\nq,"a,b",c\n', "row 2 has 3 values for 2 columns"),
        ("a.csv", 'prompt,completion\nq,a\nq,"a\n', "line 3 is not valid CSV (unexpected end of data)"),
        ("a.csv", "prompt,completion\nq,a\nq\n", "row 2 has no 'completion'"),
        ("a.parquet", "no parquet", "cannot be read: "),
        ("a.xlsx", "x", "files of this kind are not read"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path: Path, name: str, content: str, problem: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    assert refusal(tmp_path, config(tmp_path, file)).startswith(f"{file}: {problem}")


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv"])
def test_text_that_is_not_utf8(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    row, odd = (b'{"text": "a"}', b'{"text": "caf\xe9"}') if name == "a.jsonl" else (b"a", b"caf\xe9")
    first = row if name == "a.jsonl" else b"text"
    file.write_bytes(b"\n".join([first, *[row] * 2000, odd, row]))
    assert refusal(tmp_path, config(tmp_path, file)).startswith(f"{file}: line 2002 is not UTF-8 text (")


@pytest.mark.parametrize("path", ["/nowhere/rows.jsonl", "rows.jsonl", "./rows"])
def test_a_file_that_is_not_there(tmp_path: Path, path: str) -> None:
    message = refusal(tmp_path, config(tmp_path, path))
    assert "there is no such file" in message
    assert "data.path" in message


def test_evaluation_data_that_is_not_there_or_empty(tmp_path: Path) -> None:
    data = tmp_path / "a.jsonl"
    data.write_text(json.dumps(GOOD))
    missing = tmp_path / "b.jsonl"
    made = config(tmp_path, data, eval_path=str(missing))
    assert refusal(tmp_path, made).startswith(f"{missing}: there is no such file. Give data.eval_path")
    missing.write_text("")
    assert refusal(tmp_path, made).startswith(f"{missing}: is empty")


def test_a_split_of_a_file_and_a_share_of_one_row(tmp_path: Path) -> None:
    assert "data.eval_split" in refused_rows(tmp_path, GOOD, eval_split="test")
    assert "data.eval_fraction" in refused_rows(tmp_path, GOOD, eval_fraction=0.5)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps(GOOD))
    message = refusal(tmp_path, config(tmp_path, folder, split="validation"))
    assert message.startswith(f"{folder} (validation): cannot be read: ")
    assert "validation" in message.split("read: ")[1]


def test_a_hub_data_set_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as the environment variable does at import
    message = refusal(tmp_path, config(tmp_path, "nobody/nothing"))
    assert message.startswith("nobody/nothing: is no local file, and the hub cannot be reached")
    assert "HF_HUB_OFFLINE" in message


def test_every_answer_cut_off_says_the_length_that_would_do(tmp_path: Path) -> None:
    rows = [{"prompt": "1234567" + "x" * n, "completion": "a"} for n in range(1, 102)]
    message = refused_rows(tmp_path, *rows, max_length=8)
    assert message == (
        "every answer is cut off by data.max_length=8. Half of the rows have up to 60 tokens, 95 % up to 105: "
        "set data.max_length=105."
    )


def test_rows_without_anything_to_learn(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['role'] }}{% if not loop.first %}{{ m['content'] }}{% endif %}{% endfor %}"
    rows = [{"messages": [{"role": "assistant", "content": "a"}]}]
    assert refused_rows(tmp_path, *rows, chat_template=template).startswith("no row has anything to learn")


def test_a_chat_template_that_refuses_a_row_says_why(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('No system here.') }}{% endif %}"
        "{{ m['content'] + eos_token }}{% endfor %}"
    )
    rows = [
        {"messages": [{"role": role, "content": "x"} for role in roles]}
        for roles in (["assistant"], ["system", "assistant"])
    ]
    message = refused_rows(tmp_path, *rows, chat_template=template)
    assert message == "row 2 cannot be rendered by the chat template: No system here."


def test_a_chat_template_that_cannot_be_used(tmp_path: Path) -> None:
    data, template = tmp_path / "a.jsonl", tmp_path / "mine.jinja"
    data.write_text(json.dumps({"messages": [{"role": "assistant", "content": "a"}]}))
    made = config(tmp_path, data)
    made = read({**made.tree(), "data": {"path": str(data), "chat_template": str(template)}}, where="t", base=tmp_path)
    with pytest.raises(BadInput, match=r"mine\.jinja: the chat template cannot be read"):
        load_tokenizer(made)
    template.write_text("{% for m in messages %}")
    assert refusal(tmp_path, made).startswith(f"{template}: the chat template cannot be used: ")
    template.write_text("{{ messages[0]['content'] }}")
    assert "leaves out what the assistant says" in refusal(tmp_path, made)


def model_refusal(path: Path | str, **model: Any) -> str:
    made = read({"model": {"path": str(path), **model}, "data": {"path": "x"}}, where="test", base=Path("/"))
    with pytest.raises(BadInput) as caught:
        load_tokenizer(made)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_tokenizers_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_refusal(tmp_path) == (
        f"{tmp_path}: holds no tokenizer; copy tokenizer.json and tokenizer_config.json there, or set model.tokenizer "
        "(model.path)."
    )
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert "holds no tokenizer" in model_refusal(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"a')
    assert "its tokenizer cannot be read" in model_refusal(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    assert "its tokenizer cannot be read" in model_refusal(tmp_path)
    small.save(byte_level(), tmp_path)
    assert model_refusal(tmp_path, tokenizer=str(tmp_path / "none")).endswith("(model.tokenizer).")


def test_a_tokenizer_that_is_code_is_not_run_unasked(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["mine.Mine", None]}, "tokenizer_class": "Mine"})
    )
    (tmp_path / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: pass\n")
    assert "model.trust_remote_code=true" in model_refusal(tmp_path)
    assert not ran.exists()


def test_a_model_on_the_hub_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert model_refusal("nobody/nothing").startswith("nobody/nothing: is no local folder, and the hub cannot be")
