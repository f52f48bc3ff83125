"""The trials of a probe as ordinary runs: prepared from a study's command line, and executed axis by axis."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from pgolf.command import FAILED, OK
from pgolf.config.build import build_data
from pgolf.config.command_line import CommandLine, compose_each, preflight
from pgolf.config.composed_run import ComposedRun
from pgolf.config.corpora import check_corpora
from pgolf.config.space import check_optuna
from pgolf.errors import ConfigError, PgolfError
from pgolf.execution.account import account
from pgolf.probe.search import ArmSearch, Point
from pgolf.probe.text import ProbeText, probe_text
from pgolf.records.plan import planned_runs, read_plan
from pgolf.records.progress import count_text
from pgolf.records.record import FINISHED, read_record
from pgolf.study.description import ADHOC, study_folder
from pgolf.study.probes import SUFFIX, Probe, ProbePlan, plan_from, trials_of
from pgolf.sweep.compilation import decide_compile
from pgolf.sweep.execution import execute_runs
from pgolf.sweep.run_time import RunTimes, total_text
from pgolf.sweep.runs import Run
from pgolf.sweep.state import Reason, State, plan_run
from pgolf.sweep.sweep import as_sweep, states_of

COMMAND = "pgolf.probe"  # stands in the plan of a sweep before the study
CHOSEN_HERE = ("seed", "study", "study.name", "study.data", "launch.seeds")


@dataclass(frozen=True)
class Request:
    """A checked probe before its text is prepared. command: as typed. name: of the study.

    line: the study's command line, one run per arm. arms: those runs by arm.
    """

    command: tuple[str, ...]
    name: str
    plan: ProbePlan
    line: CommandLine
    arms: Mapping[str, ComposedRun]

    @property
    def is_dry(self) -> bool:
        return self.line.runs[0].config.launch.dry_run

    def estimate(self) -> str:
        """The number of trials and runs, and their time, in words."""
        configs = [plan_run(run, in_sweep=True).config for run in self.arms.values()]
        run_times = RunTimes(Path(configs[0].paths.out).expanduser())
        times = [run_times.of(config, account(config)) for config in configs]
        total_s = sum(one.total_s for one in times) * self.plan.trials * len(self.plan.seeds)
        runs = self.plan.trials * len(self.arms) * len(self.plan.seeds)
        return (
            f"{count_text(runs, 'run')}: {self.plan.trials} trials for each of {count_text(len(self.arms), 'arm')}, "
            f"seed {', '.join(map(str, self.plan.seeds))}; {total_text(total_s, times)}"
        )


def read_request(study: str, overrides: Sequence[str]) -> Request:
    """Check the study, and the plan and the seeds of its probe. Writes nothing. Raises PgolfError."""
    for word in overrides:
        if (key := word.partition("=")[0].lstrip("+~")) in CHOSEN_HERE:
            raise ConfigError(f"{key}: is chosen by this command ({word}). Leave it out")
    line = preflight([f"study={study}", *overrides, "seed=0"], multirun=True)
    first = line.runs[0]
    section = first.resolved["study"]
    name, arms = str(section["name"]), {str(run.resolved["study"]["arm"]): run for run in line.runs}
    if name == ADHOC or not section["families"]:
        raise ConfigError(f"STUDY: has no arms to probe ({study}). Name a study of conf/study")
    if not section["probe"]:
        raise ConfigError(
            f"study.probe: is empty in study={study} ({{}}). Write trials, seeds, targets and axes into it"
        )
    try:
        plan = plan_from(section["probe"])
    except ValueError as error:
        raise ConfigError(f"study.probe: of {study} is not valid: {error}. Correct the YAML file") from None
    check_seeds(plan, line, Path(first.config.paths.out).expanduser() / study_folder(name, str(first.choices["scale"])))
    check_budget(plan, arms)
    return Request((study, *overrides), name, plan, line, arms)


def check_seeds(plan: ProbePlan, line: CommandLine, folder: Path) -> None:
    """Raise ConfigError for a seed that the study plans or has run. folder: of the study's runs."""
    text = (line.whole.hydra.sweeper.get("params") or {}).get("seed")
    planned = {int(value) for value in swept_values(str(text))} if text is not None else set()
    used = planned | {run.seed for run in planned_runs(read_plan(folder))}
    if both := sorted(used & set(plan.seeds)):
        raise ConfigError(
            f"study.probe.seeds: {both[0]} is a seed of the study ({list(plan.seeds)}). Give seeds that it does not use"
        )


