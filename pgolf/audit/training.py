"""The checks of a training loop, executed for a few of its steps."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.audit import arguments
from pgolf.audit.report import Check, Report, Verdict
from pgolf.errors import OptionError, require, suggest

RULE = "training"
MOST_ZERO = 0.5  # share of the steps: so many, or more, are too many
SHOWN = 8  # names in one line of evidence
Averaging = Callable[[], Mapping[str, Tensor] | None]
LIMITS = {
    "owned": "the optimizers that were passed, at the end of the steps",
    "gradient": "a gradient for one row of a table counts for the whole table; a gradient that neither autograd nor an "
    "optimizer handles is not seen",
    "moves": "the steps of this audit only, which trained the model: nothing is restored; a parameter counts as moved "
    "if one of its entries did",
    "frozen": "the steps of this audit only",
    "rate": "the steps of this audit only: the end of a schedule is not seen",
    "average": "the steps of this audit only: a window that opens later is not seen",
}


@dataclass
class _Seen:
    """What the hooks saw. graded: parameters with a gradient that was not zero, by id. touched: with any gradient."""

    graded: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)
    rates: list[float] = field(default_factory=list)  # largest magnitude of a rate in the calls of one step
    idle: int = 0  # steps at rate zero
    silent: int = 0  # steps in which no optimizer was called
    snapshots: int = 0
    repeated: list[int] = field(default_factory=list)  # steps whose snapshot equals the one before


def training(
    model: nn.Module,
    optimizers: Any,
    step: Callable[[], object],
    *,
    steps: int = 3,
    most_steps: int = 20,
    frozen: Sequence[str] = (),
    averaging: Averaging | None = None,
) -> Report:
    """Execute `step` and check that every parameter is owned once, gets a gradient and moves.

    This trains the model: weights, optimizers and data move on, and nothing is restored. optimizers: one, or several;
    each has `param_groups` and `step`, as torch's do. step: one whole training step, with its backward pass and
    optimizers. steps: how often it is called at least. While a trainable parameter has no gradient or has not moved,
    it is called up to `most_steps` times, because weights that start at zero block gradients at first. frozen: names
    of parameters, or of the modules that hold them, that are meant to stay as they are. averaging: called after each
    step; returns the weights that entered an average in that step by name, or None if none did.

    Raises OptionError for arguments that make no sense. Exceptions of `step` are passed on.
    """
    owners = _optimizers(optimizers)
    require(isinstance(model, nn.Module), "model", type(model).__name__, "pass a torch.nn.Module")
    arguments.function("step", step, 0, "pass a function without arguments that executes one training step")
    steps = arguments.whole("steps", steps, 1, "choose 1 or more")
    most_steps = arguments.whole("most_steps", most_steps, steps, f"choose {steps} or more")
    if averaging is not None:
        arguments.function("averaging", averaging, 0, "pass a function without arguments, or None")
    parameters = {name: p for name, p in model.named_parameters() if p.numel()}
    require(len(parameters) > 0, "model", type(model).__name__, "pass a module that has parameters")
    still = _frozen(model, frozen)
    trainable = {name: p for name, p in parameters.items() if id(p) not in still}
    before = {name: p.detach().clone() for name, p in parameters.items()}
    seen, previous, taken = _Seen(), None, 0
    with _hooks(trainable.values(), owners, seen):
        while taken < steps or (taken < most_steps and _waiting(trainable, before, seen)):
            seen.rates = []
            step()
            taken += 1
            seen.idle += bool(seen.rates) and max(seen.rates) == 0
            seen.silent += not seen.rates
            previous = _snapshot(averaging, previous, seen, taken)
    return Report(
        (
            _owned(parameters, owners, still),
            _graded(trainable, seen, taken),
            _moves(trainable, before, taken),
            _still({n: p for n, p in parameters.items() if id(p) in still}, before, owners),
            _rates(seen, taken),
            _average(averaging, seen, taken),
        )
    )


def _optimizers(optimizers: Any) -> list[Any]:
    """The optimizers as a list."""
    found = list(optimizers) if isinstance(optimizers, Iterable) else [optimizers]
    require(len(found) > 0, "optimizers", optimizers, "pass one optimizer or more")
    for optimizer in found:
        fits = hasattr(optimizer, "param_groups") and callable(getattr(optimizer, "step", None))
        require(fits, "optimizers", type(optimizer).__name__, "pass objects with `param_groups` and `step`")
        grouped = all(isinstance(group, Mapping) and "params" in group for group in optimizer.param_groups)
        require(grouped, "optimizers", type(optimizer).__name__, "each of its `param_groups` needs `params`")
    return found


def _frozen(model: nn.Module, frozen: Sequence[str]) -> set[int]:
    """Ids of the frozen parameters. A shared parameter is frozen under any of its names."""
    every = dict(model.named_parameters(remove_duplicate=False))
    still: set[int] = set()
    for entry in arguments.names("frozen", frozen):
        found = {id(p) for name, p in every.items() if name == entry or name.startswith(f"{entry}.")}
        if not found:
            remedy = f"name a parameter or a module with parameters.{suggest(entry, list(every))}"
            raise OptionError("frozen", entry, remedy)
        still |= found
    return still


@contextmanager
def _hooks(trainable: Iterable[nn.Parameter], owners: Sequence[Any], seen: _Seen) -> Iterator[None]:
    """Watch gradients and learning rates for a while."""

    def graded(gradient: Tensor, key: int) -> None:
        seen.touched.add(key)
        if key not in seen.graded and bool((gradient.coalesce().values() if gradient.is_sparse else gradient).any()):
            seen.graded.add(key)

    def stepping(optimizer: Any, *_: object) -> None:
        # An optimizer that chooses its own rate, such as Adafactor, has none or None in its groups.
        given = (1.0 if (lr := group.get("lr", 1.0)) is None else lr for group in optimizer.param_groups)
        seen.rates.append(max((abs(float(lr)) for lr in given), default=0.0))
        for parameter in (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None):
            graded(parameter.grad, id(parameter))

    handles = [p.register_hook(partial(graded, key=id(p))) for p in trainable if p.requires_grad]
    handles += [owner.register_step_pre_hook(stepping) for owner in owners if isinstance(owner, torch.optim.Optimizer)]
    others = [owner for owner in owners if not isinstance(owner, torch.optim.Optimizer)]
    own = [vars(owner).get("step") for owner in others]
    for owner in others:

        def stepped(*args: Any, owner: Any = owner, original: Any = owner.step, **kwargs: Any) -> Any:
            stepping(owner)
            return original(*args, **kwargs)

        owner.step = stepped
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for owner, old in zip(others, own, strict=True):
            if old is None:
                del owner.step
            else:
                owner.step = old


def _same(a: Tensor, b: Tensor) -> bool:
    """Equal values. NaN equals nothing: a parameter that became NaN did move."""
    return a.shape == b.shape and torch.equal(a, b)


def _waiting(trainable: Mapping[str, nn.Parameter], before: Mapping[str, Tensor], seen: _Seen) -> bool:
    """Is there a parameter that may still get its first gradient or move for the first time?"""
    return any(id(p) not in seen.graded or _same(p.detach(), before[name]) for name, p in trainable.items())


def _snapshot(
    averaging: Averaging | None, previous: dict[str, Tensor] | None, seen: _Seen, taken: int
) -> dict[str, Tensor] | None:
    """Count the weights that entered the average in this step, and return them, or the previous ones if none did."""
    entered = averaging() if averaging is not None else None
    if entered is None:
        return previous
    fits = isinstance(entered, Mapping) and all(isinstance(tensor, Tensor) for tensor in entered.values())
    require(fits, "averaging", type(entered).__name__, "return tensors by name, or None")
    now = {name: tensor.detach().clone() for name, tensor in entered.items()}
    seen.snapshots += 1
    if previous is not None and now.keys() == previous.keys() and all(_same(now[k], previous[k]) for k in now):
        seen.repeated.append(taken)
    return now


def _listed(names: Sequence[str]) -> str:
    """Up to SHOWN names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _verdict(name: str, key: str, faults: Sequence[str], good: str, **data: Any) -> Check:
    """FAIL with the faults, or PASS."""
    evidence = "; ".join(faults) if faults else good
    return Check(RULE, name, Verdict.FAIL if faults else Verdict.PASS, evidence, LIMITS[key], data)


