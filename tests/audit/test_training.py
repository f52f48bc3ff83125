"""Each defect of a training loop is planted and found by its check; clean loops give no finding."""

import copy
from dataclasses import dataclass, field

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pgolf import audit
from pgolf.audit.report import Verdict
from pgolf.errors import OptionError
from small_gpt import VOCAB, WIDTH, SmallGPT

OWNED, GRADIENT = "every parameter has one optimizer", "every trainable parameter has a gradient"
MOVES, STAY = "every trainable parameter moves", "frozen parameters stay"
RATE, AVERAGE = "the learning rate is not zero for half of the steps", "averaged snapshots differ"


@dataclass
class Loop:
    """A model, its optimizers and one step on random tokens. rates: of the steps; the last one stays."""

    model: nn.Module
    optimizers: list
    rates: list = field(default_factory=lambda: [1e-3])
    done: int = 0

    def step(self):
        generator = torch.Generator().manual_seed(self.done)
        ids = torch.randint(VOCAB, (4, 17), generator=generator)
        rate = self.rates[min(self.done, len(self.rates) - 1)]
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        loss = F.nll_loss(self.model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.done += 1

    def audit(self, **options):
        return audit.training(self.model, self.optimizers, self.step, **options)


def all_but(model, *left_out):
    """Parameters whose name begins with none of these."""
    return [p for name, p in model.named_parameters() if not name.startswith(left_out or ("-",))]


def adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-3)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)


def found(report):
    """Evidence of the failed checks by name."""
    return {check.name: check.evidence for check in report.failed}


@pytest.mark.parametrize("zero_outputs", [False, True])
def test_a_clean_loop_has_no_finding(zero_outputs):
    """Also one that begins at zero: the gradients of the layers before open after the first step."""
    model = SmallGPT(zero_outputs=zero_outputs)
    loop = Loop(model, [adam(all_but(model, "table")), sgd(all_but(model, "qkv", "out", "up", "down", "head"))])
    report = loop.audit()
    assert report.counts() == {"pass": 5, "fail": 0, "not checked": 1}, str(report)
    assert loop.done == 3
    report.to_json()


def test_one_optimizer_need_not_be_a_list():
    loop = Loop(SmallGPT(), [])
    optimizer = adam(loop.model.parameters())
    loop.optimizers = [optimizer]
    assert not audit.training(loop.model, optimizer, loop.step).failed


def test_a_head_in_no_optimizer_is_found_and_named():
    model = SmallGPT()
    report = Loop(model, [adam(all_but(model, "head"))]).audit()
    assert found(report).keys() == {OWNED, MOVES}
    assert found(report)[OWNED] == "in no optimizer: head.weight, head.bias (1,584 weights)"
    assert "head.weight, head.bias" in found(report)[MOVES]


def test_a_head_that_is_named_as_frozen_is_not_blamed():
    model = SmallGPT()
    report = Loop(model, [adam(all_but(model, "head"))]).audit(frozen=["head"])
    assert not report.failed
    assert "frozen: head.weight, head.bias (1,584 weights)" in str(report)


def test_a_frozen_parameter_that_moves_is_found():
    model = SmallGPT()
    report = Loop(model, [adam(model.parameters())]).audit(frozen=["head.bias"])
    assert found(report) == {STAY: "named as frozen, but moved: head.bias"}


def test_a_frozen_parameter_in_an_optimizer_is_mentioned():
    model = SmallGPT()
    model.head.bias.requires_grad_(False)
    report = Loop(model, [adam(model.parameters())]).audit(frozen=["head.bias"])
    assert not report.failed
    assert "in an optimizer all the same: head.bias" in str(report)


def test_a_parameter_in_two_optimizers_is_found():
    model = SmallGPT()
    report = Loop(model, [adam(model.parameters()), sgd([model.table.weight])]).audit()
    assert found(report) == {OWNED: "owned more than once: table.weight"}


def test_optimizers_of_a_copy_are_found():
    model = SmallGPT()
    report = Loop(model, [adam(copy.deepcopy(model).parameters())]).audit(most_steps=3)
    assert found(report).keys() == {OWNED, MOVES}
    assert "15 tensors of the optimizers are not parameters of the model" in found(report)[OWNED]


