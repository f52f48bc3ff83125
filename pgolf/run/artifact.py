"""The packed model: from a trained model to one file, and from that file alone to a fresh model."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from pgolf.config.binding import bind
from pgolf.config.build import build_model
from pgolf.config.checks import model_problems
from pgolf.config.ranges import range_problems
from pgolf.config.schema import ModelConfig
from pgolf.config.sections import type_problems
from pgolf.errors import ArtifactError, PgolfError
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import ROOT
from pgolf.quant.container import read_container, write_container
from pgolf.quant.encoding import decode
from pgolf.slots import Encoded, Quantizer

SHOWN = 5  # problems in a message
CAP_BYTES = 16_000_000  # decimal, code and packed model together


@dataclass(frozen=True)
class Artifact:
    """A packed model read back."""

    model: GPT
    section: ModelConfig
    tokenizer_sha256: str
    file_bytes: int


def packed_state(model: nn.Module) -> dict[str, Tensor]:
    """Everything that the file must hold, under config paths."""
    return {f"{ROOT}.{name}": tensor.detach() for name, tensor in model.state_dict().items()}


def encode_state(model: nn.Module, quantizer: Quantizer) -> dict[str, Encoded]:
    return {name: quantizer.encode(name, tensor.cpu()) for name, tensor in packed_state(model).items()}


def pack(model: nn.Module, section: ModelConfig, tokenizer: Path, quantizer: Quantizer, path: Path) -> int:
    """Quantize, compress and write a model. Returns the file's bytes; the same state gives the same bytes."""
    header = {"model": asdict(section), "tokenizer_sha256": hashlib.sha256(tokenizer.read_bytes()).hexdigest()}
    return write_container(path, header, encode_state(model, quantizer), quantizer.codec, quantizer.level)


def section_problems(section: Any) -> list[str]:
    """What keeps the `model` section of a stranger's file from being one: keys, types, classes and numbers."""
    hints = get_type_hints(ModelConfig)
    if not isinstance(section, dict) or section.keys() != hints.keys():
        return ["model: has other keys than a model section"]
    if problems := list(type_problems(section, "model")):
        return problems
    slots = {f"model.{key}": section[key] for key, hint in hints.items() if hint is Any}
    slots |= {f"model.side_inputs.{name}": node for name, node in section["side_inputs"].items()}
    return [problem for path, node in slots.items() for problem in bind(path, node)] or (
        list(range_problems({"model": section})) or list(model_problems(ModelConfig(**section)))
    )


def check_counts(section: Mapping[str, Any], encoded: Mapping[str, Encoded]) -> None:
    """No count in the description may exceed what the tensors can fill: building it would take for ever. Raises
    ArtifactError.
    """
    most = max((side for e in encoded.values() for side in e.shape), default=0)
    slots = [node for node in section.values() if isinstance(node, Mapping)]
    for slot in [*slots, *(s for node in slots for s in node.values() if isinstance(s, Mapping))]:
        for key, value in slot.items():
            if isinstance(value, int) and value > most:
                raise ArtifactError(f"describes a model that its tensors do not fill ({key}={value})")
    for key in ("layers", "unique_blocks"):
        if section[key] > len(encoded):
            raise ArtifactError(f"describes a model that its tensors do not fill ({key}={section[key]})")


def built(section: ModelConfig) -> GPT:
    """The model of a stranger's section. Raises ArtifactError for numbers that a class of it does not take."""
    try:
        return build_model(section)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())
        raise ArtifactError(f"describes a model that cannot be built ({reason[:200]})") from None


def unpack(path: Path, device: torch.device) -> Artifact:
    """A fresh model built from the file alone, in fp32. Raises ArtifactError and nothing else."""
    header, encoded = read_container(path)
    try:
        if header.keys() != {"model", "tokenizer_sha256"} or not isinstance(header["tokenizer_sha256"], str):
            raise ArtifactError("its header does not hold a model section and the hash of a tokenizer")
        section = header["model"]
        if problems := section_problems(section):
            raise ArtifactError("describes a model that cannot be built. " + "; ".join(problems[:SHOWN]))
        check_counts(section, encoded)
        config = ModelConfig(**section)
        model = built(config)
        tensors = packed_state(model)
        differ = sorted(set(tensors) ^ set(encoded)) or [
            name for name, t in tensors.items() if tuple(t.shape) != encoded[name].shape
        ]
        if differ:
            raise ArtifactError(
                f"its tensors are not those of the model that it describes ({', '.join(differ[:SHOWN])})"
            )
        model.load_state_dict({name.removeprefix(f"{ROOT}."): decode(encoded[name]) for name in tensors}, assign=True)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    except PgolfError as error:
        raise ArtifactError(f"{path}: describes a model that cannot be built. {error}") from None
    return Artifact(model.to(device).eval(), config, header["tokenizer_sha256"], path.stat().st_size)
