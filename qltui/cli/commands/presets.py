"""``presets``: the run files that come with the program."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from engine.config.schema import ConfigError
from qltui.cli import exits, output
from qltui.configs import loading, presets
from qltui.runs.sanitise import clean

if TYPE_CHECKING:
    import argparse


def run_presets(arguments: argparse.Namespace) -> int:
    """List the presets, or print one."""
    if arguments.action is None:
        return _list(as_json=arguments.json)
    if arguments.name is None:
        print("qltui presets show: which one? `qltui presets` lists them.", file=sys.stderr)
        return exits.USAGE
    try:
        return _show(arguments.name, as_json=arguments.json)
    except ConfigError as error:
        output.print_problems(error.problems)
        return exits.NO


def _list(*, as_json: bool) -> int:
    found = presets.presets()
    if as_json:
        output.print_json(
            [
                {
                    "name": one.name, "description": one.description, "hardware": one.hardware or None,
                    "mine": one.is_mine, "path": str(one.path), "problem": one.problem or None,
                }
                for one in found
            ]
        )  # fmt: skip
        return exits.FINE
    width = max((len(one.name) for one in found), default=0)
    machines = max((len(one.hardware) for one in found), default=0)
    for one in found:
        if one.problem:
            print(clean(f"qltui: {one.problem}"), file=sys.stderr)
            continue
        whose = " (yours)" if one.is_mine else ""
        line = f"{one.name:{width}}  {one.hardware:{machines}}  {one.description}{whose}"
        print("\n".join(output.wrapped(clean(line))))
    return exits.FINE


def _show(name: str, *, as_json: bool) -> int:
    """The file as it is written, or as JSON the whole configuration, defaults and absolute paths included."""
    path = presets.path(name)
    if as_json:
        output.print_json({"name": name, "path": str(path), "config": loading.load(name).tree()})
    else:
        print(path.read_text("utf-8", "replace"), end="")
    return exits.FINE
