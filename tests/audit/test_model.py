"""Clean models give no finding, nothing is left changed, and wrong arguments are named."""

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pgolf import audit
from pgolf.audit.report import Verdict
from pgolf.audit.tolerance import arithmetic_of, largest_change, precision_of
from pgolf.audit.weights import redraw
from pgolf.errors import OptionError
from small_gpt import START, VOCAB, WIDTH, SmallGPT, earlier
from tiny import tiny_config, tiny_model


class SmearWithin(SmallGPT):
    """Smears from the token before, but not into a document start."""

    def embed(self, ids_BT):
        x = self.table(ids_BT)
        return x + 0.1 * earlier(x) * (ids_BT != START)[..., None]


class HashOfThePast(SmallGPT):
    def add_parts(self):
        self.pairs = nn.Embedding(61, WIDTH)

    def embed(self, ids_BT):
        return self.table(ids_BT) + self.pairs((31 * earlier(ids_BT) + ids_BT) % 61)


class Mixture(SmallGPT):
    """A mixture of two softmaxes and a cache of the earlier tokens of the row."""

    def add_parts(self):
        self.second = nn.Linear(WIDTH, VOCAB)

    def forward(self, ids_BT):
        x = self.hidden(ids_BT)
        counts = 1 + F.one_hot(ids_BT, VOCAB).cumsum(1)
        cache = counts / counts.sum(-1, keepdim=True)
        return (0.5 * self.head(x).softmax(-1) + 0.3 * self.second(x).softmax(-1) + 0.2 * cache).log()


class AdaptsAndForgets(SmallGPT):
    """Test-time training inside one call: the head's bias learns token t after token t is scored, and is reset."""

    def forward(self, ids_BT):
        x, rows = self.hidden(ids_BT), torch.arange(len(ids_BT))
        bias, scored = self.head.bias.expand(len(x), VOCAB), []
        for t in range(ids_BT.size(1)):
            bias = bias + 0.1 * F.one_hot(ids_BT[rows, t], VOCAB)
            scored.append(F.log_softmax(x[:, t] @ self.head.weight.T + bias, -1))
        return torch.stack(scored, 1)


class InPlace(SmallGPT):
    def embed(self, ids_BT):
        x = self.table(ids_BT)
        x[:, 1:] += 1.0
        return x.mul_(2)


class Autocast(SmallGPT):
    def forward(self, ids_BT):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.hidden(ids_BT)
        return F.log_softmax(self.head(x.float()), -1)


class AllBf16(SmallGPT):
    def add_parts(self):
        self.bfloat16()


CLEAN = [SmallGPT, HashOfThePast, Mixture, AdaptsAndForgets, InPlace, Autocast, AllBf16]


@pytest.mark.parametrize("kind", CLEAN, ids=lambda kind: kind.__name__)
def test_a_clean_model_has_no_finding(kind):
    model = kind().eval()
    report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8, 40), redraws=1)
    assert not report.failed, str(report)
    assert {c.name for c in report.of(Verdict.NOT_CHECKED)} == {
        f"nothing crosses a document start ({weights} weights)" for weights in ("given", "redrawn")
    }


@pytest.mark.parametrize("kind", [SmallGPT, SmearWithin])
@pytest.mark.parametrize("zero_outputs", [False, True])
def test_clean_documents_pass_everything(kind, zero_outputs):
    model = kind(documents=True, zero_outputs=zero_outputs).eval()
    report = audit.model(model, vocab_size=VOCAB, document_start=START, model=model, lengths=(8, 40), redraws=1)
    assert report.counts()["pass"] == len(report.checks), str(report)


@pytest.mark.parametrize("choices", ["stack=baseline", "stack=pr470", "stack=pr908", "stack=pr215", "stack=pr1481"])
def test_the_published_stacks_look_at_no_later_token(choices):
    """Also the shared-weights stack with its hash of the present and the last token."""
    model = tiny_model(tiny_config(choices, "model.layers=5", "model.heads=2", "model.kv_heads=1")).eval()
    redraw(model, 1.0, 0)  # initial weights of zero hide paths
    report = audit.model(
        lambda ids: model.head.logp(model.hidden(ids)), vocab_size=23, model=model, lengths=(8,), redraws=0
    )
    assert not report.failed, str(report)


