"""What limits the use of a score, as data: caveats that stand beside a score, and refusals that replace a result.

Code decides by their kind. Their text is for readers alone.
"""

from dataclasses import dataclass
from enum import Enum

FEWEST_SEEDS = 3  # below which the score of an arm has a caveat and a claim no verdict


class CaveatKind(Enum):
    """The kinds of caveats. value: the heading under which the warnings list all caveats of this kind."""

    FAILED = "failed runs"
    DIVERGED = "diverged runs"
    INTERRUPTED = "interrupted runs"
    PRUNED = "runs that a search stopped"
    MISSING = "missing runs"
    DAMAGED = "damaged records"
    FOREIGN = "records of other runs"
    NO_SCORE = "ok records without a finite score are left out"
    COPIED_SEED = "records of another seed are left out"
    DUPLICATE = "one configuration and seed recorded more than once"
    MIXED_CODE = "code not the same for all seeds of an arm"
    MIXED_DATA = "training data not the same for all seeds of an arm"
    MIXED_DEVICES = "devices not the same for all seeds of an arm"
    MIXED_BUDGET = "budget not the same for all seeds of an arm"
    MIXED_VALUES = "values that a configuration determines, and that are not the same for all seeds of an arm"
    EQUAL_SEEDS = "all seeds of an arm have exactly the same score: does the seed have an effect?"
    RECORD_WARNING = "records with warnings"
    AUDIT = "runs with a broken rule in their audit"
    ADDED_SEEDS = "seeds that were added to those that the study planned, so that its test finds too much"
    UNPLANNED_SEED = "counted seeds that are not in the current sweep plan"
    UNPLANNED = "configurations that are not in the current sweep plan"
    NO_MEAN = "arms whose seeds have no common mean"
    FEW_SEEDS = f"fewer than {FEWEST_SEEDS} seeds"
    SEVERAL_NAMES = "arms with several names for one configuration"
    OTHER_TOKENIZER = "arms with another tokenizer than their baseline: nats are not compared"
    OTHER_DATA = "arms with other training data than their baseline"
    OTHER_DEVICE = "arms on another device than their baseline"
    OTHER_PRECISION = "arms that train in another precision than their baseline"
    OTHER_CODE = "arms whose code differs, or may differ, from their baseline's"
    OTHER_BUDGET = "arms with another budget than their baseline"
    OTHER_ORDER = "arms that see the data in another order than their baseline at the same seeds"
    NO_DIFFERENCE = "arms without a difference to their baseline"
    SEEDS_WITHOUT_PAIR = "paired tests that leave seeds out"
    SHARED_CHECKPOINTS = "arms that share their baseline's checkpoints: paired test"
    EQUAL_SCORES = "arms with exactly the scores of their baseline: does what differs have an effect?"
    NO_TEST = "comparisons without a test"


@dataclass(frozen=True)
class Caveat:
    """Something that a reader must know about an arm. text: for the column of notes."""

    kind: CaveatKind
    text: str


BY_STATUS = {
    "failed": CaveatKind.FAILED,
    "diverged": CaveatKind.DIVERGED,
    "interrupted": CaveatKind.INTERRUPTED,
    "pruned": CaveatKind.PRUNED,
    "missing": CaveatKind.MISSING,
    "damaged": CaveatKind.DAMAGED,
    "foreign": CaveatKind.FOREIGN,
}


class RefusalKind(Enum):
    """Why an arm has no mean, or no difference to its baseline."""

    NO_RECORD = "no ok record"
    SEVERAL_TEXTS = "seeds scored on several validation texts"
    SEVERAL_MODES = "seeds scored in several evaluation modes"
    SAME_CONFIGURATION = "same configuration as the baseline"
    BASELINE_WITHOUT_MEAN = "the baseline has no mean"
    OTHER_MODE = "another evaluation mode than the baseline"
    OTHER_TEXT = "another validation text than the baseline"
    OTHER_PART = "another part of the validation text than the baseline"


@dataclass(frozen=True)
class Refusal:
    """Why there is no mean or no difference. text: with the values."""

    kind: RefusalKind
    text: str
