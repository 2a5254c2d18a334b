"""The command ``qltui``: finds the subcommand, imports its module, turns every way it can end into an exit code."""

from __future__ import annotations

import argparse
import gc
import os
import sys

import qltui
from qltui.cli import exits
from qltui.cli.table import COMMANDS, LOW_BANDWIDTH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


def run() -> NoReturn:
    """The program: runs its own command line and ends the process.

    Two things a command of a tenth of a second can do without: collecting the garbage of its imports, and taking the
    interpreter apart when all is said.
    """
    gc.set_threshold(50_000)
    code = main()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # said already, or nobody is left to hear it
            code = code or exits.NO
    os._exit(code)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line (default: the program's own) and give its exit code."""
    # A name or a log line that the terminal's encoding lacks is shown as '?', not answered with a traceback.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    arguments = _parse(sys.argv[1:] if words is None else list(words))
    try:
        code = _call(arguments)
        sys.stdout.flush()
    except exits.Refused as refusal:
        print(f"qltui: {refusal}", file=sys.stderr)
        return exits.NO
    except KeyboardInterrupt:
        return exits.INTERRUPTED
    except BrokenPipeError:
        _discard_output()  # whoever read it has seen enough: `qltui logs RUN | head`
        return exits.FINE
    except OSError as error:  # the machine's doing, not a flaw of ours: a full disk, a folder without permission
        _discard_output()
        print(f"qltui: {error.filename or 'the output cannot be written'}: {error.strerror}.", file=sys.stderr)
        return exits.NO
    return code


def _discard_output() -> None:
    """Keep Python from trying, and complaining, again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _HelpFormatter(argparse.HelpFormatter):
    """argparse's own asks ``shutil`` for the width: importing that costs more than all our parsing."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_width())


def _width() -> int:
    """Columns help may fill."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size().columns) - 2
    except (OSError, ValueError):
        return 78


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="qltui",
        description=f"{qltui.__doc__} Without a command it opens the app.",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"qltui {qltui.__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    known = [command.name for command in COMMANDS]
    names, options = LOW_BANDWIDTH
    said = [word for word in words if word not in names]
    named = said[0] if said and said[0] in known else None
    parser.add_argument(*names, dest="low_bandwidth_app", **options)
    for command in COMMANDS:
        if named not in (None, command.name):
            continue  # parsers take time to build, and only a list of commands has use for all
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=_sentence(command.help),
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
        )
        for flags, settings in command.arguments if named else ():
            subparser.add_argument(*flags, **settings)
    if said and named is None and not said[0].startswith("-"):
        parser.error(f"there is no command {said[0]!r}. {_nearest(said[0], known)}")
    return parser.parse_args(words)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _nearest(word: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(word, known, n=2)
    return f"Did you mean {' or '.join(close)}?" if close else f"There are: {', '.join(known)}."


def _call(arguments: argparse.Namespace) -> int:
    if arguments.low_bandwidth_app or getattr(arguments, "low_bandwidth", False):
        from qltui.ui.bandwidth import ENVIRONMENT

        os.environ[ENVIRONMENT] = "1"
    if arguments.command is None:
        return _open_app()
    from importlib import import_module

    command = next(command for command in COMMANDS if command.name == arguments.command)
    module = import_module(f"qltui.cli.commands.{command.module}")
    code: int = getattr(module, f"run_{command.name}")(arguments)
    return code


def _open_app() -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("qltui: the app needs a terminal; `qltui --help` lists commands that do not.", file=sys.stderr)
        return exits.USAGE
    from qltui.ui.app import run_app

    run_app()
    return exits.FINE
