"""Test-time training of adapters: the formula in float64, the order of scores and steps, and independent documents."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.func import functional_call

from pgolf import audit
from pgolf.audit import Verdict
from pgolf.audit.replay import EXECUTED
from pgolf.audit.score_first import ORDER
from pgolf.config.build import build_eval, check_eval_suits_model
from pgolf.errors import ConfigError, OptionError
from pgolf.eval.adaptation import AdaptedScorer
from pgolf.eval.adapters import MAPS, Adapters, adapted_sites
from pgolf.eval.document_stride import DocumentStride
from pgolf.eval.documents import PerDocument, document_starts
from pgolf.eval.score import Batching, score
from pgolf.eval.ttt_lora import TttLora
from pgolf.execution.auditing.order import adapted_evaluation
from pgolf.inspect.depth import Skipped, replaced_passes
from pgolf.machine.ranks import Ranks
from tiny import CPU, STACKS, bytes_of_state, random_ids, stack_config, tiny_config, tiny_model, variants

BOS, LR = 1, 0.02
STARTS = [0, 11, 12, 40]
TOKENS = random_ids(1, 61, seed=11)[0].clamp(min=BOS + 1)
TOKENS[STARTS] = BOS
SIZES = np.ones(60, dtype=np.int64)


def ttt(**changes):
    options = {"rank": 2, "chunk": 4, "lr": LR, "beta1": 0.9, "beta2": 0.95, "eps": 1e-10, "maps": ["q", "v", "head"]}
    return TttLora(16, **{**options, "seed": 3, "max_targets": None, **changes})


def model_of(*overrides):
    return tiny_model(tiny_config(*overrides)).double().eval()  # contexts of 16 tokens


def run(mode, model, *, batch_tokens=64, kind=AdaptedScorer):
    plan = PerDocument(mode, STARTS)
    scorer = kind(model, model, plan, Batching(CPU, batch_tokens, Ranks()))
    return scorer(TOKENS.numpy().astype(np.uint16), SIZES)


def adam(p, gradient, state):
    """One step of Adam by its formula. state: (m, v, number of steps before)."""
    m, v, t = 0.9 * state[0] + 0.1 * gradient, 0.95 * state[1] + 0.05 * gradient**2, state[2] + 1
    return p - LR * (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-10), (m, v, t)


def test_scores_are_those_of_weights_with_the_product_added():
    """By hand: W + B A in place of W, the gradient of the chunk's mean nats, Adam; the document has three chunks."""
    model = model_of("model/head=untied")
    weights = {
        "model.head": "head.up.weight",
        **{f"model.q_proj.{i}": f"q_proj.{i}.proj.weight" for i in range(3)},
        **{f"model.attention.{i}.v": f"attention.{i}.v.weight" for i in range(3)},
    }
    start = Adapters(adapted_sites(model, ["q", "v", "head"]), 1, rank=2, seed=3, device=CPU, dtype=torch.float64)
    assert start.a.keys() == weights.keys()
    a, b = ({k: x[0].detach().clone() for k, x in of.items()} for of in (start.a, start.b))
    states = {(kind, k): (0.0, 0.0, 0) for kind in "ab" for k in weights}
    expected = []
    for first, stop in ((0, 4), (4, 8), (8, 11)):
        for of in (a, b):
            of.update({k: x.detach().requires_grad_() for k, x in of.items()})
        merged = {path: model.get_parameter(path) + b[k] @ a[k] for k, path in weights.items()}
        nats = functional_call(model, merged, (TOKENS[None, :stop], TOKENS[None, first + 1 : stop + 1]))[0]
        expected += nats.tolist()
        nats.mean().backward()
        for kind, of in (("a", a), ("b", b)):
            for k in weights:
                of[k], states[kind, k] = adam(of[k].detach(), of[k].grad, states[kind, k])
    actual = run(ttt(max_targets=11), model).nats_per_target[:11]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-11)
    plain = model(TOKENS[None, :11], TOKENS[None, 1:12])[0].detach().numpy()
    assert np.allclose(actual[:4], plain[:4])  # nothing is trained before the second chunk
    assert abs(actual[4:] - plain[4:]).min() > 1e-4


