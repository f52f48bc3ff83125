"""A folder of user-defined config groups: its choices are available and its classes are trusted."""

from pathlib import Path

import pytest

from pgolf.config.command_line import preflight
from pgolf.config.folders import CONFIG_DIR
from pgolf.errors import ConfigError


def test_a_user_defined_choice_is_used_only_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = tmp_path / "conf" / "model" / "head"
    group.mkdir(parents=True)
    (tmp_path / "own_head.py").write_text("from pgolf.nn.head.tied import Tied\n\n\nclass Own(Tied):\n    pass\n")
    (group / "own.yaml").write_text("_target_: own_head.Own\n_partial_: true\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"model/head: no such choice \(own\)"):
        preflight(["model/head=own"], multirun=False)
    monkeypatch.setenv(CONFIG_DIR, str(tmp_path / "conf"))
    (run,) = preflight(["model/head=own"], multirun=False).runs
    assert run.config.model.head["_target_"] == "own_head.Own"
