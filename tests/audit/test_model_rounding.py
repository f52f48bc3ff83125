"""Changes by rounding are told from dependence on later tokens, and from results that drift."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from pgolf import audit
from pgolf.audit.double import in_double
from pgolf.audit.report import Verdict
from small_gpt import STD, VOCAB, WIDTH, SmallGPT

ONE, ALL = "one later token changes nothing (given weights)", "all later tokens change nothing (given weights)"
GRADIENT, AGAIN = "no gradient from later embeddings (given weights)", "identical calls agree"
EXPERTS = 8


class RoutedExperts(SmallGPT):
    """Each token chooses an expert, whose batch therefore depends on all tokens. So does the order of its sums."""

    def add_parts(self):
        self.router = nn.Linear(WIDTH, EXPERTS, bias=False)
        self.experts = nn.ModuleList(nn.Linear(4 * WIDTH, WIDTH) for _ in range(EXPERTS))

    def embed(self, ids_BT):
        x = self.table(ids_BT)
        flat = x.flatten(0, 1)
        weight, chosen = self.router(flat).softmax(-1).max(-1)
        wide, out = torch.cat([flat, flat.sin(), flat.cos(), flat.square()], -1), torch.zeros_like(flat)
        for n, expert in enumerate(self.experts):
            rows = (chosen == n).nonzero()[:, 0]
            out = out.index_add(0, rows, expert(wide[rows]) * weight[rows, None])
        return x + out.view_as(x)


class LongConvolution(SmallGPT):
    """A causal convolution by Fourier transform: rounding errors of one token reach all positions."""

    def embed(self, ids_BT):
        x, length = self.table(ids_BT), ids_BT.size(1)
        kernel = torch.exp(-torch.arange(length, dtype=x.dtype) / 5)
        mixed = torch.fft.rfft(x, 2 * length, 1) * torch.fft.rfft(kernel, 2 * length)[:, None]
        return x + torch.fft.irfft(mixed, 2 * length, 1)[:, :length]


class LeakAmongRounding(LongConvolution):
    """One coordinate of one later token, times a thousandth of the smallest weight scale."""

    def embed(self, ids_BT):
        x = super().embed(ids_BT).clone()
        x[:, 2, 3] += 1e-3 * STD * (ids_BT[:, 4] % 2)
        return x


def named(report, name):
    (check,) = (check for check in report if check.name == name)
    return check


@pytest.mark.parametrize("kind", [RoutedExperts, LongConvolution], ids=lambda kind: kind.__name__)
def test_rounding_that_later_tokens_change_is_no_finding(kind):
    model = kind().eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8,), redraws=1)
    assert not report.failed, str(report)
    assert {check.name.split(" (")[0] for check in report.of(Verdict.NOT_CHECKED)} == {
        "nothing crosses a document start"
    }
    assert "nats are rounding: " in str(report), "the model has nothing to decide"


def test_a_small_leak_among_rounding_is_found_with_and_without_the_module():
    model = LeakAmongRounding().eval()
    for module in (model, None):
        report = audit.model(model, vocab_size=VOCAB, model=module, lengths=(6,), redraws=0, seed=1)
        check = named(report, ONE)
        assert check.verdict == Verdict.FAIL
        assert check.data["changed"] == 4
        assert named(report, ALL).verdict == Verdict.FAIL


class LeakInFloat32(SmallGPT):
    """One position reads ahead, in the path for float32 alone, as fast kernels for some types might."""

    def embed(self, ids_BT):
        x = self.table(ids_BT).clone()
        x[:, 4] += 0.01 * x[:, 9] * (x.dtype == torch.float32)
        return x


def test_a_leak_that_float64_does_not_have_is_found():
    model = LeakInFloat32().eval()
    check = named(audit.model(model, vocab_size=VOCAB, model=model, lengths=(12,), redraws=0), ONE)
    assert (check.verdict, check.data["changed"]) == (Verdict.FAIL, 9)


def test_a_tiny_gradient_from_later_tokens_is_found_among_rounding():
    class Ahead(LongConvolution):
        def embed(self, ids_BT):
            x = super().embed(ids_BT)
            return x + 1e-8 * x.roll(-1, 1)

    model = Ahead().eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8,), redraws=0)
    assert named(report, GRADIENT).verdict == Verdict.FAIL


@pytest.mark.parametrize(("leak", "verdict"), [(0.0, Verdict.NOT_CHECKED), (0.1, Verdict.FAIL)])
def test_without_float64_only_a_large_change_is_a_finding(leak, verdict):
    model = LongConvolution().eval()

    def logp(ids):
        result = model(ids)
        assert result.dtype == torch.float32, "compiled for float32"
        return result + leak * ids[:, -1, None, None].float()

    check = named(audit.model(logp, vocab_size=VOCAB, lengths=(6,)), ALL)
    assert check.verdict == verdict
    assert ("float64 cannot be executed: AssertionError: compiled for float32" in check.evidence) == (leak == 0)
    assert ("changes by" in check.evidence) or leak


def test_a_model_that_is_float64_already_cannot_be_looked_at_more_closely():
    model = LongConvolution().double().eval()
    check = named(audit.model(model, vocab_size=VOCAB, model=model, lengths=(6,), redraws=0), ONE)
    assert (check.verdict, "float64 already" in check.evidence) == (Verdict.NOT_CHECKED, True)


class Drifting(SmallGPT):
    """The result grows with every call. step: relative, per call."""

    step, calls = 1e-6, 0

    def forward(self, ids_BT):
        self.calls += 1
        return F.log_softmax(self.head(self.hidden(ids_BT)) * (100 + self.step * self.calls), -1)


class DriftingSlowly(Drifting):
    """Less than one bit in the first calls."""

    step = 3e-7


@pytest.mark.parametrize("kind", [Drifting, DriftingSlowly])
def test_a_drift_is_blamed_on_the_state_and_not_on_later_tokens(kind):
    report = audit.model(kind(), vocab_size=VOCAB, lengths=(16,))
    assert [check.name for check in report.failed] == [AGAIN]
    assert "in a later call with one input" in report.failed[0].evidence
    assert named(report, ONE).verdict == Verdict.NOT_CHECKED
    assert "mend the state checks first" in named(report, ONE).evidence


class Remembers(SmallGPT):
    """Keeps a table of cosines of the type that it was first computed in, and counts calls in a buffer."""

    def add_parts(self):
        self.register_buffer("seen", torch.zeros(()))

    def embed(self, ids_BT):
        self.seen = self.seen + 1
        self.cosines = torch.arange(ids_BT.size(1)).float().cos()[:, None]
        return self.table(ids_BT) * self.cosines


def test_a_call_in_float64_leaves_the_module_as_it_was():
    model, ids = Remembers(), torch.arange(8)[None]
    with torch.no_grad():
        single = model(ids)
        cosines, seen = model.cosines, model.seen
        with in_double(model):
            double = model(ids)
    assert double.dtype == torch.float64
    assert 0 < float((double - single).abs().max()) < 1e-3
    assert model.cosines is cosines
    assert model.seen is seen
    assert model.table.weight.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(model(ids), single, rtol=0, atol=0)


def test_writing_into_an_older_tensor_in_float64_reaches_it():
    cache, total = torch.zeros(2, 3), torch.zeros(2)
    with in_double(None):
        torch.add(torch.ones(2), torch.ones(2).double(), out=total)
        cache[:, 1] = torch.tensor([0.1, 0.2]).double()
        cache[:, 2] += torch.tensor([1.0, 2.0])
        read = cache[:, 1:] * 1.0
    assert total.tolist() == [2, 2]
    assert (cache.dtype, read.dtype) == (torch.float32, torch.float64)
    torch.testing.assert_close(cache, torch.tensor([[0, 0.1, 1], [0, 0.2, 2]]))
    torch.testing.assert_close(read, cache[:, 1:].double())


class LeakFromAfar(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + F.pad(x[:, 200:], [0, 0, 0, 200]) if ids_BT.size(1) > 200 else x


def test_a_leak_from_200_tokens_ahead_is_found_by_default():
    check = named(audit.model(LeakFromAfar(), vocab_size=np.int64(VOCAB)), ALL)
    assert check.verdict == Verdict.FAIL
    assert "(16, 128, 512)" in check.limits


def test_a_context_that_is_shorter_than_the_longest_default_is_accepted():
    model = SmallGPT()

    def logp(ids):
        assert ids.size(1) <= 128
        return model(ids)

    report = audit.model(logp, vocab_size=VOCAB)
    assert not report.failed
    assert "one of each length (16, 128); not seen" in named(report, ONE).limits


class LeakAtAChunk(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT).clone()
        x[:, 47] += 0.1 * x[:, 48]
        return x


def test_a_leak_at_the_end_of_a_chunk_is_found():
    assert named(audit.model(LeakAtAChunk(), vocab_size=VOCAB, lengths=(64,)), ONE).verdict == Verdict.FAIL


class Checkpointed(SmallGPT):
    def hidden(self, ids_BT):
        return checkpoint(super().hidden, ids_BT, use_reentrant=True)


class LookupAlone(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(VOCAB, VOCAB)
        self.register_buffer("shift", torch.zeros(()))

    def forward(self, ids):
        return F.log_softmax(self.table(ids) + self.shift, -1)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_module_of_torch_jit_is_audited_and_restored():
    model = torch.jit.trace(LookupAlone().eval(), torch.zeros(1, 4, dtype=torch.long))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not audit.model(model, vocab_size=VOCAB, model=model, lengths=(4,), redraws=1).failed
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class LeaksSometimes(SmallGPT):
    """Reads ahead in one call of thirty."""

    calls = 0

    def embed(self, ids_BT):
        self.calls += 1
        x = self.table(ids_BT)
        return x + x.roll(-1, 1) * (self.calls % 30 == 0)


def test_a_function_that_differs_in_some_calls_has_a_state():
    report = audit.model(LeaksSometimes(), vocab_size=VOCAB, lengths=(8,))
    assert [check.name for check in report.failed] == [AGAIN], str(report)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_what_autograd_refuses_is_not_checked():
    with torch.inference_mode():
        inferred = SmallGPT()
    for model in (Checkpointed(), inferred):
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8,), redraws=1)
        assert not report.failed, str(report)
        assert named(report, GRADIENT).verdict == Verdict.NOT_CHECKED
        assert named(report, ONE).verdict == named(report, "one later token changes nothing (redrawn weights)").verdict
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_lookup_of_the_different_tokens_has_no_position():
    class Unique(SmallGPT):
        def embed(self, ids_BT):
            different, place = ids_BT.unique(return_inverse=True)
            return self.table(different)[place]

    model = Unique()
    report = audit.model(model, vocab_size=VOCAB, model=model, redraws=0, lengths=(5,))  # five different ones, unsorted
    assert named(report, GRADIENT).verdict == Verdict.NOT_CHECKED


@pytest.mark.parametrize("length", [2, 3])
def test_two_tokens_of_two_kinds_can_be_audited(length):
    def logp(ids, leak=0.0):
        share = (0.1 + 0.1 * (ids == 1).cumsum(1) + leak * ids[:, -1:])[..., None]
        return torch.cat([share, 1 - share], -1).log()

    assert not audit.model(logp, vocab_size=2, lengths=(length,)).failed
    report = audit.model(lambda ids: logp(ids, 0.01), vocab_size=2, lengths=(length,))
    assert {ONE, ALL} <= {check.name for check in report.failed}
