"""Parts of an inspection that are left out or need a remark, on models without a run."""

from pathlib import Path

from pgolf.execution.inspecting.parts import inspected, mixing_lines, recorded_lines, text
from pgolf.execution.inspecting.subject import LIVE, Inspected
from pgolf.inspect.mixing import mixing
from pgolf.nn.gpt import GPT
from pgolf.records.metrics import Event
from tiny import tiny_config, tiny_model

SPECTRUM = {"event": "spectra", "step": 20, "matrix": "model.attention.0.k.weight"}


def without_corpus(model: GPT, *events: Event) -> Inspected:
    return Inspected(Path("run"), model, LIVE, None, None, "no corpus here", events)


def test_every_part_that_needs_a_corpus_is_named_without_one() -> None:
    found = inspected(without_corpus(tiny_model(tiny_config("model/depth=attn_res"))), draws=3)
    reasons = {"depth": "no corpus here", "sources": "no corpus here"}
    assert {part: found.left_out[part] for part in reasons} == reasons
    assert "pre-rotation" not in found.left_out


def test_events_that_are_not_spectra_are_counted_and_left_out() -> None:
    good = {**SPECTRUM, "effective_rank": 7.25}
    bad = [{"event": "spectra"}, {**SPECTRUM, "step": "x", "effective_rank": 1.0}, {**SPECTRUM, "effective_rank": "7"}]
    found = inspected(without_corpus(tiny_model(tiny_config()), *bad, good), draws=3)
    assert found.recorded == (good,)
    assert found.left_out["during training"] == "3 of 4 events of metrics.jsonl are not spectra"
    assert ["attention.k", "7.2"] in [line.split() for line in text(found, with_heads=False)]
    assert recorded_lines([{**SPECTRUM, "effective_rank": None}]) == ["effective rank by step: no matrix has one"]


def test_a_fit_of_gains_that_started_as_polynomials_says_so() -> None:
    for choice, remarks in (("standard", 0), ("legendre", 1)):
        options = ("model.layers=6", f"model.resid_mix_init={choice}")
        model = tiny_model(tiny_config(*options))
        (found,) = {each.starts_as_polynomial for each in inspected(without_corpus(model), draws=3).mixing}
        assert found == bool(remarks)
        lines = mixing_lines(mixing([gains.resid_mix for gains in model.gains], starts_as_polynomial=found))
        assert sum("these means started as such polynomials" in line for line in lines) == remarks
