"""A study as its records are read: question, families, published rows and claims. It lies as study.json beside the plan
of its sweep.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgolf.errors import DamagedFile
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed
from pgolf.records.kinds import is_number

STUDY = "study.json"
STUDY_SCHEMA = 1
REMEDY = "Move it away; the study's command writes it anew"
TESTS = ("welch", "paired")
PUBLISHED_TESTS = ("", "one_sample")
EXPLORED = " (explored afterwards)"
ADHOC = "adhoc"  # runs of no study
USUAL_SCALE = "cpu"
# Kinds that arithmetic on the published rows answers.
OF_PUBLISHED_ROWS = ("published_is", "published_saves", "published_at_most")
KINDS = ("worse", "better", "no_better", "order", *OF_PUBLISHED_ROWS, "untestable")


def study_folder(name: str, scale: str) -> str:
    """The name that a study's runs go by: its own, with the scale where that is not the usual one, so that sizes never
    share a table.
    """
    return name if scale == USUAL_SCALE else f"{name}-{scale}"


@dataclass(frozen=True)
class FamilyPlan:
    """Arms that are compared with one baseline, in the order shown. title: what the family is, in a phrase.

    line: arms, as of models of several sizes, that tell how many bytes a score costs; the others' bytes are held
    against it. explored: the family was added after scores of its arms had been seen; its verdicts say so.
    """

    name: str
    title: str
    baseline: str
    arms: tuple[str, ...]
    line: tuple[str, ...] = ()
    explored: bool = False

    @property
    def told(self) -> str:
        """A line about it."""
        return f"{self.name}{EXPLORED if self.explored else ''}: {self.title}. Baseline {self.baseline}."


@dataclass(frozen=True)
class ClaimTest:
    """How a claim is put to the test in one family. kind: what it says of `arms` against the family's baseline, or of
    their order (best first), or of a `field` of their published rows and a `value`; `untestable` needs no arms."""

    family: str
    kind: str
    arms: tuple[str, ...] = ()
    field: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Claim:
    """A published claim in our words, what the published material itself shows of it, and its tests."""

    text: str
    note: str
    tests: tuple[ClaimTest, ...]


@dataclass(frozen=True)
class Study:
    """published: {arm: {field: value}}, values of val_bpb, val_nats, total_bytes, steps, step_ms_median, params.total
    as published.

    scale: the size that was run; published values may be subtracted at `published` alone. smallest_effect_bpb: the
    smallest difference that matters at this scale. test: named before the runs. published_test: `one_sample` where the
    published study took its baseline's mean for a constant; that comparison is then shown beside the proper one.
    """

    name: str
    question: str
    source: str
    scale: str
    test: str
    smallest_effect_bpb: float
    families: tuple[FamilyPlan, ...]
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    published_test: str = ""
    claims: tuple[Claim, ...] = ()

    @property
    def origin(self) -> str:
        """A line about what was published and at which size these runs are."""
        return f"Published: {self.source}. Size of these runs: scale={self.scale}."

    def plan_of(self, family: str) -> FamilyPlan | None:
        """The family of this name."""
        return next((plan for plan in self.families if plan.name == family), None)

    def line_of(self, family: str) -> tuple[str, ...]:
        """The line of a family of this name; empty where there is none."""
        plan = self.plan_of(family)
        return () if plan is None else plan.line


def study_from(made: Mapping[str, Any]) -> Study:
    """A study from plain containers. Raises ValueError for others."""
    whole = typed(Study, made)
    problems = list(problems_of(whole))
    if problems:
        raise ValueError("; ".join(problems))
    return whole


def problems_of(study: Study) -> list[str]:
    """What contradicts itself in a study's description."""
    arms = {family.name: family.arms for family in study.families}
    smallest = study.smallest_effect_bpb
    found = [] if is_number(smallest) and smallest > 0 else [f"smallest_effect_bpb {smallest!r} is no positive number"]
    values = {f"{arm}.{key}": value for arm, row in study.published.items() for key, value in row.items()}
    found += [f"published {where} is no number ({value!r})" for where, value in values.items() if not is_number(value)]
    found += [f"test {study.test} is none of {', '.join(TESTS)}"] if study.test not in TESTS else []
    found += (
        [] if study.published_test in PUBLISHED_TESTS else [f"published_test {study.published_test} is not one_sample"]
    )
    found += [
        f"family {f.name} does not hold its baseline {f.baseline}" for f in study.families if f.baseline not in f.arms
    ]
    for f in study.families:
        if f.line and (len(f.line) < 2 or len(set(f.line)) < len(f.line) or not set(f.line) <= set(f.arms)):
            found.append(
                f"family {f.name}: a line goes through two or more of its arms, each once ({', '.join(f.line)})"
            )
    known = {arm for names in arms.values() for arm in names}
    found += [f"published values of {arm}, an arm of no family" for arm in study.published if arm not in known]
    for claim in study.claims:
        for test in claim.tests:
            if test.kind not in KINDS:
                found.append(f"claim {claim.text!r}: kind {test.kind} is none of {', '.join(KINDS)}")
            elif test.kind != "untestable" and test.family not in arms:
                found.append(f"claim {claim.text!r}: no family {test.family}")
            elif test.kind != "untestable" and (
                strange := [arm for arm in test.arms if arm not in arms[test.family]] or not test.arms
            ):
                found.append(f"claim {claim.text!r}: arms {strange} are not in family {test.family}")
            elif test.kind in OF_PUBLISHED_ROWS and (without := unpublished(study, test)):
                found.append(
                    f"claim {claim.text!r}: published values of {', '.join(without)} have no {test.field or 'field'}"
                )
            elif test.kind in OF_PUBLISHED_ROWS and not is_number(test.value):
                found.append(f"claim {claim.text!r}: value {test.value!r} is no number")
    return found


def unpublished(study: Study, test: ClaimTest) -> list[str]:
    """Arms that a claim about published rows needs and whose row lacks its field."""
    plan = study.plan_of(test.family)
    baseline = (plan.baseline,) if plan is not None and test.kind == "published_saves" else ()
    return [arm for arm in (*baseline, *test.arms) if test.field not in study.published.get(arm, {})]


def write_study(folder: Path, study: Study, name: str = STUDY) -> None:
    """Write a study's file. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / name, [json.dumps({"schema_version": STUDY_SCHEMA, **asdict(study)}, indent=1) + "\n"])


def read_study(folder: Path, name: str = STUDY) -> Study | None:
    """The study that a folder's file describes, None where there is none. Raises DamagedFile."""
    path = folder / name
    try:
        made = read_json(path, REMEDY)
        version = made.pop("schema_version", None) if isinstance(made, dict) else None
        if version != STUDY_SCHEMA:
            raise ValueError(f"its schema is {version!r:.60}, not {STUDY_SCHEMA}")
        return study_from(made)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedFile(path, f"is not a description of a study: {error}", REMEDY) from None
