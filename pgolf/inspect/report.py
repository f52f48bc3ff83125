"""The matrices of a model with their measures, beside those of random matrices: as plain data and as a table."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pgolf.inspect.factored import condition_in_float32
from pgolf.inspect.grouping import Matrix, heads_of, layers_text, matrices
from pgolf.inspect.random_reference import DRAWS, Compared, compare_all, reference
from pgolf.inspect.spectra import MEASURES, measures, numerical_rank
from pgolf.nn.gpt import GPT

TITLES = ("", "sizes", "rank", "condition", "stable", "effective", "of squares", "participation", "90%", "95%", "99%")
NAMES = dict(
    zip(
        MEASURES,
        (
            "condition number",
            "stable rank",
            "effective rank",
            "effective rank of squares",
            "participation ratio",
            *(f"rank for {level}% of the energy" for level in (90, 95, 99)),
        ),
        strict=True,
    )
)


@dataclass(frozen=True)
class Entry:
    """One matrix. values: its singular values [r]. compared: its measures, by name. heads: its slices, for Q and K.

    float32_condition: the condition number over the full size as float32 arithmetic gives it, where the factors force
    singular values to zero: it is rounding, and says nothing about the weights.
    """

    matrix: Matrix
    values: np.ndarray
    compared: dict[str, Compared]
    float32_condition: float | None
    heads: tuple["Entry", ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        factors = self.matrix.factors
        full = None
        if factors.forced_zeros:
            full = {"forced": True, "zeros": factors.forced_zeros, "float32_arithmetic": self.float32_condition}
        return {
            "name": self.matrix.name,
            "group": self.matrix.group,
            "part": self.matrix.part,
            "layers": list(self.matrix.layers),
            "head": self.matrix.head,
            "sizes": list(factors.sizes),
            "structural_rank": factors.rank,
            "numerical_rank": numerical_rank(self.values),
            "measures": {name: found.to_dict() for name, found in self.compared.items()},
            "condition_over_full_size": full,
            "singular_values": [float(value) for value in self.values],
            "heads": [head.to_dict() for head in self.heads],
        }


def entry_of(matrix: Matrix, draws: int, heads: Sequence[Matrix] = ()) -> Entry:
    """One matrix of finite weights with its measures."""
    values = matrix.factors.values()
    return Entry(
        matrix,
        values,
        compare_all(measures(values), reference(matrix.factors.sizes, draws)),
        condition_in_float32(matrix.factors) if matrix.factors.forced_zeros else None,
        tuple(entry_of(head, draws) for head in heads),
    )


def entries(model: GPT, draws: int = DRAWS) -> list[Entry]:
    """Every matrix of a model. draws: random matrices per structure."""
    found = []
    for matrix in matrices(model):
        head_dim, rows = model.dims.head_dim, matrix.factors.sizes[0]
        has_heads = matrix.group in ("Q", "K") and rows > head_dim and rows % head_dim == 0
        found.append(entry_of(matrix, draws, list(heads_of(matrix, head_dim)) if has_heads else ()))
    return found


def panels(found: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """(title, entries) of matrices of one group, part and structure, which share a random reference.

    The title has the sizes where a part has several structures, such as queries of a rank per layer.
    """

    def key(entry: Entry) -> tuple[str, str, tuple[int, ...]]:
        return entry.matrix.group, entry.matrix.part, entry.matrix.factors.sizes

    order = {name: number for number, name in enumerate(dict.fromkeys(map(key, found)))}
    structures = Counter((group, part) for group, part, _ in order)
    for (group, part, sizes), members in groupby(sorted(found, key=lambda entry: order[key(entry)]), key=key):
        title = f"{group} {part}".strip()
        yield title if structures[group, part] == 1 else f"{title} {sizes_text(sizes)}", list(members)


def number_text(value: float | None) -> str:
    """A measure as text: whole numbers without decimals, large ones with an exponent."""
    if value is None:
        return "-"
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 1000 or float(value).is_integer() else f"{value:.1f}"


def sizes_text(sizes: Sequence[int]) -> str:
    """`512x512`, or `512x192x512` for a product through 192."""
    return "x".join(map(str, sizes))


def row_of(label: str, entry: Entry) -> list[str]:
    factors = entry.matrix.factors
    cells = [number_text(found.value) + ("*" if found.outside else " ") for found in entry.compared.values()]
    return [label, sizes_text(factors.sizes), str(factors.rank), *cells]


def random_rows(entry: Entry, draws: int) -> list[list[str]]:
    """The lowest and the highest of the random matrices, one row each."""
    lows = [number_text(found.low) + " " for found in entry.compared.values()]
    highs = [number_text(found.high) + " " for found in entry.compared.values()]
    return [[f"  lowest of {draws} random", "", "", *lows], [f"  highest of {draws} random", "", "", *highs]]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of one number of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def label_in(entry: Entry) -> str:
    """The label of a matrix in its panel, whose title has the part."""
    return layers_text(entry.matrix.layers) or entry.matrix.name.removeprefix("model.").removesuffix(".weight")


def matrix_lines(found: Sequence[Entry], draws: int, *, with_heads: bool) -> list[str]:
    """The table of all matrices, panel by panel. with_heads: one row per head of Q and K too."""
    rows: list[list[str]] = [list(TITLES)]
    for title, members in panels(found):
        rows += [[title] + [""] * (len(TITLES) - 1)]
        rows += [row_of(f"  {label_in(entry)}", entry) for entry in members]
        rows += random_rows(members[0], draws)
        heads = [head for entry in members for head in entry.heads]
        if with_heads and heads:
            rows += [[f"{title}, one head"] + [""] * (len(TITLES) - 1)]
            rows += [row_of(f"  {head.matrix.label}", head) for head in heads]
            rows += random_rows(heads[0], draws)
    return table(rows)


def remarkable_lines(found: Sequence[Entry]) -> list[str]:
    """A table with one row per panel that has matrices outside the random range: how many have a measure there, and how
    far the furthest of them is in each measure. Empty without such matrices.
    """
    rows = [["", "matrices", *TITLES[3:]]]
    for title, members in panels(found):
        heads = [head for entry in members for head in entry.heads]
        for name, group in ((title, members), (f"{title}, one head", heads)):
            outside = sum(any(one.outside for one in entry.compared.values()) for entry in group)
            if outside:
                rows.append([name, f"{outside} of {len(group)}", *(furthest(measure, group) for measure in MEASURES)])
    return table(rows) if len(rows) > 1 else []


def furthest(measure: str, members: Sequence[Entry]) -> str:
    """The largest distance of a matrix outside the random range in one measure, in sds of the draws: `-2.1`, or `±2.1`
    if there are matrices on both sides; only the side if all draws are equal; empty if none is outside.
    """
    outside = [entry.compared[measure] for entry in members if entry.compared[measure].outside]
    if not outside:
        return ""
    sides = {"below" if (found.value or 0) < (found.low or 0) else "above" for found in outside}
    distances = [found.sds for found in outside if found.sds is not None]
    if not distances:
        return " or ".join(sorted(sides))
    far = max(distances, key=abs)
    return f"±{abs(far):.1f}" if len(sides) > 1 else f"{far:+.1f}"


def forced_lines(found: Sequence[Entry]) -> list[str]:
    """The singular values of zero of each product, which force its condition number over the full size."""
    lines = []
    for title, members in panels(found):
        factors = members[0].matrix.factors
        if not factors.forced_zeros:
            continue
        numbers = [entry.float32_condition for entry in members if entry.float32_condition is not None]
        ends = " to ".join(dict.fromkeys(f"{end:.1e}" for end in (min(numbers), max(numbers)))) if numbers else ""
        in_float32 = f"; the product formed in float32 has {ends}" if ends else ""
        lines.append(f"{title}: {sizes_text(factors.sizes)} has {factors.forced_zeros} zeros{in_float32}")
    return lines


def forced_text(sizes: Sequence[int], zeros: int, float32_conditions: Sequence[float]) -> str:
    """Why a condition number over the full size of a product says nothing. zeros: `Factors.forced_zeros`.

    float32_conditions: `condition_in_float32` of some products of these sizes; none: no such number is shown.
    """
    numbers = float32_conditions
    in_float32 = (
        f" In float32 the formed product gives {min(numbers):.1e} to {max(numbers):.1e}, which is rounding."
        if numbers
        else ""
    )
    return (
        f"the condition number over the full size is forced: a product {sizes_text(sizes)} has {zeros} singular values "
        f"of zero.{in_float32}"
    )