def test_the_first_step_moves_b_by_the_rate_and_leaves_a():
    """B is zero, so A has no gradient; the first step of Adam has the size of its rate."""
    model = model_of()
    scorer = AdaptedScorer(model, model, PerDocument(ttt(), STARTS), Batching(CPU, 64, Ranks()))
    adapters = Adapters(scorer.sites, 1, rank=2, seed=3, device=CPU, dtype=torch.float64)
    before = [a.detach().clone() for a in adapters.a.values()]
    for site, a in zip(scorer.sites, before, strict=True):
        assert 0.5 * site.inputs**-0.5 < a.abs().max() <= site.inputs**-0.5
        assert not adapters.b[site.name].any()
    with adapters.attached():
        nats = model(TOKENS[None, :8], TOKENS[None, 1:9])
    optimizer = torch.optim.Adam(adapters.parameters(), lr=LR, betas=(0.9, 0.95), eps=1e-10)
    scorer.step(nats, adapters, optimizer)
    assert all(torch.equal(a, old) for a, old in zip(adapters.a.values(), before, strict=True))
    for b in adapters.b.values():
        torch.testing.assert_close(b.detach().abs(), torch.full_like(b, LR), rtol=1e-4, atol=0)


@pytest.mark.parametrize("chunk", [4, 8, 16])
def test_without_training_it_is_document_stride(chunk):
    model = model_of()
    control = PerDocument(DocumentStride(16, stride=chunk, max_targets=None), STARTS)
    expected = score(model, TOKENS.numpy().astype(np.uint16), SIZES, control, Batching(CPU, 64, Ranks()))
    still = run(ttt(chunk=chunk, lr=1e-15), model).nats_per_target
    np.testing.assert_allclose(still, expected.nats_per_target, rtol=1e-9, atol=1e-10)
    moved = abs(run(ttt(chunk=chunk), model).nats_per_target - expected.nats_per_target) > 1e-6
    trained = [at for first, stop in zip(STARTS, [*STARTS[1:], 60], strict=True) for at in range(first + chunk, stop)]
    assert np.flatnonzero(moved).tolist() == trained


@pytest.mark.parametrize("batch_tokens", [1, 32, 10_000])
def test_documents_are_independent_and_the_model_stays(batch_tokens):
    model = model_of()
    state = bytes_of_state(model)
    expected = run(ttt(), model)
    actual = run(ttt(), model, batch_tokens=batch_tokens)
    np.testing.assert_allclose(actual.nats_per_target, expected.nats_per_target, rtol=1e-9, atol=1e-10)
    assert np.array_equal(run(ttt(), model).nats_per_target, expected.nats_per_target)
    assert bytes_of_state(model) == state
    assert "scores" not in vars(model.head)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())


def test_a_map_that_is_not_applied_is_not_trained():
    """With every block skipped, adapters of the head alone are left, and without these nothing is trained."""
    model = model_of()
    with replaced_passes(model, [Skipped() for _ in model.passes()]):
        adapted, head, none = (run(ttt(maps=maps), model).nats_sum for maps in (["q", "head"], ["head"], ["q", "v"]))
        control = PerDocument(DocumentStride(16, stride=4, max_targets=None), STARTS)
        untrained = score(model, TOKENS.numpy().astype(np.uint16), SIZES, control, Batching(CPU, 64, Ranks())).nats_sum
    assert adapted == head != none
    assert none == pytest.approx(untrained, rel=1e-12)


class Alone(Ranks):
    """A rank whose sums are its own part. `parts` keeps them."""

    parts: ClassVar[list[torch.Tensor]] = []

    def sum_(self, tensor):
        self.parts.append(tensor.clone())
        return tensor


def test_ranks_share_out_the_documents():
    model = model_of()
    for rank in (0, 1):
        scorer = AdaptedScorer(model, model, PerDocument(ttt(), STARTS), Batching(CPU, 1, Alone(rank, 2)))
        with pytest.raises(AssertionError, match="60 targets planned"):
            scorer(TOKENS.numpy().astype(np.uint16), SIZES)
    nats = Alone.parts[0] + Alone.parts[2]
    np.testing.assert_allclose(nats, run(ttt(), model).nats_per_target, rtol=1e-9, atol=1e-10)


class TrainFirst(AdaptedScorer):
    """Trains on a chunk and then scores it. lies: what it declares is the right order."""

    lies = False

    def visit(self, chunks, adapters, optimizer):
        if chunks.trained and not self.lies:
            self.tell_training(chunks)
        if chunks.trained:
            self.step(self.nats(chunks, adapters)[: chunks.trained], adapters, optimizer)
        nats_BS = self.nats(chunks, adapters).detach().double()
        self.tell_scores(chunks, nats_BS)
        if chunks.trained and self.lies:
            self.tell_training(chunks)
        return nats_BS


class Lying(TrainFirst):
    lies = True


def audited(kind, patch):
    patch.setattr("pgolf.execution.auditing.order.AdaptedScorer", kind)
    model = model_of()
    return audit.score_first(lambda recorder: adapted_evaluation(model, ttt(), TOKENS, BOS, recorder))


