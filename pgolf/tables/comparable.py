"""Whether an arm may be compared with its baseline: what forbids a difference, and the caveats of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.tables.caveats import Caveat, CaveatKind, Refusal, RefusalKind
from pgolf.tables.groups import BUDGET, SHORT, SHUFFLE_SEED, Group, seeds_text

MOST_FILES = 3  # that a caveat names
SAME_BYTES = 0.01  # relative tolerance for scored bytes: another tokenizer's first token, a dropped tail


@dataclass(frozen=True)
class Comparability:
    """refusal: why there is no difference. nats_refusal: why nats per token are not compared, for readers."""

    refusal: Refusal | None
    nats_refusal: str | None
    caveats: tuple[Caveat, ...]


def comparability(arm: Group, base: Group) -> Comparability:
    """Whether two groups may be compared, and with which caveats."""
    refusal = difference_refusal(arm, base)
    if refusal is not None:
        return Comparability(refusal, refusal.text, ())
    nats_refusal = None
    caveats = [*code_caveats(arm, base), *budget_caveats(arm, base)]
    if tokenizers(arm) != tokenizers(base):
        nats_refusal = "another tokenizer than the baseline: only bpb is compared, not nats per token"
        caveats.append(Caveat(CaveatKind.OTHER_TOKENIZER, "another tokenizer: nats not compared"))
    elif values(arm, "data_sha") != values(base, "data_sha"):
        caveats.append(Caveat(CaveatKind.OTHER_DATA, "other training data than the baseline"))
    if orders := [seed for seed in sorted(arm.used.keys() & base.used.keys()) if has_other_order(seed, arm, base)]:
        caveats.append(
            Caveat(CaveatKind.OTHER_ORDER, f"other order of the data than the baseline ({seeds_text(orders)})")
        )
    if values(arm, "device") != values(base, "device"):
        devices = f"on {text(arm, 'device')}, baseline on {text(base, 'device')}"
        caveats.append(Caveat(CaveatKind.OTHER_DEVICE, devices))
    if "None" not in (known := values(arm, "precision") | values(base, "precision")) and len(known) > 1:
        precisions = f"in {text(arm, 'precision')}, baseline in {text(base, 'precision')}"
        caveats.append(Caveat(CaveatKind.OTHER_PRECISION, precisions))
    return Comparability(None, nats_refusal, tuple(caveats))


def has_other_order(seed: int, arm: Group, base: Group) -> bool:
    """Whether the runs of one seed saw the data in different orders; False where a record does not say it."""
    orders = [g.used[seed].get(SHUFFLE_SEED) for g in (arm, base)]
    return None not in orders and orders[0] != orders[1]


def difference_refusal(arm: Group, base: Group) -> Refusal | None:
    """Why the difference of two groups' scores would have no meaning; None if it has one."""
    if arm.fingerprint == base.fingerprint:
        return Refusal(RefusalKind.SAME_CONFIGURATION, "same configuration as the baseline")
    if arm.refusal is not None:
        return arm.refusal
    if base.refusal is not None:
        return Refusal(RefusalKind.BASELINE_WITHOUT_MEAN, f"the baseline has no mean: {base.refusal.text}")
    mode, base_mode = arm.only("eval_mode"), base.only("eval_mode")
    if mode != base_mode:
        reason = f"another evaluation mode than the baseline ({mode}, not {base_mode})"
        return Refusal(RefusalKind.OTHER_MODE, reason)
    sha, base_sha = arm.only("val_text_sha"), base.only("val_text_sha")
    if sha != base_sha:
        reason = f"another validation text than the baseline ({str(sha)[:SHORT]}, not {str(base_sha)[:SHORT]})"
        return Refusal(RefusalKind.OTHER_TEXT, reason)
    a, b = arm.mean("val_bytes"), base.mean("val_bytes")
    if not same_part(a, b):
        reason = f"another part of the validation text than the baseline ({a:,.0f} bytes, not {b:,.0f})"
        return Refusal(RefusalKind.OTHER_PART, reason)
    return None


def same_part(a: float | None, b: float | None) -> bool:
    """Whether two counts of scored bytes can be of the same part of a text; an unknown count can."""
    return a is None or b is None or abs(a - b) <= SAME_BYTES * max(a, b)


def tokenizers(g: Group) -> set[object]:
    """The tokenizers of a group's texts, by hash; without a hash, by the counts of targets and bytes."""
    return {row.get("tokenizer_sha") or (row.get("val_targets"), row.get("val_bytes")) for row in g.used.values()}


def values(g: Group, key: str) -> set[str]:
    return {repr(row.get(key)) for row in g.used.values()}


def text(g: Group, key: str) -> str:
    return ", ".join(sorted({str(row.get(key)) for row in g.used.values()}))


def code_caveats(arm: Group, base: Group) -> Sequence[Caveat]:
    """A caveat if the code differs. Only files that both loaded are compared: the others are part of the variant."""
    if values(arm, "code_sha") == values(base, "code_sha"):
        return []
    hashes, base_hashes = file_hashes(arm), file_hashes(base)
    if hashes is None or base_hashes is None:
        unknown = "no hash per source file in its record, so its code cannot be compared with the baseline's"
        return [Caveat(CaveatKind.OTHER_CODE, unknown)]
    changed = sorted(name for name in hashes.keys() & base_hashes.keys() if hashes[name] != base_hashes[name])
    if not changed:
        return []
    more = f" and {len(changed) - MOST_FILES} more" if len(changed) > MOST_FILES else ""
    names = ", ".join(changed[:MOST_FILES])
    return [Caveat(CaveatKind.OTHER_CODE, f"other code than the baseline ({names}{more})")]


def file_hashes(g: Group) -> dict[str, set[str]] | None:
    """{source file: its hashes in a group's runs}; None where a record has no hashes."""
    hashes: dict[str, set[str]] = {}
    for row in g.used.values():
        for line in row.get("code_files") or [""]:
            name, _, sha = str(line).rpartition(" ")
            if not name:
                return None
            hashes.setdefault(name, set()).add(sha)
    return hashes


def budget_caveats(arm: Group, base: Group) -> Sequence[Caveat]:
    differences = [
        f"{key.removeprefix('budget.')} {text(arm, key)}, baseline {text(base, key)}"
        for key in BUDGET
        if values(arm, key) != values(base, key)
    ]
    return [Caveat(CaveatKind.OTHER_BUDGET, f"budget: {'; '.join(differences)}")] if differences else []


def share_checkpoints(arm: Group, base: Group) -> bool:
    """Whether two arms score the same trained weights seed by seed: those of one parent, or one arm those of the other
    arm.
    """
    parent, base_parent = arm.only("from.fingerprint"), base.only("from.fingerprint")
    return (parent is not None and parent in (base_parent, base.fingerprint)) or (
        base_parent is not None and base_parent == arm.fingerprint
    )
