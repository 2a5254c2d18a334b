"""Single keys written into texts: ends of lines and commas stay, and a text that came to say more is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qltui.advice.findings import Finding, Severity
from qltui.configs.fixing import fixes_of
from qltui.configs.foreign import edit_json, edit_yaml
from qltui.configs.foreign.edits import edited
from qltui.configs.foreign.reading import Format
from qltui.configs.foreign.spots import REMOVE
from qltui.configs.mending import Fix, mend
from qltui.configs.run_text import with_values

if TYPE_CHECKING:
    from collections.abc import Mapping

TRAINER = "model_name_or_path: a/b\nper_device_train_batch_size: 2\n"


def test_a_new_key_ends_its_line_as_the_others_do() -> None:
    text = "adapter: lora\r\nfsdp_config:\r\n  version: 2\r\n"
    assert edit_yaml.insert(text, "fsdp_config.offload_params", "true") == f"{text}  offload_params: true\r\n"
    assert edit_yaml.insert("adapter: lora", "bits.four", "true") == "adapter: lora\nbits:\n  four: true\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1,}', '{"a": 1, "b": 2}'),
        ('{"a": 1}', '{"a": 1, "b": 2}'),
        ("{}", '{"b": 2}'),
        ('{\n  "a": 1, // last\n}\n', '{\n  "a": 1, // last\n  "b": 2\n}\n'),
    ],
)
def test_a_new_member_of_json_takes_the_comma_that_is_there(text: str, expected: str) -> None:
    assert edit_json.insert(text, "b", "2") == expected


@pytest.mark.parametrize("spelling", ["--optim adamw_bnb_8bit", "--load-best-model-at-end", "--load_best_model_at_end"])
def test_an_option_goes_as_it_was_spelt(spelling: str) -> None:
    text = f"accelerate launch train.py --model_name_or_path a/b {spelling} --per_device_train_batch_size 2\n"
    key = spelling.split()[0].strip("-").replace("-", "_")
    assert edited(text, "a.sh", Format.TRAINER, {key: REMOVE}) == text.replace(f" {spelling}", "")


def test_an_edit_that_hits_something_else_is_given_up() -> None:
    looks_alike = 'run_name: "one\noptim: two"\n'
    text = f"{TRAINER}{looks_alike}optim: adamw_torch\n"
    assert edited(text, "a.yaml", Format.TRAINER, {"optim": REMOVE}) is None
    ours = 'description: "one\nhardware:\n  ranks_per_node: 3"\nmodel: m\nhardware: {ranks_per_node: 2}\n'
    assert with_values(ours, {"hardware.ranks_per_node": None}) == (
        ours, {"hardware.ranks_per_node": "can't be rewritten by itself in this file"},
    )  # fmt: skip


def test_what_a_person_chose_is_changed_for_a_block_alone() -> None:
    def fix_of(severity: Severity, fix: dict[str, Any]) -> list[Fix]:
        return fixes_of([Finding("any", severity, None, "", "", "", fix)])

    assert fix_of(Severity.WARN, {"strategy": "ddp"}) == [Fix("any", False, {})]
    assert fix_of(Severity.BLOCK, {"strategy": "ddp"}) == [Fix("any", True, {"strategy": "ddp"})]
    assert fix_of(Severity.WARN, {"optim": "adamw"}) == [Fix("any", False, {"optim": "adamw"})]
    assert fix_of(Severity.INFO, {"optim": "adamw"}) == []


def test_of_two_fixes_of_one_value_the_gravest_is_written() -> None:
    def apply(texts: Mapping[str, str], patch: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        return {"a": patch.get("optim", texts["a"])}, {}

    fixes = [Fix("first", True, {"optim": "adamw"}), Fix("second", True, {"optim": "sgd"})]
    assert mend({"a": "old"}, fixes, lambda _texts: [], apply).texts == {"a": "adamw"}
