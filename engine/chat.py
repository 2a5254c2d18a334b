"""A helper process that talks as the model a run made: ``python -m engine.chat RUN_FOLDER [--step N]``.

Requests come as lines on stdin, answers go as lines to stdout (``engine.config.conversation``), until stdin closes.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import msgspec

from engine.config.conversation import Loaded, Refusal, Say, Stop, request_from
from engine.config.inspection import id_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from engine.config import DataFormat
    from engine.config.conversation import Answer
    from engine.events import RunDirectory
    from engine.speaker import Speaker


def main() -> None:
    """Load, then answer until stdin closes."""
    parser = argparse.ArgumentParser(prog="engine.chat", description="Talk as the model that a run made.")
    parser.add_argument("run")
    parser.add_argument("--step", type=int, help="take the checkpoint of this step")
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not get among the answers
    inbox = Inbox()
    threading.Thread(target=inbox.read, args=(sys.stdin.buffer,), daemon=True).start()

    def say(answer: Answer) -> None:
        try:
            answers.write(msgspec.json.encode(answer) + b"\n")
        except BrokenPipeError:
            os._exit(0)

    started = time.monotonic()
    try:
        speaker, loaded = _load(arguments.run, arguments.step)
    except Exception as error:
        say(_refusal(None, error))
        sys.exit(1)
    say(msgspec.structs.replace(loaded, seconds=time.monotonic() - started))
    answer_all(speaker, inbox, say)


def _load(folder: str, step: int | None) -> tuple[Speaker, Loaded]:
    """What to talk to; imported here, since it takes seconds in which requests may come."""
    import engine.quiet
    from engine.config.reading import read_file
    from engine.events import RunDirectory
    from engine.speaker import Speaker
    from engine.tuned_model import load_tuned

    engine.quiet.quiet_transformers()
    run = RunDirectory(folder)
    config = read_file(run.run_yaml)
    tuned = load_tuned(run, config, step)
    speaker = Speaker(tuned, format_of(run, config.data.format))
    loaded = Loaded(
        model=config.model.path,
        learnt=os.path.relpath(tuned.learnt, run.path),
        device=str(tuned.model.device),
        dtype=str(tuned.dtype).removeprefix("torch."),
        style=speaker.template.description,
        remembers=speaker.template.is_chat,
        has_base=tuned.has_base,
        seconds=0.0,
    )
    return speaker, loaded


def _refusal(number: int | None, error: Exception) -> Refusal:
    from engine.config import ConfigError
    from engine.errors import BadInput, first_line

    if isinstance(error, BadInput | ConfigError):
        return Refusal(number, " ".join(str(error).split()))
    traceback.print_exception(error)  # to stderr, for who looks into it
    return Refusal(number, f"This cannot be answered: {type(error).__name__}: {first_line(error)}.")


def format_of(run: RunDirectory, wanted: DataFormat) -> DataFormat:
    """The format of the rows it was trained on: as configured, or as the engine found it and said so."""
    from engine.config import DataFormat
    from engine.events import EventReader

    if wanted is not DataFormat.AUTO:
        return wanted
    for attempt in reversed(run.attempts()):
        reader = EventReader(attempt.events(0))
        while events := reader.read():
            found = next((event.get("format") for event in events if event.get("kind") == "data"), None)
            if found in {one.value for one in DataFormat}:
                return DataFormat(found)
    return DataFormat.MESSAGES


class Inbox:
    """Requests as they come: what is to be said, one after the other, and which of it is to stop."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Say | Refusal] = queue.SimpleQueue()
        self.stopped: set[int] = set()

    def read(self, requests: BinaryIO) -> None:
        """Read until it closes; then whoever asked is gone, whatever is being said."""
        for line in requests:
            try:
                request = request_from(line)
            except msgspec.MsgspecError as error:
                self.waiting.put(Refusal(id_of(line), f"This is no request: {error}."))
                continue
            if isinstance(request, Stop):
                self.stopped.add(request.id)
            else:
                self.waiting.put(request)
        os._exit(0)


def answer_all(speaker: Speaker, inbox: Inbox, say: Callable[[Answer], None]) -> None:
    """Never returns."""
    while True:
        request = inbox.waiting.get()
        if isinstance(request, Refusal):
            say(request)
            continue
        try:
            speaker.answer(request, lambda number=request.id: number in inbox.stopped, say)  # type: ignore[misc]
        except Exception as error:
            say(_refusal(request.id, error))


if __name__ == "__main__":
    main()
