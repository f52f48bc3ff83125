"""Every study composes, describes itself without contradiction, and its arms are what their names say."""

from pathlib import Path

import pytest

from pgolf.account import account
from pgolf.build import build_model, frozen_by
from pgolf.config import compose_config, conf_dir, plain
from pgolf.errors import ConfigError
from pgolf.preflight import preflight
from pgolf.studies import described, study_of

STUDIES = sorted(path.stem for path in (Path(conf_dir()) / "study").glob("*.yaml") if path.stem != "adhoc")
SCALES = ("cpu", "gpu1", "published")
ARMS = [(study, path.stem) for study in STUDIES for path in sorted((Path(conf_dir()) / "arm" / study).glob("*.yaml"))]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_describes_itself(name: str, scale: str) -> None:
    section = plain(compose_config([f"study={name}", f"scale={scale}"]))["study"]
    study = described(section, scale)
    assert study.name == name
    assert study.question.endswith("?")
    assert study.smallest_effect_bpb > 0
    arms = {arm for family in study.families for arm in family.arms}
    assert arms == {arm for s, arm in ARMS if s == name}, "every arm's file is in a family, and every family's arm has a file"


@pytest.mark.parametrize(("study", "arm"), ARMS)
def test_an_arm_is_named_as_its_file(study: str, arm: str) -> None:
    config = plain(compose_config([f"study={study}", f"arm={study}/{arm}"]))
    assert config["study"]["arm"] == arm
    assert config["data"]["shuffle_seed"] == config["seed"], "arms of one seed see the same batches"
    frozen = frozen_by(build_model(config["model"]), config)
    is_published_fault = config["defects"]["frozen"] != []
    assert bool(frozen) == is_published_fault


@pytest.mark.parametrize("name", STUDIES)
def test_the_command_has_every_arm_and_three_seeds(name: str) -> None:
    cells = preflight([f"study={name}"], multirun=False)
    assert {(c.composed.study.arm, c.composed.seed) for c in cells} == {(arm, seed) for s, arm in ARMS if s == name for seed in (1, 2, 3)}
    assert [c.composed.seed for c in cells] == sorted(c.composed.seed for c in cells), "an interrupted sweep has whole pairs"
    study = study_of(cells[0])
    assert study is not None
    assert study.scale == "cpu"


def test_the_command_line_beats_the_study() -> None:
    cells = preflight(
        ["study=higher_rank_heads", "seed=7", "arm=higher_rank_heads/T0_tied,higher_rank_heads/T6_simplex_d4"], multirun=False
    )
    assert [(c.composed.study.arm, c.composed.seed) for c in cells] == [("T0_tied", 7), ("T6_simplex_d4", 7)]
    assert set(cells[0].overruled) == {"seed", "arm"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["study=higher_rank_heads,adhoc"], "study: cannot be swept"),
        (["study=higher_rank_hats"], "Did you mean higher_rank_heads"),
        (["study=higher_rank_heads", "arm=higher_rank_heads/T8"], "arm: no such choice (higher_rank_heads/T8)"),
        (["study.nmae=x"], "Did you mean study.name"),
    ],
)
def test_mistakes_are_named(argv: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        preflight(argv, multirun=True)
    assert said in str(refusal.value)


def test_published_heads_have_their_published_parameters() -> None:
    study = study_of(preflight(["study=higher_rank_heads", "seed=1"], multirun=False)[0])
    assert study is not None
    for arm, row in study.published.items():
        config = plain(compose_config(["study=higher_rank_heads", f"arm=higher_rank_heads/{arm}", "scale=published"]))
        assert account(config).total == row["params.total"]