def swept_values(text: str) -> list[str]:
    """The values of a sweep, such as `1,2,3` or `range(1,4)`."""
    override = OverridesParser.create().parse_override(f"seed={text}")
    return [str(v) for v in override.sweep_string_iterator()] if override.is_sweep_override() else [text]


def check_budget(plan: ProbePlan, arms: Mapping[str, ComposedRun]) -> None:
    """Raise ConfigError unless every arm gets the planned number of trials, and the sampler is installed."""
    if plan.sampler != "grid":
        check_optuna("study.probe.sampler", plan.sampler)
        if bare := [arm for arm in arms if not plan.axes_of(arm)]:
            raise ConfigError(f"study.probe.axes: are empty for {', '.join(bare)} ([]). Give every arm an axis")
        return
    by_number: dict[int, list[str]] = {}
    for arm in arms:
        by_number.setdefault(trials_of(plan.axes_of(arm)), []).append(arm)
    if set(by_number) != {plan.trials}:
        lines = "; ".join(f"{number} for {', '.join(names)}" for number, names in sorted(by_number.items()))
        raise ConfigError(
            f"study.probe.trials: is {plan.trials} for every arm, but the axes give {lines}. Give all arms axes with "
            "as many trials, which is 1 plus, for each axis, its points less 1"
        )


def prepare_text(request: Request, val_glob: str | None) -> tuple[list[ArmSearch], list[ProbeText]]:
    """(one search per arm, the texts that they are scored on, one per corpus). Raises PgolfError."""
    of_corpus: dict[str, ProbeText] = {}
    words: dict[str, list[str]] = {}
    study, *overrides = request.command
    for arm, run in request.arms.items():
        data = {key: value for key, value in run.config.data.items() if key != "shuffle_seed"}
        key = json.dumps(data, sort_keys=True)
        if key not in of_corpus:
            cache = Path(run.config.paths.cache).expanduser()
            of_corpus[key] = probe_text(build_data(run.config).prepare(), cache, request.plan.targets, val_glob)
        kept = [word for word in overrides if word.partition("=")[0] != "arm" and not sets_corpus(word)]
        own = (f"study={study}", f"study.name={request.name}{SUFFIX}", f"arm={study}/{arm}", "study.data=''")
        words[arm] = [*own, *kept, *of_corpus[key].overrides]
    seed = request.plan.seeds[0]
    composed = compose_each([[*line, f"seed={seed}"] for line in words.values()])
    searches = [
        ArmSearch(arm, request.plan.axes_of(arm), tuple(line), run)
        for (arm, line), run in zip(words.items(), composed, strict=True)
    ]
    return searches, list(of_corpus.values())


def sets_corpus(word: str) -> bool:
    """Whether an override chooses the corpus; the order of the data is not a part of it."""
    key = word.partition("=")[0].lstrip("+~")
    return key.split(".")[0] == "data" and key != "data.shuffle_seed"


def search(request: Request, searches: Sequence[ArmSearch]) -> tuple[int, Path]:
    """Execute all trials, axis by axis. Returns (exit code, folder of the runs); runs that are left give a code that is
    not OK. Raises PgolfError, OSError, KeyboardInterrupt.
    """
    folder = Path()
    for number in range(max(len(one.axes) for one in searches)):
        here = [one for one in searches if number < len(one.axes)]
        code, folder = search_axis(request, here, number)
        if code != OK:
            return code, folder
    if uneven := [one for one in searches if one.trials != request.plan.trials]:
        names = ", ".join(f"{one.arm} {one.trials}" for one in uneven)
        raise PgolfError(f"study.probe.trials: is {request.plan.trials} for every arm, but these had others: {names}")
    return OK, folder


