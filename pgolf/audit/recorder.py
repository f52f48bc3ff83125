"""What an evaluation with test-time training tells about its order."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from pgolf.audit import arguments
from pgolf.errors import OptionError, require

Result = TypeVar("Result")
INTEGERS = (torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32, torch.uint32, torch.int64)
MOST_IDS = 2**31


@dataclass
class Recorder:
    """What an evaluation tells about its order. Positions are indices of tokens in the evaluated text.

    `tokens` hands out the text. `scored` is called when scores are final, `trained` before the optimizer's step.
    `scorer` and `step` wrap functions that do the same. `watch` counts the steps of an optimizer.
    """

    cut: int | None = None  # tokens after it are replaced
    steps: int = 0
    length: int | None = None
    scores: dict[int, float] = field(default_factory=dict)
    early: list[tuple[int, int]] = field(default_factory=list)  # (step, position) trained on before it was scored
    again: list[tuple[int, int]] = field(default_factory=list)  # (step, position) scored after this step saw it
    undeclared: int = 0
    watched: int = 0
    calls: list[list[int]] = field(default_factory=list)  # positions of the calls of `scored`
    done: set[int] = field(default_factory=set)  # positions with final scores
    first_steps: dict[int, int] = field(default_factory=dict)  # position -> first step that saw it
    _handles: list[Any] = field(default_factory=list)

    def tokens(self, ids_N: Tensor, vocab_size: int) -> Tensor:
        """The text to evaluate, integers [N]. In repeated evaluations, tokens after a cut are replaced.

        Call it once per evaluation, before anything uses the text.
        """
        fits = isinstance(ids_N, Tensor) and ids_N.dim() == 1 and ids_N.dtype in INTEGERS and len(ids_N) > 1
        shown = f"{ids_N.dtype} {list(ids_N.shape)}" if isinstance(ids_N, Tensor) else type(ids_N).__name__
        require(fits, "ids_N", shown, "pass a tensor of integers [N] with two tokens or more")
        most = min(torch.iinfo(ids_N.dtype).max + 1, MOST_IDS)
        remedy = f"choose the number of token ids, 2 or more and at most {most}, which {ids_N.dtype} holds"
        vocab_size = arguments.whole("vocab_size", vocab_size, 2, remedy, most)
        require(self.length in (None, len(ids_N)), "ids_N", shown, "call `tokens` once per evaluation")
        self.length = len(ids_N)
        if self.cut is None:
            return ids_N.clone()
        generator = torch.Generator().manual_seed(self.cut)
        moved = torch.randint(1, vocab_size, (self.length,), generator=generator).to(ids_N.device)
        ids, place = ids_N.long(), torch.arange(self.length, device=ids_N.device)
        return torch.where(place > self.cut, (ids + moved) % vocab_size, ids).to(ids_N.dtype)

    def scored(self, positions: Iterable[int], nats: Any = None) -> None:
        """These tokens have their final scores. nats: the scores in the same order, for the check by execution."""
        found = _positions(positions)
        values = None if nats is None else _numbers(nats)
        if values is not None and len(values) != len(found):
            raise OptionError("nats", f"{len(values)} scores", f"pass one score for each of the {len(found)} positions")
        self.calls.append(found)
        for n, position in enumerate(found):
            if position in self.first_steps:
                self.again.append((self.first_steps[position], position))
            self.done.add(position)
            if values is not None:
                self.scores.setdefault(position, values[n])

    def trained(self, positions: Iterable[int]) -> None:
        """The loss of the step that follows saw these tokens, as inputs or as targets."""
        self.steps += 1
        for position in _positions(positions):
            if position not in self.done:
                self.early.append((self.steps, position))
            self.first_steps.setdefault(position, self.steps)

    def scorer(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """A function (positions, ...) that calls `function(...)` and then declares its result as their scores."""

        def score(positions: Iterable[int], *args: Any, **kwargs: Any) -> Result:
            found = _positions(positions)
            result = function(*args, **kwargs)
            self.scored(found, result)
            return result

        return score

    def step(self, function: Callable[..., Result]) -> Callable[..., Result]:
        """A function (positions, ...) that declares what the loss sees and then calls `function(...)`."""

        def train(positions: Iterable[int], *args: Any, **kwargs: Any) -> Result:
            self.trained(positions)
            return function(*args, **kwargs)

        return train

    def watch(self, optimizer: torch.optim.Optimizer) -> None:
        """Count steps of this optimizer that `trained` did not declare.

        One declaration covers one step of each watched optimizer.
        """
        covered = 0

        def stepped(*_: object) -> None:
            nonlocal covered
            self.undeclared += self.steps == covered
            covered = self.steps

        fits = isinstance(optimizer, torch.optim.Optimizer)
        require(fits, "optimizer", type(optimizer).__name__, "pass a torch.optim.Optimizer")
        self.watched += 1
        self._handles.append(optimizer.register_step_pre_hook(stepped))

    def close(self) -> None:
        """Stop watching."""
        for handle in self._handles:
            handle.remove()


def _positions(positions: Iterable[int]) -> list[int]:
    remedy = "pass indices of tokens, such as range(0, 64)"
    if isinstance(positions, Tensor):
        positions = positions.flatten().tolist()
    return [arguments.whole("positions", p, 0, remedy) for p in arguments.items("positions", positions, remedy)]


def _numbers(nats: Any) -> list[float]:
    try:
        return [float(x) for x in torch.as_tensor(nats).detach().flatten().tolist()]
    except (TypeError, ValueError, RuntimeError):
        raise OptionError("nats", nats, "pass one number for each position, as a list or a tensor") from None
