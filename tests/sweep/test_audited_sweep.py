"""`launch.audit=true`: every run of a sweep is audited, and a broken rule stands beside its score."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audits_here import TWO_AUDITED, audit_here
from pgolf import aggregate, train
from pgolf.records.audits import AUDIT, broken_rules
from pgolf.records.rows import collect
from pgolf.tables.caveats import CaveatKind
from pgolf.tables.groups import group
from run_folders import records

MainOf = Callable[..., tuple[int, str, str]]
SMALL = ["train.steps=8", "train.val_every=0", "eval.max_targets=500", "model/head=untied", "model.head.zero_up=false"]


def test_a_sweep_audits_its_runs_and_the_table_names_broken_rules(
    audited_sweep: Path, tmp_path: Path, main_of: MainOf
) -> None:
    folder = Path(shutil.copytree(audited_sweep, tmp_path / "adhoc"))
    rows = {row["params.frozen"]: row for row in collect(folder).rows}
    clean, frozen = rows.pop(0), *rows.values()
    assert clean["audit.broken"] == []
    assert [rule.split(":")[0] for rule in frozen["audit.broken"]] == ["training", "training"]
    texts = [caveat.text for g in group([clean, frozen]) for caveat in g.caveats if caveat.kind is CaveatKind.AUDIT]
    assert len(texts) == 1
    assert texts[0].startswith("audit of seed 1: training: every parameter has an optimizer")
    code, _, _ = main_of(aggregate, str(folder))
    assert code == 0
    assert "audit of seed 1: training: every parameter has an optimizer" in (folder / "table.md").read_text()


def test_a_sweep_names_the_run_and_the_rule_and_ends_with_exit_code_1(
    audited_sweep: Path, tiny: list[str], tmp_path: Path, main_of: MainOf
) -> None:
    """Also if all its runs had ended before."""
    shutil.copytree(audited_sweep, tmp_path / "adhoc")
    code, out, err = main_of(train, "--multirun", *tiny, *TWO_AUDITED, f"paths.out={tmp_path}")
    assert (code, "2 already run" in out) == (1, True)
    lines = [line.split(": audit: ") for line in err.splitlines() if ": audit: " in line]
    assert [label for label, _ in lines] == ["defects.frozen=[model.head]"] * 2, err
    assert [rule.split(": ")[0] for _, rule in lines] == ["training"] * 2


def test_the_audit_is_a_process_of_its_own_and_a_repeated_run_takes_it_along(
    tiny: list[str], tmp_path: Path, main_of: MainOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*tiny, *SMALL, "launch.audit=true", f"paths.out={tmp_path}"]
    code, out, err = main_of(train, *words)
    assert code == 0, out + err
    ((folder, _),) = records(tmp_path)
    (found,) = json.loads((folder / AUDIT).read_text())
    assert found["counts"]["fail"] == 0
    assert found["counts"]["not checked"] == 1, "no run claims to respect document starts"
    assert broken_rules(folder) == []
    audit_here(monkeypatch)
    code, out, err = main_of(train, *words, "launch.rerun=true")
    assert code == 0, out + err
    assert json.loads((folder / "earlier-1" / AUDIT).read_text()) == [found]
    assert (folder / AUDIT).exists()


def test_a_run_is_not_audited_by_default(tiny: list[str], tmp_path: Path, main_of: MainOf) -> None:
    assert main_of(train, *tiny, *SMALL, f"paths.out={tmp_path}")[0] == 0
    ((folder, _),) = records(tmp_path)
    assert not (folder / AUDIT).exists()
    (row,) = collect(tmp_path).rows
    assert "audit.broken" not in row


@pytest.mark.parametrize(
    ("content", "broken"),
    [
        ([{"checks": [{"rule": "score", "name": "x", "verdict": "fail"}], "refusal": None}], ["score: x"]),
        ([{"checks": [{"rule": "score", "name": "x", "verdict": "pass"}], "refusal": None}], []),
        ([{"checks": None, "refusal": "no corpus"}], ["not audited: no corpus"]),
        ([], ["audit.json is not an audit"]),
        ([{"checks": [{"rule": 1}]}], ["audit.json is not an audit"]),
        ({"checks": []}, ["audit.json is not an audit"]),
        ("no JSON", ["audit.json cannot be read"]),
    ],
)
def test_an_audit_is_read_like_a_strangers_file(tmp_path: Path, content: Any, broken: list[str]) -> None:
    assert broken_rules(tmp_path) is None
    (tmp_path / AUDIT).write_text(content[:4] if isinstance(content, str) else json.dumps(content))
    assert broken_rules(tmp_path) == broken
