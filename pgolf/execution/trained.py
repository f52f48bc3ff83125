"""A trained model, ready to be scored and packed: from this run's loop, or loaded from another run."""

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
from pgolf.nn.primitives import allocate
from pgolf.records.record import read_record
from pgolf.training.checkpoint import AVERAGED, FOLDER, MAX_STATE_BYTES, WEIGHTS, load_weights, save_weights
from pgolf.training.pace import Trace


@dataclass(frozen=True)
class TrainedModel:
    """The results of training beside the model itself.

    average: averaged weights, if any. origin: fields of the record about the weights. code_files: for weights of
    another run, the names of the source files that trained them.
    """

    trace: Trace
    average: Mapping[str, Tensor] | None
    origin: Mapping[str, Any] = field(default_factory=dict)
    code_files: Sequence[str] = ()


def weights_sha(folder: Path) -> str:
    """SHA-256 of the weights in a run folder. Raises PgolfError if they cannot be read."""
    try:
        files = [folder / WEIGHTS, *([folder / AVERAGED] if (folder / AVERAGED).exists() else [])]
        return hashlib.sha256(
            b"".join(hashlib.sha256(read_regular(path, MAX_STATE_BYTES)).digest() for path in files)
        ).hexdigest()
    except ValueError as error:
        raise PgolfError(f"train.from: {folder / FOLDER}: a file of weights cannot be read, because {error}") from None
    except OSError as error:
        remedy = "Train that run again with launch.keep_weights=true launch.rerun=true"
        raise PgolfError(f"train.from: {folder / WEIGHTS} cannot be read ({error.strerror}). {remedy}") from None


def save_trained(folder: Path, model: GPT, trained: TrainedModel) -> TrainedModel:
    """Save live and averaged weights in the run folder. Returns `trained` with their hash. Raises OSError."""
    save_weights(folder, WEIGHTS, named_tensors(model))
    if trained.average is not None:
        save_weights(folder, AVERAGED, trained.average)
    return replace(trained, origin={"weights_sha": weights_sha(folder)})


def shapes_and_types(weights: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in weights.items()}


def load_trained(parent: Path, model: GPT, device: torch.device) -> TrainedModel:
    """Load the weights of another run into a model on the meta device. parent: the folder of that run.

    Returns the results of its training, from its record. Raises PgolfError.
    """
    record = read_record(parent)
    if record is None or record["status"] != "ok":
        raise PgolfError(f"train.from: {parent} contains no finished run. Run it first")
    sha = weights_sha(parent)
    if record.get("weights_sha") not in (None, sha):  # older records have none
        raise DamagedFile(
            parent / FOLDER,
            "does not contain the weights of its run",
            "Train that run again with launch.rerun=true",
        )
    allocate(model, device)
    tensors, live = named_tensors(model), load_weights(parent, WEIGHTS)
    average = load_weights(parent, AVERAGED) if (parent / AVERAGED).exists() else None
    expected = shapes_and_types(tensors)
    has_average = average is None or shapes_and_types(average).items() <= expected.items()
    if shapes_and_types(live) != expected or not has_average:
        raise PgolfError(
            f"train.from: the weights of {parent} are not those of this model. Train that run again with "
            "launch.rerun=true"
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(live[name])
    average = None if average is None else {name: weights.to(device) for name, weights in average.items()}
    step_ms = [record["step_ms_median"]] if record["step_ms_median"] is not None else []
    trace = Trace(record["steps"], record["train_s"], step_ms=step_ms, warnings=list(record["warnings"]))
    trace.qat_from_step = record["qat_from_step"]
    origin = {"from.folder": str(parent), "from.fingerprint": record["fingerprint"], "from.weights_sha": sha}
    return TrainedModel(trace, average, origin, [str(line).partition(" ")[0] for line in record["code_files"]])
