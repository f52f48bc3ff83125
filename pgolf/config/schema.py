"""The closed sections of a configuration. A default stands in one place only, the YAML files; here are names and types.

`Any` marks an open slot: a node with `_target_`, `_partial_: true` and the keyword-only arguments of the class that it
names.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
MISSING: Any = "???"  # OmegaConf's mark for "must be given", spelled out so that this layer needs no OmegaConf


@dataclass
class ModelConfig:
    """The trunk's sizes and attention options, and its slots."""

    vocab_size: int = MISSING
    seq_len: int = MISSING  # tokens of context that the model is trained on
    width: int = MISSING
    layers: int = MISSING  # passes through a block
    unique_blocks: int = MISSING  # cores; equal to layers for an ordinary stack, 1 for one shared core
    heads: int = MISSING
    kv_heads: int = MISSING
    mlp_hidden: int = MISSING
    rope_base: float = MISSING
    rope_ntk_factor: float = MISSING
    rotary_dims: int = MISSING
    rope_bf16_frequencies: bool = MISSING
    q_gain_init: float = MISSING
    logit_softcap: float = MISSING
    depth_scaled_norm: bool = MISSING
    xsa_last_n: int = MISSING
    smear_gate: bool = MISSING
    init: str = MISSING  # default or orthogonal
    orthogonal_min_dim: int = MISSING
    published_width: int = MISSING  # the width that the stack's published numbers belong to
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
    roles: RolesConfig = MISSING
    schedule: Any = MISSING
    averaging: Any = MISSING
    grad_clip_norm: float | None = MISSING  # global norm over the trained parameters; null is off
    frozen: list[str] = MISSING  # parameter names or prefixes that keep their initial bytes
    role_of: list[str] = MISSING  # NAME:ROLE of parameter names or prefixes, in the place of their own


@dataclass
class TrainConfig:
    """`from` (an arm's folder, or null to train); budget (exactly one of steps, tokens, seconds), batch and how a run
    computes.
    """

    steps: int | None = MISSING
    tokens: int | None = MISSING
    seconds: float | None = MISSING
    seq_len: int = MISSING
    batch_tokens: int = MISSING  # trained tokens a step, over all ranks
    micro_batches: int = MISSING  # forward passes a step, over all ranks
    priming_steps: int = MISSING  # untimed forward and backward passes before the clock starts
    log_every: int = MISSING  # steps between training lines of metrics.jsonl
    val_every: int = MISSING  # steps between validations; 0 scores at the end only
    qat_below: float | None = (
        MISSING  # learning-rate scale under which training runs on fake-quantized weights; null: never
    )
    threads: str = MISSING  # auto or a number of CPU threads
    compile: str = MISSING  # auto, on or off
    precision: str = MISSING  # auto, fp32 or bf16

    @property
    def parent(self) -> str | None:
        """The value of `from`: a run folder whose weights are taken, or None to train."""
        parent: str | None = getattr(self, "from")
        return parent

    @property
    def cpu_threads(self) -> int:
        """`threads` as a number, once `auto` has been decided."""
        return int(self.threads)


# `from` is a word that Python keeps to itself: the field is added to the finished class, which is then processed again.
TrainConfig.__annotations__["from"] = str | None
setattr(TrainConfig, "from", field(default=MISSING, init=False, repr=False, compare=False))
dataclass(TrainConfig)


@dataclass
class LaunchConfig:
    """How runs are started and found again; nothing of it enters a result."""

    nproc: int = MISSING  # ranks of one run
    gpus_per_job: str = MISSING  # auto or a number of CUDA devices that a job of a sweep has to itself
    dry_run: bool = MISSING  # compose and check, start nothing
    rerun: bool = MISSING  # run again what has a record, keeping the old one aside
    keep_older_code: bool = MISSING  # a record made by other code counts as finished
    most_runs: int = MISSING  # a sweep of more runs is refused
    fail_fast: bool = MISSING  # after the first failed run of a sweep start no other
    checkpoint_s: float | None = MISSING  # seconds between checkpoints; 0 after every step, null for none
    keep_weights: bool = MISSING  # the trained weights stay in the run folder

    @property
    def gpus(self) -> int:
        """`gpus_per_job` as a number, once `auto` has been decided."""
        return int(self.gpus_per_job)