def search_axis(request: Request, searches: Sequence[ArmSearch], number: int) -> tuple[int, Path]:
    """Execute the points of one axis of every search, and keep the best of each. Returns (exit code, folder)."""
    points = [one.points() for one in searches]
    own = [one.own_position(of_arm) for one, of_arm in zip(searches, points, strict=True)]
    if number:
        print(f"axis {number + 1} of {max(len(one.axes) for one in searches)}")
    code, folder, tried = execute_points(request, searches, points, f"axis={number + 1}")
    if code != OK:
        return code, folder
    for one, of_arm, position in zip(searches, tried, own, strict=True):
        one.add([point for point, _ in of_arm], position, [run for _, run in of_arm])
    return code, folder


def execute_points(
    request: Request, searches: Sequence[ArmSearch], points: Sequence[Sequence[Mapping[str, Any]]], part: str
) -> tuple[int, Path, list[list[tuple[Point, ComposedRun]]]]:
    """Execute points of every search with all seeds of the probe, as one sweep. points: one list per search. part: of
    the probe, for the plan. Returns (exit code, folder, the points with their scores and first runs, one list per
    search); the lists are empty and the code is not OK if a run is left.
    """
    seeds = request.plan.seeds
    lines = [
        one.command_line(point, seed)
        for one, of_arm in zip(searches, points, strict=True)
        for point in of_arm
        for seed in seeds
    ]
    composed = compose_each(lines)
    runs = decide_compile(composed, [plan_run(run, in_sweep=True) for run in composed], in_sweep=True)
    runs = as_sweep(runs)
    check_corpora([run.config for run in runs])
    code = execute_runs(runs, trial_states(runs), request.line, (COMMAND, *request.command, part))
    records = [finished_record(run) for run in runs]
    if any(record is None for record in records):
        return max(code, FAILED), runs[0].plan_folder, []
    at, tried = 0, []
    for of_arm in points:
        of_search = []
        for point in of_arm:
            of_point = [record for record in records[at : at + len(seeds)] if record is not None]
            scores = dict(zip(seeds, map(score_of, of_point), strict=True))
            ended_at = max(float(record["ended_at"]) for record in of_point)
            of_search.append((Point(point, scores, runs[at].identity["fingerprint"], ended_at), composed[at]))
            at += len(seeds)
        tried.append(of_search)
    return OK, runs[0].plan_folder, tried


def trial_states(runs: Sequence[Run]) -> list[State]:
    """The state of each run. Other configurations of its arm are other trials, and no news."""
    states = states_of(runs)
    is_new = [state.kind == "run" and not any(run.folder.glob("*")) for run, state in zip(runs, states, strict=True)]
    return [State("run", Reason.NEW) if new else state for state, new in zip(states, is_new, strict=True)]


def finished_record(run: Run) -> Mapping[str, Any] | None:
    """The record of a run that has a score or diverged; None if it failed or is left."""
    record = read_record(run.folder)
    return None if record is None or record["status"] not in FINISHED else record


def score_of(record: Mapping[str, Any]) -> float:
    """The packed score of a finished run in bpb; infinite if it diverged."""
    return math.inf if record["status"] == "diverged" else float(record["val_bpb"])


def probe_of(request: Request, searches: Sequence[ArmSearch], texts: Sequence[ProbeText]) -> Probe:
    """The outcome, as study.json and probe.json have it."""
    return Probe(
        request.plan.seeds,
        " and ".join(dict.fromkeys(text.description for text in texts)),
        tuple(text.val_text_sha for text in texts),
        tuple(one.outcome() for one in searches),
        max(one.ended_at for one in searches),
    )
