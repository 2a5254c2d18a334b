"""A command that starts a training: its launcher, its program, and the arguments of both."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from qltui.configs.foreign.json_keys import read_json
from qltui.configs.foreign.keys import Entry, Unreadable
from qltui.configs.foreign.shell import Word, commands

if TYPE_CHECKING:
    from qltui.configs.foreign.shell import Command

LAUNCHERS = re.compile(
    r"\b(accelerate\s+launch|torchrun|torch\.distributed\.(?:run|launch)|deepspeed\b.{0,300}\.py|trl\s+\w+|"
    r"llamafactory-cli|axolotl\s+\w+|axolotl\.cli|openrlhf\.cli\.train_\w+|python3?\s+\S+\.py)"
)
"""What a text must hold to be looked at as a script."""
TRL_METHODS = ("sft", "dpo", "kto", "grpo", "orpo", "cpo", "reward", "rloo", "ppo", "gkd", "bco", "online_dpo")
LAUNCH_FLAGS = frozenset({
    "multi_gpu", "cpu", "tpu", "mps", "quiet", "use_deepspeed", "use_fsdp", "use_parallelism_config",
    "use_megatron_lm", "same_network", "module", "no_python", "standalone", "use_env", "debug",
    "enable_cpu_affinity", "no_local_rank", "force_multi", "force",
})  # fmt: skip
"""Options of launchers that take no value, so that the word after them is the program."""
TELLING = frozenset({
    "model_name_or_path", "per_device_train_batch_size", "num_train_epochs", "learning_rate", "output_dir", "bf16",
    "fp16", "deepspeed", "fsdp", "gradient_accumulation_steps", "gradient_checkpointing", "finetuning_type",
    "lora_r", "use_peft", "dataset_name", "base_model",
})  # fmt: skip
"""Arguments by which a plain Python call is known to be a training."""
MODULES = ("axolotl.cli.train", "openrlhf.cli.train_")
"""What the names of modules begin with that do nothing else than train."""
NESTED = re.compile(r"^(?:ba|z|da)?sh$")


class Call(NamedTuple):
    """A training as a command line says it."""

    launcher: str
    """accelerate, torchrun, deepspeed, python, trl, llamafactory-cli or axolotl."""
    program: str
    """The script, module or subcommand it runs."""
    launch: list[Entry]
    """The launcher's own options."""
    arguments: list[Entry]
    """The program's arguments."""
    positional: list[Word]
    """Words right after the program: often its configuration file."""
    environment: dict[str, str]
    line: int


def calls(text: str) -> list[Call]:
    """Every training that a script starts."""
    return [call for command in commands(text) for call in _of(command, 0)]


def _of(command: Command, depth: int) -> list[Call]:
    words = command.words
    if NESTED.match(PurePosixPath(words[0].text).name) or any(word.text == "-c" for word in words[:-1]):
        for at, word in enumerate(words[:-1]):
            if word.text in ("-c", "-lc") and depth < 3:
                inner = commands(words[at + 1].text, words[at + 1].line, inside=True)
                return [
                    call._replace(environment={**command.environment, **call.environment})
                    for one in inner
                    for call in _of(one, depth + 1)
                ]
    for at, word in enumerate(words):
        call = _call(words[at:], PurePosixPath(word.text).name, command.environment)
        if call is not None:
            return [call]
    return []


def _call(words: list[Word], name: str, environment: dict[str, str]) -> Call | None:
    """The training that these words start, if the first is the name of something that starts one."""
    second = words[1].text if len(words) > 1 else ""
    line = words[0].line
    if name == "accelerate" and second == "launch":
        return _launched("accelerate", words[2:], environment, line)
    if name in ("torchrun", "deepspeed"):
        return _launched(name, words[1:], environment, line)
    if name == "trl" and second in TRL_METHODS:
        entries, positional = _options(words[2:])
        return Call("trl", second, [], entries, positional, environment, line)
    if name in ("llamafactory-cli", "lmf") and second == "train":
        entries, positional = _options(words[2:])
        return Call("llamafactory-cli", second, [], entries, positional, environment, line)
    if name == "axolotl" and second in ("train", "preprocess"):
        entries, positional = _options(words[2:])
        return Call("axolotl", second, [], entries, positional, environment, line)
    if re.fullmatch(r"python[\d.]*", name):
        return _python(words[1:], environment, line)
    return None


