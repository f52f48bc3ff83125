"""The table of all fields of a record: the one place that says which fields there are and what each means.

Validation, the comparison of two runs, the report's page per run, the command `rerun` and docs/record_fields.md are
made from it. A field that is not in the table may stand in a record of an older version: it is read and not validated.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import cache

from pgolf.records.kinds import (
    AMOUNT,
    ANY,
    CHOICE,
    COUNT,
    FINITE,
    FLAG,
    NUMBER,
    PLACES,
    SEED,
    TEXT,
    TEXTS,
    Kind,
)

SCHEMA_VERSION = 1
ROW_VERSION = 1
NOT_DECISIVE = ("launch", "paths", "study", "tracker", "run")  # sections of a configuration that affect no result
STATUSES = ("ok", "failed", "diverged", "interrupted", "pruned")
WITHOUT_RECORD = ("missing", "damaged", "foreign")  # the status of a row without a valid record
IDENTITY = ("study", "arm", "fingerprint")
COMPARABILITY = ("val_text_sha", "eval_mode")  # scores are compared only where these are equal
ANY_NAME = "*"  # the end of a table name that stands for all names with its beginning


class Needed(Enum):
    """In which records a field must stand."""

    OPTIONAL = "may be absent"
    ALWAYS = "every record"
    SCORED = "every ok record"
    TRAINED = "every ok or diverged record"
    NULLABLE = "every ok record; may be null"
    UNSCORED = "every record that is not ok"
    ROW = "every row of results.jsonl"


class Rerun(Enum):
    """What `python -m pgolf.rerun` does with a field."""

    COMPARED = "must be equal when a run is repeated"
    EXPLAINS = "may explain a difference"


@dataclass(frozen=True)
class Field:
    """One field, or all fields with one beginning (`params.*`).

    unit: empty where there is none. compare, report: the section of the comparison of two runs, and of the report's
    page per run, in which the field is shown; empty where it is not.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    needed: Needed = Needed.OPTIONAL
    compare: str = ""
    report: str = ""
    rerun: Rerun | None = None


ALWAYS, SCORED, NULLABLE = Needed.ALWAYS, Needed.SCORED, Needed.NULLABLE
ORIGIN, MACHINE = "made by", "versions and machine"  # sections of the report's page per run
PROVENANCE, PARAMETERS, BYTES, SCORES, COST = "provenance", "parameters", "bytes", "scores", "cost"
SIZES, RUN = "bytes and parameters", "run"
COMPARED, EXPLAINS = Rerun.COMPARED, Rerun.EXPLAINS

