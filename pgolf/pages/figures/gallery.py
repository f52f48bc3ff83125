"""All pictures of a study, with captions and descriptions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures import forest, gaps, ladder, lines, points, scatter
from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.numbers import (
    MOST_ARMS,
    TRAIN,
    VALIDATION,
    WINDOW,
    Effect,
    Key,
    Part,
    Series,
    Sized,
    baseline_seeds,
    cap_of,
    effects,
    gap_series,
    is_long,
    key_of,
    numbered,
    off_scale,
    parts,
    series,
    sizes,
)
from pgolf.pages.figures.scatter import GapPair
from pgolf.pages.figures.style import Looks, look_of, quiet, shorten
from pgolf.pages.published_gaps import published_gaps, scale_note
from pgolf.study.tradeoff import line_rows, pareto_front
from pgolf.tables.curves import curves_of
from pgolf.tables.family import FamilyTable

BAND = "The line is the mean over an arm's counted seeds. The band goes from the lowest to the highest seed."
CUT = "The axis is not scaled to the steep first quarter of training."
LONG = "Long curves are drawn with evenly spaced points, including the first and the last."


@dataclass(frozen=True)
class Exhibit:
    """Figures of one kind, one panel each. panels: by title. caption: the meaning of points, lines and bands."""

    name: str
    heading: str
    caption: str
    panels: Mapping[str, Picture]

    def without(self, title: str) -> "Exhibit":
        """The exhibit without one panel."""
        return replace(self, panels={key: picture for key, picture in self.panels.items() if key != title})


def outlier_note(quantity: str) -> str:
    """The sentence for outliers. quantity: the value that they are labelled with."""
    return f"Outliers are labelled at the edge with their {quantity}."


def gallery(results: StudyResults) -> list[Exhibit]:
    """Every picture for which there are numbers. Exhibits without a panel are left out."""
    tables = results.report.families
    looks = looks_of(results)
    scored = [part for table in tables for part in parts(table)]
    with quiet():
        exhibits = [
            forests(tables, looks),
            gaps_during_training(results, looks),
            Exhibit("ladders", "Gaps over tokens or parameters", ladder.CAPTION, ladder.panels(results, looks)),
            published(results, looks),
            sized(results, scored, looks),
            curves(results, scored, VALIDATION, looks),
            curves(results, scored, TRAIN, looks),
        ]
    most = max((len(table.rows) for table in tables), default=0)
    left_out = (
        f" At most {MOST_ARMS} arms are drawn: baselines and the best by mean score. The table has all {most:,}."
        if most > MOST_ARMS
        else ""
    )
    return [replace(exhibit, caption=exhibit.caption + left_out) for exhibit in exhibits if exhibit.panels]


def looks_of(results: StudyResults) -> Looks:
    """The look of each arm. Names are shortened once per study, so that an arm has one name in all pictures."""
    labels: defaultdict[str, dict[Key, str]] = defaultdict(dict)
    for table in results.report.families:
        for row in table.rows:
            labels[row.group.study][key_of(row.group)] = row.label
    names = {
        key: name
        for of_study in labels.values()
        for key, name in zip(of_study, shorten(list(of_study.values())), strict=True)
    }
    return {key: look_of(number, names[key]) for key, number in numbered(results).items()}


def curves(results: StudyResults, scored: Sequence[Part], kind: str, looks: Looks) -> Exhibit:
    """Curves of one kind: VALIDATION (of the live model) or TRAIN."""
    by_run = curves_of(results.curves)
    series_by_title = {part.title: arms for part in scored if (arms := series(part, kind, by_run))}
    panels = {}
    for number, (title, arms) in enumerate(series_by_title.items(), 1):
        ends = "; ".join(
            f"{line.label} {line.mean[-1]:.4f} ({line.seeds} seeds)" for line in sorted(arms, key=lambda s: s.mean[-1])
        )
        about = f"{title}: {kind} bits per byte during training"
        panels[title] = Picture(
            f"{kind}-{number}", about, f"Last points, best first: {ends}.", lines.draw(arms, looks, "bits per byte")
        )
    subject = (
        "Bits per byte of the validation text, scored with the live model, before averaging and packing."
        if kind == VALIDATION
        else f"Bits per byte of the training batches, as a moving average over up to {WINDOW} logged steps."
    )
    panels_of_arms = series_by_title.values()
    has_outliers = any(off_scale([line.mean[-1] for line in arms]) is not None for arms in panels_of_arms)
    notes = f" {CUT}" if any(map(lines.cut_off, panels_of_arms)) else ""
    notes += f" {outlier_note('score')}" if has_outliers else ""
    notes += f" {LONG}" if is_long(results.curves) else ""
    caption = f"{subject} {BAND}{notes}{seeds_note(panels_of_arms)}"
    return Exhibit(kind, f"{kind.capitalize()} curves", caption, panels)


def seeds_note(panels: Iterable[Sequence[Series]]) -> str:
    """A sentence if arms have different numbers of curves."""
    counts = {line.seeds for arms in panels for line in arms}
    return f" Lines are of {min(counts)} to {max(counts)} seeds." if len(counts) > 1 else ""


def forests(tables: Sequence[FamilyTable], looks: Looks) -> Exhibit:
    panels, shaded, clipped, bare, dotted, has_outliers = {}, False, False, False, False, False
    for number, table in enumerate(tables, 1):
        if not (arms := effects(table)):
            continue
        smallest = table.settings.smallest_effect_bpb
        baseline, of_baseline = baseline_name(table, looks), baseline_seeds(table)
        dotted |= any(e.seeds for e in arms)
        low, high = forest.limits(arms, smallest)
        shaded |= smallest is not None
        outliers = forest.outliers(arms)
        has_outliers |= any(outliers)
        clipped |= any(
            ((e.low or 0) < low or (e.high or 0) > high) and not is_outlier
            for e, is_outlier in zip(arms, outliers, strict=True)
        )
        bare |= any(e.difference is not None and e.low is None for e in arms)
        title = f"{table.family.name}: difference of each arm to {baseline} in bits per byte"
        panels[table.family.name] = Picture(
            f"differences-{number}",
            title,
            "; ".join(map(description, arms)) + ".",
            forest.draw(arms, looks, baseline, smallest, of_baseline),
        )
    caption = "Arm minus baseline, mean over seeds, with the 95% interval of the study's test. Left of zero is better."
    caption += " Small dots: single seeds." * dotted
    caption += " Shaded: smaller than the smallest effect that matters." * shaded
    caption += (
        " An arrow marks an interval that is cut off." * clipped
        + " A hollow marker has no interval: one seed, or no variance." * bare
    )
    caption += f" {outlier_note('difference')}" * has_outliers
    return Exhibit("differences", "Differences to the baseline", caption, panels)


def baseline_name(table: FamilyTable, looks: Looks) -> str:
    """The short name of a family's baseline."""
    names = (looks[key_of(row.group)].name for row in table.rows if row.is_baseline)
    return next(names, table.family.baseline or "")


