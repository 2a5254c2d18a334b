"""Every subcommand, declared once: its name, help, arguments, and the module imported when it is called."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would take a tenth of the time `qltui --help` may
if TYPE_CHECKING:
    from typing import Any


class Command:
    """One subcommand; ``module`` has a function ``run_<name>(arguments) -> exit code``."""

    def __init__(self, name: str, module: str, help: str, *arguments: tuple[tuple[str, ...], dict[str, Any]]) -> None:
        self.name = name
        self.module = module
        self.help = help
        self.arguments = arguments


def count(text: str) -> int:
    """A number of things, as argparse reads one."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def positive(text: str) -> int:
    """A number of things, of which there is one at least."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def temperature(text: str) -> float:
    """A number that is not below 0."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What ``ArgumentParser.add_argument`` takes, kept until a parser is made."""
    return names, options


JSON = argument("--json", action="store_true", help="print one JSON document")
QUEUE = argument("--queue", action="store_true", help="where other runs have its GPUs, let it wait for them")
RUN = argument("run", metavar="RUN", help="id of a run, a unique beginning of one, a path, or 'last'")
LOW_BANDWIDTH = argument(
    "--low-bandwidth", action="store_true",
    help="send little to the terminal: what is new every few seconds; QLTUI_LOW_BANDWIDTH=1 does the same",
)  # fmt: skip
SET = argument(
    "--set", dest="assignments", metavar="FIELD=VALUE", action="append", default=[],
    help="another value for a field, as in training.max_steps=50; `qltui config` lists the fields",
)  # fmt: skip