def test_without_the_module_redrawn_weights_and_gradients_are_not_checked():
    report = audit.model(SmallGPT(), vocab_size=VOCAB, lengths=(8,))
    assert not report.failed
    reasons = {check.name: check.evidence for check in report.of(Verdict.NOT_CHECKED)}
    assert reasons.keys() == {
        "no gradient from later embeddings (given weights)",
        "nothing crosses a document start (given weights)",
        "all checks above (redrawn weights)",
    }
    assert "document_start" in reasons["nothing crosses a document start (given weights)"]
    report.check()
    with pytest.raises(audit.AuditError, match="pass the module as `model`"):
        report.check(strict=True)


def test_a_function_that_no_token_changes_is_not_passed():
    flat = torch.full((VOCAB,), 1 / VOCAB).log()
    report = audit.model(lambda ids: flat.expand(*ids.shape, VOCAB), vocab_size=VOCAB, lengths=(8,))
    (check,) = (c for c in report if c.name.startswith("one later token"))
    assert check.verdict == Verdict.NOT_CHECKED
    assert "no token changes any log-probability" in check.evidence


def test_another_module_than_the_one_in_use_is_noticed():
    report = audit.model(SmallGPT(), vocab_size=VOCAB, model=SmallGPT(), lengths=(8,))
    redrawn = [check for check in report if "redrawn" in check.name]
    assert {check.verdict for check in redrawn} == {Verdict.NOT_CHECKED}
    assert any("logp does not use them" in check.evidence for check in redrawn)


def test_results_without_gradients_are_not_checked_by_gradient():
    model = SmallGPT()
    report = audit.model(torch.no_grad()(model.forward), vocab_size=VOCAB, model=model, lengths=(8,), redraws=0)
    (check,) = (c for c in report if c.name.startswith("no gradient"))
    assert (check.verdict, "torch.no_grad" in check.evidence) == (Verdict.NOT_CHECKED, True)


def test_embeddings_can_be_named():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(VOCAB, WIDTH))

        def forward(self, ids):
            return self.weight[ids]

    model = SmallGPT()
    model.table = Own()
    nn.init.normal_(model.table.weight)
    for embed, verdict in ((None, Verdict.NOT_CHECKED), (["table"], Verdict.PASS)):
        report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8,), redraws=0, embed=embed)
        (check,) = (c for c in report if c.name.startswith("no gradient"))
        assert check.verdict == verdict


class Buffered(SmallGPT):
    """Changes one buffer, replaces another one, counts its calls and raises exceptions from call number `last` on."""

    def add_parts(self):
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("seen", torch.zeros(3))
        self.count, self.last = 0, 10**9

    def forward(self, ids_BT):
        self.calls += 1
        self.seen = self.seen + 1
        self.count += 1
        if self.count >= self.last:
            raise ValueError("the last call")
        return super().forward(ids_BT)


@pytest.mark.parametrize("last", [10**9, 110, 70, 30])  # never, late, with redrawn weights, early
def test_weights_buffers_and_random_state_are_restored(last):
    model = Buffered()
    model.last = last
    buffers = dict(model.named_buffers())
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    with contextlib.nullcontext() if last > 50 else pytest.raises(OptionError, match="the last call"):
        report = audit.model(model, vocab_size=VOCAB, model=model, lengths=(8,), redraws=1)
        refused = [check for check in report if "the last call" in check.evidence]
        assert (len(refused) > 0) == (last < 10**9)
        assert not report.failed
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(tensor is buffers[name] for name, tensor in model.named_buffers())
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    assert not model.table._forward_hooks
    assert model.training


def test_small_differences_of_identical_calls_are_allowed_and_mentioned():
    """As on a GPU whose sums have no fixed order. A leak that is larger is still seen."""
    model, generator = SmallGPT(), torch.Generator().manual_seed(1)

    def noisy(ids, leak=0.0):
        logp = model(ids) + 1e-6 * (torch.rand(*ids.shape, VOCAB, generator=generator) - 0.5)
        logp[:, 2, 0] += leak * (ids[:, 5] % 2)
        return logp

    report = audit.model(noisy, vocab_size=VOCAB, model=model, lengths=(12,), redraws=1)
    assert not report.failed, str(report)
    (check,) = (c for c in report if c.name == "one later token changes nothing (given weights)")
    assert "identical calls differ by" in check.evidence
    report = audit.model(lambda ids: noisy(ids, 1e-5), vocab_size=VOCAB, lengths=(12,))
    assert "one later token changes nothing (given weights)" in {c.name for c in report.failed}


def test_a_compiled_function_can_be_audited():
    model = SmallGPT()
    compiled = torch.compile(model, backend="eager", dynamic=True)
    report = audit.model(compiled, vocab_size=VOCAB, model=model, lengths=(8,), redraws=1)
    assert not report.failed, str(report)


