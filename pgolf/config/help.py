"""The text of `python -m pgolf.train --help`, read from conf/: every group, its choices, and every option with its
note.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from pgolf.config.folders import conf_dir
from pgolf.config.schema import slot_paths

USAGE = """\
usage: python -m pgolf.train [GROUP=CHOICE ...] [OPTION=VALUE ...] [--multirun]

Trains one model, packs it, scores the packed file and leaves one record.
With --multirun, comma-separated values are swept.
  python -m pgolf.train model/head=mos optim.roles.head.lr=0.01
  python -m pgolf.train --multirun model/head=tied,factorized,mos seed=1,2,3
Values below are those of each file; scale=cpu and a stack set some of them anew.
--cfg job prints the configuration of a run, launch.dry_run=true what would run.
Exit code: 0 ok, 1 a run failed, 2 refused, 130 interrupted."""
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
    """(group, choices) of every config group."""
    for path in sorted(p for p in folder.rglob("*") if p.is_dir()):
        choices = sorted(p.stem for p in path.glob("*.yaml"))
        if choices:
            yield path.relative_to(folder).as_posix(), choices


def options(path: Path) -> Iterator[str]:
    """`key: value   note` lines of one YAML file, nested keys indented."""
    skipping = False
    for text in path.read_text(encoding="utf-8").splitlines():
        found = LINE.match(text)
        if found is None:
            continue
        if not found["indent"]:
            skipping = found["key"] in SKIPPED
        if not skipping:
            shown = f"{found['indent']}{found['key']}: {(found['value'] or '').strip()}"
            yield f"  {shown:<46} {found['note'] or ''}".rstrip()


def help_text() -> str:
    conf = conf_dir()
    lines = [USAGE, "", "Groups and their choices:"]
    lines += [f"  {group:<20} {', '.join(choices)}" for group, choices in groups(conf)]
    for section, name in FILES.items():
        lines += ["", f"{section or 'top level'} ({name}.yaml):", *options(conf / f"{name}.yaml")]
    for group in CHOSEN:
        for path in sorted((conf / group).glob("*.yaml")):
            if found := list(options(path)):
                lines += ["", f"{group.replace('/', '.')} ({group}={path.stem}):", *found]
    return "\n".join(lines)