@dataclass
class DefectsConfig:
    """Faults of the published runs, each a switch; all off by default."""

    frozen: list[str] = MISSING  # names or prefixes that are frozen where they exist
    keep_frozen_gradients: bool = MISSING  # their gradients are kept, summed over steps and counted in the clip norm
    qat_at_eval: bool = MISSING  # fake quantization stays on when the packed model is scored
    qat_block_bits: int | None = (
        MISSING  # fake quantization codes the blocks alone, at this many bits; null: exactly what the packer does
    )
    average_zero_lr: bool = MISSING  # snapshots at learning rate zero enter the average
    rope_bf16_frequencies: bool = MISSING  # rotary frequencies rounded to bf16
    bf16_embedding: bool = MISSING  # embedding tables and their optimizer states kept in bf16


@dataclass
class PathsConfig:
    out: str = MISSING  # run folders
    cache: str = MISSING  # prepared corpora


@dataclass
class StudyConfig:
    """What the runs belong to; nothing of it enters a result. pgolf.study.description says what each part means."""

    name: str = MISSING
    arm: str | None = MISSING  # null: the sorted overrides
    data: str = ""  # the corpus that the arm is about, a choice of data; empty: any
    question: str = MISSING
    source: str = MISSING
    test: str = MISSING  # welch or paired, named before the runs
    smallest_effect_bpb: dict[str, float] = MISSING  # the smallest difference that matters, by scale
    families: dict[str, Any] = MISSING  # {name: {title, baseline, arms, line}}
    published: dict[str, Any] = MISSING  # {arm: {field: value}}
    published_test: str = MISSING  # one_sample, or nothing
    claims: list[Any] = MISSING  # each {text, note, tests: [{family, kind, arms}]}


@dataclass
class Config:
    study: StudyConfig = MISSING
    seed: int = MISSING
    device: str = MISSING  # auto, cpu or cuda
    model: ModelConfig = MISSING
    optim: OptimConfig = MISSING
    quant: Any = MISSING
    eval: Any = MISSING
    data: Any = MISSING
    train: TrainConfig = MISSING
    launch: LaunchConfig = MISSING
    defects: DefectsConfig = MISSING
    paths: PathsConfig = MISSING

    @property
    def gpus_per_run(self) -> int:
        """CUDA devices that one run has to itself, once `auto` has been decided; 0 on a CPU."""
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


DECIDED = ("train.threads", "launch.gpus_per_job")  # `auto` or a number on a command line, a number once decided


def slot_paths() -> list[str]:
    """Config paths of all open slots of a configuration. Side inputs are at `model.side_inputs.<name>`."""
    found = []
    for prefix, section in SECTIONS.items():
        for name, hint in get_type_hints(section).items():
            if hint is Any:
                found.append(f"{prefix}.{name}".removeprefix("."))
    return found


def typed_config(resolved: Mapping[str, Any]) -> Config:
    """The dataclasses of a resolved configuration whose keys and types have been checked. Open slots stay plain data.

    A section `run`, which a saved configuration has, is left out. Numbers of `DECIDED` options become text.
    """
    return typed_section(Config, "", {key: value for key, value in resolved.items() if key != "run"})


def typed_section(cls: type[T], prefix: str, node: Mapping[str, Any]) -> T:
    """One closed section at a config path, and the sections in it. Raises TypeError for a key that it does not have."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        path = f"{prefix}.{key}".removeprefix(".")
        inner = SECTIONS.get(path)
        values[key] = str(value) if path in DECIDED else value if inner is None else typed_section(inner, path, value)
    parent = {key: values.pop(key) for key in ("from",) if key in values}
    made = cls(**values)
    for key, value in parent.items():
        setattr(made, key, value)
    return made


def plain_config(config: Config) -> dict[str, Any]:
    """The inverse of `typed_config`: plain containers, decided options as numbers."""
    plain: dict[str, Any] = asdict(config)
    for path in DECIDED:
        section, _, key = path.partition(".")
        if str(plain[section][key]).isdecimal():
            plain[section][key] = int(plain[section][key])
    if plain["study"]["families"] == MISSING:  # of a run: study.json has the rest
        plain["study"] = {key: plain["study"][key] for key in ("name", "arm")}
    return plain
