"""`python -m pgolf.train [overrides] [--multirun]`: checks all runs, then executes each and writes its record.

A single run trains in this process. Each run of a sweep, and a run with several ranks, is a process of its own, started
from its saved configuration; if it is killed, only its own record is affected. The same command again executes the runs
that are missing, failed or changed, and resumes interrupted runs from their checkpoints.
"""

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser

from pgolf.command import OK, Parser, run
from pgolf.config.folders import OWN_CONF
from pgolf.config.help import help_text
from pgolf.config.search_path import is_search_path, trust, use_search_path
from pgolf.errors import ConfigError

UNUSED = {  # flags of Hydra, and what to do instead
    "config_name": "Choose with GROUP=CHOICE",
    "config_path": OWN_CONF,
    "experimental_rerun": "python -m pgolf.rerun RUN_DIR repeats a run",
}
SHELLS = ("bash", "zsh", "fish")


def parse_flags(words: Sequence[str]) -> Namespace:
    """The arguments, parsed with Hydra's parser. Folders of --config-dir and hydra.searchpath are trusted from then on.

    Raises PgolfError for flags that pgolf does not use, and for invalid values and combinations of flags.
    """
    args = Parser(prog="python -m pgolf.train", add_help=False, parents=[get_args_parser()]).parse_intermixed_args(
        list(words)
    )
    problems = [
        f"--{flag.replace('_', '-')}: is not used by pgolf ({getattr(args, flag)}). {remedy}"
        for flag, remedy in UNUSED.items()
        if getattr(args, flag) is not None
    ]
    modes = [
        f"--{mode.replace('_', '-')}"
        for mode in ("run", "multirun", "cfg", "info", "shell_completion")
        if getattr(args, mode)
    ]
    if len(modes) > 1:
        problems.append(f"{modes[0]}: cannot be given together with {' and '.join(modes[1:])}. Leave one out")
    for flag in ("resolve", "package"):
        if getattr(args, flag) and not args.cfg:
            problems.append(f"--{flag}: works only with --cfg. Give --cfg job too")
    if args.shell_completion and not (len(args.overrides) == 1 and is_completion_word(args.overrides[0])):
        words = " ".join(args.overrides) or "nothing"
        problems.append(
            f"--shell-completion: needs install=SHELL or uninstall=SHELL ({words}). Shells: {', '.join(SHELLS)}"
        )
    if args.config_dir is not None and not Path(args.config_dir).is_dir():
        problems.append(
            f"--config-dir: is not a folder ({args.config_dir}). Name a folder of config groups, such as "
            "model/head, with your own choices"
        )
    if problems:
        raise ConfigError(*problems)
    if args.config_dir is not None:
        trust([args.config_dir], "--config-dir")
    use_search_path(args.overrides)
    return args


def is_completion_word(word: str) -> bool:
    """Whether an argument of --shell-completion is valid: an action and a shell. Shells themselves use `query`."""
    action, _, shell = word.partition("=")
    return shell in SHELLS and (action in ("install", "uninstall") or (action == "query" and "COMP_LINE" in os.environ))


def last_of_repeated(overrides: Sequence[str]) -> list[str]:
    """The last override of each key or group that is given more than once. Of hydra.searchpath, all count."""
    last = {word.partition("=")[0]: word for word in overrides if not is_search_path(word)}
    count = Counter(word.partition("=")[0] for word in overrides)
    return [word for key, word in last.items() if count[key] > 1]


def command(arguments: list[str]) -> int:
    args = parse_flags(arguments)
    if args.help:
        print(help_text())
        return OK
    if sys.stderr.isatty():
        print("checking the command ...", file=sys.stderr)
    from pgolf.sweep import launching  # not above: it imports torch, which takes two seconds

    code = launching.execute(args)
    for word in last_of_repeated(args.overrides):
        print(f"{word.partition('=')[0]}: was given more than once; the last one counted ({word})", file=sys.stderr)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 1 a run failed or did not finish, 2 refused, 130 interrupted."""
    return run(command, arguments, interrupted="interrupted; the same command resumes the work")


if __name__ == "__main__":
    sys.exit(main())
