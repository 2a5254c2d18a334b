"""Python's tracebacks in a log: of several writers that interleave, chained, wrapped in others, cut at either end.

Those of plain Python, of IPython and notebooks, of rich, and those in one line with ``\\n`` in it are read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from qltui.runs.diagnosis.prefixes import HEADER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qltui.runs.diagnosis.prefixes import Line

PATIENCE = 400
"""Lines of its writer that a traceback may take before it counts as cut off."""
IDLE = 8
"""Other lines in a row after which it does so too: some programs print calls without an exception, as a warning."""
MESSAGE = 40
"""Lines an exception's message may have."""

_FRAME = re.compile(
    r'\s*(?:[+|>] *)*(?:File "|(?=[^"\s]+\.py"))(?P<file>[^"]+)", line (?P<line>\d+)(?:,? in (?P<function>.*))?'
    r"|\s*File (?P<file2>[^\s\"]+\.\w+):(?P<line2>\d+),? in (?P<function2>[\w.<>]+)"
    r"|\[?(?P<file3>(?:/|~/|<ipython|[\w.]+/)[^\s\]]*)(?:\]\(\S+\))? in (?P<function3>[\w.<>]+)\("
    r"|[│|]\s+(?P<file4>(?:[A-Za-z]:\\[^:│]+|\S+)\.py):(?P<line4>\d+) in (?P<function4>[\w.<>]+)"
)
_BOXED_PATH = re.compile(r"[│|] (?:/|~|[A-Za-z]:\\)")
_HEADLESS = re.compile(r'\s*(?:File "[^"]+|[^"\s]+\.py)", line \d+, in \S|(?:File )?\S+\.py(?::\d+,)? in \w')
"""A call that no header came before: the log was cut, or a program printed calls alone."""
_BOXED_CALL = re.compile(r"[│|]\s+\S+\.py:\d+ in [\w.<>]+")
"""The same in a box."""
_NOTEBOOK_KIND = re.compile(r"((?:\w+\.)*[A-Z]\w+) {2,}$")
"""What was raised, as IPython tells before the header."""
_FLAT_CALL = re.compile(r'\s+(?=File "[^"]+", line \d+)')
_FLAT_SOURCE = re.compile(r"(?<= in )(?P<function>\S+)\s+")
_FLAT_END = re.compile(r"\s+(?=(?:\w+\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)(?:: |\s*$))")
_DEBUGGED = re.compile(r"(?:Exception has occurred|发生异常): (?P<type>[\w.]+)")
"""As an editor's debugger shows it: its message and the calls, the newest first, come after."""
_RAISE = re.compile(r"raise (?:\w+\.)*(?P<type>\w+)\((?P<quote>[\"'])(?P<message>.*)(?P=quote)")
"""Source that raises an exception with these very words."""
_EXCEPTION = re.compile(
    r"(?:\s*[+|] *|> ?|`)*(?P<type>(?:[a-zA-Z_]\w*\.+)*[A-Z]\w*(?:\(\w+\))?|socket\.\w+|\w+\.error)"
    r"(?:: ?(?P<message>.*)|\s*$)"
)
_EXCEPTION_NAME = re.compile(
    r"(?:[Ee]rror|Exception|timeout|Interrupt|Exit|Iteration|Warning|Failure|Refused|Abort|Fault|Timeout|Killed|Group|Found|Missing"
    r"|Violation|Mismatch|Traceback|Pool|Full|Empty|Resources)(?:\(\w+\))?$"
)
_CLASS = re.compile(r"\.[A-Z]\w*$|[a-z\d][A-Z]\w*$")
"""Of a module, or of several words: what else an exception's name looks like."""
_CHAINED = ("The above exception was the direct cause of", "During handling of the above exception")
_NOT_FATAL = (
    "Exception ignored in", "Exception ignored while", "--- Logging error ---", "Error in sys.excepthook",
    "Error in atexit._run_exitfuncs", "Exception in thread",
)  # fmt: skip
_ENDS_MESSAGE = re.compile(
    r"[IWEF]\d{4}[ ]\d\d:|\[[IWEF]\d* |\[(?:\d{4}-|INFO|WARNING|ERROR|rank)|(?:INFO|WARNING|ERROR|CRITICAL)\b[: ]"
    r"|wandb: |.*\d%\||={20}|-{20}|\{['\"]|Set the environment variable HYDRA_FULL_ERROR|srun: |slurmstepd: "
)
_BOX_END = re.compile(r"^[╰+└]")


