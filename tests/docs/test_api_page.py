"""The examples of docs/api.md run, in order and in one namespace, as a reader would type them."""

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import pgolf
from pgolf.config.build import build_quantizer
from pgolf.config.command_line import preflight
from pgolf.data.prepare.bpe import train_bpe
from pgolf.execution.artifact import pack
from tiny import tiny_config, tiny_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
VOCAB = 384


def make_model(folder: Path, cache: Path) -> None:
    """folder/artifact.pgolf, with its tokenizer in a cache."""
    entry = cache / "text-0000"
    entry.mkdir(parents=True)
    tokenizer, config = (
        entry / "tokenizer.model",
        tiny_config(f"model.vocab_size={VOCAB}", "train.seq_len=64", "train.batch_tokens=128"),
    )
    tokenizer.write_bytes(train_bpe([PAGE.replace("\n", " ")[:4000]], VOCAB, "text"))
    sha = hashlib.sha256(tokenizer.read_bytes()).hexdigest()
    files = {"tokenizer.model": {"bytes": tokenizer.stat().st_size, "sha256": sha}}
    (entry / "manifest.json").write_text(
        json.dumps({"schema": 1, "name": "text", "key": {}, "files": files, "facts": {}})
    )
    pack(tiny_model(config), config.model, tokenizer, build_quantizer(config), folder / "artifact.pgolf")


def overrides_of_a_run(example: str) -> list[str] | None:
    """The overrides of a call of pgolf.run; None without one."""
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pgolf.run":
            return list(ast.literal_eval(node.args[0]))
    return None


def test_every_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep of minutes is checked as its command line is, and not started."""
    make_model(tmp_path, tmp_path / "cache")
    (tmp_path / "analysis").symlink_to(ROOT / "analysis")
    monkeypatch.setenv("PGOLF_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    sweeps = 0
    for example in EXAMPLES:
        words = overrides_of_a_run(example)
        if words is None:
            exec(compile(example, "docs/api.md", "exec"), names)
        else:
            assert len(preflight(words, multirun=True, check_machine=False).runs) == 9
            sweeps += 1
    assert sweeps == 1
    assert "higher_rank_heads.jsonl" in capsys.readouterr().out
    assert len(names["logp"]) == len(names["nats"]) + 1
    assert list((tmp_path / "pictures").glob("validation-*.png"))


def test_every_name_has_an_example() -> None:
    shown = "".join(EXAMPLES)
    assert [name for name in pgolf.__all__ if name != "__version__" and f"pgolf.{name}" not in shown] == []
