"""Checks a single override for unknown groups, choices and keys."""

from functools import lru_cache
from typing import Any, get_type_hints

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from pgolf.config.binding import RESERVED
from pgolf.config.folders import OWN_CONF, SEARCH_PATH
from pgolf.config.schema import SECTIONS, slot_paths
from pgolf.errors import suggest

HYDRA_OWN = ("hydra",)
HYDRA_GROUPS = ("hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/hydra_logging")
HYDRA_KEYS = tuple(
    f"hydra.{key}"
    for key in ("launcher", "sweeper", "mode", "verbose", "job_logging", "hydra_logging", "job.env_set", "job.env_copy")
)
OUTPUT_KEYS = (  # replaced by paths.out, study.name and study.arm
    "hydra.run.dir",
    "hydra.sweep.dir",
    "hydra.sweep.subdir",
    "hydra.output_subdir",
    "hydra.job.chdir",
    "hydra.job.name",
    "hydra.job.id",
)
CHOSEN_SECTIONS = ("hydra.launcher", "hydra.sweeper")  # sections that are chosen from a config group of Hydra
CLASSES = ("hydra.launcher._target_", "hydra.sweeper._target_")
ROLES_BELOW, ROLE_GROUP = "optim.roles.", "optim/algorithm"  # sections that are chosen from a group of another name
MOST_MEANT = 6  # places that a message about a misplaced option names
MULTIPLE = "side_inputs"  # the group that allows several choices
ARM, STUDY = "arm", "study"
LAUNCHER = "hydra/launcher"
# Launchers of Hydra plugins, and the extra of pgolf that installs each.
EXTRAS = {"joblib": "joblib", "submitit_local": "slurm", "submitit_slurm": "slurm", "ray": "ray"}


def is_group(override: Override, loader: ConfigLoader) -> bool:
    """Whether an override chooses from a config group rather than setting a value."""
    return (
        group_exists(override.key_or_group, loader) or "/" in override.key_or_group or "@" in override.get_key_element()
    )


def value_text(override: Override) -> str:
    """The value of an override as typed."""
    return "deleted" if override.value_type is None else (override.input_line or "").partition("=")[2]


def group_exists(group: str, loader: ConfigLoader) -> bool:
    parent, _, name = group.rpartition("/")
    return name in groups_below(parent, loader)


@lru_cache(maxsize=256)
def groups_below(parent: str, loader: ConfigLoader) -> frozenset[str]:
    """Names of the groups directly below a group. Cached, because Hydra lists the folders at every call."""
    return frozenset(loader.list_groups(parent))


def options_of(group: str, loader: ConfigLoader) -> list[str]:
    """The choices of a group. Those of `arm` are `<study>/<arm>`."""
    choices = loader.get_group_options(group, results_filter=ObjectType.CONFIG)
    if group == ARM:
        choices += [
            f"{study}/{name}"
            for study in loader.list_groups(ARM)
            for name in loader.get_group_options(f"{ARM}/{study}")
        ]
    return choices


def all_groups(loader: ConfigLoader, parent: str = "") -> list[str]:
    """Every config group below a parent, except Hydra's own."""
    groups = []
    for name in loader.list_groups(parent):
        path = f"{parent}/{name}" if parent else name
        if path not in HYDRA_OWN:
            groups += [path, *all_groups(loader, path)]
    return groups


