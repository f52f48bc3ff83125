"""What is inspected: the weights of a run folder or a packed file, read as a stranger's files."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from pgolf.config.build import build_evaluation, build_model
from pgolf.config.schema import Config, ModelConfig
from pgolf.data.loaded import LoadedCorpus
from pgolf.data.stream import TokenStream
from pgolf.errors import ConfigError, DamagedFile
from pgolf.eval.evaluator import Evaluation
from pgolf.execution.artifact import unpack
from pgolf.execution.auditing.corpus import find_corpus
from pgolf.execution.auditing.subject import read_saved
from pgolf.execution.trained import shapes_and_types
from pgolf.inspect.factored import are_finite
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.nn.naming import named_tensors
from pgolf.nn.primitives import allocate
from pgolf.records.metrics import Event, read_metrics
from pgolf.records.record import ARTIFACT, read_record
from pgolf.training.checkpoint import AVERAGED, WEIGHTS, load_weights

BATCH_TOKENS = 4096  # training tokens of one forward pass
AUTO, LIVE, AVERAGE, PACKED = "auto", "live", "averaged", "packed"
CHOICES = (AUTO, LIVE, AVERAGE, PACKED)
OF_CHOICE = {LIVE: WEIGHTS, AVERAGE: AVERAGED}
MEANING = {
    LIVE: "the last weights of training, in float32",
    AVERAGE: "the averaged weights, in float32",
    PACKED: "the weights of the packed file, which are rounded: small singular values are of the rounding",
}


@dataclass(frozen=True)
class Inspected:
    """A trained model. weights: LIVE, AVERAGE or PACKED. config: of its run; None for a packed file alone.

    corpus: of the run; None for the reason `no_corpus`. events: the log of the run.
    """

    path: Path
    model: GPT
    weights: str
    config: Config | None
    corpus: LoadedCorpus | None
    no_corpus: str
    events: tuple[Event, ...] = ()

    def evaluation(self, targets: int) -> Evaluation:
        """The run's evaluation on the CPU in float32, of at most this many targets where the mode has such an option.

        Raises PgolfError.
        """
        assert self.config is not None
        assert self.corpus is not None
        node = dict(self.config.eval)
        if "max_targets" in node:
            node["max_targets"] = min(targets, node["max_targets"] or targets)
        train = self.config.train.changed(precision="fp32")
        return build_evaluation(replace(self.config, device="cpu", eval=node, train=train), self.corpus, Ranks())

    def training_ids(self, batches: int) -> list[Tensor]:
        """Inputs [B, T] of the first training sequences of the run, at most BATCH_TOKENS tokens, or one sequence, each.

        The size of the run's own batches is not used: a stranger's file may ask for any. Raises PgolfError.
        """
        assert self.config is not None
        assert self.corpus is not None
        length = self.config.train.seq_len
        stream = TokenStream(
            self.corpus.train,
            batch_tokens=length * max(1, BATCH_TOKENS // length),
            seq_len=length,
            micro_batches=1,
            shuffle_seed=self.corpus.corpus.shuffle_seed,
        )
        return [stream.micro_batch(step, 0)[0] for step in range(batches)]


def open_inspected(path: Path, weights: str = AUTO, *, opens_files: bool = False) -> Inspected:
    """The model of a run folder or a packed file. weights: one of CHOICES. opens_files: as for `find_corpus`.

    Raises PgolfError.
    """
    if path.is_file():
        if weights not in (AUTO, PACKED):
            raise ConfigError(f"--weights: a packed file has no {weights} weights ({path}). Give its run folder")
        model = unpack(path, torch.device("cpu")).model
        return Inspected(path, model, PACKED, None, None, "a packed file names no corpus. Give the run folder")
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path}: is neither a folder nor a regular file. Give a run folder or a packed file")
    if not path.is_dir():
        raise ConfigError(f"{path}: does not exist. Give a run folder or a packed file")
    config = read_saved(path).config
    chosen = weights if weights != AUTO else available(path)
    if chosen == PACKED:
        model = unpack(path / ARTIFACT, torch.device("cpu")).model
    else:
        model = kept_model(path, OF_CHOICE[chosen], config.model)
    record = read_record(path)
    if record is not None and record["status"] == "ok":
        corpus = find_corpus(config, record, opens_files=opens_files)
    else:
        corpus = "the run has no record of an end"
    events = tuple(read_metrics(path)[0])
    if isinstance(corpus, str):
        return Inspected(path, model, chosen, config, None, corpus, events)
    return Inspected(path, model, chosen, config, corpus, "", events)


def available(folder: Path) -> str:
    """The weights of a run that are inspected by default: averaged, else live, else packed. Raises ConfigError."""
    files = {AVERAGE: AVERAGED, LIVE: WEIGHTS, PACKED: ARTIFACT}
    found = [name for name, file in files.items() if (folder / file).exists()]
    if not found:
        raise ConfigError(f"{folder}: has neither trained weights ({WEIGHTS}) nor {ARTIFACT}. Give a finished run")
    return found[0]


def kept_model(folder: Path, file: str, section: ModelConfig) -> GPT:
    """A model with the kept weights of a run; what an average leaves out is taken from the live ones.

    Raises DamagedFile if the weights are not those of the model, or not finite.
    """
    if not (folder / file).exists():
        raise ConfigError(f"--weights: {folder} has no such weights ({file}). Leave --weights out")
    weights = finite_weights(folder, file)
    if file == AVERAGED:
        weights = finite_weights(folder, WEIGHTS) | weights
    model = build_model(section)
    tensors = named_tensors(model)
    if shapes_and_types(weights) != shapes_and_types(tensors):
        remedy = "Train that run again with launch.rerun=true"
        raise DamagedFile(folder / file, "does not contain the weights of the model in its config.yaml", remedy)
    allocate(model, torch.device("cpu"))
    with torch.no_grad():
        for name, tensor in named_tensors(model).items():
            tensor.copy_(weights[name])
    return model.eval()


def finite_weights(folder: Path, file: str) -> dict[str, Tensor]:
    """The kept weights in a file of a run. Raises DamagedFile for one that is not finite, with its name."""
    weights = load_weights(folder, file)
    for name, tensor in weights.items():
        if not are_finite([tensor]):
            raise DamagedFile(folder / file, f"{name} has values that are not finite", "Inspect another run")
    return weights
