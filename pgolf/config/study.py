"""From the YAML of a study to the description that is kept beside its runs."""

from collections.abc import Mapping
from typing import Any

from pgolf.config.compose import plain
from pgolf.config.composition import ComposedRun
from pgolf.errors import ConfigError
from pgolf.study.description import ADHOC, Study, study_folder, study_from


def study_of(run: ComposedRun) -> Study | None:
    """The study of a run; None for a run of no study. Raises ConfigError for a contradictory description."""
    section = plain(run.composed)["study"]
    if section["name"] == ADHOC or not section["families"]:  # a name alone describes nothing
        return None
    return described(section, str(run.choices["scale"]))


def described(section: Mapping[str, Any], scale: str) -> Study:
    """The description of one study at one scale. Raises ConfigError."""
    smallest = section["smallest_effect_bpb"]
    if scale not in smallest:
        raise ConfigError(
            f"study.smallest_effect_bpb: has no value for scale={scale} ({smallest}). Add the smallest difference "
            "that matters"
        )
    families = [{"name": name, **family} for name, family in section["families"].items()]
    kept = {key: section[key] for key in ("question", "source", "test", "published", "published_test", "claims")}
    try:
        return study_from(
            {
                **kept,
                "name": study_folder(section["name"], scale),
                "scale": scale,
                "smallest_effect_bpb": smallest[scale],
                "families": families,
            }
        )
    except ValueError as error:
        raise ConfigError(f"study: {section['name']} is not a valid study description: {error}") from None
