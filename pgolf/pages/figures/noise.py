"""The noise between seeds of several studies: one dot per arm, and the pooled value with its interval."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pgolf.pages.calibration import StudyNoise
from pgolf.pages.figures.export import Picture
from pgolf.pages.figures.style import INK, RULE, WIDTH, axes, blank, look_of, quiet, shorten, width_of, write, x_title

ROW, TOP, BOTTOM, RIGHT = 30.0, 12.0, 40.0, 14.0
BELOW = 0.26  # of a row: from the pooled value down to the dots
NAME = "noise"


def noise_picture(noises: Sequence[StudyNoise]) -> Picture | None:
    """One row per study; None without a standard deviation."""
    known = [noise for noise in noises if noise.pooled.sd]
    if not known:
        return None
    text = "; ".join(f"{noise.name} {noise.pooled.sd:.4f} over {len(noise.arms)} arms" for noise in known)
    with quiet():
        figure = draw(known)
    return Picture(NAME, "Standard deviation between seeds, by study", f"Pooled: {text}.", figure)


def draw(noises: Sequence[StudyNoise]) -> Figure:
    """The picture. noises: with a pooled standard deviation above 0."""
    names = shorten([noise.name for noise in noises])
    left = 22 + max(map(width_of, names))
    figure = blank(TOP + BOTTOM + ROW * len(noises))
    ax = axes(figure, left=left, right=RIGHT, top=TOP, bottom=BOTTOM)
    ax.set_xscale("log")
    ax.set_ylim(len(noises) - 0.5, -0.5)
    ax.grid(axis="x", color=RULE, linewidth=0.8)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    height = 72 * float(figure.get_size_inches()[1])
    for at, (noise, name) in enumerate(zip(noises, names, strict=True)):
        look = look_of(at)
        write(figure, left - 8, height - TOP - ROW * (at + 0.5), name, ha="right", va="center_baseline")
        sds = [of_arm.sd for _, of_arm in noise.arms if of_arm.sd]
        ax.scatter(sds, [at + BELOW] * len(sds), s=11, color=look.colour, linewidth=0)
        if (interval := noise.pooled.interval()) is not None:
            ax.plot(interval, [at, at], color=look.colour, linewidth=2.0, solid_capstyle="butt")
        ax.plot([noise.pooled.sd or 0.0], [at], look.marker, color=look.colour, markersize=6.5)
        if noise.smallest_effect_bpb is not None:
            ax.plot([noise.smallest_effect_bpb] * 2, [at - 0.35, at + 0.35], color=INK, linewidth=1.0)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    x_title(figure, (left + WIDTH - RIGHT) / 2, "sd between seeds, bpb")
    return figure
