"""One foreign file to a reading: its text, its format, its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.config.reading import MAX_FILE_BYTES
from engine.config.run_config import ALIASES
from engine.config.schema import Problem
from qltui.configs.foreign.detect import detect
from qltui.configs.foreign.keys import Keys, Tree, Unreadable
from qltui.configs.foreign.reading import Format, Reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qltui.configs.foreign.command import Call
    from qltui.configs.foreign.keys import Entry

KNOWN = "Known are those of Accelerate, DeepSpeed, Axolotl, LLaMA-Factory, TRL and Trainer, commands, and run.yaml."
KNOWN_COMMANDS = "Known are accelerate launch, torchrun, deepspeed, trl, llamafactory-cli, axolotl and openrlhf.cli."

MAX_SCRIPT = 40_000
"""Characters: enough for any, and few enough for what a hostile one may cost."""
OF_OPENRLHF = ({"pretrain", "micro_train_batch_size"}, {"ds.zero_stage"}, {"train.micro_batch_size"})
"""Arguments by which OpenRLHF's programs are known where they are called as files."""
CONFIG_OPTIONS = ("config", "c", "config_path", "config_file")
"""Options by which programs are given a configuration file of theirs."""


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        Unreadable: it is missing, too big, binary, or not UTF-8.
    """
    try:
        if path.is_dir():
            raise Unreadable(0, "is a folder.")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable(0, "there is no such file.") from None
    except OSError as error:
        raise Unreadable(0, f"cannot be read ({error.strerror}).") from None
    if len(content) > MAX_FILE_BYTES:
        raise Unreadable(0, f"is too big for a configuration (over {MAX_FILE_BYTES // 1000} kB).", "Is it data?")
    if b"\0" in content[:4096]:
        raise Unreadable(0, "is a binary file, not a configuration.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "is not UTF-8 text.") from None


def read_file(path: Path) -> Reading:
    """What a file says; what is wrong with it is in its problems, nothing is raised."""
    reading = Reading(str(path), None)
    try:
        read_content(reading, read_text(path))
    except Unreadable as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        reading.problems.append(Problem(where, "", error.message, error.remedy))
    return reading


def read_content(reading: Reading, text: str) -> None:
    """Enter what a text says.

    Raises:
        Unreadable: it is none of the known formats.
    """
    if not text.strip():
        raise Unreadable(0, "is empty.")
    if _is_script(reading.path, text):
        _read_script(reading, text)
        return
    tree = _tree(reading.path, text)
    reading.problems += tree.problems
    reading.notes += tree.notes
    reading.loose += tree.loose
    reading.format, reading.evidence = detect(entry.key for entry in tree.entries)
    if reading.format is None:
        if not tree.entries:
            raise Unreadable(0, "has no keys.")
        found = ", ".join(dict.fromkeys(entry.key.split(".")[0] for entry in tree.entries[:200]).keys())
        raise Unreadable(0, f"is of no known format: it has {found[:80]}.", KNOWN)
    fill(reading, tree.entries)


def fill(reading: Reading, entries: Sequence[Entry], program: str = "") -> None:
    """Read entries in the reading's format."""
    from qltui.configs.foreign import launching, shared, training
    from qltui.configs.foreign.axolotl import axolotl

    keys = Keys(reading, list(entries))
    match reading.format:
        case Format.ACCELERATE:
            launching.accelerate(keys)
        case Format.DEEPSPEED:
            launching.deepspeed(keys)
        case Format.FSDP:
            shared.fsdp(keys, ("",), None)
        case Format.AXOLOTL:
            axolotl(keys)
        case Format.LLAMA_FACTORY:
            training.llama_factory(keys)
        case Format.LLAMA_FACTORY_V1:
            training.llama_factory_v1(keys)
        case Format.TRAINER:
            training.trainer(keys, program)
        case Format.OPENRLHF:
            from qltui.configs.foreign.openrlhf import openrlhf

            openrlhf(keys, program)
        case _:  # run.yaml is engine.config.reading's, but for its lines
            reading.lines.update({path: reading.lines[name] for name, path in ALIASES.items() if name in reading.lines})
            return
    keys.finish()


def _tree(path: str, text: str) -> Tree:
    if text.lstrip().startswith(("{%", "{{", "{#")):
        raise Unreadable(1, "is a template, not a configuration.", "Fill it in first.")
    if text.lstrip()[0] in "{[" or path.endswith((".json", ".hjson", ".jsonc")):
        return _json_tree(text, path)
    from qltui.configs.foreign.plain_yaml import read_plain

    entries = read_plain(text)
    if entries is not None:
        return Tree(entries)
    from qltui.configs.foreign.yaml_keys import read_yaml

    return read_yaml(text, path)


def _json_tree(text: str, path: str) -> Tree:
    """What begins with a brace: JSON, or in a file that says so YAML in one line."""
    from qltui.configs.foreign.json_keys import read_json

    if not path.endswith((".yaml", ".yml")):
        return read_json(text, path)
    from qltui.configs.foreign.yaml_keys import read_yaml

    try:
        tree = read_json(text, path)
    except Unreadable:
        return read_yaml(text, path)
    if not tree.loose:
        return tree
    try:
        return read_yaml(text, path)
    except Unreadable:
        return tree


