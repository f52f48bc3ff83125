"""The noise between seeds across several studies: the standard deviation of each arm and of each study."""

from collections.abc import Sequence
from dataclasses import dataclass

from pgolf.pages.aggregation import StudyResults
from pgolf.pages.introduction import LEVEL
from pgolf.pages.seed_scores import noise_of, noise_text, scored_rows
from pgolf.tables.family import ArmRow
from pgolf.tables.stats import Noise, pooled_sd
from pgolf.tables.text import Grid, Section, SectionKind

STUDY_TITLES = ("study", "arms", "df", f"pooled sd [{LEVEL}]", "smallest sd", "largest sd", "smallest effect")
ARM_TITLES = ("study", "arm", "n", f"sd [{LEVEL}]")
LINE = (
    "Standard deviation of the packed score between the seeds of one arm, in bits per byte. Intervals are by the "
    "chi-square distribution. The pooled one weights arms by their degrees of freedom (df). Each configuration counts "
    "once."
)


@dataclass(frozen=True)
class StudyNoise:
    """The noise of one study. arms: its rows with two seeds or more, with the noise of each. smallest_effect_bpb: the
    smallest difference that matters; None without a study.
    """

    name: str
    arms: tuple[tuple[ArmRow, Noise], ...]
    pooled: Noise
    smallest_effect_bpb: float | None


def study_noise(results: StudyResults) -> StudyNoise:
    """The noise of all arms of a study."""
    noises = [(row, noise_of(row.group)) for row in scored_rows(results.report.families)]
    arms = tuple((row, noise) for row, noise in noises if noise.sd is not None)
    pooled = pooled_sd([row.group.values("val_bpb") for row, _ in arms])
    smallest = None if results.study is None else results.study.smallest_effect_bpb
    return StudyNoise(results.name, arms, pooled, smallest)


def calibration_sections(noises: Sequence[StudyNoise]) -> list[Section]:
    """The noise by study, and by arm."""
    by_study = tuple(
        (
            noise.name,
            str(len(noise.arms)),
            f"{noise.pooled.df:g}",
            noise_text(noise.pooled),
            *(f"{end:.4f}" if sds else "" for end in (min(sds, default=0.0), max(sds, default=0.0))),
            "" if noise.smallest_effect_bpb is None else f"{noise.smallest_effect_bpb:g}",
        )
        for noise in noises
        for sds in ([of_arm.sd or 0.0 for _, of_arm in noise.arms],)
    )
    by_arm = tuple(
        (noise.name, row.label, str(row.group.n), noise_text(of_arm)) for noise in noises for row, of_arm in noise.arms
    )
    grid = Grid(STUDY_TITLES, (False, *(True for _ in STUDY_TITLES[1:])), by_study)
    arms = Grid(ARM_TITLES, (False, False, True, True), by_arm)
    return [
        Section(SectionKind.SEEDS, "Noise by study", (LINE,), grid),
        Section(SectionKind.SEEDS, "Noise by arm", (), arms),
    ]
