"""A trained model at the door of its ending: as the loop left it, or as another run left it on disk."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgolf.errors import DamagedFile, PgolfError
from pgolf.machine.files import read_regular
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.records.record import read_record
from pgolf.training.checkpoint import AVERAGED, FOLDER, MAX_STATE_BYTES, WEIGHTS, load_weights, save_weights
from pgolf.training.loop import Trace


@dataclass(frozen=True)
class TrainedModel:
    """What the ending needs beside the model: the trace, the average where there is one, and, for another run's
    weights, whose they are and the source files that made them."""

    trace: Trace
    average: Mapping[str, Tensor] | None
    origin: Mapping[str, Any] = field(default_factory=dict)
    code_files: Sequence[str] = ()


def weights_sha(folder: Path) -> str:
    """SHA-256 of the weights that a run left. Raises PgolfError where there are none."""
    try:
        files = [folder / WEIGHTS, *([folder / AVERAGED] if (folder / AVERAGED).exists() else [])]
        return hashlib.sha256(
            b"".join(hashlib.sha256(read_regular(path, MAX_STATE_BYTES)).digest() for path in files)
        ).hexdigest()
    except ValueError as error:
        raise PgolfError(f"train.from: {folder / FOLDER}: a file of weights cannot be read, for {error}") from None
    except OSError as error:
        remedy = "Train that run again with launch.keep_weights=true launch.rerun=true"
        raise PgolfError(f"train.from: {folder / WEIGHTS} cannot be read ({error.strerror}). {remedy}") from None


def keep_trained(folder: Path, model: GPT, trained: TrainedModel) -> TrainedModel:
    """Leave live and averaged weights in the run folder, and their hash for its record. Raises OSError."""
    save_weights(folder, WEIGHTS, named_tensors(model))
    if trained.average is not None:
        save_weights(folder, AVERAGED, trained.average)
    return replace(trained, origin={"weights_sha": weights_sha(folder)})


def described(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}


def take_trained(parent: Path, model: GPT, device: torch.device) -> TrainedModel:
    """Give a model on the meta device the weights of another run; its record says how they were trained. Raises
    PgolfError.
    """
    record = read_record(parent)
    if record is None or record["status"] != "ok":
        raise PgolfError(f"train.from: {parent} holds no finished run. Run it first")
    sha = weights_sha(parent)
    if record.get("weights_sha") not in (None, sha):  # older records have none
        raise DamagedFile(
            parent / FOLDER,
            "does not hold the weights that its run left",
            "Train that run again with launch.rerun=true",
        )
    model.to_empty(device=device)
    tensors, live = named_tensors(model), load_weights(parent, WEIGHTS)
    average = load_weights(parent, AVERAGED) if (parent / AVERAGED).exists() else None
    alike = described(live) == described(tensors) and (
        average is None or described(average).items() <= described(tensors).items()
    )
    if not alike:
        raise PgolfError(
            f"train.from: the weights of {parent} are not those of this model. Train that run again with "
            "launch.rerun=true"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(live[name])
    average = None if average is None else {name: weights.to(device) for name, weights in average.items()}
    step_ms = [record["step_ms_median"]] if record["step_ms_median"] is not None else []
    trace = Trace(record["steps"], record["train_s"], float("nan"), step_ms, list(record["warnings"]))
    trace.qat_from_step = record["qat_from_step"]
    origin = {"from.folder": str(parent), "from.fingerprint": record["fingerprint"], "from.weights_sha": sha}
    return TrainedModel(trace, average, origin, [str(line).partition(" ")[0] for line in record["code_files"]])
