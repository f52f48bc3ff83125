"""The state of a sweep as tables for a terminal: one row per run, or one row per arm with what is running now."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from pgolf.machine.clean_text import clean
from pgolf.records.arm_names import is_cut
from pgolf.records.progress import count_text, duration_text

STYLES = {
    "ok": "green",
    "running": "cyan",
    "failed": "red",
    "diverged": "red",
    "damaged": "red",
    "interrupted": "yellow",
    "pruned": "yellow",
    "waiting": "dim",
}
OUTSIDE_BRACKETS = re.compile(r",(?![^\[{(]*[\]})])")

Key = tuple[str, str]  # name and fingerprint of an arm: one name may stand for several configurations


def key_of(row: Mapping[str, Any]) -> Key:
    return row["arm"], row["fingerprint"]


def labels(study: Mapping[str, Any]) -> dict[Key, str]:
    """What to call each arm: the overrides in which it differs from the other arms, as far as records tell them.

    An arm without a finished run keeps its name, without the parts that the names of all arms have. So does the only
    arm with one, whose overrides could be compared with no others.
    """
    names = {key_of(row): OUTSIDE_BRACKETS.split(row["arm"]) for row in study["cells"]}
    short = differing(comparable(names))
    told = {key_of(row): own for row in study["cells"] if (own := overrides_of(row))}
    return short if len(told) == 1 < len(names) else {**short, **differing(told)}


def comparable(names: Mapping[Key, Sequence[str]]) -> Mapping[Key, Sequence[str]]:
    """The parts of each name whose keys all names have, if a long name was cut; all parts otherwise.

    A name is cut at a length, so that two arms with the same options can lack different ones of them.
    """
    if not any(is_cut(arm) for arm, _ in names):
        return names
    whole = {key: own[:-1] if is_cut(key[0]) else own for key, own in names.items()}
    shared = set.intersection(*({part.partition("=")[0] for part in own} for own in whole.values()))
    kept = {key: [part for part in own if part.partition("=")[0] in shared] for key, own in whole.items()}
    return kept if len({tuple(own) for own in kept.values()}) == len(kept) else names


def overrides_of(row: Mapping[str, Any]) -> list[str]:
    """The overrides of a run without its seed. Groups are named as in the names of arms, by their last part:
    `model/head=mos` becomes `head=mos`. `arm=STUDY/ARM` becomes `ARM`.
    """
    words = [str(text).partition("=") for text in row.get("overrides") or ()]
    return [
        value.rpartition("/")[2] if key == "arm" else f"{key.rpartition('/')[2]}{equals}{value}"
        for key, equals, value in words
        if key != "seed"
    ]


def differing(parts: Mapping[Key, Sequence[str]]) -> dict[Key, str]:
    """The parts of each name that not all names have; the whole name if there are none."""
    common = set.intersection(*map(set, parts.values())) if len(parts) > 1 else set()
    return {key: " ".join(part for part in own if part not in common) or key[0] for key, own in parts.items()}


def title_of(study: Mapping[str, Any]) -> Text:
    """Folder, number of runs in each state, of runs that no sweep planned, and the time that is left."""
    count = ", ".join(f"{number} {state}" for state, number in sorted(study["count"].items()))
    rest = "" if study["left_s"] is None else f"; about {duration_text(study['left_s'])} left"
    others = f"; {study['unplanned']} more outside every sweep" if study["unplanned"] else ""
    runs = count_text(len(study["cells"]), "run")
    return Text(f"{clean(study['study'])}: {runs}: {count}{others}{rest}")


def empty_table(title: Text | None, **columns: bool) -> Table:
    """columns: names, and whether they hold numbers."""
    table = Table(title=title, title_justify="left")
    for name, is_number in columns.items():
        table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
    return table


def runs_table(study: Mapping[str, Any], states: Iterable[str] = STYLES, title: Text | None = None) -> Table:
    """One row per run in one of these states."""
    table = empty_table(title, arm=False, seed=True, state=False, val_bpb=True, note=False)
    label = labels(study)
    for row in study["cells"]:
        if row["state"] in states:
            bpb = "" if row.get("val_bpb") is None else f"{row['val_bpb']:.4f}"
            state = Text(row["state"], style=STYLES[row["state"]])
            name, seed, note = label[key_of(row)], str(row["seed"]), row["note"]
            table.add_row(Text(clean(name)), Text(clean(seed)), state, bpb, Text(clean(note)))
    return table


def arms_table(study: Mapping[str, Any]) -> Table:
    """One row per arm: its runs by state, and the mean score of those that ended."""
    table = empty_table(title_of(study), arm=False, done=True, running=True, failed=True, waiting=True, mean_bpb=True)
    for key, label in labels(study).items():
        rows = [row for row in study["cells"] if key_of(row) == key]
        count = Counter(row["state"] for row in rows)
        scores = [row["val_bpb"] for row in rows if row["state"] == "ok" and row.get("val_bpb") is not None]
        failed = sum(count[state] for state in ("failed", "diverged", "damaged"))
        waiting = count["waiting"] + count["interrupted"]
        numbers = (f"{count['ok']} of {len(rows)}", *(str(n or "") for n in (count["running"], failed, waiting)))
        table.add_row(Text(clean(label)), *numbers, f"{fmean(scores):.4f}" if scores else "")
    return table


def overview(studies: Iterable[Mapping[str, Any]]) -> Group:
    """One table of arms per study, with the runs that are running or have failed."""

    def tables() -> Iterator[Table]:
        for study in studies:
            yield arms_table(study)
            of_interest = ("running", "failed", "diverged", "damaged")
            if any(row["state"] in of_interest for row in study["cells"]):
                yield runs_table(study, of_interest)

    return Group(*tables())
