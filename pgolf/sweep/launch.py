"""Passes checked runs to Hydra's launcher. Each job gets one run as text and composes nothing.

A launcher requests the configuration of each job from its config loader, with a list of overrides. Here this list has
one entry, the run itself. Therefore exactly the checked configuration runs, in this process or in a process of joblib,
submitit or Ray.
"""

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, run_job, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict

from pgolf.config.compose import CONFIG_NAME, literal
from pgolf.config.folders import config_folders
from pgolf.config.resolvers import register
from pgolf.sweep.jobs import JOB, run_job_text
from pgolf.sweep.runs import Run


class RunLoader:
    """Replaces Hydra's config loader. The configuration of a job has Hydra's options and the text of its run."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of one job. sweep_overrides: one entry, `JOB=<text of the run>`."""
        (entry,) = sweep_overrides
        job = copy.deepcopy(master_config)
        with open_dict(job):
            job[JOB] = literal(entry.removeprefix(f"{JOB}="))
        return job


def prepare_hydra(whole: DictConfig, mode: RunMode) -> tuple[DictConfig, HydraContext]:
    """(configuration for all jobs, context of a launcher). Configures the logging of Hydra.

    whole: a configuration with the section `hydra`.
    """
    register()
    setup_globals()
    master = copy.deepcopy(whole)
    with open_dict(master):
        master.hydra.mode = mode
        master.hydra.searchpath = [str(folder) for folder in config_folders()[1:]]  # a job trusts them too
        master.hydra.sweep.dir = str(master.hydra.sweep.dir)  # resolved: another process may not know the resolvers
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    loader: Any = RunLoader()
    return master, HydraContext(config_loader=loader, callbacks=Callbacks(master))


def job_overrides(run: Run) -> list[str]:
    """The overrides of a job, for `RunLoader`."""
    return [f"{JOB}={run.to_json()}"]


def launch_one(run: Run, whole: DictConfig) -> None:
    """Execute a run in this process, with the logging and environment of Hydra. Raises the exception of the run."""
    master, context = prepare_hydra(whole, RunMode.RUN)
    config = RunLoader().load_sweep_config(master, job_overrides(run))
    _ = run_job(run_job_text, config, "hydra.run.dir", None, context).return_value


def launch_all(runs: Sequence[Run], whole: DictConfig) -> None:
    """Start each run as a job of the chosen launcher, in batches of hydra.sweeper.max_batch_size.

    Raises the exceptions of the launcher and of the jobs.
    """
    master, context = prepare_hydra(whole, RunMode.MULTIRUN)
    context.callbacks.on_multirun_start(config=master, config_name=CONFIG_NAME)
    launcher = Plugins.instance().instantiate_launcher(context, run_job_text, master)
    size = master.hydra.sweeper.get("max_batch_size") or len(runs)
    for start in range(0, len(runs), size):
        batch = [job_overrides(run) for run in runs[start : start + size]]
        for job in launcher.launch(batch, initial_job_idx=start):
            _ = job.return_value  # raises the exception of a failed job
    context.callbacks.on_multirun_end(config=master, config_name=CONFIG_NAME)
