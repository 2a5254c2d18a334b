"""Words without which a pattern cannot match."""

from __future__ import annotations

import pytest

from qltui.runs.diagnosis.causes.literal import literals


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"out of memory", ("out of memory",)),
        (r"out of memory|Killed\b", ("out of memory", "Killed")),
        (r"CUDA (?:error: )?out of memory", ("out of memory",)),
        (r"(?:CUDA|HIP) out", (" out",)),
        (r"a(?:b|c)d|No space", ()),
        (r"(?:a|b)", ()),
        (r"Errno 28\b", ("Errno 28",)),
        (r"exitcode\s*:? ?-9\b", ("exitcode",)),
        (r"colou?rs", ("colo",)),
        (r"lo+ng words", ("ng words",)),
        (r"size [\d.|]+ of \(this\)", (" of (this)",)),
        (r"\[Errno 12\] x", ("[Errno 12] x",)),
        (r"\d{4} times", (" times",)),
        (r"^Killed$", ("Killed",)),
        (r"x.{0,60}needed", ("needed",)),
    ],
)
def test_the_longest_plain_run_of_each_alternative(pattern: str, words: tuple[str, ...]) -> None:
    assert literals(pattern) == words
