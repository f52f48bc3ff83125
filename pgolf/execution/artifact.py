"""The packed model: written from a trained model, and loaded into a new model from the file alone."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn

from pgolf.config.added import completed, reduced
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
from pgolf.quant.encoding import decode, entropy_of
from pgolf.records.record import ARTIFACT
from pgolf.slots import Encoded, Quantizer

SHOWN = 5  # problems in a message
CAP_BYTES = 16_000_000  # limit for the code and the packed model together (decimal megabytes)


@dataclass(frozen=True)
class Artifact:
    """A model loaded from a packed file. section: the section `model` of its configuration. entropy_bytes: the order-0
    bound of all its tensors (pgolf.quant.encoding.entropy_of).
    """

    model: GPT
    section: ModelConfig
    tokenizer_sha256: str
    file_bytes: int
    entropy_bytes: int


def packed_state(model: nn.Module) -> dict[str, Tensor]:
    """All tensors of a model that are packed, by config path."""
    return {f"{ROOT}.{name}": tensor.detach() for name, tensor in model.state_dict().items()}


def encode_state(model: nn.Module, quantizer: Quantizer) -> dict[str, Encoded]:
    """The packed tensors of a model, by config path."""
    return {name: quantizer.encode(name, tensor.cpu()) for name, tensor in packed_state(model).items()}


def pack(model: nn.Module, section: ModelConfig, tokenizer: Path, quantizer: Quantizer, path: Path) -> int:
    """Quantize, compress and write a model. Returns the size of the file in bytes.

    section: of the model's configuration. tokenizer: the file whose hash is stored. Equal weights give equal files.
    Raises OSError.
    """
    header = {
        **reduced({"model": asdict(section)}),
        "tokenizer_sha256": hashlib.sha256(tokenizer.read_bytes()).hexdigest(),
    }
    return write_container(path, header, encode_state(model, quantizer), quantizer.codec, quantizer.level)


def section_problems(section: Any) -> list[str]:
    """Problems of the section `model` of an untrusted file: its keys, types, classes and numbers."""
    hints = get_type_hints(ModelConfig)
    if not isinstance(section, dict) or section.keys() != hints.keys():
        return ["model: its keys are not those of a model section"]
    if problems := list(type_problems(section, "model")):
        return problems
    slots = {f"model.{key}": section[key] for key, hint in hints.items() if hint is Any}
    slots |= {f"model.side_inputs.{name}": node for name, node in section["side_inputs"].items()}
    return [problem for path, node in slots.items() for problem in bind(path, node)] or (
        list(range_problems({"model": section})) or list(model_problems(ModelConfig(**section)))
    )


def check_counts(section: Mapping[str, Any], encoded: Mapping[str, Encoded]) -> None:
    """Raise ArtifactError if a number in a section exceeds what the tensors can fill.

    Building such a model could take very long.
    """
    most = max((side for e in encoded.values() for side in e.shape), default=0)
    slots = [node for node in section.values() if isinstance(node, Mapping)]
    for slot in [*slots, *(s for node in slots for s in node.values() if isinstance(s, Mapping))]:
        for key, value in slot.items():
            if isinstance(value, int) and value > most:
                raise ArtifactError(f"its tensors are too few for the model that it describes ({key}={value})")
    for key in ("layers", "unique_blocks"):
        if section[key] > len(encoded):
            raise ArtifactError(f"its tensors are too few for the model that it describes ({key}={section[key]})")


def build_untrusted(section: ModelConfig) -> GPT:
    """The model of a section of an untrusted file. Raises ArtifactError if a class rejects a number."""
    try:
        return build_model(section)
    except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
        reason = " ".join(str(error).split("\n", 1)[0].split())
        raise ArtifactError(f"describes a model that cannot be built ({reason[:200]})") from None


def packed_file(path: Path) -> Path:
    """The packed file that a path means: the file itself, or the one in a run folder. Raises ArtifactError."""
    if not path.is_dir() or (path / ARTIFACT).exists():
        return path / ARTIFACT if path.is_dir() else path
    first = next((found for found in sorted(path.glob(f"*/*/{ARTIFACT}")) + sorted(path.glob(f"*/{ARTIFACT}"))), None)
    remedy = f"Give one of a run, such as {first}" if first else "Give a packed file, or a run folder that has one"
    raise ArtifactError(f"{path}: is a folder without {ARTIFACT}. {remedy}")


def unpack(path: Path, device: torch.device) -> Artifact:
    """A new model in fp32 on a device, from a packed file alone, or from that of a run folder. Raises ArtifactError."""
    path = packed_file(path)
    header, encoded = read_container(path)
    try:
        if header.keys() != {"model", "tokenizer_sha256"} or not isinstance(header["tokenizer_sha256"], str):
            raise ArtifactError("its header does not hold a model section and the hash of a tokenizer")
        section = completed({"model": header["model"]})["model"]
        if problems := section_problems(section):
            raise ArtifactError("describes a model that cannot be built. " + "; ".join(problems[:SHOWN]))
        check_counts(section, encoded)
        config = ModelConfig(**section)
        model = build_untrusted(config)
        tensors, bound = packed_state(model), sum(map(entropy_of, encoded.values()))
        differing = sorted(set(tensors) ^ set(encoded)) or [
            name for name, t in tensors.items() if tuple(t.shape) != encoded[name].shape
        ]
        if differing:
            raise ArtifactError(
                f"its tensors are not those of the model that it describes ({', '.join(differing[:SHOWN])})"
            )
        model.load_state_dict({name.removeprefix(f"{ROOT}."): decode(encoded[name]) for name in tensors}, assign=True)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    except PgolfError as error:
        raise ArtifactError(f"{path}: describes a model that cannot be built. {error}") from None
    return Artifact(model.to(device).eval(), config, header["tokenizer_sha256"], path.stat().st_size, bound)
