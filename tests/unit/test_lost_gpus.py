"""Which GPUs a run goes on with that lost some: from recorded facts alone."""

from __future__ import annotations

import pytest

from qltui.runs.diagnosis.fixes import in_place_of_lost


@pytest.mark.parametrize(
    ("had", "there", "not_these", "gpus"),
    [
        ("ab", "acd", "", "ac"),
        ("abc", "cde", "", "cde"),
        ("abc", "b", "", ""),
        ("a", "bc", "b", "c"),
        ("a", "b", "b", ""),
        ("ab", "bc", "b", "bc"),
        ("", "ab", "", ""),
    ],
)
def test_which_gpus_take_the_place_of_lost_ones(had: str, there: str, not_these: str, gpus: str) -> None:
    assert in_place_of_lost(had, there, not_these) == list(gpus)
