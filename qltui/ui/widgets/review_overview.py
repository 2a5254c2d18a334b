"""What speaks for a run and what against it, in one column: the plan, findings in full, and what will run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from engine.config.ranks import ONE_RANK
from engine.config.schema import as_text
from qltui.advice.findings import Severity
from qltui.runs.assessment import REFUSED
from qltui.runs.outlook import Outlook
from qltui.ui import words
from qltui.ui.widgets.findings_panel import MARKS, counted
from qltui.ui.widgets.fit_panel import FitPanel
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.reading import Reading
from qltui.words import UNKNOWN

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from engine.config import RunConfig
    from qltui.advice.findings import Finding
    from qltui.advice.fitting_rows import Epoch
    from qltui.runs.assessment import Assessment

LABEL = 11


class ReviewOverview(Reading):
    """Three panels, one below the other."""

    DEFAULT_CSS = """
    ReviewOverview {
        height: 1fr;
        scrollbar-gutter: stable;
        & .panel { height: auto; }
    }
    """

    def compose(self) -> ComposeResult:
        yield FitPanel(id="fit")
        yield Static("… checking", id="findings", classes="panel", markup=False)
        yield RunFacts(id="facts", classes="panel")

    def on_mount(self) -> None:
        self.query_one("#fit").add_class("panel")
        for panel, title in (("#findings", "Findings"), ("#fit", "Fit · per GPU"), ("#facts", "What will run")):
            self.query_one(panel).border_title = title

    def show(self, assessed: Assessment) -> None:
        """Show what is known of a run."""
        advice = assessed.advice
        findings = self.query_one("#findings", Static)
        findings.border_title = f"Findings · {counted(advice.findings)}"
        findings.update(
            Content("\n\n").join(finding_text(one) for one in advice.findings)
            if advice.findings
            else Content.styled("✓ nothing found", "$success")
        )
        self.query_one(FitPanel).show(
            Outlook(assessed.config, [], assessed.machine, assessed.architecture, advice, [], None)
        )
        self.query_one(RunFacts).show(assessed)


class RunFacts(Line):
    """The choices that matter most, a line each where there is room."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes, markup=False)
        self._assessed: Assessment | None = None

    def show(self, assessed: Assessment) -> None:
        """Show those of a run."""
        self._assessed = assessed
        self.on_resize()

    def on_resize(self) -> None:
        """Paths take what room there is."""
        if self._assessed is None:
            return
        lines = facts(self._assessed.config, max(self.content_size.width - LABEL, LABEL))
        if epoch := self._assessed.epoch:
            lines.append(row("epoch", epoch_text(epoch)))
        self.update(Content("\n").join(lines))


def epoch_text(epoch: Epoch) -> Content:
    """What a pass over the rows is, and takes."""
    takes = f"about {words.duration(epoch.seconds)}, give or take {epoch.error:.0%}"
    return Content(f"{takes}: {epoch.rows:,} rows, {epoch.tokens:,.0f} tokens")


def finding_text(finding: Finding) -> Content:
    """A finding with all that is known of it."""
    mark, colour = MARKS[finding.severity]
    head = Content.assemble((f"{mark} {finding.severity.value}  ", f"bold {colour}"), (finding.rule, "bold"))
    told = [("why", finding.why), ("source", finding.source)]
    if finding.fix:
        told.append(("fix", ", ".join(f"{path}={as_text(value)}" for path, value in finding.fix.items())))
    if finding.severity is Severity.BLOCK:
        told.append(("force", forcing(finding)))
    lines = [Content.assemble((f"{label}  ", "$muted"), words.plain(text)) for label, text in told]
    return Content("\n").join([head, Content(words.plain(finding.message)), *lines])


def forcing(finding: Finding) -> str:
    """How a run is launched all the same."""
    if finding.rule in REFUSED:
        return "cannot be forced: the engine itself refuses it"
    return f"`--force {finding.rule}` launches it all the same"


def facts(config: RunConfig, width: int) -> list[Content]:
    """The choices that matter most, a line each; paths in ``width`` columns."""
    method, training, lora = config.method, config.training, config.method.lora
    name = method.name.value
    adapters = f"rank {lora.rank}, alpha {lora.alpha:g}, {lora.target_modules}" if name != "full" else UNKNOWN
    base = {"qlora": f" · base in {method.quantization.type.value}", "int8": " · base in int8"}.get(name, "")
    task = "" if config.model.task == "causal_lm" else f" · {config.model.task.value.replace('_', ' ')}"
    ranks, evaluated = config.hardware.ranks_per_node, config.data.eval_path
    epochs = "1 epoch" if training.epochs == 1 else f"{training.epochs:g} epochs"
    steps = f"{training.max_steps:,} steps" if training.max_steps else epochs
    kind = "sequence" if config.data.packing else "row"
    batch = f"{words.counted(training.micro_batch_size, kind)} a rank"
    if training.gradient_accumulation_steps > 1:
        batch += f" × {training.gradient_accumulation_steps} added up"
    spread = f"{ranks} ranks" if ranks else "as many ranks as GPUs"
    if config.strategy.name in ONE_RANK:
        spread = "1 rank"
    rows = [
        ("model", words.fitted(words.path(config.model.path), width)),
        ("data", words.fitted(words.path(config.data.path), width)),
        ("method", f"{name}{base}{task}"),
        ("strategy", f"{config.strategy.name.value} · {config.hardware.device.value}, {spread}"),
        ("steps", steps),
        ("batch", batch),
        ("adapters", adapters),
        ("rate", f"{words.rate(training.learning_rate)}, {training.schedule.value}"),
        ("length", f"up to {config.data.max_length:,} tokens" + (", packed" if config.data.packing else "")),
        ("precision", config.precision.compute.value),
        ("evaluation", words.fitted(words.path(evaluated), width) if evaluated else UNKNOWN),
        ("seed", str(training.seed)),
        ("name", config.name),
    ]
    return [row(label, Content(words.plain(value))) for label, value in rows]


def row(label: str, value: Content) -> Content:
    """A line with its label before it."""
    return Content.styled(label.ljust(LABEL), "$muted") + value
