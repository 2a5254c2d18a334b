"""Words without which a pattern cannot match."""

from __future__ import annotations

import pytest

from qltui.runs.diagnosis.causes.literal import Index, literals


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"out of memory", ("out of memory",)),
        (r"out of memory|Killed\b", ("out of memory", "Killed")),
        (r"CUDA (?:error: )?out of memory", ("out of memory",)),
        (r"(?:CUDA|HIP) out", (" out",)),
        (r"(?:CUDA|ROCm) OM", ("CUDA", "ROCm")),
        (r"(?:CUDA|ROCm)? OOM", (" OOM",)),
        (r"a (?:no (?:tensors|weights)|empty) b", ("tensors", "weights", "empty")),
        (r"(?!not this)(?=nor this)(this)", ()),
        (r"(?i)any case", ()),
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


def test_the_index_finds_every_pattern_that_can_be_in_a_text() -> None:
    words = [("out of memory",), ("Killed", "killed"), (), ("memory", "disk")]
    index = Index(words)
    for text in ("", "a disk", "it was killed", "CUDA out of memory", "Killed: out of memory", "mem"):
        possible = [place for place, some in enumerate(words) if not some or any(word in text for word in some)]
        assert set(possible) <= set(index.places(text)), text
        assert index.places(text) == sorted(index.places(text))
    assert index.places("nothing of all that") == [2]
