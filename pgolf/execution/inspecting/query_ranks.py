"""Ranks of the queries of a run, chosen from their spectra, beside one rank for all blocks: lines and plain data."""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from pgolf.config.compose import default_rank
from pgolf.errors import ConfigError, OptionError
from pgolf.execution.inspecting.parts import Scorer
from pgolf.execution.inspecting.subject import MEANING, Inspected
from pgolf.inspect.grouping import layers_text
from pgolf.inspect.query_spectra import query_spectra
from pgolf.inspect.ranks import QuerySpectra, chosen_ranks, factor_parameters, kept_energies
from pgolf.inspect.report import table
from pgolf.inspect.truncate import ACTIVATION, WEIGHT, cut_queries, replaced_queries

PLAIN_PATH = re.compile(r"[\w./=,@+-]+")  # needs no escape within the quotes of an interpolation and of a shell


@dataclass(frozen=True)
class CutScores:
    """Bits per byte of the run's model, as it is and with its queries cut without training: to each block's rank, and
    to the uniform one. scored: what these are scores of.
    """

    uncut: float
    ranks: float
    uniform_rank: float
    scored: str


@dataclass(frozen=True)
class QueryRanks:
    """One rank per unique block. energy: the share that each block keeps; None: factors have at most `parameters`.

    is_default: whether these are the parameters of model/q_proj=low_rank at its default rank. layers: the passes of
    each unique block. scores: None if they were not asked for.
    """

    spectra: QuerySpectra
    by: str
    energy: float | None
    parameters: int
    is_default: bool
    ranks: tuple[int, ...]
    layers: tuple[tuple[int, ...], ...]
    scores: CutScores | None = None

    @property
    def override(self) -> str:
        """The arguments of pgolf.train for these ranks, as a shell reads them."""
        return f"model/q_proj=adaptive 'model.q_proj.ranks=[{','.join(map(str, self.ranks))}]'"

    @property
    def uniform_rank(self) -> int:
        """One rank for all blocks, with at most as many parameters."""
        return sum(self.ranks) // len(self.ranks)

    @property
    def uniform(self) -> list[int]:
        return [self.uniform_rank] * len(self.ranks)

    def energies(self) -> list[dict[str, Any]]:
        """The kept shares of each block, at its rank and at the uniform one."""
        spectra = self.spectra.by(self.by)
        kept, uniform = (kept_energies(spectra, ranks) for ranks in (self.ranks, self.uniform))
        return [
            {"layers": list(layers), "rank": rank, "kept": own, "kept_at_uniform_rank": other}
            for layers, rank, own, other in zip(self.layers, self.ranks, kept, uniform, strict=True)
        ]

    def sizes(self) -> dict[str, int]:
        """Parameters of all query projections: at these ranks, at the uniform rank, and of full ones."""
        width = self.spectra.width
        return {
            "ranks": factor_parameters(self.ranks, width),
            "uniform_rank": factor_parameters(self.uniform, width),
            "full": width * width * len(self.ranks),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "by": self.by,
            "energy": self.energy,
            "parameters": self.parameters if self.energy is None else None,
            "ranks": list(self.ranks),
            "uniform_rank": self.uniform_rank,
            "blocks": self.energies(),
            "parameters_of": self.sizes(),
            "cut_without_training": None if self.scores is None else asdict(self.scores),
            "override": self.override,
            "spectra": asdict(self.spectra),
        }

    def lines(self, saved_in: str = "") -> list[str]:
        """A table for a terminal, and the override at its end. saved_in: the folder with the saved spectra."""
        found = self.spectra
        of = f"Q C^(1/2), C = E[x x^T] of {found.tokens:,} training tokens" if self.by == ACTIVATION else "Q"
        budget = f"at most {self.parameters:,} parameters"
        budget += ", those of model/q_proj=low_rank at its default rank" if self.is_default else ""
        rule = budget if self.energy is None else f"energy {self.energy:g} per block"
        rows = [["", "rank", "energy kept", f"at rank {self.uniform_rank}"]]
        for block in self.energies():
            label = layers_text(tuple(block["layers"]))
            rows.append([label, str(block["rank"]), f"{block['kept']:.4f}", f"{block['kept_at_uniform_rank']:.4f}"])
        sizes = self.sizes()
        return [
            f"weights     {MEANING[found.weights]}",
            f"spectra     by {self.by}: of {of}",
            f"chosen      {rule}",
            "energy      shares of each block's own, at its rank and at the same rank for all blocks",
            *table(rows),
            f"parameters  {sizes['ranks']:,} of these ranks; {sizes['uniform_rank']:,} of model/q_proj=low_rank, rank "
            f"{self.uniform_rank}; {sizes['full']:,} of full Q",
            *self.score_lines(),
            *self.remarks(),
            self.override,
            *([self.interpolation(saved_in)] if PLAIN_PATH.fullmatch(saved_in) else []),
        ]

    def score_lines(self) -> list[str]:
        """What the cut costs without training; no line without scores."""
        if self.scores is None:
            return []
        cut, uncut = self.scores, self.scores.uncut
        return [
            f"cut         {cut.ranks - uncut:+.4f} bpb at these ranks, {cut.uniform_rank - uncut:+.4f} at rank "
            f"{self.uniform_rank}, from {uncut:.4f} ({cut.scored}; not trained again)"
        ]

    def remarks(self) -> list[str]:
        """What a reader of the ranks should know."""
        lines = []
        if self.sizes()["ranks"] >= self.sizes()["full"]:
            lines.append("remark      factors of these ranks have as many parameters as full Q, or more")
        limits = [len(spectrum) for spectrum in self.spectra.by(self.by)]
        if min(limits) < self.spectra.width:
            ranks = ", ".join(map(str, dict.fromkeys(limits)))
            lines.append(f"remark      Q of this run is a product through rank {ranks}: no rank above it can be chosen")
        return lines

    def interpolation(self, folder: str) -> str:
        """The same override by way of the saved spectra."""
        name, number = ("budget_ranks", self.parameters) if self.energy is None else ("energy_ranks", self.energy)
        return f"model/q_proj=adaptive 'model.q_proj.ranks=${{{name}:\"{folder}\",{number!r},{self.by}}}'"