class Unused(SmallGPT):
    def add_parts(self):
        self.extra = nn.Linear(WIDTH, 2)


class TimesZero(Unused):
    def hidden(self, ids_BT):
        x = super().hidden(ids_BT)
        return x + 0.0 * self.extra(x).mean()


@pytest.mark.parametrize(
    ("kind", "words"), [(Unused, "no gradient in 20 steps"), (TimesZero, "gradient zero in 20 st")]
)
def test_a_gradient_that_never_comes_is_found(kind, words):
    model = kind()
    loop = Loop(model, [adam(model.parameters())])
    report = loop.audit()
    assert found(report).keys() == {GRADIENT, MOVES}
    assert words in found(report)[GRADIENT]
    assert "extra.weight, extra.bias" in found(report)[GRADIENT]
    assert loop.done == 20


def test_a_switched_off_gradient_is_found_unless_it_is_named():
    model = SmallGPT()
    model.table.weight.requires_grad_(False)
    report = Loop(model, [adam(model.parameters())]).audit(most_steps=4)
    assert "requires_grad is False, but not named in `frozen`: table.weight" in found(report)[GRADIENT]
    assert not Loop(model, [adam(model.parameters())]).audit(frozen=["table"]).failed


def test_a_shared_parameter_counts_once():
    model = SmallGPT()
    model.head.weight = model.table.weight
    assert not Loop(model, [adam(model.parameters())]).audit().failed
    report = Loop(model, [adam(all_but(model, "table"))]).audit(frozen=["head.weight"])
    assert not report.failed
    assert "frozen: table.weight" in str(report)


def test_a_learning_rate_of_zero_in_all_steps_is_found():
    model = SmallGPT()
    report = Loop(model, [adam(model.parameters())], [0.0]).audit(steps=2, most_steps=4)
    assert found(report).keys() == {RATE, MOVES}
    assert found(report)[RATE] == "zero in 4 of 4 steps (100%)"


def test_a_warm_up_from_zero_is_not_blamed():
    model = SmallGPT()
    report = Loop(model, [adam(model.parameters())], [0.0, 1e-3]).audit(steps=4)
    assert not report.failed
    assert "zero in 1 of 4 steps (25%)" in str(report)


@pytest.mark.parametrize(("rates", "steps", "zero"), [([1e-3, 1e-3, 0.0], 4, 2), ([1e-3, 1e-3, 0.0], 10, 8)])
def test_a_learning_rate_of_zero_in_half_of_the_steps_is_found(rates, steps, zero):
    model = SmallGPT()
    report = Loop(model, [adam(model.parameters())], rates).audit(steps=steps)
    assert found(report).keys() == {RATE}
    assert f"zero in {zero} of {steps} steps" in found(report)[RATE]


def test_a_rate_of_none_is_the_optimizers_own():
    """Adafactor chooses its rate itself."""
    model = SmallGPT()
    optimizer = adam(model.parameters())
    optimizer.register_step_pre_hook(lambda *_: optimizer.param_groups[0].update(lr=1e-3))
    rates = [None, 1e-3]

    def step():
        optimizer.param_groups[0]["lr"] = rates[0]
        optimizer.zero_grad()
        model(torch.zeros(1, 4).long()).sum().backward()
        optimizer.step()

    assert RATE not in found(audit.training(model, optimizer, step))


def test_an_optimizer_that_is_never_called_is_found():
    model = SmallGPT()
    report = audit.training(model, adam(model.parameters()), lambda: model(torch.zeros(1, 4).long()).sum().backward())
    assert found(report).keys() == {RATE, MOVES}
    assert "none of the optimizers was called" in found(report)[RATE]


def test_weights_that_are_no_longer_finite_are_found():
    model = SmallGPT()
    report = Loop(model, [sgd(model.parameters())], [1e38]).audit()
    assert "no longer finite" in found(report)[MOVES]


class Averager:
    """The weights that enter an average, from a step on."""

    def __init__(self, loop, start):
        self.loop, self.start = loop, start

    def __call__(self):
        return self.loop.model.state_dict() if self.loop.done >= self.start else None


