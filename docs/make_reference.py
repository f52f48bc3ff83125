"""`python docs/make_reference.py`: writes docs/configuration.md from conf/, its comments and the schema.

tests/docs/test_reference.py fails while the committed page is not what this script makes.
"""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from hydra import compose
from omegaconf import OmegaConf

from pgolf.config import resolvers, schema
from pgolf.config.binding import annotations
from pgolf.config.compose import CONFIG_NAME, composer
from pgolf.config.folders import conf_dir
from pgolf.config.help import FILES, Option, groups, header, read_options
from pgolf.config.ranges import range_of
from pgolf.machine.typed import wanted

PAGE = Path(__file__).resolve().with_name("configuration.md")
SECTIONS = ("", "model", "optim", "train", "launch", "study")  # sections of one file, keys of FILES
OPEN_SLOTS = (  # groups whose choices have options of their own
    "model/q_proj",
    "model/embedding",
    "model/head",
    "model/mlp",
    "model/depth",
    "model/side_inputs",
    "optim/algorithm",
    "optim/schedule",
    "optim/averaging",
    "quant",
    "eval",
    "data",
    "tracker",
    "hydra/sweeper",
    "defects",
)
PRESETS = ("scale", "stack", "model", "optim", "train")  # groups whose choices set options of several sections
PACKAGE = re.compile(r"^# @package (\S+)", re.MULTILINE)
PACKAGE_OF_GROUP = {"optim/algorithm": "optim.roles.<role>", "model/trunk": "model"}
COMMENTED = re.compile(r"^(python .*?\S) {2,}\(?([^)]*)\)?$")  # a command and what it does
GENERICS = {
    "list": "a list",
    "tuple": "a list",
    "Sequence": "a list",
    "dict": "names and values",
    "Mapping": "names and values",
}
WORD_OR_NUMBER = ("threads", "gpus_per_job")  # text in the schema
MACHINE_SPECIFIC = ("paths.cache",)  # shown as written, since the value depends on the user

INTRODUCTION = """\
# Configuration reference

Made by `python docs/make_reference.py` from the YAML files in `conf/`, their comments and `pgolf/config/schema.py`.
Edit those files, not this page.

- `GROUP=CHOICE` chooses a YAML file of a config group: `model/head=mos` takes `conf/model/head/mos.yaml`.
- `OPTION=VALUE` sets one value: `train.steps=300`. A list is written `[a,b]`, and nothing at all is `null`.
- `optim/algorithm@optim.roles.ROLE=CHOICE` chooses the optimizer of one role: embedding, head, matrix or scalar.
- `model/side_inputs=[A,B]` chooses several side inputs.
- With `--multirun`, comma-separated values are swept: `model/head=tied,mos seed=1,2,3`.
- `python -m pgolf.train OVERRIDES --cfg job` prints the whole configuration of a run without running it.

*File* is the value in the YAML file that holds the option. *Default run* is the value of `python -m pgolf.train`
without arguments, where the scale `cpu` and other choices have replaced some of them. A dash means the same value.
Values such as `${scale_width:128,512}` are [interpolations](#interpolations)."""


def cell(text: str) -> str:
    """Text as a cell of a Markdown table."""
    return re.sub(r"([|<>*])", r"\\\1", text)


def code(text: str) -> str:
    """A value as code in a cell; nothing for an empty text."""
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).replace(" ", "-")


def described(path: Path) -> list[str]:
    """The header of a YAML file: its prose as one paragraph, then its commands."""
    lines = header(path)
    prose = " ".join(line for line in lines if not line.startswith("  "))
    commands = [COMMENTED.sub(r"\1  # \2", line.removeprefix("  ")) for line in lines if line.startswith("  ")]
    return [re.sub(r"([<>*])", r"\\\1", prose), *(["", "```", *commands, "```"] if commands else []), ""]


def first_line(path: Path) -> str:
    """The first sentence of a YAML file's header."""
    return cell(next(iter(header(path)), "").rstrip("."))


# ---- options


