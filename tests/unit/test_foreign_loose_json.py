"""JSON with comments and the like: DeepSpeed reads it, what reads it with Python's parser refuses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qltui.cli.main import main
from qltui.configs.foreign.json_keys import strict

TRAINER = """\
{
  // what is trained
  "model_name_or_path": "a/b", # a base model
  "per_device_train_batch_size": 2, /* rows */ "bf16": True,
  "run_name": "// no, comment",
  "deepspeed": "ds.json", // the last one
}
"""
DEEPSPEED = '{"zero_optimization": {"stage": 2,}, "bf16": {"enabled": "auto"}} // sharded\n'


def check(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, dict[str, Any]]:
    code = main(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_a_trainer_would_refuse_is_warned_of_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, deepspeed = tmp_path / "train.json", tmp_path / "ds.json"
    trainer.write_text(TRAINER)
    deepspeed.write_text(DEEPSPEED)
    code, found = check(capsys, trainer)
    said = [(one["severity"], Path(one["file"]).name, one["line"]) for one in found["findings"]]
    assert code == 0
    assert sorted(said) == [
        ("warn", "ds.json", 1), ("warn", "ds.json", 1), ("warn", "train.json", 2), ("warn", "train.json", 4),
        ("warn", "train.json", 6),
    ]  # fmt: skip
    main(["check", str(trainer), "--fix"])
    capsys.readouterr()
    assert json.loads(trainer.read_text())["run_name"] == "// no, comment"
    assert json.loads(deepspeed.read_text()) == {"zero_optimization": {"stage": 2}, "bf16": {"enabled": "auto"}}
    assert check(capsys, trainer)[1]["findings"] == []


def test_deepspeeds_file_alone_may_be_for_deepspeed_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ds.json"
    file.write_text(DEEPSPEED)
    _, found = check(capsys, file)
    assert {one["severity"] for one in found["findings"]} == {"info"}
    assert found["diff"] is None


def test_only_what_is_no_json_is_taken_out() -> None:
    assert (
        strict(TRAINER)
        == """\
{
  "model_name_or_path": "a/b",
  "per_device_train_batch_size": 2, "bf16": true,
  "run_name": "// no, comment",
  "deepspeed": "ds.json"
}
"""
    )
    plain = json.dumps({"a": [1, {"b": "x, }"}], "c": None}, indent=1)
    assert strict(plain) == plain
    assert strict('{"a": 1, // one\r\n "b": [2,],\r\n}\r\n') == '{"a": 1,\r\n "b": [2]\r\n}\r\n'
