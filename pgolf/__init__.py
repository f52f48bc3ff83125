"""pgolf: ablation studies on small language models under the rules of the parameter-golf challenge."""

import os

from pgolf.machine.interrupts import is_command, leave_when_interrupted

__version__ = "0.1.0"

# The one side effect of importing pgolf: waiting OpenMP threads sleep instead of spinning. It must be set before torch
# loads the library, which reads it once. Spinning, the default, makes a run several times slower as soon as another
# process needs a core (LOG.md has the figures).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if is_command():  # imports take seconds, and an interrupt during them would print a traceback of torch or Hydra
    leave_when_interrupted()
