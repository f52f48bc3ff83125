"""`python -m pgolf.sample ARTIFACT ["PROMPT"]`: text that a packed model writes after a prompt.

Without a prompt the model begins a new document. The same options give the same text on the same machine.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from pgolf.command import OK, Parser, place, run
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.sample.artifact import opened
from pgolf.sample.generate import Sampling


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m pgolf.sample", description=__doc__)
    parser.add_argument("artifact", type=place, metavar="ARTIFACT", help="a packed model, or its run folder")
    parser.add_argument("prompt", nargs="?", default="", metavar="PROMPT", help="the beginning; default: nothing")
    parser.add_argument("--tokens", type=int, default=100, metavar="N", help="most tokens to draw; default 100")
    parser.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="0: the most probable token; default 0.8"
    )
    parser.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="draw among tokens of this probability; default 0.95"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the random numbers; default 1")
    parser.add_argument(
        "--tokenizer", type=place, metavar="FILE", help="the tokenizer's .model file, if it is not in the cache"
    )
    parser.add_argument("--json", action="store_true", help="print JSON: text, ids, prompt_tokens, nats, ended")
    return parser


def command(arguments: list[str]) -> int:
    args = make_parser().parse_args(use_search_path(arguments))
    sampling = Sampling(args.tokens, args.temperature, args.top_p, args.seed)
    if problems := sampling.problems("--"):
        raise ConfigError(*problems)
    model = opened(args.artifact, args.tokenizer, "--tokenizer")
    generated = model.sample(args.prompt, **asdict(sampling))
    print(json.dumps(asdict(generated)) if args.json else clean_lines(generated.text))
    return OK


def clean_lines(text: str) -> str:
    """A text without control and invisible characters but for its lines and tabs: a model may write any bytes."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code: 0 ok, 2 refused."""
    return run(command, arguments)


if __name__ == "__main__":
    sys.exit(main())
