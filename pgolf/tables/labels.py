"""What tables call an arm: the options in which it differs from the other arms of its study."""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence

from pgolf.errors import PgolfError
from pgolf.records.arm_names import is_cut, parts_of_arm
from pgolf.tables.groups import SHORT, Group

Parts = Mapping[str, Sequence[str]]  # `key=value` parts of the name of each arm


def parts_of_arms(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The parts of the names of all arms of a study, whole where a record has the overrides of a cut name."""
    parts: dict[str, list[str]] = {}
    for g in groups:
        own = next((row["overrides"] for row in g.rows if row.get("overrides")), ())
        if g.arm not in parts or own:
            parts[g.arm] = parts_of_arm(g.arm, own) if is_cut(g.arm) else g.arm.split(",")
    return parts


def parts_of_studies(groups: Sequence[Group]) -> dict[str, dict[str, list[str]]]:
    """The parts of the names of the arms of each study."""
    by_study: defaultdict[str, list[Group]] = defaultdict(list)
    for g in groups:
        by_study[g.study].append(g)
    return {study: parts_of_arms(own) for study, own in by_study.items()}


def is_whole(arm: str, parts: Sequence[str]) -> bool:
    """Whether the parts are all those of an arm's name."""
    return not is_cut(arm) or ",".join(parts) != arm


def shared_parts(parts: Parts) -> tuple[str, ...]:
    """The `key=value` parts common to several arms, as in a sweep without a study; none for a single arm.

    An arm of which only a cut name is known may lack some of them.
    """
    if len(parts) < 2:
        return ()
    first, *others = [own for arm, own in parts.items() if is_whole(arm, own)] or list(parts.values())
    return tuple(part for part in first if "=" in part and all(part in own for own in others)) if others else ()


def short_names(parts: Parts) -> dict[str, str]:
    """The name of each arm without the parts common to all; the whole name if two would become equal."""
    shared = shared_parts(parts)
    short = {arm: ",".join(part for part in own if part not in shared) or "default" for arm, own in parts.items()}
    return short if len(set(short.values())) == len(short) else {arm: arm for arm in parts}


def label_of(groups: Sequence[Group]) -> dict[int, str]:
    """A label for each group, by id: its arm's short name, with its fingerprint if the arm has several."""
    times: defaultdict[tuple[str, str], int] = defaultdict(int)
    for g in groups:
        times[g.study, g.arm] += 1
    short = {study: short_names(parts) for study, parts in parts_of_studies(groups).items()}
    return {
        id(g): short[g.study][g.arm] + (f" [{g.fingerprint[:SHORT]}]" if times[g.study, g.arm] > 1 else "")
        for g in groups
    }


def baselines(text: str, studies: Mapping[str, Parts]) -> dict[str, str]:
    """The arm of each study that a text names; see `arms_named`. Studies without one are left out.

    Raises PgolfError if no study has one, or if the text fits several arms of a study.
    """
    found = {study: arms_named(text, parts) for study, parts in studies.items()}
    labels = {study: short_names(parts) for study, parts in studies.items()}
    for study, arms in found.items():
        if len(arms) > 1:
            fitting = "; ".join(labels[study][arm] for arm in arms)
            raise PgolfError(f"--baseline: {text} fits {len(arms)} arms: {fitting}. Name one of them in full")
    if not any(found.values()):
        names = list(dict.fromkeys(label for short in labels.values() for label in short.values()))
        by_value = [name for name in names if text in [part.partition("=")[2] for part in name.split(",")]]
        near = by_value or difflib.get_close_matches(text, names, 1)
        suggestion = f"Did you mean {near[0]}? " if near else ""
        raise PgolfError(f"--baseline: no such arm ({text}). {suggestion}Arms: {' '.join(names)}")
    return {study: arms[0] for study, arms in found.items() if arms}


def arms_named(text: str, parts: Parts) -> list[str]:
    """The arm with this name, or with this name in the tables; else all arms that have some options, such as
    `head=tied` or `model/head=tied`.
    """
    exact = [arm for arm, short in short_names(parts).items() if text in (arm, short)]
    wanted = {option.rpartition("/")[2] if "/" in option.partition("=")[0] else option for option in text.split(",")}
    return exact[:1] or [arm for arm, own in parts.items() if wanted <= set(own)]