def _python(words: list[Word], environment: dict[str, str], line: int) -> Call | None:
    while words and words[0].text in ("-u", "-O", "-B"):
        words = words[1:]
    if len(words) > 1 and words[0].text == "-m":
        module = words[1].text
        if module in ("torch.distributed.run", "torch.distributed.launch"):
            return _launched("torchrun", words[2:], environment, line)
        if module == "accelerate.commands.launch":
            return _launched("accelerate", words[2:], environment, line)
        words = words[1:]
    if not words or words[0].text.startswith("-"):
        return None
    entries, positional = _options(words[1:])
    is_training = len(TELLING.intersection(entry.key for entry in entries)) >= 2
    if is_training or words[0].text.startswith(MODULES):
        return Call("python", words[0].text, [], entries, positional, environment, line)
    return None


def _launched(launcher: str, words: list[Word], environment: dict[str, str], line: int) -> Call | None:
    """Options of the launcher up to the program, then the program's."""
    at = _program(words)
    if at is None:
        return None
    launch, _ = _options([word for word in words[:at] if word.text not in ("-m", "--module")])
    arguments, positional = _options(words[at + 1 :])
    return Call(launcher, words[at].text, launch, arguments, positional, environment, line)


def _program(words: list[Word]) -> int | None:
    """Which word is the program: the first that is no option and no option's value."""
    at = 0
    while at < len(words):
        text = words[at].text
        if text.endswith(".py") or (at and words[at - 1].text in ("-m", "--module")):
            return at
        if not text.startswith("-"):
            return at
        option = text.lstrip("-").replace("-", "_")
        takes_value = "=" not in text and option not in LAUNCH_FLAGS and option != "m"
        following = words[at + 1].text if at + 1 < len(words) else "-"
        at += 2 if takes_value and not following.startswith("-") and not following.endswith(".py") else 1
    return None


def _options(words: list[Word]) -> tuple[list[Entry], list[Word]]:
    """``--key value``, ``--key=value``, ``--key a b`` and ``--flag`` as entries; what stands before them."""
    entries: list[Entry] = []
    positional: list[Word] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if not _is_option(word.text):
            if not entries:
                positional.append(word)
            continue
        name, equals, value = word.text.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if equals:
            start = word.start + word.text.index("=") + 1 if word.start >= 0 else -1
            entries += _entries(name, [Word(value, word.line, start, word.end)])
            continue
        values = []
        while at < len(words) and not _is_option(words[at].text):
            values.append(words[at])
            at += 1
        if values:
            entries += _entries(name, values)
        else:
            entries.append(Entry(name, True, word.line, word.end, word.end if word.start >= 0 else -1))
    return entries, positional


def _entries(name: str, values: list[Word]) -> list[Entry]:
    first, last = values[0], values[-1]
    if len(values) > 1:
        place = (first.start, last.end) if min(value.start for value in values) >= 0 else (-1, -1)
        return [Entry(name, [value.text for value in values], first.line, *place)]
    if first.text.startswith("{"):
        try:
            tree = read_json(first.text, name)
        except Unreadable:
            tree = None
        if tree is not None:
            is_verbatim = first.start >= 0 and first.end - first.start == len(first.text) + 2  # in single quotes
            return [
                entry._replace(
                    key=f"{name}.{entry.key}",
                    line=first.line,
                    start=first.start + 1 + entry.start if is_verbatim else -1,
                    end=first.start + 1 + entry.end if is_verbatim else -1,
                )
                for entry in tree.entries
            ]
    value: Any = first.text
    return [Entry(name, value, first.line, first.start, first.end)]


def _is_option(text: str) -> bool:
    return re.match(r"--?[A-Za-z]", text) is not None