class Frame(NamedTuple):
    """A call on the way to where it was raised."""

    file: str
    line: int
    function: str


class Raised:
    """An exception as a log shows it."""

    def __init__(self, line: Line, kind: str, message: str, frames: list[Frame], header: int) -> None:
        self.kind = kind
        """Its class, with the module where that was printed."""
        self.message = message
        self.more: list[str] = []
        """Lines of the message after the first."""
        self.frames = frames
        """Outermost first."""
        self.number = line.number
        """Line that names it."""
        self.header = header
        """Line its traceback begins with; its own where there is none."""
        self.rank = line.rank
        self.writer = line.writer
        self.before: Raised | None = None
        """What it was raised from, or while that was handled."""
        self.is_noticed_only = False
        """It was caught by the interpreter: at exit, in a destructor, in a thread."""
        self.said_before = ""
        """The line before its traceback."""
        self.is_cut = False
        """The log ends with its calls: what was raised is not known."""

    @property
    def text(self) -> str:
        """Class and message."""
        return "\n".join([f"{self.kind}: {self.message}" if self.message else self.kind, *self.more])

    @property
    def calls(self) -> str:
        """Files and functions, a call a line; with slashes, on Windows too."""
        return "\n".join(f"{frame.file} {frame.function}".replace("\\", "/") for frame in self.frames)

    def chain(self) -> Iterator[Raised]:
        """Itself and what came before it, the newest first."""
        one: Raised | None = self
        while one is not None:
            yield one
            one = one.before


class _Writer:
    """What one writer has begun."""

    def __init__(self) -> None:
        self.open = 0
        """Tracebacks whose exception is still to come; more than one where ranks without prefix interleave."""
        self.header = 0
        self.frames: list[Frame] = []
        self.lines = 0
        self.idle = 0
        self.last: Raised | None = None
        """Whose message may go on."""
        self.newest: Raised | None = None
        self.is_chained = False
        """What comes is raised from the newest, or while that was handled."""
        self.is_noticed_only = False
        self.in_box = False
        self.boxed = ""
        """A call that a box is too narrow for: the next line goes on with it."""
        self.is_headless = False
        self.kind = ""
        """What was raised, where that was told before the calls."""
        self.margin = ""
        """What the whole of a traceback is indented by."""
        self.source = ""
        """The newest line of source that was shown."""
        self.newest_line: Line | None = None
        self.debugged: Raised | None = None
        """What a debugger shows, whose calls are still to come."""
        self.said = ""
        self.said_before = ""


def read_tracebacks(lines: Iterable[Line]) -> Iterator[Raised | Line]:
    """What was raised, when it is whole, and every line that is no part of a traceback's calls, in the log's order."""
    writers: dict[str, _Writer] = {}
    for line in lines:
        for part in _unfolded(line):
            yield from _take(writers.setdefault(part.writer, _Writer()), part)
    for writer in writers.values():
        if cut := _cut_off(writer):
            yield cut


