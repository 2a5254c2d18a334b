"""``trainer_log.jsonl`` of LLaMA-Factory: a line for every time it logs."""

from __future__ import annotations

import json

from qltui.runs.foreign.files import GrowingFile, as_count, as_number, seconds

NAME = "trainer_log.jsonl"


class LlamaFactoryLog(GrowingFile):
    """Its ``elapsed_time`` and ``remaining_time`` are durations as text, ``throughput`` is tokens a second."""

    kind = "LLaMA-Factory's log"

    def take_line(self, line: str) -> None:
        try:
            figures = json.loads(line)
        except (ValueError, RecursionError):
            return
        step = as_count(figures.get("current_steps")) if isinstance(figures, dict) else None
        if step is None:
            return
        self.step = step
        self.total_steps = as_count(figures.get("total_steps")) or self.total_steps
        epoch = as_number(figures.get("epoch"))
        self.epoch = self.epoch if epoch is None else epoch
        self.eta_seconds = seconds(figures.get("remaining_time"))
        self.elapsed_seconds = seconds(figures.get("elapsed_time"))
        self.take(step, figures)
        has_figures = any(name in figures for name in ("loss", "eval_loss", "predict_loss"))
        self.is_finished = not has_figures and self.total_steps is not None and step >= self.total_steps
