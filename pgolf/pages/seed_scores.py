"""The section with the packed score of every counted seed, and each arm's standard deviation with its interval."""

from collections.abc import Sequence

from pgolf.pages.introduction import LEVEL
from pgolf.tables.family import ArmRow, FamilyTable
from pgolf.tables.groups import Group
from pgolf.tables.stats import Noise, spread
from pgolf.tables.text import Grid, Section, SectionKind, number

MOST_COLUMNS = 6  # of seeds; more seeds are listed in one cell
LINE = (
    "Packed bits per byte of every counted seed, and the standard deviation between seeds with its 95% interval, by "
    "the chi-square distribution."
)


def noise_of(group: Group) -> Noise:
    """The standard deviation between the counted seeds of one arm."""
    values = group.values("val_bpb")
    if len(values) < 2 or group.refusal is not None:
        return Noise(None, 0, 0, "one seed")
    return Noise(spread(values), len(values) - 1, 1)


def noise_text(noise: Noise) -> str:
    """`0.0153 [0.0080, 0.0961]`; empty without a standard deviation."""
    interval = noise.interval()
    if noise.sd is None:
        return ""
    return f"{noise.sd:.4f}" + ("" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]")


def scored_rows(tables: Sequence[FamilyTable]) -> list[ArmRow]:
    """Every configuration with a score once, in the order of the tables."""
    by_key = {
        (row.group.study, row.group.arm, row.group.fingerprint): row
        for table in reversed(tables)
        for row in reversed(table.rows)
        if row.mean_bpb is not None
    }
    return list(reversed(by_key.values()))


def seed_scores(tables: Sequence[FamilyTable]) -> list[Section]:
    """One row per arm with a score; no section without one."""
    rows = scored_rows(tables)
    if not rows:
        return []
    seeds = sorted({seed for row in rows for seed in row.group.used})
    scores = [{seed: number(run["val_bpb"]) for seed, run in row.group.used.items()} for row in rows]
    if len(seeds) <= MOST_COLUMNS:
        titles = tuple(f"seed {seed}" for seed in seeds)
        cells = [tuple(of_arm.get(seed, "") for seed in seeds) for of_arm in scores]
    else:
        titles = ("seed: score",)
        cells = [("; ".join(f"{seed}: {text}" for seed, text in sorted(of_arm.items())),) for of_arm in scores]
    several = len({row.group.study for row in rows}) > 1
    grid = Grid(
        ("arm", "n", *titles, f"sd [{LEVEL}]"),
        (False, True, *(len(seeds) <= MOST_COLUMNS for _ in titles), True),
        tuple(
            (
                f"{row.group.study}/{row.label}" if several else row.label,
                str(row.group.n),
                *of_seeds,
                noise_text(noise_of(row.group)),
            )
            for row, of_seeds in zip(rows, cells, strict=True)
        ),
    )
    return [Section(SectionKind.SEEDS, "Scores of single seeds", (LINE,), grid)]
