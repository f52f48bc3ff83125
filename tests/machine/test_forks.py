"""Jobs of a fork server: processes of their own, refused where a fork is not safe, also after a server was killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from pgolf.machine import forks
from pgolf.machine.forks import ForkedProcess, start_forked

SERVER = """
import os, signal, socket, sys, threading, time
from pgolf.machine.forks import serve

def job(words):
    if words[0] == "say":
        print(os.getcwd(), os.environ["WORD"], os.getsid(0) == os.getpid(), sys.argv[1:], file=sys.stderr)
        print("not shown")
        return 7
    if words[0] == "raise":
        raise ValueError(words[1])
    print("asleep", file=sys.stderr, flush=True)
    time.sleep(60)

if "thread" in sys.argv:
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
serve(socket.socket(fileno=int(sys.argv[-1])), job)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says that a process has one thread")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[list[str]]:
    script = tmp_path / "server.py"
    script.write_text(SERVER)
    yield [sys.executable, str(script)]
    for key in [key for key in forks._servers if str(script) in key]:
        forks._servers.pop(key).close()


def start(server: list[str], *words: str, **variables: str) -> tuple[ForkedProcess, "os.PathLike[str]"]:
    errors = Path(server[-1]).with_name("errors.txt")
    with errors.open("wb") as file:
        job = start_forked(server, words, {**os.environ, **variables}, file)
    assert job is not None
    return job, errors


def wait_for(errors: "os.PathLike[str]") -> None:
    until = time.monotonic() + 30
    while not Path(errors).read_text() and time.monotonic() < until:
        time.sleep(0.01)


def test_a_job_is_a_process_of_its_own(server: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("one", "two"):
        folder = tmp_path / word
        folder.mkdir()
        monkeypatch.chdir(folder)
        job, errors = start(server, "say", WORD=word)
        assert job.wait() == 7
        assert Path(errors).read_text() == f"{folder} {word} True ['say']\n"
    assert len([key for key in forks._servers if server[-1] in key]) == 1, "both are forks of one server"


def test_how_a_job_ends(server: list[str]) -> None:
    job, errors = start(server, "raise", "no reason")
    assert job.wait() == 1
    assert Path(errors).read_text().endswith("ValueError: no reason\n")
    job, errors = start(server, "sleep")
    wait_for(errors)
    with pytest.raises(subprocess.TimeoutExpired):
        job.wait(0.01)
    job.send_signal(signal.SIGKILL)
    assert job.wait(10) == -signal.SIGKILL
    job.send_signal(signal.SIGKILL)  # to nobody: it has ended


def test_a_killed_server_is_replaced(server: list[str]) -> None:
    first, _ = start(server, "say", WORD="one")
    assert first.wait() == 7
    (key,) = [key for key in forks._servers if server[-1] in key]
    forks._servers[key].process.kill()
    forks._servers[key].process.wait()
    assert start(server, "say", WORD="two")[0].wait() == 7


def test_no_fork_of_a_process_with_threads(server: list[str]) -> None:
    with TemporaryFile() as errors:
        assert start_forked([*server, "thread"], ["say"], os.environ, errors) is None


def test_a_variable_that_is_read_once_takes_another_server(server: list[str]) -> None:
    for threads in ("1", "2"):
        assert start(server, "say", WORD="x", OMP_NUM_THREADS=threads)[0].wait() == 7
    assert len([key for key in forks._servers if server[-1] in key]) == 2
