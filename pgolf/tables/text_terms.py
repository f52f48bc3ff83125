"""The uncertainty of the text beside that of the seeds, for each compared arm of a family."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pgolf.records.documents import DocumentScores
from pgolf.records.rows import Row
from pgolf.tables.caveats import RefusalKind
from pgolf.tables.comparable import share_checkpoints
from pgolf.tables.contrast import sample_of
from pgolf.tables.family import ArmRow, FamilyTable
from pgolf.tables.groups import Group
from pgolf.tables.stats import TTest, paired
from pgolf.tables.texts import Covers, combined, document_test, mean_documents

Read = Callable[[Row], DocumentScores | None]
Mean = DocumentScores | str


@dataclass(frozen=True)
class TextTerm:
    """The difference of one arm to its baseline in bpb with three intervals: over seeds, over documents, over both.

    one_checkpoint: both arms score the same trained weights, seed by seed. cut: documents that were scored in part.
    """

    label: str
    documents: int
    cut: int
    one_checkpoint: bool
    by_seeds: TTest
    by_documents: TTest
    by_both: TTest


def text_terms(table: FamilyTable, read: Read) -> list[TextTerm]:
    """One entry per compared arm whose records, and those of its baseline, have documents. read: those of one row."""
    found: list[TextTerm] = []
    means: dict[tuple[int, tuple[int, ...]], Mean | None] = {}

    def mean_of(g: Group, seeds: Sequence[int]) -> Mean | None:
        key = (id(g), tuple(seeds))
        if key not in means:
            means[key] = mean_of_rows([g.used[seed] for seed in seeds], read)
        return means[key]

    for row in table.rows:
        base = compared_base(row, table)
        if base is None or row.comparison is None:
            continue
        g, b = row.group, base.group
        is_shared = share_checkpoints(g, b)
        common = sorted(g.used.keys() & b.used.keys())
        seeds, base_seeds = (
            (common, common) if is_shared or row.comparison.is_paired else (sorted(g.used), sorted(b.used))
        )
        if not seeds or not base_seeds:
            continue
        arm, baseline = mean_of(g, seeds), mean_of(b, base_seeds)
        if arm is None or baseline is None:
            continue
        test = row.comparison.test or paired_scores(g, b, common)
        reason = next((x for x in (arm, baseline) if isinstance(x, str)), None)
        if isinstance(arm, str) or isinstance(baseline, str):
            text, count, cut = TTest(Covers.DOCUMENTS.value, (), test.difference, reason=reason), 0, 0
        else:
            text, count, cut = document_test(arm, baseline), len(arm.nats), max(arm.cut, baseline.cut)
        found.append(TextTerm(row.label, count, cut, is_shared, test, text, combined(test, text)))
    return found


def mean_of_rows(rows: Sequence[Row], read: Read) -> Mean | None:
    """The mean of the documents of some rows, or why there is none; None where a row has no documents."""
    scores = [read(row) for row in rows]
    known = [score for score in scores if score is not None]
    return mean_documents(known) if len(known) == len(scores) else None


def paired_scores(g: Group, base: Group, seeds: Sequence[int]) -> TTest:
    """The paired test over seeds, for arms in several evaluation modes, which a table does not compare."""
    a, b = sample_of(g), sample_of(base)
    return paired([a[seed] for seed in seeds], [b[seed] for seed in seeds])


def compared_base(row: ArmRow, table: FamilyTable) -> ArmRow | None:
    """The baseline's row that an arm is compared with by document; None without one.

    Arms in another evaluation mode than their baseline are compared where both score the same trained weights.
    """
    comparison = row.comparison
    if comparison is None:
        return None
    base = next((other for other in table.rows if other.is_baseline and other.label == comparison.baseline), None)
    if base is None or comparison.refusal is None:
        return base
    other_mode = comparison.refusal.kind is RefusalKind.OTHER_MODE
    one_text = row.group.only("val_text_sha") == base.group.only("val_text_sha")
    return base if other_mode and one_text and share_checkpoints(row.group, base.group) else None
