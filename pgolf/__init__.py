"""pgolf: ablation studies on small language models under the rules of the parameter-golf challenge."""

import os

from pgolf.machine.interrupts import is_command, leave_when_interrupted

__version__ = "0.1.0"

# The one side effect of importing pgolf, set before torch loads its OpenMP library, which reads it once: threads that
# wait give their core away. Spinning, the default, makes a run several times slower as soon as another process wants a
# core (LOG.md has the figures).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if is_command():  # the imports take seconds, and an interrupt among them would be a traceback of torch's or Hydra's
    leave_when_interrupted()