def test_the_audit_passes_what_scores_first(monkeypatch):
    report = audited(AdaptedScorer, monkeypatch)
    assert {check.verdict for check in report} == {Verdict.PASS}, str(report)
    steps = sum(-(-(stop - start) // 4) - 1 for start, stop in zip(STARTS, [*STARTS[1:], 60], strict=True))
    assert f"{steps} steps, 60 scored tokens" in report.checks[0].evidence  # the last chunk of a document: no step


@pytest.mark.parametrize(("kind", "rule"), [(TrainFirst, ORDER), (Lying, EXECUTED)])
def test_the_audit_finds_what_trains_first(kind, rule, monkeypatch):
    report = audited(kind, monkeypatch)
    assert rule in [check.name for check in report.failed]
    assert (ORDER in [check.name for check in report.failed]) == (kind is TrainFirst)
    assert EXECUTED in [check.name for check in report.failed]


CHOICES = [
    *(("stack", stem) for stem in STACKS),
    *((f"model/{slot}", stem) for slot in ("head", "q_proj") for stem in variants(slot)),
]


@pytest.mark.parametrize(("group", "stem"), CHOICES, ids=lambda choice: choice.replace("/", "-"))
def test_every_map_of_every_stack_head_and_projection_learns_or_is_refused(group, stem):
    config = stack_config(stem) if group == "stack" else tiny_config(f"{group}={stem}")
    model = tiny_model(config)
    if stem == "mos":
        with pytest.raises(OptionError, match=r"MixtureOfSoftmaxes\) has no single .*Set eval.maps=\[q, v\]"):
            ttt().check_model(model)
        maps = [name for name in MAPS if name != "head"]
    else:
        maps = list(MAPS)
    ttt(maps=maps).check_model(model)
    scorer = AdaptedScorer(model, model, PerDocument(ttt(maps=maps), STARTS), Batching(CPU, 64, Ranks()))
    adapters = Adapters(scorer.sites, 1, rank=2, seed=1, device=CPU, dtype=torch.float32)
    with adapters.attached():
        nats = model(TOKENS[None, :8], TOKENS[None, 1:9]).mean()
    gradients = torch.autograd.grad(nats, list(adapters.b.values()))
    dead = [site.name for site, g in zip(scorer.sites, gradients, strict=True) if not g.any()]
    assert dead == []


def test_a_configuration_is_refused_before_it_runs():
    with pytest.raises(ConfigError, match=r"eval.maps: cannot be used .*no single tensor of logits"):
        check_eval_suits_model(tiny_config("eval=ttt_lora", "eval.chunk=4", "model/head=mos"))
    with pytest.raises(ConfigError, match=r"eval.rank: .*choose from 1 to 16, the smaller side of model.attention.0.v"):
        check_eval_suits_model(tiny_config("eval=ttt_lora", "eval.chunk=4", "eval.rank=17"))


@pytest.mark.parametrize(
    "bad",
    [{"rank": 0}, {"chunk": 17}, {"lr": 0.0}, {"beta1": 1.0}, {"beta2": -0.1}, {"eps": 0.0}, {"seed": -1}]
    + [{"maps": maps} for maps in ([], "q", ["q", "q"], ["query"])]
    + [{"max_targets": 0}],
)
def test_values_that_cannot_be_are_refused(bad):
    with pytest.raises(OptionError, match=next(iter(bad))):
        ttt(**bad)


def test_every_option_is_part_of_the_name():
    changes = [{}, {"rank": 3}, {"chunk": 8}, {"lr": 0.1}, {"beta1": 0.8}, {"beta2": 0.9}, {"eps": 1e-8}, {"seed": 4}]
    names = [ttt(**change).name for change in [*changes, {"maps": ["q"]}, {"max_targets": 9}]]
    assert len(set(names)) == len(names)


def test_the_memory_of_a_document_is_counted():
    model = model_of()
    mode = build_eval(tiny_config("eval=ttt_lora", "eval.rank=2", "eval.chunk=4"))
    adapters = Adapters(adapted_sites(model, mode.adaptation.maps), 1, rank=2, seed=1, device=CPU, dtype=torch.float64)
    optimizer = torch.optim.Adam(adapters.parameters())
    for p in adapters.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    states = [t for s in optimizer.state.values() for t in (s["exp_avg"], s["exp_avg_sq"])]
    assert mode.adaptation.state_bytes(model) == sum(t.nbytes for t in [*adapters.parameters(), *states])
    assert document_starts(TOKENS.numpy(), BOS) == STARTS
