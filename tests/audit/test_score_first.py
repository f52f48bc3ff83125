"""Test-time training: steps before scores are found, whether they are declared or not."""

import pytest
import torch
import torch.nn.functional as F

from pgolf import audit
from pgolf.audit.report import Verdict
from pgolf.errors import OptionError
from small_gpt import VOCAB, SmallGPT

ORDER, ONCE = "no step sees a token before it is scored", "no token is scored again after a step saw it"
DECLARED, EXECUTED = "every step of the watched optimizers declares its tokens", "later tokens change no score"
CHUNK, LENGTH = 8, 41


class Evaluation:
    """Scores a text chunk by chunk with a bias that is trained on each chunk.

    early: train on a chunk before it is scored. declare: what the recorder is told: the truth, nothing, or the order
    that would be right. again: score the first chunk again at the end. remembers: the bias is not reset.
    """

    def __init__(self, *, early=False, declare="truth", again=False, train=True, execute=True, watch=True):
        self.early, self.declare, self.again = early, declare, again
        self.train, self.execute, self.watch = train, execute, watch
        self.model = SmallGPT()
        self.text = torch.randint(VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(5))
        self.remembered = None

    def __call__(self, recorder):
        text = recorder.tokens(self.text, VOCAB) if self.execute else self.text
        bias = torch.zeros(VOCAB, requires_grad=True)
        optimizer = torch.optim.SGD([bias], lr=1.0)
        if self.watch:
            recorder.watch(optimizer)
        chunks = [range(at, at + CHUNK) for at in range(1, LENGTH, CHUNK)]

        def nats(chunk):
            logp = F.log_softmax(self.model(text[None, : chunk.stop - 1])[0, chunk.start - 1 :] + bias, -1)
            return F.nll_loss(logp, text[chunk.start : chunk.stop], reduction="none")

        def score(chunk):
            scores = nats(chunk)
            if not (self.early and self.declare == "lie"):
                recorder.scored(chunk, scores if self.execute else None)
            return scores

        def step(chunk):
            if self.declare == "truth":
                recorder.trained(range(chunk.start - 1, chunk.stop))
            optimizer.zero_grad()
            nats(chunk).sum().backward()
            optimizer.step()

        for chunk in chunks:
            if self.early:
                if self.train:
                    step(chunk)
                scores = score(chunk)
                if self.declare == "lie":
                    recorder.scored(chunk, scores)
                    recorder.trained(chunk)
            else:
                score(chunk)
                if self.train:
                    step(chunk)
        if self.again:
            score(chunks[0])


def verdicts(report):
    return {check.name: check.verdict.value for check in report}


def test_scoring_first_passes():
    report = audit.score_first(Evaluation())
    assert verdicts(report) == dict.fromkeys((ORDER, ONCE, DECLARED, EXECUTED), "pass"), str(report)
    report.to_json()


def test_an_adapter_that_is_trained_before_scoring_is_found_twice():
    report = audit.score_first(Evaluation(early=True))
    assert verdicts(report) == {ORDER: "fail", ONCE: "fail", DECLARED: "pass", EXECUTED: "fail"}
    (order,) = (check for check in report if check.name == ORDER)
    assert order.evidence == "step 1 saw token 1 before it was scored; 40 such tokens"
    assert order.data == {"step": 1, "position": 1, "tokens": 40}


def test_a_step_that_is_declared_too_late_is_found_by_execution():
    report = audit.score_first(Evaluation(early=True, declare="lie", watch=False))
    assert verdicts(report) == {ORDER: "pass", ONCE: "pass", DECLARED: "not checked", EXECUTED: "fail"}
    (check,) = report.failed
    assert check.data["position"] <= check.data["cut"]
    assert check.data["size"] > 0


def test_a_step_that_is_not_declared_is_found():
    report = audit.score_first(Evaluation(declare="nothing"))
    assert verdicts(report) == {ORDER: "not checked", ONCE: "not checked", DECLARED: "fail", EXECUTED: "pass"}
    assert "5 undeclared steps, 0 declared ones" in str(report)


def test_a_token_that_is_scored_again_is_found():
    report = audit.score_first(Evaluation(again=True))
    assert verdicts(report) == {ORDER: "pass", ONCE: "fail", DECLARED: "pass", EXECUTED: "pass"}
    assert "token 1 was scored again after step 1 saw it" in str(report)


def test_without_a_step_or_a_text_nothing_is_claimed():
    report = audit.score_first(Evaluation(train=False, execute=False))
    assert set(verdicts(report).values()) == {"not checked"}
    assert audit.score_first(lambda recorder: None).counts() == {"pass": 0, "fail": 0, "not checked": 4}


def test_an_evaluation_that_does_not_begin_anew_is_not_checked_by_execution():
    evaluation = Evaluation()

    def remembers(recorder):
        evaluation.model.head.bias.data += torch.randn(VOCAB)
        evaluation(recorder)

    torch.manual_seed(0)
    report = audit.score_first(remembers)
    (check,) = report.of(Verdict.NOT_CHECKED)
    assert "begin each one anew" in check.evidence


