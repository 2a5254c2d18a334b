"""Talking to the model that a run made, with its base beside it if wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engine.config.conversation import Piece, Turn
from engine.events import RunDirectory
from qltui.runs import conversation
from qltui.runs.conversation import Settings
from qltui.runs.helper_process import HelperEnded, Unanswered
from qltui.ui import bandwidth, words
from qltui.ui.screens.page import Page
from qltui.ui.widgets.entry import Entry
from qltui.ui.widgets.exchange import Exchange
from qltui.ui.widgets.footer import Footer
from qltui.ui.widgets.line import Line
from qltui.ui.widgets.title_bar import TitleBar

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult

    from qltui.runs.conversation import Conversation
    from qltui.ui.widgets.exchange import AnswerText

SIDES = {"tuned": [True], "both": [True, False], "base": [False]}
"""Who answers, by what it is called; a key goes from one to the next."""
LOADING = "Loading the model. What you type meanwhile is asked when it is there."
EMPTY = "Type below what the model is to answer."


class Chat(Page):
    """A conversation with the model of the run in ``run_path``."""

    CSS_PATH = "chat.tcss"
    BINDINGS = [
        Binding("enter", "ask", "send", id="chat.send", tooltip="Send what is typed"),
        Binding("ctrl+t", "sides", "who answers", id="chat.sides", priority=True,
                tooltip="Let the tuned model answer, both beside each other, or the base model alone"),
        Binding("ctrl+n", "begin_anew", "new", id="chat.new", priority=True,
                tooltip="Forget the conversation and begin a new one"),
        Binding("f1", "help", "help", id="chat.help", tooltip="All keys of this screen"),
        Binding("escape", "back", "stop, leave", id="chat.leave",
                tooltip="End the answer that is being written; once more, and the screen is left"),
    ]  # fmt: skip

    def __init__(
        self, run_path: Path, step: int | None = None, settings: Settings | None = None, *, both: bool = False
    ) -> None:
        """``step``: of the checkpoint to take instead of the newest state."""
        super().__init__()
        self._run = RunDirectory(run_path)
        self._step = step
        self._settings = settings or Settings()
        self._sides = "both" if both else "tuned"
        self._talk: Conversation | None = None
        self._writing: AnswerText | None = None
        self._waiting: str | None = None
        """What was asked before there was a model."""

    def compose(self) -> ComposeResult:
        yield TitleBar("Chat", words.plain(self._run.id))
        yield Line(LOADING, id="about", markup=False)
        with VerticalScroll(id="talk", can_focus=False):
            yield Static(EMPTY, id="empty", markup=False)
        yield Entry(placeholder="your question", id="entry", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#entry").focus()
        self.set_interval(0.5 if bandwidth.is_low() else 0.1, self._paint)
        self._load()

    async def on_unmount(self) -> None:
        if self._talk is not None:
            await self._talk.close()

    # The model

    @work(exclusive=True, group="load", exit_on_error=False)
    async def _load(self) -> None:
        try:
            self._talk = await conversation.begin(self._run, self._step)
        except Unanswered as error:
            self._say(Content.styled(f"✗ {words.plain(error)}", "$error"))
            return
        if not self._talk.loaded.has_base:
            self._sides = "tuned"
        self._tell()
        if self._waiting is not None:
            question, self._waiting = self._waiting, None
            self._answer(question)

    def _tell(self) -> None:
        """What is talked to, and who answers."""
        assert self._talk is not None
        loaded = self._talk.loaded
        parts = [
            f"{self._sides} answer" if self._sides == "both" else f"{self._sides} answers",
            f"{loaded.learnt} on {loaded.model.rstrip('/').rpartition('/')[2]}",
            f"{loaded.device}, {loaded.dtype}", loaded.style,
            *([] if loaded.remembers else ["each question stands alone"]),
            *([conversation.SPARED] if self._talk.spares_gpus else []),
        ]  # fmt: skip
        self._say(Content(words.plain(" · ".join(parts))))

    def _say(self, told: Content) -> None:
        self.query_one("#about", Line).update(told)

    # Asking

    @on(Input.Submitted)
    def action_ask(self) -> None:
        """Send what is typed; while an answer is being written, or with nothing typed, nothing happens."""
        entry = self.query_one("#entry", Entry)
        question = entry.value.strip()
        if not question or self._writing is not None or self._waiting is not None:
            return
        entry.value = ""
        if self._talk is None:
            self._waiting = question
        else:
            self._answer(question)

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def _answer(self, question: str) -> None:
        """One side after the other."""
        talk = self._talk
        assert talk is not None
        self.query_one("#empty").display = False
        earlier = list(self.query(Exchange)) if talk.loaded.remembers else []
        exchange = Exchange(question, SIDES[self._sides])
        scroll = self.query_one("#talk", VerticalScroll)
        await scroll.mount(exchange)
        scroll.scroll_end(animate=False, force=True)
        for answer in exchange.answers:
            self._writing = answer
            turns = [turn for one in earlier for turn in one.turns(answer.tuned)] + [Turn("user", question)]
            try:
                async for part in talk.answer(turns, tuned=answer.tuned, settings=self._settings):
                    answer.add(part.text) if isinstance(part, Piece) else answer.end(part)
            except Unanswered as error:
                answer.refuse(words.plain(error))
                if isinstance(error, HelperEnded):
                    self._talk = None
                    self._say(Content.styled("✗ There is no model any more. Leave, and open it again.", "$error"))
                    return
            finally:
                self._writing = None
            scroll.scroll_end(animate=False, force=True)

    def _paint(self) -> None:
        if self._writing is not None:
            self._writing.paint()
            self.query_one("#talk", VerticalScroll).scroll_end(animate=False, force=True)

    # Keys

    def action_sides(self) -> None:
        """The next of who may answer."""
        if self._talk is not None and not self._talk.loaded.has_base:
            self.app.notify("The whole model was trained: it has no adapter that could be left aside.", markup=False)
            return
        names = list(SIDES)
        self._sides = names[(names.index(self._sides) + 1) % len(names)]
        if self._talk is not None:
            self._tell()

    async def action_begin_anew(self) -> None:
        """Forget what was said."""
        if self._writing is None:
            await self.query(Exchange).remove()
            self.query_one("#empty").display = True

    def action_back(self) -> None:
        """Stop the answer that is being written; with none, leave."""
        if self._writing is not None and self._talk is not None:
            self.run_worker(self._talk.stop(), group="stop")
        else:
            super().action_back()
