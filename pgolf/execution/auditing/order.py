"""Rule `score first` of a run: whether test-time training sees a token before its score."""

import torch
from torch import Tensor

from pgolf import audit
from pgolf.audit import Check, Report, Verdict
from pgolf.audit.recorder import Recorder
from pgolf.audit.replay import EXECUTED, RULE
from pgolf.audit.score_first import ORDER
from pgolf.config.build import build_eval
from pgolf.eval.adaptation import AdaptedScorer
from pgolf.eval.documents import PerDocument, document_starts, scores_documents
from pgolf.eval.score import Batching
from pgolf.execution.auditing.subject import Subject
from pgolf.machine.ranks import Ranks
from pgolf.nn.gpt import GPT
from pgolf.slots import DocumentMode

CONTEXTS = 3  # contexts of validation text that the evaluation is executed on, several times


def order_checks(subject: Subject) -> Report:
    """The rule, on the packed weights and the beginning of the validation text. Empty for a mode without training."""
    mode = build_eval(subject.config)
    if getattr(mode, "adaptation", None) is None:
        return Report(())
    if subject.corpus is None:
        return Report(tuple(Check(RULE, name, Verdict.NOT_CHECKED, subject.no_corpus) for name in (ORDER, EXECUTED)))
    corpus, model = subject.corpus, subject.artifact.model.eval()
    assert scores_documents(mode), mode
    length = min(len(corpus.val_tokens), CONTEXTS * model.dims.seq_len)
    text_N = torch.from_numpy(corpus.val_tokens[:length].astype("int64"))
    return audit.score_first(lambda recorder: adapted_evaluation(model, mode, text_N, corpus.document_start, recorder))


def adapted_evaluation(model: GPT, mode: DocumentMode, text_N: Tensor, document_start: int, recorder: Recorder) -> None:
    """Score a text [N] document by document, and tell the recorder. One by one, since rounding depends on a batch."""
    tokens_N = recorder.tokens(text_N, model.dims.vocab_size)
    plan = PerDocument(mode, document_starts(tokens_N.numpy(), document_start) or [0])
    scorer = AdaptedScorer(model, model, plan, Batching(torch.device("cpu"), 1, Ranks()), observer=recorder)
    for documents in scorer.batches(plan.documents(len(tokens_N) - 1)):
        for _ in scorer.scored(documents, tokens_N):
            pass
