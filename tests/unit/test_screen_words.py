"""How a run reads on screen: paths in the room there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from qltui.ui import words

PATH = "/home/someone/projects/tuning/data/train.jsonl"


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        (PATH, len(PATH), PATH),
        (PATH, len(PATH) - 1, "/…/someone/projects/tuning/data/train.jsonl"),
        (PATH, 20, "/…/data/train.jsonl"),
        (PATH, 14, "/…/train.jsonl"),
        (PATH, 12, "…train.jsonl"),
        (PATH, 8, "…n.jsonl"),
        ("~/projects/tuning/data/train.jsonl", 33, "~/…/tuning/data/train.jsonl"),
        ("meta-llama/Llama-3.1-8B", 12, "…lama-3.1-8B"),
        ("数据/训练.jsonl", 10, "…练.jsonl"),
    ],
)
def test_a_path_gives_up_folders_in_its_middle(path: str, width: int, shown: str) -> None:
    assert words.fitted(path, width) == shown


@given(st.text(alphabet="ab/数.", max_size=40), st.integers(1, 30))
def test_any_path_fits(path: str, width: int) -> None:
    shown = words.fitted(path, width)
    assert cell_len(shown) <= width
    assert path.endswith(shown.rpartition("…")[2])
