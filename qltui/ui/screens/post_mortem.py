"""Why a run died: cause, memory, fixes and evidence, and the keys that get it going again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import on, work
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message

from engine.events import RunDirectory
from qltui.runs.post_mortem import is_appliable, of_run, report
from qltui.ui import words
from qltui.ui.screens.page import HELP
from qltui.ui.screens.run_actions import RunActions
from qltui.ui.widgets.diagnosis_lists import DiagnosisList, entry_of_evidence, entry_of_fix, key_of_fix
from qltui.ui.widgets.diagnosis_memory import DiagnosisMemory
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from textual.app import ComposeResult

    from qltui.runs.diagnosis.causes.cause import Fix
    from qltui.runs.post_mortem import PostMortem as End
    from qltui.ui.clipboard import Copied

READING = "reading the logs…"
DIED = ("failed", "lost")
"""States of runs whose end is shown before their curves."""
MARKS = {"none": ("✓", "$success"), "user_interrupt": ("■", "$accent")}
KEYS = "123456789"
WIDE = 100
"""Columns of the app's ``-wide``."""


class PostMortem(RunActions):
    """Shows the end of the run in ``run_path``, or what ``read`` gives of a run of another program."""

    CSS_PATH = "post_mortem.tcss"
    BINDINGS = [
        *(
            Binding(key, f"fix({key})", "apply fix", id=f"post-mortem.fix-{key}", key_display="1..9", show=key == "1",
                    tooltip="Apply this fix and resume the run, or copy its command")
            for key in KEYS
        ),
        Binding("u", "resume", "resume", id="post-mortem.resume", tooltip="Go on from the newest checkpoint as it is"),
        Binding("e", "relaunch", "edit", id="post-mortem.edit", tooltip="Change its configuration in the form"),
        Binding("b", "bundle", "bundle", id="post-mortem.bundle",
                tooltip="Write a report to attach to an issue: no secrets, no rows of data"),
        Binding("o", "log", "open log", id="post-mortem.log", tooltip="Read the log where the end is told"),
        Binding("y", "report", "copy report", id="post-mortem.copy", show=False, tooltip="Copy all of this as text"),
        Binding("m", "monitor", "monitor", id="post-mortem.monitor", show=False, tooltip="Curves, GPUs and logs"),
        HELP,
        Binding("q,escape", "back", "back", id="post-mortem.back", key_display="q", tooltip="Back"),
    ]  # fmt: skip

    class Read(Message):
        """The end of the run was read."""

        def __init__(self, end: End) -> None:
            super().__init__()
            self.end = end

    class Applied(Message):
        """A fix was applied, and this run goes on."""

        def __init__(self, path: Path) -> None:
            super().__init__()
            self.path = path

    class TextCopied(Message):
        """A text of this screen was copied, one way or another."""

        def __init__(self, copied: Copied, what: str) -> None:
            super().__init__()
            self.copied, self.what = copied, what

    def __init__(self, run_path: Path, readonly: bool = False, read: Callable[[], End] | None = None) -> None:
        super().__init__(run_path, readonly or read is not None)
        self.is_ours = read is None
        self._read_end = read or (lambda: of_run(RunDirectory(run_path)))
        self._end: End | None = None
        self._is_applying = False

    def compose(self) -> ComposeResult:
        yield TitleBar(words.plain(self.run_path.name))
        with VerticalScroll(id="body", can_focus=False):
            with Horizontal(id="head"):
                yield Line(READING, id="cause", markup=False)
                yield Line(id="confidence", markup=False)
            yield Line(id="explanation", markup=False)
            with Horizontal(id="what"):
                with Vertical(id="memory", classes="panel"):
                    yield DiagnosisMemory(id="bars")
                with Vertical(id="fixes", classes="panel"):
                    yield DiagnosisList(id="fix-list")
            with Vertical(id="evidence", classes="panel"):
                yield DiagnosisList(id="evidence-list")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#fixes").border_title = "Fixes, best first"
        self.query_one("#evidence").border_title = "Evidence"
        self.query_one("#what").display = self.query_one("#evidence").display = False

    def on_resize(self) -> None:
        """What can be done comes first where one has to scroll; where there is room, memory stands beside it."""
        order = ("#memory", "#fixes") if self.size.width >= WIDE else ("#fixes", "#memory")
        first, second = map(self.query_one, order)
        self.query_one("#what").move_child(second, after=first)
        if self._end is not None:
            self._show_head(self._end)

    def on_screen_resume(self) -> None:
        """It may have been resumed meanwhile."""
        self._read()

    @work(thread=True, group="read", exclusive=True, exit_on_error=False)
    def _read(self) -> None:
        self.post_message(self.Read(self._read_end()))

    @on(Read)
    def _show(self, event: Read) -> None:
        if event.end == self._end:
            return
        first = self._end is None
        end = self._end = event.end
        self.status = dict(end.status)
        found = end.diagnosis
        with self.app.batch_update():
            self._show_head(end)
            fixes = [entry_of_fix(place, fix, self._may_apply) for place, fix in enumerate(self._fixes, 1)]
            self.query_one("#fix-list", DiagnosisList).show(fixes)
            evidence = [entry_of_evidence(one) for one in found.evidence] if found else []
            self.query_one("#evidence-list", DiagnosisList).show(evidence)
            has_memory = self.query_one(DiagnosisMemory).show(end) and found is not None and found.cause != "none"
            memory = self.query_one("#memory")
            memory.display = has_memory
            rank = f", rank {found.rank}" if found and found.rank is not None else ""
            memory.border_title = Content(f"Memory by phase{rank}")
            self.query_one("#fixes").display = bool(fixes)
            self.query_one("#what").display = has_memory or bool(fixes)
            self.query_one("#evidence").display = bool(evidence)
        self.refresh_bindings()
        if first:
            self.call_after_refresh(self._focus_first)

    def _focus_first(self) -> None:
        for chooser in self.query(DiagnosisList):
            if chooser.option_count:
                chooser.focus(scroll_visible=False)
                return

    def _show_head(self, end: End) -> None:
        found, told = end.diagnosis, end.status
        facts = []
        if end.is_ours:
            state, colour = words.state(words.plain(told["state"]))
            facts = [(f"{state} at step {told['step']:,}", colour)]
            facts += [(f"after {words.duration(end.elapsed)}", "$muted")] if end.elapsed is not None else []
        name = Content.assemble((words.plain(told["name"]), "bold"))
        self.query_one(TitleBar).say(name, Content(" · ").join(Content.styled(*fact) for fact in facts))
        mark, colour = MARKS.get(found.cause, ("✗", "$error")) if found else ("●", "$primary")
        self.query_one("#cause", Line).update(Content.styled(f"{mark} {words.plain(end.headline)}", colour))
        label = "confidence: " if self.size.width >= WIDE else ""
        self.query_one("#confidence", Line).update(f"{label}{found.confidence}" if found else "")
        says = words.plain(found.explanation) if found else "Press m for its monitor."
        self.query_one("#explanation", Line).update(says)

    # What can be done

    @property
    def _fixes(self) -> list[Fix]:
        return list(self._end.diagnosis.fixes) if self._end and self._end.diagnosis else []

    @property
    def _may_apply(self) -> bool:
        return self.is_ours and not self.readonly

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys are gone where there is nothing for them."""
        if action == "fix":
            place = parameters[0]
            fixes = self._fixes
            return isinstance(place, int) and place <= len(fixes) and bool(
                key_of_fix(fixes[place - 1], self._may_apply)
            )  # fmt: skip
        if action in ("bundle", "report"):
            return self._end is not None and self._end.diagnosis is not None
        if action == "log":
            return self._end is not None and self._end.log is not None
        return super().check_action(action, parameters)

    def action_fix(self, place: int) -> None:
        """Apply a fix and resume, or copy the command that does it."""
        fix = self._fixes[place - 1]
        if not (self._may_apply and is_appliable(fix)):
            self._copy(fix.command, "command.sh", "the command")
        elif not fix.patch:
            self.action_resume()
        elif not self._is_applying:
            self._is_applying = True
            self._apply(place)

    @work(thread=True, group="request", exit_on_error=False)
    def _apply(self, place: int) -> None:
        from engine.config import ConfigError
        from qltui.runs import recovery
        from qltui.runs.launching import LaunchRefused

        try:
            run = recovery.apply(RunDirectory(self.run_path), place)
        except (recovery.CannotApply, LaunchRefused, ConfigError, OSError) as error:
            self.post_message(self.Asked(f"Not applied: {error}", refused=True))
        else:
            self.post_message(self.Applied(run.path))
        finally:
            self._is_applying = False

    @on(Applied)
    def _watch(self, event: Applied) -> None:
        from qltui.ui.screens.monitor import Monitor

        self.app.push_screen(Monitor(event.path))
        self.app.notify(f"Applied: {words.plain(event.path.name)} continues it.", markup=False, timeout=6)

    @on(RunActions.Asked)
    def _follow(self, event: RunActions.Asked) -> None:
        if not event.refused and self.app.screen is self:
            self.action_monitor()

    @on(DiagnosisList.Chosen, "#fix-list")
    def _take_fix(self, event: DiagnosisList.Chosen) -> None:
        place = event.place + 1
        if self.check_action("fix", (place,)):
            self.action_fix(place)

    # Reading on

    @on(DiagnosisList.Chosen, "#evidence-list")
    def _open_evidence(self, event: DiagnosisList.Chosen) -> None:
        if self._end and self._end.diagnosis:
            one = self._end.diagnosis.evidence[event.place]
            self._open_text(self._end.folder / one.file, one.line)

    def action_log(self) -> None:
        """Read the log of the rank that failed, at its evidence or its end."""
        end = self._end
        if end is None or end.log is None:
            return
        evidence = end.diagnosis.evidence if end.diagnosis else []
        self._open_text(end.log, next((one.line for one in evidence if end.folder / one.file == end.log), None))

    def _open_text(self, path: Path, line: int | None) -> None:
        from qltui.ui.screens.text_at import TextAt

        self.app.push_screen(TextAt(path, line))

    def action_monitor(self) -> None:
        """Show the run's monitor: the one this was opened from, if it was."""
        from qltui.ui.screens.monitor import Monitor

        below = self.app.screen_stack[-2] if len(self.app.screen_stack) > 1 else None
        if isinstance(below, Monitor) and below.run_path == self.run_path:
            self.app.pop_screen()
        elif self.is_ours:
            self.app.push_screen(Monitor(self.run_path, readonly=self.readonly))

    @on(DiagnosisList.OptionHighlighted)
    def _follow_cursor(self, event: DiagnosisList.OptionHighlighted) -> None:
        chooser = event.option_list
        if isinstance(chooser, DiagnosisList) and chooser.has_focus:
            self.call_after_refresh(self._bring_into_view, chooser)

    def _bring_into_view(self, chooser: DiagnosisList) -> None:
        body = self.query_one("#body", VerticalScroll)
        if chooser is self.focused and chooser.highlighted == 0 and chooser is self._first_list:
            body.scroll_home(animate=False)  # with the head above it
        else:
            place = chooser.rows_of_cursor().translate(chooser.region.offset - body.region.offset + body.scroll_offset)
            body.scroll_to_region(place, animate=False)

    @property
    def _first_list(self) -> DiagnosisList | None:
        return next((one for one in self.query(DiagnosisList) if one.option_count), None)

    # Taking it elsewhere

    @work(thread=True, group="bundle", exit_on_error=False)
    def action_bundle(self) -> None:
        """Write the archive for an issue, and say where it is."""
        from qltui.runs.bundle import bundle_log, bundle_run

        end = self._end
        if end is None or end.diagnosis is None:
            return
        try:
            if self.is_ours:
                written = bundle_run(RunDirectory(self.run_path), end.diagnosis)
            elif end.log is not None:
                written = bundle_log(end.log, end.diagnosis)
            else:
                return
        except OSError as error:
            self.post_message(self.Asked(f"The report can't be written: {error}", refused=True))
            return
        told = f"{len(written.files)} files in {words.path(written.path)}, masked {written.masked} times."
        self.app.call_from_thread(
            self.app.notify, f"{told} Read it before you publish it.", title="Report", markup=False, timeout=12
        )

    def action_report(self) -> None:
        """Copy the whole of it as text."""
        if self._end is not None:
            self._copy(report(self._end), "diagnosis.txt", "the report")

    @work(thread=True, group="copy", exit_on_error=False)
    def _copy(self, text: str, name: str, what: str) -> None:
        from qltui.ui import clipboard

        self.post_message(self.TextCopied(clipboard.copy(text, {f"{self.run_path.name}/{name}": text + "\n"}), what))

    @on(TextCopied)
    def _tell_what_was_copied(self, event: TextCopied) -> None:
        from qltui.ui import clipboard
        from qltui.ui.widgets.review_verdict import copied_text

        if event.copied.sequence:
            clipboard.send(self.app, event.copied.sequence)
        self.app.notify(copied_text(event.what, event.copied).plain, markup=False, timeout=8)


def first_look(run_path: Path, status: dict[str, Any], readonly: bool = False) -> RunActions:
    """The screen that a run is opened with: how it ended if it died, else its monitor."""
    from qltui.ui.screens.monitor import Monitor

    if status.get("state") in DIED:
        return PostMortem(run_path, readonly)
    return Monitor(run_path, readonly)
