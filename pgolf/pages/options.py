"""What commands ask about a comparison: which baseline, which test, which effect matters."""

import argparse

from pgolf.tables.contrast import Settings


def add_comparison_options(parser: argparse.ArgumentParser) -> None:
    """--baseline, --paired, --smallest-effect-bpb."""
    parser.add_argument(
        "--baseline",
        metavar="ARM",
        help="the arm that the others are compared with; default: each study's first planned arm",
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="paired t tests over common seeds instead of Welch's; name it before the runs, not after",
    )
    parser.add_argument(
        "--smallest-effect-bpb",
        type=positive,
        metavar="BPB",
        help="smallest difference that matters, bits per byte: says the seeds it needs",
    )


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that the options name; a study's own hold where they name none."""
    gate = {key: getattr(args, key) for key in ("gate_nats", "gate_p") if hasattr(args, key)}
    return Settings(args.paired, args.smallest_effect_bpb, **gate)


def positive(text: str) -> float:
    value = not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"must be above 0 ({text})")
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
