"""A run kept as a preset of the user's: asks for a name, a line of description and the machine it is planned for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual import on
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from qltui.ui.widgets.entry import Entry

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from engine.config import RunConfig


class Saving(ModalScreen[tuple[str, Path] | None]):
    """Answers with what the preset is launched by and its file; None where nothing was saved."""

    CSS_PATH = "saving.tcss"
    BINDINGS = [Binding("escape", "leave", "leave", id="saving.leave", tooltip="Save nothing")]

    def __init__(self, config: RunConfig, machine: str) -> None:
        """Save ``config``, planned for ``machine`` as ``--gpus`` takes it, unless another one is typed."""
        super().__init__()
        self._config = config
        self._machine = machine

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = "Save as preset"
            yield Label("Name")
            yield Entry(self._config.name, id="name", compact=True)
            yield Label("What it is, in a line")
            yield Entry(self._config.description, id="description", compact=True)
            yield Label("Planned for, such as 4xA40 (may be empty)")
            yield Entry(self._machine, id="machine", compact=True)
            yield Static(id="problem", classes="problem", markup=False)
            with Horizontal(id="answers"):
                yield Button("Replace it", id="replace", variant="warning", compact=True)
                yield Button("Save", id="save", variant="primary", compact=True)
                yield Button("Leave", id="leave", compact=True)

    def on_mount(self) -> None:
        self.query_one("#replace").display = False
        self.query_one("#problem").display = False

    @on(Input.Changed, "#name")
    def _renamed(self) -> None:
        """Another name may be free."""
        self.query_one("#replace").display = False
        self.query_one("#problem").display = False

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self._save(replace=False)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "leave":
            self.action_leave()
        else:
            self._save(replace=event.button.id == "replace")

    def action_leave(self) -> None:
        """Save nothing."""
        self.dismiss(None)

    def _save(self, *, replace: bool) -> None:
        from engine.config import ConfigError
        from qltui.configs import presets
        from qltui.facts import machine as machines

        name, description, machine = (
            self.query_one(f"#{one}", Input).value for one in ("name", "description", "machine")
        )
        try:
            if machine.strip():
                machines.parse(machine)
            path = presets.save(name.strip(), self._config, description, machine, replace=replace)
        except (ConfigError, machines.UnknownMachine) as error:
            problem = self.query_one("#problem", Static)
            problem.display = True
            taken = isinstance(error, presets.PresetExists)
            told = "there is a preset of yours with that name: choose another, or replace it."
            problem.update(f"✗ {told if taken else error}")
            if taken:
                again = self.query_one("#replace")
                again.display = True
                again.focus()
            return
        self.dismiss((presets.name_of(path), path))
