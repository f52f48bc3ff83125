"""The example is a trainer without pgolf, and its audit finds what is planted in it."""

import ast
import runpy
from pathlib import Path

import pytest
import torch

from pgolf import audit

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "audit_plain_gpt.py"


def test_the_example_runs_and_passes(capsys):
    """In this process: a new one would spend most of its time on importing torch."""
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    printed = capsys.readouterr()
    assert " 0 fail, " in printed.out
    assert "30 steps" in printed.out
    assert printed.err == ""


def test_the_example_is_short_and_imports_the_audit_alone():
    text = EXAMPLE.read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom | ast.Import)]
    assert [ast.unparse(node) for node in imports if "pgolf" in ast.unparse(node)] == ["from pgolf import audit"]
    assert len(text.splitlines()) <= 100


@pytest.mark.parametrize("defect", ["head in no optimizer", "no mask"])
def test_the_example_is_stopped_by_a_defect(defect):
    parts = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(1)
    model = parts["GPT"]()
    trainer = parts["Trainer"](model, EXAMPLE.read_bytes())
    if defect == "head in no optimizer":
        group = trainer.optimizers[0].param_groups[0]
        group["params"] = [p for p in group["params"] if p is not model.head.weight]
        report = audit.training(model, trainer.optimizers, trainer.step)
        words = "in no optimizer: head.weight"
    else:
        block = parts["Block"].forward.__globals__
        masked = block["F"].scaled_dot_product_attention
        report = audit.model(
            lambda ids: unmasked(block, masked, model, ids), vocab_size=256, model=model, lengths=(16,), redraws=0
        )
        words = "after a change of token"
    with pytest.raises(audit.AuditError, match=words):
        report.check()


def unmasked(block, masked, model, ids):
    """The model with attention to all positions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block["F"], "scaled_dot_product_attention", lambda q, k, v, is_causal: masked(q, k, v))
        return model(ids)
