"""From a command line to a checked configuration and its objects. Only this folder and `sweep` import Hydra."""
