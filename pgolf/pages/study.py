"""Further sections of a study: live and packed scores, scores during training, bytes, the published comparison."""

from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from pgolf.pages.drift import drift_section
from pgolf.pages.ladder import ladder_sections
from pgolf.pages.published_gaps import published_gap_section
from pgolf.pages.sensitivity import sensitivity_section
from pgolf.study.description import Study
from pgolf.study.tradeoff import against_the_line
from pgolf.tables.curves import Curve, curves_of, of_group
from pgolf.tables.family import ArmRow, FamilyTable, base_of
from pgolf.tables.ladder import StepRatios
from pgolf.tables.stats import one_sample, welch
from pgolf.tables.table import Tables
from pgolf.tables.text import Grid, Section, SectionKind, interval, number, p_text, verdict_text

MOST_STEPS = 8  # columns of scores during training


def study_sections(study: Study, report: Tables, curves: Sequence[Curve], ratios: StepRatios) -> list[Section]:
    """The further sections of every family with a baseline and a score, then those of the ladders. ratios: of step
    times.
    """
    sections = []
    for table in report.families:
        if table.family.baseline is None or not any(row.mean_bpb is not None for row in table.rows):
            continue
        sections += sensitivity_section(table)
        sections += published_gap_section(table, study)
        sections.append(scores_by_stage(table))
        sections += scores_by_step(table, curves)
        sections += drift_section(table, curves_of(curves))
        sections += scores_by_phase(table, curves)
        sections += bytes_saved(table, table.settings.smallest_effect_bpb or study.smallest_effect_bpb)
        sections += against_the_line(table, study.line_of(table.family.name))
        if study.published_test == "one_sample":
            sections.append(as_published(table))
    return [*sections, *ladder_sections(study, report, ratios)]


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """A grid of numbers with names in its first column."""
    return Grid(tuple(titles), (False, *(True for _ in titles[1:])), tuple(tuple(row) for row in rows))


