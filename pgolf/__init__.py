"""pgolf: ablation studies on small language models under the rules of the parameter-golf challenge."""

import os
import sys
from typing import TYPE_CHECKING, Any

from pgolf.machine.interrupts import is_command, leave_when_interrupted

if TYPE_CHECKING:
    from pgolf import errors as errors
    from pgolf.api import figures as figures
    from pgolf.api.comparison import compare as compare
    from pgolf.api.results import load as load
    from pgolf.api.running import run as run
    from pgolf.sample.artifact import open_artifact as open_artifact

__version__ = "0.1.0"
__all__ = ["__version__", "compare", "errors", "figures", "load", "open_artifact", "run"]

# The side effects of importing pgolf are two settings, which must be there before torch loads its libraries.
# Waiting OpenMP threads sleep instead of spinning. Spinning, the default, makes a run several times slower as soon as
# another process needs a core (LOG.md has the figures).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if sys.platform == "darwin":  # operators that Apple's GPUs lack run on the CPU, with a warning of torch
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")

if is_command():  # imports take seconds, and an interrupt during them would print a traceback of torch or Hydra
    leave_when_interrupted()

# The Python API (docs/api.md): each name's module, or module:attribute, imported at the first use.
API = {
    "compare": "pgolf.compare",  # the module is the function: see pgolf.api.callable_module
    "errors": "pgolf.errors",
    "figures": "pgolf.api.figures",
    "load": "pgolf.api.results:load",
    "open_artifact": "pgolf.sample.artifact:open_artifact",
    "run": "pgolf.api.running:run",
}


def __getattr__(name: str) -> Any:
    if name not in API:
        raise AttributeError(f"module 'pgolf' has no attribute {name!r}")
    from importlib import import_module

    path, _, attribute = API[name].partition(":")
    module = import_module(path)
    value = globals()[name] = getattr(module, attribute) if attribute else module
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *API})
