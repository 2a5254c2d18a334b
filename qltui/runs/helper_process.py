"""A helper process of the engine's that answers a JSON object a line: started, asked, listened to, ended.

Nothing here blocks the caller's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from engine.config.inspection import LONGEST_LINE
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECONDS_TO_END = 2.0
LINES_KEPT = 20
"""Of what the helper wrote to stderr."""


class Unanswered(Exception):
    """There is no answer; the message is one line for people."""


class HelperEnded(Unanswered):
    """The helper process could not be started, or died over it; another one may be started."""


class Answer(Protocol):
    """What a helper says."""

    @property
    def id(self) -> int | None:
        """Of what was asked; None where nobody did."""


Said = TypeVar("Said", bound=Answer)


class HelperProcess(Generic[Said]):
    """One helper process. To be used by one event loop."""

    def __init__(self, process: asyncio.subprocess.Process, decode: Callable[[bytes], Said], name: str) -> None:
        """``decode`` raises msgspec.MsgspecError where a line is no answer; ``name`` is the process's, for people."""
        self._process = process
        self._decode = decode
        self._name = name
        self._waiting: dict[int | None, asyncio.Queue[Said | HelperEnded]] = {None: asyncio.Queue()}
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        self._is_ending = False
        self.has_ended = False
        self._life = asyncio.create_task(self._live())

    @property
    def unasked(self) -> asyncio.Queue[Said | HelperEnded]:
        """What it says that is no answer."""
        return self._waiting[None]

    async def send(self, request: Any, line: bytes) -> asyncio.Queue[Said | HelperEnded]:
        """Ask; gives where the answers to ``request.id`` will be, until :meth:`forget`."""
        answers: asyncio.Queue[Said | HelperEnded] = asyncio.Queue()
        if self.has_ended:
            answers.put_nowait(HelperEnded(self._epitaph()))
            return answers
        self._waiting[request.id] = answers
        await self.tell(line)
        return answers

    async def tell(self, line: bytes) -> None:
        """Send what has no answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it has died: who waits is told when its last words are read
            self._process.stdin.write(line)
            await self._process.stdin.drain()

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
                answer = self._decode(line)
                answers = self._waiting.get(answer.id)
                if answers is not None:
                    answers.put_nowait(answer)
        except (msgspec.MsgspecError, ValueError) as error:  # no answer, or none of a length that was agreed on
            self._said.append(f"its answer cannot be read: {error}")
            self._kill()

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
            return f"{self._name} was ended."
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
        said = next((line for line in reversed(self._said) if line), "")
        return f"{self._name} {how}{f': {said}' if said else ''}"


async def start(
    module: str,
    arguments: Sequence[str],
    decode: Callable[[bytes], Said],
    name: str,
    environment: Mapping[str, str] | None = None,
) -> HelperProcess[Said]:
    """Start ``python -m module arguments``, with more in its ``environment`` than we have, and listen to it.

    Raises:
        HelperEnded: it could not be started.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", module, *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE, env={**os.environ, **(environment or {}), "PYTHONSAFEPATH": "1"},
            start_new_session=True,  # Ctrl-C is for whoever asks; the helper ends when its stdin closes
        )  # fmt: skip
    except OSError as error:
        raise HelperEnded(f"{name} can't be started: {error.strerror}.") from None
    return HelperProcess(process, decode, name)
