"""How lines of logs become entries: levels, tracebacks, folded bars, times, bounds."""

from __future__ import annotations

import pytest

from qltui.runs.log_book import CHARACTERS_KEPT, ERROR, INFO, LINES_KEPT, OLDER_KEPT, WARNING, LogBook
from qltui.runs.logs import LogLine


def lines(*texts: str, rank: int = 0, start: int = 0, path: str = "log") -> list[LogLine]:
    return [LogLine(rank, text, path, start + number, start + number + 1) for number, text in enumerate(texts)]


def levels(*texts: str) -> list[str]:
    book = LogBook()
    book.add(lines(*texts))
    return [entry.level for entry in book.live]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2026-11-22 14:02:11,123 - ERROR - broke", ERROR),
        ("torch.OutOfMemoryError: CUDA out of memory.", ERROR),
        ("RuntimeError: CUDA error: device-side assert", ERROR),
        ("[rank0]:[E1122 14:02:11.123456 ProcessGroupNCCL.cpp:616] watchdog", ERROR),
        ("Segmentation fault (core dumped)", ERROR),
        ("error: no such option", ERROR),
        ("[2026-11-22 18:25:05,416] [WARNING] [real_accelerator.py:213]", WARNING),
        ("/x/y.py:3: FutureWarning: will be removed", WARNING),
        ("W1122 14:02:11.123456 12 torch/distributed/run.py:1] setting OMP_NUM_THREADS", WARNING),
        ("warning: unused", WARNING),
        ("{'eval_loss': '3.7', 'mean_absolute_error': '0.1'}", INFO),
        ("step 3 errors 0 warnings 0", INFO),
        ("Error handling and WARNINGs are explained in the manual", INFO),
        ("[INFO] terror", INFO),
    ],
)
def test_levels_are_guessed_from_words(text: str, level: str) -> None:
    assert levels(text) == [level]


def test_a_traceback_is_an_error_from_its_first_line_to_its_last() -> None:
    traceback = [
        "Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "    warnings.warn('no')",
        "KeyError: 1",
        "During handling of the above exception, another exception occurred:", "Traceback (most recent call last):",
        "  File 'y.py'", "some.module.Odd: reason",
    ]  # fmt: skip
    assert levels("before", *traceback, "after") == [INFO, *[ERROR] * len(traceback), INFO]
    torchrun = [f"[rank1]: {line}" for line in traceback]
    assert levels("before", *torchrun, "after") == [INFO, *[ERROR] * len(traceback), INFO]


def test_tracebacks_of_two_ranks_do_not_mix() -> None:
    book = LogBook()
    first = lines("Traceback (most recent call last):", "  File 'x'", "ValueError: no")
    for one, other in zip(first, lines("  indented", "plain", "plain", rank=1), strict=True):
        book.add([one, other])
    assert [entry.level for entry in book.live if entry.rank == 0] == [ERROR] * 3
    assert [entry.level for entry in book.live if entry.rank == 1] == [INFO] * 3


def test_bars_fold_into_one_entry_each() -> None:
    book = LogBook()
    book.add(
        lines("a:  10%|#  | 1/10 [00:01<00:09]", "a:  20%|## | 2/10 [00:02<00:08]", "b: 50%|# | 1/2 [00:01<00:01]")
    )
    assert [entry.text[:6] for entry in book.live] == ["a:  20", "b: 50%"]
    assert (book.live[0].start, book.live[0].end) == (0, 2)
    begun = LogLine(0, "b: 100%|##| 2/2 [00:01<00:00]", "log", 3, 9, ended=False)
    new, _ = book.add([begun])
    assert not new
    assert book.live[-1].text.startswith("b: 100%")
    book.add(lines("{'loss': 1}", start=3))
    assert [entry.text[:6] for entry in book.live] == ["a:  20", "{'loss"], "what the bar's line became"


@pytest.mark.parametrize(
    ("text", "time", "rest"),
    [
        ("2026-11-22 14:02:11,123 - INFO - x", "14:02:11", "INFO - x"),
        ("[2026-11-22 14:02:11,123] [INFO] x", "14:02:11", "[INFO] x"),
        ("2026-11-22T14:02:11.5Z x", "14:02:11", "x"),
        ("2026/11/22 14:02:11 x", "14:02:11", "x"),
        ("11/22/2026 14:02:11 - x", "14:02:11", "x"),
        ("[14:02:11] x", "14:02:11", "x"),
        ("W1122 14:02:11.123456 7 x", "14:02:11", "W1122 14:02:11.123456 7 x"),
        ("took 14:02:11 in all", "", "took 14:02:11 in all"),
        ("14 lines", "", "14 lines"),
    ],
)
def test_times_are_told_apart_from_the_text(text: str, time: str, rest: str) -> None:
    book = LogBook()
    book.add(lines(text))
    assert (book.live[0].time, book.live[0].text) == (time, rest)
    assert book.is_timed is bool(time)


def test_lines_of_several_ranks_go_by_their_times() -> None:
    book = LogBook()
    zero = lines("2026-11-22 10:00:01 a", "more of a", "2026-11-22 10:00:05 c")
    book.add([*zero, *lines("2026-11-22 10:00:03 b", rank=1)])
    assert [entry.text for entry in book.live] == ["a", "more of a", "b", "c"]
    book.add([*lines("2026-11-22 10:00:07 d"), *lines("no time", rank=1), *lines("2026-11-22 10:00:06 e")])
    assert [entry.text for entry in book.live][-3:] == ["d", "no time", "e"], "as they came, where some tell none"


def test_what_is_kept_is_bounded_by_lines_and_characters() -> None:
    book = LogBook()
    _, gone = book.add(lines(*map(str, range(LINES_KEPT + 10))))
    assert [entry.text for entry in gone] == list(map(str, range(10)))
    assert book.begins() == {0: ("log", 10)}
    book = LogBook()
    book.add(lines(*["x" * 2000] * (CHARACTERS_KEPT // 2000 + 5)))
    assert sum(len(entry.text) for entry in book.live) <= CHARACTERS_KEPT


def test_where_to_read_on_is_known_of_ranks_whose_lines_are_all_gone() -> None:
    book = LogBook()
    book.add(lines("of rank one", rank=1, start=7, path="log1"))
    book.add(lines(*map(str, range(LINES_KEPT)), start=100))
    assert book.begins() == {0: ("log", 100), 1: ("log1", 8)}
    assert book.begins(rank=1) == {1: ("log1", 8)}


def test_older_lines_stand_before_and_are_bounded_too() -> None:
    book = LogBook()
    book.add(lines("newest", start=10**6))
    for page in range(10):
        book.put_before(lines(*["old"] * (OLDER_KEPT // 5), start=900_000 - 10_000 * page))
    assert len(book.older) == OLDER_KEPT
    assert book.has_gap
    assert book.begins() == {0: ("log", 810_000)}
    book.forget_older()
    assert not book.has_gap
    assert book.begins() == {0: ("log", 10**6)}
