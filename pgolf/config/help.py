"""The text of `python -m pgolf.train --help`, read from conf/: every group, its choices, and every option with its
note. docs/make_reference.py makes docs/configuration.md from the same readers.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pgolf.config.folders import conf_dir, config_folders
from pgolf.config.schema import SECTIONS, slot_paths

USAGE = """\
usage: python -m pgolf.train [GROUP=CHOICE ...] [OPTION=VALUE ...] [--multirun]

Trains one model, packs it, scores the packed file and writes one record.
With --multirun, runs every combination of comma-separated values.
  python -m pgolf.train model/head=mos optim.roles.head.lr=0.01
  python -m pgolf.train --multirun model/head=tied,factorized,mos seed=1,2,3
The same command resumes interrupted runs and skips finished ones.
The values below are those of each file; a scale or a stack may replace them.
  --multirun, -m         run a sweep
  hydra.searchpath=[pkg://PACKAGE.conf,file:///FOLDER]
                         use config groups of your own, laid out as in conf/
  --config-dir FOLDER    the same for one folder
  --cfg job              print the configuration of a run, and run nothing
  --package PATH         with --cfg, print one section, such as model.head
  --resolve              with --cfg, print values in place of interpolations
  --info                 print how Hydra composes the configuration
  --shell-completion install=SHELL   print a script that completes words in bash, zsh or fish
  --hydra-help           describe the flags of Hydra
  launch.dry_run=true    describe what would run, and run nothing
Exit code: 0 ok, 1 a run failed or did not finish, 2 refused, 130 interrupted."""
LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<value>[^#]*))?(?:# (?P<note>.*))?$")
FILES = {
    "": "config",
    "model": "model/trunk/baseline",
    "optim": "optim/muon",
    "optim.roles.<role>, muon": "optim/algorithm/muon",
    "optim.roles.<role>, adam": "optim/algorithm/adam",
    "train": "train/baseline",
    "launch": "launch/local",
    "study": "study/adhoc",
}
SLOTS = [path.replace(".", "/") for path in slot_paths() if not path.startswith("optim.roles.")]
CHOSEN = (*SLOTS, "model/side_inputs", "defects")  # groups whose choices have options of their own
SKIPPED = ("defaults", "hydra", "_target_", "_partial_")


def groups(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """(group, choices) of every config group, those with the arms of a study last."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_dir()}
    for group in sorted(found, key=lambda name: (name.startswith("arm/"), name)):
        if choices := sorted(file.stem for file in found[group].glob("*.yaml")):
            yield group, choices


@dataclass(frozen=True)
class Option:
    """One key of a YAML file. keys: from the file's top level down; value: as written, empty above nested keys."""

    keys: tuple[str, ...]
    value: str
    note: str


def read_options(path: Path) -> list[Option]:
    """The keys of a YAML file in its order, without its defaults list, Hydra's section and the class that it names."""
    found: list[Option] = []
    parents: list[tuple[int, str]] = []  # (indent, key) of the keys above the current line
    for text in path.read_text(encoding="utf-8").splitlines():
        line = LINE.match(text)
        if line is None:
            continue
        indent = len(line["indent"])
        parents = [*(above for above in parents if above[0] < indent), (indent, line["key"])]
        keys = tuple(key for _, key in parents)
        if keys[0] not in SKIPPED:
            found.append(Option(keys, (line["value"] or "").strip(), (line["note"] or "").strip()))
    return found


def section_options() -> Iterator[tuple[str, Option]]:
    """(dotted name, option) of every option in the files that hold the defaults of a section."""
    for section, name in FILES.items():
        if section in SECTIONS:
            for option in read_options(conf_dir() / f"{name}.yaml"):
                yield ".".join(filter(None, (section, *option.keys))), option


def choice_files(group: str) -> list[Path]:
    """The YAML files of a config group, in all trusted folders."""
    return [path for folder in config_folders() for path in sorted((folder / group).glob("*.yaml"))]


def header(path: Path) -> list[str]:
    """The comment lines at the top of a YAML file, without `#` and without Hydra's `@package` line."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines():
        if not text.startswith("#"):
            break
        line = text.removeprefix("#").removeprefix(" ").rstrip()
        if not line.startswith("@package"):
            found.append(line)
    return found


def options(path: Path) -> Iterator[str]:
    """`key: value   note` lines of one YAML file, nested keys indented."""
    for option in read_options(path):
        shown = f"{'  ' * (len(option.keys) - 1)}{option.keys[-1]}: {option.value}"
        yield f"  {shown:<46} {option.note}".rstrip()


def help_text() -> str:
    """The whole text of --help."""
    conf = conf_dir()
    lines = [USAGE, "", "Groups and their choices:"]
    for folder in config_folders():
        lines += [] if folder == conf else ["", f"Of {folder}:"]
        lines += [f"  {group:<20} {', '.join(choices)}" for group, choices in groups(folder)]
    for section, name in FILES.items():
        lines += ["", f"{section or 'top level'} ({name}.yaml):", *options(conf / f"{name}.yaml")]
    for group in CHOSEN:
        for path in choice_files(group):
            if lines_of_choice := list(options(path)):
                lines += ["", f"{group.replace('/', '.')} ({group}={path.stem}):", *lines_of_choice]
    return "\n".join(lines)
