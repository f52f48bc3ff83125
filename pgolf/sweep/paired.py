"""Two arms whose runs are made seed by seed: their configurations, their finished runs, and the runs of a further seed.

An arm is a list of overrides, or a folder of runs. A run that has finished is not repeated: it is found by its
fingerprint and seed, in its own folder or in that of another study of the same output folder.
"""

import os
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pgolf.config.auto import machine_shortages
from pgolf.config.command_line import preflight
from pgolf.config.composed_run import ComposedRun
from pgolf.config.corpora import check_corpora
from pgolf.config.folders import cache_dir
from pgolf.config.identity import SEED_MARK, fingerprint, run_folder
from pgolf.config.saved import load_saved
from pgolf.config.schema import Config, PathsConfig, plain_config
from pgolf.config.study import AUTO
from pgolf.errors import ConfigError, PgolfError
from pgolf.execution.finish import ERROR
from pgolf.execution.provenance import changed_code
from pgolf.execution.record import one_line
from pgolf.records.arm_names import folder_of_arm
from pgolf.records.contradictions import RUN_NAME
from pgolf.records.plan import GATE, GATE_COMMAND
from pgolf.records.rows import Row, collect
from pgolf.study.description import read_study
from pgolf.sweep.compilation import decide_compile
from pgolf.sweep.jobs import run_once
from pgolf.sweep.runs import Run
from pgolf.sweep.state import first_names, plan_run, state_of
from pgolf.sweep.sweep import CODE_CHANGED, code_now, write_plan
from pgolf.tables.pairs import rows_of_arm

REMEDY = "Give its overrides instead"


class FailedRun(PgolfError):
    """A run that left no score."""


@dataclass
class Arm:
    """One of two arms. name: as given. rows: its finished runs, by seed. margin_bpb: the smallest effect of its study,
    None without one. folder: of its runs, if it was given as a folder. runs: the run of each seed, if it was composed.
    """

    name: str
    fingerprint: str
    rows: dict[int, Row]
    margin_bpb: float | None
    folder: Path | None = None
    runs: Mapping[int, Run] = field(default_factory=dict)

    def run(self, seed: int) -> Run:
        """The run of a seed. Raises PgolfError if the folder of the arm does not allow another seed."""
        return self.runs[seed] if self.folder is None else run_beside(self.folder, list(self.rows.values()), seed)

    def needs(self, seed: int) -> bool:
        return seed not in self.rows


def words_of(text: str, both: Sequence[str]) -> list[str]:
    """The overrides in one argument, cut at spaces as a shell does, and those of both arms that it does not replace.

    Without a study they name one of their own, GATE. Raises ConfigError.
    """
    try:
        words = {word.partition("=")[0]: word for word in (*both, *shlex.split(text))}
        return [*words.values(), *([] if {"study", "study.name"} & set(words) else [f"study.name={GATE}"])]
    except ValueError as error:
        raise ConfigError(f"{text}: cannot be cut into overrides ({error}). Close every quote") from None


def word_problems(words: Sequence[str]) -> list[str]:
    """Problems of words that are not overrides, or that set what the command decides itself."""
    problems = []
    for word in words:
        key, is_override, _ = word.lstrip("+~").partition("=")
        if not is_override:
            problems.append(f"{word}: is neither a folder nor an override. Write key=value, or name a folder of runs")
        elif key == "seed":
            problems.append(f"seed: is chosen by this command ({word}). Leave it out")
        elif key.startswith("hydra"):
            problems.append(f"{key}: is not used here ({word}). Runs are made one after another. Leave it out")
    return problems


def compose_seeds(words: Sequence[str], seeds: Sequence[int]) -> list[ComposedRun]:
    """The runs of one configuration for these seeds. Raises ConfigError if the overrides select several."""
    runs = list(preflight([*words, f"seed={','.join(map(str, seeds))}"], multirun=True).runs)
    if len(runs) != len(seeds):
        raise ConfigError(
            f"{' '.join(words)}: selects {len(runs) // len(seeds)} configurations. Select one, for example with arm=..."
        )
    launch = runs[0].config.launch
    for option, is_set in (
        ("launch.dry_run", launch.dry_run),
        ("launch.rerun", launch.rerun),
        ("launch.seeds", launch.seeds == AUTO),
    ):
        if is_set:
            value = "auto" if option == "launch.seeds" else "true"
            raise ConfigError(f"{option}: cannot be used here ({value}). Leave it out")
    return runs


