"""Later tokens change nothing: by changing them, and by gradients.

The log-probabilities at position t are those of token t + 1. They may depend on tokens 0 to t.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgolf.audit.probe import Inputs, Probe, Refused, Tally
from pgolf.audit.tolerance import Change, largest_change

EVERY = 32  # up to this length every position is tested
SAMPLED = 8  # positions of longer inputs, beside the ends and the middle
DRAWS_EVERY, DRAWS_SAMPLED = 4, 2  # replacements of one token, in short inputs and in longer ones


@dataclass(frozen=True)
class Perturbed:
    """The tallies of one kind of weights: one later token, all later tokens, the target alone."""

    one: Tally
    all: Tally
    target: Tally


def perturb(probe: Probe, inputs: Inputs, length: int, limit: float, label: str, tallies: Perturbed) -> None:
    """Change later tokens of one input [1, T] and compare the results before them, entry by entry.

    Both calls have one shape, so equal inputs give equal bits. limit: nats that identical calls may differ by.
    """
    ids = inputs.ids(1, length)
    base, place = probe(ids), torch.arange(length)
    for t in inputs.positions(length, EVERY, SAMPLED):
        here = f"{label}, length {length}: after a change of"
        for _ in range(DRAWS_EVERY if length <= EVERY else DRAWS_SAMPLED):
            result = probe(inputs.other(ids, place == t + 1))
            numbers = {"length": length, "changed": t + 1}
            change = largest_change(base[:, : t + 1], result[:, : t + 1])
            tallies.one.add(change, limit, f"{here} token {t + 1}", **numbers)
            own = largest_change(base[:, t : t + 1], result[:, t : t + 1])
            moved = Change(own.size, own.row, t, own.entry)
            tallies.target.add(moved, limit, f"{here} token {t + 1}, the target of position {t}", **numbers)
        result = probe(inputs.other(ids, place > t))
        change = largest_change(base[:, : t + 1], result[:, : t + 1])
        tallies.all.add(change, limit, f"{here} tokens {t + 1} to {length - 1}", length=length, changed=t + 1)


@contextmanager
def _leaves(modules: dict[str, nn.Module], length: int) -> Iterator[list[tuple[str, Tensor, int]]]:
    """Cut the graph at the outputs of the modules: (name, output, its time axis), one per call."""
    found: list[tuple[str, Tensor, int]] = []
    handles = []
    for name, module in modules.items():

        def cut(_module: nn.Module, _args: object, output: object, name: str = name) -> Tensor | None:
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


def gradients(
    probe: Probe, inputs: Inputs, length: int, modules: dict[str, nn.Module], label: str, tally: Tally
) -> None:
    """d logp_t / d embedding_j must be exactly zero for all j > t, for every output of the embedding modules."""
    ids = inputs.ids(1, length)
    try:
        with torch.enable_grad(), _leaves(modules, length) as leaves:
            out_TV = probe.raw(ids)[0]
    except Refused as refused:
        tally.reason = f"{label}: the function refuses gradients: {refused}"
        return
    if not leaves:
        tally.reason = (
            "no nn.Embedding of `model` was called with an output for each position; name the modules with `embed`"
        )
        return
    if not out_TV.requires_grad:
        tally.reason = "the log-probabilities have no gradient; compute them without torch.no_grad"
        return
    weights_V = torch.randn(out_TV.size(-1), generator=inputs.generator).to(out_TV)
    seen: list[tuple[int, str, int, float]] = []
    reached = unknown = False
    for t in range(length):
        scored = torch.where(out_TV[t].isfinite(), out_TV[t], 0) * weights_V
        slopes = torch.autograd.grad(
            scored.sum(), [leaf for _, leaf, _ in leaves], retain_graph=True, allow_unused=True
        )
        for (name, leaf, axis), slope in zip(leaves, slopes, strict=True):
            if slope is None:
                continue
            size_T = slope.detach().abs().amax([a for a in range(leaf.dim()) if a != axis]).cpu()
            unknown = unknown or not bool(size_T.isfinite().all())
            reached = reached or bool(size_T[: t + 1].any())
            seen += [(t, name, j, float(size_T[j])) for j in range(t + 1, length)]
    if unknown or not reached:
        what = "gradients are not finite" if unknown else "no log-probability depends on an embedding"
        tally.reason = f"{label}: {what}"
        return
    tally.template = "{where} of size {size:.3g}"
    for t, name, j, size in seen:
        where = f"{label}, length {length}: position {t} has a gradient for the output of {name} at {j},"
        tally.add(Change(size, 0, t, 0), 0.0, where, embedding=name, length=length, changed=j)
    tally.notes.append(f"outputs of {', '.join(dict.fromkeys(name for name, _, _ in leaves))}")


def embedding_modules(model: nn.Module, names: Sequence[str] | None) -> dict[str, nn.Module]:
    """The modules with these names, or every nn.Embedding."""
    found = dict(model.named_modules())
    if names is not None:
        return {name: found[name] for name in names}
    return {name or "model": module for name, module in found.items() if isinstance(module, nn.Embedding)}
