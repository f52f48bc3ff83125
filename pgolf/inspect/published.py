"""Published numbers of a matrix whose weights nobody has: beside those of random matrices of the same sizes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgolf.errors import ConfigError, suggest
from pgolf.inspect.random_reference import DRAWS, Compared, reference
from pgolf.inspect.report import NAMES, number_text, sizes_text, table
from pgolf.inspect.spectra import MEASURES

MOST_SIZE = 1_000_000
MOST_RANK = 4096  # a draw takes the cube of it


@dataclass(frozen=True)
class Published:
    """Random matrices of a structure, and published values beside them.

    ranges: (lowest, highest) by measure. energy: (rank, lowest, highest share of the energy in that rank).
    """

    sizes: tuple[int, ...]
    draws: int
    ranges: dict[str, tuple[float, float]]
    energy: tuple[tuple[int, float, float], ...]
    values: tuple[tuple[str, Compared], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "sizes": list(self.sizes),
            "draws": self.draws,
            "random": {name: list(ends) for name, ends in self.ranges.items()},
            "energy": [{"rank": rank, "random_low": low, "random_high": high} for rank, low, high in self.energy],
            "values": [{"measure": name, **found.to_dict()} for name, found in self.values],
        }

    def lines(self) -> list[str]:
        """A table for a terminal."""
        rows = [[f"{self.draws} random {sizes_text(self.sizes)}", "lowest", "highest"]]
        rows += [[f"  {NAMES[name]}", *map(number_text, ends)] for name, ends in self.ranges.items()]
        rows += [[f"  energy in rank {rank}", f"{low:.1%}", f"{high:.1%}"] for rank, low, high in self.energy]
        return [*table(rows), *(self.verdict(name, found) for name, found in self.values)]

    def verdict(self, name: str, found: Compared) -> str:
        """What a published value is beside the random ones."""
        where = "outside the range of the random ones" if found.outside else "as of a random matrix"
        far = "" if found.sds is None else f" ({found.sds:+.1f} sd of the draws)"
        return f"published {NAMES[name]} {number_text(found.value)}: {where}{far}"


def sizes_of(text: str) -> tuple[int, ...]:
    """`512x512`, or `512x192x512` for a product through 192. Raises ConfigError."""
    if not re.fullmatch(r"[1-9]\d{0,6}(x[1-9]\d{0,6}){1,2}", text):
        raise ConfigError(f"SIZES: is not a matrix or a product ({text:.60}). Write 512x512, or 512x192x512")
    sizes = tuple(map(int, text.split("x")))
    if max(sizes) > MOST_SIZE or min(sizes) > MOST_RANK:
        raise ConfigError(f"SIZES: is too large ({text}). Choose sides to {MOST_SIZE:,} and a rank to {MOST_RANK:,}")
    return sizes


def value_of(text: str) -> tuple[str, float]:
    """`effective_rank=114`. Raises ConfigError."""
    name, _, number = text.partition("=")
    if name not in MEASURES:
        names = ", ".join(MEASURES)
        raise ConfigError(f"--values: no such measure ({name:.60}).{suggest(name, MEASURES)} Measures: {names}")
    if not re.fullmatch(r"\d{1,15}(\.\d{1,15})?(e\d{1,2})?", number) or not 0 < float(number) < 1e18:
        raise ConfigError(f"--values: needs a number above 0 ({text:.60}). Write {name}=114")
    return name, float(number)


def published(sizes: tuple[int, ...], values: Sequence[str], ranks: Sequence[int], draws: int = DRAWS) -> Published:
    """Random matrices of some sizes, and published values beside them. ranks: whose energy is shown.

    Raises ConfigError.
    """
    pairs, most = [value_of(text) for text in values], min(sizes)
    for rank in ranks:
        if not 1 <= rank <= most:
            raise ConfigError(f"--ranks: these matrices have no rank {rank}. Choose from 1 to {most}")
    random = reference(sizes, draws)
    ranges = {name: (float(random.numbers(name).min()), float(random.numbers(name).max())) for name in MEASURES}
    energy = [(rank, float(random.energy_low[rank - 1]), float(random.energy_high[rank - 1])) for rank in ranks]
    return Published(sizes, draws, ranges, tuple(energy), tuple((name, random.compare(name, at)) for name, at in pairs))
