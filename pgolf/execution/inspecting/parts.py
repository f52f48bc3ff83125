"""The parts of an inspection: matrices, residual mixing, depth, spectra during training, and the truncation of Q."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from pgolf.errors import ConfigError, PgolfError
from pgolf.eval.score import Score
from pgolf.execution.inspecting.subject import MEANING, Inspected
from pgolf.inspect.angles import LayerAngles, angle_lines, pre_rotation, rotates
from pgolf.inspect.depth import Depth, depth
from pgolf.inspect.mixing import Mixing, mixing
from pgolf.inspect.random_reference import DRAWS, SEED
from pgolf.inspect.report import Entry, entries, forced_lines, matrix_lines, remarkable_lines, table
from pgolf.inspect.sources import Sources, sources
from pgolf.inspect.truncate import CUTS, Truncation, structural_rank, truncation
from pgolf.nn.depth_sources import SourceReader
from pgolf.nn.gpt import GPT
from pgolf.records.metrics import Event

SPECTRA = "spectra"  # the kind of event that train.spectra_every records
TARGETS = 20_000  # validation targets of each score by default: a model is scored once per block or cut
BATCHES = 8  # of training tokens that activations are taken from
SHARES = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)  # default ranks of a truncation, as shares of the full one


@dataclass(frozen=True)
class Inspection:
    """What an inspection found. left_out: parts that could not be computed, each with the reason.

    recorded: events of spectra during training. sources: of attention over depth, None without it. scored: what the
    scores of `depth` and `sources` are of.
    """

    subject: Inspected
    draws: int
    entries: tuple[Entry, ...]
    mixing: tuple[Mixing, ...]
    depth: Depth | None
    recorded: tuple[Event, ...]
    sources: Sources | None = None
    scored: str = ""
    left_out: dict[str, str] = field(default_factory=dict)
    angles: tuple[LayerAngles, ...] = ()  # of pre-rotation

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "path": str(self.subject.path),
            "weights": self.subject.weights,
            "random": {"draws": self.draws, "seed": SEED, "outside_by_chance": 2 / (self.draws + 1)},
            "matrices": [entry.to_dict() for entry in self.entries],
            "mixing": [found.to_dict() for found in self.mixing],
            "depth": None if self.depth is None else {"scored": self.scored, **self.depth.to_dict()},
            "sources": None if self.sources is None else {"scored": self.scored, **self.sources.to_dict()},
            "pre_rotation": [one.to_dict() for one in self.angles],
            "during_training": list(self.recorded),
            "left_out": self.left_out,
        }


class Scorer:
    """Scores models on a run's validation text. `scored` describes the latest score. Refuses one that is not finite."""

    def __init__(self, subject: Inspected, targets: int):
        self.evaluation, self.path = subject.evaluation(targets), subject.path
        self.scored = ""

    def __call__(self, model: GPT) -> float:
        score: Score = self.evaluation(model)
        self.scored = f"{score.targets:,} validation targets, {score.mode}"
        if not math.isfinite(score.bpb):
            raise PgolfError(f"{self.path}: has a score that is not finite ({score.bpb}). Inspect another run")
        return score.bpb


def inspected(subject: Inspected, draws: int = DRAWS, targets: int = TARGETS) -> Inspection:
    """Every part except the truncation. Raises PgolfError."""
    model = subject.model
    found = tuple(entries(model, draws))
    mixes = [gains.resid_mix for gains in model.gains if isinstance(gains.resid_mix, Tensor)]
    mixed = tuple(mixing(mixes, starts_as_polynomial=model.trunk.resid_mix_init == "legendre")) if mixes else ()
    left_out, scored, depth_found, sources_found = dict[str, str](), "", None, None
    turned: tuple[LayerAngles, ...] = ()
    if not mixes:
        left_out["residual mixing"] = "the model has none"
    has = {"depth": True, "sources": isinstance(model.depth, SourceReader), "pre-rotation": rotates(model)}
    parts = [part for part, is_there in has.items() if is_there]
    if subject.corpus is None:
        left_out |= dict.fromkeys(parts, subject.no_corpus)
    else:
        try:
            scorer = Scorer(subject, targets)
            (ids_BT,) = subject.training_ids(1)
            depth_found = depth(model, scorer, ids_BT)
            scored = scorer.scored
            sources_found = sources(model, depth_found.bpb, scorer, ids_BT)
            turned = tuple(pre_rotation(model, ids_BT, draws)) if rotates(model) else ()
        except PgolfError as error:
            found_parts = {"depth": depth_found, "sources": sources_found, "pre-rotation": turned}
            left_out |= {part: " ".join(str(error).split()) for part in parts if not found_parts[part]}
    recorded = tuple(event for event in subject.events if event["event"] == SPECTRA)
    if not recorded:
        left_out["during training"] = "nothing was recorded; train.spectra_every=N records every N steps"
    elif unread := sum(not is_spectrum(event) for event in recorded):
        left_out["during training"] = f"{unread} of {len(recorded)} events of metrics.jsonl are not spectra"
        recorded = tuple(filter(is_spectrum, recorded))
    return Inspection(
        subject, draws, found, mixed, depth_found, recorded, sources_found, scored, left_out, angles=turned
    )