def read_arms(texts: Sequence[str], both: Sequence[str], most_seeds: int) -> tuple[list[Arm], list[int]]:
    """(the arms, the seeds that they may use in this order) of two arguments. both: overrides of both arms.

    Seeds that an arm already has come first. Raises PgolfError.
    """
    folders = {text: Path(text) for text in texts if os.path.isdir(text)}  # False for what is too long for a path
    if both and len(folders) == len(set(texts)):
        raise ConfigError(f"--both: adds overrides to overrides, and both arms are folders ({both[0]}). Leave it out")
    arms = {text: arm_of_folder(text, folder) for text, folder in folders.items()}
    texts_left = [text for text in dict.fromkeys(texts) if text not in folders]
    words = {text: words_of(text, both) for text in texts_left}
    if problems := [problem for text in texts_left for problem in word_problems(words[text])]:
        raise ConfigError(*dict.fromkeys(problems))
    known = {seed for arm in arms.values() for seed in arm.rows}
    seeds = seeds_to_use(known, most_seeds)
    composed = compose_arms(words, seeds)
    earlier = {seed for _, runs in composed.values() for seed in seeds_beside(runs[0])}
    if earlier - set(seeds):
        seeds = seeds_to_use(known | earlier, most_seeds)
        composed = compose_arms(words, seeds)
    arms |= {text: composed_arm(text, *found) for text, found in composed.items()}
    return [arms[text] for text in texts], seeds


def seeds_to_use(known: Collection[int], most_seeds: int) -> list[int]:
    """The known seeds, then others from 1, so that there are `most_seeds` or all known ones."""
    others = (seed for seed in range(1, most_seeds + len(known) + 1) if seed not in known)
    return [*sorted(known), *(seed for seed, _ in zip(others, range(most_seeds - len(known)), strict=False))]


def compose_arms(
    words: Mapping[str, Sequence[str]], seeds: Sequence[int]
) -> dict[str, tuple[list[ComposedRun], list[Run]]]:
    """{arm as given: (its composed runs, its planned runs)}, one run per seed. Raises ConfigError."""
    composed = {text: compose_seeds(of_arm, seeds) for text, of_arm in words.items()}
    flat = [run for runs in composed.values() for run in runs]
    decided = iter(decide_compile(flat, [plan_run(run, in_sweep=True) for run in flat], in_sweep=True) if flat else [])
    return {text: (runs, [next(decided) for _ in runs]) for text, runs in composed.items()}


def seeds_beside(run: Run) -> set[int]:
    """The seeds of all run folders with a run's fingerprint, in any study of its output folder."""
    mark = run.folder.name.rpartition("-")[2]
    names = (RUN_NAME.fullmatch(folder.name) for folder in run.folder.parents[2].glob(f"*/*/seed*-{mark}"))
    return {int(name[1]) for name in names if name}


def arm_of_folder(name: str, folder: Path) -> Arm:
    """The arm of a folder of runs. Raises PgolfError."""
    rows = rows_of_arm(folder)
    if not rows:
        raise ConfigError(f"{folder}: has no run with a record. Give a folder with a finished run, or overrides")
    study = read_study(Path(rows[0]["folder"]).parents[1])
    margin = None if study is None else study.smallest_effect_bpb
    return Arm(
        name, rows[0]["fingerprint"], {row["seed"]: row for row in rows if row["status"] == "ok"}, margin, folder
    )


def composed_arm(name: str, composed: Sequence[ComposedRun], runs: Sequence[Run]) -> Arm:
    """The arm of some overrides, with its runs that have finished. Raises PgolfError."""
    margins = composed[0].resolved["study"]["smallest_effect_bpb"]
    rows = {}
    for run in runs:
        for folder in folders_of(run):
            state = state_of(replace(run, folder=folder))
            if state.record is not None and state.record["status"] == "ok":
                rows[run.config.seed] = row_at(folder)
                break
    margin = margins.get(str(composed[0].choices["scale"]))
    by_seed = {run.config.seed: run for run in runs}
    return Arm(name.strip() or "the default configuration", runs[0].identity["fingerprint"], rows, margin, runs=by_seed)