def test_frozen_snapshots_in_the_average_are_found():
    model = SmallGPT()
    loop = Loop(model, [adam(model.parameters())], [1e-3, 1e-3, 0.0])
    report = loop.audit(steps=5, averaging=Averager(loop, 2))
    assert found(report).keys() == {AVERAGE, RATE}
    assert found(report)[AVERAGE] == "3 of 4 snapshots equal the one before, bit by bit, at steps 3, 4, 5"


def test_moving_snapshots_and_too_few_of_them():
    model = SmallGPT()
    loop = Loop(model, [adam(model.parameters())])
    assert loop.audit(steps=4, averaging=Averager(loop, 2)).counts()["pass"] == 6
    report = loop.audit(steps=2, averaging=Averager(loop, loop.done + 2))
    (check,) = report.of(Verdict.NOT_CHECKED)
    assert "1 snapshots entered the average in 2 steps" in check.evidence


class OwnOptimizer:
    """An optimizer that is not torch's."""

    def __init__(self, parameters):
        self.param_groups = [{"params": list(parameters), "lr": 1e-3}]

    def zero_grad(self):
        for p in self.param_groups[0]["params"]:
            p.grad = None

    @torch.no_grad()
    def step(self):
        for p in self.param_groups[0]["params"]:
            p -= self.param_groups[0]["lr"] * p.grad.sign()


def test_an_optimizer_that_is_not_torchs_is_watched_and_left_as_it_was():
    model = SmallGPT()
    optimizer = OwnOptimizer(model.parameters())
    assert not Loop(model, [optimizer]).audit().failed
    assert "step" not in vars(optimizer)
    assert RATE in found(Loop(model, [optimizer], [0.0]).audit(most_steps=3))


def test_hooks_are_removed_also_after_an_exception():
    model = SmallGPT()
    loop = Loop(model, [adam(model.parameters())])

    def broken():
        loop.step()
        raise KeyError("data")

    with pytest.raises(KeyError):
        audit.training(model, loop.optimizers, broken)
    assert not loop.optimizers[0]._optimizer_step_pre_hooks
    assert all(not p._backward_hooks for p in model.parameters())


class NoParameters:
    param_groups = ({"lr": 1.0},)

    def step(self):
        pass


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": "gpt"}, "model: cannot be 'str'; pass a torch.nn.Module"),
        ({"model": nn.ReLU()}, "model: cannot be 'ReLU'; pass a module that has parameters"),
        ({"optimizers": []}, "optimizers: cannot be"),
        ({"optimizers": [3]}, "optimizers: cannot be 'int'; pass objects with"),
        ({"step": None}, "step: cannot be None; pass a function"),
        ({"steps": 0}, "steps: cannot be 0; choose 1 or more"),
        ({"most_steps": 2}, "most_steps: cannot be 2; choose 3 or more"),
        ({"frozen": "head"}, "frozen: cannot be 'head'; pass a list"),
        ({"frozen": ["haed.bias"]}, "frozen: cannot be 'haed.bias'; .* Did you mean head.bias?"),
        ({"averaging": 1}, "averaging: cannot be 1; pass a function without arguments, or None"),
        ({"averaging": lambda: 3}, "averaging: cannot be 'int'; return tensors by name"),
        ({"averaging": lambda: {"a": 1.0}}, "averaging: cannot be 'dict'; return tensors by name"),
        ({"averaging": lambda step: None}, "averaging: cannot be .*; pass a function without arguments"),
        ({"optimizers": NoParameters()}, "optimizers: cannot be 'NoParameters'; each of its `param_groups` needs"),
        ({"frozen": None}, "frozen: cannot be None; pass a list"),
        ({"frozen": [3]}, r"frozen: cannot be \[3\]; pass a list of names"),
        ({"steps": True}, "steps: cannot be True; choose 1 or more"),
    ],
)
def test_wrong_arguments_are_named(changed, message):
    model = SmallGPT()
    loop = Loop(model, [adam(model.parameters())])
    arguments = {"model": model, "optimizers": loop.optimizers, "step": loop.step, **changed}
    with pytest.raises(OptionError, match=message):
        audit.training(arguments.pop("model"), arguments.pop("optimizers"), arguments.pop("step"), **arguments)
