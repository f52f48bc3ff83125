"""YAML files of a user's own that are not what they should be: one line, which names the file."""

from pathlib import Path

import pytest

from pgolf.config.command_line import preflight
from pgolf.config.folders import CONFIG_DIR
from pgolf.errors import ConfigError

BEGIN = "# @package _global_\nstudy:\n  name: mine\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            BEGIN + "  bad: [1\n",
            "FILE, line 5: is not valid YAML (expected ',' or ']', but got '<stream end>'). Correct it",
        ),
        (
            BEGIN + "\tname: x\n",
            "FILE, line 4: is not valid YAML (found character '\\t' that cannot start any token). ",
        ),
        (BEGIN + "  name: b\n", "FILE, line 4: is not valid YAML (found duplicate key name). Correct it"),
        ("study: *x\n", "FILE, line 1: is not valid YAML (found undefined alias 'x'). Correct it"),
        ("study: !!python/object/apply:os.system [x]\n", "FILE, line 1: is not valid YAML (could not determine"),
        ("- a\n- b\n", "FILE: must have names and values, not a list. Write NAME: VALUE"),
        (b"\xff\xfe", "FILE: is not valid YAML ('utf-8' codec can't decode byte 0xff"),
        (BEGIN + "  nope: 1\n", "study.nope: is not an option. Correct it in the file study/mine.yaml"),
        (
            BEGIN + "train:\n  steps: many\n",
            "train.steps: needs a whole number (many). Correct it in the file study/mine",
        ),
        (
            BEGIN + "train: [1]\n",
            "a section needs names and values, not a list. Correct it in the file study/mine.yaml",
        ),
        ("defaults: 3\n", "defaults must be a list (got int)). Correct the list of defaults there"),
    ],
)
def test_a_broken_file_is_named(
    content: str | bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIG_DIR, str(tmp_path))
    file = tmp_path / "study" / "mine.yaml"
    file.parent.mkdir()
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as refused:
        preflight(["study=mine"], multirun=False)
    (problem,) = refused.value.problems
    assert message.replace("FILE", str(file)) in problem
    assert "\n" not in problem