def ranks_of(model: GPT, asked: Sequence[int]) -> list[int]:
    """The ranks of a truncation in ascending order. asked: as on the command line; empty: the default ones."""
    full = structural_rank(model)
    if not asked:
        return sorted({max(1, round(share * full)) for share in SHARES})
    for rank in asked:
        if not 1 <= rank <= full:
            raise ConfigError(f"--ranks: cannot cut to rank {rank}. Choose from 1 to {full}, the rank of these queries")
    return sorted(set(asked))


def truncated(
    subject: Inspected, asked: Sequence[int], targets: int = TARGETS, batches: int = BATCHES
) -> tuple[Truncation, str]:
    """The truncation of a run's queries, and what its scores are of. Raises PgolfError."""
    ranks = ranks_of(subject.model, asked)
    if subject.corpus is None:
        raise ConfigError(f"{subject.path}: cannot be scored: {subject.no_corpus}")
    scorer = Scorer(subject, targets)
    found = truncation(subject.model, ranks, scorer, subject.training_ids(batches))
    return found, scorer.scored


# ---- text

OUTSIDE = "outside the random range: the furthest matrix, in sd of the random ones (condition: of the logarithm)"
FORCED = "condition numbers over the full size, which singular values of zero force: rounding, not the weights"


def text(found: Inspection, *, with_heads: bool) -> list[str]:
    """An inspection as lines for a terminal."""
    lines = [
        f"weights   {MEANING[found.subject.weights]}",
        f"random    {found.draws} Gaussian matrices of the same sizes and factorisation, seed {SEED}",
        f"*         outside the range of the random ones; of random matrices, {200 / (found.draws + 1):.0f}% are",
        "",
        *matrix_lines(found.entries, found.draws, with_heads=with_heads),
    ]
    for heading, part in ((OUTSIDE, remarkable_lines), (FORCED, forced_lines)):
        if of_part := part(found.entries):
            lines += ["", heading, *(f"  {line}" for line in of_part)]
    if found.mixing:
        lines += ["", *mixing_lines(found.mixing)]
    if found.depth is not None:
        lines += ["", *depth_lines(found.depth, found.scored)]
    if found.sources is not None:
        lines += ["", *source_lines(found.sources)]
    if found.angles:
        lines += ["", *angle_lines(found.angles)]
    if found.recorded:
        lines += ["", *recorded_lines(found.recorded)]
    if found.left_out:
        lines += ["", *(f"left out: {part}: {reason}" for part, reason in found.left_out.items())]
    return lines


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def mixing_lines(found: Sequence[Mixing]) -> list[str]:
    """Residual mixing by depth, as mean and standard deviation over the width."""
    layers = [str(layer) for layer in range(len(found[0].means))]
    rows = [["residual mixing, mean (sd)", *layers]]
    rows += [
        [f"  {each.name}", *(f"{m:.2f} ({s:.2f})" for m, s in zip(each.means, each.sds, strict=True))] for each in found
    ]
    lines = table(rows)
    for each in found:
        if each.fit is None:
            lines.append(f"  {each.name}: no Legendre fit: {each.refusal}")
        else:
            terms = ", ".join(f"{c:+.2f}" for c in each.fit.coefficients)
            lines.append(
                f"  {each.name}: Legendre coefficients {terms}; R2 {share(each.fit.r2)} (of white noise "
                f"{each.fit.r2_of_noise:.2f}), adjusted {share(each.fit.adjusted_r2)}, leave-one-out "
                f"{share(each.fit.leave_one_out_r2)}"
            )
    if any(each.fit is not None and each.starts_as_polynomial for each in found):
        lines.append("  a good fit: these means started as such polynomials (model.resid_mix_init=legendre)")
    return lines


