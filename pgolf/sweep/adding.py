"""`launch.seeds=auto`: seeds are added to the undecided arms of a study, one seed per round, until each arm is decided.

After every round the study's own table is computed. An arm gets the next seed while its decision by the sequential
test (`pgolf.tables.sequential`) is undecided in one of its families, and the baseline gets it, too. All arms take their
seeds in one order, so that pairs of an arm and its baseline are not chosen by their scores. State is on disk: the same
command goes on after a kill, and counts every run that exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from pgolf.command import FAILED, OK
from pgolf.config.command_line import CommandLine, compose_each
from pgolf.config.composed_run import ComposedRun
from pgolf.config.corpora import check_corpora
from pgolf.config.study import AUTO, study_of
from pgolf.records.record import FINISHED
from pgolf.study.description import Study
from pgolf.study.published import MORE, reason_to_stop
from pgolf.sweep.compilation import with_compile
from pgolf.sweep.execution import execute_runs
from pgolf.sweep.runs import Run
from pgolf.sweep.state import plan_run
from pgolf.sweep.sweep import as_sweep, record_or_none, states_of
from pgolf.tables.table import Tables


@dataclass(frozen=True)
class ArmRun:
    """One arm of a command: its first run, before and after every `auto` was decided."""

    composed: ComposedRun
    run: Run

    def with_seed(self) -> ComposedRun:
        """The composed run with the decision on compilation of the first one."""
        is_auto = self.composed.config.train.compile == AUTO
        return with_compile(self.composed, self.run.config.train.compile) if is_auto else self.composed


def adding_problems(line: CommandLine) -> list[str]:
    """Why `launch.seeds=auto` cannot work with a command line; empty if it can or is not asked for."""
    first = line.runs[0]
    if first.config.launch.seeds != AUTO:
        return []
    if not line.in_sweep or not line.is_enumerated or study_of(first) is None:
        return [
            "launch.seeds: auto needs the arms, families and margin of a study (auto). Write study=NAME without --run "
            "and without another sweeper, or leave it out"
        ]
    seeds = len({run.config.seed for run in line.runs})
    problems = []
    if first.config.launch.rerun:
        problems.append("launch.rerun: cannot be used with launch.seeds=auto (true). Leave one of them out")
    if first.config.launch.most_seeds < seeds:
        problems.append(
            f"launch.most_seeds: is less than the {seeds} seeds of the command ({first.config.launch.most_seeds}). "
            "Raise it, or give fewer seeds"
        )
    return problems


def keep_sequential(study: Study, before: Study | None) -> Study:
    """The study as it is described now, but with the sequential test if seeds were once added to undecided arms.

    Tests for a fixed number of seeds are not valid for such runs, whatever a later command says. before: as the
    study's folder describes it.
    """
    if before is None or before.most_seeds is None or study.most_seeds is not None:
        return study
    print("seeds were added to this study by launch.seeds=auto, so its sequential test stays")
    return replace(study, test=before.test, blocked=False, noise_bpb=before.noise_bpb, most_seeds=before.most_seeds)


def seed_order(first: Sequence[int], study: Study) -> list[int]:
    """The seeds of every arm, in order: those of the command, then the smallest others that no probe used."""
    assert study.most_seeds is not None
    used = {*first, *(seed for probe in study.probes for seed in probe.seeds)}
    others = (seed for seed in count(1) if seed not in used)
    return [*first, *islice(others, max(0, study.most_seeds - len(first)))]


def undecided_arms(report: Tables, study: Study, arms: Mapping[str, ArmRun]) -> tuple[list[str], list[str]]:
    """(arms of the command that need another seed, baselines of their families)."""
    assert study.most_seeds is not None
    undecided: dict[str, None] = {}
    baselines: dict[str, None] = {}
    for table in report.families:
        for row in table.rows:
            arm, baseline = row.group.arm, table.family.baseline
            if arm not in arms or baseline is None or baseline not in arms or row.group.planned is False:
                continue
            is_own = row.group.fingerprint == arms[arm].run.identity["fingerprint"]
            if is_own and reason_to_stop(row, study.most_seeds) == MORE:
                undecided[arm] = baselines[baseline] = None
    return list(undecided), [arm for arm in baselines if arm not in undecided]


def seeds_run(report: Tables) -> dict[str, set[int]]:
    """The seeds that each configuration has a row for, by fingerprint."""
    found: dict[str, set[int]] = {}
    for table in report.families:
        for row in table.rows:
            found.setdefault(row.group.fingerprint, set()).update(
                run["seed"] for run in row.group.rows if run["status"] in FINISHED
            )
    return found


def add_seeds(line: CommandLine, runs: Sequence[Run], command: Sequence[str], study: Study) -> int:
    """Add seeds until no arm needs one. runs: of the command. Nothing is added while a run of it is left or has failed.

    Returns the exit code. Raises PgolfError, OSError, KeyboardInterrupt.
    """
    from pgolf.pages.aggregation import aggregate  # not above: scipy takes a second

    arms: dict[str, ArmRun] = {}
    for composed, run in zip(line.runs, runs, strict=True):
        arms.setdefault(run.identity["arm"], ArmRun(composed, run))
    if not all_finished(runs):
        return FAILED
    worst, order = OK, seed_order(list(dict.fromkeys(run.config.seed for run in runs)), study)
    while True:
        report = aggregate(runs[0].plan_folder).report
        undecided, baselines = undecided_arms(report, study, arms)
        have = seeds_run(report)
        lacking = {
            seed: [arm for arm in (*baselines, *undecided) if seed not in have[fingerprint_of(arms[arm])]]
            for seed in order
        }
        seed = next((seed for seed in order if lacking[seed]), None)
        if seed is None:
            return worst
        print(f"seed {seed}: undecided {', '.join(undecided)}", flush=True)
        there = [arm for arm in arms if seed in have.get(fingerprint_of(arms[arm]), ())]  # stay in the plan
        chosen = [arms[arm] for arm in arms if arm in there or arm in lacking[seed]]
        code, new = run_seed(chosen, seed, line, (*command, f"seed={seed}"))
        if not all_finished(new):
            return code
        worst = max(worst, code)  # 1 for a run that diverged; its arm gets no more seeds


def all_finished(runs: Sequence[Run]) -> bool:
    """Whether every run has ended, with a score or by diverging."""
    records = [record_or_none(run.folder) for run in runs]
    return all(record is not None and record["status"] in FINISHED for record in records)


def fingerprint_of(arm: ArmRun) -> str:
    return str(arm.run.identity["fingerprint"])


def run_seed(arms: Sequence[ArmRun], seed: int, line: CommandLine, command: Sequence[str]) -> tuple[int, list[Run]]:
    """Execute one seed of some arms. Returns (exit code, runs). Raises PgolfError, OSError, KeyboardInterrupt."""
    words = [[text for text in arm.composed.overrides if not text.startswith("seed=")] for arm in arms]
    composed = compose_each([[*own, f"seed={seed}"] for own in words])
    planned = [
        plan_run(replace(arm, composed=one).with_seed(), in_sweep=True) for arm, one in zip(arms, composed, strict=True)
    ]
    runs = as_sweep(planned)
    check_corpora([run.config for run in runs])
    return execute_runs(runs, states_of(runs), line, command), runs
