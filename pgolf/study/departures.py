"""Deviations of the collected runs from the study's definition; reported above its tables."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pgolf.records.rows import Row, companion_path
from pgolf.study.description import ADHOC, STUDY, Study
from pgolf.tables.contrast import Settings
from pgolf.tables.table import Tables

FREE = (
    "arm",
    "seed",
    "study",
    "scale",
    "data",
    "eval",
    "train",
    "launch",
    "tracker",
    "paths",
    "hydra",
    "device",
    "precision",
    "compile",
)
DATA_OF_AN_ARM = ("data.vocab_size",)  # the arms of a study may differ in it


def caveats(source: Path, rows: Sequence[Row], study: Study | None) -> list[str]:
    """Runs without their study's description, at another scale, or with options that the study fixes."""
    if study is None:
        return undescribed(source, rows)
    scales = sorted({str(scale) for row in rows if (scale := row.get("choices.scale")) not in (None, study.scale)})
    lines = [f"runs at scale {', '.join(scales)} in a study at scale {study.scale}"] if scales else []
    changes = sorted({override for row in rows for override in fixed_overrides(row)})
    if changes:
        lines.append(f"runs deviate from conf/study: {' '.join(changes)}")
    return lines


def undescribed(source: Path, rows: Sequence[Row]) -> list[str]:
    """Warnings about rows of a study that are read without its description."""
    described = [
        name for name in {row["study"] for row in rows} if source.is_dir() and (source / str(name) / STUDY).exists()
    ]
    if described:
        return [
            f"{source / name} is described as a study. Read alone, it has families, published values and verdicts"
            for name in described
        ]
    studies = studies_of(rows)
    missing = (
        f"runs of the study {', '.join(studies)} without its description ({companion_path(source, STUDY)}): "
        "no families, no verdicts"
    )
    return [missing] if studies else []


def studies_of(rows: Sequence[Row]) -> list[str]:
    """The studies that runs belong to by their configuration, by name."""
    return sorted({str(choice) for row in rows if (choice := row.get("choices.study")) not in (None, ADHOC)})


def fixed_overrides(row: Row) -> Iterable[str]:
    """A run's overrides of options that a study fixes. Data, evaluation, budget and launch options are free."""
    for override in row.get("overrides") or []:
        key = override.partition("=")[0].lstrip("+~")
        if key in DATA_OF_AN_ARM or key.split(".")[0].split("/")[0] not in FREE:
            yield override


def departures(study: Study, baseline: str | None, settings: Settings) -> list[str]:
    """Options that change the comparison that the study named before its runs. They leave out its verdicts."""
    if baseline is not None:
        return [f"--baseline {baseline}: the study's own families, published values and verdicts are left out"]
    lines = []
    if settings.test is not None and settings.test != study.method:
        named = study.method.label
        lines.append(f"--{settings.test.name}: the study named {named} before the runs; its verdicts are left out")
    smallest = settings.smallest_effect_bpb
    if smallest is not None and smallest != study.smallest_effect_bpb:
        lines.append(
            f"--smallest-effect-bpb {smallest:g}: the study named {study.smallest_effect_bpb:g}; its verdicts are "
            "left out"
        )
    return lines


def caveats_of_arms(study: Study, report: Tables) -> list[str]:
    """Warnings about arms without a score, and about arms that were planned in several configurations."""
    planned = {
        (row.group.arm, row.group.fingerprint) for table in report.families for row in table.rows if row.group.planned
    }
    times = Counter(arm for arm, _ in sorted(planned))
    several = [arm for arm, configurations in times.items() if configurations > 1]
    text = f"arms with several configurations; claims use that of the latest sweep: {', '.join(several)}"
    return [*missing_scores(study, report), *([text] if several else [])]


def missing_scores(study: Study, report: Tables) -> list[str]:
    """Warnings about families and arms without a score."""
    scored = {row.group.arm for table in report.families for row in table.rows if row.mean_bpb is not None}
    lines = []
    for family in study.families:
        absent = [arm for arm in family.arms if arm not in scored]
        if len(absent) == len(family.arms):
            lines.append(f"family {family.name}: no arm has a score")
            continue
        if family.baseline in absent:
            lines.append(f"family {family.name}: its baseline {family.baseline} has no score, so nothing is compared")
        if rest := [arm for arm in absent if arm != family.baseline]:
            lines.append(f"family {family.name}: no score of {', '.join(rest)}")
    return lines
