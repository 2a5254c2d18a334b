"""A conversation with the model that a run made, by way of the engine's helper process.

What is answered is text that others wrote: show it by way of ``sanitise``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config.conversation import Answer, Loaded, Piece, Refusal, Said, Say, Stop, Turn, answer_from
from qltui.facts.gpus import visible_gpus
from qltui.runs import helper_process
from qltui.runs.helper_process import HelperEnded, HelperProcess, Unanswered
from qltui.runs.leases import live_runs
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from engine.events import RunDirectory

NAME = "The process that talks"
VISIBLE = "CUDA_VISIBLE_DEVICES"
SPARED = "GPUs are left to the runs on them"
"""Said where a conversation keeps off GPUs."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How answers are written."""

    max_new_tokens: int = 512
    temperature: float = 0.0
    """0 takes the likeliest token each time."""
    seed: int = 0


class Conversation:
    """A loaded model that answers. To be used by one event loop, and closed."""

    def __init__(self, helper: HelperProcess[Answer], loaded: Loaded, *, spares_gpus: bool) -> None:
        self._helper = helper
        self.loaded = loaded
        self.spares_gpus = spares_gpus
        """GPUs were left alone because runs train on them."""
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
    free = await asyncio.to_thread(_free_gpus)
    environment = {} if free is None else {VISIBLE: ",".join(free)}
    helper = await helper_process.start("engine.chat", arguments, answer_from, NAME, environment)
    try:
        first = await helper.unasked.get()
    except BaseException:  # whoever asked does not wait any longer
        with contextlib.suppress(Exception):
            await helper.end()
        raise
    if isinstance(first, Loaded):
        return Conversation(helper, first, spares_gpus=free is not None)
    await helper.end()
    if isinstance(first, Refusal):
        raise Unanswered(clean(first.message))
    assert isinstance(first, HelperEnded), first
    raise first


def _free_gpus() -> list[str] | None:
    """Those to talk on, as :func:`free_of` tells; what the user chose for this process stands."""
    if VISIBLE in os.environ:
        return None
    return free_of([gpu.uuid for gpu in visible_gpus()], live_runs())


def free_of(there: Sequence[str], live: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The GPUs (UUIDs) that no live run has; None where none of them is taken.

    A model that is loaded beside a run in training may take the memory of its next step.
    """
    taken = {gpu for run in live for gpu in run["gpus"]}
    return [gpu for gpu in there if gpu not in taken] if taken.intersection(there) else None


def _line(request: Say | Stop) -> bytes:
    return msgspec.json.encode(request) + b"\n"
