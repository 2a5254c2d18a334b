"""The loss without the logits of all tokens: a few tokens' at a time, their gradient taken at once.

Logits in float32 and their gradients take ``tokens x vocabulary x 14`` bytes, more than all else at long context.
Here the model's head, called with hidden states as ever, answers the summed loss in place of logits: those of one chunk
are made, the gradient of its hidden states is taken, and they are let go of. Inside of the head, so that whatever a
strategy hooks onto it holds: weights are gathered once for all chunks, and gradients leave as they always do.

What the model does with its logits after the head (scales, soft caps) has to be done with each chunk too. Whether it is
known is measured before training: :func:`choose_loss` compares with what the model answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from engine.batches import collate
from engine.collective import gathered, world
from engine.config import Loss, StrategyName, Task
from engine.config.loss_chunks import chunk_tokens, why_full
from engine.errors import BadInput
from engine.loss import cross_entropy, logits_of, summed_loss
from engine.tokens import IGNORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from engine.config import RunConfig
    from engine.loss import SummedLoss
    from engine.strategy import Strategy

    Finish = Callable[[Tensor], Tensor]
    """From what the head gives to the logits the model answers."""

SHOWN_TOKENS = 64
"""Of the first row, by which the model's logits are compared."""
HALF_SCALE = 1024.0
"""What gradients in fp16 are multiplied with until backward knows their real scale, so that small ones are kept. A
token's are at most twice the largest weight of the head, so none overflows."""


def choose_loss(config: RunConfig, strategy: Strategy, row: dict[str, Any], warn: Callable[[str], None]) -> SummedLoss:
    """The loss as ``training.loss`` has it, for a prepared model; a collective of all ranks.

    Args:
        row: of the training data; the model answers its first tokens, to see what it does with logits.
        warn: told why the loss is taken of all logits where ``auto`` would have chunks.

    Raises:
        BadInput: chunks were asked for, and this model's loss cannot be taken so.
    """
    if config.training.loss is Loss.FULL or config.model.task is Task.SEQUENCE_CLASSIFICATION:
        return summed_loss
    head: Any = strategy.unwrapped.get_output_embeddings()
    reason = why_full(config, strategy.compute) or _why_not(head, strategy)
    if not reason:
        loss = ChunkedLoss(head)
        reason = next(filter(None, gathered(loss.look(strategy, row))), "")
        if not reason:
            text = strategy.unwrapped.config.get_text_config()
            tokens = chunk_tokens(config, strategy.compute, text.vocab_size, text.hidden_size)
            assert tokens is not None, "why_full says when it is"
            loss.tokens = tokens
            return loss
        loss.let_go()
    if config.training.loss is not Loss.AUTO:
        raise BadInput(f"training.loss: this run's loss cannot be taken in chunks: {reason}; use auto or full.")
    if world()[0] == 0:
        warn(f"the loss is taken of all logits at once: {reason}.")
    return summed_loss


def _why_not(head: Any, strategy: Strategy) -> str:
    """Why the loss cannot be taken in chunks by what the head is made of; empty where it can."""
    if head is None:
        return "the model names no head"
    if strategy.config.strategy.name is StrategyName.ZERO3 and any(head.children()):
        return "zero3 would gather the parts of the head for every chunk"  # of which ranks may have different numbers
    return ""


