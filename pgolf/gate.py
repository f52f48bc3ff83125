"""`python -m pgolf.gate BASE CANDIDATE`: decides a candidate against a baseline with as few seeds as needed.

BASE and CANDIDATE are overrides as of pgolf.train, each in one argument, or folders of an arm or a run. Pairs of runs
with the same seed and the same order of the data are made until a difference is shown, equality within the margin is
shown, or there are --most-seeds pairs. Runs that have finished count and are not repeated. The test stays valid however
often it is looked at (docs/gate.md).

Exit codes: 0 keep (the candidate is better; with --accept-equal also equal within the margin), 1 discard, 3 undecided
(run another seed), 4 a run failed, 2 refused, 130 interrupted.
"""

import argparse
import json
import math
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pgolf.command import Parser, place, run, tell
from pgolf.config.search_path import use_search_path
from pgolf.errors import ConfigError
from pgolf.machine.clean_text import clean
from pgolf.pages.options import fraction, noise_sd, positive
from pgolf.records.progress import count_text
from pgolf.records.rows import collect, finite
from pgolf.tables.pairs import Pairs, noise_of_rows, pairs_of
from pgolf.tables.sequential import EarlierNoise, Evidence, Verdict, weigh

if TYPE_CHECKING:
    from pgolf.sweep.paired import Arm

KEEP, DISCARD, ANOTHER_SEED, FAILED_RUN = 0, 1, 3, 4  # exit codes; 2 is that of a refusal
DECISIONS = {KEEP: "keep", DISCARD: "discard", ANOTHER_SEED: "another_seed"}
MOST_SEEDS = 1000
ESTIMATED = "estimated"


@dataclass
class Comparison:
    """What is compared, and how. earlier: the noise that is known before the first pair; source: the same in words.

    runs_made: by this command. shown: seeds whose pair has been printed.
    """

    arms: "Sequence[Arm]"
    margin_bpb: float
    earlier: EarlierNoise
    source: str
    pairs: Pairs = field(default_factory=Pairs)
    runs_made: int = 0
    shown: set[int] = field(default_factory=set)

    def look(self, alpha: float) -> Evidence:
        """What all pairs show that exist now. Raises PgolfError if they cannot be compared."""
        base, candidate = (list(arm.rows.values()) for arm in self.arms)
        self.pairs = pairs_of(base, candidate)
        return weigh(self.pairs.base, self.pairs.candidate, self.earlier, self.margin_bpb, alpha)

    def new_pairs(self) -> list[str]:
        """One line per pair that has not been shown yet."""
        pairs = zip(self.pairs.seeds, self.pairs.base, self.pairs.candidate, strict=True)
        new = [(seed, b, c) for seed, b, c in pairs if seed not in self.shown]
        self.shown |= {seed for seed, _, _ in new}
        return [f"seed {seed:<3} base {b:.5f}  candidate {c:.5f}  difference {c - b:+.5f}" for seed, b, c in new]


def margin_of(given: float | None, arms: "Sequence[Arm]") -> float:
    """The margin in bpb: as given, or the smallest effect of the arms' study. Raises ConfigError without one."""
    if given is not None:
        return given
    found = sorted({arm.margin_bpb for arm in arms if arm.margin_bpb is not None})
    if len(found) != 1:
        why = f", and the two studies have several ({', '.join(f'{m:g}' for m in found)})" if found else ""
        raise ConfigError(
            f"--margin: is missing{why}. Give the smallest difference that matters, in bits per byte, such as "
            "--margin 0.01"
        )
    return found[0]


def noise_of(args: argparse.Namespace, arms: "Sequence[Arm]") -> tuple[EarlierNoise, str]:
    """(the noise that is known beforehand, where it comes from). Raises PgolfError."""
    if args.noise_from is not None:
        if args.noise is not None:
            raise ConfigError(f"--noise-from: cannot be given together with --noise ({args.noise_from}). Leave one out")
        collected = collect(args.noise_from)
        for warning in collected.warnings:
            print(f"warning: {clean(warning)}", file=sys.stderr)
        own = {arm.fingerprint for arm in arms}
        noise, arms_used = noise_of_rows(collected.rows, own, by_seed=args.noise_by_seed)
        sd = noise.sd_bpb / math.sqrt(2)
        per = "arm, without what a seed does to all arms" if args.noise_by_seed else "arm"
        return noise, f"sd {sd:.5f} bpb per {per}, {noise.df:.0f} df from {arms_used} arms of {args.noise_from}"
    if args.noise_by_seed:
        raise ConfigError("--noise-by-seed: works only with --noise-from. Give --noise-from too, or leave it out")
    if args.noise in (None, ESTIMATED):
        return EarlierNoise(), "estimated from the differences"
    return EarlierNoise(args.noise * math.sqrt(2), math.inf), f"sd {args.noise:g} bpb per arm, taken as known"


