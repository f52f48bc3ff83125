"""A command's module that is also the function of the same name in the Python API.

`import pgolf.compare` binds the module to the name `compare` of the package, whatever the package has put there. So
the module itself can be called, and `pgolf.compare` is one object however it was reached.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from pgolf.api.comparison import Comparison
    from pgolf.api.results import Source


class Compare(ModuleType):
    """The module `pgolf.compare`: `pgolf.compare(runs)` is `pgolf.api.comparison.compare`."""

    def __call__(
        self,
        runs: "Source | pd.DataFrame",
        baseline: "str | pd.DataFrame | None" = None,
        *,
        paired: bool = False,
        smallest_effect_bpb: float | None = None,
    ) -> "Comparison":
        """The difference of each arm to its baseline in bits per byte: see `pgolf.api.comparison.compare`."""
        from pgolf.api.comparison import compare  # not above: the command needs no pandas

        return compare(runs, baseline, paired=paired, smallest_effect_bpb=smallest_effect_bpb)


def make_callable(name: str) -> None:
    """Let the module of this name be called as `Compare` is."""
    sys.modules[name].__class__ = Compare
