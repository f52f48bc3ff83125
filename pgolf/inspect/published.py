"""Published numbers of a matrix whose weights nobody has: beside those of random matrices of the same sizes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pgolf.errors import ConfigError, suggest
from pgolf.inspect.factored import Factors, condition_in_float32
from pgolf.inspect.random_reference import DRAWS, SEED, Compared, reference
from pgolf.inspect.report import NAMES, forced_text, number_text, sizes_text, table
from pgolf.inspect.spectra import FLOAT32_EPS, MEASURES
from pgolf.nn.primitives import seed_of

MOST_SIZE = 1_000_000
MOST_RANK = 4096  # a draw takes the cube of it
FORMED = 3  # random products that are formed in float32
MOST_FORMED = 1024  # the largest side of such a product


@dataclass(frozen=True)
class Published:
    """Random matrices of a structure, and published values beside them.

    ranges: (lowest, highest) by measure. energy: (rank, lowest, highest share of the energy in that rank).
    forced_zeros: singular values of a formed product that are zero because of its factors. float32_conditions:
    condition numbers over the full size of random products with such zeros, formed in float32; none for large ones.
    """

    sizes: tuple[int, ...]
    draws: int
    ranges: dict[str, tuple[float, float]]
    energy: tuple[tuple[int, float, float], ...]
    values: tuple[tuple[str, Compared], ...]
    forced_zeros: int
    float32_conditions: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "sizes": list(self.sizes),
            "draws": self.draws,
            "random": {name: list(ends) for name, ends in self.ranges.items()},
            "energy": [{"rank": rank, "random_low": low, "random_high": high} for rank, low, high in self.energy],
            "values": [{"measure": name, **found.to_dict()} for name, found in self.values],
            "forced_zeros": self.forced_zeros,
            "float32_conditions": list(self.float32_conditions),
        }

    def lines(self) -> list[str]:
        """A table for a terminal."""
        rows = [[f"{self.draws} random {sizes_text(self.sizes)}", "lowest", "highest"]]
        rows += [[f"  {NAMES[name]}", *map(number_text, ends)] for name, ends in self.ranges.items()]
        rows += [[f"  energy in rank {rank}", f"{low:.1%}", f"{high:.1%}"] for rank, low, high in self.energy]
        forced = [forced_text(self.sizes, self.forced_zeros, self.float32_conditions)] if self.forced_zeros else []
        return [*table(rows), *forced, *(self.verdict(name, found) for name, found in self.values)]

    def verdict(self, name: str, found: Compared) -> str:
        """What a published value is beside the random ones."""
        where = "outside the range of the random ones" if found.outside else "as of a random matrix"
        far = "" if found.sds is None else f" ({found.sds:+.1f} sd of the draws)"
        of = " over the structural rank" if self.forced_zeros and name == "condition_number" else ""
        is_forced = bool(of) and found.value is not None and found.value >= 1 / FLOAT32_EPS
        or_forced = "; forced, if it is over the full size" if is_forced else ""
        return f"published {NAMES[name]} {number_text(found.value)}: {where}{of}{far}{or_forced}"


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
    compared = tuple((name, random.compare(name, at)) for name, at in pairs)
    zeros = min(sizes[0], sizes[-1]) - min(sizes)
    formed = float32_conditions(sizes) if zeros else ()
    return Published(sizes, draws, ranges, tuple(energy), compared, zeros, formed)


def float32_conditions(sizes: tuple[int, ...]) -> tuple[float, ...]:
    """Condition numbers over the full size of random products (M, R, N), formed in float32; none for large ones."""
    if max(sizes) > MOST_FORMED:
        return ()
    generator = torch.Generator().manual_seed(seed_of(SEED, f"formed product {sizes}"))
    rows, inner, columns = sizes
    found = []
    for _ in range(FORMED):
        left, right = (torch.randn(shape, generator=generator) for shape in ((rows, inner), (inner, columns)))
        found.append(condition_in_float32(Factors((left, right))))
    return tuple(condition for condition in found if condition is not None)
