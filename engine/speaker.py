"""Writes answers as the model a run made, piece by piece."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import StoppingCriteria, TextStreamer

from engine.config.conversation import Piece, Said
from engine.errors import BadInput
from engine.generation import answer_ends
from engine.templates import TemplateProblem, question_text, row_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.config import DataFormat
    from engine.config.conversation import Say
    from engine.tuned_model import Tuned

    Tell = Callable[[Piece | Said], None]


class Speaker:
    """A tuned model, asked as it was trained on rows of a format."""

    def __init__(self, tuned: Tuned, row_format: DataFormat) -> None:
        self._tuned = tuned
        self.template = row_template(row_format, tuned.tokenizer)
        self._ends = answer_ends(tuned.model, tuned.tokenizer)

    @torch.no_grad()
    def answer(self, request: Say, is_stopped: Callable[[], bool], say: Tell) -> None:
        """Say an answer in pieces, and how it ended.

        Raises:
            BadInput: the conversation is too long for the model, or its chat template refuses it.
        """
        model, tokenizer = self._tuned.model, self._tuned.tokenizer
        inputs, room = self._inputs(request)
        drawn: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if request.temperature:
            drawn = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
        torch.manual_seed(request.seed)
        started = time.monotonic()
        with contextlib.nullcontext() if request.tuned else model.disable_adapter():
            output = model.generate(
                **inputs,
                **drawn,
                max_new_tokens=min(request.max_new_tokens, room),
                streamer=_Pieces(tokenizer, lambda text: say(Piece(request.id, text))),
                stopping_criteria=[_Stopped(is_stopped)],
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=self._ends,
            )
        written = output[0, inputs["input_ids"].shape[1] :].tolist()
        reason = "end" if written and written[-1] in self._ends else "stopped" if is_stopped() else "length"
        seconds = time.monotonic() - started
        say(Said(id=request.id, tokens=len(written), seconds=seconds, reason=reason))  # type: ignore[arg-type]

    def _inputs(self, request: Say) -> tuple[dict[str, torch.Tensor], int]:
        """The conversation as tokens, (1, tokens) each, and how many more the model takes."""
        tokenizer = self._tuned.tokenizer
        turns = [{"role": turn.role, "content": turn.content} for turn in request.turns]
        try:
            text = question_text(self.template, tokenizer, turns)
        except TemplateProblem as problem:
            raise BadInput(f"This conversation {problem}.") from None
        ids = tokenizer(text, add_special_tokens=not self.template.is_chat)["input_ids"]
        if not self.template.is_chat and len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
            ids = ids[:-1]  # some tokenizers end every text, and this one is to go on
        longest = getattr(self._tuned.model.config.get_text_config(), "max_position_embeddings", None)
        room = longest - len(ids) if longest else request.max_new_tokens
        if room < 1:
            raise BadInput(
                f"The conversation has {len(ids):,} tokens and the model takes {longest:,}, an answer's included: "
                "begin a new conversation."
            )
        input_ids = torch.tensor([ids], device=self._tuned.model.device)
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}, room


class _Pieces(TextStreamer):  # type: ignore[misc]
    """Text as soon as it is sure to stay: whole words, and whole lines."""

    def __init__(self, tokenizer: Any, say: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._say = say

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        if text:
            self._say(text)


class _Stopped(StoppingCriteria):  # type: ignore[misc]
    """Whether somebody asked for no more."""

    def __init__(self, is_stopped: Callable[[], bool]) -> None:
        self._is_stopped = is_stopped

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_more: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self._is_stopped(), device=input_ids.device)