def further(heading: str, line: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Section:
    return Section(SectionKind.FURTHER, heading, (line,), grid(titles, rows))


def scores_by_stage(table: FamilyTable) -> Section:
    """Live, averaged and packed scores of every arm, means over seeds, and training FLOPs per token.

    The difference between live scores is shown as well, since averaging and packing can reverse the order of arms.
    """

    def cells(row: ArmRow) -> list[str]:
        flops = row.group.mean("flops_per_token")
        live, averaged, packed = (
            number(row.group.mean(key)) for key in ("val_bpb_live", "val_bpb_averaged", "val_bpb")
        )
        base = base_of(row, table)
        test = None if base is None else welch(row.group.values("val_bpb_live"), base.group.values("val_bpb_live"))
        packing = number(row.group.mean("quant_gap_bpb"), sign=True)
        return [
            row.label,
            live,
            interval(test),
            averaged,
            packed,
            packing,
            "" if flops is None else f"{flops / 1e6:,.3f}",
        ]

    titles = ("arm", "live bpb", "live difference [95%]", "averaged bpb", "packed bpb", "packing, bpb", "MFLOPs/token")
    line = "Means over seeds. The difference to the baseline's live scores has Welch's interval, not corrected."
    rows = [cells(row) for row in table.rows]
    return further(f"{table.family.name}: live, averaged and packed", line, titles, rows)


def scores_by_step(table: FamilyTable, curves: Sequence[Curve]) -> list[Section]:
    """Mean live scores at validation steps that all arms have, at most MOST_STEPS; no section without curves."""
    by_run = curves_of(curves)
    runs = {
        row.label: [dict(zip(c.val_steps, c.val_bpb_live, strict=True)) for c in of_group(row.group, by_run)]
        for row in table.rows
        if row.mean_bpb is not None
    }
    steps_of_runs = [set(run) for members in runs.values() for run in members]
    if not steps_of_runs or not all(runs.values()):
        return []
    steps = sorted(set.intersection(*steps_of_runs))
    steps = (
        [steps[round(i * (len(steps) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)]
        if len(steps) > MOST_STEPS
        else steps
    )
    rows = [
        [label, *(number(fmean(run[step] for run in members)) for step in steps)] for label, members in runs.items()
    ]
    titles = ["arm", *(f"step {step:,}" for step in steps)]
    heading = f"{table.family.name}: live bpb during training"
    return [further(heading, "Means over seeds.", titles, rows)] if steps else []


def phases_of(curve: Curve) -> list[tuple[str, int, float]]:
    """(phase of the learning rate, step, live bpb) at the last validation of each phase. Phases are `constant`,
    `rising`, `falling` and `zero`.
    """
    last: dict[str, tuple[int, float]] = {}
    for step, bpb in zip(curve.val_steps, curve.val_bpb_live, strict=True):
        scales = curve.train_lr_scale[: bisect_right(curve.train_steps, step)][-2:]  # steps are in order
        if scales:
            now, before = scales[-1], scales[0]
            last["zero" if now == 0 else "falling" if now < before else "rising" if now > before else "constant"] = (
                step,
                bpb,
            )
    return [(phase, *at) for phase, at in sorted(last.items(), key=lambda item: item[1])]


def scores_by_phase(table: FamilyTable, curves: Sequence[Curve]) -> list[Section]:
    """Mean live scores at the last validation of each phase of the learning rate; no section with fewer than two
    phases.
    """
    by_run = curves_of([curve for curve in curves if curve.train_lr_scale])
    rows, titles = [], list[str]()
    for row in table.rows:
        runs = [phases_of(curve) for curve in of_group(row.group, by_run)]
        if not runs or len(runs) < row.group.n or len({tuple(phase[:2] for phase in run) for run in runs}) > 1:
            continue
        cells, before = {}, None
        for at, (phase, step, _) in enumerate(runs[0]):
            mean = fmean(run[at][2] for run in runs)
            cells[phase] = f"{number(mean)} at {step:,}" + (
                "" if before is None else f" ({number(mean - before, sign=True)})"
            )
            before = mean
        titles += [phase for phase in cells if phase not in titles]
        rows.append((row.label, cells))
    if len(titles) < 2:
        return []
    line = (
        "Mean live bpb at the last validation of each phase of the learning rate, with its step, and the change since "
        "the previous phase."
    )
    texts = [[label, *(cells.get(phase, "") for phase in titles)] for label, cells in rows]
    heading = f"{table.family.name}: by phase of the schedule"
    return [further(heading, line, ("arm", *(f"{t} rate" for t in titles)), texts)]


def bytes_saved(table: FamilyTable, smallest: float) -> list[Section]:
    """Packed bytes compared with the baseline's, beside the verdict on the score."""
    rows = []
    for row in table.rows:
        base, test = base_of(row, table), None if row.comparison is None else row.comparison.test
        if base is None or test is None or test.low is None or test.high is None:
            continue
        size, base_bytes = row.group.mean("total_bytes"), base.group.mean("total_bytes")
        if size is None or base_bytes is None:
            continue
        verdict = "" if row.decision is None else verdict_text(row.decision, smallest, row.hindrance)
        model, base_model = row.group.mean("model_bytes"), base.group.mean("model_bytes")
        alone = "" if not model or not base_model else f"{100 * (model / base_model - 1):+.1f}%"
        cells = (f"{size:,.0f}", f"{size - base_bytes:+,.0f}", f"{100 * (size / base_bytes - 1):+.1f}%", alone)
        rows.append([row.label, *cells, interval(test), verdict])
    titles = (
        "arm",
        "bytes",
        "difference in bytes",
        "share",
        "share of the model alone",
        "difference in bpb",
        "score",
    )
    line = (
        "The last column is the verdict of the family's table. Bytes are saved at an equal score only where it is "
        f"equal within {smallest:g} bpb, the smallest effect that matters at this size."
    )
    return [further(f"{table.family.name}: bytes at an equal score", line, titles, rows)] if rows else []


def as_published(table: FamilyTable) -> Section:
    """Each arm compared with its baseline's mean as a constant, as published: without the baseline's noise."""
    rows = []
    for row in table.rows:
        base = base_of(row, table)
        if base is None or base.mean_bpb is None or row.mean_bpb is None:
            continue
        test = one_sample(row.group.values("val_bpb"), base.mean_bpb, side="less")
        correct = None if row.comparison is None else row.comparison.test
        t = f"t = {test.t:.2f}, df {test.df:.0f}" if test.t is not None and test.df is not None else str(test.reason)
        rows.append([row.label, t, p_text(test.p), "" if correct is None else p_text(correct.p)])
    line = (
        "As published, the baseline's mean is treated as a constant and the test is one-sided, for an improvement. "
        "The correct p is two-sided."
    )
    titles = ("arm", "one-sample test", "its one-sided p", "correct p")
    return further(f"{table.family.name}: as published", line, titles, rows)