def prepare(args: argparse.Namespace) -> tuple[Comparison, list[int]]:
    """(the comparison before any run, the seeds that it may use). Raises PgolfError."""
    from pgolf.sweep.pair_checks import check_pair
    from pgolf.sweep.paired import read_arms  # not above: it imports torch, which takes two seconds

    arms, seeds = read_arms((args.base, args.candidate), args.both, args.most_seeds)
    if arms[0].fingerprint == arms[1].fingerprint:
        raise ConfigError(
            f"CANDIDATE: is the same configuration as BASE (fingerprint {arms[0].fingerprint[:8]}), so that every "
            "difference would be 0. Change an option that decides a result"
        )
    check_pair(arms, seeds[0], unequal_budgets=args.unequal_budgets)
    return Comparison(arms, margin_of(args.margin, arms), *noise_of(args, arms)), seeds


def decide(comparison: Comparison, seeds: Sequence[int], args: argparse.Namespace) -> Evidence:
    """Look, and make pairs until there is a verdict, the cap is reached, or one step is done. Prints each pair.

    Raises FailedRun, PgolfError, OSError, KeyboardInterrupt.
    """
    from pgolf.sweep.paired import make_pair
    from pgolf.sweep.sweep import code_now

    code = code_now()
    while True:
        evidence = comparison.look(args.alpha)
        for line in comparison.new_pairs():
            print(line, flush=True)
        left = [seed for seed in seeds if any(arm.needs(seed) for arm in comparison.arms)]
        is_over = evidence.n >= args.most_seeds or not left or (args.one_step and comparison.runs_made > 0)
        if evidence.verdict is not Verdict.UNDECIDED or is_over:
            return evidence
        comparison.runs_made += make_pair(comparison.arms, left[0], code)


def exit_code(evidence: Evidence, *, accept_equal: bool) -> int:
    """KEEP, DISCARD or ANOTHER_SEED."""
    if evidence.verdict is Verdict.UNDECIDED:
        return ANOTHER_SEED
    return KEEP if evidence.verdict is Verdict.BETTER or (accept_equal and evidence.within_margin) else DISCARD