def _owned(parameters: Mapping[str, nn.Parameter], owners: Sequence[Any], still: set[int]) -> Check:
    """Each parameter lies in one group of one optimizer; frozen ones may lie in none."""
    held = [id(p) for owner in owners for group in owner.param_groups for p in group["params"]]
    times = {name: held.count(id(p)) for name, p in parameters.items()}
    nowhere = [name for name, n in times.items() if n == 0 and id(parameters[name]) not in still]
    twice = [name for name, n in times.items() if n > 1]
    strangers = len(set(held) - {id(p) for p in parameters.values()})
    faults = []
    if nowhere:
        weights = sum(parameters[name].numel() for name in nowhere)
        faults.append(f"in no optimizer: {_listed(nowhere)} ({weights:,} weights)")
    if twice:
        faults.append(f"owned more than once: {_listed(twice)}")
    foreign = f"{strangers} tensors of the optimizers are not parameters of the model" if strangers else ""
    if faults and foreign:
        faults.append(foreign)
    good = f"{len(parameters)} parameters, {len(still)} of them frozen" + (f"; {foreign}" if foreign else "")
    return _verdict("every parameter has one optimizer", "owned", faults, good, unowned=nowhere, twice=twice)


def _graded(trainable: Mapping[str, nn.Parameter], seen: _Seen, taken: int) -> Check:
    """Each trainable parameter had a gradient that was not zero."""
    never = [name for name, p in trainable.items() if id(p) not in seen.touched]
    zero = [name for name, p in trainable.items() if id(p) in seen.touched - seen.graded]
    off = [name for name in never if not trainable[name].requires_grad]
    faults = []
    if never:
        faults.append(f"no gradient in {taken} steps: {_listed(never)}")
    if zero:
        faults.append(f"gradient zero in {taken} steps: {_listed(zero)}")
    if off:
        faults.append(f"requires_grad is False, but not named in `frozen`: {_listed(off)}")
    good = f"{len(trainable)} trainable parameters in {taken} steps"
    return _verdict("every trainable parameter has a gradient", "gradient", faults, good, never=never, zero=zero)


