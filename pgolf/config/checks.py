"""Checks a configuration before anything is written. Each problem has the form `path: what (value). remedy`."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pgolf.config.binding import bind
from pgolf.config.build import (
    build_averaging,
    build_budget,
    build_data,
    build_eval,
    build_model,
    build_quantizer,
    build_schedule,
    build_tracker,
    check_eval_suits_model,
    check_optimizer_settings,
    trainable_by_role,
)
from pgolf.config.path_values import PATHS
from pgolf.config.ranges import range_problems
from pgolf.config.schema import Config, ModelConfig, slot_paths, typed_config
from pgolf.config.sections import Resolved, endless_numbers, node_at, odd_keys, section_problems
from pgolf.errors import ConfigError, PgolfError, UnavailableHere, suggest
from pgolf.machine.files import LONGEST_NAME
from pgolf.machine.limits import cores
from pgolf.nn.naming import named_tensors
from pgolf.nn.resid_mix import CHOICES, MOST_COEFFICIENTS
from pgolf.slots import Role

LONGEST_FOLDER = 180  # bytes of the name of a study or arm; a file system allows 255, and a scale may be added


def path_problems(config: Config, *, writes: bool = True) -> Iterator[str]:
    """Problems of the options that hold paths, and (writes) of paths.out if run folders cannot be created below it."""
    values = {path: path_value(config, path) for path in PATHS}
    for path, value in values.items():
        longest = max((len(part.encode()) for part in Path(str(value or "")).parts), default=0)
        if longest > LONGEST_NAME:
            yield f"{path}: contains a name of {longest:,} bytes; file systems allow {LONGEST_NAME} ({value})"
            return
    for path, value in values.items():
        if isinstance(value, str) and not value.strip():
            yield (
                f"{path}: is empty ({value}). Name a {'folder' if path.startswith('paths.') else 'file or folder'}; "
                ". is this folder"
            )
            return
    if not writes:
        return
    parent = Path(config.paths.out).expanduser().absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        yield f"paths.out: {parent} is not a folder ({config.paths.out}). Name another folder"
    elif not os.access(parent, os.W_OK | os.X_OK) or not accepts_folders(parent):
        yield f"paths.out: cannot write to {parent} ({config.paths.out}). Name another folder"


def path_value(config: Config, path: str) -> Any:
    """The value of an option of `PATHS`; None if the configuration does not have it."""
    section, _, key = path.partition(".")
    node = getattr(config, section)
    return node.get(key) if isinstance(node, Mapping) else getattr(node, key)


def accepts_folders(folder: Path) -> bool:
    """Whether folders can be created in a folder that `os.access` says is writable.

    Virtual file systems such as /proc refuse it even to root. They have no blocks, so only there a folder is created
    and removed as a test.
    """
    try:
        if os.statvfs(folder).f_blocks == 0:
            os.rmdir(mkdtemp(dir=folder))
    except OSError:
        return False
    return True


def model_problems(model: ModelConfig) -> Iterator[str]:
    """Sizes of the model that do not fit together. The ranges of single whole numbers are checked before."""
    width, heads, kv_heads = model.width, model.heads, model.kv_heads
    if width % heads:
        divisors = ", ".join(str(n) for n in range(1, width + 1) if width % n == 0 and (width // n) % 2 == 0)
        remedy = f"Choose one of {divisors}" if divisors else f"Choose a model.width that is a multiple of {2 * heads}"
        yield f"model.heads: does not divide model.width={width} ({heads}). {remedy}"
    elif width // heads % 2:
        yield (
            f"model.heads: the head size, model.width={width} / {heads} = {width // heads}, is odd ({heads}). "
            "Rotary embedding needs an even head size; change model.heads or model.width"
        )
    if heads % kv_heads:
        divisors = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        yield f"model.kv_heads: does not divide model.heads={heads} ({kv_heads}). Choose one of {divisors}"
    rotary = model.rotary_dims
    if width % heads == 0 and not (2 <= rotary <= width // heads and rotary % 2 == 0):
        yield f"model.rotary_dims: must be even and from 2 to the head size {width // heads} ({rotary})"
    elif model.rope_ntk_factor != 1 and rotary == 2:
        yield f"model.rope_ntk_factor: needs more than 2 rotary dims ({model.rope_ntk_factor}). Set it to 1"
    if not 0 <= model.xsa_last_n <= model.layers:
        yield f"model.xsa_last_n: must be from 0 to model.layers={model.layers} ({model.xsa_last_n})"
    if model.init not in ("default", "orthogonal"):
        near = suggest(model.init, ["default", "orthogonal"])
        yield f"model.init: no such scheme ({model.init}).{near} Choose default or orthogonal"
    if model.resid_mix_init not in CHOICES:
        near = suggest(model.resid_mix_init, CHOICES)
        yield f"model.resid_mix_init: no such start ({model.resid_mix_init}).{near} Choose {', '.join(CHOICES)}"
    for key in ("resid_mix_legendre_keep", "resid_mix_legendre_first"):
        if not 1 <= len(getattr(model, key)) <= MOST_COEFFICIENTS:
            yield f"model.{key}: must hold 1 to {MOST_COEFFICIENTS} coefficients ({getattr(model, key)})"
    if model.unique_blocks > model.layers:
        yield (
            f"model.unique_blocks: must be at most model.layers={model.layers} ({model.unique_blocks}). Choose fewer"
        )
    for key in ("rope_base", "logit_softcap", "rope_ntk_factor"):
        if not getattr(model, key) > 0:
            yield f"model.{key}: must be positive ({getattr(model, key)})"


def train_problems(config: Config) -> Iterator[str]:
    """Problems of the training budget and of the split of a batch into micro-batches and ranks."""
    train, nproc = config.train, config.launch.nproc
    budgets = {key: value for key in ("steps", "tokens", "seconds") if (value := getattr(train, key)) is not None}
    if len(budgets) != 1:
        settings = ", ".join(f"{key}={value}" for key, value in budgets.items()) or "none"
        yield (
            f"train: exactly one of steps, tokens and seconds sets the budget ({settings}). Set the others to null, as "
            "in train.steps=null"
        )
    if train.seconds is not None and not train.seconds > 0:
        yield f"train.seconds: must be positive ({train.seconds})"
    unit = train.micro_batches * train.seq_len
    if train.batch_tokens % unit:
        near = max(1, round(train.batch_tokens / unit)) * unit
        yield (
            f"train.batch_tokens: is not a multiple of train.micro_batches x train.seq_len = {train.micro_batches} x "
            f"{train.seq_len} ({train.batch_tokens}). Choose {near}"
        )
    if train.micro_batches % nproc:
        yield (
            f"train.micro_batches: is not a multiple of launch.nproc={nproc} ({train.micro_batches}). Choose a multiple"
        )


def choice_problems(config: Config) -> Iterator[str]:
    """Values of single options that no machine accepts: choices, numbers of threads and GPUs, and names."""
    train, launch = config.train, config.launch
    options = [
        ("device", config.device, ["auto", "cpu", "cuda", "mps"]),
        ("train.compile", train.compile, ["auto", "on", "off"]),
        ("train.precision", train.precision, ["auto", "fp32", "bf16"]),
        ("launch.seeds", launch.seeds, ["fixed", "auto"]),
    ]
    for key, value, choices in options:
        if value not in choices:
            yield f"{key}: no such choice ({value}).{suggest(str(value), choices)} Choose {', '.join(choices)}"
    if train.threads != "auto" and not (str(train.threads).isdecimal() and int(train.threads) >= 1):
        yield f"train.threads: must be auto or from 1 to {cores()} ({train.threads})"
    gpus = launch.gpus_per_job
    if gpus != "auto" and not (str(gpus).isdecimal() and int(gpus) >= launch.nproc):
        yield f"launch.gpus_per_job: must be auto, or at least launch.nproc={launch.nproc} ({gpus})"
    if launch.checkpoint_s is not None and launch.checkpoint_s < 0:
        yield f"launch.checkpoint_s: must be 0 or more, or null for none ({launch.checkpoint_s})"
    if config.model.vocab_size != config.data.get("vocab_size", config.model.vocab_size):
        yield (
            f"model.vocab_size: is not the vocabulary size of the tokenizer ({config.model.vocab_size}). "
            "Set data.vocab_size instead"
        )
    names: dict[str, str | None] = {"name": config.study.name, "arm": config.study.arm}
    for key, name in names.items():
        if name is not None and not re.fullmatch(r"\w[\w=,.@+-]*", name):
            yield (
                f"study.{key}: must be the name of a folder ({name}). Start with a letter, a digit or _, "
                "and continue with letters, digits, _ and =,.@+-"
            )
        elif name is not None and len(name.encode()) > LONGEST_FOLDER:
            yield (
                f"study.{key}: must have at most {LONGEST_FOLDER} bytes, and has {len(name.encode())} "
                f"({name[:40]}...). Shorten it"
            )


def component_problems(config: Config, *, opens_data: bool = True) -> Iterator[str]:
    """Problems that the components report when they are built. The model is built on the meta device.

    opens_data: also build the corpus, which looks at the files that the configuration names.
    """
    builders: list[Callable[[], object]] = [
        lambda: build_eval(config),
        lambda: build_quantizer(config),
        lambda: build_tracker(config),
        *([lambda: build_data(config)] if opens_data else []),
        lambda: build_schedule(config.optim, build_budget(config.train)),
    ]
    for builder in builders:
        yield from problems_of_builder(builder)
    problems = [*problems_of_builder(lambda: build_averaging(config.optim)), *setting_problems(config)]
    problems += problems_of_builder(lambda: build_model(config.model))
    yield from problems
    if not problems:
        yield from problems_of_builder(lambda: check_eval_suits_model(config))
        yield from optimizer_problems(config)


def setting_problems(config: Config) -> Iterator[str]:
    """Problems of the lists of parameter names and of numbers that are not whole."""
    for name in (*config.optim.frozen, *config.defects.frozen):
        if not isinstance(name, str):
            yield f"optim.frozen: needs names of parameters ({name}). Write optim.frozen=[model.head,model.mlp.0]"
            return
    for entry in config.optim.role_of:
        if not isinstance(entry, str):
            yield f"optim.role_of: needs NAME:ROLE ({entry}). Write optim.role_of=[model.embedding.projection:head]"
            return
    first, steps = config.optim.averaging.get("start_step"), build_budget(config.train).steps
    if first is not None and steps is not None and first > steps:
        yield f"optim.averaging.start_step: is after the last of {steps} steps ({first}). Choose an earlier step"
    clip, below = config.optim.grad_clip_norm, config.train.qat_below
    if clip is not None and not clip > 0:
        yield f"optim.grad_clip_norm: must be positive, or null for no clipping ({clip})"
    if below is not None and not 0 < below <= 1:
        yield f"train.qat_below: must be above 0 and at most 1, or null for never ({below})"
    bits = config.defects.qat_block_bits
    if bits is not None and not 2 <= bits <= 8:
        yield f"defects.qat_block_bits: must be from 2 to 8, or null ({bits})"


def optimizer_problems(config: Config) -> Iterator[str]:
    """Problems of the split of the parameters by role, and of the optimizers. The model must be valid."""
    model, groups = build_model(config.model), dict[Role, list[str]]()
    problems = list(problems_of_builder(lambda: groups.update(trainable_by_role(model, config))))
    yield from problems
    if not problems:
        tensors = named_tensors(model)
        if not groups:
            yield f"optim.frozen: leaves nothing to train ({config.optim.frozen}). Freeze less"
        yield from check_optimizer_settings(
            config.optim, {role: [tensors[name].shape for name in names] for role, names in groups.items()}
        )


def problems_of_builder(builder: Callable[[], object]) -> Iterator[str]:
    """Problems raised while building a component. User code may raise anything; each exception becomes a message."""
    try:
        builder()
    except UnavailableHere:  # `shortages` reports it
        return
    except ConfigError as error:
        yield from error.problems
    except PgolfError as error:
        yield str(error)
    except Exception as error:
        yield f"the configuration cannot be built. {type(error).__name__}: {error}"


def structure_problems(config: Resolved) -> list[str]:
    """Problems of plain data that prevent a `Config`: wrong keys, invalid slots, numbers out of range."""
    problems = list(section_problems(config))
    sides = node_at(config, "model.side_inputs")
    names = sides if isinstance(sides, Mapping) else ()
    for path in [*slot_paths(), *(f"model.side_inputs.{name}" for name in names)]:
        if node_at(config, path) is not None:
            problems += bind(path, node_at(config, path))
        elif path.rpartition(".")[2] in (node_at(config, path.rpartition(".")[0]) or {}):
            problems.append(f"{path}: no component is chosen (null). Choose one of its config group")
    return problems or [*odd_keys(config), *endless_numbers(config), *range_problems(config)]


def problems_of(resolved: Resolved, *, reads_only: bool = False) -> list[str]:
    """All problems of a resolved configuration on any machine. `shortages` returns the problems of this machine.

    reads_only: for a run that is only looked at. Nothing is written to paths.out then, and the files of its corpus are
    not looked at.
    """
    if problems := structure_problems(resolved):
        return problems
    config = typed_config(resolved)
    return [
        *model_problems(config.model),
        *train_problems(config),
        *choice_problems(config),
        *path_problems(config, writes=not reads_only),
    ] or list(component_problems(config, opens_data=not reads_only))
