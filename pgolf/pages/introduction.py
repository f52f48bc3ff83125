"""The text above a family's table: what its columns are, the conditions of its runs, and what its seeds can show."""

from pgolf.pages.conditions import conditions
from pgolf.records.progress import count_text
from pgolf.tables.family import FamilyTable
from pgolf.tables.methods import Method
from pgolf.tables.power import POWER, Seeds
from pgolf.tables.resolution import Resolution
from pgolf.tables.stats import ALPHA

LEVEL = f"{1 - ALPHA:.0%}"
TESTS = {
    Method("welch"): "Welch's test, or the paired t where the notes say so",
    Method("paired"): "the paired t test over common seeds",
    Method("pooled"): "the t test with one standard deviation for all arms of the family",
    Method("pooled", blocked=True): "the t test of a model with effects of arm and seed",
    Method("moderated"): "the moderated t test",
    Method("moderated", blocked=True): "the moderated paired t test over common seeds",
}
SEQUENTIAL_TEST = "the sequential test of the pairs' differences, which holds however often seeds are added"


def introduction(table: FamilyTable) -> tuple[str, ...]:
    """The text above a family's table: its columns, the conditions of its runs, and the noise."""
    labels = list(dict.fromkeys(row.label for row in table.rows if row.is_baseline))
    base = f"Baseline: {' and '.join(labels)}" if labels else "No baseline: nothing is compared"
    shared = f" All arms: {', '.join(table.shared)}." if table.shared else ""
    method = table.settings.method
    test = SEQUENTIAL_TEST if method.is_sequential else TESTS[method]
    columns = (
        f"{base}.{shared} Scores are bits per byte of the packed model; sd, intervals and tests are between seeds. "
        f"Differences are arm - baseline with {LEVEL} interval and two-sided p by {test}. The interval is that of one "
        f"comparison. {table.settings.rules.correction}'s p corrects for all comparisons of the family, and decides. "
        "Bytes are those of the packed model and of the code that it needs."
    )
    return tuple(filter(None, (columns, conditions(table), *map(noise_line, table.noise))))


def noise_line(resolution: Resolution) -> str:
    """The sd between seeds, the difference that the seeds detect, and the seeds that the smallest effect needs."""
    noise, sd_interval = resolution.noise, resolution.noise.interval()
    if noise.sd is None:
        return f"Noise of {resolution.source}: not known ({noise.reason})."
    line = f"Noise of {resolution.source}: sd {noise.sd:.5f} bpb"
    line += "" if sd_interval is None else f" [{sd_interval[0]:.5f}, {sd_interval[1]:.5f}]"
    line += f", pooled over {count_text(noise.groups, 'arm')} ({noise.df:.3g} df)."
    if resolution.detectable_bpb is not None:
        line += (
            f" {resolution.seeds} seeds per arm detect {resolution.detectable_bpb:.4f} bpb at {POWER:.0%} power, by "
            f"the test that decides (Holm over {resolution.comparisons})."
        )
    if resolution.sds is not None:
        low, high = resolution.sds
        line += f" These numbers assume one sd. Those of single arms go from {low:.5f} to {high:.5f}."
    if resolution.seeds_needed is not None and resolution.seeds_for_equality is not None:
        line += (
            f" Showing the smallest effect, {resolution.smallest_effect_bpb:g} bpb, needs "
            f"{needed_text(resolution.seeds_needed)} seeds per arm, and equality within it "
            f"{needed_text(resolution.seeds_for_equality)}."
        )
    return line


def needed_text(seeds: Seeds) -> str:
    """`8 [5, 15]`: a number of seeds with its interval."""
    number, low, high = (
        "more than a million" if n is None else f"{n:,}" for n in (seeds.number, seeds.low, seeds.high)
    )
    return f"{number} [{low}, {high}]"