def _unfolded(line: Line) -> Iterator[Line]:
    r"""Lines of a traceback that was printed in one, with ``\n`` between, or with nothing where it was pasted so."""
    before, header, after = line.text.partition(HEADER)
    _, *calls = _FLAT_CALL.split(after) if header else [""]
    if calls and "\\n" not in after:
        calls[-1], *end = _FLAT_END.split(calls[-1], maxsplit=1)
        flat = [_FLAT_SOURCE.sub(r"\g<function>\n    ", call, count=1) for call in calls]
        for text in "\n".join([before + header, *flat, *end]).split("\n"):
            yield line._replace(text=text)
        return
    if not header or "\\n" not in line.text:
        yield line
        return
    for text in line.text.replace('\\"', '"').split("\\n"):
        yield line._replace(text=text.rstrip("'\"}, "))


def _take(writer: _Writer, line: Line) -> Iterator[Raised | Line]:
    text = line.text
    if HEADER in text or (writer.in_box and "Traceback" in text):
        _begin(writer, line)
        return
    if writer.debugged is not None and _is_of_debugged(writer.debugged, text):
        return
    writer.debugged = None
    if found := _DEBUGGED.match(text):
        writer.debugged = writer.newest = Raised(line, found["type"], "", [], line.number)
        yield writer.debugged
        return
    if not writer.open and (_HEADLESS.match(text) or _BOXED_CALL.match(text)):
        _begin(writer, line)
        writer.is_headless, writer.in_box = True, bool(_BOXED_CALL.match(text))
        writer.margin = text[: max(len(text) - len(text.lstrip()) - 2, 0)]
    if writer.open:
        writer.lines += 1
        writer.newest_line = line
        text = _boxed(writer, text) if writer.in_box else text
        if found := _FRAME.match(text):
            writer.idle = 0
            writer.frames.append(_frame(found))
            return
        if writer.in_box and not _BOX_END.match(text) and text[:1] in "│|╭":
            return
        if raised := _exception(writer, line):
            yield raised
            return
        if text[:1].isspace() or text[:1] in "-│|╰":  # the calls' source, or its marks
            writer.source = text.strip() if text.strip("~^ ") else writer.source  # not the marks below it
            return
        writer.idle += 1
        writer.source = ""
        if writer.lines > PATIENCE or writer.idle > (1 if writer.is_headless else IDLE):
            writer.open = 0
        yield line
        return
    if text.startswith(_CHAINED) or any(mark in text for mark in _CHAINED):
        writer.is_chained = True
        return
    if _goes_on(writer, text):
        assert writer.last is not None
        writer.last.more.append(text)
        writer.said = text or writer.said
        yield line._replace(is_of_message=True)
        return
    writer.last = writer.last if not text and writer.last and not writer.last.more[5:] else None
    if text:
        writer.is_noticed_only = text.startswith(_NOT_FATAL)
        writer.said = text
    if (lone := _lone(text)) is not None:
        raised = Raised(line, *lone, [], line.number)
        if writer.is_chained:
            raised.before, writer.is_chained = writer.newest, False
        writer.last = writer.newest = raised
        yield raised
        return
    yield line


def _is_of_debugged(raised: Raised, text: str) -> bool:
    """Takes the message, or a call, of what a debugger shows; whether the line was one of them."""
    if found := _FRAME.match(text):
        raised.frames.insert(0, _frame(found))
    elif not raised.frames and raised.message:
        raised.more.append(text)
    elif not raised.frames:
        raised.message = text
    return not raised.frames or bool(found) or text[:1].isspace()


def _boxed(writer: _Writer, text: str) -> str:
    """A line of a box, with what the line before began of a call."""
    if writer.boxed:
        text = writer.boxed + (" " if writer.boxed.endswith(" in") else "") + text.strip("│| ")
    is_begun = not writer.boxed and _BOXED_PATH.match(text) and not _FRAME.match(text)
    writer.boxed = text.rstrip("│| ") if is_begun else ""
    return text