COMMANDS = (
    Command(
        "presets", "presets", "list the presets that come with the program, or show one",
        argument("action", nargs="?", choices=["show"], help="print the preset's file"),
        argument("name", nargs="?", metavar="NAME", help="the preset to show"),
        JSON,
    ),
    Command(
        "launch", "launch", "check a configuration and start it as a detached run",
        argument("target", metavar="PRESET|FILE", help="name of a preset, or a run file"),
        SET,
        argument("--name", help="what the run is called"),
        argument(
            "--force", dest="forced", metavar="RULE", action="append", default=[],
            help="launch though this rule blocks it, named as in the refusal; what the engine refuses stays refused",
        ),
        argument("--adapt", action="store_true", help="change what must be for it to fit this machine, and tell what"),
        argument("--dry-run", action="store_true", help="check it and print what would run, start nothing"),
        argument(
            "--per-node-commands", action="store_true", help="start nothing, print the command to run on each node"
        ),
        QUEUE,
        argument("--after", metavar="RUN", help="start it when this run has ended, one way or another"),
        argument("--watch", action="store_true", help="open the monitor on it"),
        argument("--wait", action="store_true", help="print progress and end with the run's own result"),
    ),
    Command(
        "check", "check", "say what would stop a configuration from running, ours or another program's",
        argument(
            "files", nargs="+", metavar="FILE",
            help="a run file, or one of accelerate, DeepSpeed, Axolotl, LLaMA-Factory or TRL; a script; a folder",
        ),
        argument("--gpus", metavar="GPUS", help="the machine it is for, as in 4xA40; plans the memory too"),
        argument("--fix", action="store_true", help="write the values that mend it into the files"),
        JSON,
    ),
    Command(
        "plan", "plan", "predict the memory of each GPU and the time of a step, and rank other ways to run",
        argument("target", metavar="PRESET|FILE", help="name of a preset, or a run file"),
        SET,
        argument("--gpus", metavar="GPUS", help="to plan for, as in 4xA40, 8xH100-80 or 2x24G; without it those here"),
        JSON,
    ),
    Command(
        "preview", "preview", "show the first rows as the model will see them, and how long the rows are",
        argument("target", metavar="PRESET|FILE", help="name of a preset, or a run file"),
        SET,
        argument("--rows", type=count, metavar="N", default=5, help="how many to show; 5 without it"),
        JSON,
    ),
    Command(
        "rehearse", "rehearse", "try a configuration on CPU ranks with a small model of the same architecture",
        argument("target", metavar="PRESET|FILE", help="name of a preset, or a run file"),
        SET,
        argument("--ranks", type=count, metavar="N", help="how many; without it as many as memory and cores allow"),
        JSON,
    ),
    Command(
        "runs", "runs", "list the runs, live ones first",
        argument("--filter", default="", metavar="WORDS", help="only those that fit, as in 'state:failed model:llama'"),
        argument("--tag", action="append", default=[], metavar="TAG", help="only those that have this tag"),
        JSON,
    ),
    Command("status", "runs", "say how a run stands", RUN, JSON),
    Command(
        "logs", "logs", "print what the ranks of a run wrote",
        RUN,
        argument("-f", "--follow", action="store_true", help="go on as more is written, until the run ends"),
        argument("--rank", type=count, metavar="N", help="of this rank alone"),
        argument("-n", "--lines", type=count, metavar="LINES", help="only the last ones; all are printed without it"),
    ),
    Command(
        "watch", "watch", "open the monitor on a run; without a terminal, print its progress",
        argument(
            "run", metavar="RUN|PATH",
            help="a run as elsewhere, or what another program trains: its output folder, or the log it writes",
        ),
        argument("--readonly", action="store_true", help="offer nothing that touches the run"),
        LOW_BANDWIDTH,
    ),
    Command(
        "stop", "control", "let a run save and stop",
        RUN,
        argument("--now", action="store_true", help="end its processes at once; what was not saved is lost"),
    ),
    Command(
        "resume", "control", "go on with a run where its newest checkpoint stands",
        RUN,
        QUEUE,
        argument("--wait", action="store_true", help="print progress and end with the run's own result"),
        argument("--apply", metavar="N", type=int, help="with fix N of qltui diagnose RUN"),
    ),
    Command(
        "chat", "chat", "talk to the model that a run made; with --prompt, print one answer",
        RUN,
        argument("--prompt", metavar="TEXT|-", help="answer this and end; - reads it from the input"),
        argument("--both", action="store_true", help="let the base model answer as well, beside the tuned one"),
        argument("--base", action="store_true", help="with --prompt: let the base model alone answer"),
        argument("--step", type=count, metavar="N", help="take the checkpoint of this step"),
        argument(
            "--max-new-tokens", type=positive, default=512, metavar="N", help="tokens of an answer at most (512)"
        ),
        argument(
            "--temperature", type=temperature, default=0.0, metavar="T",
            help="above 0 an answer is drawn by chance; 0 takes the likeliest token each time (0)",
        ),
        argument("--seed", type=count, default=0, metavar="N", help="draws the same answer again (0)"),
        JSON,
    ),
    Command(
        "diagnose", "diagnose", "say why a run died, or what any training log shows of it",
        argument("target", metavar="RUN|LOG|-", help="a run, a log of any program, or - for what is piped in"),
        JSON,
        argument(
            "--bundle", nargs="?", const="", metavar="FILE",
            help="write it with logs, events and versions into an archive to attach to an issue, without secrets",
        ),
    ),
    Command(
        "compare", "compare", "say what two runs have done otherwise, and what came of it",
        RUN,
        argument(
            "other", nargs="?", metavar="RUN", help="the run to compare it with; without it the one it continues"
        ),
        JSON,
    ),
    Command(
        "note", "note", "note something about a run; without anything more, print what is noted",
        RUN,
        argument("text", nargs="?", metavar="TEXT", help="in place of the note there is; '' for none"),
        argument("--tag", action="append", default=[], metavar="TAG", help="a word to find it by"),
        argument("--untag", action="append", default=[], metavar="TAG", help="a tag to take away"),
    ),
    Command(
        "delete", "delete", "delete runs: all that they wrote, or all but their adapters",
        argument("runs", nargs="+", metavar="RUN", help="id of a run, a unique beginning of one, or 'last'"),
        argument("--keep-adapters", action="store_true", help="keep the result, the newest adapter and run.yaml"),
        argument("--yes", action="store_true", help="do not ask"),
    ),
    Command(
        "export", "export", "write a run as a configuration of TRL, Axolotl or LLaMA-Factory",
        argument("target", metavar="RUN|PRESET|FILE", help="a run as elsewhere, a preset's name, or a run file"),
        argument("--to", required=True, choices=["trl", "axolotl", "llamafactory"], help="the program it is for"),
        argument(
            "--out", metavar="PATH",
            help="a file, or a folder, where other files that the program needs go too; without it it is printed",
        ),
        SET,
    ),
    Command(
        "merge", "merge", "merge a run's adapter into its base, as one model that Transformers and vLLM load",
        argument("run", metavar="RUN", help="a run as elsewhere"),
        argument("--out", metavar="DIR", help="a new folder for the model"),
        argument("--checkpoint", type=count, metavar="STEP", help="its adapter, rather than the run's last one"),
        argument(
            "--base", choices=["dequantized", "original"], default="dequantized",
            help="the weights it was trained on (default), or those of the base's files before they were quantised",
        ),
        argument(
            "--dtype", choices=["bfloat16", "float16", "float32"],
            help="type of the weights; without it the base's own, or a 16-bit one if that is float32",
        ),
        argument("--check-vllm", action="store_true", help="merge nothing; say if vLLM takes the adapter as it is"),
        JSON,
    ),
    Command("doctor", "doctor", "say what of this machine helps or hinders", JSON),
    Command(
        "config", "config", "list the fields of a configuration: values, units, defaults, meanings",
        argument("field", nargs="?", metavar="FIELD", help="this one alone, or those under it (training)"),
        argument("--markdown", action="store_true", help="as tables for the documentation"),
    ),
)  # fmt: skip
