"""Ranks of low-rank queries from the singular values of an earlier run's queries, and the file that keeps those values.

Queries are normalised per head, so that the scale of a query projection changes nothing. The energy of a block is
therefore its share of the block's own sum: blocks of any scale compete for a budget on equal terms. The file is read as
a stranger's. It imports no torch, since configurations are composed with it.

Shapes: D model width; a query projection W is [D, D].
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pgolf.errors import DamagedFile, OptionError, PgolfError, require
from pgolf.machine.files import write_lines
from pgolf.machine.plain import read_json
from pgolf.machine.typed import typed
from pgolf.nn.rank_choice import budget_ranks, energy_ranks, squared

QUERY_SPECTRA = "query_spectra.json"
COMMAND = "python -m pgolf.inspect ranks RUN --save"
MOST_BYTES = 16 * 2**20
BY = ("activation", "weight")  # fields of QuerySpectra

Spectra = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class QuerySpectra:
    """Singular values of every query projection of a trained model, one list per unique block.

    width: D. weights: which weights of the run. weight: singular values of W. activation: those of W C^(1/2), where C =
    E[x x^T] of the inputs x over `tokens` training tokens; empty without a corpus.
    """

    width: int
    weights: str
    tokens: int
    weight: Spectra
    activation: Spectra

    def by(self, name: str) -> Spectra:
        """The spectra of a name of BY. Raises OptionError for another name, and if there are none of that name."""
        require(name in BY, "by", name, f"choose {' or '.join(BY)}")
        found: Spectra = getattr(self, name)
        require(bool(found), "by", name, "these spectra have no activations, for lack of a corpus. Choose weight")
        return found

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises OSError."""
        write_lines(path, [json.dumps(asdict(self), allow_nan=False) + "\n"])


def read_query_spectra(path: str) -> QuerySpectra:
    """The spectra in a file, or in the file QUERY_SPECTRA of a run folder. Raises PgolfError."""
    path = os.path.expanduser(path)
    file = Path(path, QUERY_SPECTRA) if os.path.isdir(path) else Path(path)
    try:
        stat = file.stat()
    except (OSError, ValueError):
        raise PgolfError(f"{file}: does not exist or cannot be read. Write it with {COMMAND}") from None
    return _read(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read(file: Path, _mtime_ns: int, _size: int) -> QuerySpectra:
    remedy = f"Write it with {COMMAND}"
    try:
        found = typed(QuerySpectra, read_json(file, remedy, MOST_BYTES))
    except FileNotFoundError:
        raise PgolfError(f"{file}: does not exist. {remedy}") from None
    except ValueError as error:
        raise DamagedFile(file, f"does not hold spectra of queries ({error})", remedy) from None
    if problem := problem_of(found):
        raise DamagedFile(file, f"does not hold spectra of queries ({problem})", remedy)
    return found


def problem_of(found: QuerySpectra) -> str:
    """What is wrong with spectra; empty if nothing is."""
    if not found.weight:
        return "weight holds no block"
    if found.activation and len(found.activation) != len(found.weight):
        return f"activation holds {len(found.activation)} blocks, weight {len(found.weight)}"
    for spectrum in (*found.weight, *found.activation):
        if not 1 <= len(spectrum) <= found.width:
            return f"a block has {len(spectrum)} singular values, the width is {found.width}"
        try:
            squared(spectrum)
        except OptionError as error:
            return str(error)
    return ""


def unit(spectrum: Sequence[float]) -> list[float]:
    """Singular values of the same matrix at energy 1, largest first."""
    largest = max(spectrum)
    norm = math.sqrt(sum((s / largest) ** 2 for s in spectrum))
    return sorted((s / largest / norm for s in spectrum), reverse=True)


def kept_energies(spectra: Sequence[Sequence[float]], ranks: Sequence[int]) -> list[float]:
    """The share of its energy that each matrix keeps at its rank."""
    return [math.fsum(s * s for s in unit(spectrum)[:rank]) for spectrum, rank in zip(spectra, ranks, strict=True)]


def factor_parameters(ranks: Sequence[int], width: int) -> int:
    """Parameters of the factors [R, D] and [D, R] of all blocks."""
    return 2 * width * sum(ranks)


def chosen_ranks(
    found: QuerySpectra, by: str, *, energy: float | None = None, parameters: int | None = None
) -> list[int]:
    """One rank per unique block: the smallest that keep `energy`, or the best within `parameters` of all factors.

    Give one of the two. by: a name of BY. Raises OptionError.
    """
    assert (energy is None) != (parameters is None), (energy, parameters)
    spectra = [unit(spectrum) for spectrum in found.by(by)]
    if energy is not None:
        return energy_ranks(spectra, energy)
    assert parameters is not None
    return budget_ranks(spectra, [2 * found.width] * len(spectra), parameters)


def ranks_for(
    path: str, by: str, blocks: int, width: int, *, energy: float | None = None, parameters: int | None = None
) -> list[int]:
    """`chosen_ranks` for a model of `blocks` unique blocks and a width. path: a file, or a run folder with one.

    Raises PgolfError.
    """
    found = read_query_spectra(path)
    for what, own, wanted in (("unique blocks", len(found.weight), blocks), ("width", found.width, width)):
        if own != wanted:
            option = "model.unique_blocks" if what == "unique blocks" else "model.width"
            raise PgolfError(
                f"{path}: has spectra of a model with {what} {own}, and {option} is {wanted}. Inspect such a run"
            )
    return chosen_ranks(found, by, energy=energy, parameters=parameters)
