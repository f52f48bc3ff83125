"""From the YAML file of a study to the description in study.json, beside the runs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pgolf.config.composed_run import ComposedRun
from pgolf.errors import ConfigError
from pgolf.study.description import ADHOC, Study, study_folder, study_from
from pgolf.study.probes import plan_from
from pgolf.tables.methods import SEQUENTIAL

AUTO = "auto"  # of launch.seeds
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
)  # of a configuration and of a description


def study_of(run: ComposedRun) -> Study | None:
    """The study of a run; None if it belongs to none. Raises ConfigError for an invalid description."""
    section = run.resolved["study"]
    if section["name"] == ADHOC or not section["families"]:  # a study.name without a description
        return None
    if run.resolved["launch"]["seeds"] != AUTO:
        return describe_study(section, str(run.choices["scale"]))
    section = {**section, "test": SEQUENTIAL, "blocked": False}  # a test for a fixed number of seeds is not valid then
    study = describe_study(section, str(run.choices["scale"]))
    return replace(study, most_seeds=int(run.resolved["launch"]["most_seeds"]))


def describe_study(section: Mapping[str, Any], scale: str) -> Study:
    """The description of a study at one scale, from its section of a configuration. Raises ConfigError if invalid."""
    smallest = section["smallest_effect_bpb"]
    if scale not in smallest:
        raise ConfigError(
            f"study.smallest_effect_bpb: has no value for scale={scale} ({smallest}). Add the smallest difference "
            "that matters"
        )
    families = [{"name": name, **family} for name, family in section["families"].items()]
    same = {key: section[key] for key in SAME_KEYS}
    try:
        earlier = plan_from(section["probe"]).earlier if section["probe"] else ""
    except ValueError as error:
        raise ConfigError(f"study.probe: of {section['name']} is not valid: {error}. Correct the YAML file") from None
    try:
        return study_from(
            {
                **same,
                "name": study_folder(section["name"], scale),
                "scale": scale,
                "smallest_effect_bpb": smallest[scale],
                "margin_reason": section["margin_reason"].get(scale, ""),
                "families": families,
                "probe_earlier": earlier,
            }
        )
    except ValueError as error:
        raise ConfigError(f"study: {section['name']} is not a valid study description: {error}") from None