def _is_script(path: str, text: str) -> bool:
    if path.endswith((".yaml", ".yml", ".json")):
        return False
    from qltui.configs.foreign.command import LAUNCHERS  # only here: it takes time to import

    return path.endswith((".sh", ".bash", ".slurm", ".sbatch")) or text.startswith("#!") or bool(LAUNCHERS.search(text))


def _read_script(reading: Reading, text: str) -> None:
    from qltui.configs.foreign.command import calls

    if len(text) > MAX_SCRIPT:
        raise Unreadable(0, f"is too big for a script that starts a training (over {MAX_SCRIPT // 1000} kB).")
    found = calls(text)
    if not found:
        raise Unreadable(0, "starts no training that is known.", KNOWN_COMMANDS)
    call = found[0]
    reading.format = Format.COMMAND
    reading.evidence = f"it runs {call.launcher} {call.program}".rstrip()
    if len(found) > 1:
        note = f"starts {len(found)} trainings; the first, in line {call.line}, was read."
        reading.notes.append(Problem(f"{reading.path}:{call.line}", "", note))
    _read_call(reading, call)


LAUNCH_OPTIONS = ("num_processes", "num_machines", "config_file", "accelerate_config", "mixed_precision")
"""Options that TRL and Axolotl hand on to Accelerate."""


def _read_call(reading: Reading, call: Call) -> None:
    """Enter what a command says: its program's arguments over its launcher's options."""
    options, arguments = _parted(call)
    reading.arguments = _format_of(call, arguments)
    for part in (_launched(reading.path, call, options), _trained(reading.path, call, arguments)):
        for name in part.values:
            reading.places.pop(name, None)
        reading.values.update(part.values)
        reading.places.update(part.places)
        reading.ignored += [f"--{key}" for key in part.ignored]
        reading.lines.update(part.lines)
        reading.problems += part.problems
        reading.notes += part.notes
        reading.references.update(part.references)
    if call.environment:
        reading.values["env"] = {**call.environment, **reading.values.get("env", {})}
    _refer_to_files(reading, call)


def _parted(call: Call) -> tuple[list[Entry], list[Entry]]:
    """Options of a call's launcher, and arguments of its program."""
    if call.launcher not in ("trl", "axolotl"):
        return call.launch, call.arguments
    options = [entry for entry in call.arguments if entry.key in LAUNCH_OPTIONS]
    return options, [entry for entry in call.arguments if entry.key not in LAUNCH_OPTIONS]


def _format_of(call: Call, arguments: Sequence[Entry]) -> Format:
    """Whose arguments a command's program takes."""
    if "axolotl" in (call.launcher, call.program.split(".")[0]):
        return Format.AXOLOTL
    keys = {entry.key for entry in arguments}
    if "openrlhf" in call.program or any(telling <= keys for telling in OF_OPENRLHF):
        return Format.OPENRLHF
    if call.launcher == "llamafactory-cli" or {"stage", "finetuning_type"} & keys:
        return Format.LLAMA_FACTORY
    return Format.TRAINER


def written(text: str, path: str) -> list[tuple[Format, list[Entry]]]:
    """The keys of a known file with their places; of a command its launcher's options, then its program's arguments.

    Raises:
        Unreadable: it is none of the known formats.
    """
    if _is_script(path, text):
        from qltui.configs.foreign.command import calls

        options, arguments = _parted(call := calls(text)[0])
        return [(Format.ACCELERATE, options), (_format_of(call, arguments), arguments)]
    entries = _tree(path, text).entries
    kind, _ = detect(entry.key for entry in entries)
    return [(kind, entries)] if kind else []


def _launched(path: str, call: Call, options: list[Entry]) -> Reading:
    """What a launcher's options say."""
    from qltui.configs.foreign import launching

    launch = Reading(path, Format.ACCELERATE)
    keys = Keys(launch, options)
    keys.refer("config_file", "accelerate_config")
    if call.launcher in ("torchrun", "deepspeed"):
        launching.torchrun(keys, call.launcher)
    elif options or call.launcher == "accelerate":
        launching.accelerate(keys, as_options=True)
    keys.finish()
    return launch


def _trained(path: str, call: Call, arguments: list[Entry]) -> Reading:
    """What a program's arguments say."""
    training = Reading(path, _format_of(call, arguments))
    fill(training, arguments, call.program)
    if call.positional or any(entry.key in CONFIG_OPTIONS for entry in arguments):
        for name in training.values.keys() - training.places.keys() - {"trainer"}:
            del training.values[name]  # a default of the tool, which the file it is given may overrule
    return training


def _refer_to_files(reading: Reading, call: Call) -> None:
    """Note the configuration files among the program's arguments."""
    for entry in call.arguments:
        is_file = isinstance(entry.value, str) and entry.value.endswith((".yaml", ".yml", ".json"))
        if is_file and entry.key in (*CONFIG_OPTIONS, "accelerate_config"):
            reading.references[entry.key] = entry.value
            if f"--{entry.key}" in reading.ignored:
                reading.ignored.remove(f"--{entry.key}")
    if call.positional and call.positional[0].text.endswith((".yaml", ".yml", ".json")):
        reading.references["its first argument"] = call.positional[0].text
