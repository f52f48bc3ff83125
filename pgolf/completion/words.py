"""The words that a command line may go on with, read from the files of conf/ and of the commands."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pgolf.command import COMMANDS
from pgolf.config.folders import config_folders
from pgolf.config.help import SLOTS, USAGE, Option, choice_files, groups, read_options, section_options

ARM, STUDY, ALGORITHM, SIDE_INPUTS = "arm", "study", "optim/algorithm", "model/side_inputs"
ROLES = ("embedding", "head", "matrix", "scalar")
HYDRA = {"hydra/launcher": ("basic", "joblib", "ray", "submitit_local", "submitit_slurm")}
OVERRIDES = ("train", "params", "bench", "probe", "gate", "evaluate", "data")  # commands that take overrides
PATH_FIRST = ("evaluate",)  # of these, commands whose first word is a path
ACTIONS = {"data": ("prepare", "verify", "download"), "study": ("new",), "completion": ("bash", "fish", "zsh")}
OPTION = re.compile(r'add_argument\(\s*"(?:-\w", ")?(--[\w-]+)"')
SHARED = re.compile(r"^ +add_comparison_options\(", re.MULTILINE)  # the options that several commands have
CHOICES = re.compile(r"^[\w.]+( \| [\w.]+)+")  # the choices at the beginning of a note
SWITCH = ("true", "false")


def complete(line: str) -> list[str]:
    """The words that may stand in place of the last, unfinished word of a command line; empty for file names.

    A word that ends with `=` or `.` goes on after it.
    """
    *before, current = line.split(" ")
    words = [word for word in before if word]
    command, rest = command_of(words)
    if command is None:
        return beginning_with(rest, current)
    if current.startswith("-"):
        return beginning_with(flags_of(command), current)
    if command in ACTIONS and not [word for word in rest if not word.startswith("-")]:
        return beginning_with(ACTIONS[command], current)
    if command == "probe" and not rest:
        return beginning_with(names_in(STUDY), current)
    if command in PATH_FIRST and not rest:
        return []
    return overrides(current, rest) if command in OVERRIDES else []


def command_of(words: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """(the command of a line, the words after it); without a command yet, None and the words that may name one."""
    if Path(words[0] if words else "").name == "pgolf":
        return (words[1], words[2:]) if len(words) > 1 else (None, COMMANDS)
    for at, word in enumerate(words[:-1]):
        name = words[at + 1].removeprefix("pgolf.")
        if word == "-m" and name in COMMANDS and name != words[at + 1]:
            return name, words[at + 2 :]
    return None, [f"pgolf.{name}" for name in COMMANDS] if words[-1:] == ["-m"] else []


def beginning_with(known: Sequence[str], current: str) -> list[str]:
    return sorted({word for word in known if word.startswith(current)})


def flags_of(command: str) -> list[str]:
    """The options of a command, from the text of its module."""
    package = Path(__file__).parents[1]
    found = ["--help"]
    if command == "train":
        found += re.findall(r"--[\w-]+", USAGE)
    for path in (package / f"{command}.py", *sorted((package / command).glob("*.py"))):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            shared = (package / "pages" / "options.py").read_text(encoding="utf-8") if SHARED.search(text) else ""
            found += OPTION.findall(text + shared)
    return found


def overrides(current: str, rest: Sequence[str]) -> list[str]:
    """Overrides that begin with the unfinished word. rest: the finished words of the command."""
    key, is_value, value = current.partition("=")
    if is_value:
        kept = value[: max(value.rfind(","), value.rfind("[")) + 1]
        words = values_of(key.lstrip("+~"))
        return [f"{key}={kept}{word}" for word in beginning_with(words, value[len(kept) :])]
    names = [f"{group}=" for group in (*all_groups(), *HYDRA)] + [f"{name}=" for name in options(rest)]
    parts = {next_part(name, current) for name in names if name.startswith(current)}
    return sorted(parts)


def next_part(name: str, current: str) -> str:
    """A dotted name up to the next dot after the unfinished word, so that a list of all options is never shown."""
    dot = name.find(".", len(current))
    return name if dot < 0 else name[: dot + 1]


def all_groups() -> list[str]:
    """Every config group, with the slots of optimizers as they are typed."""
    found = {group for folder in config_folders() for group, _ in groups(folder) if not group.startswith("hydra")}
    found = {group.partition("/")[0] if group.startswith(f"{ARM}/") else group for group in found}
    found.discard(ALGORITHM)
    return [*found, *(f"{ALGORITHM}@optim.roles.{role}" for role in ROLES)]


def names_in(group: str) -> list[str]:
    """The choices of a config group; those of `arm` are STUDY/ARM."""
    if group in HYDRA:
        return list(HYDRA[group])
    folders = [folder / group.partition("@")[0] for folder in config_folders()]
    pattern = "*/*.yaml" if group == ARM else "*.yaml"
    return [path.relative_to(folder).with_suffix("").as_posix() for folder in folders for path in folder.glob(pattern)]


def values_of(key: str) -> list[str]:
    """The values that are known for a group or an option."""
    if "/" in key or "." not in key:
        return names_in(key) + values_in_note(key)
    return values_in_note(key)


def values_in_note(key: str) -> list[str]:
    for name, option in notes():
        if name == key:
            if listed := CHOICES.match(option.note):
                return listed[0].split(" | ")
            return list(SWITCH) if option.value in SWITCH else []
    return []


def notes() -> Iterator[tuple[str, Option]]:
    """(dotted name, option) of every option of a section, and of every choice of a slot."""
    yield from section_options()
    for group in (*SLOTS, "defects"):
        for path in choice_files(group):
            for option in read_options(path):
                yield ".".join((group.replace("/", "."), *option.keys)), option
    for role in ROLES:
        for path in choice_files(ALGORITHM):
            for option in read_options(path):
                yield ".".join(("optim.roles", role, *option.keys)), option


def options(rest: Sequence[str]) -> list[str]:
    """The dotted names of all options; of a slot that the line chooses, only those of its choices."""
    chosen = dict(word.split("=", 1) for word in rest if "=" in word and "/" in word.partition("=")[0])
    hidden = []
    for group, value in chosen.items():
        if group in SLOTS:
            kept = {
                option.keys
                for path in choice_files(group)
                if path.stem in value.split(",")
                for option in read_options(path)
            }
            hidden.append((group.replace("/", "."), kept))
    found = []
    for name, option in notes():
        if not any(name.startswith(f"{slot}.") and option.keys not in kept for slot, kept in hidden):
            found.append(name)
    above = {name.rpartition(".")[0] for name in found}
    return [name for name in found if name not in above]
