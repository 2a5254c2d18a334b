"""Data as a model will see it, asked of the engine's helper process: started when first needed, kept alive, replaced.

Nothing here blocks the caller's loop. What is answered is text that others wrote: show it by way of ``sanitise``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from engine.config.inspection import (
    LONGEST_LINE,
    Answer,
    Lengths,
    LengthsProgress,
    LengthsRequest,
    Ping,
    Preview,
    PreviewRequest,
    Refusal,
    Request,
    Superseded,
    answer_from,
    as_line,
)
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from engine.config import RunConfig

SECONDS_TO_END = 2.0
LINES_KEPT = 20
"""Of what the helper wrote to stderr."""


class Unanswered(Exception):
    """There is no answer; the message is one line for people."""


class InspectionRefused(Unanswered):
    """The data or the tokenizer cannot be used."""


class Overtaken(Unanswered):
    """A newer request of the same kind took this one's place: its answer is the one to show."""


class HelperEnded(Unanswered):
    """The helper process could not be started, or died over it; the next request starts another."""


class Inspection:
    """The helper process and what is asked of it. To be used by one event loop, and closed."""

    def __init__(self) -> None:
        self._helper: _Helper | None = None
        self._starting = asyncio.Lock()
        self._numbers = itertools.count(1)

    async def start(self) -> None:
        """Have the helper ready before it is needed; it takes seconds to start.

        Raises:
            HelperEnded: it could not be started.
        """
        async with contextlib.aclosing(self._ask(Ping(next(self._numbers)))) as answers:
            await anext(answers)

    async def preview(self, config: RunConfig, *, rows: int = 5, characters: int = 4000) -> Preview:
        """The first rows of ``data.path``, of each at most so many characters.

        Raises:
            Unanswered: it says why.
        """
        request = PreviewRequest(id=next(self._numbers), config=config, rows=rows, characters=characters)
        async with contextlib.aclosing(self._ask(request)) as answers:
            answer = await anext(answers)
        assert isinstance(answer, Preview), answer
        return answer

    async def lengths(
        self, config: RunConfig, *, rows: int = 2000, seconds: float = 5.0, bins: int = 20
    ) -> AsyncGenerator[LengthsProgress | Lengths, None]:
        """How long up to so many rows from all over ``data.path`` are: progress, and the answer at last.

        Raises:
            Unanswered: it says why.
        """
        request = LengthsRequest(id=next(self._numbers), config=config, rows=rows, seconds=seconds, bins=bins)
        async with contextlib.aclosing(self._ask(request)) as answers:
            async for answer in answers:
                assert isinstance(answer, (LengthsProgress, Lengths)), answer
                yield answer

    async def close(self) -> None:
        """End the helper; who still waits for an answer is told so."""
        helper, self._helper = self._helper, None
        if helper is not None:
            await helper.end()

    async def _ask(self, request: Request) -> AsyncGenerator[Answer, None]:
        """The answers to a request, the last of which is not progress."""
        async with self._starting:  # requests that come together share one helper
            if self._helper is None or self._helper.has_ended:
                self._helper = await _start()
            helper = self._helper
        answers = await helper.send(request)
        try:
            while True:
                answer = await answers.get()
                if isinstance(answer, Unanswered):
                    raise answer
                yield answer
                if not isinstance(answer, LengthsProgress):
                    return
        finally:
            helper.forget(request.id)


class _Helper:
    """One helper process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._waiting: dict[int, asyncio.Queue[Answer | Unanswered]] = {}
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._is_ending = False
        self.has_ended = False
        self._life = asyncio.create_task(self._live())

    async def send(self, request: Request) -> asyncio.Queue[Answer | Unanswered]:
        """Where the answers will be."""
        assert self._process.stdin is not None
        answers: asyncio.Queue[Answer | Unanswered] = asyncio.Queue()
        if self.has_ended:
            answers.put_nowait(HelperEnded(self._epitaph()))
            return answers
        self._waiting[request.id] = answers
        with contextlib.suppress(ConnectionError):  # it has died: who waits is told when its last words are read
            self._process.stdin.write(as_line(request))
            await self._process.stdin.drain()
        return answers

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    async def end(self) -> None:
        """Close its stdin, at which it ends; if not, kill it."""
        assert self._process.stdin is not None
        self._is_ending = True
        self._process.stdin.close()
        try:
            await asyncio.wait_for(asyncio.shield(self._life), SECONDS_TO_END)
        except TimeoutError:
            self._kill()
            await self._life

    async def _live(self) -> None:
        """Until the process has ended and all it said was read."""
        await asyncio.gather(self._hand_out(), self._listen())
        await self._process.wait()
        self.has_ended = True
        for answers in self._waiting.values():
            answers.put_nowait(HelperEnded(self._epitaph()))

    async def _hand_out(self) -> None:
        """Give every answer to who waits for it."""
        assert self._process.stdout is not None
        try:
            while line := await self._process.stdout.readline():
                self._hand_over(answer_from(line))
        except (msgspec.MsgspecError, ValueError) as error:  # no answer, or none of a length that was agreed on
            self._said.append(f"its answer cannot be read: {error}")
            self._kill()

    def _hand_over(self, answer: Answer) -> None:
        answers = self._waiting.get(answer.id) if answer.id is not None else None
        if isinstance(answer, Refusal):
            found: Answer | Unanswered = InspectionRefused(clean(answer.message))
        elif isinstance(answer, Superseded):
            found = Overtaken("A newer request took the place of this one.")
        else:
            found = answer
        if answers is not None:
            answers.put_nowait(found)

    async def _listen(self) -> None:
        """Keep the last lines it writes to stderr; one that is too long is as good as none."""
        assert self._process.stderr is not None
        while True:
            with contextlib.suppress(ValueError):
                line = await self._process.stderr.readline()
                if not line:
                    return
                self._said.append(clean(line.decode("utf-8", "replace").strip()))

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _epitaph(self) -> str:
        """How it ended, and what it said last."""
        code = self._process.returncode
        if self._is_ending:
            return "The process that reads data was ended."
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        said = next((line for line in reversed(self._said) if line), "")
        return f"The process that reads data {how}{f': {said}' if said else ''}"


async def _start() -> _Helper:
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "engine.inspect",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE, env={**os.environ, "PYTHONSAFEPATH": "1"},
            start_new_session=True,  # Ctrl-C is for whoever asks; the helper ends when its stdin closes
        )  # fmt: skip
    except OSError as error:
        raise HelperEnded(f"The process that reads data can't be started: {error.strerror}.") from None
    return _Helper(process)
