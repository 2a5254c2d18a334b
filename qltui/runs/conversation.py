"""A conversation with the model that a run made, by way of the engine's helper process.

What is answered is text that others wrote: show it by way of ``sanitise``.
"""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

import msgspec

from engine.config.conversation import Answer, Loaded, Piece, Refusal, Said, Say, Stop, Turn, answer_from
from qltui.runs import helper_process
from qltui.runs.helper_process import HelperEnded, HelperProcess, Unanswered
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from engine.events import RunDirectory

NAME = "The process that talks"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are written."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    seed: int = 0


class Conversation:
    """A loaded model that answers. To be used by one event loop, and closed."""

    def __init__(self, helper: HelperProcess[Answer], loaded: Loaded) -> None:
        self._helper = helper
        self.loaded = loaded
        self._numbers = itertools.count(1)
        self._said: int | None = None

    async def answer(
        self, turns: Sequence[Turn], *, tuned: bool = True, settings: Settings | None = None
    ) -> AsyncGenerator[Piece | Said, None]:
        """What the model says to the last of the turns, in pieces, and how it ended.

        Raises:
            Unanswered: it says why.
        """
        settings = settings or Settings()
        request = Say(id=next(self._numbers), turns=list(turns), tuned=tuned, **msgspec.structs.asdict(settings))
        answers = await self._helper.send(request, _line(request))
        self._said = request.id
        try:
            while True:
                answer = await answers.get()
                if isinstance(answer, HelperEnded):
                    raise answer
                if isinstance(answer, Refusal):
                    raise Unanswered(clean(answer.message))
                assert isinstance(answer, Piece | Said), answer
                yield answer
                if isinstance(answer, Said):
                    return
        finally:
            self._said = None
            self._helper.forget(request.id)
            if not self._helper.has_ended:
                await self._helper.tell(_line(Stop(request.id)))

    async def stop(self) -> None:
        """Have the answer that is being written end where it is."""
        if self._said is not None:
            await self._helper.tell(_line(Stop(self._said)))

    async def close(self) -> None:
        """End the process."""
        await self._helper.end()


async def begin(run: RunDirectory, step: int | None = None) -> Conversation:
    """Load the model of a run, of its newest state or of the checkpoint at ``step``; may take minutes.

    Raises:
        Unanswered: it says why there is none to talk to.
    """
    arguments = [str(run.path), *(["--step", str(step)] if step is not None else [])]
    helper = await helper_process.start("engine.chat", arguments, answer_from, NAME)
    try:
        first = await helper.unasked.get()
    except BaseException:  # whoever asked does not wait any longer
        with contextlib.suppress(Exception):
            await helper.end()
        raise
    if isinstance(first, Loaded):
        return Conversation(helper, first)
    await helper.end()
    if isinstance(first, Refusal):
        raise Unanswered(clean(first.message))
    assert isinstance(first, HelperEnded), first
    raise first


def _line(request: Say | Stop) -> bytes:
    return msgspec.json.encode(request) + b"\n"
