"""The keys of a slot are checked against the signature of its class. Each problem has a path, a value and a remedy."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from pgolf.config.binding import bind, locate, trusted_targets
from pgolf.errors import suggest
from pgolf.machine.typed import fits, wanted


class Thing:
    """Takes (dims) at run time and these keys from its YAML."""

    def __init__(
        self,
        dims: object,
        *,
        rank: int,
        lr: float,
        order: Literal["before", "after"],
        path: str,
        nesterov: bool,
        names: list[str],
        limit: int | None,
        rules: Mapping[str, Any],
    ):
        self.given = (rank, lr, order, path, nesterov, names, limit, rules)


class Plain:
    """Takes no keys."""


class WithDefault:
    def __init__(self, *, rank: int = 3):
        self.rank = rank


class TakesAnything:
    """Its one key is of any type."""

    def __init__(self, *, given: Any):
        self.given = given


class Child(Thing):
    """Inherits its constructor."""


GOOD = {
    "_target_": Thing,
    "_partial_": True,
    "rank": 4,
    "lr": 0.5,
    "order": "before",
    "path": "here",
    "nesterov": True,
    "names": ["a"],
    "limit": None,
    "rules": {},
}


def problems(**changes: Any) -> list[str]:
    return bind("model.thing", {**GOOD, **changes})


def test_a_good_node_has_no_problems():
    assert problems() == []
    assert problems(lr=1, limit=3, names=[], order="after") == []


@pytest.mark.parametrize(
    ("key", "value", "need"),
    [
        ("rank", "four", "a whole number"),
        ("rank", 4.0, "a whole number"),
        ("rank", True, "a whole number"),
        ("rank", None, "a whole number"),
        ("lr", "fast", "a number"),
        ("lr", False, "a number"),
        ("lr", None, "a number"),
        ("order", "during", "one of before, after"),
        ("path", 3, "text"),
        ("nesterov", 1, "true or false"),
        ("nesterov", "yes", "true or false"),
        ("limit", "none", "a whole number or null"),
        ("limit", 2.5, "a whole number or null"),
        ("limit", True, "a whole number or null"),
    ],
)
def test_a_wrong_type_is_reported_with_the_right_one(key, value, need):
    assert problems(**{key: value}) == [f"model.thing.{key}: needs {need} ({value})"]


@pytest.mark.parametrize(
    ("key", "value"), [("names", "a"), ("names", [1]), ("names", None), ("rules", [1]), ("rules", "x")]
)
def test_a_wrong_container_is_refused(key, value):
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"model.thing.{key}: needs ")


def test_an_unknown_key_is_reported_with_a_suggestion_and_all_keys():
    (problem,) = problems(rnak=5)
    assert problem == (
        "model.thing.rnak: no such key (5). Did you mean rank? Thing takes rank, lr, order, path, nesterov, names, "
        "limit, rules"
    )
    (far,) = problems(zzzzzz=5)
    assert "Did you mean" not in far
    (none,) = bind("model.thing", {"_target_": Plain, "_partial_": True, "rank": 1})
    assert none == "model.thing.rank: no such key (1). Plain takes no keys"


def test_a_runtime_argument_is_not_a_key():
    (problem,) = problems(dims=3)
    assert problem.startswith("model.thing.dims: no such key (3).")


def test_missing_keys_are_reported():
    node = {key: value for key, value in GOOD.items() if key not in ("rank", "order")}
    assert bind("model.thing", node) == [
        f"model.thing.{key}: is missing. Write it into its YAML file, or give it as +model.thing.{key}=..."
        for key in ("rank", "order")
    ]
    assert problems(path="???") == ["model.thing.path: has no value. Give it as model.thing.path=..."]
    assert bind("x", {"_target_": WithDefault, "_partial_": True}) == []


def test_all_problems_are_reported_at_once():
    assert len(problems(rank="x", lr="y", bogus=1, path="???")) == 4


def test_an_inherited_constructor_is_checked_too():
    node = {**GOOD, "_target_": Child}
    assert bind("model.thing", node) == []
    assert bind("model.thing", {**node, "rank": "four"}) == ["model.thing.rank: needs a whole number (four)"]


def test_a_key_of_any_type_takes_any_value():
    for value in (None, 3, "x", [1], {"a": 1}):
        assert bind("model.thing", {"_target_": TakesAnything, "_partial_": True, "given": value}) == []


@pytest.mark.parametrize(
    "target",
    [
        "os.makedirs",  # not a class
        "subprocess.Popen",
        "pgolf.nn.head.tied.Tied",  # of another slot
        "pgolf.nn.mlp.relu2.Relu",  # of the slot's module
        "${oc.env:HOME}.Thing",
        "no_such_package_at_all.Head",
        "",
        ".",
        "Thing.",
    ],
)
def test_an_untrusted_class_is_refused_and_not_imported(target, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", lambda name: pytest.fail(f"imported {name}"))
    (problem,) = bind("model.mlp", {**GOOD, "_target_": target})
    assert problem.startswith(f"model.mlp._target_: cannot be used ({target}). ")
    with pytest.raises(ImportError):
        locate("model.mlp", target)


def test_the_trusted_classes_are_those_in_the_yaml_files_of_a_slot(tmp_path, monkeypatch):
    assert trusted_targets("optim.roles.head") == {"pgolf.optim.muon.Muon", "pgolf.optim.adam.Adam"}
    assert trusted_targets("model.side_inputs.mine") == {
        f"pgolf.nn.side_inputs.{module}.{name}"
        for module, name in (
            ("bigram_embed", "BigramEmbed"), ("bigram_residual", "BigramResidual"), ("value_embedding", "ValueEmbedding"),
        )
    }  # fmt: skip
    assert trusted_targets("model") == trusted_targets("model.thing") == set()
    (tmp_path / "model" / "thing").mkdir(parents=True)
    (tmp_path / "model" / "thing" / "mine.yaml").write_text(
        f"# a class of one's own\n_target_: {__name__}.Thing\n_partial_: true\n"
    )
    monkeypatch.setenv("PGOLF_CONFIG_DIR", str(tmp_path))
    assert locate("model.thing", f"{__name__}.Thing").__name__ == "Thing"
    (tmp_path / "model" / "thing" / "gone.yaml").write_text("_target_: no_such_package_at_all.Head\n")
    for target, what in (("no_such_package_at_all.Head", "No module named"),):
        (problem,) = bind("model.thing", {**GOOD, "_target_": target})
        assert what in problem


@pytest.mark.parametrize("target", [3, None, ["a"]])
def test_a_target_that_is_not_text_is_refused(target):
    (problem,) = problems(_target_=target)
    assert problem.startswith("model.thing._target_: ")


@pytest.mark.parametrize("partial", [False, None, "yes", 1])
def test_partial_must_be_true(partial):
    (problem,) = problems(_partial_=partial)
    assert problem.startswith(f"model.thing._partial_: must be true ({partial})")


@pytest.mark.parametrize("node", [None, "full", 3, ["a"], {}, {"rank": 3}])
def test_a_value_that_is_not_a_component_is_refused(node):
    (problem,) = bind("model.thing", node)
    assert problem.startswith(f"model.thing: not a component ({node}).")


@pytest.mark.parametrize(
    ("value", "hint", "holds"),
    [
        (3, int, True),
        (True, int, False),
        (3.0, int, False),
        (3, float, True),
        (True, float, False),
        (float("inf"), float, False),
        ("3", float, False),
        (True, bool, True),
        (0, bool, False),
        (None, int | None, True),
        (3, int | None, True),
        ("3", int | None, False),
        (False, int | str, False),
        ("x", int | str, True),
        ("before", Literal["before", "after"], True),
        ("Before", Literal["before", "after"], False),
        (None, Literal["before"] | None, True),
        (["a", "b"], list[str], True),
        (["a", 1], list[str], False),
        ([[1], []], list[list[int]], True),
        ([[1], [True]], list[list[int]], False),
        ("ab", list[str], False),
        ([1, 2], tuple[int, ...], True),
        ({"a": 1}, Mapping[str, Any], True),
        ([("a", 1)], dict[str, int], False),
        ("x", Path, False),
    ],
    ids=str,
)
def test_fits(value, hint, holds):
    assert fits(value, hint) is holds


def test_wanted_describes_types_in_words():
    assert wanted(int | None) == "a whole number or null"
    assert wanted(float | None) == "a number or null"
    assert wanted(Literal["a", "b"]) == "one of a, b"
    assert wanted(bool) == "true or false"


def test_suggest():
    assert suggest("rnk", ["rank", "experts"]) == " Did you mean rank?"
    assert suggest("qqqq", ["rank", "experts"]) == ""
    assert suggest("rank", []) == ""
