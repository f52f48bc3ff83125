"""All runs that were read, one collapsible section each: status, scores, cost and provenance."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pgolf.pages.html.elements import fold, tag, terms, text
from pgolf.records.fields import COST, MACHINE, ORIGIN, RUN, SCORES, SIZES, report_keys
from pgolf.records.kinds import is_number
from pgolf.records.rows import Row

SECTIONS = (RUN, SCORES, SIZES, COST, ORIGIN, MACHINE)  # sections of one run, in order
OK = "ok"
MOST_RUNS = 1000  # on one page, about 3 MB
LONGEST = 20_000  # characters of one field or error


def runs(rows: Sequence[Row]) -> str:
    """One heading per arm, one collapsible section per run, ordered by seed."""
    by_arm: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows[:MOST_RUNS]:
        by_arm[row["study"], row["arm"]].append(row)
    several = len({study for study, _ in by_arm}) > 1
    parts = []
    if len(rows) > MOST_RUNS:
        note = (
            f"The first {MOST_RUNS:,} of {len(rows):,} runs are shown. pgolf.aggregate writes all of them into "
            "results.jsonl."
        )
        parts.append(tag("p", text(note)))
    for (study, arm), members in by_arm.items():
        members.sort(key=lambda row: (row["seed"] is None, row["seed"] or 0, str(row.get("folder"))))
        inside = "".join(run(row) for row in members)
        parts.append(tag("section", tag("h3", text(f"{study}/{arm}" if several else arm)) + inside, class_="arm"))
    return "".join(parts)


def run(row: Row) -> str:
    """One run: status, score and number of warnings in the summary, everything else inside."""
    facts = [f"{row['val_bpb']:.4f} bpb"] if row["status"] == OK and is_number(row.get("val_bpb")) else []
    warnings = [str(warning) for warning in row.get("warnings") or []]
    facts += [f"{len(warnings)} warning{'s' if len(warnings) > 1 else ''}"] if warnings else []
    seed = "?" if row["seed"] is None else row["seed"]
    status = tag("span", text(row["status"]), class_="status good" if row["status"] == OK else "status bad")
    summary = f"{tag('span', text(f'seed {seed}'), class_='seed')} {status} {text(', '.join(facts))}"
    return fold(summary, body(row, warnings), class_="run")


def body(row: Row, warnings: Sequence[str]) -> str:
    parts = []
    if row.get("error"):
        lines = shortened(str(row["error"])).splitlines()
        parts.append(tag("h4", "error") + tag("pre", "\n".join(map(text, lines)), tabindex="0"))
    if warnings:
        lines = shortened("\n".join(warnings)).split("\n")
        parts.append(tag("h4", "warnings") + tag("ul", "".join(tag("li", text(line)) for line in lines)))
    for title in SECTIONS:
        pairs = values(row, title)
        if title == RUN:
            pairs = {"folder": str(row.get("folder")), "planned": planned(row)} | pairs
        if pairs:
            parts.append(tag("h4", text(title)) + terms(pairs))
    return "".join(parts)


def planned(row: Row) -> str:
    return {None: "no plan known", True: "yes", False: "not in the current sweep plan"}[
        None if row["planned"] is None else bool(row["planned"])
    ]


def values(row: Row, section: str) -> dict[str, str]:
    """The fields of one section as text, not rounded."""
    return {key: value_text(row[key]) for key in report_keys(row, section) if row[key] is not None}


def value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return shortened(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def shortened(value: str) -> str:
    """A text, cut if it is very long, with a note of how much is left out."""
    return value if len(value) <= LONGEST else f"{value[:LONGEST]} ... ({len(value) - LONGEST:,} characters left out)"
