"""``note``: what people want to remember of a run."""

from __future__ import annotations

from qltui.cli import exits
from qltui.cli.selecting import find_run
from qltui.runs import notes
from qltui.runs.sanitise import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run_note(arguments: argparse.Namespace) -> int:
    """Write what is given, and print the note and the tags as they are then."""
    run = find_run(arguments.run)
    if arguments.text is None and not arguments.tag and not arguments.untag:
        found = notes.read(run)
    else:
        try:
            found = notes.annotate(run, arguments.text, arguments.tag, arguments.untag)
        except notes.BadNote as error:
            raise exits.Refused(str(error)) from None
    if found.is_damaged:
        print(f"{notes.notes_file(run)} is damaged: this is what can be read of it.")
    print(f"tags: {', '.join(found.tags) or '(none)'}")
    print("\n".join(map(clean, found.text.splitlines())) or "(no note)")
    return exits.FINE
