"""`python -m pgolf.probe STUDY [OVERRIDE ...]`: searches options of every arm of a study before its seeds are run.

The study's YAML file says what is searched (study.probe): axes of options and their values, the seeds, and the number
of trials, which is the same for every arm, the baseline included. One axis is searched after another, and the best
value of each is kept. With `sampler: tpe`, Optuna searches all options together. Trials are runs of a folder of their
own, STUDY-probe, and are resumed by the same command. They are scored on the end of the training text, which is held
out, or on the shards that --text names. The study's own text is refused.

OVERRIDE is as in pgolf.train: data, budget, evaluation, launcher, arm=STUDY/ARM,... for some arms only.
launch.dry_run=true says how many runs it takes, and how long. Then the study is run with the options that were found:
they are printed as YAML, and study.json keeps the budget of the probe for the tables.

Exit codes: 0 ok, 1 a run failed or is left, 2 refused, 130 interrupted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout

from pgolf.command import OK, Parser, run
from pgolf.config.search_path import use_search_path


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m pgolf.probe",
        usage="python -m pgolf.probe STUDY [OVERRIDE ...] [--text GLOB] [--json]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", metavar="STUDY", nargs="+", help="a study of conf/study, then overrides")
    parser.add_argument("--text", metavar="GLOB", help="shards to score the trials on, in the tokens of the study")
    parser.add_argument("--json", action="store_true", help="print JSON; progress goes to stderr (docs/studies.md)")
    return parser


def command(arguments: list[str]) -> int:
    args = make_parser().parse_intermixed_args(use_search_path(arguments))
    study, *overrides = args.words
    from rich.console import Console  # not above: torch and Hydra take two seconds

    from pgolf.pages.aggregation import WIDE
    from pgolf.pages.formats import show
    from pgolf.probe import report, sampled, trials
    from pgolf.study.probes import write_probe

    with redirect_stdout(sys.stderr) if args.json else nullcontext():  # stdout is for the result alone
        request = trials.read_request(study, overrides)
        print(request.estimate(), flush=True)
        if request.is_dry:
            return OK
        searches, texts = trials.prepare_text(request, args.text)
        print(*(f"text: {text.description}, val_text_sha {text.val_text_sha[:12]}" for text in texts), sep="\n")
        search = trials.search if request.plan.sampler == "grid" else sampled.search
        code, folder = search(request, searches)
        if code != OK:
            return code
        probe = trials.probe_of(request, searches, texts)
        write_probe(folder, probe)
    if args.json:
        print(json.dumps(report.as_json(study, probe, searches, str(folder)), indent=1, allow_nan=False))
        return OK
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    show(report.sections(probe, searches), console)
    print(*(report.snippet(study, one) for one in searches), sep="\n")
    print(f"written: {folder}/probe.json; python -m pgolf.train study={study} adds its budget to the tables")
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(command, arguments, interrupted="interrupted; the same command resumes the work")


if __name__ == "__main__":
    sys.exit(main())