def query_ranks(
    subject: Inspected, by: str, energy: float | None, parameters: int | None, batches: int, *, both: bool
) -> QueryRanks:
    """The ranks of a run. energy, parameters: as asked, at most one; None: the parameters of the default low rank.

    by: ACTIVATION or WEIGHT. both: measure activations too where ranks are chosen by weight. Raises PgolfError.
    """
    if by == ACTIVATION and subject.corpus is None:
        raise ConfigError(f"--by: {subject.path} has no activations: {subject.no_corpus}. Choose --by {WEIGHT}")
    is_run = subject.corpus is not None and (both or by == ACTIVATION)
    found = query_spectra(subject.model, subject.weights, subject.training_ids(batches) if is_run else [])
    blocks, dims = len(found.weight), subject.model.dims
    budget = parameters or factor_parameters([default_rank(found.width)] * blocks, found.width)
    try:
        ranks = chosen_ranks(found, by, energy=energy, parameters=budget if energy is None else None)
    except OptionError as error:
        raise ConfigError(f"--{error}") from None
    layers = tuple(tuple(range(block, dims.layers, blocks)) for block in range(blocks))
    is_default = energy is None and parameters is None
    return QueryRanks(found, by, energy, budget, is_default, tuple(ranks), layers)


def with_scores(found: QueryRanks, subject: Inspected, batches: int, targets: int) -> QueryRanks:
    """The same ranks with the scores of the run's model, cut to them without training. Raises PgolfError."""
    if subject.corpus is None:
        raise ConfigError(f"--score: {subject.path} cannot be scored: {subject.no_corpus}")
    scorer, model, ids = Scorer(subject, targets), subject.model, subject.training_ids(batches)
    uncut, cut = scorer(model), []
    for ranks in (found.ranks, found.uniform):
        with replaced_queries(model, cut_queries(model, ranks, found.by, ids)):
            cut.append(scorer(model))
    return replace(found, scores=CutScores(uncut, cut[0], cut[1], scorer.scored))
