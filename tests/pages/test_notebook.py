"""The notebook needs only the results, and shows the tables and pictures of the report."""

import json
import re
import shutil
from pathlib import Path

import pytest

import pgolf
from made_records import curved_study, describe
from pgolf.pages.aggregation import aggregate, write_tables
from pgolf.pages.figures.gallery import gallery

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "analysis" / "ablation.ipynb"
SCORES = {"tied": [2.00, 2.01, 2.03], "mos": [1.90, 1.93, 1.91]}


def results(folder: Path) -> Path:
    """analysis/results/heads.jsonl and its companion files, without the runs."""
    study = curved_study(folder, SCORES)
    described = describe(study, {"heads": tuple(SCORES)}, published={"tied": {"val_bpb": 1.1}, "mos": {"val_bpb": 1.2}})
    target = folder / "analysis" / "results"
    write_tables(aggregate(study, with_curves=True), target)
    for name in ("jsonl", "study.json", "curves.jsonl"):
        (target / f"{name if name != 'jsonl' else 'results.jsonl'}").rename(target / f"{described.name}.{name}")
    shutil.rmtree(study)
    return target / f"{described.name}.jsonl"


def test_no_output_is_committed_but_of_real_results() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    committed = [path for path in (ROOT / "analysis" / "results").glob("*.jsonl")]
    assert committed or not any(cell.get("outputs") for cell in cells)


def test_the_notebooks_use_the_documented_functions_alone() -> None:
    for path in NOTEBOOK.parent.glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
        assert {line for line in code.splitlines() if "import" in line and "pgolf" in line} == {"import pgolf"}
        assert set(re.findall(r"pgolf\.(\w+)", re.sub("#.*", "", code))) <= set(pgolf.__all__)


@pytest.mark.filterwarnings("default")  # warnings of Jupyter's own libraries
def test_the_notebook_runs_and_shows_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="the notebook needs the extra `dev` or `notebook`")
    nbclient = pytest.importorskip("nbclient", reason="the notebook needs the extra `dev` or `notebook`")
    pytest.importorskip("ipykernel", reason="the notebook needs the extra `dev` or `notebook`")
    source = results(tmp_path)
    copy = shutil.copy(NOTEBOOK, source.parents[1])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    notebook = nbformat.read(copy, as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(source.parents[1])}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    shown = [
        str(text) for output in outputs for text in (output.get("data") or {"text": output.get("text", "")}).values()
    ]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    drawn = [picture for exhibit in gallery(aggregate(source, with_curves=True)) for picture in exhibit.panels.values()]
    assert len(drawn) == 6
    for picture in drawn:
        assert any(f'<title id="{picture.name}-title">' in text for text in shown), picture.name
    for part in ("heads.jsonl: 6 runs, 6 with curves", "-0.1000", "Does it help?", "holm_p", "1.913333"):
        assert any(part in text for text in shown), part
