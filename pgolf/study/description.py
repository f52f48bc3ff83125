"""The description of a study: question, families, published rows and claims. Its file is study.json, beside the plan of
its sweep.
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
from pgolf.study.probes import Probe
from pgolf.tables.methods import BLOCKABLE, SEQUENTIAL, TESTS, Method
from pgolf.tables.sequential import LEAST_NOISE, MOST_NOISE

STUDY = "study.json"
STUDY_SCHEMA = 1
REMEDY = "Move the file; running the study again recreates it"
PUBLISHED_TESTS = ("", "one_sample")
EXPLORED = " (explored afterwards)"
MOST_EQUIVALENCE_ALPHA = 0.05
ADHOC = "adhoc"  # runs of no study
USUAL_SCALE = "cpu"
# Kinds of claims that are answered from the published rows alone.
OF_PUBLISHED_ROWS = ("published_is", "published_saves", "published_at_most")
OVER = ("tokens", "parameters")  # what a ladder goes over
KINDS = ("worse", "better", "no_better", "equal", "order", *OF_PUBLISHED_ROWS, "untestable")


def study_folder(name: str, scale: str) -> str:
    """The name of a study's folder: the study's name, with the scale if that is not the usual one. Runs of different
    sizes thus never share a table.
    """
    return name if scale == USUAL_SCALE else f"{name}-{scale}"


@dataclass(frozen=True)
class FamilyPlan:
    """Arms that are compared with one baseline, in display order. title: a phrase that describes the family.

    line: arms of several sizes that show how many bytes a score costs; the bytes of the other arms are compared with
    that line. explored: whether the family was added after scores of its arms had been seen. unequal_budgets: whether
    the arms have budgets of their own by design; otherwise another budget than the baseline's allows no verdict.
    """

    name: str
    title: str
    baseline: str
    arms: tuple[str, ...]
    line: tuple[str, ...] = ()
    explored: bool = False
    unequal_budgets: bool = False

    @property
    def summary(self) -> str:
        """The family in one line."""
        return f"{self.name}{EXPLORED if self.explored else ''}: {self.title}. Baseline {self.baseline}."


@dataclass(frozen=True)
class LadderPlan:
    """Families that hold the same arms by position, with more tokens or parameters from each family to the next.

    over: tokens or parameters. A ladder over tokens also shows gaps as effective speedup.
    """

    title: str
    over: str
    families: tuple[str, ...]


@dataclass(frozen=True)
class ClaimTest:
    """How a claim is tested in one family.

    kind: what the claim says about `arms` compared with the family's baseline, about their order (best first), or about
    the published values of `field` compared with `value`. The kind `untestable` needs no arms.
    """

    family: str
    kind: str
    arms: tuple[str, ...] = ()
    field: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Claim:
    """A published claim in our words, a note on what the published material shows, and its tests."""

    text: str
    note: str
    tests: tuple[ClaimTest, ...]


@dataclass(frozen=True)
class Study:
    """A study.

    published: {arm: {field: value}} with published values of val_bpb, val_nats, total_bytes, steps, step_ms_median and
    params.total. scale: the size of the runs; only at scale `published` are published values subtracted.
    smallest_effect_bpb: the smallest difference that matters at this scale, the margin; margin_reason: why that one.
    test, blocked: see `pgolf.tables.methods`; named before the runs. equivalence_alpha: the level of equality within
    the margin, per side (TOST). published_test: `one_sample` if the published study treated its baseline's mean as a
    constant; that comparison is then shown beside the correct one. probes: searches of options that ended before the
    runs began. probe_earlier: how options were found before, in words. noise_bpb: the known standard
    deviation of a score between seeds, for the test `sequential`. most_seeds: seeds were added to undecided arms, up to
    this number. planned_seeds: those of the study's file. changes: of the rules of judgement after runs had begun.
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
    blocked: bool = False
    equivalence_alpha: float = 0.025
    margin_reason: str = ""
    ladders: tuple[LadderPlan, ...] = ()
    noise_bpb: float | None = None
    most_seeds: int | None = None
    probes: tuple[Probe, ...] = ()
    probe_earlier: str = ""
    planned_seeds: tuple[int, ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def method(self) -> Method:
        return Method(self.test, self.blocked, self.noise_bpb)

    @property
    def rule(self) -> str:
        """The named test, the margin and its reason, in one line."""
        level = f"{self.equivalence_alpha:g} a side"
        reason = self.margin_reason.strip() or "The study gives no reason for this margin."
        is_late = any(change.startswith("test:") for change in self.changes)
        test = f"Test, {'changed after runs had begun' if is_late else 'named before the runs'}: {self.method.label}."
        if self.most_seeds is not None:
            noise = "estimated" if self.noise_bpb is None else f"known, sd {self.noise_bpb:g} bpb"
            test = (
                f"Seeds were added to undecided arms, up to {self.most_seeds} (launch.seeds=auto). So the sequential "
                f"test decides (noise {noise}), which stays valid at every look."
            )
        return (
            f"{test} Smallest difference that matters: "
            f"{self.smallest_effect_bpb:g} bpb. {reason} Equality within it: two one-sided tests at {level}."
        )

    @property
    def tuning(self) -> tuple[str, ...]:
        """How the arms' options were searched, and with which budget: one line, or none if nothing is known."""
        probed = [f"by pgolf.probe, {probe.budget}" for probe in self.probes]
        earlier = [self.probe_earlier.strip()] if self.probe_earlier.strip() else []
        return (f"How options were chosen: {' '.join((*probed, *earlier))}",) if probed or earlier else ()

    @property
    def origin(self) -> str:
        """The source of the published values, if there is one, and the scale of these runs, in one line."""
        published = f"Published: {self.source}. " if self.source else ""
        return f"{published}Size of these runs: scale={self.scale}."

    def plan_of(self, family: str) -> FamilyPlan | None:
        """The family with this name, or None."""
        return next((plan for plan in self.families if plan.name == family), None)

    def line_of(self, family: str) -> tuple[str, ...]:
        """The line of the family with this name; empty without one."""
        plan = self.plan_of(family)
        return () if plan is None else plan.line


def study_from(content: Mapping[str, Any]) -> Study:
    """A study from plain containers. Raises ValueError for an invalid one."""
    study = typed(Study, content)
    problems = problems_of(study)
    if problems:
        raise ValueError("; ".join(problems))
    return study


def problems_of(study: Study) -> list[str]:
    """The contradictions in a study's description."""
    smallest = study.smallest_effect_bpb
    problems = []
    if not (is_number(smallest) and smallest > 0):
        problems.append(f"smallest_effect_bpb {smallest!r} is not a positive number")
    values = {f"{arm}.{key}": value for arm, row in study.published.items() for key, value in row.items()}
    problems += [
        f"published {key} is not a number ({value!r})" for key, value in values.items() if not is_number(value)
    ]
    if study.test not in TESTS:
        problems.append(f"test {study.test} is not one of {', '.join(TESTS)}")
    elif study.blocked and study.test not in BLOCKABLE:
        problems.append(f"blocked: true needs the test {' or '.join(BLOCKABLE)}, not {study.test}")
    if study.noise_bpb is not None and not (
        is_number(study.noise_bpb) and LEAST_NOISE <= study.noise_bpb <= MOST_NOISE
    ):
        problems.append(f"noise_bpb {study.noise_bpb!r} is not a number from {LEAST_NOISE:g} to {MOST_NOISE:g}")
    elif study.noise_bpb is not None and study.test != SEQUENTIAL:
        problems.append(f"noise_bpb: is used by the test sequential alone, not by {study.test}")
    if not 0 < study.equivalence_alpha <= MOST_EQUIVALENCE_ALPHA:
        problems.append(f"equivalence_alpha {study.equivalence_alpha:g} is not above 0 and at most 0.05")
    if study.published_test not in PUBLISHED_TESTS:
        problems.append(f"published_test {study.published_test} is not one_sample")
    for f in study.families:
        if f.baseline not in f.arms:
            problems.append(f"family {f.name} does not contain its baseline {f.baseline}")
    for f in study.families:
        if f.line and (len(f.line) < 2 or len(set(f.line)) < len(f.line) or not set(f.line) <= set(f.arms)):
            names = ", ".join(f.line)
            problems.append(f"family {f.name}: a line needs two or more different arms of the family ({names})")
    problems += [
        f"ladder {plan.title!r}: {problem}" for plan in study.ladders if (problem := ladder_problem(study, plan))
    ]
    arms = {arm for family in study.families for arm in family.arms}
    problems += [f"published values of {arm}, which is in no family" for arm in study.published if arm not in arms]
    for claim in study.claims:
        for test in claim.tests:
            if problem := claim_problem(study, test):
                problems.append(f"claim {claim.text!r}: {problem}")
    return problems


def ladder_problem(study: Study, plan: LadderPlan) -> str | None:
    """The first contradiction in a ladder; None without one. Whether its tokens or parameters increase is known when
    its baselines have run (`pgolf.tables.ladder`).
    """
    if plan.over not in OVER:
        return f"over {plan.over} is not one of {', '.join(OVER)}"
    if len(plan.families) < 2 or len(set(plan.families)) < len(plan.families):
        return f"needs two or more different families ({', '.join(plan.families)})"
    families = [study.plan_of(name) for name in plan.families]
    if unknown := [name for name, family in zip(plan.families, families, strict=True) if family is None]:
        return f"family {', '.join(unknown)} does not exist"
    first, *rest = [family for family in families if family is not None]
    for family in rest:
        if len(family.arms) != len(first.arms):
            return f"family {family.name} has {len(family.arms)} arms, and {first.name} has {len(first.arms)}"
        if [arm == family.baseline for arm in family.arms] != [arm == first.baseline for arm in first.arms]:
            return f"the baselines of {family.name} and {first.name} stand at different places of their arms"
    return None


def claim_problem(study: Study, test: ClaimTest) -> str | None:
    """The first contradiction in one test of a claim; None without one."""
    if test.kind not in KINDS:
        return f"kind {test.kind} is not one of {', '.join(KINDS)}"
    if test.kind == "untestable":
        return None
    plan = study.plan_of(test.family)
    if plan is None:
        return f"family {test.family} does not exist"
    if not test.arms:
        return f"has no arms. A test of kind {test.kind} needs at least one"
    if unknown := [arm for arm in test.arms if arm not in plan.arms]:
        return f"arms {', '.join(unknown)} are not in family {test.family}"
    if test.kind not in OF_PUBLISHED_ROWS:
        return None
    if arms := arms_without_field(study, test):
        return f"published values of {', '.join(arms)} have no {test.field or 'field'}"
    return None if is_number(test.value) else f"value {test.value!r} is not a number"


def arms_without_field(study: Study, test: ClaimTest) -> list[str]:
    """The arms that a claim about published rows needs and whose published row does not have its field."""
    plan = study.plan_of(test.family)
    baseline = (plan.baseline,) if plan is not None and test.kind == "published_saves" else ()
    return [arm for arm in (*baseline, *test.arms) if test.field not in study.published.get(arm, {})]


def write_study(folder: Path, study: Study, name: str = STUDY) -> None:
    """Write a study's description. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    write_lines(folder / name, [json.dumps({"schema_version": STUDY_SCHEMA, **asdict(study)}, indent=1) + "\n"])


def read_study(folder: Path, name: str = STUDY) -> Study | None:
    """The study that a folder's file describes, or None without such a file. Raises DamagedFile."""
    path = folder / name
    try:
        content = read_json(path, REMEDY)
        version = content.pop("schema_version", None) if isinstance(content, dict) else None
        if version != STUDY_SCHEMA:
            raise ValueError(f"its schema is {version!r:.60}, not {STUDY_SCHEMA}")
        return study_from(content)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DamagedFile(path, f"is not a valid study description: {error}", REMEDY) from None
