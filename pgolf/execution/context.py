"""The objects that the parts of one run share: its configuration, ranks, corpus and evaluation."""

from dataclasses import dataclass

import torch

from pgolf.config.build import build_data, build_evaluation
from pgolf.config.schema import Config
from pgolf.data.loaded import LoadedCorpus, load_corpus
from pgolf.data.stream import TokenStream
from pgolf.eval.evaluator import Evaluation
from pgolf.machine.ranks import Ranks


@dataclass(frozen=True)
class RunContext:
    """The shared objects of one run. config: checked, every `auto` decided. stream: the training batches."""

    config: Config
    ranks: Ranks
    corpus: LoadedCorpus
    stream: TokenStream
    evaluation: Evaluation

    @property
    def device(self) -> torch.device:
        return torch.device(self.config.device)


def open_context(config: Config, ranks: Ranks) -> RunContext:
    """Prepare and load the corpus of a configuration. Raises PgolfError."""
    corpus = load_corpus(build_data(config).prepare())
    stream = TokenStream(
        corpus.train,
        batch_tokens=config.train.batch_tokens,
        seq_len=config.train.seq_len,
        micro_batches=config.train.micro_batches,
        shuffle_seed=corpus.corpus.shuffle_seed,
    )
    return RunContext(config, ranks, corpus, stream, build_evaluation(config, corpus, ranks))
