"""What a study's page shows beside its tables: scores apart, scores on the way, and the comparison as it was published."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from pgolf.collect import is_number
from pgolf.curves import Curve, curves_of, of_group
from pgolf.page import Grid, Section, interval, number, p_text
from pgolf.stats import one_sample, welch
from pgolf.study import Study
from pgolf.table import ArmRow, FamilyTable, Report

MOST_STEPS = 8  # columns of scores on the way


def study_sections(study: Study, report: Report, curves: Sequence[Curve]) -> list[Section]:
    """Further sections of every family that has been run."""
    found = []
    for table in report.families:
        if table.family.baseline is None or not any(row.mean_bpb is not None for row in table.rows):
            continue
        found.append(scores_apart(table))
        found += on_the_way(table, curves)
        found += by_phase(table, curves)
        found += bytes_saved(table, study.smallest_effect_bpb)
        found += against_the_line(table, next((plan.line for plan in study.families if plan.name == table.family.name), ()))
        if study.published_test == "one_sample":
            found.append(as_a_constant(table))
    return found


def grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Grid:
    """A grid of numbers, names in its first column."""
    return Grid(tuple(titles), (False, *(True for _ in titles[1:])), tuple(tuple(row) for row in rows))


def scores_apart(table: FamilyTable) -> Section:
    """Live, averaged and packed scores of every arm, means over its seeds, and the FLOPs of a trained token.

    The difference between live scores stands beside them: an average or a packer can turn what the packed scores say.
    """
    base = next((row.group for row in table.rows if row.is_baseline and row.mean_bpb is not None), None)

    def cells(row: ArmRow) -> list[str]:
        flops = row.group.mean("flops_per_token")
        live, averaged, packed = (number(row.group.mean(key)) for key in ("val_bpb_live", "val_bpb_averaged", "val_bpb"))
        told = row.comparison is not None and row.comparison.refused is None
        test = welch(row.group.values("val_bpb_live"), base.values("val_bpb_live")) if told and base is not None else None
        packing = number(row.group.mean("quant_gap_bpb"), sign=True)
        return [row.label, live, interval(test), averaged, packed, packing, "" if flops is None else f"{flops / 1e6:,.3f}"]

    titles = ("arm", "live bpb", "live difference [95%]", "averaged bpb", "packed bpb", "packing, bpb", "MFLOPs/token")
    lines = ("Means over seeds; the difference to the baseline's live scores has Welch's interval, not corrected.",)
    return Section(f"{table.family.name}: live, averaged and packed", lines, grid(titles, [cells(row) for row in table.rows]))


def on_the_way(table: FamilyTable, curves: Sequence[Curve]) -> list[Section]:
    """Mean live scores at the validation steps that all arms have, at most eight of them; nothing without curves."""
    found = curves_of(curves)
    runs = {
        row.label: [dict(zip(c.val_steps, c.val_bpb_live, strict=True)) for c in of_group(row.group, found)]
        for row in table.rows
        if row.mean_bpb is not None
    }
    seen = [set(run) for members in runs.values() for run in members]
    if not seen or not all(runs.values()):
        return []
    steps = sorted(set.intersection(*seen))
    steps = [steps[round(i * (len(steps) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)] if len(steps) > MOST_STEPS else steps
    rows = [[label, *(number(fmean(run[step] for run in members)) for step in steps)] for label, members in runs.items()]
    titles = ["arm", *(f"step {step:,}" for step in steps)]
    return [Section(f"{table.family.name}: live bpb on the way", ("Means over seeds.",), grid(titles, rows))] if steps else []


def phases_of(curve: Curve) -> list[tuple[str, int, float]]:
    """(phase of the schedule, step, live bpb) at the last validation of each phase: `constant`, `rising`, `falling` or `zero` rate."""
    last: dict[str, tuple[int, float]] = {}
    for step, bpb in zip(curve.val_steps, curve.val_bpb_live, strict=True):
        scales = [scale for at, scale in zip(curve.train_steps, curve.train_lr_scale, strict=True) if at <= step]
        if scales:
            now, before = scales[-1], scales[-2] if len(scales) > 1 else scales[-1]
            last["zero" if now == 0 else "falling" if now < before else "rising" if now > before else "constant"] = (step, bpb)
    return [(phase, *at) for phase, at in sorted(last.items(), key=lambda item: item[1])]


def by_phase(table: FamilyTable, curves: Sequence[Curve]) -> list[Section]:
    """Mean live scores at the last validation of each phase of the schedule; nothing where no arm has two phases with a validation."""
    found = curves_of([curve for curve in curves if curve.train_lr_scale])
    rows, titles = [], list[str]()
    for row in table.rows:
        runs = [phases_of(curve) for curve in of_group(row.group, found)]
        if not runs or len(runs) < row.group.n or len({tuple(phase[:2] for phase in run) for run in runs}) > 1:
            continue
        cells, before = {}, None
        for at, (phase, step, _) in enumerate(runs[0]):
            mean = fmean(run[at][2] for run in runs)
            cells[phase] = f"{number(mean)} at {step:,}" + ("" if before is None else f" ({number(mean - before, sign=True)})")
            before = mean
        titles += [phase for phase in cells if phase not in titles]
        rows.append((row.label, cells))
    if len(titles) < 2:
        return []
    lines = (
        "Live bpb at the last validation of each phase of the learning rate, at its step, and the change since the phase before; means.",
    )
    told = [[label, *(cells.get(phase, "") for phase in titles)] for label, cells in rows]
    return [Section(f"{table.family.name}: by phase of the schedule", lines, grid(("arm", *(f"{t} rate" for t in titles)), told))]


def bytes_saved(table: FamilyTable, smallest: float) -> list[Section]:
    """Packed bytes against the baseline's, and whether they are saved at an equal score: its whole interval within the smallest effect."""
    base = next((row for row in table.rows if row.is_baseline), None)
    if base is None or base.mean_bpb is None or (base_bytes := base.group.mean("total_bytes")) is None:
        return []
    rows = []
    for row in table.rows:
        test, size = (None if row.comparison is None else row.comparison.test), row.group.mean("total_bytes")
        if row.is_baseline or size is None or test is None or test.difference is None or test.low is None or test.high is None:
            continue
        verdict = "yes" if test.within(smallest) else "no, better" if test.high < 0 else "no, worse" if test.low > 0 else "cannot be told"
        cells = (f"{size:,.0f}", f"{size - base_bytes:+,.0f}", f"{100 * (size / base_bytes - 1):+.1f}%")
        rows.append([row.label, *cells, interval(test), verdict])
    titles = ("arm", "bytes", f"against {base.label}", "share", "difference in bpb", "equal score")
    line = f"Equal: the whole 95% interval lies within {smallest} bpb, the smallest effect that matters at this size."
    return [Section(f"{table.family.name}: bytes at an equal score", (line,), grid(titles, rows))] if rows else []


