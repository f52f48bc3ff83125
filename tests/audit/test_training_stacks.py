"""The training of the published stacks: corrected ones give no finding, and the published defects are named."""

import pytest

from pgolf import audit
from pgolf.config.build import build_optimizers
from pgolf.machine.ranks import Ranks
from tiny import STACKS, random_ids, stack_config, tiny_model


def trained(stack: str, *overrides: str) -> audit.Report:
    """Audit of some steps with the optimizers of a stack, from its own initial weights."""
    config = stack_config(stack, *overrides)
    model = tiny_model(config, None)
    optimizers = list(build_optimizers(model, config, Ranks()).optimizers.values())
    done = 0

    def step() -> None:
        nonlocal done
        ids = random_ids(4, 17, seed=done)
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(ids[:, :-1], ids[:, 1:]).mean().backward()
        for optimizer in optimizers:
            optimizer.step()
        done += 1

    return audit.training(model, optimizers, step)


@pytest.mark.parametrize("stack", STACKS)
def test_a_corrected_stack_has_no_finding(stack):
    """Also where several layers in a row begin at zero."""
    report = trained(stack)
    assert not report.failed, str(report)


@pytest.mark.parametrize(
    ("stack", "choices", "named"),
    [
        ("pr908", ("model/head=mos",), ("head.", "side_inputs.value_embedding.")),
        ("pr1481", (), ("embedding.",)),
    ],
)
def test_weights_that_a_published_run_did_not_train_are_named(stack, choices, named):
    report = trained(stack, f"defects={stack}", *choices)
    (owned,) = (check for check in report.failed if check.name == "every parameter has one optimizer")
    assert all(any(name.startswith(prefix) for name in owned.data["unowned"]) for prefix in named), owned.evidence
    assert all(name.startswith(named) for name in owned.data["unowned"]), owned.evidence


def test_a_published_stack_that_trained_all_its_weights_is_not_blamed():
    assert not trained("pr470", "defects=pr470").failed
