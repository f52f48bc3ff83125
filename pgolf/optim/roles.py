"""Which role every parameter plays, and the rule that none goes untrained in silence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.errors import ConfigError, CoverageError
from pgolf.slots import ROLES, Role

ROOT = "model"


def named_tensors(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter once, under its config path (`model.head.up.weight`)."""
    return {f"{ROOT}.{name}": p for name, p in model.named_parameters()}


def default_role(name: str, owner: nn.Module, p: Tensor) -> Role:
    """Tables are embedding, fewer than two dimensions scalar, a head's matrices head, other matrices matrix."""
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if p.ndim < 2:
        return "scalar"
    return "head" if name.startswith(f"{ROOT}.head.") else "matrix"


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """{parameter name: role}. A module with `roles()` answers for all parameters below it; one it leaves out has no role here."""
    found: dict[str, Role] = {}
    spoken_for: list[str] = []
    for prefix, module in model.named_modules():
        dotted = f"{prefix}." if prefix else ""
        if any(dotted.startswith(other) for other in spoken_for):
            continue
        own = getattr(module, "roles", None)
        if own is not None:
            spoken_for.append(dotted)
            below = dict(module.named_parameters())
            for name, role in own().items():
                where = f"{type(module).__name__}.roles() of {ROOT}.{prefix}"
                if name not in below:
                    raise CoverageError(f"{where}: names no parameter ({ROOT}.{dotted}{name}). It has {', '.join(below) or 'none'}")
                if role not in ROLES:
                    raise CoverageError(f"{where}: gives {name} an unknown role ({role}). Choose one of {', '.join(ROLES)}")
                found[f"{ROOT}.{dotted}{name}"] = role
        else:
            for name, p in module.named_parameters(recurse=False):
                found[f"{ROOT}.{dotted}{name}"] = default_role(f"{ROOT}.{dotted}{name}", module, p)
    return found


def chosen_roles(model: nn.Module, chosen: Sequence[str]) -> dict[str, Role]:
    """`parameter_roles`, but for the `NAME:ROLE` of `optim.role_of`: the longest name or prefix decides. Raises ConfigError."""
    roles = parameter_roles(model)
    moves = [(name.removesuffix("."), role) for name, _, role in (entry.partition(":") for entry in chosen)]
    if twice := sorted({name for name, _ in moves if [n for n, _ in moves].count(name) > 1}):
        raise ConfigError(f"optim.role_of: names {', '.join(twice)} more than once ({', '.join(chosen)}). Give each part one role")
    for pattern, role in sorted(moves, key=lambda move: len(move[0])):
        met = [name for name in roles if matches(name, pattern)]
        if not met:
            raise ConfigError(f"optim.role_of: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them")
        if role not in ROLES:
            example = f"optim.role_of=[{pattern}:head]"
            raise ConfigError(f"optim.role_of: gives {pattern} an unknown role ({role}). Write {example}; roles are {', '.join(ROLES)}")
        roles.update(dict.fromkeys(met, role))
    return roles


def matches(name: str, pattern: str) -> bool:
    """`pattern` is the name or a prefix of it that ends at a dot."""
    return name == pattern or name.startswith(pattern.removesuffix(".") + ".")


def frozen_names(model: nn.Module, patterns: Sequence[str], where_they_exist: Sequence[str] = ()) -> set[str]:
    """Parameters named by `optim.frozen` (a pattern that matches nothing is a ConfigError) or by patterns that may match nothing."""
    names = named_tensors(model)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise ConfigError(f"optim.frozen: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them")
    return {name for name in names if any(matches(name, pattern) for pattern in (*patterns, *where_they_exist))}


def check_coverage(model: nn.Module, trained: Iterable[Sequence[str]], frozen: set[str]) -> None:
    """Every parameter is in exactly one optimizer group or frozen, and no other float state is kept. Raises CoverageError."""
    groups = list(trained)
    seen = [name for group in groups for name in group] + sorted(frozen)
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise CoverageError(f"trained by two optimizers, or trained and frozen: {', '.join(twice)}. Give each parameter one role")
    missing = sorted(set(named_tensors(model)) - set(seen))
    if missing:
        raise CoverageError(
            f"no optimizer trains: {', '.join(missing)}. Name them in their class's roles(), or freeze them on purpose with "
            f"optim.frozen=[{','.join(missing)}]"
        )
    parameters = {id(p): name for name, p in model.named_parameters()}
    state = model.state_dict(keep_vars=True)
    shared = [f"{ROOT}.{name} ({ROOT}.{parameters[id(t)]})" for name, t in state.items() if parameters.get(id(t), name) != name]
    if shared:
        raise CoverageError(f"kept under two names: {', '.join(shared)}. Hold a bound method of the owner, as the tied head does")
    kept = [name for name, t in state.items() if t.is_floating_point() and id(t) not in parameters]
    if kept:
        named = ", ".join(f"{ROOT}.{name}" for name in kept)
        raise CoverageError(f"weights that are no parameters: {named}. Make them nn.Parameter, or buffers with persistent=False")


class GradientWatch:
    """Over the first steps, the trained parameters whose gradient was missing or exactly zero every time.

    A parameter that the loss never reaches is as untrained as one without an optimizer. Weights that start at zero hold the gradient of
    what lies behind them back for a step, and such weights can stand in a row: fewer than PROOF_STEPS steps prove nothing.
    """

    WATCHED_STEPS = 20
    PROOF_STEPS = 5

    def __init__(self, trained: dict[str, nn.Parameter]):
        self.silent, self.steps = {name: p for name, p in trained.items() if p.numel()}, 0

    def state_dict(self) -> dict[str, Any]:
        return {"silent": sorted(self.silent), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.silent = {name: self.silent[name] for name in state["silent"]}
        self.steps = state["steps"]

    @torch.no_grad()
    def after_backward(self) -> None:
        """Look at the gradients of one step; raises CoverageError at the last watched step."""
        if self.steps == self.WATCHED_STEPS:
            return
        self.silent = {name: p for name, p in self.silent.items() if p.grad is None or not bool(p.grad.any())}
        self.steps += 1
        if self.steps == self.WATCHED_STEPS:
            self.finish()

    def finish(self) -> list[str]:
        """Raise CoverageError for parameters that stayed silent; after too few steps to tell, return a warning instead."""
        if not self.silent:
            return []
        names = sorted(self.silent)
        if self.steps < self.PROOF_STEPS:
            return [f"no gradient in {self.steps} steps, too few to tell why: {', '.join(names)}"]
        raise CoverageError(
            f"no gradient in {self.steps} steps: {', '.join(names)}. Use them in the forward pass, or freeze them on purpose with "
            f"optim.frozen=[{','.join(names)}]"
        )
