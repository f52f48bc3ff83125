"""The closed sections of a configuration, as dataclasses. All default values are in the YAML files.

The type `Any` marks an open slot: a node with `_target_`, `_partial_: true` and the keyword-only arguments of its
class.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
MISSING: Any = "???"  # OmegaConf's mark for a value that must be given; this module does not import OmegaConf

BLOCK_PARTS = ("q_proj", "attention", "mlp")  # the parts of a model that hold the matrices of its blocks


@dataclass
class ModelConfig:
    """The trunk's sizes and attention options, and its slots."""

    vocab_size: int = MISSING
    seq_len: int = MISSING  # tokens of context that the model is trained on
    width: int = MISSING
    layers: int = MISSING  # applications of a block
    unique_blocks: int = MISSING  # blocks with weights of their own; layers: no block is shared, 1: one block for all
    heads: int = MISSING
    kv_heads: int = MISSING
    mlp_hidden: int = MISSING
    rope_base: float = MISSING
    rope_ntk_factor: float = MISSING
    rotary_dims: int = MISSING
    rope_bf16_frequencies: bool = MISSING
    rope_bf16_positions: bool = MISSING
    q_gain_init: float = MISSING
    logit_softcap: float = MISSING
    depth_scaled_norm: bool = MISSING
    xsa_last_n: int = MISSING
    smear_gate: bool = MISSING
    init: str = MISSING  # default or orthogonal
    orthogonal_min_dim: int = MISSING
    resid_mix_init: str = MISSING  # standard, legendre or none
    resid_mix_legendre_keep: list[float] = MISSING  # Legendre coefficients over depth of the share of the stream
    resid_mix_legendre_first: list[float] = MISSING  # the same of the share of the embedding
    published_width: int = MISSING  # the width at which the stack was published
    q_proj: Any = MISSING
    embedding: Any = MISSING
    head: Any = MISSING
    mlp: Any = MISSING
    depth: Any = MISSING
    side_inputs: dict[str, Any] = MISSING


@dataclass
class RolesConfig:
    """The algorithm and settings of each parameter role."""

    embedding: Any = MISSING
    head: Any = MISSING
    matrix: Any = MISSING
    scalar: Any = MISSING


@dataclass
class OptimConfig:
    """The optimizers, their schedule and averaging, and the frozen parameters."""

    roles: RolesConfig = MISSING
    schedule: Any = MISSING
    averaging: Any = MISSING
    grad_clip_norm: float | None = MISSING  # largest global norm of the gradients; null: no clipping
    frozen: list[str] = MISSING  # names or prefixes of parameters that keep their initial values
    role_of: list[str] = MISSING  # NAME:ROLE, for names or prefixes of parameters; replaces their default role


@dataclass
class TrainConfig:
    """The source of the weights (`from`), the budget (exactly one of steps, tokens and seconds), the batch, and how a
    run computes.
    """

    steps: int | None = MISSING
    tokens: int | None = MISSING
    seconds: float | None = MISSING
    seq_len: int = MISSING
    batch_tokens: int = MISSING  # training tokens per step, over all ranks
    micro_batches: int = MISSING  # forward passes per step, over all ranks
    priming_steps: int = MISSING  # untimed forward and backward passes before the clock starts
    log_every: int = MISSING  # steps between training lines of metrics.jsonl
    val_every: int = MISSING  # steps between validations; 0 scores at the end only
    spectra_every: int = MISSING  # steps between the spectra of all matrices in metrics.jsonl; 0: none
    qat_below: float | None = MISSING  # train on fake-quantized weights below this learning-rate scale; null: never
    threads: str = MISSING  # auto or a number of CPU threads
    compile: str = MISSING  # auto, on or off
    precision: str = MISSING  # auto, fp32 or bf16

    @property
    def parent(self) -> str | None:
        """The value of `from`: a run folder whose weights are taken, or None to train."""
        parent: str | None = getattr(self, "from")
        return parent

    def changed(self, **values: Any) -> "TrainConfig":
        """A copy with other values. `dataclasses.replace` alone would leave out `from`."""
        copy = replace(self, **values)
        setattr(copy, "from", self.parent)
        return copy

    @property
    def cpu_threads(self) -> int:
        """`threads` as a number, once `auto` has been decided."""
        return int(self.threads)