def package_of(path: Path) -> str:
    """The dotted path that the keys of a YAML file stand under; empty for the top level."""
    named = PACKAGE.search(path.read_text(encoding="utf-8"))
    group = path.parent.relative_to(conf_dir()).as_posix()
    package = named[1] if named else PACKAGE_OF_GROUP.get(group, "" if group == "." else group.replace("/", "."))
    return "" if package == "_global_" else package


def options_of(path: Path) -> list[tuple[str, Option]]:
    """(dotted path, option) of every key of a file that has a value."""
    prefix = package_of(path)
    read = read_options(path)
    above = {option.keys[:-1] for option in read}
    return [
        (".".join(filter(None, (prefix, *option.keys))), option)
        for option in read
        if not (option.keys in above and not option.value)
    ]


def type_of(dotted: str, class_hints: dict[str, Any]) -> str:
    """The type of an option in words, with its range where it has one."""
    section, _, name = dotted.rpartition(".")
    hints = get_type_hints(schema.SECTIONS[section]) if section in schema.SECTIONS else class_hints
    hint = hints.get(name, Any)
    text = "" if hint is Any else words(hint)
    if hint is str and name in WORD_OR_NUMBER:
        text = "auto or a whole number"
    low_high = range_of(dotted)
    return cell(f"{text}, {low_high[0]:,} to {low_high[1]:,}" if text and low_high else text)


def words(hint: Any) -> str:
    """A type hint in words."""
    text = wanted(hint)
    for generic, name in GENERICS.items():
        text = re.sub(rf"\b(?:collections\.abc\.|typing\.)?{generic}\[.*\]", name, text)
    return text


def hints_of(path: Path) -> dict[str, Any]:
    """The annotations of the class that a YAML file names."""
    target = yaml.safe_load(path.read_text(encoding="utf-8")).get("_target_")
    for base in defaults_of(path):
        if target is None and (other := path.with_name(f"{base}.yaml")).is_file():
            return hints_of(other)
    if target is None:
        return {}
    module, _, name = target.rpartition(".")
    return annotations(getattr(import_module(module), name))


def schema_notes() -> dict[str, str]:
    """{dotted path: comment} of the fields of the schema, for options whose YAML file has no note."""
    names = {section.__name__: prefix for prefix, section in schema.SECTIONS.items()}
    found: dict[str, str] = {}
    prefix, name = None, ""
    for line in Path(schema.__file__).read_text(encoding="utf-8").splitlines():
        if made := re.match(r"class (\w+)", line):
            prefix = names.get(made[1])
        if field := re.match(r"    (\w+): ", line):
            name = field[1]
        if prefix is not None and name and (note := re.search(r"MISSING  # (.*)$|= \"\"  # (.*)$", line)):
            found[f"{prefix}.{name}".lstrip(".")] = note[1] or note[2]
    return found


def default_run() -> tuple[dict[str, Any], dict[str, Any]]:
    """(values by dotted path, choices by group) of `python -m pgolf.train` without arguments."""
    with composer():
        composed = compose(CONFIG_NAME, [], return_hydra_config=True)
    choices = dict(composed.hydra.runtime.choices)
    own = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    return flat(OmegaConf.to_container(own, resolve=True)), choices


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {
        path: value for key, each in node.items() for path, value in flat(each, f"{prefix}.{key}".lstrip(".")).items()
    }


def shown(value: Any) -> str:
    """A value as it is typed on a command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(shown, value))}]"
    return str(value) if str(value) else '""'


def section_table(path: Path, values: dict[str, Any], notes: dict[str, str]) -> list[str]:
    rows = []
    for dotted, option in options_of(path):
        default = "" if dotted in MACHINE_SPECIFIC or dotted not in values else shown(values[dotted])
        same = default in (option.value, "")
        note = cell(option.note or notes.get(dotted, ""))
        rows.append((code(dotted), type_of(dotted, {}), code(option.value), "-" if same else code(default), note))
    return table(("Option", "Type", "File", "Default run", "Meaning"), rows)


def choice_table(path: Path) -> list[str]:
    hints, notes = hints_of(path), schema_notes()
    rows = [
        (code(dotted), type_of(dotted, hints), code(option.value), cell(option.note or notes.get(dotted, "")))
        for dotted, option in options_of(path)
    ]
    return table(("Option", "Type", "Value", "Meaning"), rows) if rows else ["No options."]


def defaults_of(path: Path) -> list[str]:
    """The entries of a file's defaults list: `base` for a file beside it, `group=choice` for a choice."""
    found = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(entry, str):
            found += [] if entry == "_self_" else [entry]
        else:
            for key, value in entry.items():
                found.append(f"{key.removeprefix('override ').removeprefix('/')}={shown(value)}")
    return found