def group_problems(override: Override, loader: ConfigLoader) -> list[str]:
    """Problems of an override that chooses from a config group: an unknown group or choice, or an invalid form."""
    group = override.key_or_group
    if not is_group(override, loader) or key_refusals(override, loader):
        return []
    if not group_exists(group, loader):
        return [f"{group}: no such config group ({value_text(override)}).{suggest(group, all_groups(loader))}"]
    choices = options_of(group, loader)
    if group == STUDY and override.is_sweep_override():
        return [f"{STUDY}: cannot be swept ({value_text(override)}). Run one command per study"]
    values = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    if any(isinstance(value, list) for value in values) and not group.endswith(MULTIPLE):
        return [f"{group}: takes one choice ({value_text(override)}). Choices: {', '.join(choices)}"]
    if override.is_add() or override.is_force_add():
        plus = "++" if override.is_force_add() else "+"
        return [f"{plus}{group}: cannot be chosen with {plus} ({flat[0]}). Write {group}={flat[0]}"]
    if override.is_delete():
        return [f"~{group}: cannot be left out. Choose one of {', '.join(choices)}"]
    if override.package is not None and override.package not in slot_paths():
        near = suggest(override.package, slot_paths())
        return [f"{group}@{override.package}: no such slot ({flat[0]}).{near}"]
    if group == LAUNCHER and (extras := [str(v) for v in flat if str(v) in EXTRAS and str(v) not in choices]):
        return [f"{group}: {name} is not installed. Run pip install 'pgolf[{EXTRAS[name]}]'" for name in extras]
    return [no_such_choice(group, str(value), choices) for value in flat if str(value) not in choices]


def no_such_choice(group: str, value: str, choices: list[str]) -> str:
    """The problem of an unknown choice, with a suggestion. For an arm, it lists the arms of the same study.

    Without a suggestion, it says how to name a choice of one's own package.
    """
    siblings = [choice for choice in choices if "/" in value and choice.startswith(f"{value.rpartition('/')[0]}/")]
    arms = [choice for choice in choices if choice.endswith(f"/{value}")]  # the value is an arm without its study
    near = f" Did you mean {' or '.join(arms)}?" if arms else suggest(value, choices)
    own = "" if near or siblings or group.split("/")[0] in HYDRA_OWN else f". {OWN_CONF}"
    return f"{group}: no such choice ({value}).{near} Choices: {', '.join(siblings or arms or choices)}{own}"


def key_problems(override: Override, base: DictConfig, loader: ConfigLoader) -> list[str]:
    """Problems of an override that sets a value: the configuration has no such key, or `+` adds an existing key.

    base: the configuration with the chosen groups.
    """
    path = override.key_or_group
    keys = path.split(".")
    if keys[0] in HYDRA_OWN:
        return hydra_problems(override, base)
    node: Any = base
    for depth, key in enumerate(keys):
        names = [str(k) for k in node] if isinstance(node, DictConfig) and not node._is_none() else []
        names = names if depth else [name for name in names if name not in HYDRA_OWN]
        if key not in names:
            prefix = ".".join(keys[:depth])
            value = value_text(override)
            own = [name for name in names if name not in RESERVED]
            near = suggest(key, own, f"{prefix}." if prefix else "")
            options = ", ".join(own)
            places = [f"{place}={value}" for place in places_of(".".join(keys[depth:]), base, prefix)]
            if not prefix:
                groups = [group for group in all_groups(loader) if group.rpartition("/")[2] == key]
                sections = [".".join([*group.split("/"), *keys[1:]]) for group in groups]
                places = [f"{name}={value}" for name in (sections if keys[1:] else groups)] or places
            elsewhere = choices_with(key, prefix, loader)
            if places:
                near = f" Did you mean {' or '.join(places[:MOST_MEANT])}?"
            elif others := choices_below(key, prefix, loader):
                near, elsewhere = "", f". It is an option of {' or '.join(others[:MOST_MEANT])}"
            listing = f"Options of {prefix}: {options}" if options else f"The chosen {prefix} has no options"
            listing = listing if prefix else f"Sections: {options}"
            return [f"{path}: no such option ({value}).{near} {listing}{elsewhere}"]
        if depth < len(keys) - 1:
            node = node._get_node(key)
            node = node._dereference_node() if node._is_interpolation() else node
    if override.is_add() and not override.is_force_add():
        return [f"+{path}: exists already ({value_text(override)}). Write {path}={value_text(override)}"]
    return []


def places_of(path: str, base: DictConfig, section: str = "") -> list[str]:
    """The options of a configuration, or of one section of it, whose dotted names end with `.path`."""
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [(str(key), base._get_node(key)) for key in base if key not in HYDRA_OWN]
    while waiting:
        place, node = waiting.pop(0)
        if place.endswith(f".{path}") and place.startswith(f"{section}." if section else ""):
            found.append(place)
        if isinstance(node, DictConfig) and not (node._is_none() or node._is_missing() or node._is_interpolation()):
            waiting += [(f"{place}.{key!s}", node._get_node(key)) for key in node]
    return found


