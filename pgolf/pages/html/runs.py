"""Every run that was read, folded away: what became of it and what made it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pgolf.pages.html.elements import fold, tag, terms, text
from pgolf.records.fields import is_number
from pgolf.records.rows import Row

SCORES = (
    "val_bpb",
    "val_bpb_live",
    "val_bpb_averaged",
    "val_nats",
    "quant_gap_bpb",
    "val_targets",
    "val_bytes",
    "eval_mode",
)
SIZES = (
    "total_bytes",
    "model_bytes",
    "code_bytes",
    "cap_bytes",
    "under_cap",
    "params.total",
    "params.trained",
    "params.frozen",
)
COST = (
    "steps",
    "tokens",
    "epochs",
    "train_s",
    "eval_s",
    "step_ms_median",
    "tokens_per_s",
    "peak_mem_bytes",
    "flops_per_token",
)
MADE_BY = (
    "git_sha",
    "git_dirty",
    "git_diff_sha",
    "code_sha",
    "data_sha",
    "tokenizer_sha",
    "val_text_sha",
    "fingerprint",
    "from.fingerprint",
)
MACHINE = ("device", "threads", "precision", "compile", "nproc", "hostname")
OK = "ok"
MOST_RUNS = 1000  # on one page, about 3 MB
LONGEST = 20_000  # characters of one field or error


def runs(rows: Sequence[Row]) -> str:
    """A heading an arm, a fold a run, by seed."""
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows[:MOST_RUNS]:
        found[row["study"], row["arm"]].append(row)
    several = len({study for study, _ in found}) > 1
    made = []
    if len(rows) > MOST_RUNS:
        left = (
            f"The first {MOST_RUNS:,} of {len(rows):,} runs are shown. pgolf.aggregate writes all of them into "
            "results.jsonl."
        )
        made.append(tag("p", text(left)))
    for (study, arm), members in found.items():
        members.sort(key=lambda row: (row["seed"] is None, row["seed"] or 0, str(row.get("folder"))))
        inside = "".join(run(row) for row in members)
        made.append(tag("section", tag("h3", text(f"{study}/{arm}" if several else arm)) + inside, class_="arm"))
    return "".join(made)


def run(row: Row) -> str:
    """One run. Failures keep their error, warnings stand beside, and both are named in the summary."""
    told = [f"{row['val_bpb']:.4f} bpb"] if row["status"] == OK and is_number(row.get("val_bpb")) else []
    warned = [str(warning) for warning in row.get("warnings") or []]
    told += [f"{len(warned)} warning{'s' if len(warned) > 1 else ''}"] if warned else []
    seed = "?" if row["seed"] is None else row["seed"]
    status = tag("span", text(row["status"]), class_="status good" if row["status"] == OK else "status bad")
    summary = f"{tag('span', text(f'seed {seed}'), class_='seed')} {status} {text(', '.join(told))}"
    return fold(summary, body(row, warned), class_="run")


def body(row: Row, warned: Sequence[str]) -> str:
    made = []
    if row.get("error"):
        lines = shortened(str(row["error"])).splitlines()
        made.append(tag("h4", "error") + tag("pre", "\n".join(map(text, lines)), tabindex="0"))
    if warned:
        lines = shortened("\n".join(warned)).split("\n")
        made.append(tag("h4", "warnings") + tag("ul", "".join(tag("li", text(line)) for line in lines)))
    versions = [key for key in row if key.startswith("versions.")]
    what = {"folder": str(row.get("folder")), "planned": planned(row)} | values(row, ("overrides",))
    for title, pairs in (
        ("run", what),
        ("scores", values(row, SCORES)),
        ("bytes and parameters", values(row, SIZES)),
        ("cost", values(row, COST)),
        ("made by", values(row, MADE_BY)),
        ("machine and versions", values(row, (*MACHINE, *versions))),
    ):
        if pairs:
            made.append(tag("h4", text(title)) + terms(pairs))
    return "".join(made)


def planned(row: Row) -> str:
    return {None: "no plan is known", True: "yes", False: "by no sweep (any more)"}[
        None if row["planned"] is None else bool(row["planned"])
    ]


def values(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """Fields as text, whole: nothing is rounded here."""
    return {key: value_text(row[key]) for key in keys if row.get(key) is not None}


def value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return shortened(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def shortened(value: str) -> str:
    """A text of a field; of one that is very long the beginning, with how much is left out."""
    return value if len(value) <= LONGEST else f"{value[:LONGEST]} ... ({len(value) - LONGEST:,} characters left out)"
