"""Later tokens change nothing: by changing them, and by gradients.

The log-probabilities at position t are those of token t + 1. They may depend on tokens 0 to t.
"""

import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.audit.double import in_double
from pgolf.audit.judge import Judge
from pgolf.audit.probe import Inputs, Probe, Refused, Tally
from pgolf.audit.tolerance import Change

EVERY = 32  # up to this length every position is tested
SAMPLED = 4  # positions of longer inputs, beside ends, middle and the ends of chunks
DRAWS_EVERY, DRAWS_SAMPLED = 4, 2  # replacements of one token, in short inputs and in longer ones
MOST_GRADIENT = 512  # tokens of the longest input whose gradients are taken
ROUNDINGS = 256.0  # of the largest gradient, that a gradient may have by rounding alone


@dataclass(frozen=True)
class Perturbed:
    """The tallies of one kind of weights: one later token, all later tokens, the target alone."""

    one: Tally
    all: Tally
    target: Tally


def perturb(judge: Judge, inputs: Inputs, length: int, label: str, tallies: Perturbed) -> None:
    """Change later tokens of one input [1, T] and compare the results before them, entry by entry.

    Both calls have one shape, so equal inputs give equal bits, unless an inner shape depends on the tokens.
    """
    base, place = judge.call(inputs.ids(1, length)), torch.arange(length)
    for t in inputs.positions(length, EVERY, SAMPLED):
        here = f"{label}, length {length}: after a change of"
        before, own = (operator.itemgetter((slice(None), slice(start, t + 1))) for start in (0, t))
        numbers: dict[str, Any] = {"length": length, "changed": t + 1}
        for _ in range(DRAWS_EVERY if length <= EVERY else DRAWS_SAMPLED):
            result = judge.call(inputs.other(base.ids, place == t + 1))
            where = f"{here} token {t + 1}"
            judge.compare(tallies.one, base, result, (before, before), where, **numbers)
            where += f", the target of position {t}"
            judge.compare(tallies.target, base, result, (own, own), where, at=(0, t), **numbers)
        result = judge.call(inputs.other(base.ids, place > t))
        where = f"{here} tokens {t + 1} to {length - 1}"
        judge.compare(tallies.all, base, result, (before, before), where, **numbers)


@contextmanager
def _leaves(modules: dict[str, nn.Module], ids_BT: Tensor) -> Iterator[list[tuple[str, Tensor, int]]]:
    """Cut the graph at the outputs of the modules: (name, output, its time axis), one per call.

    A lookup of a list of ids that is not the text, such as its different tokens, has no time axis and is left out.
    """
    length = ids_BT.size(1)
    found: list[tuple[str, Tensor, int]] = []
    handles = []
    for name, module in modules.items():

        def cut(_module: nn.Module, args: Any, output: object, name: str = name) -> Tensor | None:
            given = args[0] if args and isinstance(args[0], Tensor) else None
            if given is not None and given.dim() == 1 and not torch.equal(given.cpu(), ids_BT[0].to(given.dtype)):
                return None
            if not isinstance(output, Tensor) or not output.is_floating_point() or length not in output.shape:
                return None
            leaf = output.detach().requires_grad_()
            found.append((name, leaf, list(output.shape).index(length)))
            return leaf.clone()  # the model may change it in place

        handles.append(module.register_forward_hook(cut))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class _Slopes:
    """Sizes of d logp_t / d embedding_j. later: (t, module, j) with j > t -> size. largest: of all. names: of modules.

    reason: why there are none.
    """

    later: dict[tuple[int, str, int], float] = field(default_factory=dict)
    largest: float = 0.0
    names: tuple[str, ...] = ()
    reason: str = ""


def gradient_lengths(lengths: Sequence[int]) -> list[int]:
    """The shortest length, and the longest one of at most MOST_GRADIENT."""
    return sorted({lengths[0], max([lengths[0], *(n for n in lengths if n <= MOST_GRADIENT)])})