def bytes_on(line: Sequence[tuple[float, float]], bpb: float) -> float | None:
    """Bytes at a score on the line through points (bytes, bpb), straight between neighbours; None beyond its ends.

    A point that another beats in both is not on the line: more bytes for a worse score are no price of anything.
    """
    front = sorted((p for p in line if not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in line)), reverse=True)
    for (more, better), (fewer, worse) in pairwise(front):
        if better <= bpb <= worse:
            return fewer + (more - fewer) * (worse - bpb) / (worse - better)
    return None


def against_the_line(table: FamilyTable, line: Sequence[str]) -> list[Section]:
    """What an arm's score would cost on the line through other arms, seed by seed; nothing where one of these has no comparable score."""
    rows = {row.group.arm: row for row in table.rows if row.is_baseline or (row.comparison is not None and row.comparison.refused is None)}
    if not line or not all(arm in rows for arm in line):
        return []
    points = {arm: sized_scores(row) for arm, row in rows.items()}
    others = {arm: row for arm, row in rows.items() if arm not in line and points[arm]}
    told = [[row.label, *saved_cells(points[arm], [points[other] for other in line])] for arm, row in others.items()]
    lines = (
        f"The line goes through {', '.join(rows[arm].label for arm in line)}, straight between neighbours, for each seed by itself;"
        " the interval is between seeds. Saved: bytes on the line at the arm's score, less the arm's own.",
    )
    titles = ("arm", "bytes", "bytes on the line at its score", "saved [95%]", "share")
    return [Section(f"{table.family.name}: bytes saved at an equal score", lines, grid(titles, told))] if told else []


def sized_scores(row: ArmRow) -> dict[int, tuple[float, float]]:
    """(bytes, bpb) of the counted seeds whose record has both."""
    return {seed: (run["total_bytes"], run["val_bpb"]) for seed, run in row.group.used.items() if is_number(run.get("total_bytes"))}


def saved_cells(points: Mapping[int, tuple[float, float]], line: Sequence[Mapping[int, tuple[float, float]]]) -> list[str]:
    """Cells of one arm, from (bytes, bpb) by seed of its own and of the line's arms."""
    own = {seed: point for seed, point in points.items() if all(seed in other for other in line)}
    costs = [bytes_on([other[seed] for other in line], bpb) for seed, (_, bpb) in own.items()]
    inside = [cost for cost in costs if cost is not None]
    size = f"{fmean(size for size, _ in points.values()):,.0f}"
    if not inside or len(inside) < len(costs):
        return [size, "", "its score lies beyond the line's ends" if costs else "no seed in common", ""]
    saved = [cost - size for cost, (size, _) in zip(inside, own.values(), strict=True)]
    test = one_sample(saved)
    bounds = f"({test.reason})" if test.low is None or test.high is None else f"[{test.low:+,.0f}, {test.high:+,.0f}]"
    return [size, f"{fmean(inside):,.0f}", f"{fmean(saved):+,.0f} {bounds}", f"{100 * fmean(saved) / fmean(inside):+.1f}%"]


def as_a_constant(table: FamilyTable) -> Section:
    """Each arm against its baseline's mean as if that were known exactly, as it was published: it leaves the baseline's noise out."""
    base = next((row for row in table.rows if row.is_baseline and row.mean_bpb is not None), None)
    rows = []
    for row in table.rows:
        if base is None or base.mean_bpb is None or row.is_baseline or row.mean_bpb is None:
            continue
        test = one_sample(row.group.values("val_bpb"), base.mean_bpb, side="less")
        proper = None if row.comparison is None else row.comparison.test
        t = f"t = {test.t:.2f}, df {test.df:.0f}" if test.t is not None and test.df is not None else str(test.reason)
        rows.append([row.label, t, p_text(test.p), "" if proper is None else p_text(proper.p)])
    line = (
        "The baseline's mean is taken for a constant and the test is one-sided, for an improvement, as published;"
        " the proper p is two-sided."
    )
    return Section(f"{table.family.name}: as published", (line,), grid(("arm", "one-sample test", "its one-sided p", "proper p"), rows))