def test_an_evaluation_that_ignores_the_text_is_not_checked_by_execution():
    def ignores(recorder):
        recorder.tokens(torch.arange(20), VOCAB)
        recorder.scored(range(1, 20), torch.arange(19.0))
        recorder.trained(range(20))

    (check,) = (check for check in audit.score_first(ignores) if check.name == EXECUTED)
    assert check.verdict == Verdict.NOT_CHECKED
    assert "does not use the text" in check.evidence


def test_two_watched_optimizers_need_one_declaration():
    def evaluate(recorder):
        weights = [torch.ones(1, requires_grad=True) for _ in range(2)]
        optimizers = [torch.optim.SGD([weight], lr=0.1) for weight in weights]
        for optimizer in optimizers:
            recorder.watch(optimizer)
        recorder.scored([0, 1])
        recorder.trained([0, 1])
        for optimizer in optimizers:
            optimizer.step()

    assert verdicts(audit.score_first(evaluate))[DECLARED] == "pass"


@pytest.mark.parametrize("early", [False, True])
def test_wrapped_functions_declare_themselves(early):
    def evaluate(recorder):
        score, step = recorder.scorer(lambda x: torch.full((4,), x)), recorder.step(lambda x: x + 1)
        for at in range(0, 12, 4):
            parts = [lambda at=at: score(range(at, at + 4), 0.5), lambda at=at: step(torch.arange(at, at + 4), x=2)]
            results = [part() for part in (reversed(parts) if early else parts)]
            assert 3 in [x for x in results if isinstance(x, int)]

    found = verdicts(audit.score_first(evaluate))
    assert (found[ORDER], found[ONCE]) == (("fail", "fail") if early else ("pass", "pass"))


def test_watching_ends_also_after_an_exception():
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1)

    def broken(recorder):
        recorder.watch(optimizer)
        raise KeyError("text")

    with pytest.raises(KeyError):
        audit.score_first(broken)
    assert not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.tokens(torch.rand(9), 5), "ids_N: cannot be .*; pass a tensor of integers"),
        (lambda r: r.tokens([1, 2, 3], 5), "ids_N: cannot be 'list'; pass a tensor of integers"),
        (lambda r: r.tokens(torch.arange(9), 1), "vocab_size: cannot be 1; choose"),
        (lambda r: r.tokens(torch.arange(9), "9"), "vocab_size: cannot be '9'; choose"),
        (lambda r: r.tokens(torch.arange(9).to(torch.uint8), 1024), "vocab_size: cannot be 1024; .* at most 256"),
        (lambda r: r.scored("ab"), "positions: cannot be 'ab'; pass indices"),
        (lambda r: r.scored([0.5]), "positions: cannot be 0.5; pass indices"),
        (lambda r: r.scored([0], ["x"]), r"nats: cannot be \['x'\]; pass one number for each"),
        (lambda r: [r.tokens(torch.arange(n), 9) for n in (8, 9)], "call `tokens` once per evaluation"),
        (lambda r: r.scored(range(3), torch.ones(2)), "nats: cannot be '2 scores'; pass one score for each of the 3"),
        (lambda r: r.scored(3), "positions: cannot be 3; pass indices"),
        (lambda r: r.trained(None), "positions: cannot be None; pass indices"),
        (lambda r: r.watch("adam"), "optimizer: cannot be 'str'; pass a torch.optim.Optimizer"),
    ],
)
def test_wrong_calls_are_named(call, message):
    with pytest.raises(OptionError, match=message):
        audit.score_first(call)
    with pytest.raises(OptionError, match="evaluate: cannot be 3; pass a function"):
        audit.score_first(3)
    with pytest.raises(OptionError, match=r"evaluate: cannot be .*; pass a function of one argument"):
        audit.score_first(lambda: None)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int64])
def test_tokens_of_any_integer_type_are_replaced_after_a_cut(dtype):
    """An evaluation that reads one token ahead is found, whatever type its text has."""
    ids = torch.arange(9).to(dtype)

    def ahead(recorder):
        text = recorder.tokens(ids, 200)
        assert text.dtype == dtype
        recorder.scored(range(8), text.long()[1:].float())

    assert verdicts(audit.score_first(ahead))[EXECUTED] == "fail"


def test_a_score_that_is_not_a_number_hides_nothing():
    """NaN differs from every repetition, so an evaluation with NaN would have infinite noise."""
    inner = Evaluation(early=True, declare="lie")

    def evaluate(recorder):
        inner(recorder)
        recorder.scored([0], torch.tensor([torch.nan]))

    (check,) = [c for c in audit.score_first(evaluate).checks if c.name == EXECUTED]
    assert (check.verdict, check.evidence) == (Verdict.NOT_CHECKED, "the score of token 0 is not finite")