def _begin(writer: _Writer, line: Line) -> None:
    before = line.text.split(HEADER)[0]
    if (
        writer.is_headless or _lone(before.strip()) is not None
    ):  # the latter in a message, as old DataLoaders pass it on
        writer.open, writer.is_headless = 0, False
    if writer.open and not writer.frames:
        writer.open += 1
        return
    if writer.open and writer.lines < PATIENCE and writer.frames and writer.header != line.number:
        writer.open += 1  # of another rank that writes here too
        return
    writer.open, writer.header, writer.frames, writer.lines, writer.idle = 1, line.number, [], 0, 0
    writer.margin, writer.source = before if before.isspace() else "", ""
    writer.kind = told[1] if (told := _NOTEBOOK_KIND.search(before)) else ""
    writer.in_box = "─" in before or "--" in before[:4]
    writer.said_before = before.strip(" ─╭+|") or writer.said
    if before.strip().startswith(_NOT_FATAL):
        writer.is_noticed_only = True
    if "Original" in before:
        writer.is_chained = True


def _frame(found: re.Match[str]) -> Frame:
    parts = found.groupdict()
    suffix = next(suffix for suffix in ("", "2", "3", "4") if parts[f"file{suffix}"])
    return Frame(parts[f"file{suffix}"], int(parts.get(f"line{suffix}") or 0), parts[f"function{suffix}"] or "")


def _exception(writer: _Writer, line: Line) -> Raised | None:
    """The exception a traceback ends with, if this line names it."""
    text = line.text.lstrip("╰─╯ ") if writer.in_box else line.text.removeprefix(writer.margin)
    found = _EXCEPTION.match(text)
    if found is None or not (writer.frames or _EXCEPTION_NAME.search(found["type"])):
        return None
    if not (_EXCEPTION_NAME.search(found["type"]) or _CLASS.search(found["type"])) or "%|" in text:
        return None
    message = _whole(found["type"], found["message"] or "", writer.source)
    raised = Raised(line, found["type"], message, writer.frames, writer.header)
    raised.is_noticed_only, raised.said_before = writer.is_noticed_only, writer.said_before
    if writer.is_chained:
        raised.before = writer.newest
    writer.open -= 1
    if not writer.open:
        writer.is_chained = writer.is_noticed_only = writer.in_box = writer.is_headless = False
    writer.last = writer.newest = raised
    return raised


def _whole(kind: str, message: str, source: str) -> str:
    """The message, or what the source that raised it tells: one that goes on where the log was cut, or an assertion."""
    if not message and kind == "AssertionError" and source.startswith("assert "):
        return source
    found = _RAISE.search(source)
    is_same = found is not None and kind.endswith(found["type"]) and found["message"].startswith(message)
    return found["message"] if found and is_same else message


def _cut_off(writer: _Writer) -> Raised | None:
    """What a traceback that the log ends in would have ended with, as far as its source tells."""
    line = writer.newest_line
    if not writer.open or not writer.frames or line is None or (writer.is_headless and writer.idle):
        return None
    found = _RAISE.search(writer.source)
    kind, message = (found["type"], found["message"]) if found else (writer.kind, "")
    if not kind and writer.source.startswith("assert "):
        kind, message = "AssertionError", writer.source
    if not kind:
        kind, message = "Traceback", "cut off before its exception"
    raised = Raised(line, kind, message, writer.frames, writer.header)
    raised.is_noticed_only, raised.said_before = writer.is_noticed_only, writer.said_before
    raised.is_cut = kind == "Traceback"
    return raised


def _lone(text: str) -> tuple[str, str] | None:
    """(class, message) of a line that names an exception without a traceback."""
    found = _EXCEPTION.match(text)
    if found is None or not _EXCEPTION_NAME.search(found["type"]) or found["type"].endswith("Warning"):
        return None
    return found["type"], found["message"] or ""


def _goes_on(writer: _Writer, text: str) -> bool:
    """Whether a line belongs to the message of the exception before."""
    last = writer.last
    if last is None or len(last.more) >= MESSAGE or text.startswith(_NOT_FATAL):
        return False
    return not _ENDS_MESSAGE.match(text) and not _lone(text)