# ---- parts of the page


def group_part(choices: dict[str, Any]) -> Iterator[str]:
    conf = conf_dir()
    rows = []
    for group, names in groups(conf):
        default = choices.get(group)
        if group.startswith("arm/"):
            continue
        rows.append((code(group), code("" if default is None else shown(default)), ", ".join(map(code, names))))
    yield from ("", "## Config groups", "")
    yield from table(("Group", "Default run", "Choices"), rows)
    yield from ("", "Arms of studies are listed [below](#studies-and-arms).")


def section_part(values: dict[str, Any]) -> Iterator[str]:
    notes = schema_notes()
    yield from ("", "## Sections", "")
    for section in SECTIONS:
        path = conf_dir() / f"{FILES[section]}.yaml"
        yield from (f"### {section or 'Top level'}", "", f"`conf/{FILES[section]}.yaml`. " + described(path)[0], "")
        yield from (*section_table(path, values, notes), "")


def choice_part() -> Iterator[str]:
    yield from ("## Choices with options of their own", "")
    for group in OPEN_SLOTS:
        yield from (f"### {group}", "")
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            chosen = f"{group}@optim.roles.<role>" if group == "optim/algorithm" else group
            based = [name for name in defaults_of(path) if "=" not in name]
            yield from (f"#### {chosen}={path.stem}".replace("<", "\\<").replace(">", "\\>"), "", *described(path))
            if based:
                yield from (f"As `{group}={based[0]}`, except:", "")
            yield from (*choice_table(path), "")


def preset_part() -> Iterator[str]:
    yield from ("## Scales, stacks and what they set", "")
    for group in PRESETS:
        yield from (f"### Choices of {group}", "")
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            yield from (f"#### {group}={path.stem}", "", *described(path))
            if chosen := defaults_of(path):
                yield from (f"Takes {', '.join(map(code, chosen))}.", "")
            if rows := [(code(dotted), code(option.value)) for dotted, option in options_of(path)]:
                yield from (*table(("Option", "Value"), rows), "")


def study_part() -> Iterator[str]:
    yield from ("## Studies and arms", "", "`study=STUDY` runs all arms, `study=STUDY arm=STUDY/ARM` runs one.", "")
    for path in sorted((conf_dir() / "study").glob("*.yaml")):
        yield from (f"### study={path.stem}", "", *described(path))
        arms = sorted((conf_dir() / "arm" / path.stem).glob("*.yaml"))
        if arms:
            yield from (*table(("Arm", "What it is"), [(code(arm.stem), first_line(arm)) for arm in arms]), "")


def interpolation_part() -> Iterator[str]:
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(conf_dir().rglob("*.yaml")))
    rows = []
    for name in sorted(set(re.findall(r"\$\{(\w+):", text))):
        meaning = " ".join((getattr(resolvers, name).__doc__ or "").split())
        rows.append((code(f"${{{name}:...}}"), cell(meaning)))
    yield from ("## Interpolations", "", "A YAML file may use these beside OmegaConf's `${section.option}`.", "")
    yield from table(("Form", "Value"), rows)


def reference() -> str:
    """The whole page."""
    values, choices = default_run()
    parts = (
        group_part(choices),
        section_part(values),
        choice_part(),
        preset_part(),
        study_part(),
        interpolation_part(),
    )
    return "\n".join([INTRODUCTION, *(line for part in parts for line in part)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(f"written: {PAGE}")