def test_inference_mode_can_be_audited():
    model = SmallGPT()
    report = audit.model(torch.inference_mode()(model.forward), vocab_size=VOCAB, model=model, lengths=(8,), redraws=1)
    assert not report.failed, str(report)


def test_a_fixed_length_and_batch_are_not_blamed():
    model = SmallGPT()

    def logp(ids):
        assert ids.shape == (1, 12), "only [1, 12]"
        return model(ids)

    report = audit.model(logp, vocab_size=VOCAB, model=model, lengths=(12,), redraws=0)
    assert not report.failed, str(report)
    assert "only [1, 12]" in next(c for c in report if c.name.startswith("a prefix alone")).evidence


def test_the_tolerance_follows_the_arithmetic():
    ids = torch.randint(VOCAB, (3, 11))
    kinds = (SmallGPT, Autocast, AllBf16)
    found = [arithmetic_of(torch.no_grad()(kind().forward), ids) for kind in kinds]
    assert found == [torch.float32, torch.bfloat16, torch.bfloat16]
    values = torch.randn(50)
    assert precision_of(values) == torch.float32
    assert precision_of(values.bfloat16().float()) == torch.bfloat16
    assert precision_of(values.half().double()) == torch.float16
    assert precision_of(values.double()) == torch.float32


def test_the_largest_change_knows_infinities():
    a = torch.tensor([[[0.0, -torch.inf, 1.0]]])
    assert largest_change(a, a.clone()).size == 0
    assert largest_change(a, torch.tensor([[[0.0, -torch.inf, 3.0]]])).size == 2
    assert largest_change(a, torch.tensor([[[torch.nan, -torch.inf, 1.0]]])).size == torch.inf
    assert largest_change(a, torch.tensor([[[0.0, 5.0, 1.0]]])).entry == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logp": 3}, "logp: cannot be 3; pass a function"),
        ({"logp": lambda ids: [1]}, "logp: cannot be 'a function that returns list'; return one tensor"),
        ({"logp": lambda: 1}, "logp: cannot be .*; pass a function"),
        ({"logp": lambda ids: SmallGPT()(ids).to_sparse()}, "torch.sparse_coo on cpu'; return a dense tensor"),
        ({"logp": lambda ids: SmallGPT()(ids).to(torch.float8_e4m3fn)}, "float8.*; return a dense tensor"),
        ({"vocab_size": 1}, "vocab_size: cannot be 1; choose"),
        ({"vocab_size": 2, "document_start": 1}, "vocab_size: cannot be 2; .* 3 or more with a document start"),
        ({"vocab_size": "9"}, "vocab_size: cannot be '9'; choose"),
        ({"vocab_size": 48.0}, "vocab_size: cannot be 48.0; choose"),
        ({"document_start": 48}, "document_start: cannot be 48; choose a token id from 0 to 47"),
        ({"model": "gpt"}, "model: cannot be 'str'; pass a torch.nn.Module"),
        ({"lengths": ()}, "lengths: cannot be"),
        ({"lengths": 16}, "lengths: cannot be 16"),
        ({"lengths": (1,)}, "lengths: cannot be 1; .* a shorter text has no later token"),
        ({"redraws": -1}, "redraws: cannot be -1"),
        ({"seed": "one"}, "seed: cannot be 'one'; choose a whole number"),
        ({"seed": 2**70}, "seed: cannot be 1180591620717411303424; choose a whole number from 0 to 4294967295"),
        ({"device": "gpu 1"}, "device: cannot be 'gpu 1'; name a device of torch"),
        ({"device": "meta"}, "device: cannot be 'meta'; it holds no values"),
        ({"embed": ["table"]}, "pass the module that has these parts as `model`"),
        ({"embed": ["tabel"], "model": SmallGPT()}, "Did you mean table?"),
        ({"embed": "table", "model": SmallGPT()}, "pass a list of names"),
        ({"embed": 5, "model": SmallGPT()}, "embed: cannot be 5; pass a list of names"),
        ({"embed": [5], "model": SmallGPT()}, "pass a list of names"),
        ({"vocab_size": 60}, "logp raised IndexError.*Choose lengths and a vocabulary"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    """Each argument alone, with right ones beside it."""
    arguments = {"logp": SmallGPT(), "vocab_size": VOCAB, "lengths": (8,), **changed}
    with pytest.raises(OptionError, match=message.replace("(", r"\(")):
        audit.model(arguments.pop("logp"), **arguments)
