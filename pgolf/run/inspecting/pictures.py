"""The pictures of an inspection: spectra and energies beside random matrices, ranks during training, truncation."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pgolf.errors import PgolfError
from pgolf.inspect.random_reference import reference
from pgolf.inspect.report import Entry, label_in, panels, sizes_text
from pgolf.inspect.spectra import energy_by_rank
from pgolf.inspect.truncate import CUTS, Truncation
from pgolf.machine.files import unwritten, write_lines
from pgolf.pages.figures.export import Picture, svg, write_png
from pgolf.pages.figures.spectra import Band, Line, draw
from pgolf.pages.figures.style import quiet
from pgolf.run.inspecting.parts import Inspection, groups_of

RATIO = "singular value / largest"
FLOOR = 1e-8  # lower limit of s / s_1 in pictures: the rest is rounding of float32


def slug(text: str) -> str:
    """A text as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def pictures(found: Inspection) -> list[Picture]:
    """Every picture of an inspection except those of a truncation."""
    with quiet():
        made = [
            picture for title, members in panels(found.entries) for picture in of_panel(title, members, found.draws)
        ]
        if found.recorded:
            made.append(of_training(found))
    return made


def of_panel(title: str, members: Sequence[Entry], draws: int) -> list[Picture]:
    """Spectrum and energy by rank of one panel. Zero matrices are left out."""
    members = [entry for entry in members if entry.values[0] > 0]
    if not members:
        return []
    random = reference(members[0].matrix.factors.sizes, draws)
    ranks = tuple(float(k) for k in range(1, len(random.low) + 1))
    spectra = [
        Line(label_in(entry), ranks, tuple(map(float, np.maximum(entry.values / entry.values[0], FLOOR))))
        for entry in members
    ]
    energies = [Line(label_in(entry), ranks, tuple(map(float, energy_by_rank(entry.values)))) for entry in members]
    what = f"{title}, {sizes_text(members[0].matrix.factors.sizes)}"
    note = f" Grey: the range of {draws} random matrices."
    spectrum_band = Band(ranks, tuple(map(float, random.low)), tuple(map(float, random.high)))
    energy_band = Band(ranks, tuple(map(float, random.energy_low)), tuple(map(float, random.energy_high)))
    about = "; ".join(
        f"{label_in(entry)}: effective rank {entry.compared['effective_rank'].value or 0:.1f}, rank for 95% of the "
        f"energy {entry.compared['energy_rank_95'].value or 0:.0f}"
        for entry in members
    )
    return [
        Picture(
            f"spectrum-{slug(title)}",
            f"{what}: singular values relative to the largest",
            f"{about}.{note}",
            draw(spectra, "number of the singular value", RATIO, band=spectrum_band, log=True),
        ),
        Picture(
            f"energy-{slug(title)}",
            f"{what}: share of the energy in the largest singular values",
            f"{about}.{note}",
            draw(energies, "rank", "share of the energy", band=energy_band),
        ),
    ]


def of_training(found: Inspection) -> Picture:
    """The mean effective rank of each slot by step."""
    lines = [
        Line(slot, tuple(map(float, by_step)), tuple(sum(values) / len(values) for values in by_step.values()))
        for slot, by_step in groups_of(found.recorded).items()
    ]
    about = "; ".join(f"{line.name} {line.y[0]:.1f} to {line.y[-1]:.1f}" for line in lines)
    title = "Effective rank during training, mean over the matrices of a slot"
    return Picture("effective-rank-by-step", title, f"{about}.", draw(lines, "step", "effective rank"))


def truncation_pictures(found: Truncation) -> list[Picture]:
    """The score by rank, and by the share of the energy that each cut keeps."""
    by_rank, by_energy = [], []
    for by in CUTS:
        cuts = [cut for cut in found.cuts if cut.by == by]
        scores = tuple(cut.bpb for cut in cuts)
        energies = tuple(cut.weight_energy if by == CUTS[0] else cut.activation_energy for cut in cuts)
        by_rank.append(Line(f"by {by}", tuple(float(cut.rank) for cut in cuts), scores))
        by_energy.append(Line(f"by {by}", energies, scores))
    about = "; ".join(f"rank {cut.rank} by {cut.by} {cut.bpb:.4f}" for cut in found.cuts)
    with quiet():
        return [
            Picture(
                "truncation-rank",
                "Bits per byte with the queries cut to a rank, without training",
                f"Uncut {found.bpb:.4f}; {about}.",
                draw(by_rank, "rank of Q", "bits per byte", level=found.bpb),
            ),
            Picture(
                "truncation-energy",
                "Bits per byte by the share of the energy that the cut keeps",
                f"Uncut {found.bpb:.4f}; {about}.",
                draw(by_energy, "kept share of the energy that the cut is best for", "bits per byte", level=found.bpb),
            ),
        ]


def write_pictures(made: Sequence[Picture], folder: Path) -> list[Path]:
    """Write each picture as SVG and PNG. Returns the paths of the SVG files. Raises PgolfError."""
    paths = []
    for picture in made:
        path = folder / f"{picture.name}.svg"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_lines(path, [svg(picture) + "\n"])
        except OSError as error:
            raise PgolfError(f"--figures: {unwritten(error, path)}. Choose another folder") from None
        write_png(picture, folder)
        paths.append(path)
    return paths
