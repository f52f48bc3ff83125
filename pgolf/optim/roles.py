"""Which role every parameter plays, and the rule that none goes untrained in silence."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from pgolf.errors import ConfigError, CoverageError
from pgolf.nn.naming import ROOT, matches, named_tensors
from pgolf.slots import ROLES, Role


def default_role(name: str, owner: nn.Module, p: Tensor) -> Role:
    """Tables are embedding, fewer than two dimensions scalar, a head's matrices head, other matrices matrix."""
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if p.ndim < 2:
        return "scalar"
    return "head" if name.startswith(f"{ROOT}.head.") else "matrix"


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """{parameter name: role}. A module with `roles()` answers for all parameters below it; one it leaves out has no
    role here.
    """
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
                    raise CoverageError(
                        f"{where}: names no parameter ({ROOT}.{dotted}{name}). It has {', '.join(below) or 'none'}"
                    )
                if role not in ROLES:
                    raise CoverageError(
                        f"{where}: gives {name} an unknown role ({role}). Choose one of {', '.join(ROLES)}"
                    )
                found[f"{ROOT}.{dotted}{name}"] = role
        else:
            for name, p in module.named_parameters(recurse=False):
                found[f"{ROOT}.{dotted}{name}"] = default_role(f"{ROOT}.{dotted}{name}", module, p)
    return found


def chosen_roles(model: nn.Module, chosen: Sequence[str]) -> dict[str, Role]:
    """`parameter_roles`, but for the `NAME:ROLE` of `optim.role_of`: the longest name or prefix decides. Raises
    ConfigError.
    """
    roles = parameter_roles(model)
    moves = [(name.removesuffix("."), role) for name, _, role in (entry.partition(":") for entry in chosen)]
    if twice := sorted({name for name, _ in moves if [n for n, _ in moves].count(name) > 1}):
        raise ConfigError(
            f"optim.role_of: names {', '.join(twice)} more than once ({', '.join(chosen)}). Give each part one role"
        )
    for pattern, role in sorted(moves, key=lambda move: len(move[0])):
        met = [name for name in roles if matches(name, pattern)]
        if not met:
            raise ConfigError(
                f"optim.role_of: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them"
            )
        if role not in ROLES:
            example = f"optim.role_of=[{pattern}:head]"
            raise ConfigError(
                f"optim.role_of: gives {pattern} an unknown role ({role}). Write {example}; roles are "
                f"{', '.join(ROLES)}"
            )
        roles.update(dict.fromkeys(met, role))
    return roles


def frozen_names(model: nn.Module, patterns: Sequence[str], where_they_exist: Sequence[str] = ()) -> set[str]:
    """Parameters named by `optim.frozen` (a pattern that matches nothing is a ConfigError) or by patterns that may
    match nothing.
    """
    names = named_tensors(model)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise ConfigError(
                f"optim.frozen: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them"
            )
    return {name for name in names if any(matches(name, pattern) for pattern in (*patterns, *where_they_exist))}


def check_coverage(model: nn.Module, trained: Iterable[Sequence[str]], frozen: set[str]) -> None:
    """Every parameter is in exactly one optimizer group or frozen, and no other float state is kept. Raises
    CoverageError.
    """
    groups = list(trained)
    seen = [name for group in groups for name in group] + sorted(frozen)
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise CoverageError(
            f"trained by two optimizers, or trained and frozen: {', '.join(twice)}. Give each parameter one role"
        )
    missing = sorted(set(named_tensors(model)) - set(seen))
    if missing:
        raise CoverageError(
            f"no optimizer trains: {', '.join(missing)}. Name them in their class's roles(), or freeze them on "
            "purpose with "
            f"optim.frozen=[{','.join(missing)}]"
        )
    parameters = {id(p): name for name, p in model.named_parameters()}
    state = model.state_dict(keep_vars=True)
    shared = [
        f"{ROOT}.{name} ({ROOT}.{parameters[id(t)]})"
        for name, t in state.items()
        if parameters.get(id(t), name) != name
    ]
    if shared:
        raise CoverageError(
            f"kept under two names: {', '.join(shared)}. Hold a bound method of the owner, as the tied head does"
        )
    kept = [name for name, t in state.items() if t.is_floating_point() and id(t) not in parameters]
    if kept:
        named = ", ".join(f"{ROOT}.{name}" for name in kept)
        raise CoverageError(
            f"weights that are no parameters: {named}. Make them nn.Parameter, or buffers with persistent=False"
        )
