"""Which GPUs the run is planned for: those of this machine, or some that are described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from engine.config.ranks import BF16_CAPABILITY
from qltui.facts import machine as machines
from qltui.ui import words
from qltui.ui.widgets.entry import Entry

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from qltui.facts.machine import Machine

EXAMPLES = f"{machines.EXAMPLES}; empty: this machine"
BF16_FROM = (BF16_CAPABILITY, 0)
LABEL = 22
"""Columns of what stands before a fact, as before a field."""


class MachineChoice(Vertical):
    """One line to describe GPUs, and what is meant by it."""

    DEFAULT_CSS = """
    MachineChoice {
        height: auto;
        margin-bottom: 1;
        & Horizontal { height: 1; }
        & .label { width: 22; }
        & Input { width: 1fr; background: $panel; padding: 0 1; height: 1; }
        & #examples { height: auto; padding-left: 22; color: $muted; }
        & #meant { height: auto; margin-top: 1; }
    }
    """

    class Changed(Message):
        """Another machine is meant; its description, empty for this one."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("Plan for GPUs", classes="label", markup=False)
            entry = Entry(placeholder="those of this machine", compact=True, select_on_focus=False)
            yield entry
        yield Static(EXAMPLES, id="examples", markup=False)
        yield Static(id="meant", markup=False)

    def fill(self, text: str) -> None:
        """Show GPUs as they were described before."""
        with self.prevent(Input.Changed):
            self.query_one(Input).value = text

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
        """Say what GPUs there are, and what else counts."""
        lines = [
            Content.assemble((f"{what:<{LABEL}}", "bold"), told) for what, told in facts(machine, described=described)
        ]
        lines += [Content.assemble(("▲ ", "$warning"), words.plain(note)) for note in notes(machine)]
        self.query_one("#meant", Static).update(Content("\n").join(lines))

    def help_lines(self) -> list[Content]:
        """How a machine is described."""
        return [
            Content.styled("The machine to plan for", "bold"),
            Content(f"{EXAMPLES}."),
            Content("A card is a name of the table or its memory (24G); other parts of the plan follow from it."),
            Content("NODESnCOUNTxCARD-GIGABYTES: 2n8xH100-80 are two nodes with eight cards each."),
        ]


def facts(machine: Machine, *, described: bool) -> list[tuple[str, str]]:
    """(what, told) of a machine, what is not known left out."""
    where = "described" if described else "this one"
    rows = [("Machine", f"{where}: {_cards(machine)}")]
    if machine.cards:
        least = min(machine.cards, key=lambda card: card.memory_bytes)
        together = f", {words.size(sum(card.memory_bytes for card in machine.cards) * machine.nodes)} together"
        rows.append(("Memory", f"{words.size(least.memory_bytes)} a GPU{together * (machine.gpus > 1)}"))
        kind = "bf16" if least.capability >= BF16_FROM else "fp16, no bf16"
        speed = f"{least.flops / 1e12:,.0f} TFLOP/s in {kind}, memory at {least.bandwidth / 1e9:,.0f} GB/s"
        rows.append(("Speed", speed))
        if len(machine.cards) > 1:
            rows.append(("To the next GPU", f"{least.link / 1e9:,.0f} GB/s"))
        if machine.nodes > 1:
            rows.append(("To the next node", f"{machine.network / 1e9:,.1f} GB/s"))
    host = [
        f"{words.size(machine.host_memory)} memory" if machine.host_memory else "",
        f"{machine.cores:g} cores" if machine.cores else "",
        f"{words.size(machine.disk_free)} of disk free" if machine.disk_free else "",
    ]
    if any(host):
        rows.append(("Host", ", ".join(filter(None, host))))
    return rows


def _cards(machine: Machine) -> str:
    if not machine.cards:
        return "no GPU, so runs go on CPU ranks"
    cards = ", ".join(f"{machine.cards.count(card)} x {card.name}" for card in dict.fromkeys(machine.cards))
    return f"{machine.nodes} nodes of {cards}, {machine.gpus} GPUs" if machine.nodes > 1 else cards


def notes(machine: Machine) -> list[str]:
    """What was assumed, and what a launch on it takes beside."""
    several = f"A run on {machine.nodes} nodes takes hardware.nodes={machine.nodes} and hardware.hosts."
    return [*machine.notes, *([several] if machine.nodes > 1 else [])]