def _moves(trainable: Mapping[str, nn.Parameter], before: Mapping[str, Tensor], taken: int) -> Check:
    """Each trainable parameter differs from its values before, and is finite."""
    fixed = [name for name, p in trainable.items() if _same(p.detach(), before[name])]
    broken = [name for name, p in trainable.items() if not bool(p.detach().isfinite().all())]
    faults = [f"unchanged after {taken} steps: {_listed(fixed)}"] if fixed else []
    if broken:
        faults.append(f"no longer finite: {_listed(broken)}")
    good = f"{len(trainable)} trainable parameters after {taken} steps"
    return _verdict("every trainable parameter moves", "moves", faults, good, fixed=fixed, not_finite=broken)


def _still(still: Mapping[str, nn.Parameter], before: Mapping[str, Tensor], owners: Sequence[Any]) -> Check:
    """Frozen parameters keep their values. All of them are named."""
    moved = [name for name, p in still.items() if not _same(p.detach(), before[name])]
    held = {id(p) for owner in owners for group in owner.param_groups for p in group["params"]}
    owned = [name for name, p in still.items() if id(p) in held]
    weights = sum(p.numel() for p in still.values())
    good = f"frozen: {_listed(list(still))} ({weights:,} weights)" if still else "no parameter is frozen"
    if owned:
        good += f"; in an optimizer all the same: {_listed(owned)}"
    faults = [f"named as frozen, but moved: {_listed(moved)}"] if moved else []
    return _verdict("frozen parameters stay", "frozen", faults, good, frozen=list(still), moved=moved)


def _rates(seen: _Seen, taken: int) -> Check:
    """The share of steps at learning rate zero in every group. Steps that call no optimizer do not count."""
    name, share = "the learning rate is not zero for half of the steps", seen.idle / taken
    data = {"steps": taken, "zero_steps": seen.idle, "share": share}
    if seen.silent == taken:
        evidence = f"none of the optimizers was called in {taken} steps"
        return Check(RULE, name, Verdict.FAIL, evidence, LIMITS["rate"], data)
    evidence = f"zero in {seen.idle} of {taken} steps ({share:.0%})"
    if seen.silent:
        evidence += f"; no optimizer was called in {seen.silent} steps"
    verdict = Verdict.FAIL if seen.idle >= MOST_ZERO * (taken - seen.silent) else Verdict.PASS
    return Check(RULE, name, verdict, evidence, LIMITS["rate"], data)


def _average(averaging: Averaging | None, seen: _Seen, taken: int) -> Check:
    """Weights that enter an average one after the other differ."""
    name, data = "averaged snapshots differ", {"snapshots": seen.snapshots, "repeated_at_steps": seen.repeated}
    if averaging is None:
        reason = "pass a function that returns the weights that enter an average as `averaging`"
        return Check(RULE, name, Verdict.NOT_CHECKED, reason, LIMITS["average"])
    if seen.snapshots < 2:
        reason = f"{seen.snapshots} snapshots entered the average in {taken} steps; two are needed"
        return Check(RULE, name, Verdict.NOT_CHECKED, reason, LIMITS["average"], data)
    if seen.repeated:
        at = _listed([str(n) for n in seen.repeated])
        evidence = f"{len(seen.repeated)} of {seen.snapshots} snapshots equal the one before, bit by bit, at steps {at}"
        return Check(RULE, name, Verdict.FAIL, evidence, LIMITS["average"], data)
    evidence = f"{seen.snapshots} snapshots in {taken} steps"
    return Check(RULE, name, Verdict.PASS, evidence, LIMITS["average"], data)