def gradients(
    judge: Judge, inputs: Inputs, length: int, modules: dict[str, nn.Module], label: str, tally: Tally
) -> None:
    """d logp_t / d embedding_j must be exactly zero for all j > t, for every output of the embedding modules.

    In inputs of more than EVERY tokens, t is the first, the middle and the last but one position, and SAMPLED others.
    Sizes that rounding explains are computed again in float64.
    """
    probe, eps = judge.probe, judge.tolerance.eps
    ids = inputs.ids(1, length)
    weights_V = torch.randn(inputs.vocab_size, generator=inputs.generator)
    positions = [*range(length)]
    if length > EVERY:
        positions = sorted({0, length // 2, length - 2, *inputs.integers(length - 1, SAMPLED).tolist()})
    seen = _slopes(probe, ids, weights_V, modules, positions)
    if seen.reason:
        tally.reason = f"{label}: {seen.reason}"
        return
    tally.template = "{where} of size {size:.3g}"
    tally.notes.append(f"outputs of {', '.join(seen.names)}")
    exact, small = seen, ROUNDINGS * eps * seen.largest
    if any(0 < size <= small for size in seen.later.values()):
        with in_double(probe.module):
            exact = _slopes(probe, ids, weights_V, modules, positions)
    rounding = ROUNDINGS * torch.finfo(torch.float64).eps * exact.largest
    for (t, name, j), size in seen.later.items():
        where = f"{label}, length {length}: position {t} has a gradient for the output of {name} at {j},"
        change = Change(size, 0, t, 0)
        again = exact.later.get((t, name, j), 0.0)
        if 0 < size <= small and exact.reason:
            tally.add_decided(change, where, f"float64 cannot be executed: {exact.reason}", clear=False)
        elif 0 < size <= small and again <= rounding:
            tally.add_decided(change, where, f"{again:.1e} in float64", clear=True)
        else:
            tally.add(change, 0.0, where, embedding=name, length=length, changed=j)


def _slopes(
    probe: Probe, ids_BT: Tensor, weights_V: Tensor, modules: dict[str, nn.Module], positions: Sequence[int]
) -> _Slopes:
    """Gradients of the log-probabilities at some positions, summed with some weights, for outputs of the modules."""
    length = ids_BT.size(1)
    try:
        with torch.enable_grad(), _leaves(modules, ids_BT) as leaves:
            out_TV = probe.raw(ids_BT)[0]
        if not leaves:
            what = (
                "no nn.Embedding of `model` was called with an output for each position; name the modules with `embed`"
            )
            return _Slopes(reason=what)
        if not out_TV.requires_grad:
            return _Slopes(reason="the log-probabilities have no gradient; compute them without torch.no_grad")
        found = _Slopes(names=tuple(dict.fromkeys(name for name, _, _ in leaves)))
        reached = unknown = False
        for t in positions:
            scored = torch.where(out_TV[t].isfinite(), out_TV[t], 0) * weights_V.to(out_TV)
            slopes = torch.autograd.grad(
                scored.sum(), [leaf for _, leaf, _ in leaves], retain_graph=True, allow_unused=True
            )
            for (name, leaf, axis), slope in zip(leaves, slopes, strict=True):
                if slope is None:
                    continue
                size_T = slope.detach().abs().amax([a for a in range(leaf.dim()) if a != axis]).cpu()
                unknown = unknown or not bool(size_T.isfinite().all())
                reached = reached or bool(size_T[: t + 1].any())
                found.largest = max(found.largest, float(size_T.max()))
                for j in range(t + 1, length):
                    found.later[t, name, j] = max(found.later.get((t, name, j), 0.0), float(size_T[j]))
    except Refused as refused:
        return _Slopes(reason=f"the function refuses gradients: {refused}")
    except RuntimeError as error:  # of autograd, such as for reentrant checkpoints
        return _Slopes(reason=f"gradients cannot be computed: {' '.join(str(error).split())}")
    if unknown or not reached:
        return _Slopes(reason="gradients are not finite" if unknown else "no log-probability depends on an embedding")
    return found


def embedding_modules(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules with these names, or every nn.Embedding."""
    found = dict(model.named_modules())
    if names is not None:
        return {name: found[name] for name in names}
    return {name or "model": module for name, module in found.items() if isinstance(module, nn.Embedding)}