def depth_lines(found: Depth, scored: str) -> list[str]:
    """What each block contributes."""
    rows = [["block skipped", "bpb", "change", "angle / pi"], ["  none", f"{found.bpb:.4f}", "", ""]]
    rows += [
        [f"  {layer}", f"{bpb:.4f}", f"{bpb - found.bpb:+.4f}", f"{turned:.3f}"]
        for layer, (bpb, turned) in enumerate(zip(found.skipped_bpb, found.angles, strict=True))
    ]
    return [*table(rows), f"  scored: {scored}"]


def source_lines(found: Sources) -> list[str]:
    """What each source of attention over depth is worth."""
    rows = [["source", "readers", "mean weight", "change without it", "for all but its first reader"]]
    rows += [
        [
            f"  {source.number} {source.name}",
            f"{source.readers}",
            f"{source.weight:.3f}",
            f"{source.removed_bpb - found.bpb:+.4f}",
            "-" if source.later_bpb is None else f"{source.later_bpb - found.bpb:+.4f}",
        ]
        for source in found.sources
    ]
    return [
        *table(rows),
        f"  what stays in every row: {found.kept}",
        "  the weight of a source does not say whether it is used",
    ]


def is_spectrum(event: Event) -> bool:
    """Whether an event of a log names a matrix, a step and an effective rank, which a zero matrix does not have."""
    name, step, value = event.get("matrix"), event.get("step"), event.get("effective_rank")
    is_rank = value is None or (isinstance(value, int | float) and math.isfinite(value))
    return isinstance(name, str) and type(step) is int and is_rank


def groups_of(recorded: Sequence[Event]) -> dict[str, dict[int, list[float]]]:
    """{slot: {step: effective ranks}} of recorded spectra; the slot is `q_proj`, `attention.k`, `mlp.fc` and so on."""
    found: dict[str, dict[int, list[float]]] = {}
    for event in recorded:
        if is_spectrum(event) and event["effective_rank"] is not None:
            name, step, value = event["matrix"], event["step"], event["effective_rank"]
            words = name.removesuffix(".weight").split(".")[1:]
            slot = ".".join(word for word in words if not word.isdecimal())
            found.setdefault(slot, {}).setdefault(step, []).append(float(value))
    return found


def recorded_lines(recorded: Sequence[Event]) -> list[str]:
    """Effective ranks during training, as means over the matrices of a slot; at most ten steps are shown."""
    found = groups_of(recorded)
    if not found:
        return ["effective rank by step: no matrix has one"]
    steps = sorted({step for of_step in found.values() for step in of_step})
    shown = steps if len(steps) <= 10 else [steps[round(i * (len(steps) - 1) / 9)] for i in range(10)]
    rows = [["effective rank by step", *map(str, shown)]]
    for slot, of_step in found.items():
        means = [sum(of_step[step]) / len(of_step[step]) if step in of_step else None for step in shown]
        rows.append([f"  {slot}", *("-" if mean is None else f"{mean:.1f}" for mean in means)])
    return table(rows)


def truncation_lines(found: Truncation, scored: str) -> list[str]:
    """The score by rank, for both cuts."""
    rows = [
        ["", "by weight", "", "weight", "activation", "by activation", "", "weight", "activation"],
        ["rank of Q", *(["bpb", "change", "energy", "energy"] * len(CUTS))],
        ["uncut", *([f"{found.bpb:.4f}", "", "", ""] * len(CUTS))],
    ]
    for rank in dict.fromkeys(cut.rank for cut in found.cuts):
        row = [f"{rank}"]
        for by in CUTS:
            (cut,) = (c for c in found.cuts if (c.rank, c.by) == (rank, by))
            row += [f"{cut.bpb:.4f}", f"{cut.bpb - found.bpb:+.4f}", f"{cut.weight_energy:.3f}"]
            row += [f"{cut.activation_energy:.3f}"]
        rows.append(row)
    return [
        *table(rows),
        "by weight, by activation: the cut that keeps most of that energy; energies are kept shares, means over layers",
        f"scored: {scored}; activations of {found.tokens:,} training tokens",
    ]
