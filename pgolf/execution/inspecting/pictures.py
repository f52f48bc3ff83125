"""The pictures of an inspection: spectra and energies beside random matrices, ranks during training, truncation."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pgolf.errors import PgolfError
from pgolf.execution.inspecting.parts import Inspection, groups_of
from pgolf.inspect.random_reference import reference
from pgolf.inspect.report import Entry, label_in, panels, sizes_text
from pgolf.inspect.spectra import energy_by_rank
from pgolf.inspect.truncate import CUTS, WEIGHT, Truncation
from pgolf.machine.files import unwritten, write_lines
from pgolf.pages.figures.export import svg, write_png
from pgolf.pages.figures.spectra import Band, Line, Panel, picture_of

MOST_POINTS = 128  # of one line
FLOOR = 1e-8  # lower limit of s / s_1 in pictures: the rest is rounding of float32


def slug(text: str) -> str:
    """A text as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def inspection_panels(found: Inspection) -> list[Panel]:
    """Every picture of an inspection except those of a truncation."""
    of_panels = (of_panel(title, members, found.draws) for title, members in panels(found.entries))
    made = [picture for panel in of_panels for picture in panel]
    return [*made, *([of_training(found)] if found.recorded else [])]


def thinned(count: int) -> list[int]:
    """The indices of the points of a long line that are drawn: evenly spaced, with the first and the last."""
    return sorted({round(i * (count - 1) / (MOST_POINTS - 1)) for i in range(MOST_POINTS)}) if count > 1 else [0]


def of_panel(title: str, members: Sequence[Entry], draws: int) -> list[Panel]:
    """Spectrum and energy by rank of one panel. Zero matrices are left out."""
    members = [entry for entry in members if entry.values[0] > 0]
    if not members:
        return []
    random = reference(members[0].matrix.factors.sizes, draws)
    shown = thinned(len(random.low))
    ranks = tuple(float(k + 1) for k in shown)

    def numbers(values: np.ndarray) -> tuple[float, ...]:
        return tuple(float(values[k]) for k in shown)

    def lines(of_values: Callable[[np.ndarray], np.ndarray]) -> tuple[Line, ...]:
        return tuple(Line(label_in(entry), ranks, numbers(of_values(entry.values))) for entry in members)

    sizes = sizes_text(members[0].matrix.factors.sizes)
    what = title if title.endswith(sizes) else f"{title}, {sizes}"
    about = "; ".join(
        f"{label_in(entry)}: effective rank {entry.compared['effective_rank'].value or 0:.1f}, rank for 95% of the "
        f"energy {entry.compared['energy_rank_95'].value or 0:.0f}"
        for entry in members
    )
    about += f". Grey: the range of {draws} random matrices."
    spectra, energies = lines(lambda values: np.maximum(values / values[0], FLOOR)), lines(energy_by_rank)
    random_spectra = Band(ranks, numbers(np.maximum(random.low, FLOOR)), numbers(np.maximum(random.high, FLOOR)))
    random_energies = Band(ranks, numbers(random.energy_low), numbers(random.energy_high))
    return [
        Panel(
            f"spectrum-{slug(title)}",
            f"{what}: singular values relative to the largest",
            about,
            "number of the singular value",
            "singular value / largest",
            spectra,
            (random_spectra,),
            log=True,
        ),
        Panel(
            f"energy-{slug(title)}",
            f"{what}: share of the energy in the largest singular values",
            about,
            "rank",
            "share of the energy",
            energies,
            (random_energies,),
        ),
    ]


def of_training(found: Inspection) -> Panel:
    """The mean effective rank of each slot by step."""
    lines = []
    for slot, by_step in groups_of(found.recorded).items():
        means = [(float(step), sum(values) / len(values)) for step, values in sorted(by_step.items())]
        shown = [means[k] for k in thinned(len(means))]
        lines.append(Line(slot, tuple(step for step, _ in shown), tuple(mean for _, mean in shown)))
    about = "; ".join(f"{line.name} {line.y[0]:.1f} to {line.y[-1]:.1f}" for line in lines)
    title = "Effective rank during training, mean over the matrices of a slot"
    return Panel("effective-rank-by-step", title, f"{about}.", "step", "effective rank", tuple(lines))


def truncation_panels(found: Truncation) -> list[Panel]:
    """The score by rank, and by the share of the energy that each cut keeps."""
    by_rank, by_energy = [], []
    for by in CUTS:
        cuts = [cut for cut in found.cuts if cut.by == by]
        scores = tuple(cut.bpb for cut in cuts)
        energies = tuple(cut.weight_energy if by == WEIGHT else cut.activation_energy for cut in cuts)
        by_rank.append(Line(f"by {by}", tuple(float(cut.rank) for cut in cuts), scores))
        by_energy.append(Line(f"by {by}", energies, scores))
    about = "; ".join(f"rank {cut.rank} by {cut.by} {cut.bpb:.4f}" for cut in found.cuts)
    about = f"Uncut {found.bpb:.4f}; {about}."
    return [
        Panel(
            "truncation-rank",
            "Bits per byte with the queries cut to a rank, without training",
            about,
            "rank of Q",
            "bits per byte",
            tuple(by_rank),
            level=found.bpb,
        ),
        Panel(
            "truncation-energy",
            "Bits per byte by the share of the energy that the cut keeps",
            about,
            "kept share of the energy that the cut is best for",
            "bits per byte",
            tuple(by_energy),
            level=found.bpb,
        ),
    ]


def write_pictures(made: Sequence[Panel], folder: Path) -> list[Path]:
    """Write each picture as SVG and PNG. Returns the paths of the SVG files. Raises PgolfError."""
    paths = []
    for panel in made:
        picture = picture_of(panel)
        path = folder / f"{picture.name}.svg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_lines(path, [svg(picture) + "\n"])
        except OSError as error:
            raise PgolfError(f"--figures: {unwritten(error, path)}. Choose another folder") from None
        write_png(picture, folder)
        paths.append(path)
    return paths
