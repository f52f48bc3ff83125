"""The command-line options of a comparison: baseline, test and smallest effect that matters."""

import argparse

from pgolf.tables.contrast import Settings
from pgolf.tables.methods import PAIRED
from pgolf.tables.sequential import LEAST_NOISE, MOST_NOISE


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """Add --baseline, --paired and --smallest-effect-bpb to a parser."""
    parser.add_argument(
        "--baseline",
        metavar="ARM",
        help="arm that the others are compared with; default: the first planned arm of each study",
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="paired t tests over common seeds instead of Welch's; to be chosen before the runs",
    )
    parser.add_argument(
        "--smallest-effect-bpb",
        type=positive,
        metavar="BPB",
        help="smallest difference that matters, in bits per byte; the tables then show how many seeds detect it",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings from the options. Settings that are not given are those of the study."""
    threshold = {key: getattr(args, key) for key in ("threshold_nats", "threshold_p") if hasattr(args, key)}
    return Settings(PAIRED if args.paired else None, args.smallest_effect_bpb, **threshold)


def positive(text: str) -> float:
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0 ({text})")
    return value


def noise_sd(text: str) -> float:
    """A standard deviation of scores, in bpb."""
    value = positive(text)
    if not LEAST_NOISE <= value <= MOST_NOISE:
        raise argparse.ArgumentTypeError(f"must be from {LEAST_NOISE:g} to {MOST_NOISE:g} bpb ({text})")
    return value


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs a number ({text})") from None
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be finite and not below 0 ({text})")
    return value


def fraction(text: str) -> float:
    value = positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1 ({text})")
    return value
