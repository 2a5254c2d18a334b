"""A helper process that shows data as a model will see it: ``python -m engine.inspect``.

Requests come as lines on stdin, answers go as lines to stdout (``engine.config.inspection``), until stdin closes. A
newer request takes the place of an older one of its kind; lengths, which take seconds, give way to previews.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config.inspection import (
    LengthsRequest,
    Ping,
    Pong,
    PreviewRequest,
    Refusal,
    Superseded,
    as_line,
    id_of,
    request_from,
)
from engine.errors import BadInput, first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from engine.config.inspection import Answer, Request
    from engine.preview import Inspector


def main() -> None:
    """Answer until stdin closes."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not get among the answers
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, inbox), daemon=True).start()
    with _without_torch():
        from engine.preview import Inspector
        from engine.quiet import quiet_transformers

        quiet_transformers()
    Desk(Inspector(), inbox, lambda answer: _write(answers, answer)).work()


def _read(requests: BinaryIO, inbox: queue.SimpleQueue[bytes]) -> None:
    for line in requests:
        inbox.put(line)
    os._exit(0)  # whoever asked is gone, whatever is being done for them


def _write(answers: Any, answer: Answer) -> None:
    line = memoryview(as_line(answer))
    try:
        while line:
            line = line[answers.write(line) :]
    except BrokenPipeError:
        os._exit(0)


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
    """Lets Transformers find that torch is not installed, which it then keeps to.

    Tokenizers do without it, and importing it would take twice the time and four times the memory of all the rest.
    """
    os.environ["USE_TORCH"] = "0"  # so that ``datasets`` does without it too
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"  # Transformers warns where there is no torch
    sys.modules["torch"] = None  # type: ignore[assignment]  # "not there", in the import system's words
    try:
        yield
    finally:
        del sys.modules["torch"]  # Python code that comes with a tokenizer may want it


class Desk:
    """Takes requests, the newest of a kind, and answers them one after the other."""

    def __init__(self, inspector: Inspector, inbox: queue.SimpleQueue[bytes], say: Callable[[Answer], None]) -> None:
        self._inspector = inspector
        self._inbox = inbox
        self._say = say
        self._preview: PreviewRequest | None = None
        self._lengths: LengthsRequest | None = None
        self._steps: Iterator[Answer | None] = iter(())
        """Of measuring lengths."""

    def work(self) -> None:
        """Never returns."""
        while True:
            if self._preview is None and self._lengths is None:
                self._take(self._inbox.get())
            while not self._inbox.empty():
                self._take(self._inbox.get())
            if self._preview is not None:
                self._show(self._preview)
            elif self._lengths is not None:
                self._measure_on(self._lengths)

    def _take(self, line: bytes) -> None:
        try:
            request = request_from(line)
        except msgspec.MsgspecError as error:
            self._say(Refusal(id_of(line), f"This is no request: {first_line(error)}."))
            return
        if isinstance(request, Ping):
            self._say(Pong(request.id))
            return
        self._accept(request)

    def _accept(self, request: Request) -> None:
        older: Request | None = None
        if isinstance(request, PreviewRequest):
            older, self._preview = self._preview, request
        elif isinstance(request, LengthsRequest):
            older, self._lengths = self._lengths, request
            self._steps = self._inspector.lengths(request)
        if older is not None:
            self._say(Superseded(older.id))

    def _show(self, request: PreviewRequest) -> None:
        self._preview = None
        try:
            answer: Answer = self._inspector.preview(request)
        except Exception as error:
            answer = _refusal(request.id, error)
        self._say(answer)

    def _measure_on(self, request: LengthsRequest) -> None:
        """A step further."""
        try:
            answer = next(self._steps)
        except StopIteration:
            self._lengths = None
        except Exception as error:
            self._lengths = None
            self._say(_refusal(request.id, error))
        else:
            if answer is not None:
                self._say(answer)


def _refusal(number: int, error: Exception) -> Refusal:
    if isinstance(error, BadInput):
        return Refusal(number, " ".join(str(error).split()))
    traceback.print_exception(error)  # to stderr, for who looks into it
    return Refusal(number, f"This cannot be shown: {type(error).__name__}: {first_line(error)}.")


if __name__ == "__main__":
    main()