# `from` is a keyword of Python: the field is added to the finished class, which is then processed again.
TrainConfig.__annotations__["from"] = str | None
setattr(TrainConfig, "from", field(default=MISSING, init=False, repr=False, compare=False))
dataclass(TrainConfig)


@dataclass
class LaunchConfig:
    """How runs are started and resumed. These options do not affect the result of a run."""

    nproc: int = MISSING  # ranks of one run
    gpus_per_job: str = MISSING  # auto, or the number of CUDA devices reserved for one run of a sweep
    dry_run: bool = MISSING  # check and describe the runs, start nothing
    rerun: bool = MISSING  # repeat runs that have a record, and archive the old record
    keep_older_code: bool = MISSING  # runs of other code count as finished
    most_runs: int = MISSING  # a sweep of more runs is refused
    seeds: str = MISSING  # fixed, or auto: a study adds seeds to arms that are undecided
    most_seeds: int = MISSING  # seeds of an arm with seeds=auto, those of the command included
    fail_fast: bool = MISSING  # start no other run of a sweep after the first failure
    checkpoint_s: float | None = MISSING  # seconds between checkpoints; 0: after every step, null: none
    keep_weights: bool = MISSING  # keep the trained weights in the run folder
    audit: bool = MISSING  # audit a run after it has ended

    @property
    def gpus(self) -> int:
        """`gpus_per_job` as a number, once `auto` has been decided."""
        return int(self.gpus_per_job)


@dataclass
class DefectsConfig:
    """Defects of the published runs, each a switch; all are off by default."""

    frozen: list[str] = MISSING  # names or prefixes of parameters that are frozen, if the model has them
    keep_frozen_gradients: bool = MISSING  # gradients of frozen parameters add up and count in the clip norm
    qat_at_eval: bool = MISSING  # the packed model is fake-quantized again when it is scored
    qat_block_bits: int | None = MISSING  # fake-quantize only the blocks, to this many bits; null: as the quantizer
    average_zero_lr: bool = MISSING  # snapshots at learning rate zero enter the average
    rope_bf16_frequencies: bool = MISSING  # rotary frequencies are rounded to bf16
    rope_bf16_positions: bool = MISSING  # positions of the rotary embedding are rounded to bf16
    bf16_embedding: bool = MISSING  # embedding tables and their optimizer states are kept in bf16
    muon_bf16_factor: bool = MISSING  # Muon rounds its directions to bf16, and again after the factor of their shape
    unscaled_threshold: bool = MISSING  # published packers keep tensors of up to 65,536 elements in float at any width
    unfloored_vectors: bool = MISSING  # coded tensors that are not matrices have one fp32 scale without a floor


@dataclass
class PathsConfig:
    """Folders that files are written to."""

    out: str = MISSING  # run folders
    cache: str = MISSING  # prepared corpora


