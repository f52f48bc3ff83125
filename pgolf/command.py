"""Shared by all commands: argument parsing, printing of errors, and exit codes."""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from pgolf.errors import ConfigError, PgolfError, suggest
from pgolf.machine.files import describe_os_error
from pgolf.machine.interrupts import INTERRUPTED, interruptible

OK, FAILED, REFUSED = 0, 1, 2
# What `pgolf COMMAND` starts: a file of that name in the package, or __main__ of a folder.
COMMANDS = (
    "train",
    "status",
    "aggregate",
    "report",
    "compare",
    "rerun",
    "params",
    "bench",
    "gate",
    "evaluate",
    "audit",
    "inspect",
    "sample",
    "probe",
    "data",
    "study",
    "completion",
)
LONGEST_WORD = 16_384  # characters of one argument
LONGEST_LINE = 1_000  # characters of one line of a message
SHOWN = 60  # characters of an argument in a message about it
ERROR_MARK = "\x1e"  # the control character "record separator", which no message has
mark = ""  # begins each line of an error; ERROR_MARK where the parent process reads the lines (api/child)

Command = Callable[[list[str]], int]


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one-line PgolfErrors. Options cannot be abbreviated."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        raise PgolfError(f"{self.prog}: {in_one_line(message, [*self._option_string_actions])}")


def place(text: str) -> Path:
    """The path of an argument that names a file or folder. An empty one, which Path reads as `.`, is refused.

    Raises ArgumentTypeError, as argparse wants it.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError(f"is empty ({text}). Name a file or folder; . is this folder")
    return Path(text)


def in_one_line(message: str, options: Sequence[str]) -> str:
    """A message of argparse in the form `argument: what (value). remedy`. options: all options of the command."""
    if unknown := re.fullmatch(r"unrecognized arguments: (.*)", message, re.DOTALL):
        word = unknown[1]
        if not word.startswith("-"):
            return f"{shortened(word)}: is one argument too many. Leave it out; --help shows what the command takes"
        names = [name for name in options if name.startswith("--")]
        return (
            f"{shortened(word)}: no such option.{suggest(word.split('=')[0].split()[0], names)} Options: "
            f"{', '.join(sorted(names))}"
        )
    if missing := re.fullmatch(r"the following arguments are required: (.*)", message):
        return f"{missing[1]}: is missing. --help shows what the command takes"
    if about := re.fullmatch(r"argument ([^:]*): (.*)", message, re.DOTALL):
        name, reason = max(about[1].split("/"), key=len), about[2]
        if converted := re.fullmatch(r"invalid (\w+) value: '(.*)'", reason, re.DOTALL):
            kind = {"int": "a whole number", "float": "a number"}.get(converted[1], converted[1])
            return f"{name}: needs {kind} ({shortened(converted[2])})"
        if choice := re.fullmatch(r"invalid choice: '(.*)' \(choose from (.*)\)", reason, re.DOTALL):
            choices = [word.strip("' ") for word in choice[2].split(",")]
            return (
                f"{name}: no such choice ({shortened(choice[1])}).{suggest(choice[1], choices)} Choices: "
                f"{', '.join(choices)}"
            )
        if valued := re.fullmatch(r"ignored explicit argument '(.*)'", reason, re.DOTALL):
            return f"{name}: takes no value ({shortened(valued[1])}). Write {name} on its own"
        return f"{name}: {shortened(reason, LONGEST_LINE)}"
    return message


def shortened(text: str, most: int = SHOWN) -> str:
    """The text, of a long one its beginning and its end: at most `most` characters."""
    half = (most - 5) // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def one_line(text: str) -> str:
    """The text in one line, shortened; unprintable characters are shown as escapes."""
    printable = text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shortened(printable, LONGEST_LINE)


def check_words(words: Sequence[str]) -> None:
    """Raise ConfigError for arguments that no file and no message could hold: too long, with NUL, or not UTF-8."""
    problems = []
    for number, word in enumerate(words, 1):
        where, excerpt = f"argument {number}", one_line(shortened(word))
        if len(word) > LONGEST_WORD:
            problems.append(
                f"{where}: has {len(word):,} characters; at most {LONGEST_WORD:,} are read ({excerpt}). Shorten it"
            )
        elif "\0" in word:
            problems.append(f"{where}: holds a NUL character ({excerpt}). Leave it out")
        elif any("\ud800" <= c <= "\udfff" for c in word):
            problems.append(f"{where}: is not UTF-8 ({excerpt}). Rename the file that it names, if it names one")
    if problems:
        raise ConfigError(*problems)


def tell(error: BaseException) -> None:
    """Print an error to stderr: one line per problem after `mark`, without control characters."""
    if isinstance(error, ConfigError):
        problems: Sequence[str] = error.problems
    else:
        problems = [describe_os_error(error)] if isinstance(error, OSError) else str(error).split("\n")
    with suppress(OSError):
        print(*(mark + one_line(problem) for problem in problems), sep="\n", file=sys.stderr, flush=True)


def run(command: Command, arguments: Sequence[str] | None = None, *, interrupted: str = "interrupted") -> int:
    """Run a command on its arguments, by default those of this process. Returns the exit code.

    0: success. 1: something failed, or the reader of the output closed it. 2: refused, with one line per problem on
    stderr. 130: interrupted; the text `interrupted` is printed then.
    """
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        check_words(words)
        with interruptible():
            code = command(words)
            sys.stdout.flush()
        return code
    except SystemExit as end:  # of --help and --version
        return end.code if isinstance(end.code, int) else OK if end.code is None else FAILED
    except BrokenPipeError:
        discard(sys.stdout)
        return FAILED
    except KeyboardInterrupt:
        tell(PgolfError(interrupted))
        return INTERRUPTED
    except PgolfError as error:
        tell(error)
        return REFUSED
    except OSError as error:
        tell(error)
        discard(sys.stdout)  # its buffer could not be written either
        return REFUSED


def discard(stream: IO[str]) -> None:
    """Redirect a broken stream to /dev/null: the interpreter would report the rest of its buffer at exit."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
