"""How checked runs reach Hydra's launcher: each job gets one run as text and composes nothing.

A launcher asks its config loader for the configuration of each job, from a list of overrides. Here that list has one
entry, the run itself. So what has been checked is what runs, in this process or in one that joblib, submitit or Ray
starts.
"""

from collections.abc import Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.core.utils import configure_log, run_job, setup_globals
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict

from pgolf.config.compose import CONFIG_NAME, literal
from pgolf.config.resolvers import register
from pgolf.sweep.jobs import JOB, run_job_text
from pgolf.sweep.runs import Run


class RunLoader:
    """Takes the place of Hydra's config loader: gives a job the options of Hydra and the text of its run."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """The configuration of one job. sweep_overrides: one entry, `JOB=<text of the run>`."""
        (entry,) = sweep_overrides
        job = master_config.copy()
        with open_dict(job):
            job[JOB] = literal(entry.removeprefix(f"{JOB}="))
        return job


def prepared(whole: DictConfig, mode: RunMode) -> tuple[DictConfig, HydraContext]:
    """Hydra's options for jobs, its logging configured. whole: a composed configuration with Hydra's section."""
    register()
    setup_globals()
    master = whole.copy()
    with open_dict(master):
        master.hydra.mode = mode
    configure_log(master.hydra.hydra_logging, master.hydra.verbose)
    loader: Any = RunLoader()
    return master, HydraContext(config_loader=loader, callbacks=Callbacks(master))


def entry_of(run: Run) -> list[str]:
    """The overrides of a job, for `RunLoader`."""
    return [f"{JOB}={run.to_json()}"]


def launch_one(run: Run, whole: DictConfig) -> None:
    """Run in this process, with Hydra's logging and environment. Raises what the run raises."""
    master, context = prepared(whole, RunMode.RUN)
    config = RunLoader().load_sweep_config(master, entry_of(run))
    _ = run_job(run_job_text, config, "hydra.run.dir", None, context).return_value


def launch_all(runs: Sequence[Run], whole: DictConfig) -> None:
    """Let the chosen launcher run each as a job, in batches of hydra.sweeper.max_batch_size. Raises what it raises."""
    master, context = prepared(whole, RunMode.MULTIRUN)
    context.callbacks.on_multirun_start(config=master, config_name=CONFIG_NAME)
    launcher = Plugins.instance().instantiate_launcher(context, run_job_text, master)
    size = master.hydra.sweeper.get("max_batch_size") or len(runs)
    for start in range(0, len(runs), size):
        batch = [entry_of(run) for run in runs[start : start + size]]
        for job in launcher.launch(batch, initial_job_idx=start):
            _ = job.return_value  # raises what ended the job
    context.callbacks.on_multirun_end(config=master, config_name=CONFIG_NAME)
