"""`python -m pgolf.completion bash|zsh|fish`: prints a script that completes pgolf's command lines in this shell.

  bash:  source <(python -m pgolf.completion bash)          in ~/.bashrc
  zsh:   source <(python -m pgolf.completion zsh)           in ~/.zshrc, after compinit
  fish:  python -m pgolf.completion fish | source           in ~/.config/fish/config.fish

Completed are `pgolf COMMAND ...` and `python -m pgolf.COMMAND ...`: commands, flags, config groups, their choices,
options and arms, also those of $PGOLF_CONFIG_DIR. Where a command takes a path, the shell completes file names.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence

from pgolf.command import OK, Parser, run
from pgolf.completion.words import complete

BASH = r"""_pgolf() {
  local line="${COMP_LINE:0:COMP_POINT}" word
  word="${line##* }"
  local IFS=$'\n'
  COMPREPLY=($(PYTHON -P -m pgolf.completion words "$line" 2>/dev/null))
  if [[ "$word" == *[=:]* ]]; then  # bash takes what follows the last of these characters as the word
    local prefix="${word%"${word##*[=:]}"}"
    COMPREPLY=("${COMPREPLY[@]#"$prefix"}")
  fi
}
_pgolf_python() {
  if [[ "${COMP_LINE:0:COMP_POINT}" == *" -m pgolf"* || "${COMP_LINE:0:COMP_POINT}" == *" -m " ]]; then _pgolf; fi
}
complete -o nospace -o bashdefault -o default -F _pgolf pgolf
complete -o nospace -o bashdefault -o default -F _pgolf_python python python3
"""
ZSH = r"""_pgolf() {
  local -a found
  found=(${(f)"$(PYTHON -P -m pgolf.completion words "${LBUFFER}" 2>/dev/null)"})
  if (( ${#found} )); then compadd -U -Q -S '' -- $found; else _files; fi
}
_pgolf_python() {
  if [[ "$LBUFFER" == *" -m pgolf"* ]]; then _pgolf; else _files; fi
}
compdef _pgolf pgolf
compdef _pgolf_python python python3
"""
FISH = r"""function __pgolf_words
  PYTHON -P -m pgolf.completion words (commandline -cp) 2>/dev/null
end
function __pgolf_knows  # else fish completes file names
  string match -q -r -- '(^| )(\\S*/)?pgolf |-m pgolf' (commandline -cp); and count (__pgolf_words) >/dev/null
end
for program in pgolf python python3
  complete -c $program -n __pgolf_knows -f -a '(__pgolf_words)'
end
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def command(arguments: list[str]) -> int:
    if len(arguments) == 2 and arguments[0] == "words":  # what the scripts ask
        print(*complete(arguments[1]), sep="\n")
        return OK
    parser = Parser(
        prog="python -m pgolf.completion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", metavar="SHELL", choices=sorted(SCRIPTS), help="bash, fish or zsh")
    shell = parser.parse_args(arguments).shell
    print(SCRIPTS[shell].replace("PYTHON", shlex.quote(sys.executable)), end="")
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 for another shell."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
