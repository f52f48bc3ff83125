"""Whether an arm may be compared with its baseline, and with which test: what forbids a difference, and what must stand
beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.tables.groups import BUDGET, SHORT, Caveat, Group

IDENTICAL = "same configuration as the baseline"
LISTED = 3  # file names in a mark
SAME_BYTES = 0.01  # scored bytes may differ by this fraction: another tokenizer's first token, a dropped tail


@dataclass(frozen=True)
class Comparability:
    """refused: why there is no difference at all; nats_refused: why nats per token cannot be compared; marks: what else
    differs.
    """

    refused: str | None
    nats_refused: str | None
    marks: tuple[Caveat, ...]


def comparability(arm: Group, base: Group) -> Comparability:
    """What stands between two groups of runs."""
    refused = refusal(arm, base)
    if refused:
        return Comparability(refused, refused, ())
    nats_refused = None
    if tokenizers(arm) != tokenizers(base):
        nats_refused = "another tokenizer than the baseline: nats per token do not compare, bpb does"
    marks = [*code_marks(arm, base), *budget_marks(arm, base)]
    if nats_refused:
        marks.append(
            Caveat(
                "arms with another tokenizer than their baseline: nats are not compared",
                "another tokenizer: nats not compared",
            )
        )
    elif values(arm, "data_sha") != values(base, "data_sha"):
        marks.append(
            Caveat("arms with other training data than their baseline", "other training data than the baseline")
        )
    if values(arm, "device") != values(base, "device"):
        marks.append(
            Caveat(
                "arms on another device than their baseline",
                f"on {text(arm, 'device')}, baseline on {text(base, 'device')}",
            )
        )
    return Comparability(None, nats_refused, tuple(marks))


def refusal(arm: Group, base: Group) -> str | None:
    """The first thing that makes a difference of two scores meaningless."""
    if arm.fingerprint == base.fingerprint:
        return IDENTICAL
    if arm.refused or base.refused:
        return arm.refused or f"the baseline has no mean: {base.refused}"
    for key, what in (("eval_mode", "evaluation mode"), ("val_text_sha", "validation text")):
        if (mine := arm.only(key)) != (other := base.only(key)):
            mine, other = (str(x)[:SHORT] if key == "val_text_sha" else x for x in (mine, other))
            return f"another {what} than the baseline ({mine}, not {other})"
    a, b = arm.mean("val_bytes"), base.mean("val_bytes")
    if not same_part(a, b):
        return f"another part of the validation text than the baseline ({a:,.0f} bytes, not {b:,.0f})"
    return None


def same_part(a: float | None, b: float | None) -> bool:
    """Whether two counts of scored bytes are of the same part of a text; what is not known is taken for the same."""
    return a is None or b is None or abs(a - b) <= SAME_BYTES * max(a, b)


def tokenizers(g: Group) -> set[object]:
    """Which tokenizers a group's texts were cut by; where a record does not say, targets and bytes tell."""
    return {row.get("tokenizer_sha") or (row.get("val_targets"), row.get("val_bytes")) for row in g.used.values()}


def values(g: Group, key: str) -> set[str]:
    return {repr(row.get(key)) for row in g.used.values()}


def text(g: Group, key: str) -> str:
    return ", ".join(sorted({str(row.get(key)) for row in g.used.values()}))


def code_marks(arm: Group, base: Group) -> Sequence[Caveat]:
    """Whether the same code ran: hashes of the files that both loaded. A file that only one loaded is its variant."""
    kind = "arms whose code is not their baseline's, or cannot be shown to be"
    if values(arm, "code_sha") == values(base, "code_sha"):
        return []
    mine, theirs = file_sums(arm), file_sums(base)
    if mine is None or theirs is None:
        return [
            Caveat(kind, "its record does not say file by file which code ran: cannot be shown to be the baseline's")
        ]
    changed = sorted(name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name])
    more = f" and {len(changed) - LISTED} more" if len(changed) > LISTED else ""
    return [Caveat(kind, f"other code than the baseline ({', '.join(changed[:LISTED])}{more})")] if changed else []


def file_sums(g: Group) -> dict[str, set[str]] | None:
    """{source file: its sums over a group's runs}; None where a record has no sums."""
    found: dict[str, set[str]] = {}
    for row in g.used.values():
        for line in row.get("code_files") or [""]:
            name, _, sha = str(line).rpartition(" ")
            if not name:
                return None
            found.setdefault(name, set()).add(sha)
    return found


def budget_marks(arm: Group, base: Group) -> Sequence[Caveat]:
    told = []
    for key in BUDGET:
        if values(arm, key) != values(base, key):
            told.append(f"{key.removeprefix('budget.')} {text(arm, key)}, baseline {text(base, key)}")
    return [Caveat("arms with another budget than their baseline", f"budget: {'; '.join(told)}")] if told else []


def share_checkpoints(arm: Group, base: Group) -> bool:
    """Whether two arms score the same trained weights seed by seed: both from one parent's runs, or one from the
    other's.
    """
    mine, other = arm.only("from.fingerprint"), base.only("from.fingerprint")
    return (mine is not None and mine in (other, base.fingerprint)) or (other is not None and other == arm.fingerprint)
