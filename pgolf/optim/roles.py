"""The role of every parameter, and the check that no parameter is left untrained by mistake."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from pgolf.errors import ConfigError, CoverageError
from pgolf.nn.naming import ROOT, matches, named_tensors
from pgolf.slots import ROLES, Role


def default_role(name: str, owner: nn.Module, p: Tensor) -> Role:
    """`embedding` for lookup tables, `scalar` below two dimensions, `head` for a head's matrices, else `matrix`."""
    if isinstance(owner, nn.Embedding):
        return "embedding"
    if p.ndim < 2:
        return "scalar"
    return "head" if name.startswith(f"{ROOT}.head.") else "matrix"


def parameter_roles(model: nn.Module) -> dict[str, Role]:
    """Parameter name -> role. A module with `roles()` decides for all parameters below it.

    A parameter that `roles()` leaves out is missing here; `check_coverage` reports it. Raises CoverageError if
    `roles()` names an unknown parameter or role.
    """
    roles: dict[str, Role] = {}
    decided_prefixes: list[str] = []
    for prefix, module in model.named_modules():
        dotted = f"{prefix}." if prefix else ""
        if any(dotted.startswith(other) for other in decided_prefixes):
            continue
        own_roles = getattr(module, "roles", None)
        if own_roles is not None:
            decided_prefixes.append(dotted)
            below = dict(module.named_parameters())
            for name, role in own_roles().items():
                where = f"{type(module).__name__}.roles() of {ROOT}.{prefix}"
                if name not in below:
                    raise CoverageError(
                        f"{where}: unknown parameter ({ROOT}.{dotted}{name}). Name one of {', '.join(below) or 'none'}"
                    )
                if role not in ROLES:
                    raise CoverageError(
                        f"{where}: gives {name} an unknown role ({role}). Choose one of {', '.join(ROLES)}"
                    )
                roles[f"{ROOT}.{dotted}{name}"] = role
        else:
            for name, p in module.named_parameters(recurse=False):
                roles[f"{ROOT}.{dotted}{name}"] = default_role(f"{ROOT}.{dotted}{name}", module, p)
    return roles


def chosen_roles(model: nn.Module, entries: Sequence[str]) -> dict[str, Role]:
    """Parameter name -> role: `parameter_roles`, changed by the `NAME:ROLE` entries of `optim.role_of`.

    The entry with the longest matching name or prefix decides. Raises ConfigError for an entry that matches nothing,
    has an unknown role, or repeats a name.
    """
    roles = parameter_roles(model)
    choices = [(name.removesuffix("."), role) for name, _, role in (entry.partition(":") for entry in entries)]
    patterns = [name for name, _ in choices]
    if duplicates := sorted({name for name in patterns if patterns.count(name) > 1}):
        raise ConfigError(
            f"optim.role_of: names {', '.join(duplicates)} more than once ({', '.join(entries)}). Give each part one "
            "role"
        )
    for pattern, role in sorted(choices, key=lambda choice: len(choice[0])):
        names = [name for name in roles if matches(name, pattern)]
        if not names:
            raise ConfigError(
                f"optim.role_of: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them"
            )
        if role not in ROLES:
            example = f"optim.role_of=[{pattern}:head]"
            raise ConfigError(
                f"optim.role_of: gives {pattern} an unknown role ({role}). Write {example}; roles are "
                f"{', '.join(ROLES)}"
            )
        roles.update(dict.fromkeys(names, role))
    return roles


def frozen_names(model: nn.Module, patterns: Sequence[str], where_they_exist: Sequence[str] = ()) -> set[str]:
    """Names of the parameters that match `patterns`, those of `optim.frozen`, or `where_they_exist`.

    Raises ConfigError if one of `patterns` matches nothing; those of `where_they_exist` may.
    """
    names = named_tensors(model)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise ConfigError(
                f"optim.frozen: matches no parameter ({pattern}). `python -m pgolf.params --names` lists them"
            )
    return {name for name in names if any(matches(name, pattern) for pattern in (*patterns, *where_they_exist))}


def check_coverage(model: nn.Module, trained: Iterable[Sequence[str]], frozen: set[str]) -> None:
    """Check that every parameter is either frozen or in exactly one optimizer group, and that weights are parameters.

    trained: parameter names by group. Raises CoverageError for a parameter in two groups or in none, a parameter with
    two names, and a float tensor of the state that is not a parameter.
    """
    names = [name for group in trained for name in group] + sorted(frozen)
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise CoverageError(
            f"trained by two optimizers, or trained and frozen: {', '.join(duplicates)}. Give each parameter one role"
        )
    missing = sorted(set(named_tensors(model)) - set(names))
    if missing:
        raise CoverageError(
            f"no optimizer trains: {', '.join(missing)}. Name them in their class's roles(), or freeze them on "
            f"purpose with optim.frozen=[{','.join(missing)}]"
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
            f"stored under two names: {', '.join(shared)}. Use a bound method of the owner, as the tied head does"
        )
    buffers = [f"{ROOT}.{name}" for name, t in state.items() if t.is_floating_point() and id(t) not in parameters]
    if buffers:
        raise CoverageError(
            f"weights that are not parameters: {', '.join(buffers)}. Make them nn.Parameter, or buffers with "
            "persistent=False"
        )
