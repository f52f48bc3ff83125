"""Who may import whom, read from the syntax tree."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pgolf"
COMMANDS = (
    "train",
    "worker",
    "rerun",
    "status",
    "aggregate",
    "report",
    "compare",
    "bench",
    "params",
    "evaluate",
    "data.__main__",
    "__main__",
)
LAYERS: dict[float, tuple[str, ...]] = {
    0: ("errors", "", "machine", "machine.*"),
    1: (
        "schema",
        "slots",
        "results",
        "plan",
        "metrics",
        "stats",
        "arm_names",
        "contradictions",
        "soundness",
        "collect",
        "groups",
        "comparable",
        "contrast",
        "table",
        "conditions",
        "page",
        "render",
        "differences",
        "study",
        "doubts",
        "verdicts",
        "curves",
        "aggregation",
        "study_page",
        "tradeoff",
        "command",
        "comparison_options",
        "figures",
        "figures.*",
        "webpage",
        "webpage.*",
    ),
    2: (
        "nn",
        "nn.primitives",
        "nn.readout",
        "parallel",
        "signals",
        "schedules",
        "averaging",
        "bf16_masters",
        "windows",
        "provenance",
        "codecs",
        "encoding",
        "container",
        "data",
        "quant",
    ),
    2.5: ("data.*",),
    3: ("nn.*.*", "optim", "optim.*", "eval", "eval.*", "quant.*", "data.docs", "data.text", "data.shard_files", "data.fineweb"),
    4: ("nn.attention", "nn.block", "nn.smear", "nn.gpt", "score", "roles", "fake_quant"),
    5: (
        "config",
        "binding",
        "build",
        "check",
        "preflight",
        "saved",
        "overrides",
        "expansion",
        "path_values",
        "ranges",
        "auto",
        "runs",
        "artifact",
        "account",
        "memory",
        "runlog",
        "help",
        "checkpoint",
        "inherit",
        "devices",
        "processes",
        "studies",
    ),
    6: ("loop",),
    6.25: ("evaluation",),
    6.5: ("ending",),
    6.1: ("trained",),
    6.75: ("run",),
    6.8: ("cells",),
    6.85: ("sweeps",),
    6.9: ("jobs", "dry_run"),
    7: COMMANDS,
}
WITHOUT_TORCH = (0, 1)
HYDRA = ("hydra", "omegaconf")
WITHIN_LAYER = (0, 1, 2, 2.5, 4, 5)  # these may import each other; variants and commands never do
VARIANTS = 3


def module_name(path: Path) -> str:
    dotted = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    return dotted.removesuffix(".__init__").removesuffix("__init__")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer_of(name: str) -> float:
    """The layer whose most specific pattern fits."""
    exact = [layer for layer, names in LAYERS.items() if name in names]
    if exact:
        return exact[0]
    parts = name.split(".")
    fits = [
        layer
        for layer, names in LAYERS.items()
        for pattern in names
        if "*" in pattern
        and len(pattern.split(".")) == len(parts)
        and all(p in ("*", part) for p, part in zip(pattern.split("."), parts, strict=True))
    ]
    if not fits and (len(parts) == 2 and parts[0] == "nn"):
        return 2  # a slot's package
    assert fits, f"pgolf.{name} has no layer: give it one in {Path(__file__).name} and ARCHITECTURE.md"
    return fits[0]


def imports(path: Path) -> set[str]:
    """Modules imported at run time, dotted; TYPE_CHECKING blocks do not count."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            for alias in node.names:
                dotted = f"{node.module}.{alias.name}"
                found.add(dotted if dotted.removeprefix("pgolf.") in FILES else node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("name", FILES, ids=lambda name: name or "pgolf")
def test_imports_go_down(name: str) -> None:
    layer = layer_of(name)
    for imported in imports(FILES[name]):
        if imported.split(".")[0] != "pgolf":
            continue
        below = imported.removeprefix("pgolf").removeprefix(".")
        if below == name:
            continue
        other = layer_of(below)
        assert other < layer or (other == layer and layer in WITHIN_LAYER), f"{name} (layer {layer}) imports {below} (layer {other})"
        assert below not in COMMANDS, f"{name} imports the command {below}"


@pytest.mark.parametrize("name", FILES, ids=lambda name: name or "pgolf")
def test_outside_imports_stay_in_their_layers(name: str) -> None:
    layer, outside = layer_of(name), {i.split(".")[0] for i in imports(FILES[name])}
    if layer in WITHOUT_TORCH:
        assert "torch" not in outside
    if layer < 5:
        assert not outside & set(HYDRA)


def test_nothing_is_built_by_hydra() -> None:
    """Its `instantiate` resolves interpolations and calls whatever a text names."""
    assert [name for name, path in FILES.items() if "hydra.utils" in imports(path)] == []


def test_files_are_short_and_named() -> None:
    for path in FILES.values():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 320, f"{path} is too long: find the seam"
        assert path.stem not in ("utils", "helpers", "misc", "manager")


def test_a_planted_upward_import_is_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from pgolf import train\nimport pgolf.nn.gpt\n")
    assert imports(planted) == {"pgolf.train", "pgolf.nn.gpt"}
