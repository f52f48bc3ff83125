"""`python -m pgolf.study new NAME [--conf FOLDER]`: writes a study with two arms, for you to change.

The files are FOLDER/study/NAME.yaml and one per arm in FOLDER/arm/NAME. Nothing is overwritten. docs/your-study.md
leads from a question to a page.
"""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pgolf.command import OK, Parser, place, run
from pgolf.config.folders import SEARCH_PATH, conf_dir
from pgolf.errors import ConfigError
from pgolf.machine.files import folder_for, write_whole

STUDY = """\
# @package _global_
# Does a mixture of softmaxes lower bits per byte against the tied head?
#   {command} launch.dry_run=true    what would run, and for how long
#   {command}
defaults:
  - override /scale: cpu # the size of all runs

study:
  name: {name}
  question: Does a mixture of softmaxes lower bits per byte against the tied head?
  # source: what was published, with its seeds and hardware
  test: welch # or paired, pooled, moderated; choose before the runs
  smallest_effect_bpb: {{cpu: 0.01}} # the margin: a smaller difference does not matter; one per scale
  # margin_reason: {{cpu: "Why a smaller difference does not matter."}}
  families:
    heads:
      title: the tied head and a mixture of softmaxes, everything else being equal
      baseline: tied
      arms: [tied, mos] # one file each in arm/{name}
  claims: # what you expect; the page says whether it holds
    - text: A mixture of softmaxes lowers bits per byte.
      note: Written before the runs.
      tests: [{{family: heads, kind: better, arms: [mos]}}]

data:
  shuffle_seed: ${{seed}} # arms with the same seed see the same batches

hydra:
  mode: MULTIRUN
  sweeper:
    params: # the seed comes first, so that an interrupted sweep has complete pairs
      seed: 1,2,3
      arm: ${{study_arms:}} # every arm of every family
"""
YAML_WORDS = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
ARMS = {
    "tied": """\
# @package _global_
# The baseline: scores from the embedding table.
defaults:
  - override /model/head: tied

study:
  arm: tied # as this file
""",
    "mos": """\
# @package _global_
# A mixture of softmaxes.
defaults:
  - override /model/head: mos

study:
  arm: mos # as this file

model:
  head:
    experts: 2
""",
}


def new_study(name: str, conf: Path) -> tuple[list[Path], str]:
    """Write the template. Returns (its files, the command that runs the study). Raises ConfigError, OSError."""
    if not re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII) or name.lower() in YAML_WORDS:
        raise ConfigError(
            f"NAME: must begin with a letter, hold only letters, digits, _ and -, and mean no value in YAML ({name}). "
            "Choose another"
        )
    if conf.exists() and not conf.is_dir():
        raise ConfigError(f"--conf: is not a folder ({conf}). Name a new or existing folder")
    is_pgolfs = conf.resolve() == conf_dir().resolve()
    files = {conf / "study" / f"{name}.yaml": STUDY, **{conf / "arm" / name / f"{arm}.yaml": ARMS[arm] for arm in ARMS}}
    taken = [path for path in (*files, conf_dir() / "study" / f"{name}.yaml") if path.exists()]
    if taken:
        raise ConfigError(f"NAME: exists already ({taken[0]}). Choose another name, or remove the file yourself")
    quoted = str(conf) if re.fullmatch(r"[\w./-]+", str(conf)) else f'"{conf}"'
    words = "" if is_pgolfs else f"{shlex.quote(f'{SEARCH_PATH}=[{quoted}]')} "
    command = f"python -m pgolf.train {words}study={name}"
    for path, text in files.items():
        with folder_for(path.parent):
            write_whole(path, text.format(name=name, command=command).encode() if text is STUDY else text.encode())
    return list(files), command


def command(arguments: list[str]) -> int:
    parser = Parser(prog="python -m pgolf.study", description=__doc__)
    parser.add_argument("action", choices=("new",), help="write the template of a study")
    parser.add_argument("name", metavar="NAME", help="the name of the study: of its files and of its folder of runs")
    parser.add_argument(
        "--conf", type=place, default=Path("conf"), metavar="FOLDER", help="folder of config groups (default: conf)"
    )
    args = parser.parse_args(arguments)
    files, study = new_study(args.name, args.conf)
    print(*(f"written: {path}" for path in files), sep="\n")
    print(f"Change them, then:\n{study} launch.dry_run=true\n{study}")
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
