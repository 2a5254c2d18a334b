"""What would run, before it runs: the files, the command, and everything that stands in the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from qltui.ui import words
from qltui.ui.screens.page import BACK, HELP, Page
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.app import ComposeResult

    from engine.config import Problem, RunConfig

LABEL = 11
REFUSED = Content.styled("✗ ", "bold $error")


class Review(Page):
    """Shows a RunConfig that ``load`` makes, checks it, and launches it."""

    CSS_PATH = "review.tcss"
    BINDINGS = [
        Binding("l,enter", "launch", "launch", id="review.launch", tooltip="Start the run and open its monitor"),
        HELP,
        BACK,
    ]

    class Checked(Message):
        """What would run is known, with all that stands in the way and what is warned of."""

        def __init__(self, config: RunConfig | None, problems: list[Problem], warnings: list[Problem]) -> None:
            super().__init__()
            self.config = config
            self.problems = problems
            self.warnings = warnings

    class Launched(Message):
        """The run was started."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class Refused(Message):
        """The run was not started, and why."""

        def __init__(self, reason: str) -> None:
            super().__init__()
            self.reason = reason

    def __init__(self, title: str, load: Callable[[], RunConfig], command: str = "") -> None:
        """Review what ``load`` gives; ``command`` does the same from a shell, if one does."""
        super().__init__()
        self._title = title
        self._load = load
        self._command = command
        self._config: RunConfig | None = None
        self._launching = False

    @classmethod
    def of_preset(cls, name: str) -> Review:
        """The review of a preset."""

        def load() -> RunConfig:
            from qltui.configs.loading import load as load_target

            return load_target(name, [])

        return cls(f"Preset {name}", load, f"qltui launch {name}")

    def compose(self) -> ComposeResult:
        yield TitleBar(Content(f"Review · {self._title}"))
        with VerticalScroll(id="verdicts"):
            yield Static("… checking model, data and machine", id="verdict", markup=False)
        with Horizontal(id="what"):
            with VerticalScroll(id="summary", classes="panel") as summary:
                summary.border_title = "What will run"
                yield Static(id="facts", markup=False)
            with VerticalScroll(id="file", classes="panel") as file:
                file.border_title = "run.yaml"
                yield Static(id="text", markup=False)
        with Vertical(id="written", classes="panel") as written:
            written.border_title = "What will be written"
            yield Static(id="files", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#file").focus()
        self._check()

    @work(thread=True, group="check", exit_on_error=False)
    def _check(self) -> None:
        from engine.config import ConfigError
        from qltui.runs.assessment import as_problem, assess

        try:
            config = self._load()
        except ConfigError as error:
            self.post_message(self.Checked(None, error.problems, []))
            return
        assessed = assess(config)
        self.post_message(self.Checked(config, assessed.refusals, [as_problem(one) for one in assessed.warnings]))

    @on(Checked)
    def _show(self, event: Checked) -> None:
        self._config = None if event.problems else event.config
        self._say(
            (
                [problem_text(problem) for problem in event.problems]
                or [Content.assemble(("✓ ready", "bold $success"), ("  press Enter or l to launch", "$muted"))]
            )
            + [problem_text(warning, Content.styled("! ", "bold $warning")) for warning in event.warnings]
        )
        if event.config:
            from qltui.configs.writing import run_yaml

            self.query_one("#facts", Static).update(Content("\n").join(facts(event.config)))
            self.query_one("#text", Static).update(Content(run_yaml(event.config).rstrip()))
            self.query_one("#files", Static).update(Content("\n").join(self._written(event.config)))
        self.refresh_bindings()

    def _written(self, config: RunConfig) -> list[Content]:
        from qltui.configs.files import file_names
        from qltui.runs.store import runs_home

        folder = f"{words.path(runs_home())}/{config.name}-DATE-TIME"
        files = ", ".join([*file_names(config), "plan.json", "status.json; then attempts, checkpoints, the result"])
        starts = f"python -P -m engine.launch {folder}"
        lines = [_row("folder", Content(folder)), _row("files", Content(files)), _row("starts", Content(starts))]
        if self._command:
            lines.append(_row("same as", Content.styled(self._command, "bold $primary")))
        return lines

    def _say(self, lines: list[Content]) -> None:
        self.query_one("#verdict", Static).update(Content("\n").join(lines))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Launching is grey until there is something to launch."""
        if action == "launch":
            return True if self._config is not None and not self._launching else None
        return True

    def action_launch(self) -> None:
        """Start the run."""
        if self._config is not None and not self._launching:
            self._launching = True
            self._say([Content("… launching")])
            self._launch(self._config)

    @work(thread=True, group="launch", exit_on_error=False)
    def _launch(self, config: RunConfig) -> None:
        from qltui.runs import launching
        from qltui.runs.assessment import assess

        try:
            run = launching.launch(assess(config))  # asked again: the machine may have changed since it was shown
        except launching.LaunchRefused as error:
            self.post_message(self.Refused(str(error)))
            return
        self.post_message(self.Launched(run.path))

    @on(Launched)
    def _watch(self, event: Launched) -> None:
        from qltui.ui.screens.monitor import Monitor

        self.app.switch_screen(Monitor(event.path))

    @on(Refused)
    def _refuse(self, event: Refused) -> None:
        self._launching = False
        self._say([Content.assemble(("✗ not launched  ", "bold $error"), words.plain(event.reason))])
        self.refresh_bindings()


def problem_text(problem: Problem, mark: Content = REFUSED) -> Content:
    """A problem, its field first."""
    place = words.plain(problem.field or problem.where)
    return Content.assemble(
        mark, (f"{place} " if place else "", "bold"), words.plain(problem.message),
        (f"  {words.plain(problem.remedy)}" if problem.remedy else "", "$muted"),
    )  # fmt: skip


def facts(config: RunConfig) -> list[Content]:
    """The choices that matter most, a line each."""
    from engine.config.ranks import ONE_RANK

    method, training, lora = config.method, config.training, config.method.lora
    name = method.name.value
    adapters = f"rank {lora.rank}, alpha {lora.alpha:g}, {lora.target_modules}" if name != "full" else "–"
    base = {"qlora": f" · base in {method.quantization.type.value}", "int8": " · base in int8"}.get(name, "")
    task = "" if config.model.task == "causal_lm" else f" · {config.model.task.value.replace('_', ' ')}"
    ranks = config.hardware.ranks_per_node
    steps = f"{training.max_steps:,} steps" if training.max_steps else f"{training.epochs:g} epochs"
    batch = f"{training.micro_batch_size} rows a rank"
    if training.gradient_accumulation_steps > 1:
        batch += f" × {training.gradient_accumulation_steps} added up"
    spread = f"{ranks} ranks" if ranks else "as many ranks as GPUs"
    if config.strategy.name in ONE_RANK:
        spread = "1 rank"
    rows = [
        ("model", words.path(config.model.path)),
        ("data", words.path(config.data.path)),
        ("method", f"{name}{base}{task}"),
        ("strategy", f"{config.strategy.name.value} · {config.hardware.device.value}, {spread}"),
        ("steps", steps),
        ("batch", batch),
        ("adapters", adapters),
        ("rate", f"{words.rate(training.learning_rate)}, {training.schedule.value}"),
        ("length", f"up to {config.data.max_length:,} tokens"),
        ("precision", config.precision.compute.value),
        ("evaluation", words.path(config.data.eval_path) if config.data.eval_path else "–"),
        ("seed", str(training.seed)),
        ("name", config.name),
    ]
    return [_row(label, Content(words.plain(value))) for label, value in rows]


def _row(label: str, value: Content) -> Content:
    return Content.styled(label.ljust(LABEL), "$muted") + value
