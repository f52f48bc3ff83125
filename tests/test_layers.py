"""Who may import whom, read from the syntax tree: one ordered list of folders, and three rules."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pgolf"

# A module imports its own folder and those of earlier lines. Folders on one line do not import one another.
ORDER = (
    ("errors",),
    ("slots",),
    ("audit",),
    ("machine",),
    ("command",),
    ("records",),
    ("trackers",),
    ("nn",),
    ("inspect",),  # looks at models; a function that scores them is passed in
    ("optim", "quant", "data"),
    ("eval",),
    ("tables",),
    ("study",),
    ("pages",),
    ("training",),
    ("config",),
    ("execution",),
    ("sample",),
    ("sweep",),
    ("api",),  # what `import pgolf` offers; open_artifact, which loads torch, is sample's
    ("probe",),
    ("completion",),
)
COMMANDS = ("train", "status", "rerun", "params", "bench", "gate", "evaluate", "aggregate", "report", "compare")
ENTRIES = (
    *COMMANDS,
    "audit.__main__",
    "inspect.__main__",
    "sample.__main__",
    "api.child",
    "probe.__main__",
    "data.__main__",
    "study.__main__",
    "completion.__main__",
    "sweep.worker",
    "trackers.follow",
    "__main__",
)  # what `python -m` starts; imported by nobody
NO_TORCH = ("records", "tables", "study", "pages", "api")
HYDRA = ("config", "sweep", "probe", *COMMANDS)
HYDRA_LIBRARIES = {"hydra", "omegaconf"}
VARIANTS = {  # folder -> modules of it that are variants; every module of a slot's folder is one
    "nn.q_proj": None,
    "nn.embedding": None,
    "nn.head": None,
    "nn.mlp": None,
    "nn.depth": None,
    "nn.side_inputs": None,
    "optim": ("adam", "muon"),
    "quant": ("rowwise", "unquantized"),
    "eval": ("plain", "sliding", "rolling", "plain_and_908"),
    "trackers": ("none", "tensorboard", "wandb", "trackio", "mlflow"),
    "data": ("docs", "text", "shard_files", "fineweb"),
}
MOST_AT_TOP = 15
MOST_LINES = 305


def module_name(path: Path) -> str:
    """`nn.gpt` for pgolf/nn/gpt.py; a package has its folder's name, pgolf itself none."""
    dotted = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
    return dotted.removesuffix("__init__").removesuffix(".")


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def rank(name: str) -> int:
    """The position of a module's folder in ORDER; commands come last."""
    top = name.split(".")[0]
    if name in ENTRIES:
        return len(ORDER)
    found = [position for position, folders in enumerate(ORDER) if top in folders]
    assert found, f"pgolf.{name} lies in no folder of {Path(__file__).name}. Give it one there and in ARCHITECTURE.md"
    return found[0]


def is_variant(name: str) -> bool:
    folder, _, stem = name.rpartition(".")
    return folder in VARIANTS and (VARIANTS[folder] is None or stem in (VARIANTS[folder] or ()))


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


@cache
def all_imports() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: imports(path) for name, path in FILES.items()}


@cache
def own() -> dict[str, set[str]]:
    """What each module imports from pgolf, by names inside pgolf."""
    return {
        name: {i.removeprefix("pgolf.") for i in found if i.startswith("pgolf.")} - {name}
        for name, found in all_imports().items()
    }


def faults(name: str, imported: set[str]) -> list[str]:
    """What a module imports although it must not. imported: names inside pgolf."""
    found = []
    for other in sorted(imported):
        if other in ENTRIES:
            found.append(f"{name} imports the command {other}")
        elif name and rank(other) >= rank(name) and other.split(".")[0] != name.split(".")[0]:
            found.append(f"{name} imports {other}, which does not come before it")
        elif is_variant(name) and is_variant(other):
            found.append(f"the variant {name} imports the variant {other}")
    return found


@pytest.mark.parametrize("name", FILES, ids=lambda name: name or "pgolf")
def test_imports_go_one_way(name: str) -> None:
    assert faults(name, own()[name]) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    remaining = {name: {other for other in found if other in FILES} for name, found in own().items()}
    while free := [name for name, found in remaining.items() if not found & remaining.keys()]:
        for name in free:
            del remaining[name]
    assert remaining == {}


def reached(name: str) -> set[str]:
    """Every module that importing `name` imports, itself and its packages included."""
    found: set[str] = set()
    waiting = {name}
    while waiting:
        here = waiting.pop()
        found.add(here)
        parents = {here.rsplit(".", n)[0] for n in range(1, here.count(".") + 1)}
        waiting |= {other for other in own()[here] | parents if other in FILES} - found
    return found


@pytest.mark.parametrize("folder", NO_TORCH)
def test_results_are_read_without_torch(folder: str) -> None:
    for name in (name for name in FILES if name.split(".")[0] == folder):
        heavy = sorted(
            other for other in reached(name) if any(i.split(".")[0] == "torch" for i in all_imports()[other])
        )
        assert heavy == [], f"{name} loads torch by way of these"


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Its functions are imported at their first use."""
    assert reached("") == {"", "machine", "machine.interrupts"}


def test_hydra_stays_at_the_edge() -> None:
    users = {name for name, found in all_imports().items() if {i.split(".")[0] for i in found} & HYDRA_LIBRARIES}
    assert sorted(name for name in users if name.split(".")[0] not in HYDRA) == []


def test_nothing_is_built_by_hydra() -> None:
    """Its `instantiate` resolves interpolations and calls whatever a text names."""
    assert [name for name, found in all_imports().items() if "hydra.utils" in found] == []


def test_the_top_is_what_a_user_types_and_files_are_short() -> None:
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_TOP
    for path in FILES.values():
        assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES, f"{path} is too long: find the seam"
        assert path.stem not in ("utils", "helpers", "misc", "manager")


def test_planted_faults_are_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("from pgolf import train\nimport pgolf.nn.gpt\nfrom pgolf.nn.head import tied\n")
    assert imports(planted) == {"pgolf.train", "pgolf.nn.gpt", "pgolf.nn.head.tied"}
    assert len(faults("machine.files", {"nn.gpt", "train"})) == 2
    assert len(faults("quant.rowwise", {"optim.roles", "quant.codecs", "slots"})) == 1
    assert len(faults("nn.head.mos", {"nn.head.tied", "nn.readout"})) == 1
