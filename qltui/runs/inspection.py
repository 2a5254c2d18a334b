"""Data as a model will see it, asked of the engine's helper process: started when first needed, kept alive, replaced.

Nothing here blocks the caller's loop. What is answered is text that others wrote: show it by way of ``sanitise``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import TYPE_CHECKING

from engine.config.inspection import (
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
from qltui.runs.helper_process import HelperProcess, Unanswered, start
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from engine.config import RunConfig

NAME = "The process that reads data"


class InspectionRefused(Unanswered):
    """The data or the tokenizer cannot be used."""


class Overtaken(Unanswered):
    """A newer request of the same kind took this one's place: its answer is the one to show."""


class Inspection:
    """The helper process and what is asked of it. To be used by one event loop, and closed."""

    def __init__(self) -> None:
        self._helper: HelperProcess[Answer] | None = None
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
                self._helper = await start("engine.inspect", [], answer_from, NAME)
            helper = self._helper
        answers = await helper.send(request, as_line(request))
        try:
            while True:
                answer = await answers.get()
                if isinstance(answer, Refusal):
                    raise InspectionRefused(clean(answer.message))
                if isinstance(answer, Superseded):
                    raise Overtaken("A newer request took the place of this one.")
                if isinstance(answer, Unanswered):
                    raise answer
                yield answer
                if not isinstance(answer, LengthsProgress):
                    return
        finally:
            helper.forget(request.id)
