"""What a probe found, for readers and as data: a table per arm, JSON, and the options of each arm as YAML."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr

from pgolf.machine.plain import yaml_text
from pgolf.probe.search import ArmSearch, AxisResult, value_text
from pgolf.study.probes import Probe
from pgolf.tables.text import Grid, Section, SectionKind, number

AT_END = "best value at the end of its range"


def expected_lead(trials: int) -> float:
    """How much better than the average the best of `trials` equal configurations scores by chance, in standard
    deviations: the mean of the largest of independent standard normal numbers.
    """
    x = np.linspace(-8, 8, 4001)
    density = trials * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * ndtr(x) ** (trials - 1)
    return float(np.trapezoid(x * density, x))


def optimism(trials: int, seeds: int) -> str:
    """A sentence on what choosing by few seeds does to the best score."""
    lead = expected_lead(trials) / math.sqrt(seeds)
    by = "one seed" if seeds == 1 else f"{seeds} seeds"
    return (
        f"The score of the best trial is optimistic, because it was chosen by {by}: of {trials} configurations that "
        f"are equally good, the best one scores {lead:.2f} standard deviations between seeds better than the average. "
        "Neighbours within about one standard deviation may be equal. These scores enter no table of the study."
    )


def sections(probe: Probe, searches: Sequence[ArmSearch]) -> list[Section]:
    """A section on the budget, then one per arm and axis."""
    lines = (probe.budget, optimism(searches[0].trials, len(probe.seeds)))
    first = Section(SectionKind.STUDY, "Probe", lines)
    return [first, *(axis_section(one.arm, result) for one in searches for result in one.results)]


def axis_section(arm: str, result: AxisResult) -> Section:
    """The points of an axis of one arm: the best in bold, the arm's own one marked."""

    def cell(at: int) -> str:
        mean = result.points[at].mean_bpb
        text = "diverged" if math.isinf(mean) else number(mean)
        return f"**{text}**" if at == result.best else text

    options = list(result.points[0].values)
    rows = [
        (
            *(value_text(point.values[option]) for option in options),
            cell(at),
            "own" if at == result.own else "",
        )
        for at, point in enumerate(result.points)
    ]
    lines = tuple(f"{AT_END}: {option}. Make the range longer" for option in result.at_end)
    grid = Grid((*options, "bpb", ""), (*(True for _ in options), True, False), tuple(rows))
    return Section(SectionKind.FURTHER, arm, lines, grid)


def as_json(study: str, probe: Probe, searches: Sequence[ArmSearch], folder: str) -> dict[str, Any]:
    """The result as --json prints it. The score of a trial that diverged is null."""

    def point(one: AxisResult, at: int) -> dict[str, Any]:
        scores = {
            str(seed): score if math.isfinite(score) else None for seed, score in one.points[at].scores_bpb.items()
        }
        mean = one.points[at].mean_bpb
        values = dict(one.points[at].values)
        return {"values": values, "bpb": mean if math.isfinite(mean) else None, "bpb_by_seed": scores}

    arms = [
        {
            "arm": one.arm,
            "trials": one.trials,
            "axes": [
                {
                    "points": [point(result, at) for at in range(len(result.points))],
                    "own": result.own,
                    "best": result.best,
                    "at_end": result.at_end,
                }
                for result in one.results
            ],
            "chosen": dict(one.chosen),
        }
        for one in searches
    ]
    return {
        "study": study,
        "folder": folder,
        "seeds": list(probe.seeds),
        "text": probe.text,
        "val_text_sha": list(probe.val_text_sha),
        "expected_lead_sd": expected_lead(searches[0].trials) / math.sqrt(len(probe.seeds)),
        "arms": arms,
    }


def snippet(study: str, one: ArmSearch) -> str:
    """What the YAML file of an arm needs to have the options that were found."""
    name = f"# conf/arm/{study}/{one.arm}.yaml"
    if not one.chosen:
        return f"{name}: nothing to change, its own values are the best\n"
    groups = {option: value for option, value in one.chosen.items() if option in one.current.choices}
    values = nested({option: value for option, value in one.chosen.items() if option not in groups})
    defaults = [{f"override /{option}": value} for option, value in groups.items()]
    content = {**({"defaults": defaults} if defaults else {}), **values}
    return f"{name}\n{yaml_text(content)}"


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{`a.b`: value} as {a: {b: value}}."""
    tree: dict[str, Any] = {}
    for option, value in flat.items():
        *sections_above, key = option.split(".")
        node = tree
        for section in sections_above:
            node = node.setdefault(section, {})
        node[key] = value
    return tree
