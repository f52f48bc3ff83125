"""`python -m pgolf.audit` on a run, a packed file and a sweep: exit codes, output, and files that are refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pgolf.audit import __main__ as audit_command
from pgolf.execution.auditing import rescore
from pgolf.execution.auditing.whole import OF_A_RUN
from pgolf.records.plan import PLAN_SCHEMA
from run_folders import records

MainOf = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runs(audited_sweep: Path, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Folders of the run without and of the run with frozen weights."""
    monkeypatch.setenv("PGOLF_CACHE", str(workshop / "cache"))
    clean, frozen = sorted((r["params.frozen"], str(folder)) for folder, r in records(audited_sweep))
    return Path(clean[1]), Path(frozen[1])


@pytest.mark.usefixtures("audited_here")
def test_a_run_that_is_what_it_claims(runs: tuple[Path, Path], main_of: MainOf) -> None:
    code, out, err = main_of(audit_command, str(runs[0]), "--strict")
    assert (code, err) == (0, ""), out
    assert out.splitlines()[-1].endswith("0 fail, 1 not checked"), "no run claims to respect document starts"
    for rule in ("causality", "distribution", "state", "score", "training", "record"):
        assert f"pass         {rule}: " in out


@pytest.mark.usefixtures("audited_here")
def test_a_broken_rule_as_text_and_as_json(runs: tuple[Path, Path], main_of: MainOf) -> None:
    code, out, _ = main_of(audit_command, str(runs[1]), "--json")
    ((found),) = json.loads(out)
    assert code == 1
    assert found["path"] == str(runs[1])
    assert found["counts"]["fail"] == 2
    failed = [check for check in found["checks"] if check["verdict"] == "fail"]
    assert all(check["rule"] == "training" and "model.head.up.weight" in check["evidence"] for check in failed)
    assert all(check["limits"] or check["verdict"] != "fail" for check in found["checks"])


@pytest.mark.usefixtures("audited_here")
def test_a_packed_file_alone(runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path) -> None:
    path = shutil.copy(runs[1] / "artifact.pgolf", tmp_path / "m.pgolf")
    code, out, _ = main_of(audit_command, str(path))
    assert code == 0
    assert f"0 fail, {len(OF_A_RUN) + 2} not checked" in out
    assert main_of(audit_command, str(path), "--strict")[0] == 1


@pytest.mark.usefixtures("audited_here")
def test_a_sweep_has_a_line_per_run_and_its_failed_checks(
    audited_sweep: Path, runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(audited_sweep, tmp_path / "sweep"))
    code, out, _ = main_of(audit_command, str(folder))
    lines = out.splitlines()
    assert code == 1
    assert [line.startswith("  fail: training: ") for line in lines] == [False, False, True, True]
    clean, frozen = (folder / run.relative_to(audited_sweep) for run in runs)
    (clean / "result.json").unlink()
    (frozen / "config.yaml").write_text("{")
    code, out, _ = main_of(audit_command, str(folder))
    assert code == 2, "no run could be audited"
    assert [line.split(": ")[1] for line in out.splitlines()] == ["not audited", "not audited"]
    assert "is not a finished run, it has no record" in out.splitlines()[0]


@pytest.mark.usefixtures("audited_here")
def test_a_run_that_cannot_be_audited_fails_the_audit_of_its_sweep(
    audited_sweep: Path, runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(audited_sweep, tmp_path / "sweep"))
    (folder / runs[1].relative_to(audited_sweep) / "config.yaml").write_text("{")
    code, out, _ = main_of(audit_command, str(folder))
    assert code == 1
    assert "0 fail" in out.splitlines()[0]
    assert f"{runs[1].relative_to(audited_sweep)}: not audited: " in out.splitlines()[1]


def test_what_cannot_be_audited_is_refused_in_one_line(
    runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path
) -> None:
    (tmp_path / "text.pgolf").write_text("no model")
    (tmp_path / "empty").mkdir()
    (tmp_path / "planless").mkdir()
    (tmp_path / "planless" / "sweep.json").write_text(json.dumps({"schema_version": PLAN_SCHEMA, "sweeps": []}))
    run = Path(shutil.copytree(runs[0], tmp_path / runs[0].name))
    (run / "result.json").unlink()
    for path, message in (
        (tmp_path / "gone", "gone: does not exist"),
        (tmp_path / "empty", "is neither a run folder (result.json), a packed file nor a study's folder (sweep.json)"),
        (tmp_path / "text.pgolf", "is not a pgolf artifact"),
        (tmp_path / "planless", "its plan has no runs"),
        (run, "is not a finished run, it has no record"),
    ):
        code, out, err = main_of(audit_command, str(path))
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert message in line
        code, out, _ = main_of(audit_command, str(path), "--json")
        (found,) = json.loads(out)
        assert (code, found["path"], found["checks"]) == (2, str(path), None)
        assert message in found["refusal"]


@pytest.mark.usefixtures("audited_here")
def test_text_of_a_file_is_shown_as_text(runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / runs[0].name))
    record = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(record | {"eval_mode": "\x1b[31mplain"}))
    code, out, _ = main_of(audit_command, str(run))
    assert code == 1
    assert "\x1b" not in out
    assert r"\x1b[31mplain" in out


def test_a_file_that_names_another_class_is_refused_and_runs_nothing(
    runs: tuple[Path, Path], main_of: MainOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(runs[0], tmp_path / runs[0].name))
    monkeypatch.chdir(tmp_path)
    content = yaml.safe_load((run / "config.yaml").read_text())
    for name in ("os.makedirs", "subprocess.Popen", "pgolf.nn.head.tied.Tied"):
        node: dict[str, Any] = {"_target_": name, "_partial_": True, "name": "made_by_a_config"}
        (run / "config.yaml").write_text(yaml.safe_dump(content | {"eval": node}))
        before = sorted(tmp_path.rglob("*"))
        code, out, err = main_of(audit_command, str(run))
        assert (code, out) == (2, "")
        assert "eval._target_: cannot be used" in err
        assert sorted(tmp_path.rglob("*")) == before


def test_the_process_that_scores_a_file_refuses_a_folder_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescore.main([str(tmp_path)]) == 2
    assert "config.yaml: cannot be read" in capsys.readouterr().err