def gaps_during_training(results: StudyResults, looks: Looks) -> Exhibit:
    """The gap of each arm to its baseline against trained tokens, one panel per family."""
    panels, by_run = {}, curves_of(results.curves)
    for number, table in enumerate(results.report.families, 1):
        if not (lines_of_gaps := gap_series(table, by_run)):
            continue
        baseline, smallest = baseline_name(table, looks), table.settings.smallest_effect_bpb
        ends = "; ".join(
            f"{line.label} {line.mean[0]:+.4f} at {line.tokens[0]:,.0f} tokens, {line.mean[-1]:+.4f} at "
            f"{line.tokens[-1]:,.0f}"
            for line in lines_of_gaps
        )
        panels[table.family.name] = Picture(
            f"gaps-{number}",
            f"{table.family.name}: difference of each arm to {baseline} by trained tokens",
            f"{ends}.",
            gaps.draw(lines_of_gaps, looks, "trained tokens", baseline, smallest),
        )
    caption = (
        "Live score of an arm minus its baseline's, mean over seeds, with the 95% interval within seeds. All points "
        "are of the same runs and their schedule, not of runs of several lengths."
    )
    return Exhibit("gaps", "Gap during training", caption, panels)


def description(effect: Effect) -> str:
    if effect.difference is None:
        return f"{effect.label}: none, {effect.reason}"
    interval = "no interval" if effect.low is None else f"{effect.low:+.4f} to {effect.high:+.4f}"
    return f"{effect.label} {effect.difference:+.4f}, {interval}"


