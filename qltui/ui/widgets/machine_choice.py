"""Which GPUs the run is planned for: those of this machine, or some that are described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from qltui.facts import machine as machines
from qltui.ui import words

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.facts.machine import Machine

EXAMPLES = "4xA40, 8xH100-80, 2x24G, or 2n8xH100-80 for two nodes; empty means this machine"


class MachineChoice(Vertical):
    """One line to describe GPUs, and what is meant by it."""

    DEFAULT_CSS = """
    MachineChoice {
        height: auto;
        margin-bottom: 1;
        & Horizontal { height: 1; }
        & .label { width: 22; text-style: bold; }
        & Input { width: 1fr; background: $panel; padding: 0 1; height: 1; }
        & Input:focus { background: $boost; }
        & #meant { height: auto; padding-left: 22; color: $muted; }
    }
    """

    class Changed(Message):
        """Another machine is meant; its description, empty for this one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    text = ""
    """What the line begins with."""

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("plan for GPUs", classes="label", markup=False)
            entry = Input(placeholder="those of this machine", compact=True, select_on_focus=False)
            entry.cursor_blink = False
            yield entry
        yield Static(EXAMPLES, id="meant", markup=False)

    def on_mount(self) -> None:
        with self.prevent(Input.Changed):
            self.query_one(Input).value = self.text

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        text = event.value.strip()
        try:
            if text:
                machines.parse(text)
        except machines.UnknownMachine as error:
            self.query_one("#meant", Static).update(Content.styled(f"✗ {words.plain(error)}", "$error"))
            return
        self.post_message(self.Changed(text))

    def show(self, machine: Machine, *, described: bool) -> None:
        """Say what GPUs there are."""
        cards = [f"{machine.cards.count(card)} x {card.name}" for card in dict.fromkeys(machine.cards)]
        where = "described" if described else "this machine"
        nodes = f" on each of {machine.nodes} nodes" if machine.nodes > 1 else ""
        told = f"{where}: {', '.join(cards) or 'no GPU'}{nodes}"
        if cards:
            told += f", {words.size(min(card.memory_bytes for card in machine.cards))} each"
        notes = "".join(f"\n{words.plain(note)}" for note in machine.notes)
        self.query_one("#meant", Static).update(Content(f"{told}{notes}\n{EXAMPLES}"))
