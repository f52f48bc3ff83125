"""Each defect of a model is planted in a small GPT, and found by the check that is named beside it."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pgolf import audit
from small_gpt import STD, VOCAB, WIDTH, SmallGPT, earlier, later

ONE, ALL = "one later token changes nothing", "all later tokens change nothing"
GRADIENT, TARGET = "no gradient from later embeddings", "the target alone changes nothing"
DOCUMENTS, SUMS = "nothing crosses a document start", "probabilities sum to one"
ROWS, ALONE = "other rows of the batch change nothing", "a row alone equals that row in a batch"
ORDER, PREFIX = "the order of rows does not matter", "a prefix alone equals the prefix of a longer input"
AGAIN, BETWEEN = "identical calls agree", "other data in between change nothing"


class HashWithTarget(SmallGPT):
    def add_parts(self):
        self.pairs = nn.Embedding(61, WIDTH)

    def embed(self, ids_BT):
        return self.table(ids_BT) + self.pairs((31 * ids_BT + later(ids_BT)) % 61)


class SmearAhead(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + 0.1 * later(x)


class SmearAcrossDocuments(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + 0.1 * earlier(x)


class AttentionAcrossDocuments(SmallGPT):
    def mask(self, ids_BT, layer):
        self.documents = layer == 0
        return super().mask(ids_BT, layer)


class AttentionToEverySecondDocument(SmallGPT):
    def mask(self, ids_BT, layer):
        document = (ids_BT == 1).cumsum(1) % 2
        self.documents = False
        return super().mask(ids_BT, layer) & (document[:, None, :, None] == document[:, None, None, :])


class UnnormalisedMixture(SmallGPT):
    def add_parts(self):
        self.second = nn.Linear(WIDTH, VOCAB)

    def forward(self, ids_BT):
        x = self.hidden(ids_BT)
        return (0.5 * self.head(x).softmax(-1) + 0.501 * self.second(x).softmax(-1)).log()


class MixtureWeightOfZero(UnnormalisedMixture):
    def add_parts(self):
        super().add_parts()
        self.weight = nn.Parameter(torch.empty(()))

    def forward(self, ids_BT):
        x = self.hidden(ids_BT)
        return (self.head(x).softmax(-1) + self.weight.square() * self.second(x).softmax(-1)).log()


class CacheOfPreviousBatch(SmallGPT):
    counts = torch.ones(VOCAB)

    def forward(self, ids_BT):
        cached = (self.counts / self.counts.sum()).log()
        self.counts = 1 + ids_BT.flatten().bincount(minlength=VOCAB)
        return torch.logaddexp(super().forward(ids_BT) - 0.1, cached + torch.tensor(1 - 0.9048374).log())


class AdaptsInEachCall(SmallGPT):
    def forward(self, ids_BT):
        with torch.enable_grad():
            logp = super().forward(ids_BT)
            loss = F.nll_loss(logp[:, :-1].flatten(0, 1), ids_BT[:, 1:].flatten())
            (slope,) = torch.autograd.grad(loss, [self.head.bias], retain_graph=True)
        with torch.no_grad():
            self.head.bias -= 0.1 * slope
        return logp


class MaskLeaksAtOneLayer(SmallGPT):
    def mask(self, ids_BT, layer):
        mask = super().mask(ids_BT, layer)
        return mask | torch.ones_like(mask).triu(1).tril(1) if layer == 1 else mask


class GateOverTime(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x * x.mean(-1, keepdim=True).softmax(1)


class SoftmaxOverTime(SmallGPT):
    def forward(self, ids_BT):
        return F.log_softmax(self.head(self.hidden(ids_BT)), 1)


class RenormalisedByTarget(SmallGPT):
    def forward(self, ids_BT):
        return F.log_softmax(super().forward(ids_BT) + 0.1 * F.one_hot(later(ids_BT), VOCAB), -1)


class BatchNorm(SmallGPT):
    def add_parts(self):
        self.norm = nn.BatchNorm1d(WIDTH)

    def embed(self, ids_BT):
        return self.norm(self.table(ids_BT).transpose(1, 2)).transpose(1, 2)


class TinyLeak(SmallGPT):
    """One coordinate of one later token, times a thousandth of the smallest weight scale."""

    def embed(self, ids_BT):
        x = self.table(ids_BT).clone()
        x[:, 4, 3] += 1e-3 * STD * (ids_BT[:, 9] % 2)
        return x


class LateLeak(SmallGPT):
    """Reads ahead after position 63 only."""

    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return torch.cat([x[:, :64], (x + 0.1 * later(x))[:, 64:]], 1)


class RowsRunOn(SmallGPT):
    """The first token of a row smears with the last one of the row before."""

    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + 0.1 * x.flatten(0, 1).roll(1, 0).view(x.shape)


class LongRowsRunOn(RowsRunOn):
    """In rows of more than 16 tokens only."""

    def embed(self, ids_BT):
        return super().embed(ids_BT) if ids_BT.size(1) > 16 else self.table(ids_BT)


class BiasByRow(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + 0.01 * torch.arange(len(x))[:, None, None]


class ScaledByLength(SmallGPT):
    def embed(self, ids_BT):
        return self.table(ids_BT) * (torch.arange(WIDTH) + ids_BT.size(1))


class Dropout(SmallGPT):
    def embed(self, ids_BT):
        return F.dropout(self.table(ids_BT), 0.1, training=True)


PLANTED = [
    (HashWithTarget, {ONE, ALL, TARGET}),
    (SmearAhead, {ONE, ALL, TARGET, GRADIENT}),
    (UnnormalisedMixture, {SUMS}),
    (CacheOfPreviousBatch, {BETWEEN}),
    (AdaptsInEachCall, {AGAIN}),
    (MaskLeaksAtOneLayer, {ONE, ALL, GRADIENT}),
    (GateOverTime, {ONE, ALL, GRADIENT, PREFIX}),
    (SoftmaxOverTime, {ONE, SUMS, PREFIX}),
    (RenormalisedByTarget, {TARGET}),
    (BatchNorm, {ROWS, ALONE}),
    (TinyLeak, {ONE}),
    (LateLeak, {ONE, ALL, GRADIENT}),
    (RowsRunOn, {ROWS, ALONE}),
    (LongRowsRunOn, {ROWS, ALONE}),
    (BiasByRow, {ORDER, ALONE}),
    (ScaledByLength, {PREFIX}),
    (Dropout, {AGAIN}),
]


def failed(report: audit.Report) -> set[str]:
    """Names of the failed checks."""
    return {check.name for check in report.failed}


@pytest.mark.parametrize(("planted", "named"), PLANTED, ids=lambda value: getattr(value, "__name__", ""))
def test_a_planted_defect_is_found_by_its_check(planted, named):
    model = planted()
    lengths = {LateLeak: (12, 80), LongRowsRunOn: (12, 20)}.get(planted, (12,))
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=lengths, redraws=0)
    expected = {name if name in (PREFIX, ORDER, ALONE, AGAIN, BETWEEN) else f"{name} (given weights)" for name in named}
    assert expected <= failed(report), str(report)
    with pytest.raises(audit.AuditError):
        report.check()
    report.to_json()


@pytest.mark.parametrize("planted", [SmearAcrossDocuments, AttentionAcrossDocuments, AttentionToEverySecondDocument])
def test_what_crosses_a_document_start_is_found(planted):
    model = planted(documents=True).eval()
    report = audit.model(model, vocab_size=VOCAB, document_start=1, model=model, lengths=(12,), redraws=1)
    assert failed(report) == {f"{DOCUMENTS} ({weights} weights)" for weights in ("given", "redrawn")}


@pytest.mark.parametrize("planted", [UnnormalisedMixture, RenormalisedByTarget, HashWithTarget, RowsRunOn, BiasByRow])
def test_nothing_else_is_blamed(planted):
    """The checks of other rules stay silent: a smear over rows is no leak of later tokens."""
    allowed = {
        UnnormalisedMixture: {SUMS},
        RenormalisedByTarget: {ONE, ALL, TARGET, PREFIX},  # the last token of a prefix has no later one
        HashWithTarget: {ONE, ALL, TARGET, PREFIX},
        RowsRunOn: {ONE, ALL, TARGET, GRADIENT, ROWS, ALONE, ORDER, PREFIX},  # the row before is the row itself
        BiasByRow: {ORDER, ALONE},
    }[planted]
    model = planted().eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(12,), redraws=1)
    found = {name.split(" (")[0] for name in failed(report)}
    assert found
    assert found <= allowed


def test_a_leak_behind_weights_of_zero_shows_with_redrawn_weights_only():
    model = MaskLeaksAtOneLayer(zero_outputs=True).eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(12,))
    assert {f"{name} (redrawn weights)" for name in (ONE, ALL, GRADIENT)} <= failed(report)
    assert not any("given" in name for name in failed(report))
    assert not audit.model(model, vocab_size=VOCAB, lengths=(12,)).failed


def test_a_mixture_behind_a_weight_of_zero_shows_with_redrawn_weights_only():
    model = MixtureWeightOfZero().eval()
    nn.init.zeros_(model.weight)
    assert failed(audit.model(model, vocab_size=VOCAB, model=model, lengths=(12,))) == {f"{SUMS} (redrawn weights)"}


def test_the_evidence_of_a_leak_names_positions_entry_and_size():
    model = TinyLeak().eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(12,), redraws=0)
    (check,) = (c for c in report.failed if c.name.startswith(ONE))
    assert check.data["changed"] == 9
    assert check.data["position"] >= 4
    assert 0 < check.data["size"] < 1e-3
    assert "after a change of token 9: the log-probability of entry" in check.evidence


@pytest.mark.parametrize(
    ("wrong", "evidence"),
    [
        (lambda logp: logp[..., :-1], "expected floating [1, 16, 48]"),
        (lambda logp: logp[:, :-1], "expected floating [1, 16, 48]"),
        (lambda logp: logp.argmax(-1), "torch.int64"),
        (lambda logp: torch.where(logp == logp.min(), torch.nan, logp), "is nan"),
        (lambda logp: torch.where(logp == logp.min(), torch.inf, logp), "is inf"),
    ],
)
def test_results_that_are_no_log_probabilities_end_the_audit(wrong, evidence):
    model = SmallGPT()
    report = audit.model(lambda ids: wrong(model(ids)), vocab_size=VOCAB)
    (check,) = report.failed
    assert evidence in check.evidence
    assert report.counts()["pass"] == 0


def test_logits_are_no_log_probabilities():
    model = SmallGPT()
    report = audit.model(lambda ids: model.head(model.hidden(ids)), vocab_size=VOCAB, lengths=(8,))
    assert failed(report) == {f"{SUMS} (given weights)"}
