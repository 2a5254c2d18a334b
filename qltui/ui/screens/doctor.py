"""What this machine has, what is missing, and what to do about it."""

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
    from textual.app import ComposeResult

    from qltui.facts.doctor import Fact

MARKS = {"ok": ("✓ ok", "$success"), "warn": ("▲ warn", "$warning"), "bad": ("✗ bad", "$error")}


class Doctor(Page):
    """A line for each fact, with its remedy under it."""

    CSS_PATH = "doctor.tcss"
    BINDINGS = [
        Binding("r", "look", "look again", id="doctor.again", tooltip="Look at the machine once more"),
        HELP,
        BACK,
    ]

    class Examined(Message):
        """The machine has been looked at."""

        def __init__(self, facts: list[Fact]) -> None:
            super().__init__()
            self.facts = facts

    def compose(self) -> ComposeResult:
        yield TitleBar("Doctor", "looking …")
        with VerticalScroll(id="scroll"):
            yield Vertical(id="facts")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#scroll").focus()
        self.action_look()

    @work(thread=True, exclusive=True, group="doctor", exit_on_error=False)
    def action_look(self) -> None:
        """Look at the machine."""
        from qltui.facts.doctor import examine
        from qltui.runs.store import runs_home

        self.post_message(self.Examined(examine(runs_home())))

    @on(Examined)
    async def _show(self, event: Examined) -> None:
        counts = [sum(fact.verdict == verdict for fact in event.facts) for verdict in ("bad", "warn")]
        bad, warned = counts
        self.query_one(TitleBar).say("Doctor", f"{bad} bad, {warned} to look at" if bad or warned else "all well")
        facts = self.query_one("#facts")
        await facts.remove_children()
        await facts.mount_all(map(fact_row, event.facts))


def fact_row(fact: Fact) -> Horizontal:
    """A fact beside its verdict and name, with its remedy under it; what is long goes on under itself."""
    mark, colour = MARKS[fact.verdict]
    name = Content.assemble((mark.ljust(8), colour), (fact.name, "bold"))
    value = Content.styled(words.plain(fact.value), "$foreground")
    if fact.remedy:
        value = Content("\n").join([value, Content.styled(words.plain(fact.remedy), "$muted")])
    return Horizontal(Static(name, classes="name"), Static(value, classes="value"), classes="fact")
