"""Writes the demo's tuning data: a new kind of question about the harbour town, with a held-out part.

    python presets/demo/make_data.py

The two parts are kept apart by person: held-out rows ask about people whom no training row names, and whose voyages the
pre-training text never tells either.
"""

import argparse
import json
from pathlib import Path

from harbour import Exchange, Person, town, voyage_exchanges


def row(exchange: Exchange) -> str:
    """One chat as a line of JSON."""
    messages = [{"role": "user", "content": exchange.question}, {"role": "assistant", "content": exchange.answer}]
    return json.dumps({"messages": messages}) + "\n"


def rows(people: list[Person]) -> str:
    """The new kind of question about each person, in both wordings."""
    return "".join(row(exchange) for person in people for exchange in voyage_exchanges(person))


def main() -> None:
    """Reads the command line and writes both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    folder: Path = parser.parse_args().out

    folder.mkdir(parents=True, exist_ok=True)
    for name, people in zip(["train.jsonl", "heldout.jsonl"], town(), strict=True):
        (folder / name).write_text(rows(people), encoding="utf-8")


if __name__ == "__main__":
    main()
