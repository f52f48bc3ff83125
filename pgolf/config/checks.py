"""Everything about a configuration that can be known before anything is written: each problem as `path: what (value).
remedy`.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, get_type_hints

from pgolf.config.binding import bind
from pgolf.config.build import (
    build_averaging,
    build_budget,
    build_data,
    build_eval,
    build_model,
    build_quantizer,
    build_schedule,
    check_optimizer_settings,
    trained_by_role,
)
from pgolf.config.path_values import PATHS
from pgolf.config.ranges import range_problems
from pgolf.config.schema import SECTIONS, slot_paths
from pgolf.errors import ConfigError, PgolfError, UnavailableHere, suggest
from pgolf.machine.limits import cores
from pgolf.machine.typed import fits, wanted
from pgolf.nn.naming import named_tensors
from pgolf.slots import Role

Resolved = Mapping[str, Any]
LONGEST_FOLDER = 180  # bytes of a name, where a file system takes 255 and a scale may be added
LONGEST_NAME = 255  # bytes of one part of a path


def at(config: Resolved, path: str) -> Any:
    """The node at a dotted path; None where there is none."""
    node: Any = config
    for key in path.split(".") if path else []:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def section_problems(config: Resolved) -> Iterator[str]:
    """Unknown, missing and unset keys of the closed sections (Hydra's + and ~ get past its own check)."""
    for prefix, section in SECTIONS.items():
        node, known = at(config, prefix), list(get_type_hints(section))
        dot = f"{prefix}." if prefix else ""
        if not isinstance(node, Mapping):
            yield f"{prefix}: is missing. Remove the override that deletes it"
            continue
        for key in node:
            if key not in known:
                yield f"{dot}{key}: no such option ({node[key]}).{suggest(str(key), known)}"
        for key in known:
            if key not in node:
                yield f"{dot}{key}: is missing. Remove the override that deletes it"
            elif node[key] == "???":
                yield f"{dot}{key}: has no value. Give it as {dot}{key}=..."


def type_problems(section: Resolved, prefix: str, decided: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Values of one closed section of a file that are not of the schema's types. decided: types of options that are no
    longer `auto`.
    """
    for key, hint in get_type_hints(SECTIONS[prefix]).items():
        name = f"{prefix}.{key}".removeprefix(".")
        hint = (decided or {}).get(name, hint)
        if key in section and name not in SECTIONS and not fits(section[key], hint):
            yield f"{name}: needs {wanted(hint)} ({section[key]!r:.60})"


def endless_numbers(config: Resolved, prefix: str = "") -> Iterator[str]:
    """Floats that are infinite or not a number, wherever they stand."""
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from endless_numbers(value, f"{path}.")
        elif isinstance(value, float) and not math.isfinite(value):
            yield f"{path}: must be a finite number ({value})"


def place_problems(config: Resolved) -> Iterator[str]:
    """Whether options that name places can name one, and run folders can be made below paths.out."""
    for path in PATHS:
        longest = max((len(part.encode()) for part in Path(str(at(config, path) or "")).parts), default=0)
        if longest > LONGEST_NAME:
            yield f"{path}: holds a name of {longest:,} bytes; a file system takes {LONGEST_NAME} ({at(config, path)})"
            return
    for path in PATHS:
        if isinstance(value := at(config, path), str) and not value.strip():
            yield (
                f"{path}: is empty ({value}). Name a {'folder' if path.startswith('paths.') else 'file or folder'}; "
                ". is this folder"
            )
            return
    place = Path(config["paths"]["out"]).expanduser().absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        yield f"paths.out: {place} is not a folder ({config['paths']['out']}). Name another place"
    elif not os.access(place, os.W_OK | os.X_OK) or not takes_folders(place):
        yield f"paths.out: cannot write to {place} ({config['paths']['out']}). Name another place"


def takes_folders(place: Path) -> bool:
    """Whether a folder can be made here, tried only on a file system without blocks of its own: /proc and its like
    refuse root too.
    """
    try:
        if os.statvfs(place).f_blocks == 0:
            os.rmdir(mkdtemp(dir=place))
    except OSError:
        return False
    return True


def model_problems(config: Resolved) -> Iterator[str]:
    model = config["model"]
    width, heads, kv_heads = model["width"], model["heads"], model["kv_heads"]
    if width % heads:
        divisors = ", ".join(str(n) for n in range(1, width + 1) if width % n == 0 and (width // n) % 2 == 0)
        yield f"model.heads: does not divide model.width={width} ({heads}). Choose one of {divisors}"
    elif width // heads % 2:
        yield (
            f"model.heads: leaves an odd head size {width // heads} of model.width={width}, which rotary embedding "
            f"cannot halve ({heads})."
            " Choose another of both"
        )
    if heads % kv_heads:
        divisors = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        yield f"model.kv_heads: does not divide model.heads={heads} ({kv_heads}). Choose one of {divisors}"
    rotary = model["rotary_dims"]
    if width % heads == 0 and not (2 <= rotary <= width // heads and rotary % 2 == 0):
        yield f"model.rotary_dims: must be even and from 2 to the head size {width // heads} ({rotary})"
    elif model["rope_ntk_factor"] != 1 and rotary == 2:
        yield f"model.rope_ntk_factor: needs more than 2 rotary dims ({model['rope_ntk_factor']}). Set it to 1"
    if not 0 <= model["xsa_last_n"] <= model["layers"]:
        yield f"model.xsa_last_n: must be from 0 to model.layers={model['layers']} ({model['xsa_last_n']})"
    if model["init"] not in ("default", "orthogonal"):
        near = suggest(model["init"], ["default", "orthogonal"])
        yield f"model.init: no such scheme ({model['init']}).{near} Choose default or orthogonal"
    if model["unique_blocks"] > model["layers"]:
        yield (
            f"model.unique_blocks: more cores than model.layers={model['layers']} ({model['unique_blocks']}). Choose "
            "fewer"
        )
    for key in ("rope_base", "logit_softcap", "rope_ntk_factor"):
        if not model[key] > 0:
            yield f"model.{key}: must be positive ({model[key]})"


def train_problems(config: Resolved) -> Iterator[str]:
    train, nproc = config["train"], config["launch"]["nproc"]
    budgets = {key: train[key] for key in ("steps", "tokens", "seconds") if train[key] is not None}
    if len(budgets) != 1:
        given = ", ".join(f"{key}={value}" for key, value in budgets.items()) or "none"
        yield (
            f"train: exactly one of steps, tokens and seconds sets the budget ({given}). Set the others to null, as "
            "in train.steps=null"
        )
    if train["seconds"] is not None and not train["seconds"] > 0:
        yield f"train.seconds: must be positive ({train['seconds']})"
    piece = train["micro_batches"] * train["seq_len"]
    if train["batch_tokens"] % piece:
        near = max(1, round(train["batch_tokens"] / piece)) * piece
        yield (
            f"train.batch_tokens: is no multiple of micro_batches x seq_len = {train['micro_batches']} x "
            f"{train['seq_len']} "
            f"({train['batch_tokens']}). Choose {near}"
        )
    if train["micro_batches"] % nproc:
        yield (
            f"train.micro_batches: does not divide over launch.nproc={nproc} ranks ({train['micro_batches']}). "
            "Choose a multiple"
        )


def choice_problems(config: Resolved) -> Iterator[str]:
    """Options of device, launch and train whose value can be used nowhere."""
    train, launch = config["train"], config["launch"]
    choices = {
        "device": ["auto", "cpu", "cuda"],
        "train.compile": ["auto", "on", "off"],
        "train.precision": ["auto", "fp32", "bf16"],
    }
    for key, known in choices.items():
        if (value := at(config, key)) not in known:
            yield f"{key}: no such choice ({value}).{suggest(str(value), known)} Choose {', '.join(known)}"
    if train["threads"] != "auto" and not (str(train["threads"]).isdecimal() and int(train["threads"]) >= 1):
        yield f"train.threads: must be auto or from 1 to {cores()} ({train['threads']})"
    gpus = launch["gpus_per_job"]
    if gpus != "auto" and not (str(gpus).isdecimal() and int(gpus) >= launch["nproc"]):
        yield f"launch.gpus_per_job: must be auto, or at least launch.nproc={launch['nproc']} ({gpus})"
    if launch["checkpoint_s"] is not None and launch["checkpoint_s"] < 0:
        yield f"launch.checkpoint_s: must be 0 or more, or null for none ({launch['checkpoint_s']})"
    if config["model"]["vocab_size"] != config["data"].get("vocab_size", config["model"]["vocab_size"]):
        yield f"model.vocab_size: is not the tokenizer's ({config['model']['vocab_size']}). Set data.vocab_size instead"
    for key in ("name", "arm"):
        value = config["study"][key]
        if value is not None and not re.fullmatch(r"\w[\w=,.@+-]*", value):
            yield (
                f"study.{key}: must be the name of a folder: a letter, digit or _, then letters, digits and =,.@+- "
                f"({value})"
            )
        elif value is not None and len(value.encode()) > LONGEST_FOLDER:
            yield (
                f"study.{key}: must have at most {LONGEST_FOLDER} bytes, and has {len(value.encode())} "
                f"({value[:40]}...). Shorten it"
            )


def component_problems(config: Resolved) -> Iterator[str]:
    """What the components themselves refuse, the model built on the meta device."""
    builders: list[Callable[[], object]] = [
        lambda: build_eval(config),
        lambda: build_quantizer(config),
        lambda: build_data(config),
        lambda: build_schedule(config["optim"], build_budget(config["train"])),
    ]
    for builder in builders:
        yield from refused(builder)
    problems = [*refused(lambda: build_averaging(config["optim"])), *setting_problems(config)]
    problems += refused(lambda: build_model(config["model"]))
    yield from problems
    if not problems:
        yield from optimizer_problems(config)


def setting_problems(config: Resolved) -> Iterator[str]:
    """Single numbers out of range."""
    for name in (*config["optim"]["frozen"], *config["defects"]["frozen"]):
        if not isinstance(name, str):
            yield f"optim.frozen: needs names of parameters ({name}). Write optim.frozen=[model.head,model.mlp.0]"
            return
    for entry in config["optim"]["role_of"]:
        if not isinstance(entry, str):
            yield f"optim.role_of: needs NAME:ROLE ({entry}). Write optim.role_of=[model.embedding.projection:head]"
            return
    first, steps = config["optim"]["averaging"].get("start_step"), build_budget(config["train"]).steps
    if first is not None and steps is not None and first > steps:
        yield f"optim.averaging.start_step: comes after the last of {steps} steps ({first}). Choose an earlier one"
    clip, below = config["optim"]["grad_clip_norm"], config["train"]["qat_below"]
    if clip is not None and not clip > 0:
        yield f"optim.grad_clip_norm: must be positive, or null for no clipping ({clip})"
    if below is not None and not 0 < below <= 1:
        yield f"train.qat_below: must be above 0 and at most 1, or null for never ({below})"
    bits = config["defects"]["qat_block_bits"]
    if bits is not None and not 2 <= bits <= 8:
        yield f"defects.qat_block_bits: must be from 2 to 8, or null ({bits})"


def optimizer_problems(config: Resolved) -> Iterator[str]:
    model, groups = build_model(config["model"]), dict[Role, list[str]]()
    problems = list(refused(lambda: groups.update(trained_by_role(model, config))))
    yield from problems
    if not problems:
        tensors = named_tensors(model)
        if not groups:
            yield f"optim.frozen: leaves nothing to train ({config['optim']['frozen']}). Freeze less"
        yield from check_optimizer_settings(
            config["optim"], {role: [tensors[name].shape for name in names] for role, names in groups.items()}
        )


def refused(builder: Callable[[], object]) -> Iterator[str]:
    """What a builder refuses. A component may be anybody's: whatever it raises is told, not thrown."""
    try:
        builder()
    except UnavailableHere:  # told by lacks_of
        return
    except ConfigError as error:
        yield from error.problems
    except PgolfError as error:
        yield str(error)
    except Exception as error:
        yield f"the configuration cannot be built. {type(error).__name__}: {error}"


def problems_of(config: Resolved) -> list[str]:
    """All problems of one resolved configuration that no machine could run; `lacks_of` has those of this machine."""
    found = list(section_problems(config))
    sides = at(config, "model.side_inputs")
    for path in [
        *slot_paths(),
        *(f"model.side_inputs.{name}" for name in (sides if isinstance(sides, Mapping) else ())),
    ]:
        if at(config, path) is not None:
            found += bind(path, at(config, path))
        elif path.rpartition(".")[2] in (at(config, path.rpartition(".")[0]) or {}):
            found.append(f"{path}: no choice is made (null). Choose one of its config group")
    if found:
        return found
    found = [*endless_numbers(config), *range_problems(config)]
    found = found or [
        *model_problems(config),
        *train_problems(config),
        *choice_problems(config),
        *place_problems(config),
    ]
    return found or list(component_problems(config))
