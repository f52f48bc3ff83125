"""`hydra/sweeper=optuna`: a search whose trials are ordinary runs, each with its own folder and record.

A batch of trials is chosen from the results so far, written to search.json, and run by the jobs of every sweep. The
same command goes on after an interruption: trials keep their values, and their results are read from the records again.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from shlex import quote
from statistics import fmean

from pgolf.command import FAILED, OK
from pgolf.config.command_line import CommandLine, compose_each
from pgolf.config.corpora import check_corpora
from pgolf.config.space import SearchSettings, Space, chosen_words, settings_of
from pgolf.errors import ConfigError
from pgolf.records.progress import count_text
from pgolf.records.record import FINISHED
from pgolf.sweep.compilation import decide_compile
from pgolf.sweep.dry_run import dry_run
from pgolf.sweep.execution import run_jobs
from pgolf.sweep.pruning import Trial, TrialStateName, curve_of, limits_of
from pgolf.sweep.reporter import Reporter
from pgolf.sweep.runs import Run
from pgolf.sweep.sampling import choose
from pgolf.sweep.searches import SEARCH, Search, earlier_trials, key_of, write_search
from pgolf.sweep.state import plan_run, trial_state
from pgolf.sweep.sweep import reason_to_stop, record_or_none, states_of, sweep_of, write_plan

GATE_SEEDS = 10  # the seeds 1 to 10 are those that pgolf.gate takes by default
FINAL: tuple[TrialStateName, ...] = ("done", "pruned", "diverged", "failed")


@dataclass
class Searcher:
    """A search at work. command: as typed. trials: those so far. runs: of all trials so far, for the plan."""

    line: CommandLine
    command: Sequence[str]
    space: Space
    settings: SearchSettings
    folder: Path
    trials: list[Trial] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def write(self) -> None:
        """Write search.json. Raises PgolfError, OSError."""
        space = {dimension.key: asdict(dimension) for dimension in self.space.dimensions}
        settings = asdict(self.settings)
        write_search(self.folder, Search(key_of(self.command), space, settings, self.space.seeds, tuple(self.trials)))

    def next_batch(self) -> list[Trial]:
        """The trials that are run next: those that were chosen before, else new ones; empty at the end."""
        waiting = [trial for trial in self.trials if trial.state == "waiting"]
        if waiting:
            return [trial for trial in waiting if trial.after == waiting[0].after]
        first = len(self.trials)
        number = min(self.settings.n_jobs, self.settings.n_trials - first)
        if number <= 0:
            return []
        chosen = choose(self.space.dimensions, self.trials, self.settings, first, number)
        batch = [Trial(first + n, first, values) for n, values in enumerate(chosen)]
        self.trials += batch
        return batch

    def run(self, batch: Sequence[Trial]) -> bool:
        """Execute a batch, and give its trials their results. Returns False if a run is left, so that it must end.

        With pruning, the seeds are run one after another, so that a trial that is stopped costs no further seed.
        """
        seeds = self.space.seeds
        rounds = [[seed] for seed in seeds] if self.settings.prune_percentile is not None else [list(seeds)]
        alive = list(batch)
        for of_round in rounds:
            if alive and not self.run_seeds(alive, of_round):
                return False
            alive = [trial for trial in alive if trial.state == "waiting"]
        for trial in alive:
            trial.state, trial.val_bpb = "done", fmean(trial.scores_bpb.values())
        return True

    def run_seeds(self, batch: Sequence[Trial], seeds: Sequence[int]) -> bool:
        """Execute some seeds of some trials. Trials with a run that did not get a score get their state."""
        pairs = [(trial, seed) for trial in batch for seed in seeds]
        composed = compose_each([self.space.words(trial.values, seed) for trial, seed in pairs])
        planned = decide_compile(composed, [plan_run(one, in_sweep=True) for one in composed], in_sweep=True)
        runs = [
            replace(
                run,
                label=f"trial {trial.number} {' '.join(chosen_words(trial.values))} seed={seed}",
                limits=limits_of(self.trials[: trial.after], seed, self.settings),
            )
            for run, (trial, seed) in zip(planned, pairs, strict=True)
        ]
        self.runs += runs
        unique = list({run.folder: run for run in runs}.values())
        states = states_of(unique, state=trial_state)
        left = [(run, state) for run, state in zip(unique, states, strict=True) if state.kind != "done"]
        if left:
            check_corpora([run.config for run, _ in left])
            write_plan(self.command, self.runs, None)
            with Reporter([run for run, _ in left], [state for _, state in left]):
                run_jobs([run for run, _ in left], self.line)
        return all([self.tell(trial, seed, run) for run, (trial, seed) in zip(runs, pairs, strict=True)])

    def tell(self, trial: Trial, seed: int, run: Run) -> bool:
        """Give a trial the result of one of its runs. Returns False if the run is left."""
        record = record_or_none(run.folder)
        if record is None or record["status"] not in (*FINISHED, "pruned", "failed"):
            return False
        trial.folders = (*trial.folders, run.entry().folder)
        trial.curves[seed] = curve_of(run.folder)
        if record["status"] == "ok":
            trial.scores_bpb = {**trial.scores_bpb, str(seed): float(record["val_bpb"])}
        elif trial.state != "failed":
            trial.state = record["status"]
        return True

    def best(self) -> Trial | None:
        """The trial with the lowest score; None if none is done."""
        done = [trial for trial in self.trials if trial.val_bpb is not None]
        return min(done, key=lambda trial: (trial.val_bpb, trial.number), default=None)


def search(line: CommandLine, command: Sequence[str]) -> int:
    """Execute the search of a command line. command: as typed. Returns the exit code.

    Raises PgolfError, OSError, KeyboardInterrupt.
    """
    assert line.space is not None
    settings, first = settings_of(line.whole.hydra), plan_run(line.runs[0], in_sweep=True)
    config = first.config
    if settings.prune_percentile is not None and not config.train.val_every:
        raise ConfigError(
            "hydra.sweeper.prune_percentile: needs validation scores during training "
            f"({settings.prune_percentile:g}). Set train.val_every"
        )
    if config.launch.rerun:
        raise ConfigError("launch.rerun: cannot be used with hydra/sweeper=optuna (true). Leave it out")
    seeds = line.space.seeds
    print(
        f"search of {count_text(settings.n_trials, 'trial')} in {first.plan_folder}, sampler {settings.sampler}; "
        f"runs of seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}",
        flush=True,
    )
    if config.launch.dry_run:
        print("the first run as an example:")
        dry_run(line.runs[:1], [first], states_of([first]))
        return OK
    trials = earlier_trials(first.plan_folder, command, line.space)
    searcher = Searcher(line, command, line.space, settings, first.plan_folder, trials)
    while batch := searcher.next_batch():
        searcher.write()
        is_complete = searcher.run(batch)
        if is_complete:
            searcher.write()
        else:
            return explain_stop(searcher)
    return conclude(searcher)


def explain_stop(searcher: Searcher) -> int:
    """Say why the search ended before its last trial. Returns the exit code."""
    sweep = sweep_of(searcher.runs[-1])
    why = None if sweep is None else reason_to_stop(sweep, searcher.folder)
    done = sum(trial.state in FINAL for trial in searcher.trials)
    print(
        f"{why + ': ' if why else ''}{done} of {count_text(searcher.settings.n_trials, 'trial')} have a result; the "
        "same command runs the others",
        file=sys.stderr,
    )
    return FAILED


def conclude(searcher: Searcher) -> int:
    """Print the outcome. Returns the exit code: 1 if a run failed."""
    count = Counter(trial.state for trial in searcher.trials)
    distinct = len({tuple(trial.values.items()) for trial in searcher.trials})
    parts = ", ".join(f"{count[state]} {state}" for state in FINAL if count[state])
    same = f", {distinct} of them different" if distinct < len(searcher.trials) else ""
    print(f"{count_text(len(searcher.trials), 'trial')}{same}: {parts}")
    if (best := searcher.best()) is not None:
        print(*outcome(searcher, best), sep="\n")
    print(f"written: {searcher.folder / SEARCH}")
    failed = [trial for trial in searcher.trials if trial.state == "failed"]
    for trial in failed:
        for record in (record_or_none(searcher.folder / folder) for folder in trial.folders):
            if record is not None and record["status"] == "failed":
                print(f"trial {trial.number} failed: {record['error']}", file=sys.stderr)
    return FAILED if failed else OK


def outcome(searcher: Searcher, best: Trial) -> list[str]:
    """The best trial in words, with the command that tests it on other seeds."""
    words, seeds = chosen_words(best.values), searcher.space.seeds
    mean = f", the mean of {len(seeds)} seeds" if len(seeds) > 1 else ""
    lines = [f"best: trial {best.number}, {best.val_bpb:.4f} bpb{mean}: {' '.join(words)}"]
    # Without the name of this study, the gate's runs join no table of the search.
    left_out = ("hydra", "launch.", "study.name=")
    fixed = [word for word in searcher.space.fixed if not word.lstrip("+~").startswith(left_out)]
    both = f" --both {' '.join(map(quote, fixed))}" if fixed else ""
    lines.append("to test it against the options without the search:")
    lines.append(f"  python -m pgolf.gate '' {quote(' '.join(words))} --margin BPB{both}")
    if min(seeds) <= GATE_SEEDS:
        lines.append(
            f"its score chose it, so it is too good; search with seeds above {GATE_SEEDS}, which pgolf.gate does not "
            "take"
        )
    return lines
