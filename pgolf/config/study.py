"""From the YAML file of a study to the description in study.json, beside the runs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pgolf.config.composed_run import ComposedRun, raise_if
from pgolf.config.folders import config_folders
from pgolf.errors import ConfigError, suggest
from pgolf.machine.typed import typed
from pgolf.study.description import ADHOC, FamilyPlan, Study, problems_of, study_folder
from pgolf.study.probes import plan_from
from pgolf.tables.methods import SEQUENTIAL

AUTO = "auto"  # of launch.seeds
CPU, TINY = "cpu", "tiny"  # choices of the group scale
ANY_MARGIN = 1.0  # bpb, stands for a missing margin while the other keys of a study are checked
SAME_KEYS = (
    "question",
    "source",
    "test",
    "blocked",
    "noise_bpb",
    "equivalence_alpha",
    "published",
    "published_test",
    "claims",
    "ladders",
)  # of a configuration and of a description
FAMILY_KEYS = tuple(field.name for field in fields(FamilyPlan) if field.name != "name")


def study_problems(whole: DictConfig) -> Sequence[str]:
    """Problems of the study of a configuration with the section `hydra`, for a command that has problems anyway."""
    try:
        section: Any = OmegaConf.to_container(whole.study, resolve=True)
        described_by(section, dict(whole.hydra.runtime.choices))
    except ConfigError as error:
        return error.problems
    except OmegaConfBaseException:  # the runs report it
        return ()
    return ()


def study_of(run: ComposedRun) -> Study | None:
    """The study of a run; None if it belongs to none. Raises ConfigError with all problems of its description."""
    section, launch = run.resolved["study"], run.resolved["launch"]
    if launch["seeds"] != AUTO:
        return described_by(section, run.choices)
    section = {**section, "test": SEQUENTIAL, "blocked": False}  # a test for a fixed number of seeds is not valid then
    study = described_by(section, run.choices)
    return None if study is None else replace(study, most_seeds=int(launch["most_seeds"]))


def described_by(section: Mapping[str, Any], choices: Mapping[str, Any]) -> Study | None:
    """The study of a section of a configuration with these choices; None without one. Raises ConfigError."""
    choice = choices.get("study")
    if section["name"] == ADHOC and choice not in (None, ADHOC):
        raise ConfigError(f"study.name: is missing in {study_file(str(choice))}. Write there: name: {choice}")
    if section["name"] == ADHOC or not section["families"]:  # a study.name without a description
        return None
    return describe_study(section, str(choices["scale"]), str(choice or section["name"]))


def study_file(choice: str) -> str:
    """The YAML file of a choice of the group study, as a message names it."""
    paths = (folder / "study" / f"{choice}.yaml" for folder in config_folders())
    return next((str(path) for path in paths if path.is_file()), "its command line")


def describe_study(section: Mapping[str, Any], scale: str, choice: str = "") -> Study:
    """The description of a study at one scale, from its section of a configuration.

    choice: of the group study; its name by default. Raises ConfigError with all problems, which name the YAML file.
    """
    where = study_file(choice or section["name"])
    no_margin = list(margin_problems(section, scale, where))
    if malformed := list(family_problems(section["families"], where)):
        raise ConfigError(*malformed, *no_margin)
    families = [{"name": name, "title": name, **family} for name, family in section["families"].items()]
    same = {key: section[key] for key in SAME_KEYS}
    try:
        earlier = plan_from(section["probe"]).earlier if section["probe"] else ""
    except ValueError as error:
        invalid = f"study.probe: of {section['name']} is not valid: {error}. Correct the YAML file"
        raise ConfigError(*no_margin, invalid) from None
    margin = margin_scale(section, scale)
    reason = section["margin_reason"].get(scale, "")
    content = {
        **same,
        "name": study_folder(section["name"], scale),
        "scale": scale,
        "smallest_effect_bpb": ANY_MARGIN if no_margin else section["smallest_effect_bpb"][margin],
        "margin_reason": reason if margin == scale else f"That of scale={margin}: scale={scale} is for trials.",
        "families": families,
        "probe_earlier": earlier,
    }
    try:
        study = typed(Study, content)
    except ValueError as error:
        raise ConfigError(*no_margin, f"study: {error}. Correct it in {where}") from None
    raise_if([*no_margin, *(f"study: {problem}. Correct it in {where}" for problem in problems_of(study))])
    return study


def margin_scale(section: Mapping[str, Any], scale: str) -> str:
    """The scale whose smallest difference that matters is taken. A trial at TINY takes that of CPU, if it has none."""
    smallest = section["smallest_effect_bpb"]
    return CPU if scale == TINY and TINY not in smallest and CPU in smallest else scale


def margin_problems(section: Mapping[str, Any], scale: str, where: str) -> Iterator[str]:
    """The problem of a study without a smallest difference that matters at this scale."""
    smallest = section["smallest_effect_bpb"]
    if margin_scale(section, scale) not in smallest:
        yield (
            f"study.smallest_effect_bpb: has no value for scale={scale} ({smallest}). Write in {where} the smallest "
            f"difference that matters, in bits per byte: smallest_effect_bpb: {{{scale}: 0.01}}"
        )


def family_problems(families: Mapping[str, Any], where: str) -> Iterator[str]:
    """Problems of the keys of families."""
    for name, family in families.items():
        if not isinstance(family, Mapping):
            yield f"study.families.{name}: needs keys ({family}). Write in {where}: {{baseline: ARM, arms: [ARM, ARM]}}"
            continue
        for key, example in (("baseline", "ARM"), ("arms", "[ARM, ARM]")):
            if not family.get(key):
                yield f"study.families.{name}.{key}: is missing. Write in {where}: {key}: {example}"
        for key in family:
            if key not in FAMILY_KEYS:
                near = suggest(str(key), FAMILY_KEYS)
                yield f"study.families.{name}.{key}: no such key ({family[key]}).{near} Keys: {', '.join(FAMILY_KEYS)}"