def folders_of(run: Run) -> Iterator[Path]:
    """The folder of a run, then those of other arms and studies that may hold the same run."""
    yield run.folder
    for folder in sorted(run.folder.parents[2].glob(f"*/*/{run.folder.name}")):
        if folder != run.folder and any(row["status"] == "ok" for row in collect(folder).rows):
            yield folder


def row_at(folder: Path) -> Row:
    """The row of a finished run. `folder` is the path of its folder."""
    (row,) = collect(folder).rows
    return {**row, "folder": str(folder.resolve()), "planned": None}


def with_seed(config: Config, seed: int, *, shuffles: bool) -> Config:
    """A configuration with another seed. shuffles: whether the order of its data follows the seed."""
    data = {**config.data, "shuffle_seed": seed} if shuffles else config.data
    return replace(config, seed=seed, data=data)


def run_beside(folder: Path, rows: Sequence[Row], seed: int) -> Run:
    """The run of another seed of an arm that is known by its run folders alone. Raises PgolfError if there is none."""
    source = Path(rows[0]["folder"]) if rows else folder.resolve()
    saved = load_saved(source, PathsConfig(str(source.parents[2]), cache_dir()))
    config, identity = saved.config, saved.identity
    names = (identity["arm"], folder_of_arm(identity["arm"]))
    if source.parents[1].name != identity["study"] or source.parent.name not in names:
        raise ConfigError(f"{source}: has been moved, so that no seed can be added beside it. {REMEDY}")
    if config.train.parent is not None:
        raise ConfigError(f"{source}: takes weights of another run, of one seed (train.from). {REMEDY}")
    follows = [
        shuffles
        for shuffles in {config.data.get("shuffle_seed") == config.seed, False}
        if fingerprint(plain_config(with_seed(config, SEED_MARK, shuffles=shuffles))) == identity["fingerprint"]
    ]
    if not follows:
        raise ConfigError(f"{source}: its configuration cannot be repeated with another seed. {REMEDY}")
    if changed := sorted({name for row in rows for name in changed_code(row["code_files"])}):
        raise ConfigError(
            f"{folder}: its code has changed since ({first_names(changed)}), so that another seed would be another "
            f"arm. {REMEDY}"
        )
    config = with_seed(config, seed, shuffles=follows[0])
    if problems := machine_shortages(config):
        raise ConfigError(*problems)
    overrides = sorted([*(text for text in identity["overrides"] if not text.startswith("seed=")), f"seed={seed}"])
    identity = {**identity, "overrides": overrides}
    return Run(config, identity, run_folder(config, identity), f"{identity['arm']} seed={seed}")


def make_pair(arms: Sequence[Arm], seed: int, code: str) -> int:
    """Execute or resume the runs of one seed that have not finished, one after another. Returns their number.

    code: the hash of the code when the command started. Raises FailedRun, PgolfError, OSError, KeyboardInterrupt.
    """
    missing = [arm for arm in arms if arm.needs(seed)]
    runs = [arm.run(seed) for arm in missing]
    check_corpora([run.config for run in runs])
    for arm, run in zip(missing, runs, strict=True):
        own = [
            arm.run(other)
            for other, row in arm.rows.items()
            if Path(row["folder"]).parent.name == run.folder.parent.name
        ]
        words = [text for text in run.identity["overrides"] if not text.startswith("seed=")]
        write_plan([GATE_COMMAND, *words], [*own, run], None)
    for arm, run in zip(missing, runs, strict=True):
        if code_now() != code:
            raise PgolfError(f"{CODE_CHANGED}. The same command goes on with the code of now")
        record = run_once(run, in_sweep=True, quiet=True)
        if record["status"] != "ok":
            raise FailedRun(f"{run.label}: {one_line(record)}\n  traceback: {run.folder / ERROR}")
        arm.rows[seed] = row_at(run.folder)
    return len(missing)
