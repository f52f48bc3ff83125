"""What is not as a study's own command has it: said first, wherever its tables are shown."""

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
    "paths",
    "hydra",
    "device",
    "precision",
    "compile",
)
DATA_OF_AN_ARM = ("data.vocab_size",)  # an arm may be about it


def caveats(source: Path, rows: Sequence[Row], study: Study | None) -> list[str]:
    """Runs without their study's description, at another size, or of another configuration than the study has."""
    if study is None:
        return undescribed(source, rows)
    scales = sorted({str(scale) for row in rows if (scale := row.get("choices.scale")) not in (None, study.scale)})
    found = [f"runs at scale {', '.join(scales)} in a study at scale {study.scale}"] if scales else []
    changed = sorted({told for row in rows for told in overridden(row)})
    if changed:
        found.append(f"not the study as conf/study has it: runs with {' '.join(changed)}")
    return found


def undescribed(source: Path, rows: Sequence[Row]) -> list[str]:
    """Rows of a described study that are read without the description."""
    described = [
        name for name in {row["study"] for row in rows} if source.is_dir() and (source / str(name) / STUDY).exists()
    ]
    if described:
        return [
            f"{source / name} is described as a study: by itself it has families, published values and verdicts"
            for name in described
        ]
    named = sorted({str(choice) for row in rows if (choice := row.get("choices.study")) not in (None, ADHOC)})
    missing = (
        f"runs of the study {', '.join(named)} without its description ({companion_path(source, STUDY)}): no "
        "families, no "
        "verdicts"
    )
    return [missing] if named else []


def overridden(row: Row) -> Iterable[str]:
    """A run's overrides, without those that a study leaves free: data, evaluation, budget and launch options."""
    for override in row.get("overrides") or []:
        key = override.partition("=")[0].lstrip("+~")
        if key in DATA_OF_AN_ARM or key.split(".")[0].split("/")[0] not in FREE:
            yield override


def departures(study: Study, baseline: str | None, settings: Settings) -> list[str]:
    """Options by which a comparison is not the one that the study named beforehand; there is no verdict by another."""
    if baseline is not None:
        return [f"--baseline {baseline}: the study's own families, published values and verdicts are left out"]
    found = []
    if settings.pairs and study.test != "paired":
        found.append(f"--paired: the study named {study.test} before the runs; its verdicts are left out")
    smallest = settings.smallest_effect_bpb
    if smallest is not None and smallest != study.smallest_effect_bpb:
        found.append(
            f"--smallest-effect-bpb {smallest:g}: the study named {study.smallest_effect_bpb:g}; its verdicts are "
            "left out"
        )
    return found


def caveats_of_arms(study: Study, report: Tables) -> list[str]:
    """What a study's families lack, and arms that were planned in several configurations."""
    planned = {
        (row.group.arm, row.group.fingerprint) for table in report.families for row in table.rows if row.group.planned
    }
    times = Counter(arm for arm, _ in sorted(planned))
    several = [arm for arm, configurations in times.items() if configurations > 1]
    told = f"arms of several configurations, of which the latest sweep's speaks for a claim: {', '.join(several)}"
    return [*lacking(study, report), *([told] if several else [])]


def lacking(study: Study, report: Tables) -> list[str]:
    """Families whose baseline, and arms of which nothing has a score."""
    scored = {row.group.arm for table in report.families for row in table.rows if row.mean_bpb is not None}
    found = []
    for family in study.families:
        absent = [arm for arm in family.arms if arm not in scored]
        if len(absent) == len(family.arms):
            found.append(f"family {family.name}: nothing of it has a score")
            continue
        if family.baseline in absent:
            found.append(f"family {family.name}: its baseline {family.baseline} has no score, so nothing is compared")
        if rest := [arm for arm in absent if arm != family.baseline]:
            found.append(f"family {family.name}: no score of {', '.join(rest)}")
    return found
