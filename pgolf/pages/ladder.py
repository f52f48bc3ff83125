"""The sections of a study's ladders: gaps over tokens or parameters, the baseline's law, and effective speedups."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from pgolf.study.description import Study
from pgolf.study.published import ladders_of
from pgolf.tables.ladder import Climb, Effective, Ladder, Speeds, StepRatios, effective
from pgolf.tables.scaling import FEWEST_RUNGS, Law, Speedup
from pgolf.tables.stats import one_sample
from pgolf.tables.table import Tables
from pgolf.tables.text import Grid, Section, SectionKind, interval, number, p_text

MOST = 1000  # a speedup above it is shown as such


def ladder_sections(study: Study, report: Tables, ratios: StepRatios) -> list[Section]:
    """The sections of all ladders; none without a ladder."""
    sections = []
    for found in ladders_of(study, report):
        sections.append(gap_section(found))
        if found.over == "tokens" and not found.refusal:
            sections += speed_sections(found, effective(found, ratios))
    return sections


def gap_section(found: Ladder) -> Section:
    heading = f"Ladder over {found.over}: {found.title}"
    if found.refusal:
        return Section(SectionKind.FURTHER, heading, (f"There is no ladder: {found.refusal}.", *found.notes))
    line = (
        "Packed bpb of an arm minus that of its baseline, with the 95% interval of the study's test, not corrected. "
        f"Slope: the change of the gap per doubling of the baseline's {found.over}, from a line through the rungs for "
        "each seed. With p < 0.05 the gap is marked: it rises (the arm loses ground) or falls. A verdict of a family "
        "holds for its own budget: with a slope it is another one elsewhere."
    )
    titles = ("arm", *(f"{one.x:,.0f} {found.over}" for one in found.rungs), "n", "slope per doubling", "p", "the gap")
    numeric = (False, *(True for _ in found.rungs), True, True, True, False)
    rows = tuple(
        (
            climb.name,
            *map(interval, climb.gaps),
            str(len(climb.seeds)),
            interval(climb.slope),
            p_text(climb.slope.p),
            climb.direction,
        )
        for climb in found.climbs
    )
    return Section(
        SectionKind.FURTHER, heading, (line, *found.notes, *climb_notes(found.climbs)), Grid(titles, numeric, rows)
    )


def climb_notes(climbs: Sequence[Climb]) -> list[str]:
    return [f"{climb.name}: {'; '.join(climb.notes)}" for climb in climbs if climb.notes]


def speed_sections(found: Ladder, numbers: Effective) -> list[Section]:
    """The baseline's law and the effective speedups; one line if there is no law."""
    heading = f"Effective speedup: {found.title}"
    if numbers.refusal:
        return [Section(SectionKind.FURTHER, heading, (f"There is no law of the baseline: {numbers.refusal}.",))]
    has_times = any(speeds.times is not None for speeds in numbers.speeds)
    line = (
        "The training FLOPs with which the baseline gets the arm's score, divided by the arm's own: above 1 the arm "
        "needs less. Means over seeds of the logarithm, with 95% interval, not corrected. The law is used up to one "
        "doubling beyond the ladder, and such a number is marked; beyond that there is none. At the first and the last "
        "rung it depends most on the law's form."
    )
    time_line = (
        "In time: the same with seconds of training, by step times that were taken in turn on one machine. The "
        "interval holds their uncertainty too."
        if has_times
        else "Seconds need step times that were taken in turn: bench.json beside the rows (docs/statistics.md)."
    )
    titles = (
        "arm",
        f"baseline's {found.over}",
        "gap, bpb",
        "n",
        "speedup in compute",
        *(["in time"] * has_times),
        "note",
    )
    numeric = (False, *(True for _ in titles[2:]), False)
    rows = tuple(row for speeds in numbers.speeds for row in speed_rows(found, speeds, has_times))
    return [
        law_section(found, numbers),
        Section(SectionKind.FURTHER, heading, (line, time_line), Grid(titles, numeric, rows)),
    ]


def speed_rows(found: Ladder, speeds: Speeds, has_times: bool) -> list[tuple[str, ...]]:
    """One row per rung."""
    rows = []
    for at, (one, compute) in enumerate(zip(found.rungs, speeds.compute, strict=True)):
        time = [ratio_text(speeds.times[at]) if speeds.times is not None else "not measured"] if has_times else []
        n = "" if compute.test is None else str(compute.test.n[0])
        gap = number(speeds.climb.gaps[at].difference, sign=True)
        rows.append((speeds.climb.name, f"{one.x:,.0f}", gap, n, ratio_text(compute), *time, compute.note))
    return rows


def ratio_text(found: Speedup) -> str:
    """`1.25 [1.18, 1.32]`; with a reason instead of the interval if it has none."""
    if found.ratio is None:
        return "none"
    ratio, *bounds = (f"{x:.2f}" if x < MOST else f"above {MOST:,}" for x in (found.ratio, *(found.bounds or ())))
    reason = found.test.reason if found.test is not None else ""
    return f"{ratio} [{', '.join(bounds)}]" if bounds else f"{ratio} ({reason})"


def law_section(found: Ladder, numbers: Effective) -> Section:
    """The constants of the baseline's law, seed by seed, and what it misses."""
    laws, rungs = numbers.laws, len(found.rungs)
    residuals = {one.x: test for one, test in zip(found.rungs, numbers.misfits, strict=True)}
    worst = max(residuals, key=lambda x: abs(residuals[x].difference or 0.0))
    fit = (
        "Three rungs determine the three constants exactly: they cannot show whether the law is true."
        if rungs == FEWEST_RUNGS
        else f"Its largest mean residual is {interval(residuals[worst])} bpb, at {worst:,.0f} tokens."
    )
    line = f"L = L_inf + A C^-alpha with C in training FLOPs, fitted for each seed to {rungs} rungs. {fit}"
    rows = (*(law_cells(str(seed), law) for seed, law in sorted(laws.items())), *summary(laws))
    titles = ("seed", "L_inf, bpb", "alpha", "rms residual, bpb")
    grid = Grid(titles, (False, True, True, True), rows)
    return Section(SectionKind.FURTHER, f"Law of the baseline: {found.title}", (line,), grid)


def law_cells(seed: str, law: Law) -> tuple[str, ...]:
    rms = fmean(x * x for x in law.residuals) ** 0.5
    if law.problem:
        return seed, f"not identified: {law.problem}", "not identified", number(rms, 5)
    return seed, number(law.limit), number(law.alpha, 3), number(rms, 5)


def summary(laws: Mapping[int, Law]) -> list[tuple[str, ...]]:
    """Mean constants with intervals over seeds, if all seeds have them."""
    lost = sum(bool(law.problem) for law in laws.values())
    if lost:
        return [("all seeds", f"not identified in {lost} of {len(laws)} seeds", "", "")]
    limits, alphas = ([getattr(law, key) for law in laws.values()] for key in ("limit", "alpha"))
    return [("all seeds", plain_interval(limits, 4), plain_interval(alphas, 3), "")]


def plain_interval(values: Sequence[float], digits: int) -> str:
    """A mean with its t interval, without signs."""
    test = one_sample(values)
    bounds = "" if test.low is None else f" [{number(test.low, digits)}, {number(test.high, digits)}]"
    return number(test.difference, digits) + bounds
