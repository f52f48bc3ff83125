"""A tracker that fails in any way neither ends a run nor holds it up, and says why in one line of its log."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from own_trackers import Journal, journal
from trackers_folders import IDENTITY, add_steps

from pgolf.trackers import process as module
from pgolf.trackers.limits import is_installed, tree_cpu_s
from pgolf.trackers.process import TrackerProcess

PATIENT_S = 120.0  # the longest wait of a test on a busy machine


def tracked(folder: Path, said: list[str], fault: str = "", most_wait_s: float = PATIENT_S) -> TrackerProcess:
    options = {"fault": fault, "most_share": 0.02, "most_wait_s": most_wait_s}
    return TrackerProcess(Journal(**options), options, folder, IDENTITY, 1, said.append)


def notice_of(tracker: TrackerProcess) -> str:
    """The notice that a run gets sooner or later."""
    until = time.monotonic() + PATIENT_S
    while time.monotonic() < until:
        if notice := tracker.notice():
            return notice
        time.sleep(0.02)
    raise AssertionError("the tracker did not stop")


def curve(*steps: int) -> list[tuple[str, int, float]]:
    """What a journal has of `add_steps`."""
    found = [
        (key, step, value)
        for step in steps
        for key, value in (("tokens", 64.0 * step), ("elapsed_s", step / 2), ("train_bpb", 8 / step))
    ]
    return [*found, ("val_bpb_live", steps[-1], 7 / steps[-1])]


def test_a_run_is_handed_over_and_a_killed_one_goes_on_where_it_was(run_folder: Path) -> None:
    said: list[str] = []
    with tracked(run_folder, said) as tracker:
        tracker.start(resumed=False)
        assert tracker.process is not None
        killed = tracker.process
        until = time.monotonic() + PATIENT_S
        while not (run_folder.parent / "journal.jsonl").exists() or len(journal(run_folder)) < 14:
            assert time.monotonic() < until
            time.sleep(0.02)
        os.kill(killed.pid, signal.SIGKILL)
        assert "ended without an answer (exit code -9)" in notice_of(tracker)
        assert tracker.notice() == "", "it is said once"
    add_steps(run_folder, 5, 6)
    with tracked(run_folder, said) as tracker:
        tracker.start(resumed=True)
    lines = journal(run_folder)
    assert [line for line in lines if line[1] >= 0] == [*curve(1, 2, 3, 4), *curve(5, 6)]
    opened = [value for key, _, value in lines if key == "run"]
    assert opened[0] == opened[1], "one run of the tracker"
    run_id, name, study, arm, options = opened[0]
    assert run_id.startswith("01234567-1-")
    assert (name, study, arm, options) == (f"head=mos seed1 {run_id[-6:]}", "adhoc", "head=mos", 2)
    assert lines[-1] == ("status", -2, "failed"), "it left no record"
    assert len(said) == 1
    assert said[0].startswith("tracker   has 3 points and the record, for ")
    with tracked(run_folder, said) as tracker:  # from the beginning: another run of the tracker
        tracker.start(resumed=False)
    assert journal(run_folder)[-2][2][0] != run_id


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raise start", "ConnectionError: no network at all"),
        ("raise log", "ConnectionError: no network at all"),
        ("leave log", "SystemExit: the library leaves"),
        ("crash start", "ended without an answer (exit code -6)"),
    ],
)
def test_a_failure_is_one_warning(run_folder: Path, fault: str, reason: str) -> None:
    said: list[str] = []
    with tracked(run_folder, said, fault) as tracker:
        tracker.start(resumed=False)
        assert notice_of(tracker) == (
            f"warning: tracker: {reason}. The run goes on without it; tracker.log has the details"
        )
    assert said == []
    assert "the library's own words" in (run_folder / "tracker.log").read_text()


def test_a_failure_at_the_end_is_said_too(run_folder: Path) -> None:
    said: list[str] = []
    with tracked(run_folder, said, "raise finish") as tracker:
        tracker.start(resumed=False)
    assert len(said) == 1
    assert said[0].startswith("warning: tracker: ConnectionError: no network at all; the run waited ")


def test_a_slow_tracker_is_not_waited_for(run_folder: Path) -> None:
    said: list[str] = []
    with tracked(run_folder, said, "sleep log", most_wait_s=0.1) as tracker:
        tracker.start(resumed=False)
        assert tracker.notice() == ""
        process = tracker.process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert said[0].startswith(
        "warning: tracker: was not ready 0.1 s after the run (tracker.most_wait_s); the run waited "
    )


def test_a_tracker_that_computes_too_much_is_switched_off(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_CPU_S", 0.4)
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    with tracked(run_folder, [], "spin start") as tracker:
        tracker.start(resumed=False)
        assert tracker.process is not None
        pid = tracker.process.pid
        assert "switched off after " in notice_of(tracker)
        assert tree_cpu_s(pid) == 0.0, "it has ended"


def test_a_tracker_ends_with_its_run(run_folder: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from test_process import tracked\n"
        f"tracker = tracked(Path({str(run_folder)!r}), []); tracker.start(resumed=False)\n"
        "print(tracker.process.pid, flush=True); time.sleep(600)"
    )
    run = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert run.stdout is not None
    with run.stdout as out:
        pid = int(out.readline())
    run.kill()
    run.wait()
    until = time.monotonic() + PATIENT_S
    while alive(pid):
        assert time.monotonic() < until
        time.sleep(0.02)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def test_a_folder_of_the_same_name_is_not_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not is_installed("no_package")
    assert is_installed("pgolf")
