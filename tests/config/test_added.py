"""Run folders and packed files of earlier versions stay readable, and their fingerprints valid."""

import pytest

from pgolf.config.added import OF_CLASS, OPTIONS, UNUSED, completed, reduced
from pgolf.config.schema import plain_config, typed_config
from tiny import STACKS, stack_config, tiny_config

NAMES = {key for options in (*OPTIONS.values(), *OF_CLASS.values()) for key in options} | set(UNUSED)


def keys(node: object) -> set[str]:
    """All keys of a tree."""
    if not isinstance(node, dict):
        return set()
    return set(node).union(*(keys(value) for value in node.values()))


@pytest.mark.parametrize("stack", STACKS)
def test_a_configuration_of_an_earlier_version_is_completed_to_that_of_today(stack: str) -> None:
    today = plain_config(stack_config(stack, "model/q_proj=low_rank"))
    earlier = reduced(today)
    assert not keys(earlier) & NAMES
    whole = completed(earlier)
    for key, (_, _, stand_in) in UNUSED.items():
        assert whole["model"].pop(key) == stand_in
        del today["model"][key]
    assert whole == today
    typed_config(completed(earlier))  # has every key of the schema


@pytest.mark.parametrize(
    "override", ["defects.unscaled_threshold=true", "model.resid_mix_init=legendre", "train.spectra_every=5"]
)
def test_another_value_of_a_later_option_is_kept(override: str) -> None:
    config = plain_config(tiny_config(override))
    key, value = override.split("=")
    section, name = key.split(".")
    kept = reduced(config)[section]
    assert str(kept[name]).lower() == value
    if name == "resid_mix_init":
        assert set(UNUSED) <= set(kept)
    assert completed(reduced(config))[section] == config[section]


@pytest.mark.parametrize("damaged", [None, [], {"model": 3, "train": None}, {"optim": {"_target_": []}}])
def test_any_plain_data_is_let_through(damaged: object) -> None:
    completed(damaged)
