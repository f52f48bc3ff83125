"""Checks that execute a language model and its training instead of reading their source.

Each function takes plain callables, tensors or arrays of any trainer and returns a `Report`; reports add up. Nothing
here imports Hydra or a model of pgolf. The code that is audited runs in this process: audit only code that you trust.
"""

from pgolf.audit.coverage import windows
from pgolf.audit.data import split
from pgolf.audit.model import model
from pgolf.audit.recorder import Recorder
from pgolf.audit.report import AuditError, Check, Report, Verdict
from pgolf.audit.score import byte_table
from pgolf.audit.score_first import score_first
from pgolf.audit.training import training

__all__ = [
    "AuditError",
    "Check",
    "Recorder",
    "Report",
    "Verdict",
    "byte_table",
    "model",
    "score_first",
    "split",
    "training",
    "windows",
]
