"""The packed model: from a trained model to one file, and from that file alone to a fresh model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgolf.build import build_model, trusted_targets
from pgolf.check import model_problems
from pgolf.container import read_container, write_container
from pgolf.encoding import decode
from pgolf.errors import ArtifactError, PgolfError
from pgolf.nn.gpt import GPT
from pgolf.roles import ROOT
from pgolf.slots import Encoded, Quantizer

CAP_BYTES = 16_000_000  # decimal, code and packed model together


@dataclass(frozen=True)
class Artifact:
    """A packed model read back."""

    model: GPT
    section: Mapping[str, Any]  # the resolved `model` section
    tokenizer_sha256: str
    file_bytes: int


def packed_state(model: nn.Module) -> dict[str, Tensor]:
    """Everything that the file must hold, under config paths."""
    return {f"{ROOT}.{name}": tensor.detach() for name, tensor in model.state_dict().items()}


def encode_state(model: nn.Module, quantizer: Quantizer) -> dict[str, Encoded]:
    return {name: quantizer.encode(name, tensor.cpu()) for name, tensor in packed_state(model).items()}


def pack(model: nn.Module, section: Mapping[str, Any], tokenizer: Path, quantizer: Quantizer, path: Path) -> int:
    """Quantize, compress and write a model. Returns the file's bytes; the same state gives the same bytes."""
    header = {"model": dict(section), "tokenizer_sha256": hashlib.sha256(tokenizer.read_bytes()).hexdigest()}
    return write_container(path, header, encode_state(model, quantizer), quantizer.codec, quantizer.level)


def check_targets(section: Any, trusted: set[str]) -> None:
    """A file may ask only for classes that conf/model names. Raises ArtifactError."""
    if isinstance(section, Mapping):
        target = section.get("_target_")
        if target is not None and target not in trusted:
            raise ArtifactError(f"asks for a class that conf/model does not name ({target}). Add its YAML, if you trust the file")
        for value in section.values():
            check_targets(value, trusted)
    elif isinstance(section, list):
        for value in section:
            check_targets(value, trusted)


def check_counts(section: Mapping[str, Any], encoded: Mapping[str, Encoded]) -> None:
    """No count in the description may exceed what the tensors can fill: building it would take for ever. Raises ArtifactError."""
    most = max((side for e in encoded.values() for side in e.shape), default=0)
    slots = [node for node in section.values() if isinstance(node, Mapping)]
    for slot in [*slots, *(s for node in slots for s in node.values() if isinstance(s, Mapping))]:
        for key, value in slot.items():
            if isinstance(value, int) and value > most:
                raise ArtifactError(f"describes a model that its tensors do not fill ({key}={value})")
    for key in ("layers", "unique_blocks"):
        if not isinstance(section[key], int) or section[key] > len(encoded):
            raise ArtifactError(f"describes a model that its tensors do not fill ({key}={section[key]})")


def unpack(path: Path, device: torch.device) -> Artifact:
    """A fresh model built from the file alone, in fp32. Raises ArtifactError and nothing else."""
    header, encoded = read_container(path)
    try:
        section = header["model"]
        check_targets(section, trusted_targets())
        check_counts(section, encoded)
        problems = list(model_problems({"model": section}))
        if problems:
            raise ArtifactError("; ".join(problems))
        model = build_model(section)
        wanted = packed_state(model)
        differ = sorted(set(wanted) ^ set(encoded)) or [n for n in wanted if tuple(wanted[n].shape) != tuple(encoded[n].shape)]
        if differ:
            raise ArtifactError(f"its tensors are not those of the model that it describes ({', '.join(differ[:5])})")
        state = {name.removeprefix(f"{ROOT}."): decode(encoded[name]) for name in wanted}
        model.load_state_dict(state, assign=True)
        tokenizer = header["tokenizer_sha256"]
        assert isinstance(tokenizer, str)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from None
    except PgolfError as error:
        raise ArtifactError(f"{path}: describes a model that cannot be built. {error}") from None
    except Exception as error:  # a header is untrusted: whatever it provokes is the file's fault
        raise ArtifactError(f"{path}: its header describes no model ({type(error).__name__}: {error})") from None
    return Artifact(model.to(device).eval(), section, tokenizer, path.stat().st_size)
