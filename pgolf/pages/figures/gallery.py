"""All pictures of a study, with what each of them says in words."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.figures import forest, lines, order, points
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
    cap_of,
    effects,
    is_long,
    key_of,
    numbered,
    off_scale,
    pairs,
    parts,
    series,
    sizes,
)
from pgolf.pages.figures.style import Looks, look_of, quiet, shorten
from pgolf.study.tradeoff import line_rows, pareto_front
from pgolf.tables.curves import curves_of
from pgolf.tables.table import FamilyTable

BAND = "The line is the mean over an arm's counted seeds, the band goes from the lowest to the highest seed."
CUT = "The picture is not scaled for the steep first quarter of training."
LONG = "Of long curves evenly spaced points are drawn, the first and the last among them."
FAR = "Arms that are far worse stand at the edge with their score."


@dataclass(frozen=True)
class Exhibit:
    """Figures of one kind, one panel each. titles: what panels show. caption: what points, lines and bands mean."""

    name: str
    heading: str
    caption: str
    panels: Mapping[str, Picture]


def gallery(made: StudyResults) -> list[Exhibit]:
    """Every picture that the numbers allow; kinds without any are left out."""
    tables = made.report.families
    looks = looks_of(made)
    whole = [part for table in tables for part in parts(table)]
    with quiet():
        found = [
            forests(tables, looks),
            curves(made, whole, VALIDATION, looks),
            curves(made, whole, TRAIN, looks),
            sized(made, whole, looks),
            published(made, looks),
        ]
    most = max((len(table.rows) for table in tables), default=0)
    left_out = (
        f" Of more than {MOST_ARMS} arms the best by mean score are drawn; the table has all {most:,}."
        if most > MOST_ARMS
        else ""
    )
    return [replace(exhibit, caption=exhibit.caption + left_out) for exhibit in found if exhibit.panels]


def looks_of(made: StudyResults) -> Looks:
    """A look for each arm, names shortened once for a whole study: an arm has one name in all pictures."""
    labels: defaultdict[str, dict[Key, str]] = defaultdict(dict)
    for table in made.report.families:
        for row in table.rows:
            labels[row.group.study][key_of(row.group)] = row.label
    names = {
        key: name for found in labels.values() for key, name in zip(found, shorten(list(found.values())), strict=True)
    }
    return {key: look_of(number, names[key]) for key, number in numbered(made).items()}


def curves(made: StudyResults, whole: Sequence[Part], kind: str, looks: Looks) -> Exhibit:
    """kind: validation (of the live model) or training."""
    curve_of = curves_of(made.curves)
    drawn = {part.title: found for part in whole if (found := series(part, kind, curve_of))}
    panels = {}
    for number, (title, found) in enumerate(drawn.items(), 1):
        ends = "; ".join(
            f"{line.label} {line.mean[-1]:.4f} ({line.seeds} seeds)" for line in sorted(found, key=lambda s: s.mean[-1])
        )
        about = f"{title}: {kind} bits per byte along training"
        panels[title] = Picture(
            f"{kind}-{number}", about, f"Last points, best first: {ends}.", lines.draw(found, looks, "bits per byte")
        )
    what = (
        "Bits per byte of the validation text, scored with the live model: before averaging and packing."
        if kind == VALIDATION
        else f"Bits per byte of the training batches, smoothed: each point is the mean of up to {WINDOW} logged steps "
        "around it."
    )
    cut = f" {CUT}" if any(map(lines.cut_off, drawn.values())) else ""
    cut += (
        f" {FAR}" if any(off_scale([line.mean[-1] for line in found]) is not None for found in drawn.values()) else ""
    )
    cut += f" {LONG}" if is_long(made.curves) else ""
    return Exhibit(kind, f"{kind.capitalize()} curves", f"{what} {BAND}{cut}{uneven(drawn.values())}", panels)


def uneven(drawn: Iterable[Sequence[Series]]) -> str:
    """What must be said where arms do not have the same number of curves."""
    counts = {line.seeds for found in drawn for line in found}
    return f" Lines are of {min(counts)} to {max(counts)} seeds." if len(counts) > 1 else ""


def forests(tables: Sequence[FamilyTable], looks: Looks) -> Exhibit:
    panels, shaded, clipped, bare, far = {}, False, False, False, False
    for number, table in enumerate(tables, 1):
        if not (found := effects(table)):
            continue
        smallest = table.settings.smallest_effect_bpb
        baseline = next(
            (looks[key_of(row.group)].name for row in table.rows if row.is_baseline), table.family.baseline or ""
        )
        low, high = forest.limits(found, smallest)
        shaded |= smallest is not None
        away = forest.far_ones(found)
        far |= any(away)
        clipped |= any(
            ((e.low or 0) < low or (e.high or 0) > high) and not gone for e, gone in zip(found, away, strict=True)
        )
        bare |= any(e.difference is not None and e.low is None for e in found)
        title = f"{table.family.name}: difference of each arm to {baseline} in bits per byte"
        panels[table.family.name] = Picture(
            f"differences-{number}",
            title,
            "; ".join(map(told, found)) + ".",
            forest.draw(found, looks, baseline, smallest),
        )
    caption = "Arm minus baseline, mean over seeds, with the 95% interval of the study's test: left of zero is better."
    caption += " Shaded: smaller than the smallest effect that matters." * shaded
    caption += (
        " An arrow marks an interval that goes on." * clipped
        + " A hollow mark has no interval: one seed, or no variance." * bare
    )
    caption += f" {FAR.replace('score', 'difference')}" * far
    return Exhibit("differences", "Differences to the baseline", caption, panels)


def told(effect: Effect) -> str:
    if effect.difference is None:
        return f"{effect.label}: none, {effect.reason}"
    interval = "no interval" if effect.low is None else f"{effect.low:+.4f} to {effect.high:+.4f}"
    return f"{effect.label} {effect.difference:+.4f}, {interval}"


def sized(made: StudyResults, whole: Sequence[Part], looks: Looks) -> Exhibit:
    panels, out_of_range, far, joined = {}, set(), "", ""
    for number, part in enumerate(whole, 1):
        if not (found := sizes(part)):
            continue
        cap = cap_of(part)
        far = f" {FAR}" if off_scale([point.bpb for point in found]) is not None else far
        if cap is not None and not points.shows_cap(found, cap):
            out_of_range.add(
                f"the cap, {cap:,.0f} bytes, lies far to the {'right' if cap > found[0].total_bytes else 'left'}"
            )
        text = "; ".join(f"{p.label} {p.total_bytes:,.0f} bytes, {p.bpb:.4f}" for p in found)
        title = f"{part.title}: bits per byte against packed bytes"
        line = joined_points(part, made.study.line_of(part.table.family.name) if made.study else (), found)
        joined = " Dotted: the line that tells what a score costs." if line else joined
        panels[part.title] = Picture(f"bytes-{number}", title, f"{text}.", points.draw(found, looks, cap, line))
    far += f" Not shown: {'; '.join(sorted(out_of_range))}." if out_of_range else ""
    what = (
        "Mean over seeds of the packed model's score and of its bytes with the code; bars from the lowest to the "
        "highest seed."
    )
    return Exhibit("bytes", "Score against bytes", f"{what}{joined}{far}", panels)


def joined_points(part: Part, line: Sequence[str], found: Sequence[Sized]) -> list[Sized]:
    """The points of a family's line, by bytes; none where the table has no line either."""
    rows, why_not = line_rows(part.table, line)
    keys = {key_of(row.group) for row in rows}
    mine = {(p.total_bytes, p.bpb): p for p in found if p.key in keys}
    kept = [mine[point] for point in pareto_front(list(mine))]
    return kept if len(kept) > 1 and not why_not else []


def published(made: StudyResults, looks: Looks) -> Exhibit:
    panels = {}
    for number, table in enumerate(made.report.families, 1):
        found = pairs(table, made.study)
        if len(found) < 2:
            continue
        text = "; ".join(
            f"{p.label} published {p.published:.4f}, measured {'-' if p.measured is None else f'{p.measured:.4f}'}"
            for p in found
        )
        title = f"{table.family.name}: published and measured order"
        panels[table.family.name] = Picture(f"published-{number}", title, f"{text}.", order.draw(found, looks))
    size = f" These runs are of scale={made.study.scale}, so the values themselves do not compare." if (
        made.study and made.study.scale != "published"
    ) else ""  # fmt: skip
    caption = (
        "Best at the top; each side has a scale of its own, and lines that cross have changed places. Measured: "
        f"mean over seeds.{size}"
    )
    return Exhibit("published", "Published against measured", caption, panels)