def as_json(comparison: Comparison, evidence: Evidence, args: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """The result as --json prints it. Ends of an interval that are infinite become null."""
    code, pairs = exit_code(evidence, accept_equal=args.accept_equal), comparison.pairs
    earlier = comparison.earlier
    sd_bpb = earlier.sd_bpb / math.sqrt(2) if earlier.df > 0 else None  # of one arm
    base, candidate = (
        {"name": arm.name, "fingerprint": arm.fingerprint, "folders": [arm.rows[s]["folder"] for s in pairs.seeds]}
        for arm in comparison.arms
    )
    result: dict[str, Any] = finite(
        {
            "decision": DECISIONS[code],
            "exit_code": code,
            "verdict": evidence.verdict.value,
            "within_margin": evidence.within_margin,
            "reason": evidence.reason,
            "base": base,
            "candidate": candidate,
            "seeds": list(pairs.seeds),
            "base_bpb": list(pairs.base),
            "candidate_bpb": list(pairs.candidate),
            "differences_bpb": [c - b for b, c in zip(pairs.base, pairs.candidate, strict=True)],
            "mean_bpb": evidence.mean,
            "low_bpb": evidence.low,
            "high_bpb": evidence.high,
            "e": evidence.e,
            "p": evidence.p,
            "margin_bpb": comparison.margin_bpb,
            "alpha": args.alpha,
            "accept_equal": args.accept_equal,
            "noise": {"source": comparison.source, "sd_bpb": sd_bpb, "df": earlier.df},
            "most_seeds": args.most_seeds,
            "runs_made": comparison.runs_made,
            "seconds": round(seconds, 3),
            "caveats": list(pairs.caveats),
        }
    )
    return result


def text(comparison: Comparison, evidence: Evidence, args: argparse.Namespace, seconds: float) -> list[str]:
    """The result as lines of text."""
    margin = f"{comparison.margin_bpb:g} bpb"
    lines = [f"note: {clean(caveat)}" for caveat in comparison.pairs.caveats]
    lines.append(f"margin {margin}, alpha {args.alpha:g}, noise {clean(comparison.source)}")
    if evidence.mean is None:
        lines.append("difference: no pair yet")
    elif evidence.low == -math.inf:
        reason = evidence.reason or "too few pairs for an interval"
        lines.append(f"difference {evidence.mean:+.5f} bpb; {reason}")
    else:
        width = f"{100 * (1 - args.alpha):g}% [{evidence.low:+.5f}, {evidence.high:+.5f}]"
        e = f"evidence {evidence.e:.3g} (a difference is shown from {1 / args.alpha:g})"
        lines.append(f"difference {evidence.mean:+.5f} bpb, {width}, {e}, p = {evidence.p:.2g}")
    verdict = f"equal within {margin}" if evidence.verdict is Verdict.EQUAL else evidence.verdict.value
    if evidence.within_margin and evidence.verdict in (Verdict.BETTER, Verdict.WORSE):
        verdict += f", by less than {margin}"
    if evidence.reason and evidence.verdict is Verdict.EQUAL:
        verdict += f" ({evidence.reason})"
    decision = DECISIONS[exit_code(evidence, accept_equal=args.accept_equal)].replace("_", " ")
    pairs = count_text(evidence.n, "pair")
    at_cap = ", the most that are allowed" if evidence.n >= args.most_seeds else ""
    made = f"{count_text(comparison.runs_made, 'run')} made in {seconds:.0f} s"
    return [*lines, f"{decision}: {verdict} after {pairs}{at_cap}; {made}"]


def noise_option(word: str) -> float | str:
    """`estimated`, or a standard deviation in bpb."""
    return word if word == ESTIMATED else noise_sd(word)


def seeds_option(word: str) -> int:
    number = int(word)
    if not 1 <= number <= MOST_SEEDS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {MOST_SEEDS:,} ({word})")
    return number


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m pgolf.gate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", metavar="BASE", help="overrides in one argument ('' for none), or a folder of runs")
    parser.add_argument("candidate", metavar="CANDIDATE", help="the same for the candidate")
    parser.add_argument("--both", nargs="+", default=[], metavar="OVERRIDE", help="overrides that are added to both")
    parser.add_argument(
        "--margin",
        type=positive,
        metavar="BPB",
        help="smallest difference that matters, in bits per byte; default: that of the study, if both are of one",
    )
    parser.add_argument(
        "--noise",
        type=noise_option,
        metavar="SD|estimated",
        help="known standard deviation of a score between seeds, in bpb; default: estimated from the differences",
    )
    parser.add_argument(
        "--noise-from", type=place, metavar="ROWS", help="results.jsonl or folder of a study with the same noise"
    )
    parser.add_argument(
        "--noise-by-seed",
        action="store_true",
        help="with --noise-from: take out what a seed does to all arms alike, because pairs differ by less",
    )
    parser.add_argument("--alpha", type=fraction, default=0.05, help="error rate over all looks (default: 0.05)")
    parser.add_argument(
        "--most-seeds", type=seeds_option, default=10, metavar="N", help="largest number of pairs (default: 10)"
    )
    parser.add_argument(
        "--one-step", action="store_true", help="decide on what exists, or make one more pair and decide then"
    )
    parser.add_argument("--accept-equal", action="store_true", help="keep a candidate that is equal within the margin")
    parser.add_argument(
        "--unequal-budgets", action="store_true", help="decide although the two train for different budgets"
    )
    parser.add_argument("--json", action="store_true", help="print JSON; the pairs go to stderr (docs/gate.md)")
    return parser


def command(arguments: list[str]) -> int:
    args = make_parser().parse_args(use_search_path(arguments))
    began = time.monotonic()
    from pgolf.sweep.paired import FailedRun

    try:
        with redirect_stdout(sys.stderr) if args.json else nullcontext():  # stdout is for the result alone
            comparison, seeds = prepare(args)
            evidence = decide(comparison, seeds, args)
    except FailedRun as error:
        tell(error)
        return FAILED_RUN
    seconds = time.monotonic() - began
    if args.json:
        print(json.dumps(as_json(comparison, evidence, args, seconds), indent=1, allow_nan=False))
    else:
        print(*text(comparison, evidence, args, seconds), sep="\n")
    return exit_code(evidence, accept_equal=args.accept_equal)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    try:
        return run(command, arguments, interrupted="interrupted; the same command resumes the work")
    except Exception:  # a defect of pgolf; the interpreter's exit code 1 would read as `discard`
        traceback.print_exc()
        return FAILED_RUN


if __name__ == "__main__":
    sys.exit(main())