def sized(results: StudyResults, scored: Sequence[Part], looks: Looks) -> Exhibit:
    panels, out_of_range, notes, joined = {}, set(), "", ""
    for number, part in enumerate(scored, 1):
        if not (arms := sizes(part)):
            continue
        cap = cap_of(part)
        if off_scale([point.bpb for point in arms]) is not None:
            notes = f" {outlier_note('score')}"
        if cap is not None and not points.shows_cap(arms, cap):
            out_of_range.add(
                f"the cap, {cap:,.0f} bytes, lies far to the {'right' if cap > arms[0].total_bytes else 'left'}"
            )
        text = "; ".join(f"{p.label} {p.total_bytes:,.0f} bytes, {p.bpb:.4f}" for p in arms)
        title = f"{part.title}: bits per byte by packed bytes"
        line = joined_points(part, results.study.line_of(part.table.family.name) if results.study else (), arms)
        joined = " Dotted: the line that shows what a score costs." if line else joined
        panels[part.title] = Picture(f"bytes-{number}", title, f"{text}.", points.draw(arms, looks, cap, line))
    notes += f" Not shown: {'; '.join(sorted(out_of_range))}." if out_of_range else ""
    subject = (
        "Mean over seeds of the packed model's score, and of the bytes of model and code. Bars go from the lowest to "
        "the highest seed."
    )
    return Exhibit("bytes", "Score and bytes", f"{subject}{joined}{notes}", panels)


def joined_points(part: Part, line: Sequence[str], arms: Sequence[Sized]) -> list[Sized]:
    """The points of a family's line, by bytes; empty without a line."""
    rows, reasons = line_rows(part.table, line)
    keys = {key_of(row.group) for row in rows}
    by_place = {(p.total_bytes, p.bpb): p for p in arms if p.key in keys}
    front = [by_place[point] for point in pareto_front(list(by_place))]
    return front if len(front) > 1 and not reasons else []


def published(results: StudyResults, looks: Looks) -> Exhibit:
    """Measured against published gaps, one panel per family with published scores of its baseline and another arm."""
    panels, study = {}, results.study
    for number, table in enumerate(results.report.families, 1):
        found = [] if study is None else published_gaps(table, study)
        pairs = [
            GapPair(
                key_of(gap.row.group),
                gap.row.label,
                gap.published,
                gap.measured.difference or 0.0,
                gap.measured.low,
                gap.measured.high,
            )
            for gap in found[:MOST_ARMS]
        ]
        if not pairs:
            continue
        text = "; ".join(f"{p.label} published {p.published:+.4f}, measured {p.measured:+.4f}" for p in pairs)
        title = f"{table.family.name}: published and measured gaps"
        panels[table.family.name] = Picture(f"published-{number}", title, f"{text}.", scatter.draw(pairs, looks))
    note = "" if study is None else scale_note(study)
    caption = (
        "Bits per byte of an arm minus those of its baseline. Both axes have one scale. On the dashed line the "
        f"measured gap is the published one. Bars are 95% intervals between seeds.{note}"
    )
    return Exhibit("published", "Published and measured gaps", caption, panels)