@dataclass
class StudyConfig:
    """The study that the runs belong to; it does not affect the result of a run. pgolf.study.description explains the
    parts.
    """

    name: str = MISSING
    arm: str | None = MISSING  # null: a name made from the overrides
    data: str = ""  # the choice of data that the arm requires; empty: any
    question: str = MISSING
    source: str = MISSING
    test: str = MISSING  # welch, paired, pooled, moderated or sequential, named before the runs
    blocked: bool = False  # take out effects of the seed; for the tests pooled and moderated
    smallest_effect_bpb: dict[str, float] = MISSING  # the smallest difference that matters, by scale
    margin_reason: dict[str, str] = field(default_factory=dict)  # why that difference, by scale
    noise_bpb: float | None = None  # known standard deviation of a score between seeds, for the sequential test
    equivalence_alpha: float = 0.025  # level of equality within the smallest effect, per side
    families: dict[str, Any] = MISSING  # {name: {title, baseline, arms, line, explored, unequal_budgets}}
    published: dict[str, Any] = MISSING  # {arm: {field: value}}
    published_test: str = MISSING  # one_sample, or empty
    claims: list[Any] = MISSING  # each {text, note, tests: [{family, kind, arms}]}
    ladders: list[Any] = field(default_factory=list)  # each {title, over: tokens or parameters, families}
    probe: dict[str, Any] = field(default_factory=dict)  # {trials, seeds, targets, axes, arms, earlier}: pgolf.probe


@dataclass
class Config:
    """The whole configuration of a run."""

    study: StudyConfig = MISSING
    seed: int = MISSING
    device: str = MISSING  # auto, cpu, cuda or mps (Apple)
    model: ModelConfig = MISSING
    optim: OptimConfig = MISSING
    quant: Any = MISSING
    eval: Any = MISSING
    data: Any = MISSING
    train: TrainConfig = MISSING
    launch: LaunchConfig = MISSING
    defects: DefectsConfig = MISSING
    paths: PathsConfig = MISSING
    tracker: Any = MISSING

    @property
    def gpus_per_run(self) -> int:
        """CUDA devices reserved for one run, once `auto` has been decided; 0 on a CPU."""
        return self.launch.gpus if self.device == "cuda" else 0


SECTIONS: dict[str, type] = {
    "": Config,
    "model": ModelConfig,
    "optim": OptimConfig,
    "optim.roles": RolesConfig,
    "train": TrainConfig,
    "launch": LaunchConfig,
    "defects": DefectsConfig,
    "paths": PathsConfig,
    "study": StudyConfig,
}


DECIDED = ("train.threads", "launch.gpus_per_job")  # text on a command line (`auto` or a number), a number once decided


def slot_paths() -> list[str]:
    """Config paths of all open slots except the side inputs, which are at `model.side_inputs.<name>`."""
    paths = []
    for prefix, section in SECTIONS.items():
        for name, hint in get_type_hints(section).items():
            if hint is Any:
                paths.append(f"{prefix}.{name}".removeprefix("."))
    return paths


def typed_config(resolved: Mapping[str, Any]) -> Config:
    """A resolved configuration as dataclasses. Its keys and types must be checked before. Open slots stay plain data.

    The section `run` of a saved configuration is ignored. Numbers of the options in `DECIDED` become text. Raises
    TypeError for an unknown key.
    """
    return typed_section(Config, "", {key: value for key, value in resolved.items() if key != "run"})


def typed_section(cls: type[T], prefix: str, node: Mapping[str, Any]) -> T:
    """The dataclass of a closed section at a config path, with nested sections. Raises TypeError for an unknown key."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{prefix}.{key}".removeprefix(".")
        inner = SECTIONS.get(path)
        values[key] = str(value) if path in DECIDED else value if inner is None else typed_section(inner, path, value)
    has_parent = "from" in values
    parent = values.pop("from", None)
    section = cls(**values)
    if has_parent:
        setattr(section, "from", parent)
    return section


def plain_config(config: Config) -> dict[str, Any]:
    """The inverse of `typed_config`: plain containers, with the options in `DECIDED` as numbers where decided."""
    plain: dict[str, Any] = asdict(config)
    for path in DECIDED:
        section, _, key = path.partition(".")
        if str(plain[section][key]).isdecimal():
            plain[section][key] = int(plain[section][key])
    if plain["study"]["families"] == MISSING:  # the configuration of a run; the rest is in study.json
        plain["study"] = {key: plain["study"][key] for key in ("name", "arm")}
    return plain