class ChunkedLoss:
    """Called as :func:`engine.loss.summed_loss`, with the same result, but for rounding.

    Exact for a head that treats tokens one by one, whatever is in it: quantised, trained, with a bias or adapters.
    """

    def __init__(self, head: nn.Module) -> None:
        """Take over the ``head`` of a prepared model; :meth:`let_go` gives it back."""
        self.tokens = SHOWN_TOKENS
        """Of a chunk."""
        self._head: Any = head
        self._head_forward: Callable[..., Tensor] = head.forward
        self._finish: Finish = _as_it_is
        self._trains = False
        self._labels: Tensor | None = None
        self._seen: list[Tensor] | None = None
        self._summed: list[Tensor] = []
        self._was_own = "forward" in vars(head)
        head.forward = self._forward
        self._hook = head.register_forward_hook(self._take)  # after the strategy's, which see the loss

    def __call__(self, model: Any, batch: dict[str, Tensor]) -> Tensor:
        self._labels = batch["labels"]
        try:
            # Nothing is left of the logits, but what gradients pass through: hooks on the model's output hold too.
            nothing = logits_of(model, batch).float().sum()
        finally:
            self._labels = None
        return self._summed.pop().sum().to(nothing.device) + nothing

    def look(self, strategy: Strategy, row: dict[str, Any]) -> str:
        """See what the model does with its logits; why the loss cannot be taken in chunks, empty where it can."""
        shown = {name: values[:SHOWN_TOKENS] for name, values in row.items() if isinstance(values, list)}
        batch = {name: values.to(strategy.device) for name, values in collate([shown], 0).items()}
        model, was_training = strategy.unwrapped, strategy.unwrapped.training
        seen: list[Tensor] = []
        self._seen = seen
        model.eval()
        try:
            with torch.no_grad(), strategy.autocast():
                logits = logits_of(model, batch)
        finally:
            model.train(was_training)
            self._seen = None
        if len(seen) != 1 or seen[0].shape[:2] != batch["input_ids"].shape:
            return "its logits are not what its head gives for each token"
        for finish in _ways_to_finish(model.config.get_text_config()):
            if torch.equal(finish(seen[0]).to(logits).float(), logits.float()):
                self._finish = finish
                return ""
        return "the model does more with its logits than is known"

    def let_go(self) -> None:
        """Give the head back."""
        self._hook.remove()
        if self._was_own:
            self._head.forward = self._head_forward
        else:
            del self._head.forward

    def _forward(self, hidden: Tensor, *more: Any, **named: Any) -> Tensor:
        if self._seen is not None:
            with torch.enable_grad():
                answer = self._head_forward(hidden.detach(), *more, **named)
            self._trains = answer.requires_grad
            self._seen.append(answer.detach())
            return self._seen[-1]
        if self._labels is None:
            return self._head_forward(hidden, *more, **named)
        return self._loss_of_all(hidden, self._labels).reshape(1, 1, 1)

    def _take(self, _head: nn.Module, _arguments: Any, answer: Tensor) -> Tensor | None:
        """Keep the loss from what the model does with logits; it gets a zero that gradients pass through."""
        if self._labels is None:
            return None
        self._summed.append(answer)
        return answer.masked_fill(torch.ones_like(answer, dtype=torch.bool), 0.0)

    def _loss_of_all(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Each token is predicted by the hidden state of the one before it; those without a target are left out."""
        following = labels[:, 1:].to(hidden.device)
        places = (following != IGNORED).nonzero()
        targets = following[places[:, 0], places[:, 1]]
        rows = places[:, 0] * hidden.shape[1] + places[:, 1]
        states = hidden.reshape(-1, hidden.shape[-1]).index_select(0, rows)
        if len(targets) <= self.tokens:
            return self._loss_of(states, targets)
        if not torch.is_grad_enabled():
            chunks = [slice(start, start + self.tokens) for start in range(0, len(targets), self.tokens)]
            return torch.stack([self._loss_of(states[chunk], targets[chunk]) for chunk in chunks]).sum()
        weights = _leaves(self._head_forward(states[:1].detach())) if self._trains else []
        loss: Tensor = _InChunks.apply(self._loss_of, states, targets, self.tokens, *weights)  # type: ignore[no-untyped-call]
        return loss

    def _loss_of(self, states: Tensor, targets: Tensor) -> Tensor:
        logits = self._finish(self._head_forward(states))
        return cross_entropy(logits, targets.to(logits.device))


class _InChunks(torch.autograd.Function):
    """A loss summed over chunks of tokens, whose gradients are taken with it and kept for backward."""

    @staticmethod
    def forward(
        ctx: Any, loss_of: Callable[[Tensor, Tensor], Tensor], states: Tensor, targets: Tensor, tokens: int,
        *weights: Tensor,
    ) -> Tensor:  # fmt: skip
        """``states`` (targets, width), of which ``tokens`` are a chunk; ``weights``: all that ``loss_of`` trains."""
        total = torch.zeros((), dtype=torch.float32, device=states.device)
        of_states = torch.empty_like(states)
        of_weights: list[Tensor] = []
        scale = HALF_SCALE if _computes_half(states) else 1.0
        for start in range(0, len(states), tokens):
            part = states[start : start + tokens].detach().requires_grad_()
            with torch.enable_grad():
                loss = loss_of(part, targets[start : start + tokens])
            gradient, *others = torch.autograd.grad(loss, (part, *weights), torch.full_like(loss, scale))
            of_states[start : start + tokens] = gradient
            sums = of_weights or [torch.zeros_like(one, dtype=torch.float32) for one in others]
            of_weights = [one.add_(other) for one, other in zip(sums, others, strict=True)]
            total += loss.detach().to(total.device)
        ctx.scale, ctx.dtypes = scale, [weight.dtype for weight in weights]
        ctx.save_for_backward(of_states, *of_weights)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_states, *of_weights = ctx.saved_tensors
        factor = gradients[0] / ctx.scale
        scaled = [one.mul_(factor.to(one.device)) for one in of_weights]
        others = [one.to(dtype) for one, dtype in zip(scaled, ctx.dtypes, strict=True)]
        return None, of_states.mul_(factor), None, None, *others


def _computes_half(states: Tensor) -> bool:
    device = states.device.type
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device) is torch.float16
    return states.dtype is torch.float16


def _leaves(answer: Tensor) -> list[Tensor]:
    """All that is trained on the way to ``answer``, each once."""
    found: dict[int, Tensor] = {}
    seen, left = set(), [answer.grad_fn]
    while left:
        node: Any = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found[id(node.variable)] = node.variable
        left += [before for before, _ in node.next_functions]
    return list(found.values())


def _as_it_is(logits: Tensor) -> Tensor:
    return logits


def _ways_to_finish(config: Any) -> Iterator[Finish]:
    """What Transformers' models do with what their head gives, by the names of their configurations (5.23)."""
    yield _as_it_is
    if divisor := getattr(config, "logits_scaling", None):  # granite
        yield lambda logits: logits / divisor
    for name in ("logit_scale", "lm_head_multiplier", "output_multiplier"):  # cohere, falcon_h1 and others
        if factor := getattr(config, name, None):
            yield lambda logits, factor=factor: logits * factor  # type: ignore[misc]
    if cap := getattr(config, "final_logit_softcapping", None):  # gemma
        yield lambda logits: torch.tanh(logits / cap) * cap
    if size := getattr(config, "unpadded_vocab_size", None):
        yield lambda logits: logits[..., :size]
