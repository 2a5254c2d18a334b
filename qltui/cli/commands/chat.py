"""``chat``: talk to the model that a run made, in the app, or with one question from a shell."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from engine.config.conversation import Piece, Turn
from qltui.cli import exits, output
from qltui.cli.selecting import find_run
from qltui.runs import conversation
from qltui.runs.conversation import Settings
from qltui.runs.helper_process import Unanswered
from qltui.runs.sanitise import clean_lines

if TYPE_CHECKING:
    import argparse

    from engine.config.conversation import Said
    from engine.events import RunDirectory
    from qltui.runs.conversation import Conversation

WHO = {True: "tuned", False: "base"}


def run_chat(arguments: argparse.Namespace) -> int:
    """Open the app on a conversation, or print the answer to ``--prompt``."""
    run = find_run(arguments.run)
    settings = Settings(
        max_new_tokens=arguments.max_new_tokens, temperature=arguments.temperature, seed=arguments.seed
    )  # fmt: skip
    if arguments.prompt is None:
        return _talk(run, arguments, settings)
    prompt = sys.stdin.read() if arguments.prompt == "-" else arguments.prompt
    if not prompt.strip():
        raise exits.Refused("--prompt is empty: there is nothing to answer.")
    sides = [True, False] if arguments.both else [not arguments.base]
    try:
        told = asyncio.run(_ask(run, arguments.step, prompt, sides, settings, shown=not arguments.json))
    except Unanswered as error:
        raise exits.Refused(str(error)) from None
    if arguments.json:
        output.print_json(told)
    return exits.FINE


def _talk(run: RunDirectory, arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise exits.Refused("There is no terminal to talk in: ask with --prompt TEXT, or --prompt - to read it.")
    from qltui.ui import terminal
    from qltui.ui.app import QltuiApp
    from qltui.ui.screens.chat import Chat

    terminal.prepare()
    QltuiApp(lambda: Chat(run.path, arguments.step, settings, both=arguments.both)).run()
    return exits.FINE


async def _ask(
    run: RunDirectory, step: int | None, prompt: str, sides: list[bool], settings: Settings, *, shown: bool
) -> dict[str, Any]:
    """The answer of each side, printed as it comes if ``shown``."""
    print("Loading the model ...", file=sys.stderr, flush=True)
    talk = await conversation.begin(run, step)
    try:
        if not talk.loaded.has_base and False in sides:
            raise Unanswered("The whole model was trained: it has no adapter that could be left aside.")
        if talk.spares_gpus:
            print(f"{conversation.SPARED}; CUDA_VISIBLE_DEVICES chooses others.", file=sys.stderr)
        answers = []
        for tuned in sides:
            if shown and len(sides) > 1:
                print(f"{WHO[tuned]}:")
            answers.append(await _one(talk, prompt, tuned, settings, shown=shown))
        return {"model": msgspec.to_builtins(talk.loaded), "prompt": prompt, "answers": answers}
    finally:
        await talk.close()


async def _one(talk: Conversation, prompt: str, tuned: bool, settings: Settings, *, shown: bool) -> dict[str, Any]:
    text, said = "", None
    async for part in talk.answer([Turn("user", prompt)], tuned=tuned, settings=settings):
        if isinstance(part, Piece):
            text += part.text
            if shown:
                print(clean_lines(part.text), end="", flush=True)
        else:
            said = part
    assert said is not None
    if shown:
        print()
        print(_pace(said), file=sys.stderr)
    return {"tuned": tuned, "text": text, "tokens": said.tokens, "seconds": said.seconds, "reason": said.reason}


def _pace(said: Said) -> str:
    """How long it took, and why it ended where it did."""
    why = {"end": "", "length": ", cut at --max-new-tokens", "stopped": ", stopped"}[said.reason]
    return f"[{said.tokens} tokens, {said.tokens / max(said.seconds, 1e-9):.1f} a second{why}]"
