"""The coefficients of `model.resid_mix_init=legendre` from a trained run: `python benchmarks/resid_mix_fit.py RUN`.

RUN is the folder of a run with launch.keep_weights=true and at least six blocks. Each block's resid_mix [2, D] is
averaged over D. Printed are the least-squares coefficients of order 4, R2, R2 adjusted for the five numbers of the fit,
and the means. Of white noise at nine blocks, a fit of order 4 has an R2 of 0.5 on average, and an adjusted one of 0.
"""

import numpy as np

from pgolf.command import OK, Parser, place, run
from pgolf.errors import PgolfError
from pgolf.inspect.mixing import legendre_fit
from pgolf.nn.resid_mix import FEWEST_LAYERS
from pgolf.training.checkpoint import WEIGHTS, load_weights


def main(arguments: list[str]) -> int:
    parser = Parser(prog="resid_mix_fit", description=__doc__)
    parser.add_argument("run", type=place)
    folder = parser.parse_args(arguments).run
    weights = load_weights(folder, WEIGHTS)
    layers = sum(name.endswith(".resid_mix") for name in weights)
    if layers < FEWEST_LAYERS:
        raise PgolfError(f"{folder}: has {layers} blocks with residual mixing. Fit a run of {FEWEST_LAYERS} or more")
    mixes = [weights[f"model.gains.{layer}.resid_mix"].double() for layer in range(layers)]
    for row, name in enumerate(("keep", "first")):
        mean_L = np.array([float(mix[row].mean()) for mix in mixes])
        sd_L = [float(mix[row].std()) for mix in mixes]
        found = legendre_fit(mean_L)
        print(f"resid_mix_legendre_{name}: [{', '.join(f'{c:.4g}' for c in found.coefficients)}]")
        if found.r2 is not None:  # the means differ
            print(f"  R2 {found.r2:.2f}, adjusted {found.adjusted_r2:.2f}")
        print(f"  means over D: {', '.join(f'{m:.3f}' for m in mean_L)}")
        print(f"  sd over D:    {', '.join(f'{s:.3f}' for s in sd_L)}")
    return OK


if __name__ == "__main__":
    run(main)