# fmt: off
TABLE: dict[str, tuple[Field, ...]] = {
    "Identity": (
        Field("schema_version", COUNT, "", "version of the record's format", ALWAYS),
        Field("status", TEXT, "", "how the run ended: ok, failed, diverged, interrupted or pruned", ALWAYS, PROVENANCE),
        Field("error", TEXT, "", "why the run is not ok", Needed.UNSCORED),
        Field("study", TEXT, "", "name of the study; with its scale where that is not cpu", ALWAYS),
        Field("arm", TEXT, "", "name of the arm", ALWAYS),
        Field("seed", SEED, "", "seed of the initial weights, and of the data order where data.shuffle_seed is ${seed}",
              ALWAYS, PROVENANCE),
        Field("fingerprint", TEXT, "hash", "hash of everything but the seed that decides the result",
              ALWAYS, PROVENANCE, ORIGIN),
        Field("overrides", TEXTS, "", "the overrides of the run, sorted", ALWAYS, report=RUN),
        Field("choices.*", CHOICE, "", "the option chosen in each configuration group"),
        Field("ended_at", AMOUNT, "s", "end of the run, in Unix time", ALWAYS),
        Field("warnings", TEXTS, "", "what a reader of the scores must know", SCORED),
    ),
    "Weights of another run (train.from)": (
        Field("from.folder", TEXT, "", "folder of the run whose weights were taken"),
        Field("from.fingerprint", TEXT, "hash", "fingerprint of that run", compare=PROVENANCE, report=ORIGIN),
        Field("from.weights_sha", TEXT, "hash", "SHA-256 of its weights"),
        Field("weights_sha", TEXT, "hash", "SHA-256 of the weights that this run left (launch.keep_weights)"),
    ),
    "Code and data": (
        Field("git_sha", TEXT, "hash", "commit of the checkout; null outside a checkout",
              compare=PROVENANCE, report=ORIGIN),
        Field("git_dirty", FLAG, "", "whether the checkout had uncommitted changes", compare=PROVENANCE, report=ORIGIN),
        Field("git_diff_sha", TEXT, "hash", "SHA-256 of the uncommitted changes; null without any", report=ORIGIN),
        Field("code_sha", TEXT, "hash", "SHA-256 of all source files that the run loaded",
              SCORED, PROVENANCE, ORIGIN, EXPLAINS),
        Field("code_files", TEXTS, "", "name and short hash of each source file that the run loaded", Needed.TRAINED),
        Field("data_sha", TEXT, "hash", "SHA-256 of the training data", SCORED, PROVENANCE, ORIGIN, EXPLAINS),
        Field("tokenizer_sha", TEXT, "hash", "SHA-256 of the tokenizer", report=ORIGIN),
    ),
    "Scores": (
        Field("val_bpb", NUMBER, "bits per byte", "score of the packed model; null where it is not finite",
              NULLABLE, SCORES, SCORES, COMPARED),
        Field("val_bpb_live", FINITE, "bits per byte", "score of the trained model before averaging and packing",
              NULLABLE, SCORES, SCORES, COMPARED),
        Field("val_bpb_averaged", FINITE, "bits per byte", "score of the averaged model; null without an average",
              NULLABLE, SCORES, SCORES, COMPARED),
        Field("val_nats", NUMBER, "nats per token", "score of the packed model per target token",
              NULLABLE, SCORES, SCORES, COMPARED),
        Field("quant_gap_bpb", FINITE, "bits per byte", "what packing costs: packed minus averaged (or live) score",
              NULLABLE, SCORES, SCORES),
        Field("val_bpb_published_908", NUMBER, "bits per byte", "estimate of pull request 908 (eval=plain_and_908)"),
        Field("val_nats_published_908", NUMBER, "nats per token", "the same estimate per target token"),
    ),
    "Evaluation": (
        Field("val_text_sha", TEXT, "hash", "SHA-256 of the validation text", SCORED, PROVENANCE, ORIGIN),
        Field("eval_mode", TEXT, "", "how the model was scored", SCORED, PROVENANCE, SCORES),
        Field("val_targets", COUNT, "tokens", "scored target tokens", SCORED, report=SCORES, rerun=COMPARED),
        Field("val_bytes", COUNT, "bytes", "scored bytes of the validation text", SCORED, report=SCORES),
        Field("documents", COUNT, "documents", "scored documents, each with an entry in documents.bin"),
        Field("documents_cut", COUNT, "documents", "how many of them were scored in part: the first, the last or both"),
        Field("documents_sha", TEXT, "hash", "SHA-256 of documents.bin; absent without that file"),
        Field("val_raw_bytes", COUNT, "bytes", "size of the validation text before the tokenizer normalises it"),
    ),
    "Versions and machine": (
        Field("versions.python", TEXT, "", "version of Python",
              compare=PROVENANCE, report=MACHINE, rerun=EXPLAINS),
        Field("versions.torch", TEXT, "", "version of PyTorch", compare=PROVENANCE, report=MACHINE, rerun=EXPLAINS),
        Field("versions.numpy", TEXT, "", "version of NumPy", compare=PROVENANCE, report=MACHINE, rerun=EXPLAINS),
        Field("versions.*", TEXT, "", "version of another library", compare=PROVENANCE, report=MACHINE),
        Field("device", TEXT, "", "cpu, or the name of the GPU", SCORED, PROVENANCE, MACHINE, EXPLAINS),
        Field("threads", COUNT, "threads", "CPU threads", compare=PROVENANCE, report=MACHINE, rerun=EXPLAINS),
        Field("precision", TEXT, "", "precision of the matrix products", compare=PROVENANCE, report=MACHINE),
        Field("compile", TEXT, "", "whether torch.compile was on", compare=PROVENANCE, report=MACHINE),
        Field("nproc", COUNT, "processes", "processes that trained together", compare=PROVENANCE, report=MACHINE),
        Field("limits.cpu_cores", AMOUNT, "cores", "CPU cores that the process might use"),
        Field("limits.cpu_decided_by", TEXT, "", "what set that limit"),
        Field("limits.memory_bytes", COUNT, "bytes", "memory that the process might use; null where it is unknown"),
        Field("limits.memory_decided_by", TEXT, "", "what set that limit"),
    ),
    "Bytes": (
        Field("model_bytes", COUNT, "bytes", "size of the packed model", SCORED, BYTES, SIZES, COMPARED),
        Field("entropy_bytes", COUNT, "bytes", "order-0 bound of the packed tensors: an ideal coder per array",
              compare=BYTES, report=SIZES),
        Field("code_bytes", COUNT, "bytes", "size of the source files in code_files", SCORED, BYTES, SIZES),
        Field("total_bytes", COUNT, "bytes", "model_bytes + code_bytes", SCORED, BYTES, SIZES),
        Field("cap_bytes", COUNT, "bytes", "the largest total_bytes that the challenge allows", SCORED, BYTES, SIZES),
        Field("under_cap", FLAG, "", "whether total_bytes is at most cap_bytes", SCORED, BYTES, SIZES),
    ),
    "Parameters": (
        Field("params.total", COUNT, "parameters", "all parameters", SCORED, PARAMETERS, SIZES),
        Field("params.trained", COUNT, "parameters", "parameters that an optimizer updates",
              SCORED, PARAMETERS, SIZES),
        Field("params.frozen", COUNT, "parameters", "parameters that no optimizer updates",
              SCORED, PARAMETERS, SIZES),
        Field("params.*", COUNT, "parameters", "parameters of one part of the model; the parts add up to params.total",
              compare=PARAMETERS),
    ),
    "Cost": (
        Field("steps", COUNT, "steps", "training steps", SCORED, COST, COST, COMPARED),
        Field("tokens", COUNT, "tokens", "trained tokens: steps x budget.batch_tokens", SCORED, COST, COST),
        Field("epochs", AMOUNT, "", "passes over the training data", report=COST),
        Field("train_s", AMOUNT, "s", "training time, without compilation, evaluation and checkpoints",
              SCORED, COST, COST),
        Field("priming_s", AMOUNT, "s", "time before the clock of training starts, with compilation"),
        Field("eval_s", AMOUNT, "s", "time to score the live model", report=COST),
        Field("eval_packed_s", AMOUNT, "s", "time to score the packed model", report=COST),
        Field("adapter_bytes", COUNT, "bytes", "memory for the adapters of one document and their optimizer states, "
              "which are made while it is scored (eval=ttt_lora)", report=COST),
        Field("pack_s", AMOUNT, "s", "time to pack the model"),
        Field("step_ms_median", AMOUNT, "ms", "median time of a training step", NULLABLE, COST, COST),
        Field("tokens_per_s", AMOUNT, "tokens per s", "tokens / train_s", NULLABLE, COST, COST),
        Field("peak_mem_bytes", COUNT, "bytes", "peak memory of the process, or of the GPU", compare=COST, report=COST),
        Field("flops_per_token", COUNT, "FLOPs per token", "training FLOPs per token at the trained context",
              compare=COST, report=COST),
        Field("qat_from_step", COUNT, "steps", "first step of quantization-aware training; null without it", NULLABLE),
    ),
    "Budget and configuration": (
        Field("budget.steps", COUNT, "steps", "training steps asked for", NULLABLE),
        Field("budget.tokens", COUNT, "tokens", "training tokens asked for", NULLABLE),
        Field("budget.seconds", AMOUNT, "s", "training time asked for", NULLABLE),
        Field("budget.batch_tokens", COUNT, "tokens", "tokens per step", SCORED),
        Field("budget.seq_len", COUNT, "tokens", "tokens per training sequence"),
        Field("config.*", ANY, "", "the resolved configuration, one field per key"),
    ),
    "Rows of results.jsonl": (
        Field("row_version", COUNT, "", "version of the row's format", Needed.ROW),
        Field("folder", TEXT, "", "run folder, relative to the folder that was read", Needed.ROW),
        Field("planned", PLACES, "", "planned runs that the run answers; [] for none, null where no plan is known",
              Needed.ROW),
        Field("audit.broken", TEXTS, "", "rules that the audit of the run found broken; absent without an audit"),
    ),
}
# fmt: on
FIELDS = {field.name: field for fields in TABLE.values() for field in fields}
PATTERNS = {name.removesuffix(ANY_NAME): field for name, field in FIELDS.items() if name.endswith(ANY_NAME)}
POSITION = {name: position for position, name in enumerate(FIELDS)}
RERUN_COMPARED = tuple(name for name, field in FIELDS.items() if field.rerun is COMPARED)
RERUN_EXPLAINS = tuple(name for name, field in FIELDS.items() if field.rerun is EXPLAINS)


@cache  # ten thousand records have the same few hundred keys
def field_of(key: str) -> Field | None:
    """The table's field for a key of a record; None for an unknown key."""
    if key in FIELDS:
        return FIELDS[key]
    return next((field for beginning, field in PATTERNS.items() if key.startswith(beginning)), None)


def names_needed(*needed: Needed) -> tuple[str, ...]:
    """Names of the fields that are needed in one of these ways, in the order of the table."""
    return tuple(name for name, field in FIELDS.items() if field.needed in needed)


def compare_keys(keys: Iterable[str], section: str) -> list[str]:
    """The keys of one section of the comparison of two runs, in the order of the table."""
    return in_table_order(key for key in keys if (field := field_of(key)) is not None and field.compare == section)


def report_keys(keys: Iterable[str], section: str) -> list[str]:
    """The keys of one section of the report's page per run, in the order of the table."""
    return in_table_order(key for key in keys if (field := field_of(key)) is not None and field.report == section)


def in_table_order(keys: Iterable[str]) -> list[str]:
    """Known keys in the order of the table; keys of one pattern stay in the order given."""
    return sorted(keys, key=lambda key: POSITION[field.name] if (field := field_of(key)) is not None else -1)