def choices_with(key: str, section: str, loader: ConfigLoader) -> str:
    """The sentence that says which choices of the group of a section have an option of this name; empty without any."""
    group = ROLE_GROUP if section.startswith(ROLES_BELOW) else section.replace(".", "/")
    parent, _, name = group.rpartition("/")
    if name not in groups_below(parent, loader):
        return ""
    choices = [choice for choice in options_of(group, loader) if key in options_of_choice(f"{group}/{choice}", loader)]
    slot = f"{group}@{section}" if group == ROLE_GROUP else group
    return f". It is an option of {slot}={','.join(choices)}" if choices else ""


def choices_below(key: str, section: str, loader: ConfigLoader) -> list[str]:
    """The choices that have an option of this name, as `model/head=mos,simplex`, of all groups below a section."""
    parent = section.replace(".", "/")
    if parent and not loader.list_groups(parent):
        return []
    found = []
    for group in all_groups(loader, parent):
        if group in (ARM, STUDY) or group.startswith(f"{ARM}/"):
            continue
        choices = [
            choice
            for choice in loader.get_group_options(group, results_filter=ObjectType.CONFIG)
            if key in options_of_choice(f"{group}/{choice}", loader)
        ]
        if choices:
            found.append(f"{group}={','.join(choices)}")
    return found


@lru_cache(maxsize=256)
def options_of_choice(path: str, loader: ConfigLoader) -> frozenset[str]:
    """The names at the top of the YAML file of one choice, such as model/head/mos."""
    loaded = loader.repository.load_config(path)  # type: ignore[attr-defined]
    config = None if loaded is None else loaded.config
    return frozenset(map(str, config)) if isinstance(config, DictConfig) else frozenset()


def hydra_problems(override: Override, base: DictConfig) -> list[str]:
    """The problem of an option that the chosen launcher or sweeper does not have, if any."""
    path, (section, _, name) = override.key_or_group, override.key_or_group.rpartition(".")
    if section not in CHOSEN_SECTIONS or override.is_force_add():
        return []
    names = [str(key) for key in base.hydra[section.partition(".")[2]] if key != "_target_"]
    if name in names:
        return []
    options = f"Options of {section}: {', '.join(names)}" if names else f"The chosen {section} has no options"
    return [f"{path}: no such option ({value_text(override)}).{suggest(name, names)} {options}"]


def key_refusals(override: Override, loader: ConfigLoader) -> list[str]:
    """Problems of keys of Hydra that pgolf does not use, and of the deletion of an option that every run needs."""
    path = override.key_or_group
    value = value_text(override)
    first = path.replace("/", ".").split(".")
    if first[0] in HYDRA_OWN:
        if path in OUTPUT_KEYS:
            return [
                f"{path}: is not used ({value}). A run's folder is paths.out/STUDY/ARM/SEED: set paths.out, "
                "study.name or study.arm"
            ]
        if path == SEARCH_PATH:
            return [f"{path}: cannot be added or deleted ({value}). {OWN_CONF}"]
        if path in CLASSES:
            return [
                f"{path}: cannot be set directly ({value}). Choose with "
                f"{path.removesuffix('._target_').replace('.', '/')}=NAME"
            ]
        if path in CHOSEN_SECTIONS:
            return [f"{path}: cannot be set as a whole ({value}). Choose with {path.replace('.', '/')}=NAME"]
        if not any(path == key or path.startswith(f"{key}.") for key in (*HYDRA_KEYS, *HYDRA_GROUPS)):
            return [f"{path}: is not used by pgolf ({value}). Used are {', '.join((*HYDRA_GROUPS, *HYDRA_KEYS))}"]
    section = ".".join(first[:-1])
    if (
        override.is_delete()
        and section in SECTIONS
        and first[-1] in get_type_hints(SECTIONS[section])
        and not is_group(override, loader)
    ):
        return [f"~{path}: cannot be left out. Every run needs it"]
    return []
