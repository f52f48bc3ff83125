"""How far a run is, from the events that it has logged so far, and how long several runs will still take."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgolf.machine.files import open_regular
from pgolf.records.metrics import METRICS, Event, event_of

END_BYTES = 20_000
SHARE_OF_TRAINING = 0.95  # of a run's time; the rest is the score and the packed file
ENOUGH = 0.1  # of one run, before an estimate of the remaining time is worth showing


@dataclass(frozen=True)
class Progress:
    """The last logged step of a run. steps, seconds: its budget of training, None if unlimited or unknown.

    elapsed_s: of training. bpb: the loss of the last logged batch, in bits per byte.
    """

    step: int
    steps: int | None = None
    seconds: float | None = None
    elapsed_s: float | None = None
    bpb: float | None = None

    @property
    def fraction(self) -> float | None:
        """The share of the training budget that is used, 0 to 1; None if the budget is unknown."""
        shares = [self.step / self.steps] if self.steps else []
        if self.seconds and self.elapsed_s is not None:
            shares.append(self.elapsed_s / self.seconds)
        return min(1.0, max(shares)) if shares else None

    @property
    def left_s(self) -> float | None:
        """Seconds of training that are left at the speed so far; None before the second step or without a budget."""
        if not self.fraction or not self.elapsed_s or self.step < 2:
            return None
        return self.elapsed_s / self.fraction - self.elapsed_s

    @property
    def text_of_step(self) -> str:
        return f"step {self.step:,} of {self.steps:,}" if self.steps else f"step {self.step:,}"

    @property
    def text(self) -> str:
        """`step 20 of 171, loss 2.345 bpb, 3 min left`."""
        parts = [self.text_of_step]
        parts += [] if self.bpb is None else [f"loss {self.bpb:.3f} bpb"]
        parts += [] if self.left_s is None else [f"{duration_text(self.left_s)} left"]
        return ", ".join(parts)


def progress_of(folder: Path) -> Progress | None:
    """The progress of the run in a folder; None before its first logged step."""
    try:
        with open_regular(folder / METRICS) as file:
            first = file.readline(END_BYTES)
            file.seek(max(0, file.seek(0, 2) - END_BYTES))
            last = file.read().split(b"\n")
    except (OSError, ValueError):
        return None
    start = event_of(first)
    event = next((event for event in valid_events(reversed(last)) if isinstance(event.get("step"), int)), None)
    return None if event is None else progress_from({} if isinstance(start, str) else start, event)


def valid_events(lines: Iterable[bytes]) -> Iterable[Event]:
    return (event for line in lines if line.strip() and not isinstance(event := event_of(line), str))


def progress_from(start: Mapping[str, Any], event: Mapping[str, Any]) -> Progress:
    """The progress that two events of a log show. Values of a wrong type count as unknown."""

    def number(source: Mapping[str, Any], key: str) -> float | None:
        value = source.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    steps = start.get("steps")
    return Progress(
        event["step"],
        steps if isinstance(steps, int) else None,
        number(start, "seconds"),
        number(event, "elapsed_s"),
        number(event, "train_bpb"),
    )


def remaining_s(
    elapsed_s: float,
    ended: Sequence[float],
    running: Sequence[tuple[float, float]],
    waiting: Sequence[float],
    longest_s: float = 0.0,
) -> float | None:
    """Seconds until all runs end, at the speed so far. Never less than the longest of the running runs needs.

    elapsed_s: since the first of them started. ended: the work of each finished run, by `works`. running: the work of
    each running run, and the share of it that has been done since then. waiting: the work of each run that has not
    started. longest_s: what the slowest running run still needs by its own speed. None if nothing is left, or if too
    little has been done for an estimate.
    """
    done = sum(ended) + sum(work * SHARE_OF_TRAINING * share for work, share in running)
    left = sum(waiting) + sum(work * (1 - SHARE_OF_TRAINING * share) for work, share in running)
    enough = ENOUGH * (done + left) / max(1, len(ended) + len(running) + len(waiting))
    return max(elapsed_s / done * left, longest_s) if done >= enough and (running or waiting) else None


def works(tokens: Sequence[int | None]) -> list[float]:
    """The work of each run of a sweep, in one unit: its training tokens if all are known, else equal for all."""
    return [float(count) for count in tokens if count] if all(tokens) else [1.0] * len(tokens)


def count_text(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration_text(seconds: float) -> str:
    """`45 s`, `10 min`, `3.5 h` or `12 days`."""
    if seconds < 5400:
        return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"
